"""The prediction of docs/prediction.md, where the reality is a simulation: then it must come true."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from runs.prediction.calibration import CHILL, calibrate
from runs.prediction.live import WARM_UP, HostTimes, LiveRun
from runs.prediction.prediction import error, outcome
from runs.prediction.profiling import merge
from runs.prediction.served import Served, figures
from runs.prediction.setups import LINKS, Setup
from runs.prediction.simulated import OTHERS, OWN, Models, simulated_repetition
from runs.prediction.watch import Watch

from goodspeed.records.acceptance_trace import TracedAnswer
from goodspeed.simulator.machine import MachineConfig

TRUTH = MachineConfig(
    cores=2,
    engine_threads=2,
    cold_cache_penalty=CHILL,
    batch_s=0.0005,
    receive_s=0.0002,
    send_s=0.0002,
    request_s=0.006,
    reply_s=0.0011,
    deliver_s=0.0011,
    link_s=0.0003,
    read_s=0.0003,
    timer_s=0.001,
    idle_penalty_s=0.0002,
)
CALIBRATING = (
    Setup(2, LINKS[0], 4, repetitions=1),
    Setup(6, LINKS[0], 4, repetitions=1),
    Setup(3, LINKS[1], 4, repetitions=1),
)
PREDICTED = Setup(4, LINKS[1], 4, repetitions=1)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A step of 15 ms and half a millisecond a token; drafting is next to nothing."""

    def cell(streams: int, tokens: int, context: int, median_s: float) -> dict[str, float]:
        return {
            "streams": streams,
            "tokens": tokens,
            "context": context,
            "median_s": median_s,
            "num_drafted": tokens,
        } | {
            "min_s": median_s,
            "p90_s": median_s,
        }

    path = tmp_path_factory.mktemp("tables") / "tables.json"
    counts = [(streams, tokens) for streams in (1, 8) for tokens in (1, 17)]
    values = {
        "schema": 2,
        "verify": [cell(s, t, c, 0.015 + 0.0005 * s * t + 1e-6 * c) for s, t in counts for c in (16, 1024)],
        "prefill": [cell(1, tokens, 1024, 0.015 + 0.0005 * tokens) for tokens in (32, 128)],
        "drafting": [cell(s, 17, c, 17 * 5e-5) for s in (1, 8) for c in (16, 1024)],
        "opening": [cell(1, tokens, 1, 1e-6 * tokens) for tokens in (16, 1024)],
    }
    path.write_text(json.dumps(values))
    return path


def judged(client: str, request: int, rng: np.random.Generator, chance: float | None = None) -> TracedAnswer:
    """An answer of 32 tokens whose draft tokens are right with a chance of its own, and say so."""
    num, chance = 32, rng.uniform(0.3, 0.9) if chance is None else chance
    bits = "".join("1" if right else "0" for right in rng.random(num) < chance)
    zeros = (0.0,) * num
    return TracedAnswer(
        client, request, 0.0, int(rng.integers(30, 200)), "LENGTH", bits, (chance,) * num, (0,) * num, zeros
    )


def as_if_live(setup: Setup, tables: Path, folder: Path) -> LiveRun:
    """What would have been seen, had the simulator been the machine."""
    rng = np.random.default_rng(setup.num_drafters)
    answers = [
        [judged(place.name, request, rng) for request in range(WARM_UP + setup.requests)] for place in setup.places()
    ]
    info = {"kv_capacity": 100_000, "max_context": 8192}
    nothing = LiveRun(setup.name, [], answers, [], [], [], [], info, HostTimes(0.0, 0.0, 0.0, 0.0), 2, 0.0)
    watch = Watch()
    served = simulated_repetition(setup, nothing, Models(tables, folder, TRUTH), (0, OWN, 0), watch)
    num, num_steps = len(watch.gaps_s) + sum(map(len, answers)), len(watch.steps_s)
    drafter_s = TRUTH.reply_s + TRUTH.deliver_s + (2 * TRUTH.link_s if any(setup.link.rtts_ms) else 0.0)
    host = HostTimes(
        num * (TRUTH.receive_s + TRUTH.send_s) + num_steps * 2 * TRUTH.batch_s,
        sum(watch.steps_s),
        num * drafter_s + sum(watch.drafting_s),
        num * TRUTH.read_s,
    )
    seen = watch.shapes, watch.steps_s, watch.gaps_s, watch.drafting_s
    return LiveRun(setup.name, [served], answers, *seen, info, host, 2, 0.0)


