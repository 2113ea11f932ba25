"""Shapes, from config.json in all the forms that transformers has written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

from goodspeed.errors import CheckpointError
from goodspeed.models.model_config import (
    LinearScaling,
    Llama3Scaling,
    ModelConfig,
    RopeScaling,
    config_json,
    read_config,
)

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def _folder(path: Path, **values: object) -> Path:
    """A folder with a config.json of a small Llama, and these values."""
    base = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "vocab_size": 320,
        "max_position_embeddings": 256,
    }
    (path / "config.json").write_text(json.dumps(base | values))
    return path


def test_end_tokens_that_the_model_does_not_have_are_left_out(tmp_path: Path) -> None:
    assert read_config(_folder(tmp_path, eos_token_id=[-1, 7, 319, 320])).end_tokens == (7, 319)


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen2", "qwen3"])
def test_every_family_as_transformers_writes_it(random_checkpoint: Callable[..., Path], model_type: str) -> None:
    config = read_config(random_checkpoint(model_type))
    assert config == ModelConfig(
        model_type=model_type,
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        intermediate_size=96,
        vocab_size=320,
        max_context=256,
        attention_bias=model_type == "qwen2",
        qk_norm=model_type == "qwen3",
        sliding_window=4096 if model_type == "mistral" else None,
        end_tokens=(0,),
    )


def test_keys_missing_in_an_old_config_get_the_family_defaults(tmp_path: Path) -> None:
    config = read_config(_folder(tmp_path))
    assert (config.num_kv_heads, config.head_dim, config.rope_theta, config.rms_norm_eps) == (4, 16, 10_000.0, 1e-6)
    assert (config.tie_word_embeddings, config.rope_scaling, config.end_tokens) == (False, None, ())


@pytest.mark.parametrize(
    ("rope", "expected"),
    [
        ({"rope_type": "default"}, None),
        ({"rope_type": "linear", "factor": 2.0}, LinearScaling(2.0)),
        (LLAMA3, Llama3Scaling(8.0, 1.0, 4.0, 64)),
    ],
)
def test_rope_parameters_in_the_forms_of_transformers_4_and_5(
    tmp_path: Path, rope: dict[str, object], expected: RopeScaling | None
) -> None:
    new = read_config(_folder(tmp_path, rope_parameters={**rope, "rope_theta": 5e5}))
    old = read_config(_folder(tmp_path, rope_theta=5e5, rope_scaling=rope))
    assert new == old
    assert (new.rope_scaling, new.rope_theta) == (expected, 5e5)


def test_oldest_form_calls_the_rope_type_just_type(tmp_path: Path) -> None:
    config = read_config(_folder(tmp_path, rope_scaling={"type": "linear", "factor": 4}))
    assert config.rope_scaling == LinearScaling(4.0)


def test_attention_bias_of_a_llama_is_on_the_output_too(tmp_path: Path) -> None:
    config = read_config(_folder(tmp_path, attention_bias=True))
    assert config.attention_bias
    assert config.output_bias


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"model_type": "mistral", "sliding_window": 128}, 128),
        ({"model_type": "mistral", "sliding_window": None}, None),
        ({"model_type": "qwen2", "sliding_window": 128, "use_sliding_window": False}, None),
        ({"model_type": "qwen2", "sliding_window": 128, "use_sliding_window": True, "max_window_layers": 0}, 128),
        ({"model_type": "qwen2", "sliding_window": 128, "use_sliding_window": True, "max_window_layers": 2}, None),
        (
            {"model_type": "qwen3", "sliding_window": 8, "use_sliding_window": True, "layer_types": ["full_attention"]},
            None,
        ),
    ],
)
def test_sliding_window(tmp_path: Path, values: dict[str, object], expected: int | None) -> None:
    assert read_config(_folder(tmp_path, **values)).sliding_window == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2', supported are llama, mistral, qwen2, qwen3"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope scaling is 'yarn', supported are"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor is None, expected a number"),
        ({"rope_parameters": {"full_attention": {}, "sliding_attention": {}}}, "one flat set for all layers"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5, supported is 1.0"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', supported is 'silu'"),
        ({"mlp_bias": True}, "mlp_bias is True, supported is False"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config is"),
        ({"hidden_size": "64"}, "hidden_size is '64', expected an integer"),
        ({"num_hidden_layers": 0}, "num_layers is 0, expected 1 or more"),
        ({"num_key_value_heads": 3}, "num_kv_heads is 3, expected a divisor of 4 heads"),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
            "supported is one type for all layers",
        ),
        ({"eos_token_id": ["</s>"]}, r"eos_token_id is \['</s>'\], expected token ids"),
    ],
)
def test_unsupported_features_are_named(tmp_path: Path, values: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_config(_folder(tmp_path, **values))


def test_missing_or_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config.json is missing: .* has none"):
        read_config(tmp_path)
    with pytest.raises(CheckpointError, match=r"nowhere is not a folder"):
        read_config(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"model_type": ')
    with pytest.raises(CheckpointError, match=r"cannot read .*config.json"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="has a list, expected a JSON object"):
        read_config(tmp_path)


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("scaling", [None, LinearScaling(2.0), Llama3Scaling(8.0, 1.0, 4.0, 64)])
def test_written_config_is_read_back_by_us_and_by_transformers(
    tmp_path: Path, model_type: str, scaling: RopeScaling | None
) -> None:
    config = ModelConfig(
        model_type=model_type,
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=32,
        intermediate_size=96,
        vocab_size=320,
        max_context=256,
        rope_theta=1e6,
        rope_scaling=scaling,
        tie_word_embeddings=True,
        attention_bias=model_type in {"qwen2", "qwen3"},
        output_bias=model_type == "qwen3",
        qk_norm=model_type == "qwen3",
        sliding_window=None if model_type == "llama" else 128,
        end_tokens=(3, 4),
    )
    (tmp_path / "config.json").write_text(json.dumps(config_json(config)))
    assert read_config(tmp_path) == config
    transformers.AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert read_config(tmp_path) == config
