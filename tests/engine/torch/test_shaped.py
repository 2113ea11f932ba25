"""Shaped pairs: separately made models compute the same function, with the configured acceptance rate."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_model import DraftModel, DraftModelRunner, StreamInput
from goodspeed.engine.neural_draft import NeuralDraft
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.draft import TorchDraftModel
from goodspeed.engine.torch.shaped import (
    LIVE,
    DialledModel,
    TargetWeights,
    draft_config,
    draft_weights,
    target_config,
)
from goodspeed.models.checkpoint import tensor_shapes
from goodspeed.models.model_config import ModelConfig

CPU = torch.device("cpu")
LLAMA = ModelConfig(
    model_type="llama",
    hidden_size=192,
    num_layers=3,
    num_heads=6,
    num_kv_heads=2,
    head_dim=32,
    intermediate_size=320,
    vocab_size=4500,
    max_context=512,
    tie_word_embeddings=True,
)
SHAPES = {
    "llama": LLAMA,
    "qwen2": replace(LLAMA, model_type="qwen2", attention_bias=True),
    "qwen3": replace(LLAMA, model_type="qwen3", qk_norm=True),
    "narrow": replace(LLAMA, hidden_size=96, intermediate_size=200),
}


def target_model(shape: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> TorchDraftModel:
    decoder = Decoder(TargetWeights(shape, seed), target_config(shape), dtype, CPU)
    return TorchDraftModel(decoder, shape.vocab_size, 2048)


def draft_model(shape: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> TorchDraftModel:
    decoder = Decoder(draft_weights(shape, seed), draft_config(shape), dtype, CPU)
    return TorchDraftModel(decoder, LIVE.stop, 2048)


def text(model: DraftModel, num_tokens: int, prompt_seed: int = 0) -> list[int]:
    """What it writes by itself, greedily, after a random prompt."""
    tokens = [int(token) for token in np.random.default_rng(prompt_seed).integers(0, 4500, 20)]
    model.open(prompt_seed, 20 + num_tokens)
    num_read = 0
    for _ in range(num_tokens):
        row = model.run([StreamInput(prompt_seed, num_read, tuple(tokens[num_read:]))])[0]
        num_read = len(tokens)
        tokens.append(int(row.argmax()))
    return tokens[20:]


@pytest.mark.parametrize("family", SHAPES)
def test_draft_computes_the_function_of_the_target(family: str) -> None:
    shape = SHAPES[family]
    tokens = tuple(int(token) for token in np.random.default_rng(1).integers(0, 4500, 60))
    target, draft = target_model(shape), draft_model(shape)
    for model in (target, draft):
        model.open(1, 60)
    for start, end in ((0, 30), (30, 31), (31, 60)):
        piece = [StreamInput(1, start, tokens[start:end])]
        np.testing.assert_allclose(draft.run(piece)[0], target.run(piece)[0][: LIVE.stop], atol=2e-4)


def test_answers_keep_to_live_tokens_and_do_not_loop() -> None:
    for prompt_seed in range(3):
        written = text(draft_model(LLAMA), 250, prompt_seed)
        assert set(written) <= set(LIVE)
        assert len(set(written)) > 150


def test_target_and_draft_write_the_same_text() -> None:
    assert text(target_model(LLAMA), 60) == text(draft_model(LLAMA), 60)


def test_other_seed_is_another_model() -> None:
    assert text(draft_model(LLAMA, seed=0), 20) != text(draft_model(LLAMA, seed=1), 20)


def test_every_weight_of_the_target_has_the_models_shape() -> None:
    weights = TargetWeights(LLAMA, 0)
    assert {name: tuple(weights[name].shape) for name in weights} == tensor_shapes(target_config(LLAMA))
    assert weights["model.layers.1.mlp.gate_proj.weight"].std() > 0.01
    assert not weights["model.layers.1.mlp.down_proj.weight"].any()


@pytest.fixture(scope="module")
def long_text() -> list[int]:
    return text(draft_model(LLAMA), 400)


@pytest.mark.parametrize("acceptance_rate", [0.5, 0.8, 1.0])
def test_shaped_acceptance_rate_is_the_configured_one(acceptance_rate: float, long_text: list[int]) -> None:
    """Over 1,000 or more verified draft tokens, within 4.5 standard errors."""
    engine = NeuralDraft(
        DraftModelRunner(DialledModel(draft_model(LLAMA), acceptance_rate, seed=7), 4500), Calibration()
    )
    prompt = [int(token) for token in np.random.default_rng(0).integers(0, 4500, 20)]
    num_verified = num_accepted = 0
    for stream, start in enumerate((1, 2, 3)):
        engine.open(stream, [*prompt, *long_text[:start]], Sampling())
        place = start
        while place + 5 < len(long_text):
            tokens = engine.draft([DraftRequest(stream, 4)])[0].tokens
            accepted = next((i for i, token in enumerate(tokens) if token != long_text[place + i]), 4)
            num_accepted += accepted
            num_verified += min(accepted + 1, 4)
            engine.commit(stream, long_text[place : place + accepted + 1])
            place += accepted + 1
    assert num_verified > 900
    spread = (acceptance_rate * (1 - acceptance_rate) / num_verified) ** 0.5
    assert abs(num_accepted / num_verified - acceptance_rate) <= 4.5 * spread


def test_wrong_places_are_the_same_when_drafted_again() -> None:
    model = DialledModel(draft_model(LLAMA), 0.5, seed=1)
    assert text(model, 50) == text(DialledModel(draft_model(LLAMA), 0.5, seed=1), 50)


def test_bfloat16_halves_agree_nearly_always() -> None:
    """The rounding of a wide and of a narrow sum differs; at 150 places it decides at most 6."""
    target, draft = (make(LLAMA, dtype=torch.bfloat16) for make in (target_model, draft_model))
    tokens = text(target, 150)
    prompt = [int(token) for token in np.random.default_rng(0).integers(0, 4500, 20)]
    draft.open(9, 200)
    num_same = sum(
        int(draft.run([StreamInput(9, 0, (*prompt, *tokens[:i]))])[0].argmax()) == tokens[i] for i in range(150)
    )
    assert num_same >= 144
