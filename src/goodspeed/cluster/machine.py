"""What a figure was measured on: hardware, versions, commit."""

import contextlib
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGES = ("goodspeed", "torch", "numpy", "grpcio", "tokenizers", "uvicorn", "httpx")
TASKS = "/proc/self/task"
"""A folder for each thread of this process, named by its id."""


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """This machine and what is installed on it."""

    cpu: str
    num_cores: int  # that this process may use
    memory_gib: float
    system: str
    python: str
    versions: dict[str, str]
    git_commit: str  # of the source tree, "+" appended if it has changes; empty if it is no git checkout


def this_machine() -> MachineInfo:
    """Facts of the machine that runs this."""
    return MachineInfo(
        cpu=_cpu(),
        num_cores=num_cores(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=platform.platform(),
        python=platform.python_version(),
        versions=_versions(),
        git_commit=_git_commit(),
    )


def num_cores() -> int:
    """Cores that this process may use: all that some thread of it may, for OpenMP binds each to a core of its own."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = os.sched_getaffinity(0)
    for thread in os.listdir(TASKS) if os.path.isdir(TASKS) else ():
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
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
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return commit + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
