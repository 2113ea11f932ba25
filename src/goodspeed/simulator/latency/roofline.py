"""The roofline model of a device (Williams, Waterman, Patterson 2009), from its spec sheet.

Every matrix product takes the longer of its arithmetic and its memory traffic. Steps of few tokens are bound by reading
the weights, steps of many tokens by arithmetic; the knee lies where the two are equal.
"""

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.simulator.latency.decoder_shape import ACTIVATION_BYTES, DecoderShape, Matrix
from goodspeed.simulator.latency.devices import DEVICES
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape
from goodspeed.simulator.latency.shapes import model_shape
from goodspeed.simulator.latency.step_breakdown import StepBreakdown, break_down


@config_dataclass
class RooflineConfig:
    """A device and a model shape for the roofline model."""

    shape: str = option("llama-3.1-8b", "model shape: a name of the catalog or a folder with a config.json")
    device: str = option("h100_sxm", "device whose data sheet is used", choices=DEVICES)
    flops: float = option(0.0, "16-bit FLOPs per second in place of the device's; 0: the device's", ge=0.0)
    bytes_per_s: float = option(0.0, "memory bandwidth in place of the device's; 0: the device's", ge=0.0)
    weight_bits: float = option(16.0, "bits per weight in memory; the arithmetic stays 16-bit", ge=1.0, le=32.0)
    kv_bits: float = option(16.0, "bits per number in the KV cache", ge=1.0, le=32.0)
    tensor_parallel: int = option(1, "devices that share the model", ge=1)
    compute_efficiency: float = option(0.7, "share of the peak arithmetic that large products reach", gt=0.0, le=1.0)
    memory_efficiency: float = option(0.8, "share of the peak bandwidth that reading weights reaches", gt=0.0, le=1.0)
    layer_s: float = option(
        10e-6, "seconds per layer that nothing hides: kernel launches, norms, synchronisation", ge=0.0
    )

    def __post_init__(self) -> None:
        if self.tensor_parallel > 1 and not DEVICES[self.device].link_bytes_per_s:
            raise ConfigError(f"tensor_parallel is {self.tensor_parallel}, but {self.device} has no link to another")

    def model(self) -> LatencyModel:
        """The configured model. Raises ConfigError or CheckpointError for an unknown shape."""
        return RooflineLatency(self)


class RooflineLatency:
    """Sums the longer of arithmetic and memory traffic over the operations of a pass."""

    def __init__(self, config: RooflineConfig) -> None:
        device = DEVICES[config.device]
        decoder = DecoderShape(model_shape(config.shape), config.tensor_parallel)
        self._config = config
        self._flops = config.compute_efficiency * (config.flops or device.flops)
        self._bytes_per_s = config.memory_efficiency * (config.bytes_per_s or device.bytes_per_s)
        self._layer_matrices = decoder.layer_matrices
        self._head = decoder.head
        self._kv_bytes = decoder.num_kv_values * config.kv_bits / 8
        self._attention_flops = decoder.attention_flops
        self._token_s = decoder.elementwise_bytes / self._bytes_per_s
        if config.tensor_parallel > 1:
            self._token_s += decoder.reduced_bytes / device.link_bytes_per_s
        self._base_s = config.layer_s * decoder.config.num_layers

    def step_s(self, shape: StepShape) -> float:
        step = break_down(shape)
        matrices_s = sum(self._matrix_s(matrix, shape.num_tokens) for matrix in self._layer_matrices)
        head_s = self._matrix_s(self._head, step.num_verified_tokens + step.num_prompts)
        return self._base_s + self._token_s * shape.num_tokens + matrices_s + head_s + self._attention_s(step)

    def _matrix_s(self, matrix: Matrix, num_tokens: int) -> float:
        num_bytes = matrix.num_weights * self._config.weight_bits / 8
        num_bytes += matrix.count * num_tokens * ACTIVATION_BYTES * (matrix.num_inputs + matrix.num_outputs)
        return max(2 * matrix.num_weights * num_tokens / self._flops, num_bytes / self._bytes_per_s)

    def _attention_s(self, step: StepBreakdown) -> float:
        num_kv_tokens = step.num_verifying * step.verify_context + step.num_prompts * step.prefill_context
        arithmetic_s = self._attention_flops * (step.num_verify_pairs + step.num_prefill_pairs) / self._flops
        return max(arithmetic_s, self._kv_bytes * num_kv_tokens / self._bytes_per_s)
