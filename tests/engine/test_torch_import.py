"""Importing modules that need PyTorch."""

import json
import os
import subprocess
import sys

import pytest

from goodspeed.cluster.machine import num_cores
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch_import import import_torch_module, keep_cores
from goodspeed.errors import ConfigError


def test_threads_are_bound_to_cores_if_there_is_one_for_each() -> None:
    """In a process of its own: OpenMP reads its settings when it is loaded."""
    pytest.importorskip("torch")
    program = """
import json, os
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch_import import import_torch_module, keep_cores
keep_cores(TargetConfig(device="cpu"))
torch = import_torch_module("torch")
torch.set_num_threads(len(os.sched_getaffinity(os.getppid())))
torch.zeros(1 << 22).add_(1.0)
print(json.dumps([sorted(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")]))
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_PROC_BIND"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    assert {tuple(cores) for cores in json.loads(done.stdout)} == {(core,) for core in os.sched_getaffinity(0)}


@pytest.mark.parametrize(
    ("of_user", "config", "expected"),
    [
        (None, TargetConfig(device="cpu", threads=num_cores()), "true"),
        (None, TargetConfig(device="cuda"), None),
        ("spread", TargetConfig(device="cpu"), "spread"),
        pytest.param(
            None,
            TargetConfig(device="cpu", threads=max(1, num_cores() - 1)),
            None,
            marks=pytest.mark.skipif(num_cores() == 1, reason="one thread is one for every core"),
        ),
    ],
)
def test_threads_are_not_bound_on_a_gpu_or_with_free_cores(
    monkeypatch: pytest.MonkeyPatch, of_user: str | None, config: TargetConfig, expected: str | None
) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", of_user or "")  # remembered, and put back afterwards
    if of_user is None:
        del os.environ["OMP_PROC_BIND"]
    keep_cores(config)
    assert os.environ.get("OMP_PROC_BIND") == expected


def test_a_missing_library_is_a_user_error() -> None:
    with pytest.raises(ConfigError, match=r"goodspeed\[torch\].*no_such_library"):
        import_torch_module("no_such_library")
