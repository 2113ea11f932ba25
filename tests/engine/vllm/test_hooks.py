"""The check of the parts of vLLM that the engine uses."""

import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
from goodspeed.engine.vllm.hooks import check, missing_hooks
from goodspeed.errors import ConfigError


def test_missing_hook_is_found_at_any_depth() -> None:
    roots = {"core": SimpleNamespace(scheduler=SimpleNamespace(running=[]))}
    hooks = ("core.scheduler.running", "core.scheduler.waiting", "core.step", "worker.model")
    assert missing_hooks(roots, hooks) == ["core.scheduler.waiting", "core.step", "worker.model"]


def test_missing_hooks_are_one_error_with_the_versions_that_work() -> None:
    with pytest.raises(ConfigError, match=r"has no EngineCore.step, Scheduler.schedule, which .* tried on 0\.32\.0"):
        check(["Scheduler.schedule", "EngineCore.step", "EngineCore.step"])
    check([])


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_missing_vllm_is_an_error_with_the_command() -> None:
    with pytest.raises(ConfigError, match=r"the engine vllm needs the extra 'vllm': pip install 'goodspeed\[vllm\]'"):
        target_engine("vllm", TargetConfig(model="no such model"))


def test_other_engines_import_nothing_of_vllm() -> None:
    code = "import sys, goodspeed.engine.targets; assert not {'vllm', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
