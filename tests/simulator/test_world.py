"""Runs are reproducible, their event logs replay through the cores, and answers survive outages."""

import hashlib
import itertools
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from goodspeed.drafter.event_log_replay import replay as replay_drafter
from goodspeed.experiment.metrics import compute_metrics
from goodspeed.records.event_log import JsonlEventLog
from goodspeed.scheduling.gradient import GradientScheduler
from goodspeed.simulator.result import RunResult
from goodspeed.simulator.scenario import Scenario, scenario_of
from goodspeed.simulator.world import simulate
from goodspeed.testing.awc_network import linear_network
from goodspeed.testing.scenarios import EQUAL_SPLIT, TROUBLED, drafter_tier, small_scenario
from goodspeed.testing.single_server import FROM_START
from goodspeed.verifier.event_log_replay import replay as replay_verifier
from goodspeed.windows.confidence import ConfidenceWindow
from goodspeed.windows.fixed import FixedWindow
from goodspeed.windows.policies import WindowConfig
from goodspeed.windows.window_policy import Window, WindowView


def logged(scenario: Scenario, folder: Path) -> RunResult:
    """Simulate, with the event log of each server in the folder."""
    sinks: dict[str, JsonlEventLog] = {}

    def events_of(name: str) -> JsonlEventLog:
        sinks[name] = JsonlEventLog(folder / f"{name}.jsonl")
        return sinks[name]

    result = simulate(scenario, events_of=events_of)
    for sink in sinks.values():
        sink.close()
    return result


