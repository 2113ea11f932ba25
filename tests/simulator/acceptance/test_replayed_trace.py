"""A live trace can be replayed at other windows than its own. Seeds are fixed; bounds: 4 standard errors."""

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goodspeed.errors import ConfigError
from goodspeed.records.acceptance_trace import (
    RIGHT,
    STOPPED,
    UNKNOWN,
    WRONG,
    TracedAnswer,
    read_acceptance_trace,
    write_acceptance_trace,
)
from goodspeed.simulator.acceptance.acceptance_model import AcceptanceTrace
from goodspeed.simulator.acceptance.confidence import ConfidenceConfig
from goodspeed.simulator.acceptance.fixed import FixedConfig
from goodspeed.simulator.acceptance.markov import MarkovConfig
from goodspeed.simulator.acceptance.models import AcceptanceConfig, acceptance_model
from goodspeed.simulator.acceptance.observed_answers import observed_answers
from goodspeed.simulator.acceptance.replayed_trace import (
    NUM_IMPUTATIONS,
    ReplayedTraceAcceptance,
    ReplayedTraceConfig,
    replayed_traces,
)
from goodspeed.testing.live_answer import accepted_per_round, live_answer, live_answers

NUM_ANSWERS = 250
FIXED = AcceptanceConfig("fixed", fixed=FixedConfig(0.7))
BURSTS = AcceptanceConfig("markov", markov=MarkovConfig(0.95, 0.2, 0.05, 0.1), confidence=ConfidenceConfig(2.0))


def distances(answers: list[TracedAnswer], config: AcceptanceConfig) -> list[float]:
    """Deviation of replayed from true acceptance per round at windows 1, 5 and 8, in standard errors."""
    replayed = [trace for imputation in replayed_traces(answers) for trace in imputation]
    model = acceptance_model(config)
    true = [model.new_trace(0, request, np.random.default_rng((9, request))) for request in range(4 * NUM_ANSWERS)]
    results = []
    for window in (1, 5, 8):
        (replayed_mean, replayed_error), (true_mean, true_error) = (
            accepted_per_round(traces, window) for traces in (replayed, true)
        )
        replayed_error *= math.sqrt(
            len(replayed) / len(answers)
        )  # imputations of one answer are not independent answers
        results.append((replayed_mean - true_mean) / math.hypot(replayed_error, true_error))
    return results


@pytest.mark.parametrize("config", [FIXED, BURSTS], ids=["fixed", "bursts"])
@pytest.mark.parametrize(("window", "min_survival"), [(3, 0.0), (16, 0.2)])
def test_a_replayed_trace_is_unbiased_at_any_window(config: AcceptanceConfig, window: int, min_survival: float) -> None:
    answers = live_answers(config, NUM_ANSWERS, window, min_survival)
    assert max(map(abs, distances(answers, config))) < 4.0


def test_imputation_at_the_mean_verified_rate_is_found_to_be_biased() -> None:
    """The planted bug: if a drafter stops where it is unsure, mostly easy tokens are verified."""
    answers = live_answers(BURSTS, NUM_ANSWERS, 16, 0.2)
    outcomes = "".join(answer.draft_outcomes for answer in answers)
    rate = outcomes.count(RIGHT) / (outcomes.count(RIGHT) + outcomes.count(WRONG))
    rng = np.random.default_rng(0)

    def filled(answer: TracedAnswer) -> TracedAnswer:
        places = [
            place if place in {RIGHT, WRONG} else str(int(rng.random() < rate)) for place in answer.draft_outcomes
        ]
        return replace(answer, draft_outcomes="".join(places))

    assert max(distances([filled(answer) for answer in answers], BURSTS)) > 10.0


def test_stopped_tokens_are_imputed_with_the_true_confidences() -> None:
    """Uniform independent confidences: imputed means equal the true ones, within 4 standard errors."""
    config = AcceptanceConfig("fixed", fixed=FixedConfig(0.5), confidence=ConfidenceConfig(2.0))
    model = acceptance_model(config)
    traces = [model.new_trace(0, request, np.random.default_rng(request)) for request in range(NUM_ANSWERS)]
    outcomes = observed_answers([live_answer(trace, 120, 16, min_survival=0.2) for trace in traces])
    stopped = outcomes.bits == -2
    imputed = outcomes.impute_stopped(np.random.default_rng(0))
    true = [traces[row].confidence(int(place), 0) for row, place in zip(*np.nonzero(stopped), strict=True)]
    assert stopped.sum() > 5_000
    error = math.sqrt(2 * 0.25 / stopped.sum())
    assert abs(imputed.bits[stopped].mean() - np.mean(true)) < 4 * error
    assert abs(imputed.confidences[stopped].mean() - np.mean(true)) < 4 * error
    assert np.all(imputed.confidences[stopped] <= outcomes.confidences[stopped])


