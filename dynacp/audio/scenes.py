"""The built-in data set: synthetic scenes in TAU's layout, for trying everything out without a download.

Ten classes are five textures in two variants each. Each texture keeps to a region of the spectrum; its variants differ
in scale, so a network must resolve time (slow or fast pulses, rising or falling chirps), frequency (close or wide
harmonics), or see far enough (sparse or dense crackle, slow beeps on one pitch or fast ones on several). What a texture
leaves open is drawn once for each location and again for each clip. Every clip lies under coloured noise, some under a
fainter texture of any class, and in some the texture is all but absent, so that no network can name every clip. It is
no substitute for recorded scenes: results on it say whether a method works, not how well it would do on TAU.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile as sf
from filelock import FileLock

from dynacp.audio.tau import META_COLUMNS, SPLIT_COLUMNS, DataError
from dynacp.files import behind_links

FORMAT = 1
"""The version written beside the scenes; raise it when the same seed gives other bytes."""

RATE = 44_100
"""The sample rate in Hz; a clip lasts a second."""

HERTZ = np.arange(RATE // 2 + 1)
"""The frequencies in Hz of the bins of a clip's spectrum: one second has one bin a hertz."""

TRAINING_DEVICES = ("a", "b", "c", "s1", "s2", "s3")
"""The recording devices of training clips."""

TRAINING_SHARES = (0.70, 0.06, 0.06, 0.06, 0.06, 0.06)
"""The probability that a training clip is of each of `TRAINING_DEVICES`."""

TEST_DEVICES = (*TRAINING_DEVICES, "s4", "s5", "s6")
"""The recording devices of test clips; each records every test segment."""

TRAINING_LOCATIONS = 40
"""Training locations of each class."""

TRAINING_SEGMENTS = 6
"""Seconds that are recorded at each training location."""

TEST_LOCATIONS = 3
"""Test locations of each class; none is a training location."""

TEST_SEGMENTS = 2
"""Seconds that are recorded at each test location."""

CITIES = ("lima", "oslo", "perth", "quito", "tunis")
"""The cities that locations are named after."""

Texture = Callable[[np.random.Generator, np.random.Generator], np.ndarray]
"""(generator of what the location decides, generator of what the clip decides) -> samples [RATE] at any level."""


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in the logarithm, as suits rates and frequencies."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _noise(rng: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """Gaussian noise [RATE] whose spectrum has these magnitudes [bins]."""
    white = rng.standard_normal((2, len(weights)), dtype=np.float32)
    return np.fft.irfft(weights * (white[0] + 1j * white[1]), RATE)


def _band(low: float, high: float) -> np.ndarray:
    """Magnitudes [bins] of a band with soft edges, from low to high Hz."""
    octaves = np.log2(np.maximum(HERTZ, 1))
    return 1 / (1 + np.exp(-8 * (octaves - np.log2(low)))) / (1 + np.exp(8 * (octaves - np.log2(high))))


def _pulses(location: np.random.Generator, clip: np.random.Generator, *, rates: tuple[float, float]) -> np.ndarray:
    """Band noise that swells and fades: slowly or fast."""
    centre, rate = _between(location, 1500, 2500), _between(location, *rates) * _between(clip, 0.9, 1.1)
    carrier = _noise(clip, _band(centre / 2, centre * 2))
    phase = 2 * np.pi * (rate * np.arange(RATE) / RATE + clip.random())
    return carrier * (0.5 + 0.5 * np.sin(phase)) ** 2


def _chirps(location: np.random.Generator, clip: np.random.Generator, *, direction: int) -> np.ndarray:
    """Calls whose pitch rises or falls."""
    octaves, centre = location.uniform(0.6, 1.4), _between(location, 3000, 5000)
    wave = np.zeros(RATE)
    for _ in range(int(location.integers(4, 9))):
        samples = int(RATE * clip.uniform(0.12, 0.28))
        progress = np.linspace(-0.5, 0.5, samples)
        hertz = centre * _between(clip, 0.85, 1.18) * 2 ** (direction * octaves * progress)
        start = int(clip.integers(RATE - samples))
        call = np.sin(2 * np.pi * np.cumsum(hertz) / RATE) * np.cos(np.pi * progress)
        wave[start : start + samples] += call * clip.uniform(0.5, 1.0)
    return wave


def _hum(location: np.random.Generator, clip: np.random.Generator, *, spacings: tuple[float, float]) -> np.ndarray:
    """A stack of harmonics, close together or far apart."""
    spacing = round(_between(location, *spacings) * _between(clip, 0.97, 1.03))
    orders = np.arange(1, int(2500 / spacing))
    weights = np.zeros(len(HERTZ))
    tilt = location.uniform(0.2, 0.7)
    for side, share in ((0, 1.0), (1, 0.5), (-1, 0.5)):  # each harmonic is three bins wide, so that it flutters
        weights[orders * spacing + side] = share * orders**-tilt * location.uniform(0.3, 1.0, len(orders))
    return _noise(clip, weights)


def _crackle(
    location: np.random.Generator, clip: np.random.Generator, *, per_second: tuple[float, float]
) -> np.ndarray:
    """Short bursts at random moments, few or many."""
    bursts = clip.poisson(_between(location, *per_second)) + 1
    strikes = np.zeros(RATE)
    np.add.at(strikes, clip.integers(RATE, size=bursts), clip.choice((-1, 1), bursts) * clip.lognormal(0, 0.5, bursts))
    decay = np.exp(-np.arange(RATE) / RATE / _between(location, 0.004, 0.012))
    centre = _between(location, 6000, 9000)
    ring = decay * _noise(clip, _band(centre / 2, centre * 2))
    return np.fft.irfft(np.fft.rfft(strikes) * np.fft.rfft(ring), RATE)


def _melody(
    location: np.random.Generator, clip: np.random.Generator, *, octaves: float, rates: tuple[float, float]
) -> np.ndarray:
    """Beeps in rhythm: slow ones on one pitch, or fast ones on pitches that many octaves apart."""
    pitch, rate = _between(location, 700, 1400), _between(location, *rates)
    position = rate * np.arange(RATE) / RATE + clip.random()
    beat, within = np.floor(position).astype(int), position % 1
    hertz = pitch * 2 ** (octaves * clip.uniform(-0.5, 0.5, beat[-1] + 1))
    wave = np.sin(2 * np.pi * np.cumsum(hertz[beat]) / RATE)
    return wave * np.where(within < 0.6, np.sin(np.pi * within / 0.6), 0)


SCENES: dict[str, Texture] = {
    "arcade": partial(_melody, octaves=2.0, rates=(7, 11)),
    "aviary": partial(_chirps, direction=1),
    "campfire": partial(_crackle, per_second=(3, 8)),
    "crossing": partial(_melody, octaves=0.0, rates=(3, 5)),
    "downpour": partial(_crackle, per_second=(40, 110)),
    "factory": partial(_pulses, rates=(6.5, 11)),
    "garage": partial(_hum, spacings=(110, 180)),
    "harbour": partial(_pulses, rates=(2, 4)),
    "substation": partial(_hum, spacings=(45, 75)),
    "wetland": partial(_chirps, direction=-1),
}
"""Class -> the texture of its clips."""

COLOUR = 3.0
"""The standard deviation in dB of a background's random colour, drawn for each location."""

