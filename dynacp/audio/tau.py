"""The clips of a data set in the layout of TAU Urban Acoustic Scenes 2022 Mobile, and a validation split without leaks.

    ROOT/meta.csv                  filename, scene_label, identifier, source_label (tab-separated)
    ROOT/split_setup/split25.csv   filename, scene_label: the clips to train on
    ROOT/split_setup/test.csv      filename, scene_label: the clips to evaluate on, once, at the end
    ROOT/audio/<scene>-<city>-<location>-<recording>-<segment>-<device>.wav

Classes and devices are those that meta.csv names, so any data set in this layout will do. Everything that these files
can get wrong is reported here, before anything is trained; what the audio itself can get wrong is reported by
`dynacp.audio.cache` when it is decoded.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from budget.errors import UserError

META_COLUMNS = ("filename", "scene_label", "identifier", "source_label")
"""The columns of meta.csv that are read."""

SPLIT_COLUMNS = ("filename", "scene_label")
"""The columns of split25.csv and test.csv that are read."""

NAME_PARTS = ("scene", "city", "location", "recording", "segment", "device")
"""The parts of a clip's file name, which hyphens separate."""

VALIDATION_FOLDS = 5
"""The number of parts, of which one is held out for validation."""

_META_REMEDY = "meta.csv comes with TAU Urban Acoustic Scenes 2022 Mobile, development (zenodo.org/records/6337421)"
_SPLIT_REMEDY = (
    "put the official split files split25.csv and test.csv into ROOT/split_setup/; they come with the baseline of "
    "DCASE 2025 Task 1 (github.com/CPJKU/dcase2025_task1_baseline)"
)

TAU_2020 = (
    "if these are the clips of 10 s of TAU Urban Acoustic Scenes 2020 Mobile, that is another data set: take 2022 "
    "Mobile, whose clips last a second (zenodo.org/records/6337421)"
)
"""The remedy for what looks like the older data set, whose file names have five parts."""


class DataError(UserError):
    """A data set that cannot be used as it is; the message names the file, the value and the remedy."""


@dataclass(frozen=True, eq=False)
class Clips:
    """The clips of one split, training or test.

    `files` are the paths of the wavs. `labels` and `devices` are int64 [clips], indices into `classes` and
    `device_names`, which are sorted and hold all that meta.csv names: a device that occurs in the test split alone has
    a number here, but no training clips. `groups` is str [clips]: the city-location of each clip, which must never be
    split over training and validation.
    """

    files: tuple[Path, ...]
    labels: np.ndarray
    devices: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...]
    device_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices: np.ndarray | Sequence[int]) -> "Clips":
        """The clips at `indices` (integers, or booleans [clips]), in that order, with the same classes and devices.

        Raises `IndexError` for an index that is out of range.
        """
        chosen = np.arange(len(self))[indices]
        return Clips(
            files=tuple(self.files[index] for index in chosen),
            labels=self.labels[chosen],
            devices=self.devices[chosen],
            groups=self.groups[chosen],
            classes=self.classes,
            device_names=self.device_names,
        )

    def recorded_by(self, device: str) -> np.ndarray:
        """The indices of a device's clips, int64 [clips]; none for a name that is not among `device_names`."""
        return np.flatnonzero(np.array(self.device_names)[self.devices] == device)


def training_clips(root: Path) -> Clips:
    """The clips of ROOT/split_setup/split25.csv, in its order. No audio is read.

    Raises `DataError` for whatever is wrong with the files of the layout, and for a class without a training clip.
    """
    clips = _clips(root, "split25.csv")
    absent = sorted(set(clips.classes) - {clips.classes[label] for label in clips.labels})
    if absent:
        raise DataError(
            f"{root / 'split_setup' / 'split25.csv'}: no training clip of the class {absent[0]!r}, which meta.csv "
            "names; add some, or drop the class from meta.csv and test.csv."
        )
    return clips


def test_clips(root: Path) -> Clips:
    """The clips of ROOT/split_setup/test.csv, in its order; for the one evaluation at the end, never for a search.

    Raises `DataError` for whatever is wrong with the files of the layout.
    """
    return _clips(root, "test.csv")


