"""Rotary position embedding (Su et al. 2021) in the Hugging Face layout: dimension i is paired with i + half."""

import math

import torch

from goodspeed.models.model_config import LinearScaling, Llama3Scaling, ModelConfig


class Rope:
    """Cosines and sines for every position up to max_context."""

    def __init__(self, config: ModelConfig, max_context: int, dtype: torch.dtype, device: torch.device) -> None:
        angles = torch.outer(torch.arange(max_context, dtype=torch.float32), _frequencies(config))
        cos, sin = angles.cos(), angles.sin()
        # A rotation is x * cos + roll(x, half) * sin, with the first half of sin negated.
        self._cos = torch.cat((cos, cos), -1).to(device, dtype).unsqueeze(1)  # [max_context, 1, head_dim]
        self._sin = torch.cat((-sin, sin), -1).to(device, dtype).unsqueeze(1)

    def at(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and signed sines, each [tokens, 1, head_dim], for rotate(); `positions` is [tokens] int64."""
        return self._cos[positions], self._sin[positions]


def rotate(
    heads: torch.Tensor,  # [tokens, heads, head_dim]
    cos: torch.Tensor,  # [tokens, 1, head_dim]
    sin: torch.Tensor,  # [tokens, 1, head_dim], signed
) -> None:
    """Rotate every head by the position of its token, in place."""
    rolled = heads.roll(heads.shape[-1] // 2, -1)
    heads.mul_(cos).addcmul_(rolled, sin)


def _frequencies(config: ModelConfig) -> torch.Tensor:
    """[head_dim / 2] float32, radians per position."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents
    match config.rope_scaling:
        case None:
            return frequencies
        case LinearScaling(factor):
            return frequencies / factor
        case Llama3Scaling() as scaling:
            return _llama3(frequencies, scaling)


def _llama3(frequencies: torch.Tensor, scaling: Llama3Scaling) -> torch.Tensor:
    """Llama 3.1: long wavelengths are scaled, short ones are unchanged, those in between are interpolated."""
    wavelengths = 2 * math.pi / frequencies
    rotations = scaling.original_max_context / wavelengths
    unscaled = (rotations - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    unscaled = unscaled.clamp(0.0, 1.0)
    return unscaled * frequencies + (1 - unscaled) * frequencies / scaling.factor
