"""Prediction: the demo's set-ups run live on this machine, and simulated from measurements of the parts.

The run measures three set-ups live to calibrate host times, and nine more with 1, 4 and 8 drafters at three link
settings. It profiles both engines before and after every three set-ups, simulates the nine, and prints the tables of
docs/measurements/prediction.md. Measurements in the output folder are not repeated, so the run can be interrupted and
restarted. 20 minutes on two cores that nothing else uses; needs the target model.

    python -m runs.prediction --output results/prediction
    python -m runs.prediction --output /tmp/quick --pair toy --quick
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
from runs.prediction.calibration import CalibrationFit, calibrate
from runs.prediction.live_setup import LiveRun, LiveSettings, run_live
from runs.prediction.outcome import PredictionOutcome, predict
from runs.prediction.profiling import merge, profile
from runs.prediction.setups import CALIBRATION, PredictionSetup, predicted
from runs.prediction.simulated_setup import OTHERS, OWN, Models

from goodspeed.cluster.machine import num_cores, this_machine
from goodspeed.simulator.machine import MachineConfig

T = TypeVar("T")
VARIANTS = (OTHERS, OWN)
SETUPS_PER_PROFILE = 3
"""The calibration set-ups are between the same two profiles."""


def main() -> None:
    args = _parser().parse_args()
    os.environ.setdefault("OMP_PROC_BIND", "true")  # as for a verifier with dedicated cores
    args.output.mkdir(parents=True, exist_ok=True)
    setups = [_shortened(setup, args.quick) for setup in predicted(args.drafters)]
    calibrating = [_shortened(setup, args.quick) for setup in CALIBRATION]
    runs = _measured((*calibrating, *setups), args)
    if not args.no_simulation:
        _compare(calibrating, setups, runs, args)


@dataclass(frozen=True, slots=True)
class Measured:
    """A live set-up, and the mean of the profiles before and after it."""

    live: LiveRun
    tables: Path


def _measured(setups: Sequence[PredictionSetup], args: argparse.Namespace) -> dict[str, Measured]:
    """The measured set-ups by name."""
    plan, runs = LiveSettings(args.pair, args.max_tokens), dict[str, Measured]()
    before = _profile(0, args)
    for number, first in enumerate(range(0, len(setups), SETUPS_PER_PROFILE), 1):
        live_runs = [_live(setup, plan, args.output) for setup in setups[first : first + SETUPS_PER_PROFILE]]
        after, tables_between = _profile(number, args), args.output / f"tables-{number}.json"
        merge(before, after, tables_between)
        runs |= {live.setup: Measured(live, tables_between) for live in live_runs}
        before = after
    return runs


def _profile(number: int, args: argparse.Namespace) -> Path:
    path: Path = args.output / f"profile-{number}.json"
    if not path.exists():
        _timed(path.stem, partial(profile, args.pair, path, args.repeats))
    return path


def _compare(
    calibrating: Sequence[PredictionSetup],
    setups: Sequence[PredictionSetup],
    runs: dict[str, Measured],
    args: argparse.Namespace,
) -> None:
    with TemporaryDirectory(prefix="goodspeed-") as folder:
        unfitted = Models(runs[calibrating[0].name].tables, Path(folder), MachineConfig())
        measured = [(setup, runs[setup.name].live) for setup in calibrating]
        fit = _timed("calibration", partial(calibrate, measured, unfitted))
        models = replace(unfitted, machine=fit.machine)
        outcomes_of_all = _timed("simulation", partial(_outcomes, (*calibrating, *setups), runs, models, args.seeds))
    fitted, outcomes = outcomes_of_all[: len(calibrating)], outcomes_of_all[len(calibrating) :]
    report = {"machine": this_machine(), "fit": fit, "fitted": fitted, "outcomes": outcomes}
    (args.output / "prediction.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    _show(fit, fitted, outcomes)


def _outcomes(
    setups: Sequence[PredictionSetup], runs: dict[str, Measured], models: Models, num_seeds: int
) -> list[PredictionOutcome]:
    plan = (VARIANTS, num_seeds)
    with ProcessPoolExecutor(num_cores()) as pool:
        futures = [
            pool.submit(predict, setup, measured.live, replace(models, tables=measured.tables), plan)
            for setup, measured in ((setup, runs[setup.name]) for setup in setups)
        ]
        return [future.result() for future in futures]


def _live(setup: PredictionSetup, plan: LiveSettings, folder: Path) -> LiveRun:
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
    start_s = time.monotonic()
    result = work()
    print(f" {time.monotonic() - start_s:.0f} s", flush=True)
    return result


def _shortened(setup: PredictionSetup, is_quick: bool) -> PredictionSetup:
    return replace(setup, requests=2, repetitions=2) if is_quick else setup


def _show(fit: CalibrationFit, fitted: Sequence[PredictionOutcome], outcomes: Sequence[PredictionOutcome]) -> None:
    print(
        "\nCalibration set-ups, to which the simulator is fitted:\n\n"
        f"{tables.fitted(fit)}\n\n{tables.comparison(fitted)}"
    )
    print(f"\nPrediction:\n\n{tables.comparison(outcomes)}")
    print(f"\nBy client:\n\n{tables.clients(outcomes)}")
    print(f"\nLive / simulated:\n\n{tables.causes((*fitted, *outcomes))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/prediction"))
    parser.add_argument("--pair", default="smollm2", help="engines, as in `goodspeed bench`")
    parser.add_argument("--drafters", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--max-tokens", type=int, default=64, help="longest answer, in tokens")
    parser.add_argument("--repeats", type=int, default=7, help="timed steps at each point of the profile")
    parser.add_argument("--seeds", type=int, default=4, help="simulations of each repetition and variant")
    parser.add_argument("--quick", action="store_true", help="two repetitions of two requests")
    parser.add_argument("--no-simulation", action="store_true", help="measure only")
    return parser


if __name__ == "__main__":
    main()
