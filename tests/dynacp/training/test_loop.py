"""The training loop and the metric."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.batches import Features
from dynacp.audio.views import Views
from dynacp.training.examples import Augmented, Viewed
from dynacp.training.loop import macro_accuracy, one_hot, predict, train
from dynacp.training.schedule import Recipe

OFF = Augmentation(0, 0, 0, 0.0, 0.4, 0.0)
CPU = torch.device("cpu")
RECIPE = Recipe(samples=320, batch=32, peak_rate=5e-3, weight_decay=1e-4, warm_up=0.25, augmentation=OFF)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


def easy(clips: int = 96) -> tuple[Features, np.ndarray]:
    """Three classes, each with its own quarter of an 8 x 4 picture lit."""
    labels = np.arange(clips) % 3
    pictures = np.random.default_rng(0).normal(0, 0.3, (clips, 8, 4)).astype(np.float16)
    for label in range(3):
        pictures[labels == label, 2 * label : 2 * label + 2] += 1
    return Features(pictures, np.arange(clips), CPU), labels


def fit(seed: int, recipe: Recipe, **hooks: object) -> tuple[Linear, float]:
    features, labels = easy()
    torch.manual_seed(seed)
    model = Linear()
    examples = Augmented(features, (one_hot(labels, 3),), recipe.augmentation)
    losses = train(model, examples, functional.cross_entropy, recipe, seed=seed, **hooks)  # type: ignore[arg-type]
    return model, losses[-1]


def test_training_learns_what_can_be_learned() -> None:
    features, labels = easy()
    model, loss = fit(0, replace(RECIPE, samples=3_000, peak_rate=0.05))
    assert macro_accuracy(predict(model, features), labels) > 0.98
    assert loss < 0.2


@pytest.mark.parametrize("augmentation", [OFF, Augmentation(2, 3, 2, 0.8, 0.4, 0.3)], ids=["plain", "augmented"])
def test_the_same_seed_gives_the_same_weights_and_another_does_not(augmentation: Augmentation) -> None:
    recipe = replace(RECIPE, augmentation=augmentation)

    def weights(seed: int) -> torch.Tensor:
        return nn.utils.parameters_to_vector(fit(seed, recipe)[0].parameters())

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_the_budget_of_samples_is_kept_and_every_clip_is_seen_once_an_epoch() -> None:
    seen: list[int] = []
    epochs: list[int] = []

    class Watching(Features):
        def __getitem__(self, clips: torch.Tensor) -> torch.Tensor:
            seen.extend(clips.tolist())
            return super().__getitem__(clips)

    features = Watching(np.zeros((50, 8, 4), np.float16), np.arange(50), CPU)
    train(
        Linear(),
        Augmented(features, (one_hot(np.zeros(50, np.int64), 3),), OFF),
        functional.cross_entropy,
        replace(RECIPE, samples=200, batch=10),
        seed=0,
        after_epoch=lambda: epochs.append(len(seen)),
    )
    assert len(seen) == 200
    for start in range(0, 200, 50):
        assert sorted(seen[start : start + 50]) == list(range(50))
    assert epochs == [50, 100, 150]  # between four epochs


def test_views_come_in_turn_an_epoch_each_with_what_teachers_say_of_them() -> None:
    """Seven clips in batches of four: the second holds the end of the first view and the beginning of the next."""
    heard: list[tuple[list[float], list[float]]] = []

    class Told(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            heard.append((x[:, 0, 0, 0].tolist(), []))
            return super().forward(x)

    def loss(logits: torch.Tensor, soft: torch.Tensor, _hard: torch.Tensor) -> torch.Tensor:
        heard[-1][1].extend(soft[:, 0].tolist())
        return logits.sum()

    clips = np.arange(9, dtype=np.float16)[:, None, None] * np.ones((1, 8, 4), np.float16)
    views = Views(Features(clips, np.arange(9), CPU), OFF, cells=np.zeros(9, dtype=np.int64), seed=0)
    soft = torch.arange(2).view(2, 1, 1) * 100 + torch.arange(9).view(1, 9, 1).expand(2, 9, 3).float()
    rows = torch.tensor([0, 1, 2, 4, 5, 7, 8])
    train(Told(), Viewed(views, rows, soft, torch.eye(9)), loss, replace(RECIPE, samples=28, batch=4), seed=0)
    assert [len(clips) for clips, _ in heard] == [4] * 7
    order = [clip for clips, _ in heard for clip in clips]
    said = [value for _, values in heard for value in values]
    for epoch in range(4):
        of_epoch = slice(7 * epoch, 7 * epoch + 7)
        assert sorted(order[of_epoch]) == rows.tolist()
        assert said[of_epoch] == [clip + 100 * (epoch % 2) for clip in order[of_epoch]]


def test_a_diverging_training_stops_and_says_so() -> None:
    _, loss = fit(0, replace(RECIPE, peak_rate=1e30))
    assert not np.isfinite(loss)


def test_features_read_the_rows_they_are_given() -> None:
    pictures = np.arange(5 * 8 * 4, dtype=np.float16).reshape(5, 8, 4)
    features = Features(pictures, np.array([4, 1]), CPU)
    assert len(features) == 2
    batch = features[torch.tensor([1, 0])]
    assert batch.dtype == torch.float32
    assert batch.shape == (2, 1, 8, 4)
    np.testing.assert_array_equal(batch[:, 0].numpy(), pictures[[1, 4]])


def test_macro_accuracy_weighs_classes_alike() -> None:
    """Three of four clips of class 0 and none of the one of class 1: (3/4 + 0) / 2."""
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert macro_accuracy(logits, np.array([0, 0, 0, 0, 1])) == pytest.approx(0.375)


def test_an_augmentation_with_everything_off_changes_nothing() -> None:
    x, target = torch.randn(4, 1, 8, 4), torch.eye(4)
    same, (targets,) = OFF(x, (target,), torch.Generator())
    assert torch.equal(same, x)
    assert torch.equal(targets, target)
    moved, _ = replace(OFF, roll_frames=2)(x, (target,), torch.Generator().manual_seed(1))
    assert not torch.equal(moved, x)


@pytest.mark.parametrize(("steps", "warm_up"), [(10, 0.1), (4, 0.25), (1, 0.5), (2, 0.5)])
def test_a_warm_up_of_a_single_step_is_one(steps: int, warm_up: float) -> None:
    network = nn.Linear(4, 2)
    rates: list[float] = []
    features = Features(np.zeros((8, 2, 2), dtype=np.float16), np.arange(8), torch.device("cpu"))
    recipe = replace(RECIPE, samples=steps * 4, batch=4, warm_up=warm_up)
    model = nn.Sequential(nn.Flatten(), network)
    losses = train(
        model, Augmented(features, (one_hot(np.arange(8) % 2, 2),), OFF), functional.cross_entropy, recipe, seed=0,
        after_step=lambda: rates.append(0.0),
    )  # fmt: skip
    assert len(rates) == len(losses) == steps
    assert np.isfinite(losses).all()


def test_a_training_that_diverges_ends_there_with_the_loss_that_is_not_finite() -> None:
    features, labels = easy()
    examples = Augmented(features, (one_hot(labels, 3),), OFF)
    losses = train(Linear(), examples, functional.cross_entropy, replace(RECIPE, peak_rate=1e30), seed=0)
    assert len(losses) < RECIPE.steps
    assert np.isfinite(losses[:-1]).all()
    assert not np.isfinite(losses[-1])