def parts_of_whole_groups(clips: Clips, number: int, *, seed: int) -> np.ndarray:
    """That many (two or more) ways to hold out a part of the clips: bool [number, clips].

    Each class is dealt into as many folds by scikit-learn's `StratifiedGroupKFold`, stratified by device, and `seed`
    picks the fold that the first way holds out; the next way takes the next fold. So every group is held out once,
    except that a class with fewer groups has as many folds as groups, and some of them are held out again. Each part
    thus holds at least one whole group of every class, and so does what remains. A device with fewer clips of a class
    than there are folds (on a small data set such cells hold two clips) cannot be in every fold and counts as the
    class's commonest device: such a cell may be missing from a part, or be wholly in it.

    Raises `DataError` for a class with a single group, and for a group with clips of two classes.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second, and all commands import this module

    rng = np.random.default_rng(seed)
    held_out = np.zeros((number, len(clips)), dtype=bool)
    owner: dict[str, str] = {}
    for label in np.unique(clips.labels):
        name, members = clips.classes[label], np.flatnonzero(clips.labels == label)
        groups = clips.groups[members]
        places = sorted(set(groups.tolist()))
        for group in places:
            if owner.setdefault(group, name) != name:
                raise DataError(
                    f"location {group!r} holds clips of {owner[group]!r} and of {name!r}; a validation split needs "
                    "locations of one class: give different places different location numbers in the file names."
                )
        folds = min(number, len(places))
        if folds < 2:
            raise DataError(
                f"class {name!r} has clips from the location {places[0]!r} alone and cannot be split into training and "
                "validation; add clips from another location, or drop the class."
            )
        shuffled = _shuffled(groups, int(rng.integers(2**31)))
        split = StratifiedGroupKFold(folds).split(members, _strata(clips.devices[members], folds), shuffled)
        dealt, first = [fold for _, fold in split], int(rng.integers(folds))
        for part, row in enumerate(held_out):
            row[members[dealt[(first + part) % folds]]] = True
    return held_out


def class_by_device(clips: Clips) -> pd.DataFrame:
    """How many clips each class has on each device: a table [classes, device_names] of integers.

    A last row and a last column, both named total, hold the sums.
    """
    counts = np.zeros((len(clips.classes), len(clips.device_names)), dtype=np.int64)
    np.add.at(counts, (clips.labels, clips.devices), 1)
    table = pd.DataFrame(counts, index=clips.classes, columns=clips.device_names)
    table["total"] = table.sum(axis="columns")
    table.loc["total"] = table.sum(axis="index")
    return table.rename_axis(index="class", columns="device")


def _shuffled(groups: np.ndarray, seed: int) -> np.ndarray:
    """A number for each group, in random order.

    scikit-learn 1.9 shuffles so itself. 1.7, which ExecuTorch asks for, exchanges what the groups hold and not their
    names, so that its folds are stratified no more.
    """
    names, group = np.unique(groups, return_inverse=True)
    order = np.arange(len(names))
    np.random.RandomState(seed).shuffle(order)
    return np.argsort(order)[group]


def _strata(devices: np.ndarray, folds: int) -> np.ndarray:
    """The devices of one class [clips], those with fewer clips than folds counted as the commonest one."""
    names, counts = np.unique(devices, return_counts=True)
    rare = names[counts < folds]
    return np.where(np.isin(devices, rare), names[counts.argmax()], devices)


def _clips(root: Path, split: str) -> Clips:
    meta_file, split_file = root / "meta.csv", root / "split_setup" / split
    meta = _table(meta_file, META_COLUMNS, _META_REMEDY)
    listed = _table(split_file, SPLIT_COLUMNS, _SPLIT_REMEDY)
    _refuse(
        listed["filename"][~listed["filename"].isin(meta["filename"])],
        f"{split_file}: clips that {meta_file} does not describe",
        "the two belong to different data sets, or a row of meta.csv is missing" + _or_2020(meta["filename"]),
    )
    rows = meta.set_index("filename").loc[listed["filename"]].reset_index()
    differs = rows["scene_label"] != listed["scene_label"]
    _refuse(
        _beside(listed, "scene_label")[differs],
        f"{split_file}: clips whose scene_label is not the one in {meta_file}",
        "correct the label in one of the two files",
    )
    parts = _name_parts(rows["filename"], split_file)
    for part, where, column in (("scene", "begins with", "scene_label"), ("device", "ends in", "source_label")):
        _refuse(
            _beside(rows, column)[parts[part] != rows[column]],
            f"{meta_file}: clips whose file name {where} another {part} than their {column}",
            f"correct the {column} or the file name",
        )
    groups = parts["city"] + "-" + parts["location"]
    _refuse(
        _beside(rows, "identifier")[groups.groupby(rows["identifier"]).transform("nunique") > 1],
        f"{meta_file}: clips that share an identifier but have different city-locations in their file names",
        "one recording would come to lie in training and in validation: correct the identifier or the file name",
    )
    files = _files(root, rows["filename"], split_file)
    classes, device_names = sorted(set(meta["scene_label"])), sorted(set(meta["source_label"]))
    if len(classes) < 2:
        raise DataError(f"{meta_file}: {classes[0]!r} is the only class; a network needs two or more to tell apart.")
    return Clips(
        files=files,
        labels=np.searchsorted(classes, rows["scene_label"].to_numpy(str)).astype(np.int64),
        devices=np.searchsorted(device_names, rows["source_label"].to_numpy(str)).astype(np.int64),
        groups=groups.to_numpy(str),
        classes=tuple(classes),
        device_names=tuple(device_names),
    )


def _files(root: Path, names: pd.Series, split_file: Path) -> tuple[Path, ...]:
    """The paths of the clips. Raises `DataError` for names that no file can have here, and for missing files."""
    _refuse(
        names[~names.map(_can_be_opened)],
        f"{split_file}: names that no file can have in this locale, whose encoding is {sys.getfilesystemencoding()}",
        "set one of UTF-8, such as LC_ALL=C.UTF-8",
    )
    files = tuple(root / name for name in names)
    _refuse(
        pd.Series([str(file) for file in files if not file.is_file()], dtype=str),
        f"{split_file}: audio files that do not exist",
        "fetch them again, or drop their rows from the split file",
    )
    return files


def _table(file: Path, columns: tuple[str, ...], remedy: str) -> pd.DataFrame:
    """The named columns of a tab-separated file, as text."""
    if not file.is_file():
        fault = "is a folder, but must be a table" if file.is_dir() else "does not exist"
        raise DataError(f"{file} {fault}; {remedy}.")
    try:
        table = pd.read_csv(file, sep="\t", dtype=str, na_filter=False, encoding="utf-8-sig")
    except ValueError as error:  # pandas' EmptyDataError and ParserError, and UnicodeDecodeError, are ValueErrors
        raise DataError(f"{file} is no tab-separated table ({error}); {remedy}.") from None
    for column in columns:
        if column not in table:
            raise DataError(f"{file}: no column {column!r} among {list(table)}, separated by tabs; {remedy}.")
    if table.empty:
        raise DataError(f"{file} lists no clips; {remedy}.")
    _refuse(
        table["filename"][table["filename"].duplicated()],
        f"{file}: clips listed twice",
        "delete the extra row",
    )
    for column in columns:
        _refuse(
            table["filename"][table[column].str.strip() == ""],
            f"{file}: clips whose {column} is blank",
            "fill it in" + (", such as with <city>-<location>-<recording>" if column == "identifier" else ""),
        )
    return table[list(columns)]


def _name_parts(names: pd.Series, file: Path) -> pd.DataFrame:
    """The parts of the file names, [clips, len(NAME_PARTS)]."""
    parts = _split(names)
    _refuse(
        names[parts.map(len) != len(NAME_PARTS)],
        f"{file}: clips whose names are not <{'>-<'.join(NAME_PARTS)}>.wav",
        "rename the files, as well as in meta.csv and in the split files" + _or_2020(names),
    )
    return pd.DataFrame(parts.tolist(), columns=NAME_PARTS)


def _split(names: pd.Series) -> pd.Series:
    return names.map(lambda name: PurePosixPath(name).stem.split("-"))


def _or_2020(names: pd.Series) -> str:
    """A further remedy where no name has more than the five parts of <scene>-<city>-<location>-<segment>-<device>."""
    return f"; or {TAU_2020}" if (_split(names).map(len) == len(NAME_PARTS) - 1).all() else ""


def _can_be_opened(name: str) -> bool:
    """Whether the encoding of file names has all characters of this one."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def _beside(rows: pd.DataFrame, column: str) -> pd.Series:
    return rows["filename"] + " (" + rows[column] + ")"


def _refuse(offenders: pd.Series, complaint: str, remedy: str) -> None:
    """Raise `DataError` with the count of the offenders and the first three of them, if there are any."""
    if len(offenders):
        some = ", ".join(offenders.iloc[:3]) + (", ..." if len(offenders) > 3 else "")
        raise DataError(f"{complaint}: {len(offenders):,}, namely {some}; {remedy}.")
