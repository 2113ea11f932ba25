"""Writes the acceptance traces of remote and of co-located drafts over the same answers, for the simulator to replay.

DATA is a data set of `goodspeed tune collect` over the built-in domains, greedy. Each domain is a client.
`remote.jsonl` has the hybrid draft engine with a shipped draft model, `co_located.jsonl` lookup and the n-gram table;
both start from the shipped table and learn from the client's own answers, one after the other. Line i of both files is
the same answer. Confidences are rounded to two digits and drafting times left out, to keep the files small. Three
minutes.

    goodspeed tune collect --out DATA --prompts maths rewriting coding travel --max-tokens 224 --top-k 1 --split test
    python -m runs.co_located_traces DATA configs/scenarios/traces
"""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from goodspeed.decoding.sampling import Rule
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.teacher_forcing import teacher_forced_trace
from goodspeed.prompts.prompts import DOMAINS
from goodspeed.records.acceptance_trace import RIGHT, TracedAnswer, write_acceptance_trace
from goodspeed.tuning.data.dataset import Dataset
from goodspeed.tuning.data.scored_answer import ScoredAnswer, scored_answer

WINDOWS = (1, 2, 4, 8)


def main() -> None:
    args = _parser().parse_args()
    data = Dataset.open(args.data)
    configs = {"remote": DraftConfig(model=args.model), "co_located": DraftConfig()}
    args.out.mkdir(parents=True, exist_ok=True)
    for name, config in configs.items():
        traced = [
            answer
            for domain in DOMAINS
            for answer in traced_answers(config, data, answers_of(data, domain, args.answers), domain)
        ]
        with (args.out / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            write_acceptance_trace(traced, file)
        for clients in (DOMAINS, *((domain,) for domain in DOMAINS)):
            outcomes = [answer.draft_outcomes for answer in traced if answer.client in clients]
            accepted = "  ".join(f"w{window} {accepted_per_round(outcomes, window):.2f}" for window in WINDOWS)
            print(f"{name}, {', '.join(clients)}: {share_of_right(outcomes):.1%} of draft tokens right; {accepted}")


def answers_of(data: Dataset, domain: str, num_answers: int) -> list[ScoredAnswer]:
    """The first greedy answers to the domain's prompts, in the order of the prompts."""
    examples = [example for example in data.examples() if example.origin.source == domain]
    examples.sort(key=lambda example: int(example.origin.key.partition("#")[2]))
    greedy = (example for example in examples if example.origin.temperature == 0.0)
    return [scored_answer(example, Rule.GREEDY) for example in greedy][:num_answers]


def traced_answers(
    config: DraftConfig, data: Dataset, answers: Iterable[ScoredAnswer], client: str
) -> Iterator[TracedAnswer]:
    """The trace of the client's answers by a draft engine of its own."""
    engine = draft_engine(config, data.info.vocab_size, data.info.tokenizer_fingerprint)
    for traced in teacher_forced_trace(engine, list(answers), client):
        confidences = tuple(round(confidence, 2) for confidence in traced.confidences)
        yield replace(traced, confidences=confidences, drafting_s=(0.0,) * traced.num_answer)


def share_of_right(outcomes: Sequence[str]) -> float:
    """Over all tokens of the answers."""
    return "".join(outcomes).count(RIGHT) / sum(map(len, outcomes))


def accepted_per_round(outcomes: Sequence[str], window: int) -> float:
    """Accepted draft tokens per round of a window, without the target's own token."""
    rounds = [len(match.group()) - 1 for answer in outcomes for match in re.finditer(f"1{{0,{window}}}.", answer)]
    return sum(rounds) / len(rounds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of a data set")
    parser.add_argument("out", type=Path, help="folder for the two traces")
    parser.add_argument("--answers", type=int, default=16, help="answers of each domain")
    parser.add_argument("--model", default="smollm2-draft-12m", help="draft model of the remote drafter")
    return parser


if __name__ == "__main__":
    main()
