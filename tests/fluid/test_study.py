"""The comparison of a check."""

import math

import pytest

from goodspeed.fluid.study import TheoryCheck


@pytest.mark.parametrize(("relation", "holds"), [("<=", (True, True, False)), (">=", (False, True, True))])
def test_a_check_compares_and_fails_for_nan(relation: str, holds: tuple[bool, ...]) -> None:
    assert tuple(TheoryCheck("it", value, relation, 1.0).holds for value in (0.5, 1.0, 2.0)) == holds
    assert not TheoryCheck("it", math.nan, relation, 1.0).holds
