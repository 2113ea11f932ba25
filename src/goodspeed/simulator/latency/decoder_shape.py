"""The work of one forward pass of a Llama-like decoder, on each of the devices that share it."""

from dataclasses import dataclass

from goodspeed.errors import ConfigError
from goodspeed.models.model_config import ModelConfig

ACTIVATION_BYTES = 2


@dataclass(frozen=True, slots=True)
class Matrix:
    """A product of [tokens, num_inputs] and [num_inputs, num_outputs] that occurs `count` times in a pass."""

    num_outputs: int
    num_inputs: int
    count: int

    @property
    def num_weights(self) -> int:
        """Weights of all `count` matrices."""
        return self.count * self.num_outputs * self.num_inputs


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """The decoder's shape on one of `tensor_parallel` devices. Raises ConfigError if they cannot share its heads."""

    config: ModelConfig
    tensor_parallel: int = 1

    def __post_init__(self) -> None:
        shared = self.config.num_heads, self.config.intermediate_size
        if self.tensor_parallel < 1 or any(size % self.tensor_parallel for size in shared):
            raise ConfigError(
                f"tensor_parallel is {self.tensor_parallel}, expected a divisor of {shared[0]} heads and {shared[1]} "
                "hidden neurons"
            )

    @property
    def num_heads(self) -> int:
        return self.config.num_heads // self.tensor_parallel

    @property
    def num_kv_heads(self) -> int:
        """At least one per device: a copy if there are fewer KV heads than devices."""
        return max(1, self.config.num_kv_heads // self.tensor_parallel)

    @property
    def layer_matrices(self) -> tuple[Matrix, ...]:
        """The projections QKV, attention output, gate and up, and down; merged as inference engines merge them."""
        config, layers = self.config, self.config.num_layers
        neurons = config.intermediate_size // self.tensor_parallel
        return (
            Matrix((self.num_heads + 2 * self.num_kv_heads) * config.head_dim, config.hidden_size, layers),
            Matrix(config.hidden_size, self.num_heads * config.head_dim, layers),
            Matrix(2 * neurons, config.hidden_size, layers),
            Matrix(config.hidden_size, neurons, layers),
        )

    @property
    def head(self) -> Matrix:
        """The projection to the vocabulary, for tokens whose successors are sampled."""
        return Matrix(-(-self.config.vocab_size // self.tensor_parallel), self.config.hidden_size, 1)

    @property
    def elementwise_bytes(self) -> int:
        """Bytes that norms, rotary embeddings and activations read and write per token, over all layers.

        With the usual kernel fusion: two norms that also add the residual, one rotation, one gated activation.
        """
        config = self.config
        norms = 2 * 4 * config.hidden_size
        rotation = 2 * (self.num_heads + 2 * self.num_kv_heads) * config.head_dim
        activation = 3 * config.intermediate_size // self.tensor_parallel
        return config.num_layers * ACTIVATION_BYTES * (norms + rotation + activation)

    @property
    def reduced_bytes(self) -> int:
        """Bytes that a device sends per token with tensor parallelism: two ring all-reduces per layer."""
        share = 2 * (self.tensor_parallel - 1) / self.tensor_parallel
        return round(self.config.num_layers * 2 * share * self.config.hidden_size * ACTIVATION_BYTES)

    @property
    def num_kv_values(self) -> int:
        """Values per KV token on this device, over all layers."""
        return 2 * self.num_kv_heads * self.config.head_dim * self.config.num_layers

    @property
    def attention_flops(self) -> int:
        """FLOPs per pair of a new token and one that it attends to, over all layers: scores and weighted values."""
        return 4 * self.num_heads * self.config.head_dim * self.config.num_layers
