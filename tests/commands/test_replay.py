"""`goodspeed replay` with logs of both cores."""

import json
import re
from pathlib import Path

import pytest
from tests.drafter.test_event_log_replay import logged_run as drafter_run
from tests.verifier.test_event_log_replay import logged_run as verifier_run

from goodspeed.cli import main


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Event logs of a verifier and of a drafter."""
    folder = tmp_path_factory.mktemp("logs")
    written = {"verifier.jsonl": verifier_run("gradient"), "drafter.jsonl": drafter_run()}
    for name, lines in written.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [folder / name for name in written]


def test_logs_of_either_core_replay_the_same(logs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", *map(str, logs), "--json"]) == 0
    replayed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["core"] for one in replayed] == ["verifier", "drafter"]
    assert [one["difference"] for one in replayed] == [None, None]
    assert [one["decisions"] for one in replayed] == [len(log.read_text().splitlines()) - 1 for log in logs]


def test_difference_is_shown_with_its_line(
    logs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = logs[0].read_text().splitlines()
    at, grant = next(
        (i, int(found[1]))
        for i, line in enumerate(lines)
        if i > 60 and (found := re.search(r'"grant": ?([1-9])', line))
    )
    lines[at] = re.sub(r'("grant": ?)[1-9]', r"\g<1>0", lines[at], count=1)
    changed = tmp_path / "changed.jsonl"
    changed.write_text("\n".join(lines), encoding="utf-8")
    assert main(["replay", str(logs[1]), str(changed)]) == 1
    same, first, recorded, replayed = capsys.readouterr().out.splitlines()
    assert same.endswith("same")
    assert f"{at} decisions, first difference in line {at + 1}" in first
    assert '"grant": 0' in recorded
    assert f'"grant": {grant}' in replayed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the event log is empty"),
        ("hello\n", "line 1 of the event log"),
        ("[1]\n", "line 1 of the event log"),
        ('{"event":"start","now":0.0,"config":{},"seed":1}\n', "line 1 of the event log: the log has format 1"),
        ('{"event":"start","now":0.0,"form', "line 1 of the event log: no complete JSON"),
    ],
)
def test_file_that_is_not_an_event_log_is_named(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "odd.jsonl"
    log.write_text(text)
    assert main(["replay", str(log)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "odd.jsonl" in error


def test_missing_log_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "nowhere.jsonl"]) == 2
    assert "cannot read nowhere.jsonl" in capsys.readouterr().err
