"""Drafts that follow the traffic: learn from what was recorded, judge on the newest of it, swap only what is better."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.drafts import DraftConfig
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.teacher_forcing import teacher_force_all
from goodspeed.errors import DataError
from goodspeed.stats.intervals import ConfidenceInterval, paired_difference
from goodspeed.tuning.data.generation import RecordedAnswer
from goodspeed.tuning.data.prompt_sources import read_recorded
from goodspeed.tuning.data.scored_answer import ScoredAnswer
from goodspeed.tuning.evaluate.renewal import expected_rounds
from goodspeed.tuning.evaluate.round_replay import RoundReplayer
from goodspeed.tuning.train.ngram_training import learn_table

NUM_STREAMS = 4
LIVE_WINDOW, LIVE_SURVIVAL = 8, 0.1
"""How the drafts see the traffic before it is their turn to be judged."""
STATE = "state.json"
JOURNAL = "rounds.jsonl"


class DrafterAdmin(Protocol):
    """A drafter, from outside."""

    def current(self) -> DraftConfig:
        """What drafts now. Raises LinkLostError."""

    def swap(self, config: DraftConfig) -> None:
        """Have this draft. Raises LinkLostError, or ConfigError if the drafter refuses it."""


class DraftTrainer(Protocol):
    """Makes a new draft from recorded traffic."""

    def make(self, current: DraftConfig, recorded: Path, folder: Path) -> DraftConfig:
        """A draft that has learned from the lines of `recorded`; what it needs is written into `folder`."""


@dataclass(frozen=True, slots=True)
class DraftComparison:
    """An old and a new draft on the same answers: mean accepted tokens per round of an answer."""

    num_answers: int
    old: float
    new: float
    gain: ConfidenceInterval  # paired by answer
    is_better: bool


@dataclass(frozen=True, slots=True)
class OnlineRound:
    """What became of one round."""

    number: int
    num_learned: int
    judgement: DraftComparison
    old: str
    new: str
    is_swapped: bool


@dataclass(frozen=True, slots=True)
class OnlinePolicy:
    """When a round begins, and when its draft is good enough."""

    min_answers: int = 64
    """New ones."""
    max_learned: int = 4000
    """The newest; of older traffic nothing is learned any more."""
    judged_share: float = 0.25
    """Of the new answers, the newest: judged by, and learned from in the next round only."""
    window: int = 4
    margin: float = 0.0
    """Accepted tokens per round that a new draft must gain at least; and the low end of its 95% interval be above 0."""


class OnlineTuner:
    """One drafter's traffic file, and a folder for what is made of it; a run that was killed goes on there."""

    def __init__(
        self, recorded: Path, folder: Path, admin: DrafterAdmin, maker: DraftTrainer, policy: OnlinePolicy
    ) -> None:
        self._recorded = recorded
        self._folder = folder
        self._admin = admin
        self._maker = maker
        self._policy = policy

    def next_round(self, make_engine: Callable[[DraftConfig], DraftEngine], vocab_size: int) -> OnlineRound | None:
        """One round if there is traffic for it, else None. Raises DataError, and what admin and maker raise."""
        lines = self._lines()
        number, num_seen = self._state()
        num_new = len(lines) - num_seen
        if num_new < self._policy.min_answers:
            return None
        folder = self._folder / f"round-{number:04d}"
        learned, judged = (_write(folder / name, part) for name, part in self._parts(lines, num_new))
        current = self._admin.current()
        new = self._maker.make(current, learned, folder)
        seen, answers = (answers_said(read_recorded(path, vocab_size)) for path in (learned, judged))
        lately = seen[-num_new:]
        old_one = ComparedDraft(make_engine(current), lately if learns_from_traffic(current) else ())
        has_learned = new.table != current.table
        new_one = ComparedDraft(make_engine(new), lately if learns_from_traffic(new) and not has_learned else ())
        judgement = judge(old_one, new_one, answers, self._policy)
        if judgement.is_better:
            self._admin.swap(new)
        done = OnlineRound(number, len(seen), judgement, current.name, new.name, judgement.is_better)
        self._finish(done, len(lines))
        return done

    def _parts(self, lines: Sequence[str], num_new: int) -> list[tuple[str, Sequence[str]]]:
        num_judged = max(2, math.ceil(self._policy.judged_share * num_new))
        learned = lines[:-num_judged][-self._policy.max_learned :]
        return [("learned.jsonl", learned), ("judged.jsonl", lines[-num_judged:])]

    def _lines(self) -> list[str]:
        """Streams under the rejection rule are left out: their drafts cannot be judged without the target."""
        try:
            lines = self._recorded.read_text(encoding="utf-8").splitlines() if self._recorded.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {self._recorded}: {error}") from error
        return [line for line in lines if '"rule":"rejection"' not in line]

    def _state(self) -> tuple[int, int]:
        """(number of the next round, answers that were there at the end of the last)"""
        path = self._folder / STATE
        if not path.exists():
            return 0, 0
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return int(values["rounds"]), int(values["answers"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not the state of an online run: {error}") from error

    def _finish(self, done: OnlineRound, num_answers: int) -> None:
        state = json.dumps({"rounds": done.number + 1, "answers": num_answers})
        unfinished = self._folder / f"{STATE}.part"
        try:
            with (self._folder / JOURNAL).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(done)) + "\n")
            unfinished.write_text(state, encoding="utf-8")
            unfinished.replace(self._folder / STATE)
        except OSError as error:
            raise DataError(f"cannot write into {self._folder}: {error}") from error


