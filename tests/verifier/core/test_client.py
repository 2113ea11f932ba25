"""What is counted of a client's rounds."""

from dataclasses import replace
from functools import partial

import pytest
from msgspec import structs

from goodspeed.scheduling.policies import BASELINES
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualVerifier, open_request, target_only_text
from goodspeed.verifier.core.client import Client
from goodspeed.verifier.core.core_config import ClientConfig, VerifierCoreConfig

CUTTING = VerifierCoreConfig(scheduler="fixed", budget=4, overcommit=4.0, draft_selection="arrival")
"""Two clients propose four times what a step verifies."""
NUM_TOKENS = 60


def clients(config: VerifierCoreConfig, acceptance_rate: float) -> list[Client]:
    verifier = VirtualVerifier(config)
    for name in ("ann", "bob"):
        VirtualDrafter(verifier, name, acceptance_rate).open(open_request(1, max_tokens=NUM_TOKENS))
    verifier.run(20.0)
    return list(verifier.core.stats().clients)


def test_tokens_that_were_cut_are_proposed_and_neither_verified_nor_accepted() -> None:
    """Every draft token is right; a cut one that the target then chose by itself is not counted as accepted."""
    for client in clients(CUTTING, acceptance_rate=1.0):
        assert client.num_proposed > client.num_verified == client.num_accepted > 0
        assert client.num_committed == NUM_TOKENS == client.num_accepted + client.num_rounds


def test_without_a_cut_everything_is_verified() -> None:
    for client in clients(replace(CUTTING, budget=64, overcommit=1.0), acceptance_rate=0.6):
        assert client.num_proposed == client.num_verified > client.num_accepted > 0


def test_tokens_after_an_end_token_are_not_counted() -> None:
    """All proposals are right, and the end token is at any position of one, or the target's own token after one."""
    plain = open_request(1, max_tokens=NUM_TOKENS)
    answer = target_only_text(plain)[plain.num_prompt :]
    new_at = [at for at, token in enumerate(answer) if token not in answer[:at]]
    num_dropped = 0
    for end_at in new_at[10:]:
        verifier = VirtualVerifier(replace(CUTTING, budget=16, overcommit=1.0))
        drafter = VirtualDrafter(verifier, "ann", 1.0)
        drafter.open(structs.replace(plain, end_tokens=(answer[end_at],)))
        verifier.run(20.0)
        (client,) = verifier.core.stats().clients
        assert client.num_committed == end_at + 1
        num_dropped += client.num_proposed - client.num_accepted
        assert end_at + 1 - client.num_rounds <= client.num_accepted <= end_at + 2 - client.num_rounds
    assert num_dropped > 0


@pytest.mark.parametrize("scheduler", sorted({"time_aware", "gradient", *BASELINES} - {"tiers"}))
def test_a_round_has_one_mode_unless_it_is_a_prompts(scheduler: str) -> None:
    verifier = VirtualVerifier(VerifierCoreConfig(scheduler=scheduler))
    for name, network_s in (("near", 0.001), ("far", 0.1)):
        drafter = VirtualDrafter(verifier, name, 0.5, network_s=partial(float, network_s))
        drafter.open(open_request(1, max_tokens=NUM_TOKENS))
    verifier.run(60.0)
    for client in verifier.core.stats().clients:
        assert client.num_committed == NUM_TOKENS
        assert sum(client.rounds_by_mode) == client.num_rounds - 1


@pytest.mark.parametrize("scheduler", ["time_aware", "gradient"])
def test_a_client_that_may_not_propose_is_not_asked_what_it_would_propose(scheduler: str) -> None:
    capped = ClientConfig(name="capped", cap=0)
    verifier = VirtualVerifier(VerifierCoreConfig(scheduler=scheduler, clients=(capped,)))
    VirtualDrafter(verifier, "capped", 0.9).open(open_request(1, max_tokens=NUM_TOKENS))
    verifier.run(20.0)
    (client,) = verifier.core.stats().clients
    assert (client.num_proposed, client.num_shadow_drafts, client.num_committed) == (0, 0, NUM_TOKENS)
