"""Online tuning: train a draft on recent traffic, compare it on the latest answers, swap it in if it is better."""

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
from goodspeed.tuning.data.prompt_sources import read_traffic_log
from goodspeed.tuning.data.scored_answer import ScoredAnswer
from goodspeed.tuning.evaluate.renewal import expected_rounds
from goodspeed.tuning.evaluate.round_replay import RoundReplayer
from goodspeed.tuning.train.ngram_training import learn_table

NUM_STREAMS = 4
WARM_UP_WINDOW, WARM_UP_SURVIVAL = 8, 0.1
"""Window and minimum survival of the replay that shows a draft the recent traffic before it is compared."""
STATE = "state.json"
JOURNAL = "rounds.jsonl"


class DrafterAdmin(Protocol):
    """The admin interface of a drafter."""

    def current(self) -> DraftConfig:
        """The drafter's current draft. Raises LinkLostError."""

    def swap(self, config: DraftConfig) -> None:
        """Replace the drafter's draft. Raises LinkLostError, or ConfigError if the drafter refuses it."""


class DraftTrainer(Protocol):
    """Makes a new draft from a traffic log."""

    def train(self, current: DraftConfig, traffic_log: Path, folder: Path) -> DraftConfig:
        """A draft trained on the lines of `traffic_log`; its files are written into `folder`."""


@dataclass(frozen=True, slots=True)
class DraftComparison:
    """The current and a new draft on the same answers: mean accepted tokens per round of an answer."""

    num_answers: int
    old: float
    new: float
    gain: ConfidenceInterval  # paired by answer
    is_better: bool


@dataclass(frozen=True, slots=True)
class OnlineRound:
    """The result of one round."""

    number: int
    num_trained: int
    comparison: DraftComparison
    old: str
    new: str
    is_swapped: bool


@dataclass(frozen=True, slots=True)
class OnlinePolicy:
    """When a round starts, and when its draft is swapped in."""

    min_answers: int = 64
    """New answers that start a round."""
    max_train_answers: int = 4000
    """The latest answers are trained on; older ones are ignored."""
    held_out_share: float = 0.25
    """Share of the new answers, the latest, for the comparison. They are trained on in the next round."""
    window: int = 4
    margin: float = 0.0
    """Minimum gain in accepted tokens per round. The lower end of its 95% interval must be above 0 as well."""


