"""Latency models from the tables of `goodspeed profile`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.profiling.profile_grid import ProfileCell
from goodspeed.registry import Registry
from goodspeed.simulator.latency.idle_penalty import IdlePenalty
from goodspeed.simulator.latency.interpolation_grid import GridPoints, InterpolationGrid
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape
from goodspeed.simulator.latency.step_breakdown import break_down

AXES = ("streams", "tokens per stream", "context")
SCHEMA = 3


@config_dataclass
class MeasuredTableConfig:
    """A latency table measured by `goodspeed profile`."""

    path: str = option("", "file that `goodspeed profile --json FILE` wrote")
    role: str = option("target", "engine whose table is used", choices=lambda: ROLES)

    def model(self) -> LatencyModel:
        """The configured model. Raises ConfigError for a file that is missing or is not a profile."""
        return ROLES[self.role](_read(self.path))


class _Tables(msgspec.Struct):
    """The used part of a profile; the rest of the file is for readers."""

    schema: int
    verify: list[ProfileCell]
    prefill: list[ProfileCell]
    drafting: list[ProfileCell]
    opening: list[ProfileCell] = []
    after_pauses: list[ProfileCell] = []
    draft_after_pauses: list[ProfileCell] = []


class TargetTable:
    """A verification step by streams, tokens and context. Prompts add their cost beyond the shortest step, and an idle
    time adds its penalty."""

    def __init__(
        self, verify: Sequence[ProfileCell], prefill: Sequence[ProfileCell], idle_penalty: IdlePenalty
    ) -> None:
        """`prefill`: steps of one stream and several tokens."""
        self._idle_penalty = idle_penalty
        cells: GridPoints = {(cell.streams, cell.tokens, cell.context): cell.median_s for cell in verify}
        self._verify = InterpolationGrid("verification", AXES, cells)
        self._shortest_s = min(cells.values())
        single = [cell for cell in verify if cell.streams == 1]
        context = min((cell.context for cell in single), default=0)
        # A chunk of a few tokens costs as much as a proposal of that length; longer chunks were measured as prompts.
        chunks: GridPoints = {(cell.tokens,): cell.median_s for cell in single if cell.context == context}
        chunks.update({(cell.tokens,): cell.median_s for cell in prefill if cell.streams == 1})
        self._prefill = InterpolationGrid("prefill", ("prompt tokens",), chunks)

    def step_s(self, shape: StepShape) -> float:
        return self._busy_step_s(shape) + self._idle_penalty(shape.num_streams, shape.idle_s)

    def _busy_step_s(self, shape: StepShape) -> float:
        step = break_down(shape)
        prefill_s = self._prefill(step.num_prefill_tokens) if step.num_prefill_tokens else 0.0
        if not step.num_verifying:
            return prefill_s
        tokens = step.num_verified_tokens / step.num_verifying
        verify_s = self._verify(step.num_verifying, tokens, max(1.0, step.verify_context - tokens))
        return verify_s + max(0.0, prefill_s - self._shortest_s)


class DraftTable:
    """A draft step: a round of the draft engine with the longest measured draft, divided by the tokens that it yields.

    A chunk of a prompt costs the difference between reading up to its end and reading up to its start.
    """

    def __init__(
        self, drafting: Sequence[ProfileCell], opening: Sequence[ProfileCell], idle_penalty: IdlePenalty
    ) -> None:
        self._idle_penalty = idle_penalty
        longest = max(cell.tokens for cell in drafting)
        cells: GridPoints = {
            (cell.streams, cell.context): cell.median_s / max(1.0, cell.num_drafted or 0.0)
            for cell in drafting
            if cell.tokens == longest
        }
        self._step = InterpolationGrid("drafting", (AXES[0], AXES[2]), cells)
        prompts: GridPoints = {(0.0,): 0.0, **{(cell.tokens,): cell.median_s for cell in opening}}
        self._opening = InterpolationGrid("reading prompts", ("prompt tokens",), prompts)

    def step_s(self, shape: StepShape) -> float:
        return self._busy_step_s(shape) + self._idle_penalty(shape.num_streams, shape.idle_s)

    def _busy_step_s(self, shape: StepShape) -> float:
        if shape.num_prefill_tokens:
            start = max(0, shape.num_context_tokens - shape.num_prefill_tokens)
            return max(0.0, self._opening(start + shape.num_prefill_tokens) - self._opening(start))
        context = (shape.num_context_tokens - shape.num_tokens) / shape.num_streams
        return self._step(shape.num_streams, max(1.0, context))


def _target(tables: _Tables) -> LatencyModel:
    if not tables.verify:
        raise ConfigError("the latency table has no verification step, expected at least one")
    return TargetTable(tables.verify, tables.prefill, IdlePenalty(tables.after_pauses))


def _draft(tables: _Tables) -> LatencyModel:
    if not tables.drafting or not tables.opening:
        raise ConfigError("the latency table has no drafting or no opening, expected at least one point of each")
    return DraftTable(tables.drafting, tables.opening, IdlePenalty(tables.draft_after_pauses))


ROLES: Registry[Callable[[_Tables], LatencyModel]] = Registry("role", {"target": _target, "draft": _draft})


def _read(path: str) -> _Tables:
    try:
        tables = msgspec.json.decode(Path(path).read_bytes(), type=_Tables)
    except OSError as error:
        raise ConfigError(f"cannot read the latency table {path!r}: {error}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is not a table of `goodspeed profile`: {error}") from error
    if tables.schema != SCHEMA:
        raise ConfigError(f"{path} is a table of schema {tables.schema}, expected {SCHEMA}")
    return tables
