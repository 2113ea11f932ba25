"""A domain shift in the traffic: acceptance before, after it, and after the drafts have adapted.

Recorded answers stand for live traffic: maths first, then what chats ask. Each arm is a drafter's engine that sees them
round by round, and records them as a drafter does; where an arm is tuned, `goodspeed tune online`'s own rounds run
beside it and swap in what they find better. The net is some layers of the target with a reduced head, distilled from
maths before the run begins; its arms are left out without --net.

    python -m runs.online_tuning --data WORK/test WORK/validation WORK/train --out docs/online_tuning --net

Without nets it takes about a minute; with them some 25 minutes on two cores. Writes OUT.csv and OUT.svg.
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
CHUNK = 16  # answers between looks at the traffic
NUM_STREAMS = 4
JUDGED_SHARE = 0.34
SMOOTHED = 3  # chunks in a point of the plot


@dataclass(slots=True)
class Drafter:
    """A drafter's engine before recorded traffic; it is the DrafterAdmin for the tuner."""

    name: str
    config: DraftConfig
    make_engine: Callable[[DraftConfig], DraftEngine]
    rounds: list[list[ReplayedRound]] = field(default_factory=list)  # by chunk
    swaps: list[int] = field(default_factory=list)  # chunks before which the engine was exchanged
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

    def see(self, answers: Sequence[ScoredAnswer]) -> None:
        self.rounds.append(RoundReplayer(self.engine, NUM_STREAMS).replay(answers, WINDOW).rounds)

    def accepted(self, chunks: slice) -> RatioEstimate:
        return ratio_of_sums((one.prompt, one.accepted, 1) for chunk in self.rounds[chunks] for one in chunk)


@dataclass(frozen=True, slots=True)
class Arm:
    """A drafter, and what tunes it."""

    drafter: Drafter
    maker: DraftTrainer | None = None


def main() -> int:
    args = _parser().parse_args()
    answers = by_domain(args.data)
    before, after = (
        shuffled([scored_answer(one, Rule.GREEDY) for one in answers.pop(name)]) for name in (BEFORE, AFTER)
    )
    del answers  # gigabytes of the target's probabilities
    traffic = [*before[: args.num_before], *after[: args.num_after]]
    folder = locate(args.target)
    tokenizer = Tokenizer.load(folder)
    policy = OnlinePolicy(min_answers=args.min_answers, held_out_share=JUDGED_SHARE, window=WINDOW)
    num_before = args.num_before // CHUNK
    done: list[Drafter] = []
    with TemporaryDirectory() as scratch:
        for arm in arms_of(args, tokenizer, before[args.num_before :], Path(scratch)):
            run(arm, traffic, policy, tokenizer.vocab_size, Path(scratch) / arm.drafter.name.replace(" ", "-"))
            done.append(arm.drafter)
            write_csv(done, num_before, args.out.with_suffix(".csv"))
            plot(done, num_before, args.out.with_suffix(".svg"))
    for line in summary(done, num_before):
        print(line)
    return 0


def shuffled(answers: Sequence[ScoredAnswer]) -> list[ScoredAnswer]:
    """So that the traffic of a domain is the same from its beginning to its end."""
    return [answers[place] for place in np.random.default_rng(0).permutation(len(answers))]


def arms_of(
    args: argparse.Namespace, tokenizer: Tokenizer, spare: Sequence[ScoredAnswer], scratch: Path
) -> Iterator[Arm]:
    """`spare` is traffic of the first domain that no arm will see: what the net begins from."""

    def make_engine(config: DraftConfig) -> DraftEngine:
        return draft_engine(config, tokenizer.vocab_size, tokenizer.fingerprint)

    def drafter(name: str, **config: str) -> Drafter:
        return Drafter(name, DraftConfig(table=NO_TABLE, **config), make_engine)  # type: ignore[arg-type]

    yield Arm(drafter("lookup, which learns nothing", engine="lookup"))
    yield Arm(drafter("hybrid, learning by itself", engine="hybrid"))
    yield Arm(
        drafter("hybrid, tuned tables too", engine="hybrid"),
        NGramTableTrainer(tokenizer.vocab_size, tokenizer.fingerprint),
    )
    if not args.net:
        return
    maker = net_maker(args, scratch)
    path, folder = scratch / "spare.jsonl", scratch / "begin"
    folder.mkdir()
    record(path, spare[: args.num_begin])
    begun = maker.train(DraftConfig(engine="torch", table=NO_TABLE), path, folder)
    yield Arm(drafter("net, as it began", engine="torch", model=begun.model))
    yield Arm(drafter("net, tuned", engine="torch", model=begun.model), maker)
    yield Arm(drafter("hybrid with net, tuned", engine="hybrid", model=begun.model), maker)


