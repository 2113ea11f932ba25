"""Input and output of the acceptance fit."""

import tomllib
from pathlib import Path

import pytest
from runs.acceptance_fit import read, table, toml

from goodspeed.analysis.goodness_of_fit import goodness_of_fit
from goodspeed.config import from_mapping
from goodspeed.errors import ConfigError, DataError
from goodspeed.records.acceptance_trace import write_acceptance_trace
from goodspeed.records.event_log import FORMAT
from goodspeed.simulator.acceptance.models import AcceptanceConfig
from goodspeed.testing.live_answer import live_answers


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    with path.open("w") as file:
        write_acceptance_trace(live_answers(AcceptanceConfig("markov"), 6, 3), file)
    return path


def test_every_fit_is_printed_and_its_config_is_valid_in_a_scenario(log: Path) -> None:
    found = goodness_of_fit(read(log))
    shown = table(found)
    for fit in found.fits:
        assert f"| {fit.name} |" in shown
        config = from_mapping(AcceptanceConfig, tomllib.loads(toml(fit))["acceptance"])
        assert config.model == fit.config.model
        assert config.confidence.concentration == pytest.approx(fit.config.confidence.concentration, rel=1e-3)
        assert config.markov.easy_rate == pytest.approx(fit.config.markov.easy_rate, rel=1e-3)


def test_too_few_answers_are_an_error(log: Path) -> None:
    log.write_text(log.read_text().splitlines()[0] + "\n")
    with pytest.raises(ConfigError, match="at least 4"):
        read(log)


def test_event_log_of_a_drafter_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f'{{"event":"start","format":{FORMAT},"now":1.0,"config":{{}},"seed":1}}\n')
    with pytest.raises(ConfigError, match="0 answers"):
        read(path)
    path.write_text('{"event":"open","now":1.0}\n')
    with pytest.raises(DataError, match="line 1"):
        read(path)
