"""Which draft tokens are right at every place of answers that a target wrote: an acceptance log of full knowledge.

The answers are those of runs/draft_quality.py (a JSON line each: prompt, answer, temperature, seed). A "warm" engine
has learned from the first half of them before. Ten seconds for 200 answers, if no net drafts.

    .venv/bin/python -m runs.acceptance_record answers.jsonl acceptance.jsonl --engine hybrid --warm
"""

import argparse
import sys
from pathlib import Path

from runs.draft_quality import read_answers, warmed

from goodspeed.acceptancelog import write_answers
from goodspeed.bench.teacher_forced import Written, judged_by_force
from goodspeed.engine.drafts import DraftConfig, draft_engine


def main() -> None:
    args = _parser().parse_args()
    answers = read_answers(args.answers, args.temperature)
    config = DraftConfig(engine=args.engine, model=args.draft_model, acceptance_rate=args.acceptance_rate)
    engine = draft_engine(config, args.vocab_size)
    if args.warm:
        half = len(answers) // 2
        engine, answers = warmed(engine, answers[:half], args.streams), answers[half:]
    texts = [Written(answer.prompt, answer.tokens, answer.sampling) for answer in answers]
    with args.log.open("w", encoding="utf-8") as file:
        for number, judged in enumerate(judged_by_force(engine, texts, args.engine, args.streams), start=1):
            write_answers([judged], file)
            print(f"\ranswer {number} of {len(texts)}", end="", file=sys.stderr)
    print(file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=Path, help="JSONL file of answers")
    parser.add_argument("log", type=Path, help="acceptance log to write")
    parser.add_argument("--engine", default="hybrid", help="draft engine")
    parser.add_argument("--draft-model", default="", help="torch: the draft model; hybrid: a third source")
    parser.add_argument("--acceptance-rate", type=float, default=0.8, help="toy: its rate")
    parser.add_argument("--vocab-size", type=int, default=49_152)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--streams", type=int, default=4, help="answers at a time")
    parser.add_argument("--warm", action="store_true", help="learn from the first half, judge the second")
    return parser


if __name__ == "__main__":
    main()
