"""A data set for tests: a few clips in TAU's layout, easy enough that a network learns something in a few steps."""

import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from dynacp.audio.features import FrontEnd
from dynacp.pipeline.plan import PRESETS, Plan, claim_run
from dynacp.stages import Stage, StageStore
from dynacp.student.architecture import Architecture, Block, with_classes
from dynacp.student.model import DynaCP

RATE = 44_100
CLASSES = ("crackle", "hum", "whistle")
TRAINING_DEVICES, TEST_DEVICES = ("a", "b", "s1"), ("a", "b", "s1", "s4")
TRAINING_CLIPS, TEST_CLIPS = 48, 24
SHORT = (
    "teachers.epochs=1", "teachers.batch=16", "device_teachers.epochs=1", "device_teachers.batch=8",
    "base.epochs=1", "base.batch=16", "devices.epochs=1", "devices.batch=8",
)  # fmt: skip

LEAN = Architecture((Block(32, 32, dilation=2, residual=2), Block(32, 32, residual=3, stride=(2, 2))), norm="depthwise")
"""Exported in seconds: no norm stays behind a sum, which takes torchao a quarter of a minute to look for."""


def write_tiny(root: Path, *, seed: int = 0) -> Path:
    """Three classes; 4 locations x 4 segments for training, 1 x 2 segments x 4 devices for the test. Returns `root`."""
    rng = np.random.default_rng(seed)
    (root / "audio").mkdir(parents=True)
    (root / "split_setup").mkdir()
    meta: list[tuple[str, ...]] = []
    training: list[tuple[str, ...]] = []
    test: list[tuple[str, ...]] = []
    for number, scene in enumerate(CLASSES):
        for place in range(5):
            location, city = 10 * number + place, ("lima", "oslo")[place % 2]
            in_test = place == 4
            for segment in range(2 if in_test else 4):
                sound = _sound(scene, 1 + 0.1 * place, rng)
                # Three of four training clips are device a's; no device is missing from a class.
                devices = TEST_DEVICES if in_test else ("a" if segment else TRAINING_DEVICES[1 + place % 2],)
                for device in devices:
                    name = f"audio/{scene}-{city}-{location}-{7000 + location}-{segment}-{device}.wav"
                    sf.write(root / name, _heard(sound, device, rng), RATE, subtype="PCM_16")
                    meta.append((name, scene, f"{city}-{location}-{7000 + location}", device))
                    (test if in_test else training).append((name, scene))
    write_rows(root / "meta.csv", ("filename", "scene_label", "identifier", "source_label"), meta)
    write_rows(root / "split_setup" / "split25.csv", ("filename", "scene_label"), training)
    write_rows(root / "split_setup" / "test.csv", ("filename", "scene_label"), test)
    return root


def search_options(data: Path, study: str, trials: object, /, **more: object) -> list[str]:
    """Arguments of a short `python -m nas.search` on such a set, with its teachers beside it for the next."""
    settings = {"data": data, "cache": data.parent / "cache", "study": study, "trials": trials}
    settings |= {"samples": 32, "teacher_epochs": 1, "race": 15, "set": "full_epochs=1", "device": "cpu"}
    settings |= {"vary": "none", **more}
    return [text for name, value in settings.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def train_options(data: Path, run: Path, *more: str, short: tuple[str, ...] = SHORT) -> list[str]:
    """Arguments of a short `python -m dynacp`, to train; decoded audio is kept beside the data, for all tests."""
    cache = str(data.parent / "cache")
    return [
        "train", "table1", "--data", str(data), "--out", str(run), "--cache", cache, "--device", "cpu",
        "--preset", "quick", *more, "--set", *short,
    ]  # fmt: skip


def lean_options(data: Path, run: Path, *more: str) -> list[str]:
    """Arguments that train `LEAN`, its base until it tells the classes apart; `more` are settings."""
    described = run.with_suffix(".json")
    described.write_text(LEAN.to_json())
    longer = ("base.epochs=12", "base.batch=8", "base.peak_rate=2e-2", "fine_tuning.epochs=1")
    arguments = train_options(data, run, short=(*SHORT, *longer, *more))
    arguments[1] = str(described)
    return arguments


def write_run(folder: Path) -> Path:
    """The run of an untrained base student, finished as far as `predict` needs it. Returns `folder`."""
    architecture = with_classes(LEAN, len(CLASSES))
    claim_run(
        Plan(
            architecture=architecture,
            settings=PRESETS["quick"],
            data=folder,
            run=folder,
            teachers=folder / "teachers",
            cache=folder,
        )
    )
    torch.manual_seed(0)
    base = {
        "architecture": architecture.to_json(),
        "classes": list(CLASSES),
        "front_end": asdict(FrontEnd()),
        "state": DynaCP(architecture).state_dict(),
    }
    StageStore().make(
        Stage(name="students/base", path=folder / "students" / "base", settings={}, needs=(), make=lambda _: base),
        lambda: None,
    )
    return folder


def logits_by_card(export: Path) -> np.ndarray:
    """What the code gives that the card of an export tells its readers to run."""
    code = re.search(r"```python\n(.*?)```", (export / "README.md").read_text(), re.DOTALL)
    assert code
    names: dict[str, np.ndarray] = {}
    exec(code[1].replace('"base.', f'"{export}/base.'), names)
    return names["logits"]


def write_tone(file: Path) -> None:
    """One second of noise, in 16 bits."""
    sf.write(file, np.random.default_rng(0).uniform(-0.1, 0.1, RATE), RATE)


def write_rows(file: Path, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    file.write_text("".join("\t".join(row) + "\n" for row in (header, *rows)))


def _sound(scene: str, pitch: float, rng: np.random.Generator) -> np.ndarray:
    seconds = np.arange(RATE) / RATE
    if scene == "hum":
        cue = sum(np.sin(2 * np.pi * 120 * pitch * order * seconds) / order for order in range(1, 6))
    elif scene == "whistle":
        cue = np.sin(2 * np.pi * 2500 * pitch * seconds + 40 * np.sin(2 * np.pi * 4 * seconds + rng.uniform(0, 6)))
    else:
        cue = 20 * rng.standard_normal(RATE) * (rng.random(RATE) < 0.001)
    return 0.05 * cue + 0.02 * rng.standard_normal(RATE)


def _heard(sound: np.ndarray, device: str, rng: np.random.Generator) -> np.ndarray:
    colour = {"a": 0.0, "b": 0.3, "s1": -0.3, "s4": 0.5}[device]
    coloured = sound + colour * np.roll(sound, 1) + 1e-3 * rng.standard_normal(RATE)
    return np.clip(coloured, -1, 1 - 2**-15)


def rename_devices(data: Path, root: Path, names: dict[str, str]) -> Path:
    """A copy of a data set with the same audio, whose devices have other names. Returns `root`."""
    (root / "audio").mkdir(parents=True)
    (root / "split_setup").mkdir()

    def renamed(name: str) -> str:
        stem, _, device = name.removesuffix(".wav").rpartition("-")
        return f"{stem}-{names.get(device, device)}.wav"

    for table in ("meta.csv", "split_setup/split25.csv", "split_setup/test.csv"):
        header, *rows = (line.split("\t") for line in (data / table).read_text().splitlines())
        changed = [(renamed(row[0]), *row[1:-1], names.get(row[-1], row[-1])) for row in rows]
        write_rows(root / table, tuple(header), changed)
    for wav in (data / "audio").iterdir():
        (root / "audio" / renamed(wav.name)).symlink_to(wav)
    return root
