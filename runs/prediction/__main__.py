"""Prediction against reality: the demo's set-ups live on this machine, and simulated from measurements of its parts.

Runs three set-ups live to calibrate what hosts take, runs 1, 4 and 8 drafters at three link settings live, profiles
both engines before and after every three, simulates these nine, and prints the tables of docs/prediction.md. What is in
the folder already is not measured again, so it can be stopped and begun anew. Nothing else should run meanwhile.

    python -m runs.prediction --output results/prediction            (from the repository's root; 20 minutes)
    python -m runs.prediction --output /tmp/quick --pair toy --quick  (a test of the way through)
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import msgspec
from runs.prediction import tables
from runs.prediction.calibration import Fit, calibrate
from runs.prediction.live import LivePlan, LiveRun, run_live
from runs.prediction.prediction import Outcome, outcome
from runs.prediction.profiling import merge, profile
from runs.prediction.setups import CALIBRATION, Setup, predicted
from runs.prediction.simulated import OTHERS, OWN, Models

from goodspeed.cluster.machine import num_cores, this_machine
from goodspeed.simulator.machine import MachineConfig

T = TypeVar("T")
VARIANTS = (OTHERS, OWN)
SETUPS_PER_PROFILE = 3
"""The calibrating ones lie between the same two."""


def main() -> None:
    args = _parser().parse_args()
    os.environ.setdefault("OMP_PROC_BIND", "true")  # as for a verifier with cores of its own (docs/engine.md)
    args.output.mkdir(parents=True, exist_ok=True)
    setups = [_cut(setup, args.quick) for setup in predicted(args.drafters)]
    calibrating = [_cut(setup, args.quick) for setup in CALIBRATION]
    runs = _measured((*calibrating, *setups), args)
    if not args.no_simulation:
        _compare(calibrating, setups, runs, args)


@dataclass(frozen=True, slots=True)
class Measured:
    """A set-up, live, and tables of the machine as it was before and after it and its neighbours."""

    live: LiveRun
    tables: Path


def _measured(setups: Sequence[Setup], args: argparse.Namespace) -> dict[str, Measured]:
    """By name."""
    plan, runs = LivePlan(args.pair, args.max_tokens), dict[str, Measured]()
    before = _profile(0, args)
    for number, first in enumerate(range(0, len(setups), SETUPS_PER_PROFILE), 1):
        few = [_live(setup, plan, args.output) for setup in setups[first : first + SETUPS_PER_PROFILE]]
        after, tables_between = _profile(number, args), args.output / f"tables-{number}.json"
        merge(before, after, tables_between)
        runs |= {live.setup: Measured(live, tables_between) for live in few}
        before = after
    return runs


def _profile(number: int, args: argparse.Namespace) -> Path:
    path: Path = args.output / f"profile-{number}.json"
    if not path.exists():
        _timed(path.stem, partial(profile, args.pair, path, args.repeats))
    return path


def _compare(
    calibrating: Sequence[Setup], setups: Sequence[Setup], runs: dict[str, Measured], args: argparse.Namespace
) -> None:
    with TemporaryDirectory(prefix="goodspeed-") as folder:
        unfitted = Models(runs[calibrating[0].name].tables, Path(folder), MachineConfig())
        measured = [(setup, runs[setup.name].live) for setup in calibrating]
        fit = _timed("calibration", partial(calibrate, measured, unfitted))
        models = replace(unfitted, machine=fit.machine)
        every = _timed("simulation", partial(_outcomes, (*calibrating, *setups), runs, models, args.seeds))
    fitted, outcomes = every[: len(calibrating)], every[len(calibrating) :]
    report = {"machine": this_machine(), "fit": fit, "fitted": fitted, "outcomes": outcomes}
    (args.output / "prediction.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    _show(fit, fitted, outcomes)


def _outcomes(setups: Sequence[Setup], runs: dict[str, Measured], models: Models, num_seeds: int) -> list[Outcome]:
    plan = (VARIANTS, num_seeds)
    with ProcessPoolExecutor(num_cores()) as pool:
        waiting = [
            pool.submit(outcome, setup, measured.live, replace(models, tables=measured.tables), plan)
            for setup, measured in ((setup, runs[setup.name]) for setup in setups)
        ]
        return [one.result() for one in waiting]


def _live(setup: Setup, plan: LivePlan, folder: Path) -> LiveRun:
    path = folder / f"{setup.name}.json"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=LiveRun)
    run = _timed(setup.name, partial(run_live, setup, plan))
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(msgspec.json.encode(run))
    unfinished.replace(path)
    return run


def _timed(what: str, work: Callable[[], T]) -> T:
    print(f"{what} ...", end="", flush=True)
    began = time.monotonic()
    done = work()
    print(f" {time.monotonic() - began:.0f} s", flush=True)
    return done


def _cut(setup: Setup, is_quick: bool) -> Setup:
    return replace(setup, requests=2, repetitions=2) if is_quick else setup


def _show(fit: Fit, fitted: Sequence[Outcome], outcomes: Sequence[Outcome]) -> None:
    print(f"\nCalibration, on which the simulator is fitted:\n\n{tables.fitted(fit)}\n\n{tables.comparison(fitted)}")
    print(f"\nPrediction:\n\n{tables.comparison(outcomes)}")
    print(f"\nEach client:\n\n{tables.clients(outcomes)}")
    print(f"\nLive / simulated:\n\n{tables.causes((*fitted, *outcomes))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/prediction"))
    parser.add_argument("--pair", default="smollm2", help="engines, as in `goodspeed bench`")
    parser.add_argument("--drafters", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--max-tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--repeats", type=int, default=7, help="steps profiled at each point")
    parser.add_argument("--seeds", type=int, default=4, help="simulated runs of each repetition and variant")
    parser.add_argument("--quick", action="store_true", help="two repetitions of two requests")
    parser.add_argument("--no-simulation", action="store_true", help="measure only")
    return parser


if __name__ == "__main__":
    main()
