"""The cache holds whole arrays or none, whatever is killed, shared or damaged; unusable audio is reported."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
import torch

from dynacp.audio import cache
from dynacp.audio.cache import log_mels, read_wave, stored_array
from dynacp.audio.features import FrontEnd, LogMel
from dynacp.audio.tau import Clips, DataError, training_clips

SETTINGS = FrontEnd()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_tiny(tmp_path_factory.mktemp("tiny") / "set")


@pytest.fixture(scope="module")
def clips(root: Path) -> Clips:
    return training_clips(root)


@pytest.fixture
def damaged(root: Path, tmp_path: Path) -> Clips:
    """Clips of a copy whose audio a test may damage."""
    return training_clips(Path(shutil.copytree(root, tmp_path / "set")))


def arrays(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*") if file.suffix != ".lock"]


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs `script` with `training_clips`, `log_mels` and `cache` at hand."""
    imports = (
        "import sys, time\nfrom pathlib import Path\nfrom dynacp.audio import cache\n"
        "from dynacp.audio.cache import log_mels\n"
        "from dynacp.audio.tau import training_clips\nfrom dynacp.audio.features import FrontEnd\n"
    )
    command = [sys.executable, "-c", imports + script, *map(str, arguments)]
    return subprocess.Popen(command, text=True, cwd=Path(cache.__file__).parents[2])


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the process ended before the condition was met"
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.005)


def test_a_log_mel_is_that_of_the_front_end_in_evaluation_rounded_to_half(clips: Clips, tmp_path: Path) -> None:
    stored = log_mels(clips, SETTINGS, tmp_path)
    assert stored.shape == (48, 256, 89)
    assert stored.dtype == np.float16
    assert not stored.flags.writeable
    wave, _ = sf.read(clips.files[40], dtype="float32")
    alone = LogMel(SETTINGS)(torch.from_numpy(wave)[None])[0, 0].numpy()
    # Half precision has 11 significant bits: numbers below 4 are rounded by at most 2^-10.
    np.testing.assert_allclose(stored[40], alone, rtol=0, atol=2**-10)


