"""A target engine slowed down to the step time of an emulated device."""

import time
from collections.abc import Sequence

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import Outcome, StreamSpec, TargetEngine, TargetInfo, Work


class PacedTarget:
    """Every step of the inner engine takes `step_s` longer. It sleeps: run it in its own thread, as servers do."""

    def __init__(self, inner: TargetEngine, step_s: float) -> None:
        self._inner = inner
        self._step_s = step_s

    @property
    def info(self) -> TargetInfo:
        return self._inner.info

    @property
    def grammars(self) -> Grammars | None:
        return self._inner.grammars

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        self._inner.open(stream, spec)

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        outcomes = self._inner.step(batch)
        time.sleep(self._step_s)
        return outcomes

    def retain(self, stream: StreamKey, num_tokens: int) -> None:
        self._inner.retain(stream, num_tokens)

    def close(self, stream: StreamKey) -> None:
        self._inner.close(stream)
