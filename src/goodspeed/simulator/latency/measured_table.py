"""Tables that `goodspeed profile` measured on a machine of one's own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.profiling.cell import ProfileCell
from goodspeed.registry import Registry
from goodspeed.simulator.latency.idle_penalty import IdlePenalty
from goodspeed.simulator.latency.interpolation_grid import GridPoints, InterpolationGrid
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape
from goodspeed.simulator.latency.step_breakdown import split

AXES = ("streams", "tokens per stream", "context")
SCHEMA = 2


@config_dataclass
class MeasuredTableConfig:
    """A latency table measured by `goodspeed profile`."""

    path: str = option("", "file that `goodspeed profile --json FILE` wrote")
    role: str = option("target", "engine whose table is used", choices=lambda: ROLES)

    def model(self) -> LatencyModel:
        """The model of these tables. Raises ConfigError for a file that is missing, or is no such table."""
        return ROLES[self.role](_read(self.path))


class _Tables(msgspec.Struct):
    """What is used of a profile; the rest of the file is for people."""

    schema: int
    verify: list[ProfileCell]
    prefill: list[ProfileCell]
    drafting: list[ProfileCell]
    opening: list[ProfileCell] = []  # since schema 2
    waking: list[ProfileCell] = []  # these two are not in older files
    draft_waking: list[ProfileCell] = []


class TargetTable:
    """A verification step by streams, tokens and context; prompts add what they cost beyond the least step, and a pause
    what it makes a step longer."""

    def __init__(self, verify: Sequence[ProfileCell], prefill: Sequence[ProfileCell], waking: IdlePenalty) -> None:
        """`prefill`: cells of one stream, and several tokens."""
        self._waking = waking
        cells: GridPoints = {(cell.streams, cell.tokens, cell.context): cell.median_s for cell in verify}
        self._verify = InterpolationGrid("verification", AXES, cells)
        self._least_s = min(cells.values())
        alone = [cell for cell in verify if cell.streams == 1]
        context = min((cell.context for cell in alone), default=0)
        # A chunk of a few tokens costs what a proposal as long does; longer ones were measured as prompts.
        chunks: GridPoints = {(cell.tokens,): cell.median_s for cell in alone if cell.context == context}
        chunks.update({(cell.tokens,): cell.median_s for cell in prefill if cell.streams == 1})
        self._prefill = InterpolationGrid("prefill", ("prompt tokens",), chunks)

    def step_s(self, shape: StepShape) -> float:
        return self._awake_s(shape) + self._waking(shape.num_streams, shape.idle_s)

    def _awake_s(self, shape: StepShape) -> float:
        parts = split(shape)
        prefill_s = self._prefill(parts.num_prefill_tokens) if parts.num_prefill_tokens else 0.0
        if not parts.num_verifying:
            return prefill_s
        tokens = parts.num_verified_tokens / parts.num_verifying
        verify_s = self._verify(parts.num_verifying, tokens, max(1.0, parts.verify_context - tokens))
        return verify_s + max(0.0, prefill_s - self._least_s)


class DraftTable:
    """A draft step: a round of the draft engine, spread over the tokens that came of the longest draft measured.

    A piece of a prompt costs what reading up to its end does, less what reading up to its beginning does.
    """

    def __init__(self, drafting: Sequence[ProfileCell], opening: Sequence[ProfileCell], waking: IdlePenalty) -> None:
        self._waking = waking
        most = max(cell.tokens for cell in drafting)
        cells: GridPoints = {
            (cell.streams, cell.context): cell.median_s / max(1.0, cell.num_drafted or 0.0)
            for cell in drafting
            if cell.tokens == most
        }
        self._step = InterpolationGrid("drafting", (AXES[0], AXES[2]), cells)
        prompts: GridPoints = {(0.0,): 0.0, **{(cell.tokens,): cell.median_s for cell in opening}}
        self._opening = InterpolationGrid("reading prompts", ("prompt tokens",), prompts)

    def step_s(self, shape: StepShape) -> float:
        return self._awake_s(shape) + self._waking(shape.num_streams, shape.idle_s)

    def _awake_s(self, shape: StepShape) -> float:
        if shape.num_prefill_tokens:
            start = max(0, shape.num_context_tokens - shape.num_prefill_tokens)
            return max(0.0, self._opening(start + shape.num_prefill_tokens) - self._opening(start))
        context = (shape.num_context_tokens - shape.num_tokens) / shape.num_streams
        return self._step(shape.num_streams, max(1.0, context))


def _target(tables: _Tables) -> LatencyModel:
    if not tables.verify:
        raise ConfigError("the latency table has no verification step, expected at least one")
    return TargetTable(tables.verify, tables.prefill, IdlePenalty(tables.waking))


def _draft(tables: _Tables) -> LatencyModel:
    if not tables.drafting or not tables.opening:
        raise ConfigError("the latency table has no drafting or no opening, expected at least one cell of each")
    return DraftTable(tables.drafting, tables.opening, IdlePenalty(tables.draft_waking))


ROLES: Registry[Callable[[_Tables], LatencyModel]] = Registry("role", {"target": _target, "draft": _draft})


def _read(path: str) -> _Tables:
    try:
        tables = msgspec.json.decode(Path(path).read_bytes(), type=_Tables)
    except OSError as error:
        raise ConfigError(f"cannot read the latency table {path!r}: {error}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is no table of `goodspeed profile`: {error}") from error
    if tables.schema != SCHEMA:
        raise ConfigError(f"{path} is a table of schema {tables.schema}, expected {SCHEMA}")
    return tables