def test_verified_tokens_are_replayed_unchanged() -> None:
    answers = live_answers(BURSTS, 5, 3)
    imputations = replayed_traces(answers)
    assert len(imputations) == NUM_IMPUTATIONS
    for trace, answer in (
        (trace, answer) for traces in imputations for trace, answer in zip(traces, answers, strict=True)
    ):
        for place, outcomes in enumerate(answer.draft_outcomes):
            if outcomes in {RIGHT, WRONG}:
                assert trace.is_right(place, 0) == (outcomes == RIGHT)
                assert trace.confidence(place, 0) == answer.confidences[place]


def traced_answer(outcomes: str, client: str = "a", request: int = 0) -> TracedAnswer:
    num = len(outcomes)
    return TracedAnswer(client, request, 0.0, 9, "STOP", outcomes, (0.5,) * num, (0,) * num, (0.0,) * num)


def bits(trace: AcceptanceTrace, num: int) -> str:
    return "".join(RIGHT if trace.is_right(place, 0) else WRONG for place in range(num))


def test_a_longer_answer_continues_with_the_next_recorded_one() -> None:
    model = ReplayedTraceAcceptance([traced_answer("101"), traced_answer("0110"), traced_answer("11")])
    circle = "101011011" * 3
    results = {bits(model.new_trace(0, 0, np.random.default_rng(seed)), 15) for seed in range(40)}
    assert results == {circle[first : first + 15] for first in (0, 3, 7)}


def test_a_client_may_replay_one_recorded_client() -> None:
    answers = [traced_answer("111", "ann"), traced_answer("000", "bob"), traced_answer("111", "ann", 1)]
    model = ReplayedTraceAcceptance(answers, is_per_client=True)
    for client in range(4):
        results = {bits(model.new_trace(client, 0, np.random.default_rng(seed)), 12) for seed in range(20)}
        assert results == {("1" if client % 2 == 0 else "0") * 12}


def test_all_clients_may_replay_the_same_recorded_client(tmp_path: Path) -> None:
    with (tmp_path / "log.jsonl").open("w") as file:
        write_acceptance_trace([traced_answer("111", "ann"), traced_answer("000", "bob")], file)
    config = ReplayedTraceConfig(str(tmp_path / "log.jsonl"), client="bob")
    model = acceptance_model(AcceptanceConfig("trace", trace=config))
    assert {bits(model.new_trace(client, 0, np.random.default_rng(client)), 6) for client in range(8)} == {"000000"}
    with pytest.raises(ConfigError, match=r"'bobby'; did you mean 'bob'"):
        acceptance_model(AcceptanceConfig("trace", trace=replace(config, client="bobby")))


def test_an_acceptance_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    answers = [*live_answers(BURSTS, 3, 3), traced_answer(RIGHT + WRONG + UNKNOWN + STOPPED)]
    with (tmp_path / "log.jsonl").open("w") as file:
        write_acceptance_trace(answers, file)
    assert read_acceptance_trace(tmp_path / "log.jsonl") == answers


@pytest.mark.parametrize("text", ["", "{}\n", "nonsense\n", '{"event": "start"}\n'])
def test_an_unusable_trace_raises_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(text)
    config = AcceptanceConfig("trace", trace=ReplayedTraceConfig(str(tmp_path / "log.jsonl")))
    with pytest.raises(ConfigError, match=r"log\.jsonl"):
        acceptance_model(config)
    with pytest.raises(ConfigError, match=r"none\.jsonl"):
        read_acceptance_trace(tmp_path / "none.jsonl")


def test_a_trace_without_a_verified_token_is_refused() -> None:
    with pytest.raises(ConfigError, match="no verified draft token"):
        ReplayedTraceAcceptance([traced_answer(UNKNOWN * 4)])


@pytest.mark.parametrize("outcomes", [UNKNOWN + RIGHT, RIGHT + UNKNOWN, STOPPED, UNKNOWN + WRONG * 3])
def test_a_single_known_token_suffices(outcomes: str) -> None:
    trace = ReplayedTraceAcceptance([traced_answer(outcomes)] * 2).new_trace(0, 0, np.random.default_rng(0))
    assert all(0.0 <= trace.confidence(place, 0) <= 1.0 for place in range(10))
    for place, known in enumerate(outcomes):
        assert known not in {RIGHT, WRONG} or trace.is_right(place, 0) == (known == RIGHT)


def test_a_changed_trace_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    config = AcceptanceConfig("trace", trace=ReplayedTraceConfig(str(path)))
    results = []
    for number, outcomes in enumerate(("111", "111", "000")):
        with path.open("w") as file:
            write_acceptance_trace([traced_answer(outcomes)], file)
        os.utime(path, ns=(number // 2, number // 2))
        results.append(acceptance_model(config))
    assert results[0] is results[1]
    assert bits(results[2].new_trace(0, 0, np.random.default_rng(0)), 3) == "000"


def test_an_inconsistent_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="sequences"):
        replace(traced_answer("10"), depths=(0,))
    with pytest.raises(ValueError, match="draft_outcomes has"):
        traced_answer("1x")
