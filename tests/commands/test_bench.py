"""`goodspeed bench`, `demo`, `up` and `profile` end to end, with the toy pair."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from goodspeed.cli import main

GOODSPEED = (sys.executable, "-m", "goodspeed")
TIMEOUT_S = 120


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GOODSPEED, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def _ask(url: str) -> dict[str, object]:
    body = {"model": "default", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        answer: dict[str, object] = json.load(response)
    return answer


def test_demo_has_five_scenes_and_a_table(tmp_path: Path) -> None:
    report, logs = tmp_path / "demo.json", tmp_path / "logs"
    done = _run("demo", "--quick", "--table", "--json", str(report), "--event-log", str(logs))
    assert done.returncode == 0, done.stdout + done.stderr
    scenes = (
        "1. Four unlike clients",
        "2. The same with GoodSpeed",
        "3. The verifier is scarce",
        "4. A drafter is killed",
    )
    for words in (*scenes, "16 of 16 answers are identical", "it is the target's own text", "Jain's index", "0 of 4"):
        assert words in done.stdout
    arms = json.loads(report.read_text(encoding="utf-8"))["arms"]
    splits = ["equal split, scarce", "random split, scarce", "GoodSpeed, scarce"]
    assert [arm["name"] for arm in arms] == ["target-only baseline", "GoodSpeed", *splits]
    assert all(0.0 < arm["total"]["acceptance_rate"] < 1.0 for arm in arms[2:4])
    assert all(arm["total"]["bytes_per_token"] > 0.0 for arm in arms)
    assert all(arm["cpu_s_per_token"]["load"] > 0.0 for arm in arms)
    opened = re.findall(r"stream opened.*cached_tokens=(\d+)", (logs / "GoodSpeed-verifier.log").read_text())
    num_read = 4 * 2  # each client's prompts
    assert len(opened) > 2 * num_read
    assert opened[num_read:].count("0") == 1, "only the killed drafter's prompt is new, to the next one"


def test_bench_compares_clusters_with_the_baseline(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    arms = ("--scheduler", "gradient", "--co-located", "none", "hybrid")
    arguments = (
        *arms,
        "--pair",
        "toy",
        "--clients",
        "2",
        "--temperature",
        "0.7",
        "--max-tokens",
        "12",
        "--repetitions",
        "2",
    )
    few = ("--requests", "2", "--warm-up", "1", "--event-log", str(logs), "--json", "-")
    done = _run("bench", *arguments, *few)
    assert done.returncode == 0, done.stderr
    progress = [line for line in done.stderr.splitlines() if "of 30 answers" in line]
    assert len(progress) == 3 + 2 * 3, "a line for each run, without a terminal"
    assert "repetition 2 (26 of 30 answers)" in progress[-1]
    report = json.loads(done.stdout)
    baseline, ours, with_co_located = report["arms"]
    assert with_co_located["name"] == "gradient, co-located hybrid"
    assert with_co_located["num_differing_texts"] == 0
    assert baseline["num_differing_texts"] is None
    assert ours["num_differing_texts"] == 0
    assert ours["total"]["rounds_by_mode"]["co_located"] == 0.0
    assert ours["total"]["rounds_by_mode"]["remote"] > 0.0
    assert len(ours["speed_up"]["values"]) == 2
    assert report["setup"]["pair"] == "toy"
    assert baseline["optimum"] is None
    optimum = ours["optimum"]
    assert set(optimum["best"]) == set(optimum["goodput_per_round"]) == {"client0", "client1"}
    assert optimum["certified_gap"] < 1e-6
    assert len(optimum["utility_gap"]["values"]) == 2
    assert all(value > 1.0 for value in optimum["best"].values())
    assert len(report["requests"]) == 3 * 2 * 2 * 2
    texts = {request["answer"]["text"] for request in report["requests"]}
    assert len(texts) > 1, "equal texts would prove nothing if all were the same"
    assert all(request["answer"]["num_tokens"] == 12 for request in report["requests"])
    baseline_rounds = [
        request["answer"]["speculation"] for request in report["requests"] if request["arm"] == "target-only baseline"
    ]
    assert all(rounds["proposed"] == 0 for rounds in baseline_rounds)
    assert (logs / "gradient, co-located none-verifier.jsonl").stat().st_size > 0


BACKGROUND = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
"""Starts a command with SIGINT ignored, as a shell does for its background jobs."""


@contextlib.contextmanager
def _stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    """Stop the process even if the test fails: its servers end with it."""
    try:
        yield
    finally:
        process.terminate()


def test_up_prints_addresses_serves_and_stops_on_sigint_in_the_background(tmp_path: Path) -> None:
    arguments = ("up", "--pair", "toy", "--clients", "2", "--port", "0", "--verifier-port", "0", "--metrics-port", "0")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with (
        subprocess.Popen(
            [*BACKGROUND, *GOODSPEED, *arguments, "--json"], stdout=subprocess.PIPE, text=True, env=environment
        ) as up,
        _stopped(up),
    ):
        assert up.stdout
        addresses = json.loads(up.stdout.readline())
        assert len(addresses["endpoints"]) == 2
        assert len(addresses["metrics"]) == 3
        for url in addresses["endpoints"]:
            assert _ask(url)["object"] == "chat.completion"
        report = tmp_path / "endpoints.json"
        few = ("--repetitions", "1", "--requests", "2", "--warm-up", "0", "--max-tokens", "6", "--rate", "50")
        assert main(["bench", "--endpoint", *addresses["endpoints"], *few, "--json", str(report)]) == 0
        arms = json.loads(report.read_text(encoding="utf-8"))["arms"]
        assert [arm["name"] for arm in arms] == ["target-only baseline", "as served"]
        assert list(arms[1]["clients"]) == addresses["endpoints"]
        up.send_signal(signal.SIGINT)
        assert up.wait(TIMEOUT_S) == 0


def test_profile_writes_its_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", "false")  # profile would set it for good, and for later tests' processes
    file = tmp_path / "steps.json"
    small = (
        "--streams",
        "1",
        "2",
        "--tokens",
        "1",
        "4",
        "--context",
        "32",
        "--prefill",
        "16",
        "--pauses",
        "0.001",
        "--repeats",
        "1",
    )
    assert main(["profile", "--engine", "toy", "--draft.engine", "lookup", *small, "--json", str(file)]) == 0
    tables = json.loads(file.read_text(encoding="utf-8"))
    assert set(tables) == {
        "schema", "command", "machine", "model", "model_fingerprint", "draft", "verify", "prefill", "drafting",
        "opening", "after_pauses", "draft_after_pauses",
    }  # fmt: skip
    names = ("verify", "prefill", "drafting", "opening", "after_pauses", "draft_after_pauses")
    assert [len(tables[name]) for name in names] == [4, 1, 4, 1, 4, 4]
    cell = {"streams", "tokens", "context", "median_s", "min_s", "p90_s", "num_drafted", "pause_s"}
    assert set(tables["verify"][0]) == set(tables["drafting"][0]) == cell
    assert "verification step of toy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("bench", "--pair", "toyy"), "did you mean 'toy'"),
        (("bench", "--pair", "toy", "--scheduler", "fixd"), "did you mean 'fixed'"),
        (("bench", "--pair", "toy", "--prompts", "mats"), "did you mean 'maths'"),
        (("bench", "--prompts"), "prompts is empty"),
        (("bench", "--rule", "coupld"), "did you mean 'coupled'"),
        (("bench", "--endpoint", "http://a", "http://a"), "expected each only once"),
        (("bench", "--pair", "toy", "--repetitions", "0"), "repetitions is 0, expected 1 or more"),
        (("bench", "--pair", "toy", "--requests", "100"), "need 502"),
        (("bench", "--endpoint", "http://127.0.0.1:9"), "ConnectError"),
        (("up", "--clients", "0"), "clients is 0"),
        (("profile", "--engine", "toy", "--streams"), "streams is empty, expected one or more values"),
    ],
)
def test_wrong_use_is_named(arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err
