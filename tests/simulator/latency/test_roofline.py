"""Spec sheets: the position of the knee, and the catalogs."""

from pathlib import Path

import pytest

from goodspeed.config import from_mapping
from goodspeed.errors import ConfigError
from goodspeed.models.folder import write_json
from goodspeed.models.model_config import config_json
from goodspeed.simulator.latency.decoder_shape import DecoderShape
from goodspeed.simulator.latency.devices import DEVICES
from goodspeed.simulator.latency.latency_model import StepShape
from goodspeed.simulator.latency.roofline import RooflineConfig
from goodspeed.simulator.latency.shapes import SHAPES, model_shape


def pass_s(num_tokens: int, config: RooflineConfig) -> float:
    return config.model().step_s(StepShape(1, num_tokens, 0, num_tokens))


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("llama-3.1-8b", 8.03),
        ("llama-3.1-70b", 70.6),
        ("qwen3-0.6b", 0.596),
        ("qwen3-32b", 32.8),
        ("smollm2-135m", 0.1345),
    ],
)
def test_shapes_have_the_number_of_weights_of_their_model_cards(name: str, billions: float) -> None:
    decoder = DecoderShape(SHAPES[name])
    num_weights = sum(matrix.num_weights for matrix in decoder.layer_matrices) + decoder.head.num_weights
    embedding = 0 if decoder.config.tie_word_embeddings else decoder.head.num_weights
    assert (num_weights + embedding) / 1e9 == pytest.approx(billions, rel=0.005)


def test_a_single_token_is_bound_by_reading_the_weights() -> None:
    config = RooflineConfig(shape="llama-3.1-8b", device="h100_sxm", layer_s=0.0, memory_efficiency=1.0)
    assert pass_s(1, config) == pytest.approx((8.03e9 - 128_256 * 4096) * 2 / 3.35e12, rel=0.01)


def test_the_knee_lies_where_arithmetic_overtakes_memory() -> None:
    """The knee lies at the device's FLOPs per byte: a token costs two FLOPs per weight, and a weight two bytes."""
    config = RooflineConfig(compute_efficiency=1.0, memory_efficiency=1.0, layer_s=0.0)
    device = DEVICES[config.device]
    knee = round(device.flops / device.bytes_per_s)
    assert pass_s(knee // 2, config) < 1.15 * pass_s(1, config)
    assert pass_s(4 * knee, config) > 3.5 * pass_s(1, config)


def test_half_the_bits_take_half_the_time() -> None:
    whole, half = (pass_s(1, RooflineConfig(weight_bits=bits, layer_s=0.0)) for bits in (16.0, 8.0))
    assert half == pytest.approx(whole / 2, rel=0.01)


def test_two_devices_share_the_weights_and_pay_for_the_all_reduce() -> None:
    one, two = (RooflineConfig(tensor_parallel=number, layer_s=0.0) for number in (1, 2))
    assert 0.5 * pass_s(1, one) < pass_s(1, two) < 0.52 * pass_s(1, one)


def test_a_model_folder_is_a_shape(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", config_json(SHAPES["qwen3-0.6b"]))
    assert model_shape(str(tmp_path)) == SHAPES["qwen3-0.6b"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"device": "h100"}, r"^device is 'h100', expected one of .*; did you mean 'h100_sxm'"),
        ({"compute_efficiency": 1.5}, "compute_efficiency is 1.5, expected more than 0, at most 1"),
        ({"weight_bits": 0.0}, "weight_bits is 0.0, expected 1 to 32"),
        ({"device": "apple_m1", "tensor_parallel": 2}, "apple_m1 has no link to another"),
    ],
)
def test_wrong_values_raise_an_error_that_names_them(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(RooflineConfig, values)


def test_an_unknown_shape_raises_an_error_with_the_alternatives() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'llama-3.1-8b'.*a local folder with a config.json works too"):
        RooflineConfig(shape="llama-3-8b").model()
    with pytest.raises(ConfigError, match="tensor_parallel is 3, expected a divisor of 32 heads"):
        RooflineConfig(tensor_parallel=3).model()