class OnlineTuner:
    """Tunes one drafter from its traffic log. An interrupted run resumes in its folder."""

    def __init__(
        self, traffic_log: Path, folder: Path, admin: DrafterAdmin, trainer: DraftTrainer, policy: OnlinePolicy
    ) -> None:
        self._traffic_log = traffic_log
        self._folder = folder
        self._admin = admin
        self._trainer = trainer
        self._policy = policy

    def next_round(self, make_engine: Callable[[DraftConfig], DraftEngine], vocab_size: int) -> OnlineRound | None:
        """Run one round; None without enough new traffic. Raises DataError, and the errors of admin and trainer."""
        lines = self._lines()
        number, num_seen = self._state()
        num_new = len(lines) - num_seen
        if num_new < self._policy.min_answers:
            return None
        folder = self._folder / f"round-{number:04d}"
        paths = [_write(folder / name, part) for name, part in self._split(lines, num_new)]
        current = self._admin.current()
        new = self._trainer.train(current, paths[0], folder)
        trained, held_out = (sampled_answers(read_traffic_log(path, vocab_size)) for path in paths)
        recent = trained[-num_new:]
        comparison = compare_drafts(
            ComparedDraft(make_engine(current), recent if learns_from_traffic(current) else ()),
            ComparedDraft(make_engine(new), recent if _has_yet_to_learn(new, current) else ()),
            held_out,
            self._policy,
        )
        if comparison.is_better:
            self._admin.swap(new)
        result = OnlineRound(number, len(trained), comparison, current.name, new.name, comparison.is_better)
        self._finish(result, len(lines))
        return result

    def _split(self, lines: Sequence[str], num_new: int) -> list[tuple[str, Sequence[str]]]:
        num_held_out = max(2, math.ceil(self._policy.held_out_share * num_new))
        train = lines[:-num_held_out][-self._policy.max_train_answers :]
        return [("train.jsonl", train), ("held_out.jsonl", lines[-num_held_out:])]

    def _lines(self) -> list[str]:
        """The log without streams under the rejection rule: their drafts cannot be compared without the target."""
        try:
            lines = self._traffic_log.read_text(encoding="utf-8").splitlines() if self._traffic_log.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {self._traffic_log}: {error}") from error
        return [line for line in lines if '"rule":"rejection"' not in line]

    def _state(self) -> tuple[int, int]:
        """(number of the next round, number of answers at the end of the last one)."""
        path = self._folder / STATE
        if not path.exists():
            return 0, 0
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return int(values["rounds"]), int(values["answers"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not the state of an online run: {error}") from error

    def _finish(self, result: OnlineRound, num_answers: int) -> None:
        state = json.dumps({"rounds": result.number + 1, "answers": num_answers})
        unfinished = self._folder / f"{STATE}.part"
        try:
            with (self._folder / JOURNAL).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            unfinished.write_text(state, encoding="utf-8")
            unfinished.replace(self._folder / STATE)
        except OSError as error:
            raise DataError(f"cannot write into {self._folder}: {error}") from error


@dataclass(frozen=True, slots=True)
class ComparedDraft:
    """A draft, and the traffic to show it first, as a draft in service would have seen it."""

    engine: DraftEngine
    recent: Sequence[ScoredAnswer]

    def accepted_per_round(self, answers: Sequence[ScoredAnswer], window: int) -> list[float]:
        """Accepted draft tokens per round, by answer."""
        RoundReplayer(self.engine, NUM_STREAMS).replay(self.recent, WARM_UP_WINDOW, WARM_UP_SURVIVAL)
        forced_answers = teacher_force_all(self.engine, answers, NUM_STREAMS)
        rounds = [expected_rounds(forced.acceptance_probs, window) for forced in forced_answers]
        return [expected.num_accepted / expected.num_rounds for expected in rounds]


def compare_drafts(
    old: ComparedDraft, new: ComparedDraft, held_out: Sequence[ScoredAnswer], policy: OnlinePolicy
) -> DraftComparison:
    """Compare both drafts on held-out answers, at least two."""
    accepted_old, accepted_new = (draft.accepted_per_round(held_out, policy.window) for draft in (old, new))
    gain = paired_difference(accepted_new, accepted_old)
    is_better = gain.low > 0.0 and gain.mean >= policy.margin
    num_answers = len(held_out)
    return DraftComparison(
        num_answers, math.fsum(accepted_old) / num_answers, math.fsum(accepted_new) / num_answers, gain, is_better
    )


def learns_from_traffic(draft: DraftConfig) -> bool:
    """True if drafts change with the traffic. In other engines only confidences do, which no comparison reads."""
    return draft.engine in ("hybrid", "table")


def _has_yet_to_learn(new: DraftConfig, current: DraftConfig) -> bool:
    """True for a draft that learns from traffic and whose table is not a new one, trained on it."""
    return learns_from_traffic(new) and new.table == current.table


def sampled_answers(recorded: Iterable[RecordedAnswer]) -> list[ScoredAnswer]:
    """Recorded answers of two or more tokens in the form for evaluation: greedy, or coupled to their seed."""
    return [
        ScoredAnswer(answer.prompt, answer.answer, _sampling(answer), answer.origin.category)
        for answer in recorded
        if len(answer.answer) > 1
    ]


def _sampling(answer: RecordedAnswer) -> Sampling:
    temperature, seed = answer.origin.temperature, answer.origin.seed
    return Sampling(temperature, seed=seed, rule=Rule.COUPLED) if temperature else Sampling(seed=seed)


def _write(path: Path, lines: Sequence[str]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}") from error
    return path


@dataclass(frozen=True, slots=True)
class NGramTableTrainer:
    """Trains an n-gram table on the whole traffic log, for the current draft."""

    vocab_size: int
    tokenizer: str
    """Fingerprint of the tokenizer."""

    def train(self, current: DraftConfig, traffic_log: Path, folder: Path) -> DraftConfig:
        """Raises DataError, CheckpointError."""
        engine = current.engine if current.engine in ("hybrid", "table") else "hybrid"
        config = replace(current, engine=engine, table=str(folder / "table.npz"), memory="")
        answers = sampled_answers(read_traffic_log(traffic_log, self.vocab_size))
        learn_table([config], answers, (self.vocab_size, self.tokenizer)).save(Path(config.table))
        return config
