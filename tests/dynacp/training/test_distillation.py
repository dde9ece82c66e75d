"""The soft labels and the loss."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from dynacp.training.distillation import Distillation

TWO = Distillation(label_weight=0.25, temperature=2.0)


def test_a_mean_of_n_logits_at_t_is_the_paper_s_sum_at_n_t() -> None:
    logits = torch.randn(8, 5, 10, generator=torch.Generator().manual_seed(0))
    soft = TWO.soft_labels(logits.mean(dim=0))
    torch.testing.assert_close(soft, torch.softmax(logits.sum(dim=0) / (8 * 2.0), dim=1))


def test_the_loss_by_hand() -> None:
    """Two classes, T = 2, logits (2, 0): p = sigmoid(1); teachers (3/4, 1/4); the label is class 0."""
    p = 1 / (1 + math.exp(-1))
    divergence = 0.75 * math.log(0.75 / p) + 0.25 * math.log(0.25 / (1 - p))
    hard = -math.log(1 / (1 + math.exp(-2)))
    loss = TWO.loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.75, 0.25]]), torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(0.25 * hard + 0.75 * 4 * divergence, rel=1e-5)  # float32


@given(st.integers(0, 1_000), st.integers(1, 6))
def test_the_batch_is_averaged_so_that_its_size_does_not_weigh(seed: int, copies: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 10, generator=generator)
    soft = torch.softmax(torch.randn(3, 10, generator=generator), dim=1)
    labels = functional.one_hot(torch.tensor([0, 4, 9]), 10).float()
    once = TWO.loss(logits, soft, labels)
    torch.testing.assert_close(
        TWO.loss(logits.repeat(copies, 1), soft.repeat(copies, 1), labels.repeat(copies, 1)), once
    )


def test_a_student_that_agrees_with_its_teachers_is_left_with_the_labels_loss() -> None:
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
    labels = functional.one_hot(torch.arange(4), 10).float()
    loss = TWO.loss(logits, torch.softmax(logits / 2.0, dim=1), labels)
    torch.testing.assert_close(loss, 0.25 * functional.cross_entropy(logits, labels))
