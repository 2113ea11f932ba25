"""The machine on which a measurement was made: hardware, versions, commit."""

import contextlib
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

PACKAGES = ("goodspeed", "torch", "numpy", "grpcio", "tokenizers", "uvicorn", "httpx")
TASKS = "/proc/self/task"
"""Has a folder for each thread of this process, named by its id."""


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """A machine and the packages installed on it."""

    cpu: str
    num_cores: int  # cores that this process may use
    memory_gib: float
    system: str
    python: str
    versions: dict[str, str]
    git_commit: str  # with "+" appended if the checkout has changes; empty without a git checkout


def this_machine() -> MachineInfo:
    """The machine that runs this process."""
    return MachineInfo(
        cpu=_cpu(),
        num_cores=num_cores(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=platform.platform(),
        python=platform.python_version(),
        versions=_versions(),
        git_commit=_git_commit(),
    )


def num_cores() -> int:
    """Cores that any thread of this process may use.

    OpenMP binds each thread to one core, so the affinity of a single thread (which psutil reports) is not enough.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = os.sched_getaffinity(0)
    for thread in os.listdir(TASKS) if os.path.isdir(TASKS) else ():
        with contextlib.suppress(ProcessLookupError):  # the thread has ended
            cores |= os.sched_getaffinity(int(thread))
    return len(cores)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git_commit() -> str:
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
