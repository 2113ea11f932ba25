"""What the /metrics of a server said, at one time and over the last minute."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

KEPT_S = 60.0
"""Age of the oldest sample that rates refer to."""
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """All values of one scrape."""

    at_s: float  # Unix time
    values: Mapping[tuple[str, Labels], float]

    @staticmethod
    def parse(text: str, at_s: float) -> "Sample":
        """Raises ValueError if the text is not in the exposition format of Prometheus."""
        values = {
            (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        return Sample(at_s, values)

    def get(self, name: str, **labels: str) -> float:
        """The value; 0 if the server has no such metric yet."""
        return self.values.get((name, tuple(sorted(labels.items()))), 0.0)

    def label_values(self, name: str, label: str) -> list[str]:
        """The values of a label, in the server's order."""
        found = (dict(labels).get(label, "") for known, labels in self.values if known == name)
        return list(dict.fromkeys(value for value in found if value))


class History:
    """The samples of one server over the last minute."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> None:
        """Append a sample. A restart of the server, whose counters start at 0 again, ends the history before it."""
        if self._samples and _has_restarted(self._samples[-1], sample):
            self._samples.clear()
        self._samples.append(sample)
        while sample.at_s - self._samples[0].at_s > KEPT_S:
            self._samples.popleft()

    def clear(self) -> None:
        """Forget everything: the server does not answer."""
        self._samples.clear()

    @property
    def latest(self) -> Sample | None:
        """The last sample; None before the first."""
        return self._samples[-1] if self._samples else None

    def growth(self, name: str, over_s: float = KEPT_S, **labels: str) -> float:
        """By how much a counter has grown in the last `over_s` seconds."""
        if len(self._samples) < 2:
            return 0.0
        return self._samples[-1].get(name, **labels) - self._since(over_s).get(name, **labels)

    def rate(self, name: str, over_s: float = KEPT_S, **labels: str) -> float:
        """Growth per second."""
        if len(self._samples) < 2:
            return 0.0
        return self.growth(name, over_s, **labels) / (self._samples[-1].at_s - self._since(over_s).at_s)

    def ratio(self, part: str, whole: str, over_s: float = KEPT_S, **labels: str) -> float | None:
        """Growth of one counter per growth of another; None if the other did not grow."""
        total = self.growth(whole, over_s, **labels)
        return self.growth(part, over_s, **labels) / total if total > 0 else None

    def _since(self, over_s: float) -> Sample:
        """The earliest sample of the last `over_s` seconds, but not the last one."""
        start_s = self._samples[-1].at_s - over_s
        return next((sample for sample in list(self._samples)[:-1] if sample.at_s >= start_s), self._samples[-2])


def _has_restarted(before: Sample, after: Sample) -> bool:
    return any(after.values.get(key, 0.0) < value for key, value in before.values.items() if key[0].endswith("_total"))
