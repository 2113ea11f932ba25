"""Where a client's round goes: the link, its drafting, the verifier; what the time-aware scheduler wants to know.

The gap from verdict to proposal is one number on the verifier's clock. The proposal says how long the drafting took
(Propose.drafting_us), so the rest of the gap is the link, both ways, and the hosts. A drafter is not believed beyond
the gap, and cannot change the sum.
"""

from typing import Final

NEWEST: Final = 1 / 16
"""Weight of the newest round."""
MOST = 1 / 2
"""Of the newest round after many without news, in which what is known has become old."""


class Smoothed:
    """An exponentially weighted mean that begins with its first value; 0 before it."""

    def __init__(self) -> None:
        self.value = 0.0
        self._is_known = False

    def observe(self, value: float, weight: float = NEWEST) -> None:
        self.value = self.value + weight * (value - self.value) if self._is_known else value
        self._is_known = True


class RoundTiming:
    """One client's times; as in ClientView."""

    def __init__(self) -> None:
        self._network_s = Smoothed()
        self._verify_s = Smoothed()
        self._co_batched_weight = Smoothed()
        self._drafting_s = 0.0  # decayed sums: a short draft says less about the cost of a token
        self._num_drafted = 0.0
        self._num_alone = 0  # rounds since the last verdict on a proposal
        self._num_granted = 0.0
        self._num_verified = 0.0

    @property
    def network_s(self) -> float:
        """From a verdict sent to the next proposal received, less the drafting."""
        return self._network_s.value

    @property
    def drafting_s(self) -> float:
        """Per draft token; 0 before the first."""
        return self._drafting_s / self._num_drafted if self._num_drafted else 0.0

    @property
    def verify_s(self) -> float:
        """From a proposal received to its verdict sent, less what its own draft tokens take in the step."""
        return self._verify_s.value

    @property
    def co_batched_weight(self) -> float:
        """Weight of the clients that wait for a step of this client to end, itself included."""
        return self._co_batched_weight.value

    @property
    def grant_utilisation(self) -> float:
        """Share of granted tokens that come to verification; 1 before the first."""
        return self._num_verified / self._num_granted if self._num_granted else 1.0

    def on_proposal(self, turnaround_s: float, drafting_s: float, num_tokens: int) -> None:
        """A proposal has come `turnaround_s` after its verdict; its drafter reports that drafting took `drafting_s`."""
        drafting_s = min(drafting_s, turnaround_s)
        self._network_s.observe(turnaround_s - drafting_s)
        if num_tokens:
            self._drafting_s += drafting_s - NEWEST * self._drafting_s
            self._num_drafted += num_tokens - NEWEST * self._num_drafted

    def on_verdict(self, verify_s: float, co_batched_weight: float) -> None:
        """A proposal was judged; the arguments are as the properties."""
        weight = min(MOST, 1.0 - (1.0 - NEWEST) ** (1 + self._num_alone))
        self._num_alone = 0
        self._verify_s.observe(max(0.0, verify_s), weight)
        self._co_batched_weight.observe(co_batched_weight, weight)

    def on_alone(self) -> None:
        """A round without a proposal has passed."""
        self._num_alone += 1

    def on_grant_used(self, num_granted: int, num_verified: int) -> None:
        """Of so many tokens that a verdict granted, so many were verified: a draft may stop early, or be cut."""
        self._num_granted += num_granted - NEWEST * self._num_granted
        self._num_verified += num_verified - NEWEST * self._num_verified