def test_a_second_call_reads_what_the_first_one_stored(
    clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = log_mels(clips, SETTINGS, tmp_path / "deep" / "folder")
    monkeypatch.setattr(cache, "opened", None)  # building would fail
    second = log_mels(clips, SETTINGS, tmp_path / "deep" / "folder")
    assert first.tobytes() == second.tobytes()


def test_other_settings_other_clips_another_order_and_other_content_have_arrays_of_their_own(
    clips: Clips, damaged: Clips, tmp_path: Path
) -> None:
    for chosen, settings in (
        (clips.take([0, 1]), SETTINGS),
        (clips.take([1, 0]), SETTINGS),
        (clips.take([0]), SETTINGS),
        (clips.take([0, 1]), FrontEnd(pre_emphasis=0.0)),
    ):
        log_mels(chosen, settings, tmp_path / "cache")
    assert len(arrays(tmp_path / "cache")) == 4
    log_mels(damaged.take([0, 1]), SETTINGS, tmp_path / "cache")  # the same content elsewhere
    assert len(arrays(tmp_path / "cache")) == 4
    shutil.copy(damaged.files[5], damaged.files[1])
    log_mels(damaged.take([0, 1]), SETTINGS, tmp_path / "cache")
    assert len(arrays(tmp_path / "cache")) == 5


def test_a_build_killed_half_way_leaves_nothing_and_the_next_one_gives_the_undisturbed_bytes(
    root: Path, clips: Clips, tmp_path: Path
) -> None:
    many = list(range(len(clips))) * 25  # 1,200 clips: a few seconds of work
    undisturbed = log_mels(clips.take(many), SETTINGS, tmp_path / "undisturbed")
    folder = tmp_path / "killed"
    process = child(
        "clips = training_clips(Path(sys.argv[1]))\n"
        "log_mels(clips.take(list(range(48)) * 25), FrontEnd(), Path(sys.argv[2]))",
        root,
        folder,
    )
    written = 0

    def half_way() -> bool:
        nonlocal written
        for file in folder.glob("*.partial"):
            rows = np.lib.format.open_memmap(file, mode="r")[:, 0].any(axis=1) if file.stat().st_size > 10**7 else [0]
            written = int(np.sum(rows))
        return written > 300

    wait_for(half_way, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 300 < written < 1200
    assert [file.suffix for file in arrays(folder)] == [".partial"]

    again = log_mels(clips.take(many), SETTINGS, folder)
    assert again.tobytes() == undisturbed.tobytes()
    names = [[file.name for file in arrays(tmp_path / name)] for name in ("killed", "undisturbed")]
    assert names[0] == names[1]
    assert (folder / names[0][0]).read_bytes() == (tmp_path / "undisturbed" / names[0][0]).read_bytes()


def test_of_two_processes_at_once_one_builds_and_both_read_the_same(root: Path, clips: Clips, tmp_path: Path) -> None:
    script = """
root, folder = Path(sys.argv[1]), Path(sys.argv[2])
stored = cache.stored_array
def logging(file, shape, dtype, fill):
    def logged(array):
        with (folder / "builds.log").open("a") as log:
            log.write("built\\n")
        time.sleep(1)  # long enough for the other process to arrive
        fill(array)
    return stored(file, shape, dtype, logged)
cache.stored_array = logging
(folder / f"ready{sys.argv[3]}.log").touch()
while not (folder / "go.log").exists():
    time.sleep(0.01)
array = log_mels(training_clips(root), FrontEnd(), folder)
(folder / f"result{sys.argv[3]}.log").write_bytes(array.tobytes())
"""
    processes = [child(script, root, tmp_path, number) for number in range(2)]
    for number, process in enumerate(processes):
        wait_for((tmp_path / f"ready{number}.log").exists, process)
    (tmp_path / "go.log").touch()
    assert [process.wait(60) for process in processes] == [0, 0]
    assert (tmp_path / "builds.log").read_text() == "built\n"
    results = [(tmp_path / f"result{number}.log").read_bytes() for number in range(2)]
    assert results[0] == results[1] == log_mels(clips, SETTINGS, tmp_path / "alone").tobytes()


@pytest.mark.parametrize("damage", ["truncated", "empty", "not an array", "another shape"])
def test_a_damaged_array_is_built_again(clips: Clips, tmp_path: Path, damage: str) -> None:
    few = clips.take([0, 20, 40])
    whole = log_mels(few, SETTINGS, tmp_path).tobytes()
    (file,) = arrays(tmp_path)
    if damage == "truncated":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "another shape":
        np.save(file, np.zeros((2, 256, 89), np.float16))
    else:
        file.write_bytes(b"" if damage == "empty" else b"no array" * 100)
    assert log_mels(few, SETTINGS, tmp_path).tobytes() == whole


def test_a_link_to_where_an_array_shall_be_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "logits.npy"
    link.symlink_to(tmp_path / "disk" / "logits.npy")
    assert stored_array(link, (2,), np.float32, lambda array: array.fill(1)).tolist() == [1, 1]
    assert link.is_symlink()
    assert (tmp_path / "disk" / "logits.npy").is_file()


def test_a_stored_array_is_filled_once_and_read_only(tmp_path: Path) -> None:
    calls = []

    def fill(array: np.ndarray) -> None:
        calls.append(array.shape)
        assert not array.any()
        array[:] = np.arange(6).reshape(3, 2)

    for _ in range(2):
        stored = stored_array(tmp_path / "logits.npy", (3, 2), np.float32, fill)
        assert stored.tolist() == [[0, 1], [2, 3], [4, 5]]
        with pytest.raises(ValueError, match="read-only"):
            stored[0, 0] = 7
    assert calls == [(3, 2)]


def test_a_fill_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fill(array: np.ndarray) -> None:
        array[0] = 1
        raise RuntimeError("the teacher is ill")

    with pytest.raises(RuntimeError, match="the teacher is ill"):
        stored_array(tmp_path / "logits.npy", (3, 2), np.float32, fill)
    assert arrays(tmp_path) == []


def test_a_disk_without_room_is_reported_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(DataError, match=r"logits.npy needs 4 MB, but its disk has 1 MB free; make room"):
        stored_array(tmp_path / "logits.npy", (1000, 1000), np.float32, lambda _: None)
    assert arrays(tmp_path) == []


def truncate(file: Path) -> None:
    os.truncate(file, 44 + 2 * 30_000)  # the header still promises 44,100 samples of two bytes


def cut_header(file: Path) -> None:
    os.truncate(file, 20)


def resample(file: Path) -> None:
    wave, _ = sf.read(file)
    sf.write(file, wave, 48_000)


def make_stereo(file: Path) -> None:
    wave, rate = sf.read(file)
    sf.write(file, np.stack([wave, wave], axis=1), rate)


def lengthen(file: Path) -> None:
    wave, rate = sf.read(file)
    sf.write(file, np.tile(wave, 10), rate)


def silence(file: Path) -> None:
    sf.write(file, np.zeros(44_100), 44_100)


def stick(file: Path) -> None:
    sf.write(file, np.full(44_100, 0.25), 44_100)


def break_numbers(file: Path) -> None:
    sf.write(file, np.where(np.arange(44_100) == 7, np.nan, 0.1), 44_100, subtype="FLOAT")


def shorten(file: Path) -> None:
    wave, rate = sf.read(file)
    sf.write(file, wave[:30_000], rate)


def exceed(file: Path) -> None:
    wave, rate = sf.read(file)
    sf.write(file, wave / np.abs(wave).max() * 1.5, rate, subtype="FLOAT")


def rescale(file: Path) -> None:
    wave, rate = sf.read(file)
    sf.write(file, wave * 2**15, rate, subtype="FLOAT")


def claim_any_rate(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:24] + (2**31 - 1).to_bytes(4, "little") + content[28:])


FAULTS = {
    truncate: "has 30000 samples instead of 44100, fewer than its header promises",
    shorten: "has 30000 samples instead of 44100",
    cut_header: "cannot be read",
    resample: "has 48000 Hz instead of 44100 Hz",
    make_stereo: "has 2 channels instead of 1",
    lengthen: "has 441000 samples instead of 44100",
    silence: "is digital silence, every sample is 0.0",
    stick: "is digital silence, every sample is 0.25",
    break_numbers: "holds samples that are not finite",
    exceed: "has samples of magnitude 1.5, but full scale is 1",
    rescale: r"has samples of magnitude \d+, but full scale is 1",
    claim_any_rate: "claims a sample rate of 2,147,483,647 Hz, which no recorder has",
    Path.unlink: "cannot be opened",
}
REMEDIES: dict[Callable[[Path], None], str] = {
    resample: "resample them to 44100 Hz",
    make_stereo: "mix them down to one channel",
    lengthen: "cut them into clips of 44,100 samples, .* TAU Urban Acoustic Scenes 2020 Mobile, that is another",
    shorten: "give clips of 44,100 samples, or drop the rows of others",
    exceed: r"scale them to \[-1, 1\]",
    rescale: r"fetch them again, .*; or scale them to \[-1, 1\]",
    claim_any_rate: "fetch them again, .*; or resample it",
}
"""What helps, where fetching the same files again does not."""


@pytest.mark.parametrize("damage", FAULTS, ids=lambda damage: damage.__name__)
def test_audio_that_cannot_be_used_is_refused_by_name_and_nothing_is_stored(
    damaged: Clips, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    file = damaged.files[33]
    damage(file)
    remedy = REMEDIES.get(damage, "fetch them again, or drop their rows from the split file")
    complaint = rf"audio files that cannot be used: 1, namely .*{file.name}: {FAULTS[damage]}.*Remedy: {remedy}"
    with pytest.raises(DataError, match=complaint):
        log_mels(damaged, SETTINGS, tmp_path / "cache")
    assert not (tmp_path / "cache").exists() or arrays(tmp_path / "cache") == []
    with pytest.raises(DataError, match=file.name):
        read_wave(file, sample_rate=44_100, samples=44_100)


def test_all_faults_of_all_batches_are_reported_together(damaged: Clips, tmp_path: Path) -> None:
    assert len(damaged) > cache.BATCH_CLIPS  # so the faults lie in two batches or more
    for index, damage in zip(
        (1, 2, 3, 4, 45, 46), (truncate, resample, make_stereo, silence, silence, stick), strict=True
    ):
        damage(damaged.files[index])
    with pytest.raises(DataError) as error:
        log_mels(damaged, SETTINGS, tmp_path / "cache")
    message = str(error.value)
    assert "cannot be used: 6, namely" in message
    assert message.endswith(
        "Remedy: fetch them again, or drop their rows from the split file; or resample them to 44100 Hz; or mix them "
        "down to one channel."
    )
    assert [damaged.files[index].name in message for index in (1, 2, 3, 4, 45, 46)] == [True] * 5 + [False]


def test_a_wave_is_read_as_floats_between_minus_one_and_one_also_from_24_bits(clips: Clips, tmp_path: Path) -> None:
    wave, rate = sf.read(clips.files[0])
    sf.write(tmp_path / "deep.wav", wave, rate, subtype="PCM_24")
    for file in (clips.files[0], tmp_path / "deep.wav"):
        read = read_wave(file, sample_rate=44_100, samples=44_100)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, wave.astype(np.float32))
