"""The built-in set is a data set like any other, the same for everyone, and whole whenever it is there."""

import csv
import hashlib
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from dynacp.audio import scenes, tau
from dynacp.audio.scenes import SCENES, TEST_DEVICES, TRAINING_DEVICES, write_scenes
from dynacp.audio.tau import VALIDATION_FOLDS, DataError, class_by_device, parts_of_whole_groups, training_clips

TRAINING_CLIPS = len(SCENES) * scenes.TRAINING_LOCATIONS * scenes.TRAINING_SEGMENTS
TEST_SEGMENTS = len(SCENES) * scenes.TEST_LOCATIONS * scenes.TEST_SEGMENTS


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "set")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "TRAINING_LOCATIONS", 2)
    monkeypatch.setattr(scenes, "TRAINING_SEGMENTS", 2)
    monkeypatch.setattr(scenes, "TEST_LOCATIONS", 1)
    monkeypatch.setattr(scenes, "TEST_SEGMENTS", 1)


def digest(root: Path) -> str:
    content = hashlib.blake2b()
    for file in sorted(file for file in root.rglob("*") if file.is_file()):
        content.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return content.hexdigest()


def test_it_is_read_like_any_data_set_in_this_layout(root: Path) -> None:
    training, test = training_clips(root), tau.test_clips(root)
    assert len(training) == TRAINING_CLIPS
    assert len(test) == TEST_SEGMENTS * len(TEST_DEVICES) == 540  # 10 classes x 3 locations x 2 segments x 9 devices
    assert training.classes == test.classes == tuple(SCENES)
    assert training.device_names == test.device_names == TEST_DEVICES
    assert not set(training.groups) & set(test.groups)


def test_names_are_one_word_and_sorted() -> None:
    assert list(SCENES) == sorted(SCENES)
    assert all(name.isalpha() and name.islower() for name in SCENES)


def test_seven_of_ten_training_clips_are_device_a_and_the_test_split_hears_each_segment_on_every_device(
    root: Path,
) -> None:
    training, test = training_clips(root), tau.test_clips(root)
    counts = class_by_device(training).loc["total", :].to_numpy()[:-1]
    # Binomial with p = 0.7 and n = 2,400: sd 22.4; with p = 0.06: sd 11.6. Four sd either way.
    assert abs(counts[0] - 0.7 * TRAINING_CLIPS) < 4 * (TRAINING_CLIPS * 0.7 * 0.3) ** 0.5
    for count in counts[1 : len(TRAINING_DEVICES)]:
        assert abs(count - 0.06 * TRAINING_CLIPS) < 4 * (TRAINING_CLIPS * 0.06 * 0.94) ** 0.5
    assert counts[len(TRAINING_DEVICES) :].tolist() == [0, 0, 0]
    segments = Counter(file.stem.rsplit("-", 1)[0] for file in test.files)
    assert set(segments.values()) == {len(TEST_DEVICES)}


def test_every_wav_is_one_second_of_16_bit_mono_that_neither_clips_nor_falls_silent(root: Path) -> None:
    for file in training_clips(root).files[::40] + tau.test_clips(root).files[::25]:
        about = sf.info(file)
        assert (about.frames, about.samplerate, about.channels, about.subtype) == (44_100, 44_100, 1, "PCM_16")
        wave, _ = sf.read(file)
        assert 0.005 < np.sqrt(np.mean(wave**2)) < 0.5
        assert np.mean(np.abs(wave) > 0.999) < 0.001


def test_a_device_colours_what_it_records(root: Path) -> None:
    rows = [row["filename"] for row in csv.DictReader((root / "meta.csv").read_text().splitlines(), delimiter="\t")]
    name = next(row for row in rows if row.endswith("-s5.wav"))
    spectra = {
        device: np.abs(np.fft.rfft(sf.read(root / name.replace("-s5.", f"-{device}."))[0])) for device in TEST_DEVICES
    }
    bands = {device: np.log10([np.mean(part**2) for part in np.array_split(s, 20)]) for device, s in spectra.items()}
    for device in TEST_DEVICES[1:]:
        assert np.std(10 * (bands[device] - bands["a"])) > 1  # dB


