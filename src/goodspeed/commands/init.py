"""`goodspeed init`: the folder of a verifier, with invitations for drafters, and that of a drafter."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from goodspeed.protocol.address import Address
from goodspeed.setup.folders import DrafterFolder, VerifierFolder
from goodspeed.setup.invitation import read_invitation

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

GRPC_PORT, HTTP_PORT = 7700, 8000
MODEL = "smollm2-135m-instruct"


def add_parser(subparsers: "Subparsers") -> None:
    """Add `init` and its verbs."""
    parser = subparsers.add_parser(
        "init",
        description="Set up a verifier and drafters on machines of their own: configuration, certificates and tokens.",
        epilog="example: goodspeed init verifier --host box.example.net --drafters laptop",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_verifier(verbs)
    _add_drafter(verbs)


def _add_verifier(verbs: "Subparsers") -> None:
    parser = verbs.add_parser(
        "verifier",
        help="make a verifier's folder, and an invitation for each drafter",
        description="Make the folder of a verifier: a CA, a certificate, a credentials file and a configuration. What "
        "is there stays. Print an invitation for each drafter: a line to paste into `goodspeed init drafter`.",
        epilog="example: goodspeed init verifier --host box.example.net --drafters laptop phone",
    )
    parser.add_argument("--host", required=True, help="name or IP address by which drafters reach this machine")
    parser.add_argument("--port", type=int, default=GRPC_PORT, metavar="INT", help=f"gRPC port (default: {GRPC_PORT})")
    parser.add_argument("--model", default=MODEL, help=f"target model (default: {MODEL})")
    parser.add_argument("--drafters", nargs="*", default=[], metavar="NAME", help="names of drafters to invite")
    _add_folder(parser, "goodspeed-verifier", "give drafters that have a token a new one, which ends the old one")
    parser.set_defaults(run=_init_verifier)


def _add_drafter(verbs: "Subparsers") -> None:
    parser = verbs.add_parser(
        "drafter",
        help="make a drafter's folder from an invitation",
        description="Make the folder of a drafter from an invitation, which is read from standard input: it is a "
        "secret, and the arguments of a command are not.",
        epilog="example: goodspeed init drafter < invitation",
    )
    parser.add_argument("--port", type=int, default=HTTP_PORT, metavar="INT", help=f"HTTP port (default: {HTTP_PORT})")
    _add_folder(parser, "goodspeed-drafter", "replace the configuration and the secrets that are there")
    parser.set_defaults(run=_init_drafter)


def _add_folder(parser: argparse.ArgumentParser, default: str, replacing: str) -> None:
    parser.add_argument(
        "--dir", type=Path, default=Path(default), metavar="FOLDER", help=f"folder (default: {default})"
    )
    parser.add_argument("--replace", action="store_true", help=replacing)


def _init_verifier(args: argparse.Namespace) -> int:
    folder = VerifierFolder(args.dir)
    folder.set_up(args.host, args.port, args.model)
    print(f"{folder.path} has the verifier's configuration, certificates and credentials. Start it here:\n")
    print(f"  goodspeed doctor verifier --config {folder.config}")
    print(f"  goodspeed verifier --config {folder.config}")
    for name in args.drafters:
        invitation = folder.invite(name, Address(args.host, args.port), is_replacing=args.replace)
        print(f"\nOn the machine of {name}, run `goodspeed init drafter` and paste this line. It holds a secret:\n")
        print(invitation.line())
    return 0


def _init_drafter(args: argparse.Namespace) -> int:
    if sys.stdin.isatty():
        print("Paste the invitation, then Enter:", file=sys.stderr)
    invitation = read_invitation(sys.stdin.readline())
    folder = DrafterFolder(args.dir)
    folder.set_up(invitation, args.port, is_replacing=args.replace)
    print(
        f"{folder.path} has the configuration of drafter {invitation.name} of {invitation.verifier}. Start it here:\n"
    )
    print(f"  goodspeed doctor drafter --config {folder.config}")
    print(f"  goodspeed drafter --config {folder.config}")
    return 0
