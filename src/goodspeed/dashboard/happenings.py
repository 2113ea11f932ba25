"""Changes that the live page lists: servers and links that come and go, clients that join, drafts that are replaced."""

from collections.abc import Iterator

from msgspec import Struct

from goodspeed.dashboard.overview import ClientFigures, Overview, VerifierFigures


class Happening(Struct, frozen=True):
    """One line of the list."""

    at_s: float
    text: str


def happenings(before: Overview, after: Overview) -> list[Happening]:
    """What has changed from one refresh to the next."""
    verifiers = {verifier.url: verifier for verifier in before.verifiers}
    clients = {(client.verifier, client.name): client for client in before.clients}
    texts = [text for verifier in after.verifiers for text in _of_verifier(verifiers.get(verifier.url), verifier)]
    for client in after.clients:
        texts += _of_client(clients.get((client.verifier, client.name)), client)
    return [Happening(after.at_s, text) for text in texts]


def _of_verifier(before: VerifierFigures | None, after: VerifierFigures) -> Iterator[str]:
    if before is None:
        return
    if before.is_up != after.is_up:
        yield f"verifier {after.url} {'answers' if after.is_up else 'does not answer'}"
    if after.num_queued and not before.num_queued:
        yield f"streams wait for memory of {after.url}"


def _of_client(before: ClientFigures | None, after: ClientFigures) -> Iterator[str]:
    if before is None:
        yield f"{after.name} joined {after.verifier}"
        return
    if before.drafter is None or after.drafter is None:
        if (before.drafter is None) != (after.drafter is None):
            yield f"the drafter of {after.name} {'does not answer' if after.drafter is None else 'answers'}"
        return
    if before.drafter.is_linked != after.drafter.is_linked:
        yield f"{after.name} {'has a link again' if after.drafter.is_linked else 'has lost its link'}"
    if before.drafter.draft != after.drafter.draft:
        yield f"{after.name} drafts with {after.drafter.draft}, before with {before.drafter.draft}"
