"""A folder of JSON schemas: how many are served, and whether random answers satisfy them.

Every schema is compiled with a small byte-level vocabulary. Of those that are served, three answers are written by a
random target that likes to close what it has opened. An answer that ends by itself must be JSON that satisfies the
schema by the judgement of jsonschema, formats included; the run fails otherwise. JSONSchemaBench (arXiv:2501.10868) is
such a folder: git clone https://github.com/guidance-ai/jsonschemabench.

    python -m runs.schema_suite jsonschemabench/data --per-folder 40
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import tokenizers

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.grammar.matcher import Matcher
from goodspeed.errors import RequestError

END_TOKEN = 0
VOCAB_SIZE = 600
MAX_TOKENS = 400
NUM_ANSWERS = 3
CLOSING = ('"', "}", "]", ",", ":")


def main() -> None:
    args = _parser().parse_args()
    tokenizer = _tokenizer()
    compiler = GrammarCompiler(tokenizer.to_str(), VOCAB_SIZE, (END_TOKEN,))
    refusals: Counter[str] = Counter()
    num_served = num_finished = 0
    slowest_s = 0.0
    for path in _files(args.folder, args.per_folder):
        schema = json.loads(path.read_text(encoding="utf-8"))
        started = time.perf_counter()
        try:
            constraint = Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(schema))
            compiler.check(constraint)
        except RequestError as error:
            refusals[str(error).rpartition(": ")[0].partition(" at ")[0] + ": " + str(error).rpartition(": ")[2]] += 1
            continue
        finally:
            slowest_s = max(slowest_s, time.perf_counter() - started)
        num_served += 1
        for seed in range(NUM_ANSWERS):
            answer = _random_answer(compiler.matcher(constraint, (END_TOKEN,)), tokenizer, seed)
            if answer is not None:
                num_finished += 1
                _validate(answer, schema, path)
    print(f"served {num_served} of {num_served + refusals.total()} schemas; {num_finished} finished answers, all valid")
    print(f"slowest compilation {slowest_s:.2f} s")
    for reason, count in refusals.most_common(12):
        print(f"{count:5} {reason}")


def _files(folder: Path, per_folder: int) -> Iterator[Path]:
    """So many of each folder with schemas, always the same."""
    rng = random.Random(0)
    for each in sorted({path.parent for path in folder.rglob("*.json")}):
        files = sorted(each.glob("*.json"))
        yield from rng.sample(files, min(per_folder, len(files)))


def _random_answer(matcher: Matcher, tokenizer: tokenizers.Tokenizer, seed: int) -> str | None:
    """The text of an answer; None: it was cut."""
    rng = np.random.default_rng(seed)
    closing = [tokenizer.encode(text).ids[0] for text in CLOSING]
    tokens: list[int] = []
    for i in range(MAX_TOKENS):
        allowed = matcher.allowed()
        assert not matcher.failure, matcher.failure
        candidates = np.flatnonzero(allowed)
        if i > 25 and rng.random() < 0.8 and allowed[closing].any():
            candidates = np.array([token for token in closing if allowed[token]])
        token = END_TOKEN if allowed[END_TOKEN] and rng.random() < 0.7 else int(rng.choice(candidates))
        if token == END_TOKEN:
            return str(tokenizer.decode(tokens))
        matcher.commit([token])
        tokens.append(token)
    return None


def _validate(answer: str, schema: object, path: Path) -> None:
    validator = jsonschema.validators.validator_for(schema)
    try:
        validator(schema, format_checker=validator.FORMAT_CHECKER).validate(json.loads(answer))
    except (jsonschema.ValidationError, json.JSONDecodeError) as error:
        raise SystemExit(f"{path}: {answer!r:.200}: {error}") from error


def _tokenizer() -> tokenizers.Tokenizer:
    """A byte-level BPE, trained on a little JSON."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<|end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=1,
        show_progress=False,
    )
    text = '{"name": "the name of a city", "items": [{"id": 12, "type": "value", "is_active": true}, null], "a": "b"}'
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runs.schema_suite", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-folder", type=int, default=40, help="schemas of each folder (default: %(default)s)")
    return parser


if __name__ == "__main__":
    main()
