"""A validation split leaks nothing: whole groups, every class, about a fifth."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynacp.audio import tau
from dynacp.audio.tau import (
    VALIDATION_FOLDS,
    Clips,
    DataError,
    class_by_device,
    parts_of_whole_groups,
    training_clips,
)


def split_validation(clips: Clips, *, seed: int) -> tuple[Clips, Clips]:
    """Training and validation clips in the first way to divide them, which a search uses."""
    held_out = parts_of_whole_groups(clips, VALIDATION_FOLDS, seed=seed)[0]
    return clips.take(~held_out), clips.take(held_out)


def within(shares: pd.Series | pd.DataFrame, low: float, high: float) -> bool:
    return bool(((low < shares.to_numpy()) & (shares.to_numpy() < high)).all())


def made_up(cells: list[tuple[int, int, int]], groups_per_class: int, rng: np.random.Generator) -> Clips:
    """Clips from (class, device, count), dealt to their class's groups at random, each group at least once."""
    labels, devices = (np.array([cell[axis] for cell in cells for _ in range(cell[2])]) for axis in (0, 1))
    groups = np.array([f"c{label}-{rng.integers(groups_per_class)}" for label in labels])
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        for number, member in enumerate(members[:groups_per_class]):
            groups[member] = f"c{label}-{number}"
    files = tuple(Path(f"{number}.wav") for number in range(len(labels)))
    return Clips(files, labels, devices, groups, tuple("ABCD"[: labels.max() + 1]), ("a", "b", "s1"))


def test_a_validation_split_keeps_groups_whole_and_every_class_on_both_sides(original: Path) -> None:
    clips = training_clips(original)
    training, validation = split_validation(clips, seed=1)
    assert not set(training.groups) & set(validation.groups)
    assert sorted(training.files + validation.files) == sorted(clips.files)
    # Four locations of four clips each in a class: four folds, of which one is validation.
    assert np.bincount(training.labels).tolist() == [12, 12, 12]
    assert np.bincount(validation.labels).tolist() == [4, 4, 4]


def test_one_seed_gives_one_split_and_seeds_differ(original: Path) -> None:
    clips = training_clips(original)
    assert split_validation(clips, seed=3)[1].files == split_validation(clips, seed=3)[1].files
    assert len({split_validation(clips, seed=seed)[1].files for seed in range(6)}) > 1


@settings(max_examples=60)
@given(
    cells=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 12)), min_size=4, max_size=12),
    groups_per_class=st.integers(2, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_whatever_the_cells_no_group_is_split_and_no_class_is_lost(
    cells: list[tuple[int, int, int]], groups_per_class: int, seed: int
) -> None:
    cells = cells + [(label, 0, 2) for label in range(4)]  # at least two clips, hence two groups, of every class
    clips = made_up(cells, groups_per_class, np.random.default_rng(seed))
    training, validation = split_validation(clips, seed=seed)
    assert not set(training.groups) & set(validation.groups)
    assert len(training) + len(validation) == len(clips)
    assert set(training.labels) == set(validation.labels) == {0, 1, 2, 3}


def test_validation_holds_about_a_fifth_of_every_class_and_device_where_groups_are_many() -> None:
    cells = [(label, device, count) for label in range(4) for device, count in enumerate((140, 40, 20))]
    clips = made_up(cells, 40, np.random.default_rng(0))
    shares = class_by_device(split_validation(clips, seed=0)[1]) / class_by_device(clips)
    assert within(shares["total"], 0.17, 0.23)
    assert within(shares.loc["total", :], 0.15, 0.25)


def test_a_class_with_one_group_cannot_be_split() -> None:
    clips = made_up([(0, 0, 6), (1, 0, 6)], 1, np.random.default_rng(0))
    with pytest.raises(DataError, match=r"class 'A' has clips from the location 'c0-0' alone .* add clips"):
        split_validation(clips, seed=0)


def test_a_location_with_two_classes_cannot_be_split(original: Path) -> None:
    clips = training_clips(original)
    groups = np.where(np.arange(48) % 2, "x-1", "x-2")
    mixed = Clips(clips.files, clips.labels, clips.devices, groups, clips.classes, clips.device_names)
    with pytest.raises(DataError, match="location 'x-1' holds clips of 'crackle' and of 'hum'"):
        split_validation(mixed, seed=0)


def test_the_official_training_split_is_dealt_to_a_fifth_in_every_class_and_on_every_device(shared: Path) -> None:
    rows = list(
        csv.DictReader((shared / "data" / "tau_splits" / "split25.csv").read_text().splitlines(), delimiter="\t")
    )
    parts = tau._name_parts(pd.Series([row["filename"] for row in rows]), Path("split25.csv"))
    classes, labels = np.unique([row["scene_label"] for row in rows], return_inverse=True)
    names, devices = np.unique(parts["device"].to_numpy(str), return_inverse=True)
    groups = (parts["city"] + "-" + parts["location"]).to_numpy(str)
    files = tuple(Path(row["filename"]) for row in rows)
    clips = Clips(files, labels, devices, groups, tuple(classes), tuple(names))
    assert class_by_device(clips).loc["total"].to_dict() == {
        "a": 25_520, "b": 1_900, "c": 1_920, "s1": 1_840, "s2": 1_850, "s3": 1_870, "total": 34_900,
    }  # fmt: skip
    training, validation = split_validation(clips, seed=0)
    assert not set(training.groups) & set(validation.groups)
    shares = class_by_device(validation) / class_by_device(clips)
    assert within(shares["total"], 0.15, 0.25)
    assert within(shares.loc["total", :], 0.15, 0.25)


def test_each_way_to_hold_out_validation_takes_other_groups_and_all_take_each_once() -> None:
    cells = [(label, device, count) for label in range(4) for device, count in enumerate((140, 40, 20))]
    clips = made_up(cells, 40, np.random.default_rng(0))
    parts = parts_of_whole_groups(clips, VALIDATION_FOLDS, seed=0)
    assert parts.shape == (5, len(clips))
    assert (parts.sum(axis=0) == 1).all()
    for held_out in parts:
        assert not set(clips.groups[held_out]) & set(clips.groups[~held_out])
        assert within(class_by_device(clips.take(held_out))["total"] / class_by_device(clips)["total"], 0.15, 0.25)


def test_a_class_of_few_groups_is_held_out_in_every_way() -> None:
    clips = made_up([(0, 0, 30), (1, 0, 30), (1, 0, 30)], 3, np.random.default_rng(0))
    for held_out in parts_of_whole_groups(clips, VALIDATION_FOLDS, seed=2):
        assert set(clips.labels[held_out]) == set(clips.labels[~held_out]) == {0, 1}
