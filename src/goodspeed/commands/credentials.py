"""`goodspeed credentials`: who may connect to a verifier or use a drafter's HTTP API."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from goodspeed.credentials.credentials_file import add_credential, read_credentials, remove_credential

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: "Subparsers") -> None:
    """Add `credentials` and its verbs."""
    parser = subparsers.add_parser(
        "credentials",
        description="Edit a credentials file: the names and hashed tokens of drafters (verifier: --grpc.credentials) "
        "or of an API's users (drafter: --api-credentials). Running servers follow the file.",
        epilog="example: goodspeed credentials add laptop-of-ann --file secrets/drafters",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    adding = verbs.add_parser(
        "add",
        help="write a new credential and print its token, which is stored nowhere",
        epilog="example: goodspeed credentials add laptop-of-ann --file secrets/drafters > token",
    )
    adding.add_argument("--replace", action="store_true", help="revoke the tokens that the name has")
    adding.set_defaults(run=_add)
    removing = verbs.add_parser(
        "remove",
        help="revoke the tokens of a name",
        epilog="example: goodspeed credentials remove laptop-of-ann --file secrets/drafters",
    )
    removing.set_defaults(run=_remove)
    listing = verbs.add_parser(
        "list", help="list the names", epilog="example: goodspeed credentials list --file secrets/drafters"
    )
    listing.set_defaults(run=_list)
    for verb in (adding, removing):
        verb.add_argument("name", metavar="NAME", help="a drafter's --name, or the name of an API key")
    for verb in (adding, removing, listing):
        verb.add_argument("--file", type=Path, required=True, metavar="FILE", help="the credentials file")


def _add(args: argparse.Namespace) -> int:
    print(add_credential(args.file, args.name, is_replacing=args.replace))
    return 0


def _remove(args: argparse.Namespace) -> int:
    remove_credential(args.file, args.name)
    return 0


def _list(args: argparse.Namespace) -> int:
    for name in sorted({credential.name for credential in read_credentials(args.file)}):
        print(name)
    return 0
