"""Distillation: a student learns to say what the target would, and is watched on answers that it does not learn from.

The order of answers is a function of the seed, and a state is written now and then, so a run that was killed goes on to
the very end that it would have had (on one machine, with as many threads).
"""

import csv
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import torch

from goodspeed.engine.torch.loading import choose_device, choose_dtype
from goodspeed.errors import DataError
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.tuning.acceptance import Hits, accepted_per_round, agreement
from goodspeed.tuning.config import DistilConfig
from goodspeed.tuning.dataset import Dataset
from goodspeed.tuning.export import export
from goodspeed.tuning.losses import LOSSES, likeliest, top_logprobs
from goodspeed.tuning.rows import Cutter, Document, Rows, batch, pack
from goodspeed.tuning.start import start_of
from goodspeed.tuning.state import BEST, Standing, Tensors, load_state, read_tensors, save_state, write_tensors
from goodspeed.tuning.student import Student

T = TypeVar("T")

WINDOW = 4
LARGEST_GRADIENT = 1.0
CURVE = "curve.csv"
KEPT = "kept"
CONFIG = "distil.json"
MAY_CHANGE = ("steps", "decay", "threads", "patience", "validate_every", "checkpoint_every", "data", "validation")


@dataclass(frozen=True, slots=True)
class Look:
    """One line of the curve."""

    step: int
    num_tokens: int
    elapsed_s: float
    """Of this process."""
    learning_rate: float
    loss: float
    """Mean since the last look."""
    agreement: float
    accepted_per_round: float
    """Greedy, window 4, on the validation set; see acceptance.accepted_per_round."""
    expected_acceptance: float
    """One minus the total variation at temperature 1, mean over positions."""


Report = Callable[[Look], None]


