"""Tokens per round of constrained answers: with forced tokens drafted, and without.

Eight requests with JSON schemas, as applications send them, are answered by SmolLM2-135M-Instruct (or --model), at
temperatures 0 and 0.8, four ways: without drafts, with the hybrid engine's drafts as they are, with forced tokens only,
and with both. The run fails if a text differs from that without drafts, or if a finished answer does not satisfy its
schema. Counts do not depend on the machine.

    python -m runs.constrained_output --window 8
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jsonschema

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.drafter.http.constraint_fields import COMPACT
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.grammar.constrained_engine import ConstrainedDraftEngine
from goodspeed.engine.interface import DraftEngine, TargetEngine
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
from goodspeed.lossless.pair import TARGET_ONLY, DraftSchedule, EnginePair, PairText
from goodspeed.models.catalog import locate_tokenizer
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.stats.ratio_estimate import ratio_of_sums

STRING = {"type": "string", "maxLength": 60}
COUPLED = Sampling(0.8, seed=1, rule=Rule.COUPLED)


def record(**properties: object) -> dict[str, object]:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


REQUESTS: dict[str, tuple[str, dict[str, object]]] = {
    "person": (
        "Ada Lovelace, 36, lived in London and worked as a mathematician. Give her record as JSON.",
        record(name=STRING, age={"type": "integer"}, city=STRING, occupation=STRING),
    ),
    "sentiment": (
        "'The battery died after two days, but support was kind.' Classify this review as JSON.",
        record(
            sentiment={"enum": ["positive", "negative", "mixed"]},
            confidence={"type": "number", "minimum": 0, "maximum": 1},
            reason=STRING,
        ),
    ),
    "tool call": (
        "Book a table for four at Luigi's on Friday at 19:30. Answer with the call as JSON.",
        record(
            name={"const": "book_table"},
            arguments=record(restaurant=STRING, party_size={"type": "integer"}, day=STRING, time=STRING),
        ),
    ),
    "invoice": (
        "Invoice 2041: two keyboards at 49.90 euros each and one monitor at 199 euros. Give it as JSON.",
        record(
            invoice_number={"type": "integer"},
            currency={"enum": ["EUR", "USD"]},
            line_items={
                "type": "array",
                "items": record(description=STRING, quantity={"type": "integer"}, unit_price={"type": "number"}),
                "minItems": 2,
                "maxItems": 3,
            },
        ),
    ),
    "address": (
        "Send it to Bob Stone, 12 Mill Lane, Bristol BS1 4DJ, United Kingdom. Give the address as JSON.",
        record(recipient=STRING, street=STRING, city=STRING, postal_code=STRING, country=STRING),
    ),
    "event": (
        "The workshop on graph theory is on the 3rd of May 2027 from 10 to 12 in room B4. Give the event as JSON.",
        record(title=STRING, date={"type": "string", "format": "date"}, room=STRING, is_public={"type": "boolean"}),
    ),
    "keywords": (
        "Give three keywords for an article about growing tomatoes on a balcony, as JSON.",
        record(keywords={"type": "array", "items": STRING, "minItems": 3, "maxItems": 3}),
    ),
    "json_object": ("Describe the planet Mars as a JSON object.", {"type": "object"}),
}


@dataclass(frozen=True, slots=True)
class Way:
    """How drafts are made."""

    name: str
    new_engine: Callable[[], DraftEngine]
    schedule: DraftSchedule


def main() -> None:
    args = _parser().parse_args()
    target = target_engine("torch", TargetConfig(model=args.model, threads=args.threads))
    tokenizer = Tokenizer.load(locate_tokenizer(args.model))
    print("| sampling | drafts | tokens per round | of drafted accepted | rounds | tokens |\n|---|---|---|---|---|---|")
    for label, sampling in (("greedy", Sampling()), ("temperature 0.8", COUPLED)):
        requests = _requests(sampling, target, tokenizer, args)
        expected: list[tuple[int, ...]] | None = None
        for way in _ways(target, args.window):
            texts = EnginePair(target, way.new_engine()).generate(requests, way.schedule)
            answers = [text.tokens for text in texts]
            expected = expected or answers
            assert answers == expected, f"{way.name}: a text differs"
            print(f"| {label} | {way.name} | {_counts(texts)} |", flush=True)
        assert expected is not None
        _check(expected, target, tokenizer)


def _ways(target: TargetEngine, window: int) -> list[Way]:
    assert target.grammars is not None
    grammars = target.grammars
    schedule = DraftSchedule((window,), max_streams=8)

    def hybrid() -> DraftEngine:
        return draft_engine(DraftConfig(), target.info.num_tokens, target.info.tokenizer_fingerprint)

    return [
        Way("none", NullDraft, TARGET_ONLY),
        Way("hybrid, not masked", hybrid, schedule),
        Way("forced tokens", lambda: ConstrainedDraftEngine(NullDraft(), grammars), schedule),
        Way("hybrid and forced tokens", lambda: ConstrainedDraftEngine(hybrid(), grammars), schedule),
    ]


def _requests(
    sampling: Sampling, target: TargetEngine, tokenizer: Tokenizer, args: argparse.Namespace
) -> list[ReferenceRequest]:
    requests, max_tokens = [], args.max_tokens
    for prompt, schema in REQUESTS.values():
        styled = {**schema, "x-guidance": COMPACT} if args.compact else schema
        constraint = Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(styled))
        tokens = tuple(tokenizer.encode_chat([{"role": "user", "content": prompt}]))
        own = replace(sampling, constraint=constraint)
        requests.append(ReferenceRequest(tokens, max_tokens, own, target.info.end_tokens))
    return requests


def _counts(texts: Sequence[PairText]) -> str:
    """The mean and its standard error are over the requests."""
    per_round = ratio_of_sums((i, len(text.tokens), text.num_rounds) for i, text in enumerate(texts))
    num_proposed, num_accepted = sum(text.num_proposed for text in texts), sum(text.num_accepted for text in texts)
    share = f"{num_accepted / num_proposed:.2f}" if num_proposed else "-"
    return f"{per_round} | {share} | {sum(text.num_rounds for text in texts)} | {sum(len(t.tokens) for t in texts)}"


def _check(answers: Sequence[tuple[int, ...]], target: TargetEngine, tokenizer: Tokenizer) -> None:
    num_finished = 0
    for answer, (_, schema) in zip(answers, REQUESTS.values(), strict=True):
        if answer[-1] in target.info.end_tokens:
            num_finished += 1
            jsonschema.validate(json.loads(tokenizer.decode(answer)), schema)
    print(f"\n{num_finished} of {len(answers)} answers are finished, and satisfy their schemas\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runs.constrained_output", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--window", type=int, default=8, help="draft tokens per round (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--compact", action="store_true", help="without white space between the tokens of JSON")
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
