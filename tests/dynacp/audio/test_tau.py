"""What the data layout must hold, and that a validation split leaks nothing."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny

from dynacp.audio import tau
from dynacp.audio.tau import DataError, class_by_device, training_clips

Rows = list[list[str]]


def edit(file: Path, change: Callable[[Rows], Rows]) -> None:
    """Rewrite a table; the header is row 0."""
    rows = change([line.split("\t") for line in file.read_text().splitlines()])
    file.write_text("".join("\t".join(row) + "\n" for row in rows))


def test_the_training_clips_are_those_of_the_split_file_in_its_order(original: Path) -> None:
    clips = training_clips(original)
    rows = list(csv.DictReader((original / "split_setup" / "split25.csv").read_text().splitlines(), delimiter="\t"))
    assert [file.relative_to(original).as_posix() for file in clips.files] == [row["filename"] for row in rows]
    assert [clips.classes[label] for label in clips.labels] == [row["scene_label"] for row in rows]
    assert [file.stem.split("-")[-1] for file in clips.files] == [
        clips.device_names[device] for device in clips.devices
    ]
    assert len(clips) == tiny.TRAINING_CLIPS
    assert clips.labels.dtype == clips.devices.dtype == np.int64


def test_classes_and_devices_are_those_of_meta_csv_sorted(original: Path) -> None:
    for clips in (training_clips(original), tau.test_clips(original)):
        assert clips.classes == tiny.CLASSES
        assert clips.device_names == ("a", "b", "s1", "s4")


def test_only_the_test_split_holds_the_unseen_device_and_it_shares_no_location_with_training(original: Path) -> None:
    training, test = training_clips(original), tau.test_clips(original)
    assert {training.device_names[device] for device in training.devices} == set(tiny.TRAINING_DEVICES)
    assert {test.device_names[device] for device in test.devices} == set(tiny.TEST_DEVICES)
    assert not set(training.groups) & set(test.groups)
    assert len(test) == tiny.TEST_CLIPS


def test_names_that_the_locale_cannot_write_are_refused_with_the_remedy(root: Path) -> None:
    for table in (root / "meta.csv", *(root / "split_setup").iterdir()):
        table.write_text(table.read_text().replace("-lima-", "-límá-"), encoding="utf-8")
    code = "import sys, pathlib; from dynacp.audio.tau import training_clips; training_clips(pathlib.Path(sys.argv[1]))"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", code, root], env=os.environ | locale, capture_output=True, check=False
    )
    message = ended.stderr.decode().splitlines()[-1]
    assert re.search(
        r"DataError: .*/split25\.csv: names that no file can have in this locale, whose encoding is ascii: 24, namely "
        r"audio/crackle-l\\xedm\\xe1-.*; set one of UTF-8, such as LC_ALL=C\.UTF-8\.$",
        message,
    )


def test_a_group_is_the_city_and_the_location_of_the_file_name(original: Path) -> None:
    clips = training_clips(original)
    assert clips.files[0].name == "crackle-lima-0-7000-0-b.wav"
    assert clips.groups[0] == "lima-0"


def test_take_keeps_the_order_asked_for_and_understands_a_mask(original: Path) -> None:
    clips = training_clips(original)
    taken = clips.take([5, 2])
    assert taken.files == (clips.files[5], clips.files[2])
    assert taken.labels.tolist() == clips.labels[[5, 2]].tolist()
    on_b = clips.take(clips.devices == clips.device_names.index("b"))
    assert len(on_b) == 6  # of 3 classes x 4 locations, the even locations hold one clip on b each
    assert {file.stem[-1] for file in on_b.files} == {"b"}


def test_the_table_counts_clips_of_each_class_on_each_device_with_totals(original: Path) -> None:
    table = class_by_device(training_clips(original))
    # Each class: 4 locations x 3 clips on a, one more on b at locations 0 and 2, on s1 at 1 and 3; none on s4.
    assert table.loc["hum"].to_dict() == {"a": 12, "b": 2, "s1": 2, "s4": 0, "total": 16}
    assert table.loc["total", "total"] == 48


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("meta.csv", "TAU Urban Acoustic Scenes 2022 Mobile"),
        (
            "split_setup/split25.csv",
            r"put the official split files .* into ROOT/split_setup/.*dcase2025_task1_baseline",
        ),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "no column", "comma-separated", "no rows", "nothing", "not text"])
def test_a_table_that_cannot_be_read_is_named_with_the_remedy(root: Path, file: str, remedy: str, damage: str) -> None:
    table = root / file
    complaint = {
        "missing": "does not exist",
        "no column": "no column 'scene_label' among",
        "comma-separated": "no column 'filename' among",
        "no rows": "lists no clips",
        "nothing": "is no tab-separated table",
        "not text": "is no tab-separated table",
    }[damage]
    if damage == "missing":
        table.unlink()
    elif damage == "no column":
        edit(table, lambda rows: [[row[0], *row[2:]] for row in rows])
    elif damage == "comma-separated":
        table.write_text(table.read_text().replace("\t", ","))
    elif damage == "no rows":
        edit(table, lambda rows: rows[:1])
    else:
        table.write_bytes(b"" if damage == "nothing" else b"\xff\xfe\xff\t\x00\n\x80")
    with pytest.raises(DataError, match=rf"{table.name}.*{complaint}.*{remedy}"):
        training_clips(root)


@pytest.mark.parametrize("file", ["meta.csv", "split_setup/split25.csv"])
def test_a_clip_listed_twice_is_refused(root: Path, file: str) -> None:
    edit(root / file, lambda rows: [*rows, rows[3]])
    with pytest.raises(DataError, match=r"clips listed twice: 1, namely audio/crackle-lima-0-7000-2-a.wav; delete"):
        training_clips(root)


def test_a_clip_without_a_row_in_meta_is_refused(root: Path) -> None:
    edit(root / "meta.csv", lambda rows: [row for row in rows if "hum-oslo-11" not in row[0]])
    with pytest.raises(
        DataError, match=r"split25.csv: clips that .*meta.csv does not describe: 4, namely .*, \.\.\.; "
    ):
        training_clips(root)


def test_a_label_that_meta_does_not_know_is_refused(root: Path) -> None:
    edit(root / "split_setup/test.csv", lambda rows: [*rows[:-1], [rows[-1][0], "whistel"]])
    with pytest.raises(DataError, match=r"test.csv: clips whose scene_label is not.*s4.wav \(whistel\); correct"):
        tau.test_clips(root)
    assert len(training_clips(root)) == 48  # the fault of one split is no concern of the other


def test_a_source_label_that_the_file_name_contradicts_is_refused(root: Path) -> None:
    edit(root / "meta.csv", lambda rows: [rows[0], [*rows[1][:3], "s9"], *rows[2:]])
    with pytest.raises(DataError, match=r"another device than their source_label: 1, namely .*0-b.wav \(s9\); correct"):
        training_clips(root)


def test_a_scene_label_that_the_file_name_contradicts_is_refused(root: Path) -> None:
    def mislabel(rows: Rows) -> Rows:
        return [rows[0], [rows[1][0], "hum", *rows[1][2:]], *rows[2:]]

    for file in ("meta.csv", "split_setup/split25.csv"):
        edit(root / file, mislabel)
    with pytest.raises(
        DataError, match=r"begins with another scene than their scene_label: 1, namely .*crackle-.* \(hum\); correct"
    ):
        training_clips(root)


def test_a_data_set_of_one_class_is_refused(root: Path) -> None:
    for file in ("meta.csv", "split_setup/split25.csv"):
        edit(root / file, lambda rows: [rows[0], *(row for row in rows[1:] if row[1] == "hum")])
    with pytest.raises(DataError, match=r"meta\.csv: 'hum' is the only class; a network needs two or more"):
        training_clips(root)


@pytest.mark.parametrize("column", tau.META_COLUMNS)
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_cell_is_called_blank(root: Path, column: str, blank: str) -> None:
    place = tau.META_COLUMNS.index(column)
    edit(
        root / "meta.csv",
        lambda rows: [*rows[:2], *([*row[:place], blank, *row[place + 1 :]] for row in rows[2:4])][:3],
    )
    with pytest.raises(DataError, match=rf"meta\.csv: clips whose {column} is blank: 1, namely .*; fill it in"):
        training_clips(root)


def test_a_table_that_is_a_folder_is_called_one(root: Path) -> None:
    (root / "meta.csv").unlink()
    (root / "meta.csv").mkdir()
    with pytest.raises(DataError, match=r"meta\.csv is a folder, but must be a table; meta\.csv comes with TAU"):
        training_clips(root)


def test_an_identifier_in_two_locations_is_refused(root: Path) -> None:
    edit(
        root / "meta.csv",
        lambda rows: [rows[0]] + [[*row[:2], row[2].replace("lima-2-7002", "lima-0-7000"), row[3]] for row in rows[1:]],
    )
    with pytest.raises(DataError, match=r"share an identifier .*: 8, namely .*\(lima-0-7000\).*training and in valid"):
        training_clips(root)


def test_an_identifier_within_one_location_may_be_finer_than_it(root: Path) -> None:
    """TAU has several recordings in one location."""
    edit(root / "meta.csv", lambda rows: [rows[0]] + [[*row[:2], row[0].split("-", 1)[1], row[3]] for row in rows[1:]])
    assert len(set(training_clips(root).groups)) == 12


def test_a_file_name_with_other_parts_is_refused(root: Path) -> None:
    for file in ("meta.csv", "split_setup/split25.csv"):
        edit(
            root / file,
            lambda rows: [[cell.replace("audio/hum-lima-10", "audio/hum-lima") for cell in r] for r in rows],
        )
    with pytest.raises(DataError, match=r"names are not <scene>-<city>-.*-<device>.wav: 4, namely audio/hum-lima-7010"):
        training_clips(root)


@pytest.mark.parametrize("files", [("meta.csv",), ("meta.csv", "split_setup/split25.csv")])
def test_the_names_of_tau_2020_are_recognised(root: Path, files: tuple[str, ...]) -> None:
    """There a name has five parts, and a clip lasts ten seconds."""
    for file in files:
        edit(root / file, lambda rows: [[re.sub(r"-(\d+)-(\d)-", r"-\1\2-", row[0]), *row[1:]] for row in rows])
    with pytest.raises(DataError, match=r"TAU Urban Acoustic Scenes 2020 Mobile, that is another data set: take 2022"):
        training_clips(root)


def test_a_class_without_training_clips_is_refused(root: Path) -> None:
    edit(root / "split_setup/split25.csv", lambda rows: [row for row in rows if row[1] != "hum"])
    with pytest.raises(DataError, match=r"split25.csv: no training clip of the class 'hum'.*; add some"):
        training_clips(root)


@pytest.mark.parametrize("file", ["meta.csv", "split_setup/split25.csv"])
def test_damaged_tables_give_clips_or_an_error_that_names_a_table(root: Path, file: str) -> None:
    whole, rng, errors = (root / file).read_bytes(), np.random.default_rng(0), 0
    pieces = [b"\t", b"\n", b'"', b"\0", b"\xef\xbb\xbf", b"-", b"../", b"nan", b"\r", b"\xff", b"", b" "]
    for _ in range(100):
        content = whole
        for start in rng.integers(0, len(whole), rng.integers(1, 4)):
            end = start + rng.choice([0, 1, 3, 400])
            content = content[:start] + pieces[rng.integers(len(pieces))] + content[end:]
        (root / file).write_bytes(content)
        try:
            assert len(training_clips(root)) > 0
        except DataError as error:
            assert re.match(rf"{root}/(meta|split_setup/split25)\.csv", str(error))
            errors += 1
    assert 0 < errors < 100


def test_all_missing_audio_is_reported_at_once(root: Path) -> None:
    for file in (root / "audio").glob("hum-oslo-*"):
        file.unlink()
    with pytest.raises(
        DataError, match=r"audio files that do not exist: 8, namely .*hum-oslo-11-7011-0-s1.wav, .*fetch"
    ):
        training_clips(root)


def test_the_official_training_split_has_364_locations_and_shares_none_with_the_test_split(shared: Path) -> None:
    groups = {}
    for split in ("split25", "test"):
        rows = list(
            csv.DictReader((shared / "data" / "tau_splits" / f"{split}.csv").read_text().splitlines(), delimiter="\t")
        )
        parts = tau._name_parts(pd.Series([row["filename"] for row in rows]), Path(split))
        groups[split] = set(parts["city"] + "-" + parts["location"])
    assert len(groups["split25"]) == 364
    assert not groups["split25"] & groups["test"]