def net_maker(args: argparse.Namespace, scratch: Path) -> NetTrainer:
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


def run(arm: Arm, traffic: Sequence[ScoredAnswer], policy: OnlinePolicy, vocab_size: int, folder: Path) -> None:
    """The whole traffic before one drafter, and a look of its tuner after each chunk."""
    folder.mkdir()
    recorded = folder / "traffic.jsonl"
    tuner = OnlineTuner(recorded, folder / "work", arm.drafter, arm.maker, policy) if arm.maker else None
    for start in range(0, len(traffic), CHUNK):
        chunk = traffic[start : start + CHUNK]
        arm.drafter.see(chunk)
        record(recorded, chunk)
        if tuner and (done := tuner.next_round(arm.drafter.make_engine, vocab_size)):
            tell(arm.drafter, start + CHUNK, done)


def tell(drafter: Drafter, num_seen: int, done: OnlineRound) -> None:
    verdict = "swapped" if done.is_swapped else "kept"
    judged = done.comparison
    print(
        f"{drafter.name}, after {num_seen}: {judged.old:.3f} -> {judged.new:.3f}, "
        f"[{judged.gain.low:+.3f}, {judged.gain.high:+.3f}], {verdict}",
        file=sys.stderr,
        flush=True,
    )


def record(path: Path, answers: Sequence[ScoredAnswer]) -> None:
    """As a drafter records."""
    with path.open("a", encoding="utf-8") as file:
        for one in answers:
            file.write(json.dumps({"prompt": one.prompt, "answer": one.tokens}) + "\n")


def summary(drafters: Sequence[Drafter], num_before: int) -> Iterator[str]:
    """Accepted per round: the last third before the shift, the first 3 chunks after it, the last third of all."""
    yield f"| arm | before ({BEFORE}) | after the shift ({AFTER}) | adapted | swaps |"
    yield "|---|---|---|---|---|"
    for one in drafters:
        num_after = len(one.rounds) - num_before
        parts = (
            slice(num_before - num_before // 3, num_before),
            slice(num_before, num_before + 3),
            slice(len(one.rounds) - num_after // 3, None),
        )
        yield f"| {one.name} | {' | '.join(str(one.accepted(part)) for part in parts)} | {len(one.swaps)} |"


def write_csv(drafters: Sequence[Drafter], num_before: int, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["arm", "answers", "domain", "accepted_per_round", "standard_error", "swapped_before"])
        for one in drafters:
            for chunk in range(len(one.rounds)):
                figure = one.accepted(slice(chunk, chunk + 1))
                domain = BEFORE if chunk < num_before else AFTER
                values = [f"{figure.value:.4f}", f"{figure.standard_error:.4f}"]
                writer.writerow([one.name, (chunk + 1) * CHUNK, domain, *values, int(chunk in one.swaps)])


def plot(drafters: Sequence[Drafter], num_before: int, path: Path) -> None:
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.subplots()
    for one in drafters:
        ends = range(1, len(one.rounds) + 1)
        values = [one.accepted(slice(max(0, end - SMOOTHED), end)).value for end in ends]
        (line,) = axes.plot([end * CHUNK for end in ends], values, label=one.name)
        for chunk in one.swaps:
            axes.axvline(chunk * CHUNK, color=line.get_color(), linewidth=0.6, linestyle="--")
    axes.axvline(num_before * CHUNK, color="black", linewidth=1.0)
    axes.text(num_before * CHUNK, axes.get_ylim()[1], f" {BEFORE} | {AFTER}", va="top", ha="center")
    axes.set(xlabel="answers", ylabel=f"accepted per round, window {WINDOW} (mean of {SMOOTHED * CHUNK} answers)")
    axes.legend(fontsize="small")
    figure.savefig(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders that `tune collect` made")
    parser.add_argument("--out", type=Path, required=True, help="file of the figures, without its ending")
    parser.add_argument("--target", default="smollm2-135m-instruct")
    parser.add_argument("--num-before", type=int, default=192, help="answers of the first domain")
    parser.add_argument("--num-after", type=int, default=288, help="answers of the second")
    parser.add_argument("--num-begin", type=int, default=200, help="answers that the net begins from")
    parser.add_argument("--min-answers", type=int, default=96, help="new answers that make a round of tuning")
    parser.add_argument("--net", action="store_true", help="run the arms with a net too")
    parser.add_argument("--steps", type=int, default=200, help="updates of the net in a round")
    parser.add_argument("--threads", type=int, default=2)
    return parser


if __name__ == "__main__":
    sys.exit(main())
