"""Distillation: a student is trained on the target's answers and validated on held-out ones.

The order of answers is a function of the seed, and the state is saved regularly. An interrupted run therefore resumes
to exactly the result that it would have had (on the same machine, with the same number of threads).
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
MAX_GRADIENT_NORM = 1.0
CURVE = "curve.csv"
KEPT = "kept"  # name of the reduced vocabulary in the state
CONFIG = "distil.json"
MUTABLE_KEYS = ("steps", "decay", "threads", "patience", "validate_every", "checkpoint_every", "data", "validation")


Report = Callable[[CurvePoint], None]


class Distiller:
    """One training run: the student, its optimiser, its data."""

    def __init__(self, config: DistilConfig) -> None:
        """Raises DataError, CheckpointError, ConfigError. An earlier run in the folder must have the same config."""
        self.config = config
        self.folder = Path(config.out)
        self._curve = LearningCurve(self.folder / CURVE)
        self._objective = LOSSES[config.loss]
        self.target = locate(config.target)
        self._check_config()
        self._device = choose_device(config.device)
        torch.set_num_threads(config.threads or os.cpu_count() or 1)
        data, saved = self._dataset(config.data), load_state(self.folder)
        init = initial_student(config.student, self.target, data.examples(), config.seed)
        if saved and KEPT in saved[1]:  # data that has grown since would select other tokens
            init = replace(init, draft_vocab=saved[1][KEPT])
        self._cutter = Cutter(config.length, config.max_prompt, init.config.vocab_size, init.draft_vocab)
        self._documents = self._documents_of(data.examples())
        if config.student.mlp_width:
            init = prune_mlps(init, config.student.mlp_width, self._documents, config.length)
        trained = ["model.layers.", "model.norm."]
        trained += ["lm_head."] * config.student.train_head + ["model.embed_tokens."] * config.student.train_embedding
        dtype = choose_dtype(config.dtype, self._device)
        self.student = Student(init, trained, dtype, config.student.lora_rank).place(self._device)
        validation_examples = self._dataset(config.validation).examples()
        self._validation = self._documents_of(islice(validation_examples, config.validation_answers))
        self._on_policy = (
            OnPolicyAnswers(config, self.target, data, (dtype, self._device)) if config.on_policy else None
        )
        self._optimizer = torch.optim.AdamW(self._groups(), lr=config.learning_rate, betas=(0.9, 0.95), fused=True)
        self.progress = TrainingProgress()
        if saved:
            self._resume(*saved)

    def run(self, report: Report, on_step: Callable[[int], None]) -> None:
        """Train for the configured steps or until validations stop improving. Raises DataError if the disk is full."""
        config, progress, start_s = self.config, self.progress, time.monotonic()
        losses: list[float] = []
        passes = islice(updates(self._documents, config), progress.step, None)
        while progress.step < config.steps and not self._is_stale():
            losses.append(self._update(self._with_on_policy(next(passes))))
            on_step(progress.step)
            if progress.step % config.validate_every == 0 or progress.step == config.steps:
                point = self._validate(float(np.mean(losses)), time.monotonic() - start_s)
                losses.clear()
                self._record(point)
                report(point)
            if progress.step % config.checkpoint_every == 0 or progress.step == config.steps:
                self._save()

    def export(self) -> None:
        """Write the best weights into the run's folder, as a checkpoint. Raises CheckpointError, DataError."""
        if (self.folder / BEST).exists():
            self._load_parameters(read_tensors(self.folder / BEST))
        student = self.student
        export(self.folder, student.config, student.export(), student.draft_vocab, self.target)

    def _update(self, passes: Sequence[Sequence[Sequence[Document]]]) -> float:
        """One optimiser step over some forward passes. Returns the mean loss."""
        config, progress = self.config, self.progress
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(config, progress.step)
        batches = [batch(packed, config.length).to(self._device) for packed in passes]
        total = sum(float(rows.weights.sum()) for rows in batches)
        mean = 0.0
        for rows in batches:
            loss = (self._loss(rows) * rows.weights).sum() / total
            loss.backward()
            mean += loss.item()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), MAX_GRADIENT_NORM)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        progress.num_tokens += sum(len(rows.loss_positions) for rows in batches)
        return mean

    def _loss(self, rows: PackedRows) -> torch.Tensor:
        """[n]: the loss at every position."""
        share = self.config.likeliest_share
        logprobs = top_logprobs(self.student(rows), self.student.head(), rows.top_rows)
        target_probs = rows.top_probs * (rows.top_rows >= 0)
        loss = self._objective(logprobs, target_probs)
        return loss if share == 0.0 else (1.0 - share) * loss + share * likeliest(logprobs, target_probs)

    @torch.no_grad()
    def _validate(self, loss: float, elapsed_s: float) -> CurvePoint:
        acceptance_probs: list[list[float]] = []  # of every answer's tokens but the first, which the prefill generates
        overlaps: list[torch.Tensor] = []
        for packed in chunks(pack(self._validation, self.config.length), self.config.rows):
            rows = batch(packed, self.config.length).to(self._device)
            logits = (self.student(rows) @ self.student.head().T).float()
            is_hit = (logits.argmax(-1) == rows.answer_rows).cpu().numpy().astype(np.float64)
            answers = np.split(is_hit, np.cumsum([document.num_losses for row in packed for document in row])[:-1])
            acceptance_probs += [answer[1:].tolist() for answer in answers]
            probs = logits.softmax(-1).gather(1, rows.top_rows.clamp_min(0))
            overlaps.append(torch.minimum(probs, rows.top_probs * (rows.top_rows >= 0)).sum(-1))
        progress = self.progress
        return CurvePoint(
            progress.step,
            progress.num_tokens,
            elapsed_s,
            learning_rate(self.config, progress.step - 1),
            loss,
            float(np.concatenate(acceptance_probs).mean()),
            accepted_per_round(acceptance_probs, WINDOW),
            float(torch.cat(overlaps).mean()),
        )

    def _record(self, point: CurvePoint) -> None:
        """Add the point to the curve, and save the weights if they are the best so far."""
        progress = self.progress
        is_best = point.accepted_per_round > progress.best
        progress.num_worse = 0 if is_best else progress.num_worse + 1
        if is_best:
            progress.best = point.accepted_per_round
            write_tensors(self.folder / BEST, self._parameters())
        self._curve.add(point)

    def _is_stale(self) -> bool:
        return 0 < self.config.patience <= self.progress.num_worse

    def _with_on_policy(self, passes: list[Pass]) -> list[Pass]:
        """The given passes or, with probability `on_policy`, passes over on-policy answers.

        Seed and step determine the draw.
        """
        config, step = self.config, self.progress.step
        if self._on_policy is None or np.random.default_rng((config.seed, step, 1)).random() >= config.on_policy:
            return passes
        documents = self._documents_of(self._on_policy.examples(self.student, step))
        rows = shuffled_rows(documents, config, step)
        return next(chunks(chunks(rows, config.rows), config.accumulate))

    def _documents_of(self, examples: Iterable[Example]) -> list[Document]:
        config = self.config
        return [
            self._cutter.document(
                example, example.weights if config.weights == "stored" else None, config.top_k, config.temperature
            )
            for example in examples
        ]

    def _dataset(self, folder: str) -> Dataset:
        data = Dataset.open(Path(folder))
        data.check_tokenizer(Tokenizer.load(self.target).fingerprint, self.config.target)
        if not data.num_answers:
            raise DataError(f"{data.folder} has no answers")
        return data

    def _groups(self) -> list[dict[str, object]]:
        """Parameter groups: weight decay for matrices, none for norms and biases."""
        trained_parameters = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        return [
            {
                "params": [value for value in trained_parameters if value.dim() > 1],
                "weight_decay": self.config.weight_decay,
            },
            {"params": [value for value in trained_parameters if value.dim() == 1], "weight_decay": 0.0},
        ]

    def _parameters(self) -> Tensors:
        return {name: value for name, value in self.student.named_parameters() if value.requires_grad}

    def _load_parameters(self, tensors: Tensors) -> None:
        with torch.no_grad():
            for name, value in self._parameters().items():
                if name not in tensors or tensors[name].shape != value.shape:
                    raise DataError(
                        f"{self.folder} is the run of another student: it has no {name} {list(value.shape)}"
                    )
                value.copy_(tensors[name])

    def _save(self) -> None:
        moments = {
            f"{kind}:{name}": self._optimizer.state[value][kind]
            for name, value in self._parameters().items()
            for kind in ("step", "exp_avg", "exp_avg_sq")
        }
        draft_vocab = self.student.draft_vocab
        vocabulary = {} if draft_vocab is None else {KEPT: draft_vocab}
        save_state(self.folder, self.progress, {**self._parameters(), **moments, **vocabulary})

    def _resume(self, progress: TrainingProgress, tensors: Tensors) -> None:
        self.progress = progress
        self._load_parameters(tensors)
        for name, value in self._parameters().items():
            self._optimizer.state[value] = {
                kind: tensors[f"{kind}:{name}"].to(self._device) for kind in ("step", "exp_avg", "exp_avg_sq")
            }
        self._curve.drop_after(progress.step)

    def _check_config(self) -> None:
        path = self.folder / CONFIG
        try:
            if path.exists():
                self._check_changes(msgspec.json.decode(path.read_bytes(), type=DistilConfig))
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(self.config)))
        except (OSError, msgspec.DecodeError) as error:
            raise DataError(f"cannot read or write {path}: {error}") from error

    def _check_changes(self, saved: DistilConfig) -> None:
        current = self.config
        for name in (field.name for field in fields(current) if field.name not in MUTABLE_KEYS):
            if getattr(saved, name) != getattr(current, name):
                raise DataError(
                    f"{self.folder} is a run with {name} {getattr(saved, name)!r}, "
                    f"this run has {getattr(current, name)!r}"
                )
