"""Accuracies and their intervals."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from torch.nn import functional

from dynacp.audio.recording_devices import RecordingDevices
from dynacp.audio.tau import Clips
from dynacp.pipeline import paper_figures
from dynacp.pipeline.intervals import Bootstrap, confusion, summary

DEVICES = ("a", "b", "s1", "s4")


def clips(*, places: int = 12, segments: int = 5, classes: int = 3) -> Clips:
    """Every segment of every place on every device; places deal out the classes in turn."""
    place = np.repeat(np.arange(places), segments * len(DEVICES))
    device = np.tile(np.arange(len(DEVICES)), places * segments)
    return Clips(
        files=tuple(Path(str(number)) for number in range(len(place))),
        labels=(place % classes).astype(np.int64),
        devices=device.astype(np.int64),
        groups=place.astype(str),
        classes=tuple("xyz"[:classes]),
        device_names=DEVICES,
    )


def guesses(test: Clips, *, right: float, seed: int) -> torch.Tensor:
    """Logits that name this share of the clips."""
    rng = np.random.default_rng(seed)
    wrong = (test.labels + 1) % len(test.classes)
    named = np.where(rng.random(len(test)) < right, test.labels, wrong)
    return functional.one_hot(torch.from_numpy(named), len(test.classes)).float()


def test_accuracies_are_those_of_scikit_learn_and_means_over_devices() -> None:
    test = clips()
    logits = guesses(test, right=0.6, seed=0)
    values = summary(Bootstrap(test, ("a", "b", "s1")).accuracies(logits))["value"]
    named = logits.argmax(dim=1).numpy()
    assert values["accuracy"] == pytest.approx(balanced_accuracy_score(test.labels, named))
    for number, device in enumerate(DEVICES):
        mine = test.devices == number
        assert values[device] == pytest.approx((named == test.labels)[mine].mean())
    assert values["real"] == pytest.approx((values["a"] + values["b"]) / 2)
    assert values["seen"] == values["s1"]
    assert values["unseen"] == values["s4"]
    assert values["y"] == pytest.approx((named == test.labels)[test.labels == 1].mean())


def test_the_interval_is_that_of_places_not_of_clips() -> None:
    """Where a place is right or wrong as a whole, 60 places are 60 observations, whatever the number of clips."""
    test = clips(places=60, segments=20)
    place = test.groups.astype(int)
    rng = np.random.default_rng(1)
    right = rng.random(60) < 0.5
    named = np.where(right[place], test.labels, (test.labels + 1) % 3)
    logits = functional.one_hot(torch.from_numpy(named), 3).float()
    row = summary(Bootstrap(test, ("a",)).accuracies(logits)).T["accuracy"]
    by_places = 2 * 1.96 * np.sqrt(0.25 / 60)
    by_clips = 2 * 1.96 * np.sqrt(0.25 / len(test))
    assert row["high"] - row["low"] == pytest.approx(by_places, rel=0.25)
    assert row["high"] - row["low"] > 10 * by_clips / 2


def test_two_systems_are_compared_on_the_same_draws() -> None:
    test = clips(places=30)
    bootstrap = Bootstrap(test, ("a",))
    worse, better = guesses(test, right=0.5, seed=2), guesses(test, right=0.9, seed=3)
    same = summary(bootstrap.accuracies(worse) - bootstrap.accuracies(worse))
    assert (same == 0).all(axis=None)
    gain = summary(bootstrap.accuracies(better) - bootstrap.accuracies(worse)).T["accuracy"]
    assert 0 < gain["low"] < gain["value"] < gain["high"]


def test_the_same_seed_gives_the_same_interval() -> None:
    test = clips()
    logits = guesses(test, right=0.5, seed=4)
    first, again = (summary(Bootstrap(test, ("a",)).accuracies(logits)) for _ in range(2))
    assert first.equals(again)


def test_a_group_without_devices_is_left_out() -> None:
    assert set(Bootstrap(clips(), DEVICES).groups) == {"real", "seen"}


def test_which_devices_are_real_follows_the_data() -> None:
    bootstrap = Bootstrap(clips(), ("a", "s1"), recording=RecordingDevices(real="s1, b"))
    assert bootstrap.groups == {"real": ("s1",), "seen": ("a",), "unseen": ("b", "s4")}
    assert set(Bootstrap(clips(), ("a", "s1"), recording=RecordingDevices(real="A")).groups) == {"seen", "unseen"}


def test_the_confusion_is_scikit_learn_s() -> None:
    test = clips()
    logits = guesses(test, right=0.6, seed=5)
    expected = confusion_matrix(test.labels, logits.argmax(dim=1).numpy(), normalize="true")
    assert confusion(logits, test.labels) == pytest.approx(expected)


def test_the_report_s_tables_agree_with_each_other() -> None:
    """Groups are means over their devices, accuracy the mean over classes: the convention is the report's."""
    for system, table in paper_figures.TABLE3.items():
        real, seen, unseen, accuracy = paper_figures.TABLE2[(system, "student")]
        assert sum(table[name] for name in "abc") / 3 == pytest.approx(real, abs=0.006)
        assert sum(table[name] for name in ("s1", "s2", "s3")) / 3 == pytest.approx(seen, abs=0.006)
        assert sum(table[name] for name in ("s4", "s5", "s6")) / 3 == pytest.approx(unseen, abs=0.006)
        assert sum(table[name] for name in paper_figures.TAU_CLASSES) / 10 == pytest.approx(accuracy, abs=0.006)
    assert paper_figures.figure("general", "student", "accuracy") == 0.59
    assert paper_figures.figure("general", "MN", "bus") is None
