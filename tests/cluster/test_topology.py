"""The flags of a cluster's servers."""

from dataclasses import replace
from pathlib import Path

import pytest

from goodspeed.cluster.topology import Models, ServerOptions, unchosen
from goodspeed.errors import ConfigError


def test_configuration_files_are_validated_before_a_server_starts(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[core]\nbudget = -1\n")
    with pytest.raises(ConfigError, match=r"server.toml: core.budget is -1, expected 0 or more"):
        ServerOptions("toy", 0.8, verifier_config=str(path)).verifier_flags("gradient")
    path.write_text("[window]\nmax_token = 4\n")
    with pytest.raises(ConfigError, match=r"server.toml: .*window.max_token"):
        ServerOptions("toy", 0.8, drafter_config=str(path)).drafter_flags()


def test_configuration_file_becomes_a_flag(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text("[core]\nbudget = 8\n")
    assert ServerOptions("toy", 0.8, verifier_config=str(path)).verifier_flags("gradient")[:2] == (
        "--config",
        str(path),
    )


def test_file_overrides_what_nobody_has_chosen(tmp_path: Path) -> None:
    verifier, drafter = tmp_path / "verifier.toml", tmp_path / "drafter.toml"
    verifier.write_text('engine = "toy"\nmetrics-port = 7801\n[core]\nscheduler = "fixed"\n')
    drafter.write_text('[draft]\nengine = "lookup"\n')
    chosen = ServerOptions("smollm2", 0.8, str(verifier), str(drafter))
    assert chosen.verifier_flags("price")[2:6] == ("--engine", "auto", "--core.scheduler", "price")
    assert chosen.drafter_flags()[2:] == ("--draft.engine", "hybrid")
    free = replace(chosen, defaults=frozenset({"pair", "scheduler"}))
    assert free.verifier_flags("time_aware") == ("--config", str(verifier))
    assert free.drafter_flags() == ("--config", str(drafter))
    assert free.verifier_setting("metrics_port") == 7801
    silent = ServerOptions("smollm2", 0.8, defaults=frozenset({"pair", "scheduler"}))
    assert silent.verifier_flags("time_aware") == ("--engine", "auto", "--core.scheduler", "time_aware")


def test_missing_token_of_a_file_is_found_before_a_server_starts(tmp_path: Path) -> None:
    path = tmp_path / "server.toml"
    path.write_text('[grpc]\ntoken_file = "secrets/token"\n')
    for options, name in (
        (ServerOptions("toy", 0.8, verifier_config=str(path)), "verifier_flags"),
        (ServerOptions("toy", 0.8, drafter_config=str(path)), "drafter_flags"),
    ):
        with pytest.raises(ConfigError, match="cannot read 'secrets/token'"):
            options.verifier_flags("fixed") if name == "verifier_flags" else options.drafter_flags()


def test_models_replace_the_pair() -> None:
    options = ServerOptions("smollm2", 0.8, models=Models("target.gguf", "draft.gguf", "llama_cpp"))
    assert options.verifier_flags("time_aware")[:4] == ("--engine", "llama_cpp", "--target.model", "target.gguf")
    drafter = ("--draft.engine", "hybrid", "--tokenizer", "target.gguf", "--draft.model", "draft.gguf")
    assert options.drafter_flags() == drafter
    engine_alone = ServerOptions("smollm2", 0.8, models=Models(engine="llama_cpp"))
    assert engine_alone.verifier_flags("time_aware")[:2] == ("--engine", "llama_cpp")
    with pytest.raises(ConfigError, match="did you mean 'llama_cpp'"):
        ServerOptions("smollm2", 0.8, models=Models(engine="llama_cp")).verifier_flags("time_aware")


def test_chosen_model_is_a_chosen_pair() -> None:
    assert unchosen(frozenset()) == {"pair", "scheduler"}
    assert unchosen(frozenset({"model"})) == {"scheduler"}
    assert unchosen(frozenset({"pair", "scheduler"})) == frozenset()