def test_validation_can_be_split_off_and_holds_every_class(root: Path) -> None:
    clips = training_clips(root)
    held_out = parts_of_whole_groups(clips, VALIDATION_FOLDS, seed=0)[0]
    assert set(clips.labels[held_out]) == set(clips.labels[~held_out]) == set(range(10))
    assert 0.15 < held_out.sum() / TRAINING_CLIPS < 0.25


@pytest.mark.usefixtures("small")
def test_one_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path: Path) -> None:
    first, again, other = (
        write_scenes(tmp_path / name, seed=seed) for name, seed in zip("abc", (1, 1, 2), strict=True)
    )
    assert digest(first) == digest(again) != digest(other)


@pytest.mark.usefixtures("small")
def test_a_complete_set_is_not_written_again(tmp_path: Path) -> None:
    root = write_scenes(tmp_path / "set")
    (root / "audio" / "mark").touch()
    assert write_scenes(root) == root
    assert (root / "audio" / "mark").exists()


@pytest.mark.usefixtures("small")
def test_a_folder_with_something_else_or_another_seed_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match=r"mine exists and is not the built-in set of seed=2025; give another folder"):
        write_scenes(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    write_scenes(tmp_path / "set", seed=1)
    with pytest.raises(DataError, match="is not the built-in set of seed=2"):
        write_scenes(tmp_path / "set", seed=2)


SMALL_SCRIPT = """
import os, sys, time
from pathlib import Path
import soundfile
from dynacp.audio import scenes
scenes.TRAINING_LOCATIONS, scenes.TRAINING_SEGMENTS, scenes.TEST_LOCATIONS, scenes.TEST_SEGMENTS = 2, 2, 1, 1
root, write = Path(sys.argv[1]), soundfile.write
def logged(file, *sound, **options):
    with (root.parent / "writes.log").open("ab") as log:
        log.write(os.path.basename(file) + b"\\n")
    write(file, *sound, **options)
soundfile.write = logged
while not (root.parent / "go").exists():
    time.sleep(0.01)
scenes.write_scenes(root)
"""


def child(root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SMALL_SCRIPT, root], cwd=Path(scenes.__file__).parents[2])


@pytest.mark.usefixtures("small")
def test_a_killed_write_leaves_no_folder_and_the_next_one_gives_the_undisturbed_bytes(tmp_path: Path) -> None:
    undisturbed = write_scenes(tmp_path / "undisturbed")
    (tmp_path / "go").touch()
    process = child(tmp_path / "killed")
    half_way = tmp_path / "killed.partial" / "audio"
    deadline = time.monotonic() + 60
    while not half_way.is_dir() or len(list(half_way.iterdir())) < 20:
        assert process.poll() is None, "the process ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert half_way.is_dir()
    assert not (tmp_path / "killed").exists()
    assert digest(write_scenes(tmp_path / "killed")) == digest(undisturbed)
    assert not half_way.exists()


@pytest.mark.usefixtures("small")
def test_a_link_to_where_the_set_shall_be_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "disk" / "set")
    for _ in range(2):
        assert write_scenes(tmp_path / "set") == tmp_path / "set"
    assert (tmp_path / "set").is_symlink()
    assert (tmp_path / "disk" / "set" / "scenes.json").is_file()


@pytest.mark.usefixtures("small")
def test_of_two_processes_at_once_one_writes(tmp_path: Path) -> None:
    processes = [child(tmp_path / "set") for _ in range(2)]
    (tmp_path / "go").touch()
    assert [process.wait(60) for process in processes] == [0, 0]
    written = (tmp_path / "writes.log").read_text().split()
    assert sorted(written) == sorted(file.name for file in (tmp_path / "set" / "audio").iterdir()), "each once"
    assert digest(tmp_path / "set") == digest(write_scenes(tmp_path / "alone"))
    shutil.rmtree(tmp_path / "set")
