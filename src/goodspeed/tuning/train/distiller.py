"""Distillation: a student learns to say what the target would, and is watched on answers that it does not learn from.

The order of answers is a function of the seed, and a state is written now and then, so a run that was killed goes on to
the very end that it would have had (on one machine, with as many threads).
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import torch

from goodspeed.engine.torch.device import choose_device, choose_dtype
from goodspeed.errors import DataError
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.tuning.data.dataset import Dataset
from goodspeed.tuning.data.example import Example
from goodspeed.tuning.data.packed_rows import Cutter, Document, PackedRows, batch, pack
from goodspeed.tuning.evaluate.renewal import accepted_per_round
from goodspeed.tuning.train.export import export
from goodspeed.tuning.train.learning_curve import CurvePoint, LearningCurve
from goodspeed.tuning.train.losses import LOSSES, likeliest, top_logprobs
from goodspeed.tuning.train.mlp_pruning import prune_mlps
from goodspeed.tuning.train.on_policy_answers import OnPolicyAnswers
from goodspeed.tuning.train.schedule import Pass, chunks, learning_rate, shuffled_rows, updates
from goodspeed.tuning.train.student import Student
from goodspeed.tuning.train.student_init import initial_student
from goodspeed.tuning.train.training_state import (
    BEST,
    Tensors,
    TrainingProgress,
    load_state,
    read_tensors,
    save_state,
    write_tensors,
)
from goodspeed.tuning.tuning_config import DistilConfig

WINDOW = 4
LARGEST_GRADIENT = 1.0
CURVE = "curve.csv"
KEPT = "kept"
CONFIG = "distil.json"
MAY_CHANGE = ("steps", "decay", "threads", "patience", "validate_every", "checkpoint_every", "data", "validation")


Report = Callable[[CurvePoint], None]


class Distiller:
    """One run: the student, its optimiser, its data."""

    def __init__(self, config: DistilConfig) -> None:
        """Raises DataError, CheckpointError, ConfigError; a run that is there must have the same config."""
        self.config = config
        self.folder = Path(config.out)
        self._curve = LearningCurve(self.folder / CURVE)
        self._objective = LOSSES[config.loss]
        self.target = locate(config.target)
        self._check_config()
        self._device = choose_device(config.device)
        torch.set_num_threads(config.threads or os.cpu_count() or 1)
        data, before = self._dataset(config.data), load_state(self.folder)
        start = initial_student(config.student, self.target, data.examples(), config.seed)
        if before and KEPT in before[1]:  # data that grew since would choose others
            start = replace(start, kept=before[1][KEPT])
        self._cutter = Cutter(config.length, config.max_prompt, start.config.vocab_size, start.kept)
        self._documents = self._teaching(data.examples())
        if config.student.mlp_width:
            start = prune_mlps(start, config.student.mlp_width, self._documents, config.length)
        trained = ["model.layers.", "model.norm."]
        trained += ["lm_head."] * config.student.train_head + ["model.embed_tokens."] * config.student.train_embedding
        dtype = choose_dtype(config.dtype, self._device)
        self.student = Student(start, trained, dtype, config.student.lora_rank).place(self._device)
        watched = self._dataset(config.validation).examples()
        self._validation = self._teaching(islice(watched, config.validation_answers))
        self._on_policy = (
            OnPolicyAnswers(config, self.target, data, (dtype, self._device)) if config.on_policy else None
        )
        self._optimizer = torch.optim.AdamW(self._groups(), lr=config.learning_rate, betas=(0.9, 0.95), fused=True)
        self.standing = TrainingProgress()
        if before:
            self._resume(*before)

    def run(self, report: Report, on_step: Callable[[int], None]) -> None:
        """Learn until the steps are done or it no longer gets better. Raises DataError if the disk is full."""
        config, standing, began = self.config, self.standing, time.monotonic()
        losses: list[float] = []
        given = islice(updates(self._documents, config), standing.step, None)
        while standing.step < config.steps and not self._is_stale():
            losses.append(self._update(self._mixed(next(given))))
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

    def _loss(self, rows: PackedRows) -> torch.Tensor:
        """[n]: of every place."""
        share = self.config.likeliest_share
        logprobs = top_logprobs(self.student(rows), self.student.head(), rows.top_places)
        target_probs = rows.top_probs * (rows.top_places >= 0)
        loss = self._objective(logprobs, target_probs)
        return loss if share == 0.0 else (1.0 - share) * loss + share * likeliest(logprobs, target_probs)

    @torch.no_grad()
    def _look(self, loss: float, elapsed_s: float) -> CurvePoint:
        chances: list[list[float]] = []  # of every answer's tokens but the first, which is the target's own
        overlaps: list[torch.Tensor] = []
        for packed in chunks(pack(self._validation, self.config.length), self.config.rows):
            rows = batch(packed, self.config.length).to(self._device)
            logits = (self.student(rows) @ self.student.head().T).float()
            is_hit = (logits.argmax(-1) == rows.answer_places).cpu().numpy().astype(np.float64)
            answers = np.split(is_hit, np.cumsum([one.num_losses for row in packed for one in row])[:-1])
            chances += [answer[1:].tolist() for answer in answers]
            probs = logits.softmax(-1).gather(1, rows.top_places.clamp_min(0))
            overlaps.append(torch.minimum(probs, rows.top_probs * (rows.top_places >= 0)).sum(-1))
        standing = self.standing
        return CurvePoint(
            standing.step,
            standing.num_tokens,
            elapsed_s,
            learning_rate(self.config, standing.step - 1),
            loss,
            float(np.concatenate(chances).mean()),
            accepted_per_round(chances, WINDOW),
            float(torch.cat(overlaps).mean()),
        )

    def _keep(self, look: CurvePoint) -> None:
        """Note the look in the curve, and the weights if they are the best so far."""
        standing = self.standing
        is_best = look.accepted_per_round > standing.best
        standing.num_worse = 0 if is_best else standing.num_worse + 1
        if is_best:
            standing.best = look.accepted_per_round
            write_tensors(self.folder / BEST, self._parameters())
        self._curve.add(look)

    def _is_stale(self) -> bool:
        return 0 < self.config.patience <= self.standing.num_worse

    def _mixed(self, given: list[Pass]) -> list[Pass]:
        """These passes, or by chance (of the seed and the step) passes over what the student wrote."""
        config, step = self.config, self.standing.step
        if self._on_policy is None or np.random.default_rng((config.seed, step, 1)).random() >= config.on_policy:
            return given
        documents = self._teaching(self._on_policy.examples(self.student, step))
        rows = shuffled_rows(documents, config, step)
        return next(chunks(chunks(rows, config.rows), config.accumulate))

    def _teaching(self, examples: Iterable[Example]) -> list[Document]:
        config = self.config
        return [
            self._cutter.document(
                one, one.weights if config.weights == "stored" else None, config.top_k, config.temperature
            )
            for one in examples
        ]

    def _dataset(self, folder: str) -> Dataset:
        data = Dataset.open(Path(folder))
        data.check_tokenizer(Tokenizer.load(self.target).fingerprint, self.config.target)
        if not data.num_answers:
            raise DataError(f"{data.folder} has no answers")
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

    def _resume(self, standing: TrainingProgress, tensors: Tensors) -> None:
        self.standing = standing
        self._load_parameters(tensors)
        for name, value in self._parameters().items():
            self._optimizer.state[value] = {
                kind: tensors[f"{kind}:{name}"].to(self._device) for kind in ("step", "exp_avg", "exp_avg_sq")
            }
        self._curve.drop_after(standing.step)

    def _check_config(self) -> None:
        path = self.folder / CONFIG
        try:
            if path.exists():
                self._check_changes(msgspec.json.decode(path.read_bytes(), type=DistilConfig))
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(self.config)))
        except (OSError, msgspec.DecodeError) as error:
            raise DataError(f"cannot read or write {path}: {error}") from error

    def _check_changes(self, before: DistilConfig) -> None:
        now = self.config
        for name in (one.name for one in fields(now) if one.name not in MAY_CHANGE):
            if getattr(before, name) != getattr(now, name):
                raise DataError(
                    f"{self.folder} is a run with {name} {getattr(before, name)!r}, this one has {getattr(now, name)!r}"
                )
