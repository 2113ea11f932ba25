"""A drafter's configuration: from TOML, with errors that name the key."""

from pathlib import Path

import pytest

from goodspeed.config import from_mapping, read_toml
from goodspeed.drafter.draft_runner import DraftRunner, InlineDraftRunner, ThreadDraftRunner
from goodspeed.drafter.draft_swap import runner_for
from goodspeed.drafter.drafter_config import DrafterConfig
from goodspeed.engine.drafts import DraftConfig
from goodspeed.engine.null_draft import NullDraft
from goodspeed.errors import ConfigError

TOML = """
name = "kitchen"
verifiers = ["10.0.0.5:7700", "[::1]:7701"]
port = 8123

[window]
policy = "fixed"
max_tokens = 4

[draft]
engine = "lookup"

[retry]
give_up_s = 5

[grpc.link]
rtt_ms = 40
"""


def test_file_is_read_table_by_table(tmp_path: Path) -> None:
    path = tmp_path / "drafter.toml"
    path.write_text(TOML)
    config = from_mapping(DrafterConfig, read_toml(path))
    assert config.drafter == "kitchen"
    assert config.core.num_verifiers == 2
    assert (config.core.window.policy, config.core.window.max_tokens) == ("fixed", 4)
    assert config.core.retry.give_up_s == 5.0
    assert config.grpc.link.rtt_ms == 40.0
    assert config.tokenizer_model == "smollm2-135m-instruct"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"verifier": ["a:1"]}, "did you mean 'verifiers'"),
        ({"verifiers": []}, "verifiers is empty, expected one or more values"),
        ({"verifiers": ["a"]}, "expected host:port"),
        ({"max_tokens": 0}, "1 or more"),
        ({"grace_s": -1.0}, "0 or more"),
        ({"retry": {"backoff_s": 0}}, "backoff_s is 0.0, expected more than 0"),
        ({"retry": {"give_up_s": -1}}, "give_up_s is -1.0"),
        ({"window": {"polcy": "fixed"}}, "did you mean 'policy'"),
        ({"record": "traffic.jsonl"}, "'traffic_log'"),
        ({"acceptance_log": "trace.jsonl"}, "'acceptance_trace'"),
    ],
)
def test_wrong_value_is_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_mapping(DrafterConfig, values)


def test_drafters_without_a_name_get_names_of_their_own() -> None:
    assert str(DrafterConfig().drafter).rpartition("-")[2].isdecimal()


def test_toy_drafts_come_with_the_toy_tokenizer() -> None:
    assert DrafterConfig(draft=DraftConfig(engine="toy")).tokenizer_model == "toy"
    assert DrafterConfig(tokenizer="org/model").tokenizer_model == "org/model"


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (DraftConfig(engine="hybrid"), InlineDraftRunner),
        (DraftConfig(engine="hybrid", model="some/draft"), ThreadDraftRunner),
        (DraftConfig(engine="torch", model="some/draft"), ThreadDraftRunner),
    ],
)
def test_engine_with_a_model_of_its_own_drafts_in_a_thread(config: DraftConfig, kind: type[DraftRunner]) -> None:
    drafting = runner_for(config, NullDraft())
    assert type(drafting) is kind
    drafting.close()
