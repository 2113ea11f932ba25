"""The time that the host adds to each step: scheduling, kernel launches, sampling, detokenisation."""

from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape


class HostedLatency:
    """A device's latency plus the host time that the device does not hide."""

    def __init__(self, device: LatencyModel, step_s: float, stream_s: float) -> None:
        self._device = device
        self._step_s = step_s
        self._stream_s = stream_s

    def step_s(self, shape: StepShape) -> float:
        return self._device.step_s(shape) + self._step_s + self._stream_s * shape.num_streams