@dataclass(frozen=True, slots=True)
class ComparedDraft:
    """A draft, and the traffic that it has yet to see, as a live one would have."""

    engine: DraftEngine
    seen: Sequence[ScoredAnswer]

    def accepted(self, judged: Sequence[ScoredAnswer], window: int) -> list[float]:
        """Tokens per round, by answer."""
        RoundReplayer(self.engine, NUM_STREAMS).replay(self.seen, LIVE_WINDOW, LIVE_SURVIVAL)
        judged_positions = teacher_force_all(self.engine, judged, NUM_STREAMS)
        rounds = [expected_rounds(forced.acceptance_probs, window) for forced in judged_positions]
        return [one.num_accepted / one.num_rounds for one in rounds]


def judge(
    old: ComparedDraft, new: ComparedDraft, judged: Sequence[ScoredAnswer], policy: OnlinePolicy
) -> DraftComparison:
    """Both drafts on held-out answers."""
    before, after = (one.accepted(judged, policy.window) for one in (old, new))
    gain = paired_difference(after, before)
    is_better = gain.low > 0.0 and gain.mean >= policy.margin
    return DraftComparison(len(judged), math.fsum(before) / len(before), math.fsum(after) / len(after), gain, is_better)


def learns_from_traffic(draft: DraftConfig) -> bool:
    """Whether its drafts change with what it sees. Of others only confidences do, which no comparison here asks for."""
    return draft.engine in ("hybrid", "table")


def answers_said(said: Iterable[RecordedAnswer]) -> list[ScoredAnswer]:
    """Recorded answers as drafts are judged by; greedy, or coupled to their seed."""
    return [
        ScoredAnswer(one.prompt, one.answer, _sampling(one), one.origin.category) for one in said if len(one.answer) > 1
    ]


def _sampling(said: RecordedAnswer) -> Sampling:
    heat, seed = said.origin.temperature, said.origin.seed
    return Sampling(heat, seed=seed, rule=Rule.COUPLED) if heat else Sampling(seed=seed)


def _write(path: Path, lines: Sequence[str]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}") from error
    return path


@dataclass(frozen=True, slots=True)
class NGramTableTrainer:
    """A table of all the traffic that there was, for the draft that is there."""

    vocab_size: int
    tokenizer: str

    def make(self, current: DraftConfig, recorded: Path, folder: Path) -> DraftConfig:
        """Raises DataError, CheckpointError."""
        engine = current.engine if current.engine in ("hybrid", "table") else "hybrid"
        config = replace(current, engine=engine, table=str(folder / "table.npz"), memory="")
        answers = answers_said(read_recorded(recorded, self.vocab_size))
        learn_table([config], answers, (self.vocab_size, self.tokenizer)).save(Path(config.table))
        return config
