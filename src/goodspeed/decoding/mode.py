"""The mode of a stream: which drafts it may have."""

from enum import IntEnum


class Mode(IntEnum):
    """Which drafts a stream may have."""

    DISTRIBUTED = 0
    """The drafter's proposals and the verifier's own drafts, as the verifier chooses in every round."""
    TARGET_ONLY = 1
    """None: the target model generates on the same engine and over the same link (DSD's "fused mode")."""
    CO_LOCATED = 2
    """The verifier's own only; the drafter never proposes."""