class Distiller:
    """One run: the student, its optimiser, its data."""

    def __init__(self, config: DistilConfig) -> None:
        """Raises DataError, CheckpointError, ConfigError; a run that is there must have the same config."""
        self.config = config
        self.folder = Path(config.out)
        self._objective = LOSSES[config.loss]
        self.target = locate(config.target)
        self._check_config()
        self._device = choose_device(config.device)
        torch.set_num_threads(config.threads or os.cpu_count() or 1)
        data, before = self._dataset(config.data), load_state(self.folder)
        start = start_of(config.student, self.target, data.examples(), config.seed)
        if before and KEPT in before[1]:  # data that grew since would choose others
            start = replace(start, kept=before[1][KEPT])
        trained = ["model.layers.", "model.norm."]
        trained += ["lm_head."] * config.student.train_head + ["model.embed_tokens."] * config.student.train_embedding
        dtype = choose_dtype(config.dtype, self._device)
        self.student = Student(start, trained, dtype).place(self._device)
        self._cutter = Cutter(config.length, config.max_prompt, start.config.vocab_size, start.kept)
        self._documents = self._cut(data, None)
        self._validation = self._cut(self._dataset(config.validation), config.validation_answers)
        self._optimizer = torch.optim.AdamW(self._groups(), lr=config.learning_rate, betas=(0.9, 0.95), fused=True)
        self.standing = Standing()
        if before:
            self._resume(*before)

    def run(self, report: Report, on_step: Callable[[int], None]) -> None:
        """Learn until the steps are done or it no longer gets better. Raises DataError if the disk is full."""
        config, standing, began = self.config, self.standing, time.monotonic()
        losses: list[float] = []
        batches = self._batches()
        while standing.step < config.steps and not self._is_stale():
            losses.append(self._update(next(batches)))
            on_step(standing.step)
            if standing.step % config.validate_every == 0 or standing.step == config.steps:
                look = self._look(float(np.mean(losses)), time.monotonic() - began)
                losses.clear()
                self._keep(look)
                report(look)
            if standing.step % config.checkpoint_every == 0 or standing.step == config.steps:
                self._save()

    def export(self) -> None:
        """Write the best weights so far into the run's folder, as a checkpoint. Raises CheckpointError, DataError."""
        if (self.folder / BEST).exists():
            self._load_parameters(read_tensors(self.folder / BEST))
        student = self.student
        export(self.folder, student.config, student.export(), student.kept, self.target)

    def _update(self, passes: Sequence[Sequence[Sequence[Document]]]) -> float:
        """One step of the optimiser over some passes; the mean loss."""
        config, standing = self.config, self.standing
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(config, standing.step)
        batches = [batch(packed, config.length).to(self._device) for packed in passes]
        total = sum(float(rows.weights.sum()) for rows in batches)
        mean = 0.0
        for rows in batches:
            loss = (self._loss(rows) * rows.weights).sum() / total
            loss.backward()
            mean += loss.item()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), LARGEST_GRADIENT)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        standing.step += 1
        standing.num_tokens += sum(len(rows.places) for rows in batches)
        return mean

    def _loss(self, rows: Rows) -> torch.Tensor:
        """[n]: of every place."""
        share = self.config.likeliest_share
        logprobs = top_logprobs(self.student(rows), self.student.head(), rows.top_places)
        target_probs = rows.top_probs * (rows.top_places >= 0)
        loss = self._objective(logprobs, target_probs)
        return loss if share == 0.0 else (1.0 - share) * loss + share * likeliest(logprobs, target_probs)

    @torch.no_grad()
    def _look(self, loss: float, elapsed_s: float) -> Look:
        hits: list[Hits] = []
        overlaps: list[torch.Tensor] = []
        for packed in _chunks(pack(self._validation, self.config.length), self.config.rows):
            rows = batch(packed, self.config.length).to(self._device)
            logits = (self.student(rows) @ self.student.head().T).float()
            is_hit = (logits.argmax(-1) == rows.answer_places).cpu().numpy()
            hits += np.split(is_hit, np.cumsum([one.num_losses for row in packed for one in row])[:-1])
            probs = logits.softmax(-1).gather(1, rows.top_places.clamp_min(0))
            overlaps.append(torch.minimum(probs, rows.top_probs * (rows.top_places >= 0)).sum(-1))
        standing = self.standing
        return Look(
            standing.step,
            standing.num_tokens,
            elapsed_s,
            learning_rate(self.config, standing.step - 1),
            loss,
            agreement(hits),
            accepted_per_round(hits, WINDOW),
            float(torch.cat(overlaps).mean()),
        )

    def _keep(self, look: Look) -> None:
        """Note the look in the curve, and the weights if they are the best so far."""
        standing = self.standing
        is_best = look.accepted_per_round > standing.best
        standing.num_worse = 0 if is_best else standing.num_worse + 1
        if is_best:
            standing.best = look.accepted_per_round
            write_tensors(self.folder / BEST, self._parameters())
        path = self.folder / CURVE
        is_new = not path.exists()
        try:
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if is_new:
                    writer.writerow(asdict(look))
                writer.writerow(f"{value:.6g}" for value in asdict(look).values())
        except OSError as error:
            raise DataError(f"cannot write {path}: {error}; what was finished before is kept") from error

    def _is_stale(self) -> bool:
        return 0 < self.config.patience <= self.standing.num_worse

    def _batches(self) -> Iterator[list[list[list[Document]]]]:
        """What each update sees, from the present step on."""
        config = self.config
        return islice(_steps(self._documents, config), self.standing.step, None)

    def _cut(self, data: Dataset, num_answers: int | None) -> list[Document]:
        config = self.config
        documents = []
        for example in islice(data.examples(), num_answers):
            weights = example.weights if config.weights == "stored" else None
            documents.append(self._cutter.document(example, weights, config.top_k, config.temperature))
        if not documents:
            raise DataError(f"{data.folder} has no answers")
        return documents

    def _dataset(self, folder: str) -> Dataset:
        data = Dataset.open(Path(folder))
        data.check_tokenizer(Tokenizer.load(self.target).fingerprint, self.config.target)
        return data

    def _groups(self) -> list[dict[str, object]]:
        """Matrices decay, norms and biases do not."""
        learning = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        return [
            {"params": [one for one in learning if one.dim() > 1], "weight_decay": self.config.weight_decay},
            {"params": [one for one in learning if one.dim() == 1], "weight_decay": 0.0},
        ]

    def _parameters(self) -> Tensors:
        return {name: value for name, value in self.student.named_parameters() if value.requires_grad}

    def _load_parameters(self, tensors: Tensors) -> None:
        with torch.no_grad():
            for name, value in self._parameters().items():
                if name not in tensors or tensors[name].shape != value.shape:
                    raise DataError(f"{self.folder} is the run of another student: it lacks {name} {list(value.shape)}")
                value.copy_(tensors[name])

    def _save(self) -> None:
        moments = {
            f"{kind}:{name}": self._optimizer.state[value][kind]
            for name, value in self._parameters().items()
            for kind in ("step", "exp_avg", "exp_avg_sq")
        }
        kept = self.student.kept
        vocabulary = {} if kept is None else {KEPT: kept}
        save_state(self.folder, self.standing, {**self._parameters(), **moments, **vocabulary})

    def _resume(self, standing: Standing, tensors: Tensors) -> None:
        self.standing = standing
        self._load_parameters(tensors)
        for name, value in self._parameters().items():
            self._optimizer.state[value] = {
                kind: tensors[f"{kind}:{name}"].to("cpu" if kind == "step" else self._device)
                for kind in ("step", "exp_avg", "exp_avg_sq")
            }
        self._drop_later_looks()

    def _drop_later_looks(self) -> None:
        """Those after the state: they are made again."""
        path = self.folder / CURVE
        if path.exists():
            head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            path.write_text(head + "".join(line for line in lines if int(line.split(",")[0]) <= self.standing.step))

    def _check_config(self) -> None:
        path = self.folder / CONFIG
        own = msgspec.json.decode(msgspec.json.encode(self.config))
        if path.exists():
            before = msgspec.json.decode(path.read_bytes())
            changed = [name for name in own if name not in MAY_CHANGE and before.get(name) != own[name]]
            if changed:
                name = changed[0]
                raise DataError(f"{self.folder} is a run with {name} {before.get(name)!r}, this one has {own[name]!r}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(self.config)))
        except OSError as error:
            raise DataError(f"cannot write {path}: {error}") from error


def learning_rate(config: DistilConfig, step: int) -> float:
    """Of update `step`, from 0: a linear rise, a plateau, and half a cosine down to zero over the last updates."""
    decay = min(config.decay or config.steps, config.steps)
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    progress = max(0.0, (step - (config.steps - decay)) / decay)
    return config.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def _steps(documents: Sequence[Document], config: DistilConfig) -> Iterator[list[list[list[Document]]]]:
    """Epoch after epoch, each in its own order: the passes of every update."""
    epoch = 0
    while True:
        order = np.random.default_rng((config.seed, epoch)).permutation(len(documents))
        packed = pack((documents[i] for i in order), config.length)
        yield from _chunks(_chunks(packed, config.rows), config.accumulate)
        epoch += 1


def _chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while chunk := list(islice(items, size)):
        yield chunk