def test_a_calibrated_simulator_predicts_another_set_up(tables: Path, tmp_path: Path) -> None:
    fit = calibrate(
        [(setup, as_if_live(setup, tables, tmp_path)) for setup in CALIBRATING],
        Models(tables, tmp_path, MachineConfig()),
    )
    for name, value in asdict(fit.live).items():
        assert asdict(fit.simulated)[name] == pytest.approx(value, rel=0.03)
    for name in ("batch_s", "receive_s", "reply_s", "link_s"):
        assert getattr(fit.machine, name) == pytest.approx(getattr(TRUTH, name), rel=0.05)
    one = outcome(
        PREDICTED, as_if_live(PREDICTED, tables, tmp_path), Models(tables, tmp_path, fit.machine), ((OWN,), 1)
    )
    predicted = one.predicted[0].figures
    for name in ("goodput", "tpot_p50_s", "tpot_p99_s", "ttft_p50_s"):
        assert error(getattr(predicted, name), getattr(one.live, name)) == pytest.approx(0.0, abs=0.05)


def test_a_machine_that_is_thought_faster_than_it_is_shows_as_an_error(tables: Path, tmp_path: Path) -> None:
    wrong = replace(TRUTH, batch_s=0.0, reply_s=0.0)
    one = outcome(PREDICTED, as_if_live(PREDICTED, tables, tmp_path), Models(tables, tmp_path, wrong), ((OWN,), 1))
    assert error(one.predicted[0].figures.goodput, one.live.goodput) > 0.05


def test_a_profile_of_a_bad_moment_does_not_count(tables: Path, tmp_path: Path) -> None:
    """The later of two profiles found one step ten times as long, and all others a tenth longer."""
    values, later = json.loads(tables.read_text()), tmp_path / "later.json"
    factors = [10.0] + [1.1] * 7
    cells = [
        {**cell, "median_s": factor * cell["median_s"]} for cell, factor in zip(values["verify"], factors, strict=True)
    ]
    later.write_text(json.dumps({**values, "verify": cells}))
    merge(tables, later, tmp_path / "between.json")
    between = json.loads((tmp_path / "between.json").read_text())
    ratios = [cell["median_s"] / was["median_s"] for cell, was in zip(between["verify"], values["verify"], strict=True)]
    assert ratios == pytest.approx([1.0] + [1.05] * 7)
    assert {**between, "verify": []} == {**values, "verify": []}


def test_over_the_seeds_all_other_repetitions_are_replayed(tables: Path, tmp_path: Path) -> None:
    """In the first one and in the last one every draft token is right, in the second one none."""
    setup, rng = Setup(1, LINKS[0], 2, repetitions=3), np.random.default_rng(0)
    answers = [judged("client0", i, rng, chance) for i, chance in enumerate((0.5, 0.9, 0.9, 0.1, 0.1, 0.9, 0.9))]
    info = {"kv_capacity": 100_000, "max_context": 8192}
    live = LiveRun(setup.name, [], [answers], [], [], [], [], info, HostTimes(0.0, 0.0, 0.0, 0.0), 2, 0.0)
    models = Models(tables, tmp_path, TRUTH)

    def tokens_per_round(repetition: int, seed: int) -> float:
        return figures([simulated_repetition(setup, live, models, (repetition, OTHERS, seed))]).tokens_per_round

    assert tokens_per_round(0, 0) < 1.3
    assert tokens_per_round(0, 1) > 2.0
    assert min(tokens_per_round(1, seed) for seed in (0, 1)) > 2.0


def test_goodput_counts_only_while_all_are_served() -> None:
    early = [Served(0.0, 1.0, 2.0, 11, 4, 8, 6)]
    late = [Served(0.0, 1.0, 4.0, 31, 4, 8, 6)]
    found = figures([[early, late]])
    assert found.client_goodputs == pytest.approx((5.5, 31 / 3 / 2))
    assert found.tpot_p50_s == pytest.approx(0.1)
    assert found.ttft_p50_s == pytest.approx(1.0)
