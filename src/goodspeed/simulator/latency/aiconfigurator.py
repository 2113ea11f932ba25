"""The latency of a forward pass as a sum of measured GPU kernels: matrix products, attention, all-reduce.

Norms, activations and sampling were not measured. They take their memory traffic at ELEMENTWISE_EFFICIENCY of the
bandwidth, and KERNEL_S per kernel: the values that the tables' own package uses.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.simulator.latency.decoder_shape import DecoderShape, Matrix
from goodspeed.simulator.latency.devices import DEVICES
from goodspeed.simulator.latency.gpu_tables import GpuTables
from goodspeed.simulator.latency.interpolation_grid import GridPoints, InterpolationGrid
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape
from goodspeed.simulator.latency.shapes import model_shape
from goodspeed.simulator.latency.step_breakdown import StepBreakdown, break_down

ELEMENTWISE_EFFICIENCY = 0.8
KERNEL_S = 3e-6
KERNELS_PER_LAYER = 5  # two norms, rotary embedding, cache write, activation
SAMPLING_BYTES = 10  # per token and vocabulary entry: 16-bit logits read, 32-bit ones written and read
UNQUANTIZED = "bfloat16"


@config_dataclass
class AiconfiguratorConfig:
    """A GPU, a framework and a model shape for the measured kernels of aiconfigurator."""

    shape: str = option("llama-3.1-8b", "model shape: a name of the catalog or a folder with a config.json")
    gpu: str = option(
        "h100_sxm",
        "GPU whose tables are used; measured are a100_sxm, h100_sxm, h200_sxm, b200_sxm, l40s and rtx_pro_6000_server",
        choices=DEVICES,
    )
    framework: str = option("vllm", "framework whose kernels are used: vllm, sglang or trtllm")
    weights: str = option("bfloat16", "type of the layers' weights: bfloat16, fp8 or another that the tables have")
    kv: str = option("bfloat16", "type of the KV cache: bfloat16 or fp8")
    tensor_parallel: int = option(1, "GPUs that share the model", ge=1)

    def model(self) -> LatencyModel:
        """The model of these tables. Raises ConfigError if they are not installed, or measured nothing that fits."""
        return MeasuredGpu(self)


class MeasuredGpu:
    """A latency model that sums measured kernels."""

    def __init__(self, config: AiconfiguratorConfig) -> None:
        tables = GpuTables(config.gpu, config.framework)
        decoder = DecoderShape(model_shape(config.shape), config.tensor_parallel)
        self._num_layers = decoder.config.num_layers
        products = tables.products(config.weights)
        self._layers = _matrix_grid("layers' products", decoder.layer_matrices, products)
        if config.weights != UNQUANTIZED:
            products = tables.products(UNQUANTIZED)
        self._head = _matrix_grid("the head's product", [decoder.head], products)
        heads = decoder.num_heads, decoder.num_kv_heads, decoder.config.head_dim
        generation = tables.attention("generation", heads, config.kv)
        prompts = tables.attention("context", heads, config.kv)
        self._generation = InterpolationGrid("attention of streams", ("streams", "context"), generation)
        self._prompts = InterpolationGrid("attention of prompts", ("prompts", "context"), prompts)
        self._pair_s = _pair_s(prompts)
        bytes_per_s = ELEMENTWISE_EFFICIENCY * DEVICES[config.gpu].bytes_per_s
        self._base_s = self._num_layers * KERNELS_PER_LAYER * KERNEL_S
        self._token_s = decoder.elementwise_bytes / bytes_per_s
        self._sampling_s = SAMPLING_BYTES * decoder.head.num_outputs / bytes_per_s
        self._hidden_size = decoder.config.hidden_size
        self._all_reduce = None
        if config.tensor_parallel > 1:
            self._all_reduce = InterpolationGrid("all-reduce", ("values",), tables.all_reduce(config.tensor_parallel))

    def products_s(self, num_tokens: int) -> float:
        """Seconds of the matrix products of a pass over `num_tokens` tokens, with logits for each of them."""
        return self._layers(num_tokens) + self._head(num_tokens)

    def step_s(self, shape: StepShape) -> float:
        step = break_down(shape)
        num_sampled = step.num_verified_tokens + step.num_prompts
        return (
            self._layers(shape.num_tokens)
            + self._head(num_sampled)
            + self._num_layers * (self._verify_attention_s(step) + self._prompt_attention_s(step))
            + self._base_s
            + self._token_s * shape.num_tokens
            + self._sampling_s * num_sampled
            + self._all_reduce_s(shape.num_tokens)
        )

    def _verify_attention_s(self, step: StepBreakdown) -> float:
        """One layer. The cache is read once per stream; tokens beyond the first add their arithmetic."""
        if not step.num_verifying:
            return 0.0
        num_more = step.num_verified_tokens - step.num_verifying
        reading_s = self._generation(step.num_verifying, step.verify_context)
        return reading_s + num_more * step.verify_context * self._pair_s

    def _prompt_attention_s(self, step: StepBreakdown) -> float:
        """One layer. A chunk costs the difference between the prompt up to its end and the prompt before it."""
        if not step.num_prompts:
            return 0.0
        chunk, end = step.num_prefill_tokens / step.num_prompts, step.prefill_context
        prefix_s = self._prompts(step.num_prompts, end)
        if chunk == end:
            return prefix_s
        return max(self._prompts(step.num_prompts, chunk), prefix_s - self._prompts(step.num_prompts, end - chunk))

    def _all_reduce_s(self, num_tokens: int) -> float:
        """All layers: one all-reduce after attention and one after the MLP."""
        return 2 * self._num_layers * self._all_reduce(num_tokens * self._hidden_size) if self._all_reduce else 0.0


def _pair_s(prompts: GridPoints) -> float:
    """Seconds per pair of a new token and one that it attends to.

    Taken from the longest prompt that was measured by itself, whose attention is bound by arithmetic.
    """
    length = max(length for number, length in prompts if number == 1)
    return prompts[1.0, length] / (length * length / 2)


def _matrix_grid(
    name: str, matrices: Sequence[Matrix], products: Mapping[tuple[int, int], GridPoints]
) -> InterpolationGrid:
    """Seconds of all matrices' products, by number of tokens."""
    curves = [_product(matrix, products) for matrix in matrices]
    points = set(curves[0]).intersection(*curves[1:])
    counts = [matrix.count for matrix in matrices]
    sums = {point: sum(count * curve[point] for count, curve in zip(counts, curves, strict=True)) for point in points}
    return InterpolationGrid(name, ("tokens",), sums)


