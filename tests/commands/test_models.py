"""`goodspeed models` from the command line."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from goodspeed.commands import models
from goodspeed.errors import CheckpointError
from goodspeed.models.catalog import locate
from goodspeed.models.fingerprint import model_fingerprint
from goodspeed.models.tokenizer import Tokenizer

SMOLLM = "smollm2-135m-instruct"


def _run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    models.add_parser(parser.add_subparsers())
    args = parser.parse_args(["models", *arguments])
    return int(args.run(args))


def test_list_shows_the_default_model(capsys: pytest.CaptureFixture[str]) -> None:
    folder = locate(SMOLLM)
    assert _run(["list"]) == 0
    assert SMOLLM in capsys.readouterr().out
    assert _run(["list", "--json"]) == 0
    listed = {entry["model"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed[SMOLLM]["folder"] == str(folder)


def test_pull_prints_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["pull", SMOLLM]) == 0
    assert capsys.readouterr().out.strip() == str(locate(SMOLLM))
    assert _run(["pull", SMOLLM, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": SMOLLM, "folder": str(locate(SMOLLM))}


def test_fingerprint_identifies_model_and_tokenizer(
    random_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = random_checkpoint("qwen3")
    assert _run(["fingerprint", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model_fingerprints"] == {p: model_fingerprint(folder, p) for p in ("fp32", "bf16")}
    assert found["tokenizer_fingerprint"] == Tokenizer.load(folder).fingerprint
    assert (found["model_type"], found["vocab_size"], found["max_context"]) == ("qwen3", 320, 256)
    assert found["weights_bytes"] == (folder / "model.safetensors").stat().st_size
    assert _run(["fingerprint", str(folder)]) == 0
    assert found["model_fingerprints"]["bf16"] in capsys.readouterr().out


def test_unknown_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config.json is missing"):
        _run(["fingerprint", str(tmp_path)])


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ([], ["list"], ["pull"], ["fingerprint"]):
        with pytest.raises(SystemExit):
            _run([*verb, "--help"])
        assert "example: goodspeed models" in capsys.readouterr().out
