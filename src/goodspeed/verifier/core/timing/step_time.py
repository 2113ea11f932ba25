"""How long a step of the engine takes, learned online."""

RECENT = 0.95  # decay of the evidence per step: the last 20 or so count
LASTING = 0.995  # the last 200: a slope that does not follow the noise
VARIANCE_FLOOR = 1e-6  # tokens^2: below, all steps were alike and have no slope


class StepTime:
    """Least squares of seconds = a + b * tokens over recent steps, a and b not negative.

    The decode steps that matter are linear in this range: reading the weights, then a cost a token.
    """

    def __init__(self, decay: float = RECENT) -> None:
        self._decay = decay
        self._weight = 0.0
        self._tokens = 0.0  # weighted means from here on
        self._seconds = 0.0
        self._tokens_variance = 0.0
        self._covariance = 0.0

    def observe(self, num_tokens: int, seconds: float) -> None:
        """A step of so many new tokens took so long."""
        self._weight = self._decay * self._weight + 1.0
        share = 1.0 / self._weight
        tokens_off = num_tokens - self._tokens
        seconds_off = seconds - self._seconds
        self._tokens += share * tokens_off
        self._seconds += share * seconds_off
        self._tokens_variance = (1.0 - share) * (self._tokens_variance + share * tokens_off * tokens_off)
        self._covariance = (1.0 - share) * (self._covariance + share * tokens_off * seconds_off)

    @property
    def mean_s(self) -> float:
        """Of recent steps as they were; 0 before the first."""
        return self._seconds

    def predict(self, num_tokens: int) -> float:
        """Seconds; 0 before the first observation."""
        if self._tokens_variance < VARIANCE_FLOOR:
            return self._seconds
        slope = self.token_s
        base = max(0.0, self._seconds - slope * self._tokens)
        return base + slope * num_tokens

    @property
    def token_s(self) -> float:
        """Seconds that one more token takes; 0 before two unlike steps were observed."""
        if self._tokens_variance < VARIANCE_FLOOR:
            return 0.0
        return max(0.0, self._covariance / self._tokens_variance)
