"""Goodput by window and minimum survival: at which confidence should a draft end?

Greedy answers are replayed to the hybrid engine as a drafter would see them. Goodput is estimated for verifiers whose
step takes --step-ms plus --token-ms per token, relative to the target-only baseline at the same batch size. --table is
the n-gram table that the hybrid starts with (`goodspeed tune table`); without it the hybrid starts empty. A minute;
needs a data set of `goodspeed tune collect`.

    python -m runs.draft_stopping --data WORK/test --table my.table.npz
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from goodspeed.decoding.sampling import Rule
from goodspeed.engine.drafts import NO_TABLE, DraftConfig, draft_engine
from goodspeed.tuning.data.dataset import Dataset
from goodspeed.tuning.data.scored_answer import scored_answers
from goodspeed.tuning.evaluate.evaluation import sample_prompts
from goodspeed.tuning.evaluate.round_replay import RoundReplay, RoundReplayer

WINDOWS = (4, 6, 8, 12)
SURVIVALS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)


def main() -> int:
    args = _parser().parse_args()
    dataset = Dataset.open(args.data)
    answers = scored_answers(sample_prompts(list(dataset.examples()), args.num_prompts, args.seed), 0.0, Rule.GREEDY)
    print(f"{len(answers)} answers of {sum(len(answer.tokens) for answer in answers)} tokens")
    replays = {
        window: [
            replayer(args, dataset.info.vocab_size).replay(answers, window, min_survival) for min_survival in SURVIVALS
        ]
        for window in WINDOWS
    }
    for step_ms, token_ms in zip(args.step_ms, args.token_ms, strict=True):
        for row in rows(replays, step_ms, token_ms):
            print(row)
    return 0


def rows(replays: Mapping[int, Sequence[RoundReplay]], step_ms: float, token_ms: float) -> Iterator[str]:
    """A Markdown table; in brackets accepted / proposed tokens per round."""
    yield f"\nA step of {step_ms} ms + {token_ms} ms per token\n"
    yield "| window | " + " | ".join(f"min_survival {survival}" for survival in SURVIVALS) + " |"
    yield "|---" * (1 + len(SURVIVALS)) + "|"
    for window, by_survival in replays.items():
        yield f"| {window} | {' | '.join(_cell(replay, step_ms, token_ms) for replay in by_survival)} |"


def replayer(args: argparse.Namespace, vocab_size: int) -> RoundReplayer:
    return RoundReplayer(draft_engine(DraftConfig(table=args.table), vocab_size), args.streams)


def _cell(replay: RoundReplay, step_ms: float, token_ms: float) -> str:
    speedup = replay.speedup(1e-3 * step_ms, 1e-3 * token_ms)
    return f"{speedup:.2f} ({replay.accepted_per_round.value:.2f} / {replay.proposed_per_round.value:.2f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of a data set")
    parser.add_argument("--table", default=NO_TABLE, help="n-gram table that the hybrid starts with")
    parser.add_argument("--num-prompts", type=int, default=60)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--step-ms", type=float, nargs="+", default=[14.0, 17.0])
    parser.add_argument("--token-ms", type=float, nargs="+", default=[0.25, 0.52])
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
