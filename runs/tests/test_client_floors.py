"""Random setups of unlike clients."""

from runs.client_floors import ENGINES, FloorCase, goodputs


def test_a_setup_is_that_of_its_seed() -> None:
    cases = [FloorCase.draw(seed) for seed in range(20)]
    assert cases == [FloorCase.draw(seed) for seed in range(20)]
    assert {case.engine for case in cases} == set(ENGINES)
    assert {len(case.tiers) for case in cases} == {2, 3, 4, 5}


def test_every_client_has_a_goodput() -> None:
    case = FloorCase.draw(1)
    found = goodputs(case.scenario("target_only", 6.0), 1)
    assert len(found) == len(case.tiers)
    assert min(found.values()) > 0.0
