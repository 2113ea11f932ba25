"""Constrained streams in all modes: switches every few rounds, lost drafters, forced tokens as co-located drafts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from tests.verifier.test_modes import SWITCHING, ToyGuesses, lookup_drafts

from goodspeed.decoding.constraint import Constraint, ConstraintKind
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.grammar.compiler import GrammarCompiler
from goodspeed.engine.grammar.constrained_engine import ConstrainedCoLocatedDrafts
from goodspeed.engine.interface import CoLocatedDrafts
from goodspeed.engine.reference import ReferenceRequest, generate
from goodspeed.engine.toy_model import END_TOKEN, ToyModel
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.engine.toy_tokenizer import toy_tokenizer
from goodspeed.errors import ErrorCode
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import Open
from goodspeed.testing.virtual_verifier import VirtualDrafter, VirtualEngines, VirtualVerifier, open_request
from goodspeed.verifier.core.core_config import VerifierCoreConfig

SCHEMA = {
    "type": "object",
    "properties": {
        "a long name of a property": {"type": "string", "maxLength": 6},
        "kind": {"enum": ["one of these", "one of those"]},
    },
    "required": ["a long name of a property", "kind"],
    "additionalProperties": False,
}
CONSTRAINTS = [
    Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(SCHEMA)),
    Constraint(ConstraintKind.REGEX, "(yes|no), it is [a-z]{3,9} that the end is near"),
    Constraint(ConstraintKind.GRAMMAR, 'root ::= "and " root | "the end"'),
]


@pytest.fixture(scope="module")
def grammars(tmp_path_factory: pytest.TempPathFactory) -> GrammarCompiler:
    folder: Path = tmp_path_factory.mktemp("toy")
    toy_tokenizer(folder)
    tokenizer = Tokenizer.load(folder)
    return GrammarCompiler(tokenizer.to_json(), tokenizer.vocab_size, (END_TOKEN,))


def target_only(request: Open, grammars: GrammarCompiler) -> list[int]:
    """Prompt and answer of the constrained target without drafts."""
    ends = request.end_tokens
    alone = ReferenceRequest(request.tokens, request.max_tokens, request.sampling, ends, grammars)
    return [*request.tokens, *generate(ToyModel(), alone)]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, seed=5, rule=Rule.COUPLED)], ids=["greedy", "coupled"])
@pytest.mark.parametrize("drafts", [lookup_drafts, lambda: ToyGuesses(0.7)], ids=["lookup", "guesses"])
def test_constrained_texts_are_the_targets_own_whatever_the_modes(
    sampling: Sampling, drafts: Callable[[], CoLocatedDrafts], grammars: GrammarCompiler
) -> None:
    """24 prompts of four drafters, which all lose their links twice."""
    engine = ToyTarget(toy_info(max_context=1000, kv_capacity=10**5), grammars=grammars)
    co_located = ConstrainedCoLocatedDrafts(drafts(), grammars)
    verifier = VirtualVerifier(SWITCHING, engine.info, engines=VirtualEngines(engine, co_located, 0.0001))
    drafters = [VirtualDrafter(verifier, f"drafter {i}", 0.6) for i in range(4)]
    requests = []
    for number in range(1, 25):
        constrained = replace(sampling, constraint=CONSTRAINTS[number % 3])
        request = open_request(number, (number, 7 * number % 256, 5), 120, constrained)
        requests.append(structs.replace(request, end_tokens=(END_TOKEN,)))
        drafters[number % 4].open(requests[-1])
    for delay_s in (0.2, 0.4):
        verifier.run(delay_s)
        for i, drafter in enumerate(drafters):
            drafter.reconnect(f"drafter {i}")
    verifier.run(120.0)
    texts = {stream: text for drafter in drafters for stream, text in drafter.texts.items()}
    assert texts == {request.stream: target_only(request, grammars) for request in requests}
    modes = np.sum([client.rounds_by_mode for client in verifier.core.stats().clients], axis=0)
    assert min(modes) > 10, modes


def test_a_resumed_answer_that_violates_its_constraint_ends_alone(grammars: GrammarCompiler) -> None:
    engine = ToyTarget(toy_info(max_context=1000, kv_capacity=10**5), grammars=grammars)
    verifier = VirtualVerifier(SWITCHING, engine.info, engines=VirtualEngines(engine, None, 0.0001))
    drafter = VirtualDrafter(verifier, "drafter", 0.6)
    good, bad = (
        structs.replace(
            open_request(number, (number, 5, 6), 120, Sampling(constraint=CONSTRAINTS[2])), end_tokens=(END_TOKEN,)
        )
        for number in (1, 2)
    )
    drafter.open(good)
    drafter.open(structs.replace(bad, tokens=(*bad.tokens, *b"and wrong")))
    verifier.run(60.0)
    assert drafter.texts == {1: target_only(good, grammars)}
    (error,) = drafter.errors
    assert (error.stream, error.code) == (2, ErrorCode.BAD_REQUEST)
    assert engine.num_open == 0


def test_a_preempted_stream_continues_within_its_constraint(grammars: GrammarCompiler) -> None:
    """Memory for four answers, and a verifier that believes that answers are short."""
    engine = ToyTarget(toy_info(kv_capacity=4 * 96, kv_block=16), grammars=grammars)
    config = VerifierCoreConfig(growth_watermark=0.02)
    verifier = VirtualVerifier(config, engine.info, engines=VirtualEngines(engine, None, 0.0001))
    short = VirtualDrafter(verifier, "short", 0.7)
    any_token = tuple(range(engine.info.vocab_size))
    for stream in range(40):
        short.open(structs.replace(open_request(stream, (1, 2, 3), 80), end_tokens=any_token))
    verifier.run(10.0)
    constraint = Constraint(ConstraintKind.REGEX, "([a-f]{3,9} ){7}the end")
    drafter = VirtualDrafter(verifier, "long", 0.7)
    requests = [
        structs.replace(
            open_request(i, (i, 5, 6), 80, Sampling(0.8, seed=i, rule=Rule.COUPLED, constraint=constraint)),
            end_tokens=(END_TOKEN,),
        )
        for i in range(1, 13)
    ]
    for request in requests:
        drafter.open(request)
    verifier.run(300.0)
    assert drafter.texts == {request.stream: target_only(request, grammars) for request in requests}
    assert verifier.core.stats().memory.num_preemptions > 2
