"""Reads audio files, in one way for predictions, training clips, impulse responses and exported packages.

A file is read in blocks, so memory stays bounded whatever its header promises. The same rule holds everywhere: samples
are finite and in [-1, 1]. Decoders of lossy files overshoot a little, and such samples are clipped; a file on another
scale is refused, and so is one that is cut off.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from budget.errors import UserError
from dynacp.audio.resampling import resampled

SUFFIXES = (".wav", ".flac", ".ogg")
"""Endings of the files that are taken from a folder, in upper or lower case."""

RATES = (1_000, 1_000_000)
"""The lowest and the highest sample rate in Hz that is read: hydrophones and bat detectors are well within."""

LARGEST_OVERSHOOT = 2.0
"""The largest magnitude of a sample that is clipped; a larger one shows another scale, such as that of integers."""

LONGEST_WHOLE = 600
"""The longest recording that is held in memory at once, in seconds: 106 MB at 44.1 kHz."""

BLOCK_SAMPLES = 2**22
"""The most samples of one block when a recording is read in blocks of whole seconds (at least one), counted at the
file's own rate or the one asked for, whichever is higher."""

FETCH_AGAIN = "fetch or convert it anew"
"""The remedy for a file that is damaged or incomplete."""

# libsndfile shortens what a header promises to what the file holds, and says so in its log alone.
_SHORTENED = re.compile(r"^ *(?:data|SSND|Data Size|Riff size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_OGG_CUT_OFF = re.compile(r"^Ogg ?: (?:Junk after the last page|Last page lacks an end-of-stream bit)", re.MULTILINE)
_UNKNOWN_BYTES = 0x7FFFF000
"""Programs that write a wav to a pipe promise this many bytes or more."""

_UNKNOWN_FRAMES = 2**62


class AudioError(UserError):
    """A file that cannot be used, or a path without one; the message names it and, where there is one, the remedy."""


class UnusableAudioError(AudioError):
    """An audio file that cannot be used.

    `file`, `fault` (with the file as the subject of the sentence) and `remedy` are attributes.
    """

    def __init__(self, file: str | Path, fault: str, remedy: str) -> None:
        super().__init__(file, fault, remedy)
        self.file, self.fault, self.remedy = file, fault, remedy

    def __str__(self) -> str:
        return f"{self.file} {self.fault}; {self.remedy}."


@dataclass(frozen=True)
class Recording:
    """A whole recording as one channel, and what its file was like."""

    samples: np.ndarray
    """Float32 [samples] at the rate that was asked for, in [-1, 1] but for a little overshoot of the resampling."""
    channels: int
    """The number of channels of the file."""
    own_rate: int
    """The sample rate of the file in Hz."""
    peak: float
    """The largest magnitude in the file: above 1, samples were clipped to [-1, 1]."""


class AudioFile:
    """An open audio file, as `opened` gives it, to be read once from its beginning to its end.

    `file` is its path, `channels` the number of its channels, `own_rate` its sample rate in Hz, and `frames` its length
    in samples of a channel. `cut_off` says whether it holds less than its header promises. `peak` (see `Recording`) and
    `silent` (all samples alike) are those of what was read so far.
    """

    def __init__(self, file: str | Path, sound: sf.SoundFile) -> None:
        self.file, self._sound = file, sound
        self.own_rate, self.channels, self.frames = sound.samplerate, sound.channels, sound.frames
        self.cut_off = _cut_off(sound.extra_info)
        self.peak = 0.0
        self._low, self._high = math.inf, -math.inf

    @property
    def silent(self) -> bool:
        """Whether all samples read so far are alike; True where none is read yet."""
        return self._low >= self._high

    def blocks(self, rate: int, *, channel: int | None = None) -> Iterator[np.ndarray]:
        """The recording in blocks of float32 samples [samples] at `rate` Hz: whole seconds each, but for the last.

        `channel` is the one to take, counted from 0; None takes the mean of all. A file without samples gives no block.
        Raises, while blocks are taken, `UnusableAudioError` for a file whose samples cannot be used, and `IndexError`
        for a channel that it does not have.
        """
        if self.cut_off:
            raise UnusableAudioError(self.file, "is cut off: its header promises more than it holds", FETCH_AGAIN)
        seconds = max(1, BLOCK_SAMPLES // max(self.own_rate, rate))
        mono = self._mono(seconds * self.own_rate, channel)
        yield from mono if self.own_rate == rate else resampled(mono, self.own_rate, rate)

    def whole(self, rate: int, *, channel: int | None = None) -> Recording:
        """The whole recording at `rate` Hz, as one channel; raises as `blocks` does.

        `channel` is the one to take, counted from 0; None takes the mean of all.
        """
        samples = np.concatenate([np.empty(0, np.float32), *self.blocks(rate, channel=channel)])
        return Recording(samples, self.channels, self.own_rate, self.peak)

    def _mono(self, size: int, channel: int | None) -> Iterator[np.ndarray]:
        """Blocks of `size` samples, and at the end what is left."""
        at_once = max(1, BLOCK_SAMPLES // self.channels)
        left = self.frames
        while left:
            wanted = min(size, left)
            block = np.empty(wanted, np.float32)
            for start in range(0, wanted, at_once):
                part = self._read(min(at_once, wanted - start))
                block[start : start + len(part)] = part.mean(axis=1) if channel is None else part[:, channel]
            self._low, self._high = min(self._low, float(block.min())), max(self._high, float(block.max()))
            left -= wanted
            yield block

    def _read(self, frames: int) -> np.ndarray:
        """The next samples, [frames, channels]."""
        with _said_clearly(self.file):
            part = self._sound.read(frames, dtype="float32", always_2d=True)
        if len(part) < frames:
            raise UnusableAudioError(self.file, "is cut off: it ends before its last sample", FETCH_AGAIN)
        low, high = float(part.min()), float(part.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise UnusableAudioError(self.file, "holds samples that are not finite", "record or convert it anew")
        self.peak = max(self.peak, -low, high)
        if self.peak > LARGEST_OVERSHOOT:
            fault = f"has samples of magnitude {self.peak:.4g}, but full scale is 1"
            raise UnusableAudioError(self.file, fault, "scale them to [-1, 1]")
        return part.clip(-1, 1) if self.peak > 1 else part


@contextmanager
def opened(file: str | Path) -> Iterator[AudioFile]:
    """A context with an open audio file.

    Raises `UnusableAudioError` for one that is not there, cannot be opened, or has a wrong header.
    """
    with _sound(file) as sound:
        audio = AudioFile(file, sound)
        _check_header(audio)
        yield audio


def read_recording(
    file: str | Path, rate: int, *, channel: int | None = None, longest: float = LONGEST_WHOLE
) -> Recording:
    """A whole recording at `rate` Hz, as float32 samples; of several channels the mean, or `channel`, counted from 0.

    Raises `UnusableAudioError` for a file that cannot be used, and for one that lasts more than `longest` seconds;
    `IndexError` for a channel that the file does not have.
    """
    with opened(file) as audio:
        if audio.frames > longest * audio.own_rate:
            fault = f"lasts {audio.frames / audio.own_rate:,.0f} s, longer than the {longest:,g} s that it may"
            raise UnusableAudioError(file, fault, "cut it")
        return audio.whole(rate, channel=channel)


def is_audio(path: Path) -> bool:
    """Whether a path is taken for an audio file: its name ends in one of `SUFFIXES`, and it is no folder."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def audio_files(paths: Iterable[Path]) -> list[Path]:
    """The files among `paths`, of any name, and the audio files in the folders among them, however deep.

    They are in the order of `paths`, those of a folder sorted. Raises `AudioError` for a path that does not exist, and
    for a folder without audio files.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(_inside(path))
            if not inside:
                raise AudioError(f"{path} holds no .wav file, nor .flac or .ogg.")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise AudioError(f"{path} does not exist.")
    return found


def _inside(folder: Path) -> Iterator[Path]:
    """The audio files of a folder and those in it, and folders that cannot be opened, to be reported in their turn."""
    closed: list[Path] = []
    for name, _, files in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        yield from (path for path in map(Path(name).joinpath, files) if is_audio(path))
    yield from closed


def _sound(file: str | Path) -> sf.SoundFile:
    with _said_clearly(file):
        if not Path(file).is_file():
            raise FileNotFoundError("it is no file, or not there")
        with Path(file).open("rb"):  # libsndfile does not say why it may not open a file
            pass
        # As bytes, where names may be any: soundfile takes no text that is not UTF-8.
        return sf.SoundFile(os.fsencode(file) if os.name == "posix" else file)


@contextmanager
def _said_clearly(file: str | Path) -> Iterator[None]:
    """What goes wrong while a file is opened or read, as an `AudioError`."""
    try:
        yield
    except (sf.SoundFileError, OSError, TypeError) as error:  # soundfile raises a TypeError for files named .raw
        fault = f"cannot be read as audio ({_reason(error)})"
        raise UnusableAudioError(file, fault, "give wav, flac or ogg files") from None


def _check_header(audio: AudioFile) -> None:
    lowest, highest = RATES
    if not lowest <= audio.own_rate <= highest:
        fault = f"claims a sample rate of {audio.own_rate:,} Hz, which no recorder has"
        raise UnusableAudioError(audio.file, fault, f"resample it to a rate between {lowest:,} and {highest:,} Hz")
    if audio.frames >= _UNKNOWN_FRAMES:
        raise UnusableAudioError(audio.file, "does not say how long it is", FETCH_AGAIN)


def _cut_off(log: str) -> bool:
    """Whether libsndfile found less audio than a header promises."""
    promised = [(int(bytes_), int(there)) for bytes_, there in _SHORTENED.findall(log)]
    return any(there < bytes_ < _UNKNOWN_BYTES for bytes_, there in promised) or bool(_OGG_CUT_OFF.search(log))


def _reason(error: Exception) -> str:
    if isinstance(error, sf.LibsndfileError):
        return str(error.error_string).strip(" .\n") or "it is damaged"
    return getattr(error, "strerror", None) or str(error)
