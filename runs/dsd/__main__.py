"""DSD's experiments (arXiv 2511.21669), simulated: windows, modes, routing and batching on 20 verifiers.

Families: `configurations` (three data sets, 600 and 1,000 drafters, round trips of 10 and 30 ms), `round_trips` (1 to
100 ms), `changes` (the round trip, the load or the acceptance changes during the run) and `stack` (the paper's stack of
policies). A fifth of the fleet (`--scale 5`) has the same load on each verifier. `simulate` appends a line per arm and
seed to a file and leaves out those that it has: it can be stopped and continued, arm by arm. `table` prints all tables
of such files, `figures` draws them. A cell of 12 s takes 1 to 4 s of one core, compiled.

    python -m runs.dsd simulate cells.jsonl --scale 5 --seconds 12 --seeds 3
    python -m runs.dsd table cells.jsonl
    python -m runs.dsd figures cells.jsonl --out docs/measurements/figures
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import msgspec
from runs.dsd.arms import arms_of
from runs.dsd.cells import Job, read_cells, simulate_cell
from runs.dsd.setups import FAMILIES, Extent


def main() -> None:
    args = _parser().parse_args()
    if args.command == "simulate":
        simulate_missing(args)
    elif args.command == "table":
        from runs.dsd.tables import print_tables  # noqa: PLC0415

        print_tables(list(read_cells(args.files)))
    else:
        from runs.dsd.figures import draw  # noqa: PLC0415

        draw(list(read_cells(args.files)), args.out)


def simulate_missing(args: argparse.Namespace) -> None:
    """Seed by seed, so that a run that is stopped has all arms of the first seeds."""
    known = {cell.key for cell in read_cells([args.file])}
    extent = Extent(args.scale, args.seconds, args.file.with_suffix(".links"))
    with args.file.open("ab") as file:
        for job in jobs(args):
            if job.key not in known:
                file.write(msgspec.json.encode(simulate_cell(job, extent)) + b"\n")
                file.flush()


def jobs(args: argparse.Namespace) -> Iterator[Job]:
    """All cells that are wanted."""
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for family in args.families:
            for setup in FAMILIES[family]:
                if args.setups in setup.name:
                    arms = [arm for arm in arms_of(family) if not args.arms or arm in args.arms]
                    yield from (Job(family, setup, arm, seed) for arm in arms)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    simulating = commands.add_parser("simulate", help="append the missing cells to a file")
    simulating.add_argument("file", type=Path)
    simulating.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    simulating.add_argument("--setups", default="", help="only set-ups whose name has this text")
    simulating.add_argument("--arms", nargs="*", default=[], help="only these arms")
    simulating.add_argument("--scale", type=int, default=1, choices=(1, 5), help="part of the fleet: 1 / scale")
    simulating.add_argument("--seconds", type=float, default=60.0, help="simulated seconds, a third of them warm-up")
    simulating.add_argument("--first-seed", type=int, default=0)
    simulating.add_argument("--seeds", type=int, default=3)
    for name, text in (("table", "print tables of files of cells"), ("figures", "draw figures of files of cells")):
        command = commands.add_parser(name, help=text)
        command.add_argument("files", type=Path, nargs="+")
        if name == "figures":
            command.add_argument("--out", type=Path, required=True, help="folder")
    return parser


if __name__ == "__main__":
    main()
