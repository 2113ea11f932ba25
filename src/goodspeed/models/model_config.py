"""The shape of a model, read from config.json of a Hugging Face checkpoint. Imports no torch."""

from dataclasses import dataclass, replace
from pathlib import Path

from goodspeed.errors import CheckpointError
from goodspeed.models.folder import JsonObject, read_json
from goodspeed.models.special_tokens import read_end_tokens
from goodspeed.models.tied_head import has_own_head

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """Divides every rotary frequency by `factor`."""

    factor: float


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Divides low rotary frequencies by `factor`, keeps high ones, and interpolates between them (Llama 3.1)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_context: int


RopeScaling = LinearScaling | Llama3Scaling


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of a decoder of the Llama family: RMS norm, rotary positions, grouped-query attention, SwiGLU."""

    model_type: str  # one of MODEL_TYPES
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_context: int  # positions that the model supports
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    """q_proj, k_proj and v_proj have biases."""
    output_bias: bool = False
    """o_proj has a bias."""
    qk_norm: bool = False
    """RMS norm over head_dim of every query and key head, before the rotation (Qwen3)."""
    sliding_window: int | None = None
    """Every layer attends to this many last positions, own included; None: to all."""
    end_tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Raises CheckpointError for an invalid shape."""
        sizes = {
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "num_kv_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.intermediate_size,
            "vocab_size": self.vocab_size,
            "max_context": self.max_context,
        }
        for name, size in sizes.items():
            if size < 1:
                raise CheckpointError(f"{name} is {size}, expected 1 or more")
        if self.num_heads % self.num_kv_heads:
            raise CheckpointError(f"num_kv_heads is {self.num_kv_heads}, expected a divisor of {self.num_heads} heads")
        if self.head_dim % 2:
            raise CheckpointError(f"head_dim is {self.head_dim}, expected an even number")


def read_config(folder: Path) -> ModelConfig:
    """The shape in `folder`/config.json, in the format of transformers 4 or 5.

    Raises CheckpointError for a missing or damaged file, and for an unsupported feature.
    """
    path = folder / "config.json"
    values = read_json(path)
    try:
        config = _parse(values, read_end_tokens(folder))
        # A fine-tuned tokenizer may name a token for which the model has no row.
        ends = tuple(token for token in config.end_tokens if 0 <= token < config.vocab_size)
        return _untied(replace(config, end_tokens=ends), folder)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _untied(config: ModelConfig, folder: Path) -> ModelConfig:
    """As transformers does: the weights decide if they have a head of their own, whatever config.json says."""
    if config.tie_word_embeddings and has_own_head(folder):
        return replace(config, tie_word_embeddings=False)
    return config


def config_json(config: ModelConfig) -> dict[str, object]:
    """The content of config.json, in the format of transformers 4, which version 5 also reads."""
    architecture = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}[config.model_type]
    return {
        "architectures": [f"{architecture}ForCausalLM"],
        "model_type": config.model_type,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.intermediate_size,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_context,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": _scaling_json(config.rope_scaling),
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_bias": config.attention_bias,
        "mlp_bias": False,
        "use_sliding_window": config.sliding_window is not None,
        "sliding_window": config.sliding_window,
        "max_window_layers": 0,  # Qwen: the first layer with a sliding window
        "bos_token_id": None,
        "eos_token_id": list(config.end_tokens) or None,
    }


