"""Log-mels and waves, decoded once and kept as memory-mapped arrays that are either whole or absent.

A stored array is written under a temporary name, behind a lock, and renamed when it is complete, so that processes may
share a folder and be killed at any moment. Its name is a hash over the settings that made it and the content of every
audio file: whatever changes, an old array is never taken for the new one.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import DTypeLike
from rich.console import Console
from rich.progress import track

from dynacp.audio.features import FrontEnd, LogMel
from dynacp.audio.reading import AudioFile, UnusableAudioError, audio_files, opened
from dynacp.audio.tau import TAU_2020, Clips, DataError
from dynacp.files import behind_links

T = TypeVar("T")
"""What a progress bar counts."""

FORMAT = 1
"""A part of the names of stored arrays: raise it when the front end computes something else from the same settings."""

BATCH_CLIPS = 16
"""Clips that are decoded and transformed at once by a thread."""

WAVE_SCALE = 2**15
"""The integer that stands for a sample of 1.0 in an array of waves."""

_REMEDY = "fetch them again, or drop their rows from the split file"


@dataclass(frozen=True)
class Fault:
    """Why a file cannot be used, and the remedies for all files with this fault."""

    file: Path
    """The file."""
    what: str
    """What is wrong, with the file as the subject of the sentence."""
    remedies: tuple[str, ...] = (_REMEDY,)
    """What to do about it, each in words that suit several files."""

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def log_mels(clips: Clips, settings: FrontEnd, folder: Path) -> np.ndarray:
    """The clips' normalised log-mels, float16 [clips, mels, frames], read-only and memory-mapped from `folder`.

    They are computed on the first call, by whichever process comes first, and take about 45 kB a clip. The mel bank is
    that of evaluation. Raises one `DataError` for all audio files that cannot be used (see `read_wave`), or if the disk
    has no room; `ValueError` where a second is too short for one frame; `OSError` for a folder that cannot be written.
    """
    shape = (len(clips), settings.mels, settings.frames(settings.sample_rate))
    file = folder / f"log-mel-{_key(clips.files, asdict(settings))}.npy"
    front_end = LogMel(settings)

    def transformed(waves: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return front_end(torch.from_numpy(waves))[:, 0].half().numpy()

    fill = partial(_fill, files=clips.files, sample_rate=settings.sample_rate, transformed=transformed, what="log-mels")
    return stored_array(file, shape, np.float16, fill)


def waves(clips: Clips, sample_rate: int, folder: Path) -> np.ndarray:
    """The clips' samples, int16 [clips, samples] of one second each, read-only and memory-mapped from `folder`.

    A sample of 1.0 would be `WAVE_SCALE`. Rounding 24 bits to 16 adds noise of -98 dB, a hundredth of what the front
    end adds before its logarithm. They are decoded on the first call and take 88 kB a clip at 44.1 kHz. `sample_rate`
    is in Hz, and no file may have another. Raises `DataError` and `OSError` as `log_mels` does.
    """
    file = folder / f"waves-{_key(clips.files, {'sample_rate': sample_rate})}.npy"

    fill = partial(_fill, files=clips.files, sample_rate=sample_rate, transformed=_as_integers, what="waves")
    return stored_array(file, (len(clips), sample_rate), np.int16, fill)


def unlabelled_waves(source: Path, sample_rate: int, folder: Path) -> np.ndarray:
    """All whole seconds of the audio files in the folder `source`, as `waves` has them: int16 [seconds, samples].

    Files lie in `source` or in folders inside it, and may have any rate, length and number of channels: they are
    resampled to `sample_rate` Hz and mixed to one. What is left behind a file's last whole second is left out. They are
    decoded into `folder` on the first call. Raises `AudioError` for a `source` without audio files, `DataError` for
    files that cannot be used (see `dynacp.audio.reading`) or are digital silence, where none lasts a second, and as
    `log_mels` does; `OSError`.
    """
    files = tuple(audio_files([source]))
    lengths = list(map(_whole_seconds, files))
    if faults := [each for each in lengths if isinstance(each, Fault)]:
        raise _faulty(faults)
    ends = np.cumsum([each for each in lengths if not isinstance(each, Fault)])
    if not ends[-1]:
        raise DataError(f"{source}: none of its audio files lasts a second; give longer ones.")
    file = folder / f"unlabelled-{_key(files, {'sample_rate': sample_rate})}.npy"

    def fill(array: np.ndarray) -> None:
        parts = np.split(array, ends[:-1])
        with _one_core_an_operation() as threads, ThreadPoolExecutor(threads) as pool:
            cut = pool.map(partial(_cut, sample_rate=sample_rate), files, parts)
            if faults := [fault for fault in _shown(cut, "unlabelled audio", len(files)) if fault]:
                raise _faulty(faults)

    return stored_array(file, (int(ends[-1]), sample_rate), np.int16, fill)


def _as_integers(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(samples * WAVE_SCALE), -WAVE_SCALE, WAVE_SCALE - 1)


def _whole_seconds(file: Path) -> int | Fault:
    try:
        with opened(file) as audio:
            return audio.frames // audio.own_rate
    except UnusableAudioError as error:
        return Fault(file, error.fault, (error.remedy,))


def _cut(file: Path, seconds: np.ndarray, *, sample_rate: int) -> Fault | None:
    """Decode the whole seconds of a file into `seconds`, int16 [seconds, samples]."""
    written = 0
    try:
        with opened(file) as audio:
            for block in audio.blocks(sample_rate):
                here = min(len(block) // sample_rate, len(seconds) - written)
                cut = block[: here * sample_rate].reshape(here, sample_rate)
                seconds[written : written + here] = _as_integers(cut)
                written += here
            silent = audio.silent and audio.frames > 0
            return Fault(file, "is digital silence", ("leave them out",)) if silent else None
    except UnusableAudioError as error:
        return Fault(file, error.fault, (error.remedy,))


def stored_array(
    file: Path, shape: tuple[int, ...], dtype: DTypeLike, fill: Callable[[np.ndarray], object]
) -> np.ndarray:
    """The array in `file` (.npy), read-only and memory-mapped; if it is not there, or damaged, `fill` writes it first.

    `fill` is given an array of zeros of that shape and dtype to write into. If it raises, or the process is killed,
    nothing remains that could be taken for a result; of several processes one builds and the others wait for it. Raises
    `DataError` if the disk has no room, `OSError` for a folder that cannot be written, and what `fill` raises.
    """
    file = behind_links(file)
    array = _opened(file, shape, dtype)
    if array is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            array = _opened(file, shape, dtype)  # another process may have built it while this one waited
            if array is None:
                _build(file, shape, dtype, fill)
                array = _opened(file, shape, dtype)
    assert array is not None, file
    return array


def read_wave(file: Path, *, sample_rate: int, samples: int) -> np.ndarray:
    """The samples of a mono audio file, float32 [samples] in [-1, 1].

    Raises `DataError` for a file that cannot be read (or is truncated), has another `sample_rate` (in Hz), more than
    one channel or another length than `samples`, holds values that are not finite or beyond [-1, 1], or is digital
    silence (all samples alike).
    """
    wave = _decode(file, sample_rate, samples)
    if isinstance(wave, Fault):
        raise _faulty([wave])
    return wave


def _opened(file: Path, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray | None:
    """The array, or None if there is no file with a whole array of that shape and dtype."""
    try:
        array = np.lib.format.open_memmap(file, mode="r")
    except (FileNotFoundError, ValueError):  # a damaged header, or fewer bytes than it promises, is a ValueError
        return None
    return array if array.shape == shape and array.dtype == dtype else None


def _build(file: Path, shape: tuple[int, ...], dtype: DTypeLike, fill: Callable[[np.ndarray], object]) -> None:
    # A disk that runs full under a memory map kills the process with SIGBUS instead of raising: look first.
    needed, free = int(np.prod(shape)) * np.dtype(dtype).itemsize, shutil.disk_usage(file.parent).free
    if needed > free:
        raise DataError(
            f"{file} needs {needed / 1e6:,.0f} MB, but its disk has {free / 1e6:,.0f} MB free; "
            "make room, or name a folder on another disk with `--cache`."
        )
    unfinished = file.with_suffix(".partial")
    try:
        array = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.dtype(dtype), shape=shape)
        fill(array)
        array.flush()
        with unfinished.open("rb+") as written:
            os.fsync(written.fileno())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _key(files: tuple[Path, ...], settings: dict[str, Any]) -> str:
    """Twenty hexadecimal digits from the format, the settings, and the content of every file in order."""
    key = hashlib.blake2b(json.dumps([FORMAT, settings]).encode(), digest_size=10)
    missing = []
    with ThreadPoolExecutor() as pool:
        for file, digest in zip(files, _shown(pool.map(_digest, files), "hashing audio", len(files)), strict=True):
            if digest is None:
                missing.append(Fault(file, "cannot be opened"))
            else:
                key.update(digest)
    if missing:
        raise _faulty(missing)
    return key.hexdigest()


def _digest(file: Path) -> bytes | None:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "blake2b").digest()
    except OSError:
        return None


def _fill(
    array: np.ndarray,
    *,
    files: tuple[Path, ...],
    sample_rate: int,
    transformed: Callable[[np.ndarray], np.ndarray],
    what: str,
) -> None:
    """Decode one second of every file into `array`, `transformed` in batches [clips, samples]."""

    def fill_batch(start: int) -> list[Fault]:
        decoded = [_decode(file, sample_rate, sample_rate) for file in files[start : start + BATCH_CLIPS]]
        heard = [wave for wave in decoded if not isinstance(wave, Fault)]
        if len(heard) == len(decoded):
            array[start : start + len(heard)] = transformed(np.stack(heard))
        return [fault for fault in decoded if isinstance(fault, Fault)]

    starts = range(0, len(files), BATCH_CLIPS)
    with _one_core_an_operation() as threads, ThreadPoolExecutor(threads) as pool:
        found = list(_shown(pool.map(fill_batch, starts), what, len(starts)))
    faults = [fault for batch in found for fault in batch]
    if faults:
        raise _faulty(faults)


@contextmanager
def _one_core_an_operation() -> Iterator[int]:
    """Torch's number of threads, which meanwhile is 1: parallel batches instead of parallel operations.

    Where another process keeps a core busy, threads that share one operation wait for each other at every step: that
    took the build from 580 clips a second to 39.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _decode(file: Path, sample_rate: int, samples: int) -> np.ndarray | Fault:
    """The wave, float32 [samples], or why the file cannot be used."""
    try:
        with opened(file) as audio:
            return _header_fault(file, audio, sample_rate, samples) or _wave(file, audio)
    except UnusableAudioError as error:
        return Fault(file, error.fault, (_REMEDY, error.remedy))


