"""Config and weights of every supported family, as transformers saves them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from goodspeed.models.checkpoint import read_weights

FAMILIES = ["llama", "mistral", "qwen2", "qwen3"]


@pytest.mark.parametrize("model_type", FAMILIES)
def test_weights_are_those_that_transformers_saved(random_checkpoint: Callable[..., Path], model_type: str) -> None:
    folder = random_checkpoint(model_type)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    expected = model.state_dict()
    weights = read_weights(folder)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
