"""The special tokens that the files of a model folder name, and which of them end an answer."""

from pathlib import Path

from goodspeed.errors import CheckpointError
from goodspeed.models.folder import JsonObject, read_json


def special_tokens(folder: Path) -> dict[str, str]:
    """Special tokens by name, for example {"bos_token": "<s>"}. Raises CheckpointError for broken files."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        for key, value in _read(folder / name).items():
            content = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(content, str):
                found[key] = content
    return found


def read_end_tokens(folder: Path) -> tuple[int, ...]:
    """The end tokens of generation_config.json, of config.json and of the tokenizer, joined. Raises CheckpointError.

    The files of fine-tuned models often disagree: the tokenizer has the end of a turn, the others the end of a text.
    """
    return tuple(dict.fromkeys(token for ids in _end_tokens_by_file(folder).values() for token in ids))


def end_token_conflict(folder: Path) -> str:
    """What to tell the user if more tokens end an answer than transformers would use; else empty."""
    found, joined = _end_tokens_by_file(folder), read_end_tokens(folder)
    if not found or set(joined) == set(next(iter(found.values()))):
        return ""
    named = ", ".join(f"{name} {list(ids)}" for name, ids in found.items())
    return f"{folder}: the files name different end tokens ({named}); each of {list(joined)} ends an answer"


def _end_tokens_by_file(folder: Path) -> dict[str, tuple[int, ...]]:
    """Those of the files that name any; the first is what transformers uses."""
    by_file = {name: _ids(folder / name) for name in ("generation_config.json", "config.json")}
    by_file["tokenizer_config.json"] = _tokenizer_end(folder)
    return {name: ids for name, ids in by_file.items() if ids}


def _ids(path: Path) -> tuple[int, ...]:
    ids = _read(path).get("eos_token_id")
    listed = ids if isinstance(ids, list) else [] if ids is None else [ids]
    if not all(isinstance(token, int) and not isinstance(token, bool) for token in listed):
        raise CheckpointError(f"{path}: eos_token_id is {ids!r}, expected token ids")
    return tuple(dict.fromkeys(listed))


def _tokenizer_end(folder: Path) -> tuple[int, ...]:
    """The id of the tokenizer's eos_token, if it has one."""
    name = special_tokens(folder).get("eos_token")
    values = _read(folder / "tokenizer.json") if name else {}
    added, model = values.get("added_tokens"), values.get("model")
    ids = {token.get("content"): token.get("id") for token in added} if isinstance(added, list) else {}
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    found = ids.get(name, vocabulary.get(name) if isinstance(vocabulary, dict) else None)
    return (found,) if isinstance(found, int) else ()


def _read(path: Path) -> JsonObject:
    return read_json(path) if path.exists() else {}
