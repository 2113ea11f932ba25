"""What arms of a comparison mean."""

import pytest

from goodspeed.cluster.arms import co_located_flags, core_flags, core_options, draft_flags
from goodspeed.config import from_mapping
from goodspeed.errors import ConfigError
from goodspeed.scheduling.policies import BASELINES, SCHEDULERS
from goodspeed.verifier.core.core_config import VerifierCoreConfig


def test_options_behind_commas_are_the_cores() -> None:
    config = from_mapping(
        VerifierCoreConfig, core_options("gradient,draft_selection=value,overcommit=1.5,estimator=paper")
    )
    assert (config.scheduler, config.draft_selection, config.overcommit) == ("gradient", "value", 1.5)
    assert config.estimator == "paper"
    assert core_flags("price,time_price=0.25") == ("--core.scheduler", "price", "--core.time-price", "0.25")


@pytest.mark.parametrize("arm", sorted(BASELINES))
def test_a_baseline_runs_as_published_unless_the_arm_has_other_options(arm: str) -> None:
    assert from_mapping(VerifierCoreConfig, core_options(arm)).draft_selection == "arrival"
    assert from_mapping(VerifierCoreConfig, core_options(f"{arm},draft_selection=value")).draft_selection == "value"


@pytest.mark.parametrize("arm", ["gradiant", "gradient,betta=0.5", "gradient,0.5"])
def test_an_unknown_scheduler_or_option_is_an_error(arm: str) -> None:
    with pytest.raises(ConfigError):
        core_options(arm)


def test_a_former_option_is_refused_with_the_current_name() -> None:
    with pytest.raises(ConfigError, match="'binding' is called draft_selection now"):
        core_options("gradient,binding=arrival")


def test_baselines_are_schedulers() -> None:
    assert set(SCHEDULERS) >= BASELINES


def test_drafts_are_an_engine_with_options() -> None:
    flags = draft_flags("hybrid,table_slots=1024,memory=learned.npz")
    assert flags == ("--draft.engine", "hybrid", "--draft.table-slots", "1024", "--draft.memory", "learned.npz")
    with pytest.raises(ConfigError, match="did you mean 'table_slots'"):
        draft_flags("hybrid,table_slot=3")


def test_co_located_drafts_are_an_engine_with_options() -> None:
    flags = co_located_flags("hybrid,shared=true,learned_slots=1024")
    assert flags == (
        "--co-located.engine", "hybrid", "--co-located.shared", "--co-located.learned-slots", "1024",
    )  # fmt: skip
    assert co_located_flags("none") == ("--co-located.engine", "none")
    assert co_located_flags("hybrid,shared=false")[-1] == "--no-co-located.shared"
    for wrong, complaint in (("lokup", "did you mean 'lookup'"), ("hybrid,share=true", "did you mean 'shared'")):
        with pytest.raises(ConfigError, match=complaint):
            co_located_flags(wrong)
