"""What the scenes of the demo say: a claim that has not shown is said plainly."""

import pytest

from goodspeed.bench.answer import LoadAnswer, Speculation
from goodspeed.bench.comparison import BASELINE, WAKE_TOKENS, ArmRun
from goodspeed.bench.report import SCHEMA, Report, arm_reports
from goodspeed.bench.wire_traffic import DrafterTraffic
from goodspeed.cluster.cpu_time import CpuSeconds
from goodspeed.cluster.machine import this_machine
from goodspeed.demo.drafters import EQUAL, FAIR, GOODSPEED, RANDOM
from goodspeed.demo.pace import MAX_TOKENS, MIN_TOKENS, answer_length
from goodspeed.demo.scenes import same_text, scarce_verifier, target_alone, with_goodspeed

CLIENTS = ("laptop", "phone")
ROUNDS = Speculation(
    rounds=4, remote_rounds=3, co_located_rounds=0, target_only_rounds=1, proposed=8, accepted=4,
    co_located=0, co_located_accepted=0, committed=8, queue_s=0.1, verify_s=0.2, drafting_s=0.3,
    baseline_s=2.0, elapsed_s=1.0, speed_up=2.0,
)  # fmt: skip


def run(arm: str, repetition: int, speeds: tuple[float, float], text: str = "same") -> ArmRun:
    """Each client has one answer of 10 s at its speed."""
    answers = tuple(
        (LoadAnswer(text, "length", round(10 * speed), 0.0, (5.0, 10.0), (2, 2), ROUNDS),) for speed in speeds
    )
    return ArmRun(arm, repetition, answers, (DrafterTraffic(8.0, 80.0),) * 2, CpuSeconds(1.0, 1.0, 1.0))


def report(speeds: dict[str, list[tuple[float, float]]], text: str = "same") -> Report:
    """Speeds of the clients by arm and repetition; `text` is what GoodSpeed writes."""
    runs = [
        run(arm, repetition, pair, text if arm == GOODSPEED else "same")
        for arm, repetitions in speeds.items()
        for repetition, pair in enumerate(repetitions)
    ]
    return Report(SCHEMA, "", [], this_machine(), {}, arm_reports(runs, CLIENTS, is_exact=True), [])


def test_speed_of_every_client_is_named() -> None:
    assert target_alone(report({BASELINE: [(20.0, 10.0)]})).result == "30.0 tokens/s in all: laptop 20.0, phone 10.0"


@pytest.mark.parametrize(
    ("drafted", "has_shown"),
    [([(30.0, 15.0), (40.0, 10.0)], True), ([(30.0, 15.0), (15.0, 14.0)], False), ([(30.0, 15.0)], None)],
)
def test_gain_has_shown_if_every_repetition_has_one(drafted: list[tuple[float, float]], has_shown: bool | None) -> None:
    scene = with_goodspeed(report({BASELINE: [(20.0, 10.0)] * len(drafted), GOODSPEED: drafted}))
    assert scene.has_shown is has_shown


def test_gain_of_every_client_has_its_reason() -> None:
    scene = with_goodspeed(report({BASELINE: [(20.0, 10.0)] * 2, GOODSPEED: [(30.0, 15.0), (40.0, 10.0)]}))
    assert scene.result == "1.58 (1.50 to 1.67) times the target alone"
    assert scene.details[0] == ("laptop: 1.75 (1.50 to 2.00) times; 2.00 tokens a round (75% remote, 25% target-only)")


def test_scarce_scene_compares_utilities_of_the_same_prompts() -> None:
    splits = {EQUAL: [(20.0, 10.0), (24.0, 12.0)], RANDOM: [(20.0, 9.0), (20.0, 10.0)]}
    scene = scarce_verifier(report({**splits, FAIR: [(22.0, 11.0), (25.0, 13.0)]}))
    assert scene.has_shown, "though the first repetition has less than the second of the equal split"
    assert scene.result == (
        "sum of log goodput 5.64 with GoodSpeed: 0.16 (0.12 to 0.19) more than with an equal split, "
        "0.39 (0.30 to 0.49) more than with a random one"
    )
    assert scene.details[1].startswith("random split, scarce: poorest client 9.5 (9.0 to 10.0) tokens/s")
    assert scarce_verifier(report({**splits, FAIR: [(22.0, 11.0), (24.0, 11.9)]})).has_shown is False


def test_texts_that_differ_are_counted() -> None:
    speeds = {BASELINE: [(20.0, 10.0)], GOODSPEED: [(20.0, 10.0)]}
    assert same_text(report(speeds)).has_shown
    scene = same_text(report(speeds, text="else"))
    assert (scene.result, scene.has_shown) == ("0 of 2 answers are identical to the target's own", False)


def test_answers_are_as_long_as_the_machine_can_write_in_the_time() -> None:
    assert answer_length(20.0, num_runs=30, seconds=90.0) == 60 - WAKE_TOKENS
    assert answer_length(0.1, num_runs=30, seconds=90.0) == MIN_TOKENS
    assert answer_length(1000.0, num_runs=30, seconds=90.0) == MAX_TOKENS
