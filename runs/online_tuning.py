"""Online tuning under a domain shift: acceptance before the shift, after it, and after adaptation.

Recorded answers replace live traffic: first maths, then chat. Each arm is a drafter's engine that sees them round by
round and logs them as a drafter does. In tuned arms the rounds of `goodspeed tune online` train on the log and swap in
better drafts. The net has two layers of the target and a reduced head, distilled from maths before the run; --net adds
its arms. Writes OUT.csv and OUT.svg. A minute, with --net 25 minutes on two cores; needs data sets of
`goodspeed tune collect` and matplotlib.

    python -m runs.online_tuning --data WORK/test WORK/validation WORK/train --out online_tuning --net
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from runs.utility_tuning import by_domain

from goodspeed.decoding.sampling import Rule
from goodspeed.engine.drafts import NO_TABLE, DraftConfig, draft_engine, transfer_learned_state
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.models.catalog import locate
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.stats.ratio_estimate import RatioEstimate, ratio_of_sums
from goodspeed.tuning.data.scored_answer import ScoredAnswer, scored_answer
from goodspeed.tuning.evaluate.round_replay import ReplayedRound, RoundReplayer
from goodspeed.tuning.online.net_trainer import NetTrainer
from goodspeed.tuning.online.online_tuner import DraftTrainer, NGramTableTrainer, OnlinePolicy, OnlineRound, OnlineTuner
from goodspeed.tuning.tuning_config import CollectConfig, DistilConfig, StudentConfig

BEFORE, AFTER = "maths", "chat"
WINDOW = 4
CHUNK = 16  # answers between two rounds of the tuner
NUM_STREAMS = 4
HELD_OUT_SHARE = 0.34
SMOOTHED = 3  # chunks in a point of the plot


@dataclass(slots=True)
class Drafter:
    """A drafter's engine with recorded traffic; it is the DrafterAdmin of the tuner."""

    name: str
    config: DraftConfig
    make_engine: Callable[[DraftConfig], DraftEngine]
    rounds: list[list[ReplayedRound]] = field(default_factory=list)  # by chunk
    swaps: list[int] = field(default_factory=list)  # chunks before which the engine was replaced
    engine: DraftEngine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = self.make_engine(self.config)

    def current(self) -> DraftConfig:
        return self.config

    def swap(self, config: DraftConfig) -> None:
        engine = self.make_engine(config)
        if config.table == self.config.table:
            transfer_learned_state(self.engine, engine)
        self.config, self.engine = config, engine
        self.swaps.append(len(self.rounds))

    def replay(self, answers: Sequence[ScoredAnswer]) -> None:
        self.rounds.append(RoundReplayer(self.engine, NUM_STREAMS).replay(answers, WINDOW).rounds)

    def accepted(self, chunks: slice) -> RatioEstimate:
        return ratio_of_sums(
            (replayed.prompt, replayed.accepted, 1) for chunk in self.rounds[chunks] for replayed in chunk
        )


@dataclass(frozen=True, slots=True)
class TuningArm:
    """A drafter, and the trainer that tunes it."""

    drafter: Drafter
    trainer: DraftTrainer | None = None


def main() -> int:
    args = _parser().parse_args()
    answers = by_domain(args.data)
    before, after = (
        shuffled([scored_answer(example, Rule.GREEDY) for example in answers.pop(name)]) for name in (BEFORE, AFTER)
    )
    del answers  # gigabytes of the target's probabilities
    traffic = [*before[: args.num_before], *after[: args.num_after]]
    folder = locate(args.target)
    tokenizer = Tokenizer.load(folder)
    policy = OnlinePolicy(min_answers=args.min_answers, held_out_share=HELD_OUT_SHARE, window=WINDOW)
    num_before = args.num_before // CHUNK
    finished: list[Drafter] = []
    with TemporaryDirectory() as scratch:
        for arm in arms_of(args, tokenizer, before[args.num_before :], Path(scratch)):
            run(arm, traffic, policy, tokenizer.vocab_size, Path(scratch) / arm.drafter.name.replace(" ", "-"))
            finished.append(arm.drafter)
            write_csv(finished, num_before, args.out.with_suffix(".csv"))
            plot(finished, num_before, args.out.with_suffix(".svg"))
    for line in summary(finished, num_before):
        print(line)
    return 0


def shuffled(answers: Sequence[ScoredAnswer]) -> list[ScoredAnswer]:
    """The answers in random order, so that the traffic of a domain is stationary."""
    return [answers[index] for index in np.random.default_rng(0).permutation(len(answers))]


def arms_of(
    args: argparse.Namespace, tokenizer: Tokenizer, spare: Sequence[ScoredAnswer], scratch: Path
) -> Iterator[TuningArm]:
    """The arms. `spare` is traffic of the first domain that no arm sees: the initial training data of the net."""

    def make_engine(config: DraftConfig) -> DraftEngine:
        return draft_engine(config, tokenizer.vocab_size, tokenizer.fingerprint)

    def drafter(name: str, **config: str) -> Drafter:
        return Drafter(name, DraftConfig(table=NO_TABLE, **config), make_engine)  # type: ignore[arg-type]

    yield TuningArm(drafter("lookup, does not learn", engine="lookup"))
    yield TuningArm(drafter("hybrid, learns by itself", engine="hybrid"))
    yield TuningArm(
        drafter("hybrid, tuned tables", engine="hybrid"),
        NGramTableTrainer(tokenizer.vocab_size, tokenizer.fingerprint),
    )
    if not args.net:
        return
    trainer = net_trainer(args, scratch)
    path, folder = scratch / "spare.jsonl", scratch / "initial"
    folder.mkdir()
    append_to_log(path, spare[: args.num_initial])
    initial = trainer.train(DraftConfig(engine="torch", table=NO_TABLE), path, folder)
    yield TuningArm(drafter("net, not tuned", engine="torch", model=initial.model))
    yield TuningArm(drafter("net, tuned", engine="torch", model=initial.model), trainer)
    yield TuningArm(drafter("hybrid with net, tuned", engine="hybrid", model=initial.model), trainer)