TILT = (0.5, 0.8)
"""The range of the power of the frequency by which a background's magnitudes fall, drawn for each location."""

LOUDNESS = (-26.0, -20.0)
"""The range of a clip's level in dB of full scale, drawn for each location."""

SIGNAL_TO_NOISE = (0.0, 10.0)
"""The range of the texture's level over the background's in dB, drawn for each location."""

QUIET = 0.3
"""The share of clips with but a trace of their texture, as a second of a real scene may be typical of nothing."""

TRACE = 0.05
"""The factor of the texture's amplitude in these clips."""

DISTRACTION = (0.3, -10.0)
"""The share of clips with a second texture, and its level over the first in dB."""


@dataclass(frozen=True)
class _Segment:
    """One second of one location, before a device records it. Its fields seed all that is drawn for it."""

    scene: str
    location: int
    segment: int
    seed: int

    def name(self, device: str) -> str:
        return f"audio/{self.scene}-{self.identifier}-{self.location}0-{self.segment}-{device}.wav"

    @property
    def identifier(self) -> str:
        return f"{CITIES[self.location % len(CITIES)]}-{self.location}"

    def render(self) -> tuple[np.ndarray, np.random.Generator]:
        """The sound [RATE], and the generator for what its recording draws."""
        location = np.random.default_rng([self.seed, self.location])
        clip = np.random.default_rng([self.seed, self.location, self.segment])
        background = _noise(clip, _smooth(location, COLOUR) * np.maximum(HERTZ, 30) ** -location.uniform(*TILT))
        loudness = 10 ** (location.uniform(*LOUDNESS) / 20)
        snr = 10 ** ((location.uniform(*SIGNAL_TO_NOISE) + clip.normal(0, 2)) / 20)
        if clip.random() < QUIET:
            snr *= TRACE
        mixture = _unit(background) + snr * _unit(SCENES[self.scene](location, clip))
        often, level = DISTRACTION
        if clip.random() < often:
            other = list(SCENES)[clip.integers(len(SCENES))]
            mixture += snr * 10 ** (level / 20) * _unit(SCENES[other](clip, clip))
        return loudness * _unit(mixture), clip


def _unit(wave: np.ndarray) -> np.ndarray:
    return wave / np.sqrt(np.mean(wave**2))