def _header_fault(file: Path, audio: AudioFile, sample_rate: int, samples: int) -> Fault | None:
    """What can be told before anything is decoded."""
    if audio.own_rate != sample_rate:
        remedy = f"resample them to {sample_rate} Hz"
        return Fault(file, f"has {audio.own_rate} Hz instead of {sample_rate} Hz", (remedy,))
    if audio.channels != 1:
        return Fault(file, f"has {audio.channels} channels instead of 1", ("mix them down to one channel",))
    if audio.frames == samples:
        return None
    fault = f"has {audio.frames} samples instead of {samples}"
    if audio.cut_off:
        return Fault(file, f"{fault}, fewer than its header promises")
    if audio.frames < samples:
        return Fault(file, fault, (f"give clips of {samples:,} samples, or drop the rows of others",))
    cut = f"cut them into clips of {samples:,} samples, each with a row of its own"
    return Fault(file, fault, (cut, TAU_2020) if audio.frames == 10 * samples else (cut,))


def _wave(file: Path, audio: AudioFile) -> np.ndarray | Fault:
    wave = audio.whole(audio.own_rate).samples
    if audio.silent:
        return Fault(file, f"is digital silence, every sample is {wave[0]}")
    if audio.peak > 1:
        fault = f"has samples of magnitude {audio.peak:.4g}, but full scale is 1"
        return Fault(file, fault, ("scale them to [-1, 1]",))
    return wave


def _faulty(faults: list[Fault]) -> DataError:
    some = "; ".join(map(str, faults[:5])) + ("; ..." if len(faults) > 5 else "")
    remedies = "; or ".join(dict.fromkeys(remedy for fault in faults for remedy in fault.remedies))
    return DataError(f"audio files that cannot be used: {len(faults):,}, namely {some}. Remedy: {remedies}.")


def _shown(steps: Iterable[T], what: str, total: int) -> Iterable[T]:
    """A progress bar with the time left, for a person at a terminal; logs and pipes stay clean."""
    console = Console(stderr=True)
    return track(steps, what, total, console=console, transient=True, disable=not console.is_terminal)