def _parse(values: JsonObject, end_tokens: tuple[int, ...]) -> ModelConfig:
    model_type = values.get("model_type")
    if model_type not in MODEL_TYPES:
        raise CheckpointError(f"model_type is {model_type!r}, supported are {', '.join(MODEL_TYPES)}")
    _refuse_unsupported(values)
    num_heads = _integer(values, "num_attention_heads")
    hidden_size = _integer(values, "hidden_size")
    rope = _rope(values)
    has_bias = bool(values.get("attention_bias"))
    return ModelConfig(
        model_type=str(model_type),
        hidden_size=hidden_size,
        num_layers=_integer(values, "num_hidden_layers"),
        num_heads=num_heads,
        num_kv_heads=_integer(values, "num_key_value_heads", num_heads),
        head_dim=_integer(values, "head_dim", 128 if model_type == "qwen3" else hidden_size // max(1, num_heads)),
        intermediate_size=_integer(values, "intermediate_size"),
        vocab_size=_integer(values, "vocab_size"),
        max_context=_integer(values, "max_position_embeddings"),
        rms_norm_eps=_number(values, "rms_norm_eps", 1e-6),
        rope_theta=_number(rope, "rope_theta", 10_000.0),
        rope_scaling=_scaling(rope),
        tie_word_embeddings=bool(values.get("tie_word_embeddings", False)),
        attention_bias=model_type == "qwen2" or (has_bias and model_type != "mistral"),
        output_bias=has_bias and model_type in {"llama", "qwen3"},
        qk_norm=model_type == "qwen3",
        sliding_window=_sliding_window(values),
        end_tokens=end_tokens,
    )


def _refuse_unsupported(values: JsonObject) -> None:
    expected: dict[str, object] = {"hidden_act": "silu", "mlp_bias": False, "quantization_config": None}
    for key, supported in expected.items():
        value = values.get(key, supported)
        if value is not None and value != supported:
            raise CheckpointError(f"{key} is {value!r}, supported is {supported!r}")


def _rope(values: JsonObject) -> JsonObject:
    """The rotary parameters: all in `rope_parameters` in transformers 5, some beside `rope_scaling` before."""
    found = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if not isinstance(found, dict) or any(isinstance(value, dict) for value in found.values()):
        raise CheckpointError(f"rope parameters are {found!r}, expected one flat set for all layers")
    return {**{key: values.get(key) for key in ("rope_theta", "partial_rotary_factor")}, **found}


def _scaling(rope: JsonObject) -> RopeScaling | None:
    if _number(rope, "partial_rotary_factor", 1.0) != 1.0:
        raise CheckpointError(f"partial_rotary_factor is {rope['partial_rotary_factor']!r}, supported is 1.0")
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind == "linear":
        return LinearScaling(_number(rope, "factor"))
    if kind == "llama3":
        return Llama3Scaling(
            _number(rope, "factor"),
            _number(rope, "low_freq_factor"),
            _number(rope, "high_freq_factor"),
            _integer(rope, "original_max_position_embeddings"),
        )
    raise CheckpointError(f"rope scaling is {kind!r}, supported are default, linear, llama3")


def _scaling_json(scaling: RopeScaling | None) -> dict[str, object] | None:
    match scaling:
        case None:
            return None
        case LinearScaling(factor):
            return {"rope_type": "linear", "factor": factor}
        case Llama3Scaling():
            return {
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_max_context,
            }


def _sliding_window(values: JsonObject) -> int | None:
    is_mistral = values.get("model_type") == "mistral"
    if values.get("model_type") == "llama" or not (is_mistral or values.get("use_sliding_window")):
        return None
    # 4096 is the default of transformers for Mistral.
    window = values.get("sliding_window", 4096)
    if window is None:
        return None
    layer_types = values.get("layer_types") or []
    kinds = set(layer_types) if isinstance(layer_types, list) else {layer_types}
    num_full = values.get("max_window_layers", 28)
    if not is_mistral and not kinds:
        kinds = {"sliding_attention"} if num_full == 0 else {"full_attention", "sliding_attention"}
        if isinstance(num_full, int) and num_full >= _integer(values, "num_hidden_layers"):
            kinds = {"full_attention"}
    if kinds == {"full_attention"}:
        return None
    if len(kinds) > 1:
        raise CheckpointError(f"layer types are {sorted(map(str, kinds))}, supported is one type for all layers")
    return _integer(values, "sliding_window", 4096)


def _integer(values: JsonObject, key: str, default: int | None = None) -> int:
    value = values.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool):
        raise CheckpointError(f"{key} is {value!r}, expected an integer")
    return value


def _number(values: JsonObject, key: str, default: float | None = None) -> float:
    value = values.get(key)
    value = default if value is None else value
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise CheckpointError(f"{key} is {value!r}, expected a number")
    return float(value)