def _smooth(rng: np.random.Generator, decibels: float) -> np.ndarray:
    """A random magnitude response [bins], smooth over octaves, with about that deviation."""
    knots = np.geomspace(30, RATE / 2, 10)
    return 10 ** (np.interp(np.log(np.maximum(HERTZ, 1)), np.log(knots), rng.normal(0, decibels, 10)) / 20)


@dataclass(frozen=True)
class _Device:
    """A recording device: a fixed magnitude response [bins], compression, and a noise floor relative to full scale."""

    response: np.ndarray
    drive: float
    noise: float

    @classmethod
    def draw(cls, seed: int, number: int) -> "_Device":
        """Device a (number 0) is nearly transparent; the others colour, compress and hiss."""
        if number == 0:
            return cls(np.ones(len(HERTZ)), 0.0, 10 ** (-90 / 20))
        rng = np.random.default_rng([seed, 10**6 + number])
        response = _smooth(rng, 5.0) * _band(rng.uniform(60, 200), rng.uniform(9_000, 18_000))
        return cls(response, rng.uniform(1, 4), 10 ** (rng.uniform(-70, -60) / 20))

    def record(self, sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        heard = np.fft.irfft(np.fft.rfft(sound) * self.response, RATE)
        if self.drive:
            heard = np.tanh(self.drive * heard) / self.drive
        return np.clip(heard + self.noise * rng.standard_normal(RATE), -1, 1 - 2**-15)


def write_scenes(root: Path, *, seed: int = 2025) -> Path:
    """Write the built-in set into the folder `root`, unless it is there; returns `root`.

    2,400 training clips (10 classes x 40 locations x 6 segments, on six devices, 70 % of them on device a) and 540 test
    clips (10 x 3 x 2 segments, each on nine devices), 16 bit, 44.1 kHz, 1 s: 254 MB, about 15 s. One seed always gives
    the same bytes. Processes may ask at once, and be killed: the folder appears complete or not at all. Raises
    `DataError` if there is something else at `root`, such as the set of another seed, and `OSError` where nothing can
    be written.
    """
    home = behind_links(root)
    home.parent.mkdir(parents=True, exist_ok=True)
    marker = json.dumps({"scenes": FORMAT, "seed": seed})
    with FileLock(home.parent / f"{home.name}.lock"):
        if not home.exists():
            unfinished = home.parent / f"{home.name}.partial"
            shutil.rmtree(unfinished, ignore_errors=True)  # what a killed process left
            _write(unfinished, seed)
            (unfinished / "scenes.json").write_text(marker)
            unfinished.rename(home)
    written = root / "scenes.json"
    if not written.is_file() or written.read_text() != marker:
        raise DataError(f"{root} exists and is not the built-in set of {seed=}; give another folder, or remove it.")
    return root


def _write(root: Path, seed: int) -> None:
    (root / "audio").mkdir(parents=True)
    (root / "split_setup").mkdir()
    devices = {name: _Device.draw(seed, number) for number, name in enumerate(TEST_DEVICES)}

    def write_segment(segment: _Segment, in_test: bool) -> list[str]:
        sound, rng = segment.render()
        chosen = TEST_DEVICES if in_test else (str(rng.choice(TRAINING_DEVICES, p=TRAINING_SHARES)),)
        for device in chosen:
            file = os.fsencode(root / segment.name(device))  # or soundfile encodes it, and a byte that is no text fails
            sf.write(file, devices[device].record(sound, rng), RATE, subtype="PCM_16")
        return [f"{segment.name(device)}\t{segment.scene}\t{segment.identifier}\t{device}" for device in chosen]

    def write_split(in_test: bool) -> list[str]:
        segments = list(_segments(seed, in_test))
        with ThreadPoolExecutor() as pool:
            return [row for rows in pool.map(write_segment, segments, [in_test] * len(segments)) for row in rows]

    training, test = write_split(False), write_split(True)
    _write_table(root / "meta.csv", META_COLUMNS, training + test)
    for name, rows in (("split25.csv", training), ("test.csv", test)):
        _write_table(root / "split_setup" / name, SPLIT_COLUMNS, ["\t".join(row.split("\t")[:2]) for row in rows])


def _segments(seed: int, in_test: bool) -> Iterator[_Segment]:
    first, locations, segments = (
        (TRAINING_LOCATIONS, TEST_LOCATIONS, TEST_SEGMENTS) if in_test else (0, TRAINING_LOCATIONS, TRAINING_SEGMENTS)
    )
    for number, scene in enumerate(SCENES):
        for location in range(first, first + locations):
            for segment in range(segments):
                yield _Segment(scene, 100 * (number + 1) + location, segment, seed)


def _write_table(file: Path, columns: tuple[str, ...], rows: list[str]) -> None:
    file.write_text("\n".join(["\t".join(columns), *rows]) + "\n")
