"""Where the time of a client's round goes: network, drafting and verifier, as the time-aware scheduler needs it.

The verifier's clock measures the turnaround, from a verdict sent to the next proposal received. The proposal reports
how long drafting took (Propose.drafting_us); the rest is the network in both directions and the hosts. The reported
time is cut to the turnaround, so a drafter cannot change the sum.
"""

from typing import Final

from goodspeed.stats.ewma import DecayedMean, Ewma

ROUND_WEIGHT: Final = 1 / 16
"""Weight of the latest round."""
MAX_ROUND_WEIGHT: Final = 1 / 2
"""Weight of a round with a proposal after many without one, when earlier measurements are out of date."""
FADING: Final = 1 / 32
"""How fast a verification time that is no longer measured approaches what is expected."""
WAIT_AND_STEP: Final = 1.5

MEAN_GAIN: Final = 1 / 8
DEVIATION_GAIN: Final = 1 / 4
MAX_DEVIATIONS: Final = 4


class TurnaroundEstimate:
    """From a verdict sent to the next proposal received, with drafting.

    Smoothed mean and mean deviation, as TCP estimates its round-trip times (RFC 6298).
    """

    def __init__(self) -> None:
        self._mean_s = Ewma(MEAN_GAIN)
        self._deviation_s = Ewma(DEVIATION_GAIN)

    @property
    def is_known(self) -> bool:
        return self._mean_s.value is not None

    @property
    def mean_s(self) -> float:
        """0 before the first observation."""
        return self._mean_s.get()

    @property
    def deviation_s(self) -> float:
        return self._deviation_s.get()

    @property
    def latest_s(self) -> float:
        """Nearly every proposal has arrived by then."""
        return self.mean_s + MAX_DEVIATIONS * self.deviation_s

    def observe(self, turnaround_s: float) -> None:
        mean_s = self._mean_s.value
        self._deviation_s.observe(turnaround_s / 2 if mean_s is None else abs(turnaround_s - mean_s))
        self._mean_s.observe(turnaround_s)


class RoundTiming:
    """Times of one client, with the meanings of ClientView."""

    def __init__(self) -> None:
        self.turnaround = TurnaroundEstimate()
        self._network_s = Ewma(ROUND_WEIGHT)
        self._verify_s = Ewma(ROUND_WEIGHT)
        self._wait_s = Ewma(ROUND_WEIGHT)  # of it: from the proposal received to the start of its step
        self._co_batched_weight = Ewma(ROUND_WEIGHT)
        self._drafting_s = DecayedMean(ROUND_WEIGHT)  # per step of drafting
        self._grant_utilisation = DecayedMean(ROUND_WEIGHT)
        self._num_unverified = 0  # rounds since the last verdict on a proposal
        self._num_unproposed = 0  # rounds since the last proposal or shadow draft

    @property
    def network_s(self) -> float:
        """From a verdict sent to the next proposal received, without drafting; 0 before the first proposal."""
        return self._network_s.get()

    @property
    def drafting_s(self) -> float:
        """Per step of drafting, which proposes a token or ends the draft; 0 before the first."""
        return self._drafting_s.get()

    @property
    def verify_s(self) -> float:
        """From a proposal received to its verdict sent, without the step time of its own draft tokens."""
        return self._verify_s.get()

    @property
    def co_batched_weight(self) -> float:
        """Total weight of the clients that wait for a step of this client to end, itself included."""
        return self._co_batched_weight.get()

    @property
    def grant_utilisation(self) -> float:
        """Share of granted tokens that are verified; 1 before the first verdict."""
        return self._grant_utilisation.get(default=1.0)

    def away_s(self, num_tokens: int) -> float:
        """From a verdict sent to the start of the step that verifies the proposal of `num_tokens`."""
        return self.network_s + self.drafting_s * num_tokens + self._wait_s.get()

    def on_proposal(self, turnaround_s: float, drafting_s: float, num_tokens: int, grant: int) -> None:
        """A proposal of `num_tokens` has arrived `turnaround_s` after the verdict that granted `grant`, 1 or more.

        Its drafter reports `drafting_s` of drafting. A draft that ends before its grant took a step more than it has
        tokens: a drafter that proposes nothing costs time, too.
        """
        self.turnaround.observe(turnaround_s)
        drafting_s = min(drafting_s, turnaround_s)
        self._network_s.observe(turnaround_s - drafting_s, _weight_after(self._num_unproposed))
        self._num_unproposed = 0
        self._drafting_s.observe(drafting_s, min(num_tokens + 1, grant))

    def on_verdict(self, verify_s: float, wait_s: float, co_batched_weight: float) -> None:
        """A proposal was verified, `wait_s` after it had come; the other arguments have the properties' meanings."""
        weight = _weight_after(self._num_unverified)
        self._num_unverified = 0
        self._verify_s.observe(max(0.0, verify_s), weight)
        self._wait_s.observe(wait_s, weight)
        self._co_batched_weight.observe(co_batched_weight, weight)

    def on_local_round(self, local_round_s: float, has_neighbours: bool = True) -> None:
        """A round without a proposal has ended; such rounds take `local_round_s`, 0 if that is not known.

        What a proposal waited long ago says little about what it would wait now, and nobody measures that. So the
        verification time approaches that of a proposal which arrives at any time while local rounds of others keep the
        engine busy: half a step's wait, and the step. A single stream (`has_neighbours` is false) has the step alone.
        """
        self._num_unverified += 1
        self._num_unproposed += 1
        if self._verify_s.value is not None and local_round_s > 0.0:
            self._verify_s.observe((WAIT_AND_STEP if has_neighbours else 1.0) * local_round_s, FADING)

    def on_grant_used(self, num_granted: int, num_verified: int) -> None:
        """The batch verified `num_verified` of `num_granted` tokens: a draft may stop early or be cut."""
        self._grant_utilisation.observe(num_verified, num_granted)


def _weight_after(num_local: int) -> float:
    """Weight of a measurement after `num_local` local rounds, which have measured nothing."""
    return min(MAX_ROUND_WEIGHT, 1.0 - (1.0 - ROUND_WEIGHT) ** (1 + num_local))
