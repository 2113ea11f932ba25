"""Makes tokenizer.json and tokenizer_config.json from the vocabulary that a GGUF file carries."""

from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from goodspeed.errors import CheckpointError
from goodspeed.models.cache import fill
from goodspeed.models.folder import write_json
from goodspeed.models.gguf import GgufFile

CONTROL, USER_DEFINED = 3, 4  # llama.cpp's token types
NAMED = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def convert_tokenizer(path: Path, folder: Path) -> None:
    """Make `folder` with the tokenizer of a GGUF file alone, whole or not at all. Raises CheckpointError."""
    file = GgufFile(path)
    fill(folder, lambda empty: write_tokenizer(file, empty))


def write_tokenizer(file: GgufFile, folder: Path) -> None:
    """Write the tokenizer's files, which transformers loads too. Raises CheckpointError for an unknown kind."""
    _tokenizer(file).save(str(folder / "tokenizer.json"))
    config: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # take tokenizer.json as it is
        "clean_up_tokenization_spaces": False,
        "model_max_length": file.whole("llama.context_length"),
    }
    names = _token_names(file)
    for name, key in NAMED.items():
        token = file.field(f"tokenizer.ggml.{key}_token_id")
        if token is not None:
            config[f"{name}_token"] = names[token]
    if file.field("tokenizer.chat_template") is not None:
        config["chat_template"] = file.text("tokenizer.chat_template")
    write_json(folder / "tokenizer_config.json", config)


def _tokenizer(file: GgufFile) -> tokenizers.Tokenizer:
    if (model := file.text("tokenizer.ggml.model", "none")) != "gpt2":
        raise CheckpointError(f"{file.path}: tokenizer is {model!r}, supported is 'gpt2' (byte-level BPE)")
    names = _token_names(file)
    merges = [(left, right) for left, right in (merge.split(" ", 1) for merge in file.field("tokenizer.ggml.merges"))]
    vocabulary = {name: token for token, name in enumerate(names)}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges, fuse_unk=False, byte_fallback=False))
    tokenizer.pre_tokenizer = _pre_tokenizer(file)
    tokenizer.decoder = decoders.ByteLevel()
    _add_tokens(tokenizer, file, names)
    if file.field("tokenizer.ggml.add_bos_token"):
        bos = names[file.whole("tokenizer.ggml.bos_token_id")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, vocabulary[bos])]
        )
    return tokenizer


def _pre_tokenizer(file: GgufFile) -> pre_tokenizers.PreTokenizer:
    """How text is split before merging; GGUF names it after the model that first did so."""
    kind = file.text("tokenizer.ggml.pre", "gpt-2")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind == "gpt-2":
        return byte_level
    if kind == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    raise CheckpointError(f"{file.path}: pre-tokenizer is {kind!r}, supported are 'smollm', 'gpt-2'")


def _add_tokens(tokenizer: tokenizers.Tokenizer, file: GgufFile, names: list[str]) -> None:
    """Tokens that are found in text before anything else, in the order of their ids."""
    for name, kind in zip(names, file.field("tokenizer.ggml.token_type"), strict=True):
        if kind == CONTROL:
            tokenizer.add_special_tokens([tokenizers.AddedToken(name, special=True, normalized=False)])
        elif kind == USER_DEFINED:
            tokenizer.add_tokens([tokenizers.AddedToken(name, special=False, normalized=False)])


def _token_names(file: GgufFile) -> list[str]:
    names = file.field("tokenizer.ggml.tokens")
    if not isinstance(names, list) or not names:
        raise CheckpointError(f"{file.path} carries no vocabulary")
    return names
