"""Writes an acceptance trace of a target's answers with the outcome at every position, by teacher forcing.

DATA is a data set of `goodspeed tune collect`. The draft engine starts as in a drafter, with the shipped table unless
a flag says otherwise, and learns from answer to answer. 10 s for 200 answers without a draft model; no target model.

    python -m runs.teacher_forced_trace DATA acceptance.jsonl --engine hybrid --table none
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from goodspeed.commands.flags import add_flags, from_args
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.teacher_forcing import teacher_forced_trace
from goodspeed.records.acceptance_trace import write_acceptance_trace
from goodspeed.tuning.data.dataset import Dataset
from goodspeed.tuning.data.scored_answer import ScoredAnswer


def main() -> None:
    args = _parser().parse_args()
    config = from_args(DraftConfig, args)
    data = Dataset.open(args.data)
    answers = list(_answers(data, args))
    engine = draft_engine(config, data.info.vocab_size, data.info.tokenizer_fingerprint)
    with args.log.open("w", encoding="utf-8") as file:
        for number, traced in enumerate(teacher_forced_trace(engine, answers, config.engine, args.streams), start=1):
            write_acceptance_trace([traced], file)
            print(f"\ranswer {number} of {len(answers)}", end="", file=sys.stderr)
    print(file=sys.stderr)


def _answers(data: Dataset, args: argparse.Namespace) -> Iterator[ScoredAnswer]:
    for example in data.examples():
        origin = example.origin
        if origin.temperature == args.temperature and (not args.categories or origin.category in args.categories):
            sampling = Sampling(temperature=origin.temperature, seed=origin.seed)
            yield ScoredAnswer(tuple(example.prompt.tolist()), tuple(example.answer.tolist()), sampling)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of a data set")
    parser.add_argument("log", type=Path, help="acceptance trace to write")
    parser.add_argument(
        "--categories", nargs="*", default=[], help="only answers to prompts of these categories; default: all"
    )
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--streams", type=int, default=4, help="answers processed together")
    add_flags(parser, DraftConfig)
    return parser


if __name__ == "__main__":
    main()
