"""The grammar compiler of a model that vLLM has loaded, for the verifier and for each worker."""

from pathlib import Path
from typing import Any

from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.models.special_tokens import read_end_tokens
from goodspeed.models.tokenizer import Tokenizer


def grammar_compiler(model_config: Any) -> GrammarCompiler:
    """`model_config`: vLLM's. Its model is a folder, which every node has."""
    folder, vocab_size = Path(model_config.model), model_config.get_vocab_size()
    return GrammarCompiler(Tokenizer.load(folder).to_json(), vocab_size, end_tokens(folder, vocab_size))


def end_tokens(folder: Path, vocab_size: int) -> tuple[int, ...]:
    """Tokens that normally end an answer, as far as the model has rows for them."""
    return tuple(token for token in read_end_tokens(folder) if 0 <= token < vocab_size)
