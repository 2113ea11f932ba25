"""What counts as holding."""

import math

import pytest

from goodspeed.fluid.study import Check


@pytest.mark.parametrize(("relation", "holds"), [("<=", (True, True, False)), (">=", (False, True, True))])
def test_a_check_compares_and_nan_holds_nowhere(relation: str, holds: tuple[bool, ...]) -> None:
    assert tuple(Check("it", value, relation, 1.0).holds for value in (0.5, 1.0, 2.0)) == holds
    assert not Check("it", math.nan, relation, 1.0).holds
