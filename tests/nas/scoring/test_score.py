"""What one short training tells of an architecture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.features import FrontEnd
from dynacp.student.architecture import Architecture, Block
from dynacp.training.loop import macro_accuracy, one_hot, predict
from dynacp.training.schedule import Recipe
from nas.scoring.clips import SearchData
from nas.scoring.score import DIVERGED, Scorer, ScoreSettings, finite_losses

OFF = Augmentation(0, 0, 0, 0.0, 0.4, 0.0)
RECIPE = Recipe(samples=256, batch=16, peak_rate=1e-2, weight_decay=1e-4, warm_up=0.25, augmentation=OFF)
SMALL = Architecture(blocks=(Block(16, 16),), input=(16, 16), classes=2, stem=(8, 8))


def scorer(recipe: Recipe = RECIPE) -> Scorer:
    """Two classes, each with its own half of a 16 x 16 picture lit; teachers that know no more than the labels."""
    labels = np.arange(96) % 2
    pictures = np.random.default_rng(0).normal(0, 0.3, (96, 16, 16)).astype(np.float16)
    for label in range(2):
        pictures[labels == label, 8 * label : 8 * label + 8] += 1
    thirds, places = np.arange(96) // 32, np.arange(96) // 10
    data = SearchData(
        log_mels=pictures,
        labels=labels,
        groups=np.array([f"{label} in {place}" for label, place in zip(labels, places, strict=True)]),
        held_out=thirds == np.arange(3)[::-1, None],
        left_out=lambda teachers: np.zeros((teachers, 96), dtype=bool),
        classes=("low", "high"),
        front_end=FrontEnd(),
        device=torch.device("cpu"),
        key="made up",
        tables={},
    )
    return Scorer(data, one_hot(labels, 2), ScoreSettings(recipe=recipe))


def noted(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The losses of every training from now on, step by step."""
    kept, distil = list[list[float]](), Scorer.distil

    def watched(self: Scorer, *arguments: object, **more: object) -> object:
        network, losses = distil(self, *arguments, **more)  # type: ignore[arg-type]
        kept.append(losses)
        return network, losses

    monkeypatch.setattr(Scorer, "distil", watched)
    return kept


def test_a_score_holds_the_means_of_the_losses_of_all_steps_and_of_their_halves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scoring = scorer()
    losses = noted(monkeypatch)
    score = scoring(SMALL, seed=0, samples=256)
    (steps,) = losses
    assert len(steps) == 256 // 16
    assert score.training_loss == pytest.approx(sum(steps) / 16)
    assert score.early_loss == pytest.approx(sum(steps[:8]) / 8)
    assert score.late_loss == pytest.approx(sum(steps[8:]) / 8)
    assert score.loss == steps[-1]
    assert score.late_loss < score.training_loss


def test_a_score_holds_what_the_trained_network_says_of_the_validation_clips() -> None:
    scoring = scorer()
    score = scoring(SMALL, seed=0, samples=256)
    network, _ = scoring.distil(SMALL, RECIPE, seed=0)
    labels, logits = scoring.data.validation_labels, predict(network, scoring.data.validation)
    right = torch.softmax(logits, dim=1).numpy()[np.arange(len(labels)), labels]
    of_class = [-np.log(right[labels == label]).mean() for label in (0, 1)]
    assert score.cross_entropy == pytest.approx(np.mean(of_class), rel=1e-5)
    assert score.accuracy == macro_accuracy(logits, labels)
    places = scoring.data.groups[scoring.data.validation_rows]
    of_place = {place: (labels[places == place][0], -np.log(right[places == place]).mean()) for place in set(places)}
    by_class = [np.mean([loss for label, loss in of_place.values() if label == each]) for each in (0, 1)]
    assert score.recording_cross_entropy == pytest.approx(np.mean(by_class), rel=1e-5)


def test_the_same_seed_gives_the_same_statistics_and_another_does_not() -> None:
    scoring = scorer()
    one, again, other = (scoring(SMALL, seed=seed, samples=256) for seed in (0, 0, 1))
    assert replace(one, seconds=0.0) == replace(again, seconds=0.0)
    assert one.training_loss != other.training_loss


def test_a_training_that_diverges_has_a_high_finite_training_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    scoring = scorer(replace(RECIPE, peak_rate=1e30))
    losses = noted(monkeypatch)
    score = scoring(SMALL, seed=0, samples=256)
    finite = [loss for loss in losses[0] if np.isfinite(loss)]
    assert len(finite) < 16
    missing = 16 - len(finite)
    assert score.training_loss == pytest.approx((sum(finite) + missing * max(finite)) / 16)
    assert score.training_loss > scorer()(SMALL, seed=0, samples=256).training_loss


def test_a_training_whose_first_loss_is_no_number_ranks_last() -> None:
    assert finite_losses([float("nan")], 16).tolist() == [DIVERGED] * 16
    assert finite_losses([2.0, 3.0, float("inf")], 4).tolist() == [2.0, 3.0, 3.0, 3.0]


@pytest.mark.parametrize("samples", [64, 128])
def test_a_score_with_fewer_samples_takes_fewer_steps(monkeypatch: pytest.MonkeyPatch, samples: int) -> None:
    scoring = scorer()
    losses = noted(monkeypatch)
    scoring(SMALL, seed=0, samples=samples)
    assert len(losses[0]) == samples // 16


def test_another_way_to_divide_the_clips_trains_and_validates_on_others() -> None:
    scoring = scorer()
    other = replace(scoring.data, way=1)
    assert other.validation_rows.tolist() == list(range(32, 64))
    assert other.training_rows.tolist() == [*range(32), *range(64, 96)]
    one, another = (scoring(SMALL, seed=0, samples=256, way=way) for way in (0, 1))
    assert one.training_loss != another.training_loss