def net_trainer(args: argparse.Namespace, scratch: Path) -> NetTrainer:
    target = TargetConfig(model=args.target, threads=args.threads)
    student = StudentConfig(layers=(0, 1), vocabulary=8192)
    collect = CollectConfig(out=str(scratch), traffic_logs=("traffic",), target=target, top_k=32)
    distil = DistilConfig(
        data="train",
        out="draft",
        target=args.target,
        student=student,
        steps=args.steps,
        validate_every=max(1, args.steps // 4),
        warmup=10,
        rows=2,
        threads=args.threads,
    )
    return NetTrainer(collect, distil)


def run(arm: TuningArm, traffic: Sequence[ScoredAnswer], policy: OnlinePolicy, vocab_size: int, folder: Path) -> None:
    """Replay the whole traffic to one drafter, with a round of its tuner after each chunk."""
    folder.mkdir()
    traffic_log = folder / "traffic.jsonl"
    tuner = OnlineTuner(traffic_log, folder / "work", arm.drafter, arm.trainer, policy) if arm.trainer else None
    for start in range(0, len(traffic), CHUNK):
        chunk = traffic[start : start + CHUNK]
        arm.drafter.replay(chunk)
        append_to_log(traffic_log, chunk)
        if tuner and (finished := tuner.next_round(arm.drafter.make_engine, vocab_size)):
            report(arm.drafter, start + CHUNK, finished)


def report(drafter: Drafter, num_seen: int, finished: OnlineRound) -> None:
    decision = "swapped" if finished.is_swapped else "not swapped"
    comparison = finished.comparison
    print(
        f"{drafter.name}, after {num_seen}: {comparison.old:.3f} -> {comparison.new:.3f}, "
        f"[{comparison.gain.low:+.3f}, {comparison.gain.high:+.3f}], {decision}",
        file=sys.stderr,
        flush=True,
    )


def append_to_log(path: Path, answers: Sequence[ScoredAnswer]) -> None:
    """Append answers to a traffic log, as a drafter does."""
    with path.open("a", encoding="utf-8") as file:
        for answer in answers:
            file.write(json.dumps({"prompt": answer.prompt, "answer": answer.tokens}) + "\n")


def summary(drafters: Sequence[Drafter], num_before: int) -> Iterator[str]:
    """Accepted per round: last third before the shift, first 3 chunks after it, last third of the traffic."""
    yield f"| arm | before ({BEFORE}) | after the shift ({AFTER}) | adapted | swaps |"
    yield "|---|---|---|---|---|"
    for drafter in drafters:
        num_after = len(drafter.rounds) - num_before
        parts = (
            slice(num_before - num_before // 3, num_before),
            slice(num_before, num_before + 3),
            slice(len(drafter.rounds) - num_after // 3, None),
        )
        yield f"| {drafter.name} | {' | '.join(str(drafter.accepted(part)) for part in parts)} | {len(drafter.swaps)} |"


def write_csv(drafters: Sequence[Drafter], num_before: int, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["arm", "answers", "domain", "accepted_per_round", "standard_error", "swapped_before"])
        for drafter in drafters:
            for chunk in range(len(drafter.rounds)):
                estimate = drafter.accepted(slice(chunk, chunk + 1))
                domain = BEFORE if chunk < num_before else AFTER
                values = [f"{estimate.value:.4f}", f"{estimate.standard_error:.4f}"]
                writer.writerow([drafter.name, (chunk + 1) * CHUNK, domain, *values, int(chunk in drafter.swaps)])


def plot(drafters: Sequence[Drafter], num_before: int, path: Path) -> None:
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.subplots()
    for drafter in drafters:
        ends = range(1, len(drafter.rounds) + 1)
        values = [drafter.accepted(slice(max(0, end - SMOOTHED), end)).value for end in ends]
        (line,) = axes.plot([end * CHUNK for end in ends], values, label=drafter.name)
        for chunk in drafter.swaps:
            axes.axvline(chunk * CHUNK, color=line.get_color(), linewidth=0.6, linestyle="--")
    axes.axvline(num_before * CHUNK, color="black", linewidth=1.0)
    axes.text(num_before * CHUNK, axes.get_ylim()[1], f" {BEFORE} | {AFTER}", va="top", ha="center")
    axes.set(xlabel="answers", ylabel=f"accepted per round, window {WINDOW} (mean of {SMOOTHED * CHUNK} answers)")
    axes.legend(fontsize="small")
    figure.savefig(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of data sets")
    parser.add_argument("--out", type=Path, required=True, help="output files, without suffix")
    parser.add_argument("--target", default="smollm2-135m-instruct")
    parser.add_argument("--num-before", type=int, default=192, help="answers of the first domain")
    parser.add_argument("--num-after", type=int, default=288, help="answers of the second")
    parser.add_argument("--num-initial", type=int, default=200, help="answers that the net is first trained on")
    parser.add_argument("--min-answers", type=int, default=96, help="new answers that start a round of tuning")
    parser.add_argument("--net", action="store_true", help="add the arms with a net")
    parser.add_argument("--steps", type=int, default=200, help="updates of the net per round")
    parser.add_argument("--threads", type=int, default=2)
    return parser


if __name__ == "__main__":
    sys.exit(main())
