"""Losses equal those of plain torch, and have their minima where they should."""

import pytest
import torch

from goodspeed.tuning.train.losses import (
    LOSSES,
    forward_kl,
    likeliest,
    reverse_kl,
    top_logprobs,
    total_variation,
)
from goodspeed.tuning.tuning_config import LOSS_NAMES

VOCAB, HIDDEN, TOP = 40, 16, 8


def drawn(num: int = 300) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden, head = (torch.randn(size, HIDDEN, generator=generator) for size in (num, VOCAB))
    columns = torch.stack([torch.randperm(VOCAB, generator=generator)[:TOP] for _ in range(num)])
    return hidden.requires_grad_(), head.requires_grad_(), columns


def test_log_probabilities_and_their_gradients_are_those_of_softmax() -> None:
    hidden, head, columns = drawn()
    weights = torch.randn(columns.shape, generator=torch.Generator().manual_seed(1))
    expected = (hidden @ head.T).log_softmax(-1).gather(1, columns)
    grads = torch.autograd.grad((expected * weights).sum(), (hidden, head))
    found = top_logprobs(hidden, head, columns)
    torch.testing.assert_close(found, expected)
    for grad, wanted in zip(torch.autograd.grad((found * weights).sum(), (hidden, head)), grads, strict=True):
        torch.testing.assert_close(grad, wanted, atol=1e-4, rtol=1e-4)


def test_the_configuration_lists_every_loss() -> None:
    assert tuple(LOSSES) == LOSS_NAMES


def test_frozen_head_gets_no_gradient() -> None:
    hidden, head, columns = drawn(4)
    top_logprobs(hidden, head.detach(), columns).sum().backward()
    assert hidden.grad is not None
    assert head.grad is None


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_lower_near_the_target(name: str) -> None:
    """A distribution nearer to the target has a lower loss; a token without a row in the head changes nothing."""
    target = torch.tensor([[0.6, 0.3, 0.05, 0.0]])
    near, far = (torch.tensor([[a, 0.3, 0.05, 0.01]]).log() for a in (0.6, 0.1))
    assert LOSSES[name](near, target).item() < LOSSES[name](far, target).item()
    other = near.clone()
    other[0, 3] = -9.0
    assert LOSSES[name](near, target).item() == pytest.approx(LOSSES[name](other, target).item(), abs=1e-5)


def test_divergences_of_equal_distributions() -> None:
    target = torch.tensor([[0.5, 0.25, 0.25]])
    entropy = -(target * target.log()).sum().item()
    assert forward_kl(target.log(), target).item() == pytest.approx(entropy)
    assert reverse_kl(target.log(), target).item() == pytest.approx(0.0, abs=1e-6)
    assert total_variation(target.log(), target).item() == pytest.approx(0.0)
    assert likeliest(target.log(), target).item() == pytest.approx(-target[0, 0].log().item())


def test_reverse_kl_treats_the_tail_as_one_token() -> None:
    student, target = torch.tensor([[0.2, 0.3, 0.5]]), torch.tensor([[0.6, 0.3, 0.1]])
    whole = (student * (student / target).log()).sum().item()
    assert reverse_kl(student[:, :2].log(), target[:, :2]).item() == pytest.approx(whole, rel=1e-5)