def lines_of(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.jsonl").read_text().splitlines()


def fingerprint(folder: Path) -> str:
    """A digest of all logs in the folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_log_in_two_runs_and_in_another_process(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in "abc")
    assert logged(TROUBLED, first) == logged(TROUBLED, second)
    program = (
        "from pathlib import Path; from tests.simulator.test_world import TROUBLED, logged; "
        f"logged(TROUBLED, Path({str(third)!r}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
    assert fingerprint(first) == fingerprint(second) == fingerprint(third)


def test_another_seed_gives_another_run() -> None:
    assert simulate(TROUBLED, 1).answers != simulate(TROUBLED, 2).answers


def test_event_logging_does_not_change_the_run(tmp_path: Path) -> None:
    assert logged(TROUBLED, tmp_path) == simulate(TROUBLED)


def test_given_window_policies_take_the_place_of_configured_ones() -> None:
    scenario = small_scenario(drafter_tier("phone", count=2, window={"policy": "fixed", "max_tokens": 4}))
    clients: list[str] = []

    def window_of(client: str, config: WindowConfig) -> FixedWindow:
        clients.append(client)
        return FixedWindow(config.max_tokens - 3)

    given = simulate(scenario, window_of=window_of)
    short = {"policy": "fixed", "max_tokens": 1}
    assert given == simulate(small_scenario(drafter_tier("phone", count=2, window=short)))
    assert given.answers != simulate(scenario).answers
    assert clients == ["phone-0", "phone-1"]


@pytest.fixture(scope="module")
def troubled_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    logged(TROUBLED, folder)
    return folder


def test_event_logs_of_a_simulated_run_replay_through_the_live_cores(troubled_logs: Path) -> None:
    for path in sorted(troubled_logs.iterdir()):
        replay = replay_verifier if path.name.startswith("verifier") else replay_drafter
        lines = path.read_text().splitlines()
        assert len(lines) > 100
        assert replay(lines) is None, path.name


def test_changes_of_mode_by_a_window_policy_are_counted_and_replayed(tmp_path: Path) -> None:
    """Windows of 5 while the verifier is busy all the time, as by target-only rounds; of 1 while it is not."""
    weights = tmp_path / "weights.npz"
    linear_network(-1.5, queue_utilisation=6.0).save(weights)
    window = {"policy": "awc", "awc": {"weights": str(weights), "return_window": 2}}
    scenario = small_scenario(drafter_tier(count=1, window=window, workload={"closed": {"think_s": 0.01}}))
    result = logged(scenario, tmp_path / "logs")
    logs = [path.read_text().splitlines() for path in sorted((tmp_path / "logs").iterdir())]
    verifier, drafter = sorted(logs, key=lambda lines: '"info"' not in lines[0])
    assert replay_verifier(verifier) is None
    assert replay_drafter(drafter) is None
    num_changes = sum(line.count('"ChangeMode"') for line in drafter)
    assert num_changes > 4
    assert num_changes - 2 <= sum(answer.num_mode_changes for answer in result.answers) <= num_changes
    values = compute_metrics(result, FROM_START, ["drafter-0"]).values
    assert values["mode_changes_per_s"] == pytest.approx(
        sum(answer.num_mode_changes for answer in result.answers) / scenario.duration_s
    )


def test_a_planted_difference_in_a_scheduler_is_found(troubled_logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GradientScheduler.__init__, "__defaults__", (1.1,))  # its fairness
    assert replay_verifier(lines_of(troubled_logs, "verifier-0")) is not None


def test_a_planted_difference_in_a_window_policy_is_found(troubled_logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def next_window(policy: ConfidenceWindow, view: WindowView) -> Window:
        return Window(min(policy._max_tokens, view.grant), 1.01 * policy._min_survival)

    monkeypatch.setattr(ConfidenceWindow, "next_window", next_window)
    assert replay_drafter(lines_of(troubled_logs, "laptop-0")) is not None


def test_answers_survive_a_network_cut() -> None:
    """Answers in progress at the cut finish after it."""
    cut = {"start_s": 3.0, "duration_s": 1.5}
    result = simulate(small_scenario(drafter_tier("phone", count=3, cuts=[cut])))
    across_the_cut = [answer for answer in result.answers if answer.requested_s < 3.0 and answer.finished_s > 4.5]
    assert len(across_the_cut) >= 1
    assert result.num_failed == 0
    assert not [answer for answer in result.answers if 3.05 < answer.finished_s < 4.5]


def test_answers_continue_at_another_verifier_after_an_outage() -> None:
    """Answers are as long as without the outage. The verifier finishes none during it, and serves again afterwards."""
    answers, tiers = [], {"count": 2, "core": EQUAL_SPLIT}
    for outages in ([], [{"start_s": 3.0, "duration_s": 2.0, "index": 1}]):
        result = simulate(
            small_scenario(drafter_tier(count=6), verifiers=[{**tiers, "outages": outages}], routing="jsq")
        )
        assert result.num_failed == 0
        answers.append({(answer.client, answer.request): answer for answer in result.answers})
    calm, troubled = answers
    both = calm.keys() & troubled.keys()
    assert len(both) > 20
    assert all(calm[key].num_answer_tokens == troubled[key].num_answer_tokens for key in both)
    moved = [key for key in both if (calm[key].verifier, troubled[key].verifier) == ("verifier-1", "verifier-0")]
    assert any(troubled[key].requested_s < 3.0 < troubled[key].finished_s for key in moved)
    ends_s = [answer.finished_s for answer in troubled.values() if answer.verifier == "verifier-1"]
    assert min(ends_s) < 3.0
    assert max(ends_s) > 5.0
    assert not [end_s for end_s in ends_s if 3.0 < end_s < 5.0]


def test_a_restarted_verifier_is_a_new_one_in_the_same_event_log(tmp_path: Path) -> None:
    """Its drafters wait for it. It holds no KV memory for streams from before the restart."""
    lengths = {"distribution": "fixed", "fixed": {"num_tokens": 50}}
    tier = drafter_tier(workload={"closed": {"think_s": 0.1}, "prompt": lengths, "answer": lengths})
    outage = {"start_s": 3.0, "duration_s": 2.0}
    verifier = {"kv_capacity": 230, "max_context": 130, "core": EQUAL_SPLIT, "outages": [outage]}
    result = logged(small_scenario(tier, verifiers=[verifier]), tmp_path)
    assert result.num_failed == 0
    assert {answer.num_answer_tokens for answer in result.answers} == {50}
    assert [answer for answer in result.answers if answer.requested_s < 3.0 and answer.finished_s > 5.0]
    assert result.verifiers[0].peak_kv_tokens == 224  # 7 blocks for each of two
    events = [json.loads(line) for line in lines_of(tmp_path, "verifier-0")]
    assert [event["now"] for event in events if event["event"] == "start"] == [0.0, 5.0]
    again = next(i for i, event in enumerate(events) if event["event"] == "start" and i > 0)
    assert all(event["now"] <= 3.0 for event in events[:again])
    assert not [event for event in events[:again] if event["event"] == "disconnect"]
    assert [event["conn"] for event in events[again:] if event["event"] == "connect"] == [1, 2, 3, 4]


def test_all_policies_see_the_same_requests() -> None:
    """The same requests with the same lengths; only their latencies differ (common random numbers)."""
    requests = []
    for window in (2, 8):
        tier = drafter_tier(window={"policy": "fixed", "max_tokens": window}, workload={"arrivals": "poisson"})
        result = simulate(small_scenario(tier, duration_s=30.0))
        requests.append({(a.client, a.request): (a.requested_s, a.num_answer_tokens) for a in result.answers})
    both = requests[0].keys() & requests[1].keys()
    assert len(both) > 5
    assert all(requests[0][key] == requests[1][key] for key in both)
    assert sum(1 for answer in result.answers) >= len(both)


def test_answers_have_the_requested_length_in_both_modes() -> None:
    answers = []
    for mode in ("distributed", "target_only"):
        result = simulate(small_scenario(mode=mode))
        assert all(answer.is_target_only == (mode == "target_only") for answer in result.answers)
        answers.append({(a.client, a.request): a.num_answer_tokens for a in result.answers})
    both = answers[0].keys() & answers[1].keys()
    assert len(both) > 5
    assert all(answers[0][key] == answers[1][key] for key in both)


def test_drafters_on_a_shared_slow_link_delay_each_other() -> None:
    times_s = []
    for sharing in (1, 4):
        shared = {"num_drafters": sharing, "up_mbps": 0.02}
        result = simulate(small_scenario(drafter_tier(shared=shared), duration_s=20.0))
        times_s.append(np.mean([answer.network_s / answer.num_rounds for answer in result.answers]))
    assert times_s[1] > 1.2 * times_s[0]


def test_a_slower_downlink_adds_exactly_its_delay() -> None:
    """Round-trip settings of 20 and 60 ms for the downlink: half of the difference in every round."""
    network_s = []
    for downlink in (20.0, 60.0):
        result = simulate(small_scenario(drafter_tier(count=1, downlink={"rtt_ms": downlink}, run_ahead="never")))
        rounds = sum(answer.num_rounds - 1 for answer in result.answers)
        network_s.append(sum(answer.network_s for answer in result.answers) / rounds)
    assert network_s == pytest.approx([0.020, 0.040], abs=1e-5)


def test_streams_wait_while_the_kv_cache_is_full() -> None:
    lengths = {"distribution": "fixed", "fixed": {"num_tokens": 50}}
    tier = drafter_tier(workload={"closed": {"think_s": 0.1}, "prompt": lengths, "answer": lengths})
    result = simulate(small_scenario(tier, verifiers=[{"kv_capacity": 130, "max_context": 130}]))
    (verifier,) = result.verifiers
    assert verifier.peak_kv_tokens == 112  # 7 blocks
    spans = sorted((answer.first_token_s, answer.finished_s) for answer in result.answers)
    assert len(spans) > 5
    assert all(later[0] > earlier[1] for earlier, later in itertools.pairwise(spans))


def test_spans_of_a_traced_request_cover_its_time_without_gaps() -> None:
    result = simulate(small_scenario(drafter_tier(count=1, run_ahead="never")), num_traced=1)
    by_actor: dict[str, float] = defaultdict(float)
    for span in result.spans:
        by_actor[span.actor] += span.end_s - span.start_s
    (answer,) = [answer for answer in result.answers if answer.request == 0]
    assert {span.request for span in result.spans} == {0}
    modes = Counter(span.what.split(", ")[1].split(":")[0] for span in result.spans if span.actor == "verifier")
    assert modes == +Counter(prompt=1, remote=answer.num_remote_rounds, target_only=answer.num_target_only_rounds)
    assert by_actor["drafter"] == pytest.approx(answer.drafting_s, abs=1e-4)
    assert by_actor["verifier"] == pytest.approx(answer.verify_s, abs=1e-4)
    network_s = answer.network_s + 0.020  # of the opening, which no round measures
    assert by_actor["uplink"] + by_actor["downlink"] == pytest.approx(network_s, abs=1e-3)
    assert sum(by_actor.values()) == pytest.approx(answer.finished_s - answer.requested_s, rel=0.05)


def test_no_verifier_is_busy_for_longer_than_the_run() -> None:
    """The run ends within a step."""
    latency = {"linear": {"base_s": 0.5, "token_s": 0.0}}
    scenario = scenario_of({"duration_s": 4.3, "mode": "target_only", "verifiers": [{"latency": latency}]})
    (verifier,) = simulate(scenario).verifiers
    assert 3.0 < verifier.busy_s <= 4.3


def test_slow_drafts_of_a_far_client_are_used_if_run_ahead_makes_them_pay() -> None:
    """Drafting after the verdict brings no more than the target alone. Shadow drafts tell what run-ahead saves."""
    num_tokens = {}
    for mode in ("never", "auto"):
        tier = drafter_tier(
            count=1,
            latency={"linear": {"base_s": 0.010, "token_s": 0.0}},
            acceptance={"fixed": {"rate": 0.9}},
            workload={"closed": {"think_s": 0.0}, "answer": {"distribution": "fixed", "fixed": {"num_tokens": 200}}},
            run_ahead=mode,
        )
        verifier = {"latency": {"linear": {"base_s": 0.020, "token_s": 0.00005}}}
        result = simulate(small_scenario(tier, verifiers=[verifier], duration_s=40.0))
        num_tokens[mode] = sum(answer.num_answer_tokens for answer in result.answers)
    assert num_tokens["auto"] > 1.1 * num_tokens["never"]


def test_a_turn_of_a_conversation_reads_only_what_is_new() -> None:
    """The closed form: all of the turn before but its last token, which no step has run."""
    lengths = {"distribution": "fixed", "fixed": {"num_tokens": 40}}
    conversation = {"num_turns": 5, "user": {"think_s": 0.1}}
    talk = {"arrivals": "conversation", "conversation": conversation, "prompt": lengths, "answer": lengths}
    result = simulate(small_scenario(drafter_tier(count=2, workload=talk), duration_s=30.0))
    assert len(result.answers) > 10
    for answer in result.answers:
        turn = answer.request % 5
        assert answer.num_prompt_tokens == 40 + 80 * turn
        assert answer.num_cached_tokens == max(0, 80 * turn - 1)


def test_answers_end_before_their_max_tokens_and_preemption_changes_none() -> None:
    prompt = {"distribution": "fixed", "fixed": {"num_tokens": 20}}
    answer = {"distribution": "uniform", "uniform": {"low": 10, "high": 150}}
    work = {"closed": {"think_s": 0.05}, "prompt": prompt, "answer": answer, "max_answer": 150}
    lengths = []
    for kv_capacity in (100_000, 600):
        tier = drafter_tier(count=8, workload=work)
        verifier = {"kv_capacity": kv_capacity, "max_context": 400}
        result = simulate(small_scenario(tier, verifiers=[verifier], duration_s=60.0))
        assert result.num_failed == 0
        assert (result.verifiers[0].num_preemptions > 0) == (kv_capacity == 600)
        lengths.append({(one.client, one.request): one.num_answer_tokens for one in result.answers})
    both = lengths[0].keys() & lengths[1].keys()
    assert len(both) > 20
    assert all(lengths[0][key] == lengths[1][key] for key in both)
    assert len({lengths[0][key] for key in both}) > 10
