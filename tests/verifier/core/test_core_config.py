"""Names that the verifier's configuration had before are refused with the current ones."""

import pytest

from goodspeed.config import from_mapping
from goodspeed.errors import ConfigError
from goodspeed.verifier.core.core_config import VerifierCoreConfig


@pytest.mark.parametrize(
    ("values", "current"),
    [
        ({"binding": "arrival"}, "draft_selection"),
        ({"draft_selection": "late"}, "'value'"),
        ({"lab_bucket": 64}, "length_bucket"),
        ({"ordering": "lab"}, "'length_aware'"),
    ],
)
def test_a_former_name_is_refused_with_the_current_one(values: dict[str, object], current: str) -> None:
    with pytest.raises(ConfigError, match=f"called {current}.* now|called '{current}' now"):
        from_mapping(VerifierCoreConfig, values)
