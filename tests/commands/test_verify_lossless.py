"""`goodspeed verify-lossless` with the toy pair: tables, JSON and exit codes."""

import argparse
import json
from pathlib import Path

import pytest

from goodspeed.commands import verify_lossless
from goodspeed.errors import ConfigError

SMALL = ["--engine", "toy", "--draft.engine", "toy", "--n", "6", "--max-tokens", "20"]


def run(*flags: str) -> int:
    parser = argparse.ArgumentParser()
    verify_lossless.add_parser(parser.add_subparsers())
    args = parser.parse_args(["verify-lossless", *SMALL, *flags])
    return int(args.run(args))


def test_identical_texts_at_every_temperature_exit_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--windows", "0", "3", "--draft.acceptance-rate", "0.6") == 0
    assert capsys.readouterr().out.count("identical") == 3


def test_json_has_what_a_script_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--temperatures", "0", "1", "--json", "--draft.acceptance-rate", "1.0", "--windows", "4") == 0
    greedy, coupled = json.loads(capsys.readouterr().out)
    assert (greedy["temperature"], coupled["temperature"]) == (0.0, 1.0)
    for check in (greedy, coupled):
        assert check["is_lossless"] is True
        assert check["acceptance_rate"] == 1.0
        assert check["num_tokens"] == 120
        assert check["differences"] == []


def test_rejection_compares_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--rule", "rejection", "--temperatures", "1.5", "--samples", "100", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["p_value"] > 1e-4


def test_prompts_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    assert run("--prompts", str(path), "--temperatures", "0", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["num_texts"] == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rule", "copuled"], "did you mean 'coupled'"),
        (["--n", "0"], "n is 0"),
        (["--windows", "-1"], "windows"),
        (["--draft.engine", "tyo"], "did you mean 'toy'"),
        (["--engine", "tyo", "--tokenizer", "toy"], "did you mean 'toy'"),
    ],
)
def test_wrong_flags_are_named(flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(*flags)
