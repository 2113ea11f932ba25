"""Creates tokenizer.json and tokenizer_config.json from the vocabulary in a GGUF file."""

from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, processors

from goodspeed.errors import CheckpointError
from goodspeed.models.cache import fill
from goodspeed.models.folder import write_json
from goodspeed.models.gguf import GgufFile
from goodspeed.models.pre_tokenizer import PRE_TOKENIZERS, PreTokenizer
from goodspeed.models.sentencepiece import SPACE, sentencepiece_tokenizer

BYTE_LEVEL, SENTENCEPIECE = "gpt2", "llama"  # llama.cpp's names of the kinds
CONTROL, USER_DEFINED = 3, 4  # its token types
NAMED = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def convert_tokenizer(path: Path, folder: Path) -> None:
    """Create `folder` atomically with only the tokenizer of a GGUF file. Raises CheckpointError."""
    file = GgufFile(path)
    fill(folder, lambda empty: write_tokenizer(file, empty))


def write_tokenizer(file: GgufFile, folder: Path) -> None:
    """Write the tokenizer's files; transformers can load them. Raises CheckpointError for an unsupported kind."""
    vocabulary = _read_vocabulary(file)
    _tokenizer(file, vocabulary).save(str(folder / "tokenizer.json"))
    config: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # use tokenizer.json without changes
        "clean_up_tokenization_spaces": False,
        "model_max_length": file.max_context,
    }
    for name, key in NAMED.items():
        if file.field(f"tokenizer.ggml.{key}_token_id") is not None:
            config[f"{name}_token"] = vocabulary.named(file, key)
    if file.field("tokenizer.chat_template") is not None:
        config["chat_template"] = file.text("tokenizer.chat_template")
    write_json(folder / "tokenizer_config.json", config)


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    names: list[str]
    kinds: list[int]  # token type of llama.cpp for each name

    def named(self, file: GgufFile, key: str) -> str:
        """The token that the file calls `key`, such as "bos"."""
        full_key = f"tokenizer.ggml.{key}_token_id"
        token = file.integer(full_key)
        if token >= len(self.names):
            raise CheckpointError(f"{file.path}: {full_key} is {token}, expected less than {len(self.names)}")
        return self.names[token]


def _read_vocabulary(file: GgufFile) -> _Vocabulary:
    names, kinds = (file.field(f"tokenizer.ggml.{key}") or [] for key in ("tokens", "token_type"))
    if not names or len(kinds) != len(names):
        raise CheckpointError(f"{file.path}: {len(names)} tokens with {len(kinds)} types, expected one type each")
    return _Vocabulary(names, kinds)


def _tokenizer(file: GgufFile, vocabulary: _Vocabulary) -> tokenizers.Tokenizer:
    kind = file.text("tokenizer.ggml.model", "none")
    if kind == BYTE_LEVEL:
        method = _pre_tokenizer(file)
        tokenizer, adds_bos = _byte_level(file, vocabulary, method), method.adds_bos
    elif kind == SENTENCEPIECE:
        tokenizer, adds_bos = _sentencepiece(file, vocabulary), True
    else:
        raise CheckpointError(
            f"{file.path}: tokenizer is {kind!r}, supported are 'gpt2' (byte-level BPE) and 'llama' (SentencePiece)"
        )
    _add_tokens(tokenizer, vocabulary)
    has_bos = file.field("tokenizer.ggml.bos_token_id") is not None
    if has_bos and file.flag("tokenizer.ggml.add_bos_token", default=adds_bos):
        bos = vocabulary.named(file, "bos")
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, vocabulary.names.index(bos))]
        )
    return tokenizer


def _byte_level(file: GgufFile, vocabulary: _Vocabulary, method: PreTokenizer) -> tokenizers.Tokenizer:
    ids = {name: token for token, name in enumerate(vocabulary.names)}
    merges = [(left, right) for left, _, right in map(_partition, file.field("tokenizer.ggml.merges") or [])]
    try:
        model = models.BPE(ids, merges, ignore_merges=method.ignores_merges)
    except Exception as error:
        raise CheckpointError(f"{file.path}: {error}") from error
    tokenizer = tokenizers.Tokenizer(model)
    if (normalizer := method.normalizer()) is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = method.splitter()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _partition(merge: str) -> tuple[str, str, str]:
    return merge.partition(" ")


def _sentencepiece(file: GgufFile, vocabulary: _Vocabulary) -> tokenizers.Tokenizer:
    scores = file.field("tokenizer.ggml.scores") or []
    if len(scores) != len(vocabulary.names):
        raise CheckpointError(
            f"{file.path}: {len(vocabulary.names)} tokens with {len(scores)} scores, expected one score each"
        )
    has_unknown = file.field("tokenizer.ggml.unknown_token_id") is not None
    return sentencepiece_tokenizer(
        vocabulary.names,
        scores,
        vocabulary.named(file, "unknown") if has_unknown else None,
        has_space_prefix=file.flag("tokenizer.ggml.add_space_prefix", default=True),
    )


def _pre_tokenizer(file: GgufFile) -> PreTokenizer:
    kind = file.text("tokenizer.ggml.pre", "gpt-2")
    if kind not in PRE_TOKENIZERS:
        supported = ", ".join(sorted(PRE_TOKENIZERS))
        raise CheckpointError(f"{file.path}: pre-tokenizer is {kind!r}, supported are {supported}")
    return PRE_TOKENIZERS[kind]


def _add_tokens(tokenizer: tokenizers.Tokenizer, vocabulary: _Vocabulary) -> None:
    """Add the tokens that are matched in text before the split, in the order of their ids."""
    for name, kind in zip(vocabulary.names, vocabulary.kinds, strict=True):
        if kind == CONTROL:
            tokenizer.add_special_tokens([tokenizers.AddedToken(name, special=True, normalized=False)])
        elif kind == USER_DEFINED and SPACE not in name:  # a run of spaces is built from merges
            tokenizer.add_tokens([tokenizers.AddedToken(name, special=False, normalized=False)])
