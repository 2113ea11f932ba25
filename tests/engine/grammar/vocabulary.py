"""A small vocabulary whose tokens have several bytes, as those of real models have."""

import json
from functools import cache

import tokenizers

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.engine.grammar.compiler import GrammarCompiler

VOCAB_SIZE = 640  # with padding
END_TOKEN = 0
OTHER_END_TOKEN = 1
TEXT = [
    '{"name": "Ada Lovelace", "age": 36, "is_active": true, "tags": ["maths", "engine"], "address": null}',
    '{\n  "city": "London",\n  "country": "England",\n  "score": 0.25\n}',
    "The answer is yes, no or maybe. the name of the engine is in the address of the city",
]


@cache
def tokenizer() -> tokenizers.Tokenizer:
    """A byte-level BPE of up to 600 tokens; the first two are special."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|im_end|>", "<|endoftext|>"],
        initial_alphabet=alphabet,
        min_frequency=1,
        show_progress=False,
    )
    backend.train_from_iterator(TEXT, trainer)
    return backend


@cache
def compiler() -> GrammarCompiler:
    """Grammars of this vocabulary."""
    return GrammarCompiler(tokenizer().to_str(), VOCAB_SIZE, (END_TOKEN, OTHER_END_TOKEN))


def encode(text: str) -> list[int]:
    return list(tokenizer().encode(text).ids)


def decode(tokens: list[int]) -> str:
    return str(tokenizer().decode(tokens))


def schema(value: object) -> Constraint:
    return Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(value))


def regex(text: str) -> Constraint:
    return Constraint(ConstraintKind.REGEX, text)


def grammar(text: str) -> Constraint:
    return Constraint(ConstraintKind.GRAMMAR, text)