def _product(matrix: Matrix, products: Mapping[tuple[int, int], GridPoints]) -> GridPoints:
    """Seconds of one product by number of tokens, interpolated between the measured sizes.

    A matrix wider than all measured ones is split into equal pieces: its outputs are independent of each other.
    """
    widths = sorted({outputs for outputs, _ in products})
    num_pieces = -(-matrix.num_outputs // widths[-1])
    outputs = _neighbours(matrix.num_outputs / num_pieces, widths)
    inputs = _neighbours(matrix.num_inputs, sorted({inputs for _, inputs in products}))
    corners = [
        (num_pieces * outputs_share * inputs_share, products.get((width, depth), {}))
        for width, outputs_share in outputs
        for depth, inputs_share in inputs
    ]
    points = set(corners[0][1]).intersection(*(curve for _, curve in corners))
    if not points:
        raise ConfigError(
            f"no matrix product near {matrix.num_outputs} outputs and {matrix.num_inputs} inputs was measured"
        )
    return {point: sum(share * curve[point] for share, curve in corners) for point in points}


def _neighbours(size: float, measured: Sequence[int]) -> list[tuple[int, float]]:
    """The measured sizes next to `size`, each with its weight. Outside the measured range, time is proportional."""
    right = bisect_left(measured, size)
    if right == len(measured) or right == 0 or measured[right] == size:
        nearest = measured[min(right, len(measured) - 1)]
        return [(nearest, size / nearest)]
    left = measured[right - 1]
    share = (size - left) / (measured[right] - left)
    return [(left, 1.0 - share), (measured[right], share)]
