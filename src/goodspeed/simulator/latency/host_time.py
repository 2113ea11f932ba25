"""What the host adds to each step: scheduling, launching, sampling, detokenising."""

from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape


class HostedLatency:
    """Another model's step, and the host's time before and after it, as far as the device does not hide it."""

    def __init__(self, device: LatencyModel, step_s: float, stream_s: float) -> None:
        self._device = device
        self._step_s = step_s
        self._stream_s = stream_s

    def step_s(self, shape: StepShape) -> float:
        return self._device.step_s(shape) + self._step_s + self._stream_s * shape.num_streams
