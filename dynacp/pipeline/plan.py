"""What a full training is to do: all its settings in one place, each with its source, and presets."""

import json
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from budget.dtypes import DEFAULT_DTYPE
from budget.limits import Limits
from dynacp.audio.augmentation_settings import Augmentation, WaveAugmentation
from dynacp.audio.features import FrontEnd
from dynacp.audio.recording_devices import RecordingDevices
from dynacp.files import write_text
from dynacp.overrides import restored
from dynacp.settings import require, sourced
from dynacp.stages import StageError, plain
from dynacp.strict_json import read_json
from dynacp.student.architecture import Architecture
from dynacp.teachers.settings import MASKING_AND_ROLL, TeacherSettings
from dynacp.training.distillation import Distillation
from dynacp.training.schedule import Schedule

RUN_FILE = "run.json"
"""The file in a run's folder that holds its architecture and settings."""

COMPUTED_IN = {"float32": torch.float32, "float16": torch.float16, "int8": torch.float32}
"""Inference dtype -> the torch dtype that students of it compute in here: int8 students become int8 on export alone."""

_FOLDERS = ("teachers", "responses", "unlabelled")
"""What `RUN_FILE` holds of the folders that a plan names; None for one that it does not name."""

TEACHERS = "teachers"
"""The folder in a run that holds its teachers, unless they are shared."""

_BASELINE = "the paper gives none: the DCASE 2025 baseline's"
_ON_WAVES = "the roll is done on the waves"


@dataclass(frozen=True)
class TrainingSettings:
    """All that a run depends on besides the architecture, the data and the files it is given; defaults are the paper's.

    `device_teachers`, `base`, `devices` and `fine_tuning` are the schedules of the devices' teachers, the base student,
    the device students, and students that are fine-tuned for int8. `augmentation` is that of the base student,
    `device_augmentation` that of the latter two. Raises `ValueError` for settings that do not go together, and for a
    dtype that is not in `COMPUTED_IN`.
    """

    seed: int = sourced(0, "of the students; teachers have one of their own, so that runs can share them")
    dtype: str = sourced(DEFAULT_DTYPE, "of the students at inference, as the budget counts them")
    front_end: FrontEnd = FrontEnd()
    """How log-mels are computed."""
    recording: RecordingDevices = RecordingDevices()
    """Which recording devices are clean, and which are real."""
    waves: WaveAugmentation = WaveAugmentation()
    """What is done to waves in every training."""
    teachers_seed: int = sourced(0, "of the teachers")
    teachers: TeacherSettings = sourced(
        TeacherSettings(augmentation=replace(MASKING_AND_ROLL, roll_frames=0)),
        f"{_ON_WAVES}; otherwise EfficientAT's",
    )
    device_teachers: Schedule = sourced(Schedule(20, 32, 1e-4), "the paper gives none: a fraction of the general")
    base: Schedule = sourced(Schedule(150, 256, 5e-3), _BASELINE)
    augmentation: Augmentation = sourced(Augmentation(roll_frames=0), _ON_WAVES)
    devices: Schedule = sourced(Schedule(50, 256, 5e-4, warm_up=0.25), _BASELINE)
    device_augmentation: Augmentation = sourced(
        Augmentation(roll_frames=0, mixstyle_probability=0.0), f"{_ON_WAVES}; no Freq-MixStyle, as the DCASE baseline"
    )
    fine_tuning: Schedule = sourced(
        Schedule(10, 256, 1e-4), "none is known: where int8 costs too much, a fifth of the devices' schedule, slower"
    )
    distillation: Distillation = Distillation()
    """The loss of students."""
    limits: Limits = sourced(Limits(), "DCASE 2025 Task 1")

    def __post_init__(self) -> None:
        require(self.dtype in COMPUTED_IN, "dtype", self.dtype, f"one of {', '.join(COMPUTED_IN)}")
        rate, mels = self.front_end.sample_rate, self.front_end.mels
        frames = self.front_end.frames(rate)
        require(self.waves.roll_samples <= rate, "waves.roll_samples", self.waves.roll_samples, f"at most {rate}")
        for each in (self.teachers.augmentation, self.augmentation, self.device_augmentation):
            require(each.mask_bands <= mels, "mask_bands", each.mask_bands, f"at most {mels}")
            require(each.mask_frames <= frames, "mask_frames", each.mask_frames, f"at most {frames}")
            require(each.roll_frames <= frames, "roll_frames", each.roll_frames, f"at most {frames}")
        if self.distillation.views:
            for each in (self.augmentation, self.device_augmentation):
                each.require_views()


def computed_in(dtype: str) -> str:
    """The name of the torch dtype that students compute in here, such as float32, given their inference dtype.

    Raises `KeyError` for a dtype that is not in `COMPUTED_IN`.
    """
    return str(COMPUTED_IN[dtype]).removeprefix("torch.")


_PAPER = TrainingSettings()
_UNIFORM_MIXUP = Augmentation(roll_frames=0, mixstyle_probability=0.0, mixup_alpha=1.0)

PRESETS = {
    "best": replace(
        _PAPER,
        teachers=replace(_PAPER.teachers, which="mn", cross_fitted=True),
        augmentation=_UNIFORM_MIXUP,
        device_augmentation=_UNIFORM_MIXUP,
        distillation=Distillation(temperature=1.0, views=32),
    ),
    "paper": _PAPER,
    "quick": replace(
        _PAPER,
        teachers=replace(_PAPER.teachers, epochs=2, batch=32),
        device_teachers=Schedule(2, 16, 1e-3),
        base=Schedule(10, 32, 5e-3),
        devices=Schedule(4, 16, 5e-4),
        fine_tuning=Schedule(2, 16, 1e-4),
        augmentation=Augmentation(roll_frames=0, mixstyle_probability=0.1, mixup_alpha=0.1),
        device_augmentation=Augmentation(roll_frames=0, mixstyle_probability=0.0, mixup_alpha=0.1),
    ),
}
"""Settings by the name of `--preset`.

`paper`: the DynaCP paper's training where it speaks, hours on a GPU. `best`: the same, but teachers are the four MN,
cross-fitted, students hear the same views as teachers, mixed by weights uniform in [0, 1] and without Freq-MixStyle,
and what these say is not softened (studies/teaching). `quick`: as the paper's, but minutes on two CPU cores, for
teachers that start from random weights and know little.
"""

PRESET_SOURCES = {
    "best": "preset best: brought most on real audio (studies/teaching)",
    "paper": "preset paper",
    "quick": "preset quick: minutes on two cores",
}
"""Where the settings that a preset changes come from, in words, by its name."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to train, on what, and where to keep it."""

    architecture: Architecture
    """The students' architecture, with any number of classes: they get as many as the data has."""
    settings: TrainingSettings
    """All other settings."""
    data: Path
    """The folder of the data set, in TAU's layout."""
    run: Path
    """The folder of the run."""
    teachers: Path
    """The folder of the teachers, which may be another run's, to share them."""
    cache: Path
    """The folder that decoded clips are kept in."""
    responses: Path | None = None
    """The folder of impulse responses that augment clips of the clean device; None: no such augmentation."""
    unlabelled: Path | None = None
    """The folder of audio without labels, which the base student hears as well; None: there is none."""
    device: str = "cpu"
    """The torch device to train on, such as cpu or cuda."""


def claim_run(plan: Plan) -> None:
    """Write what the plan asks for into the run's `RUN_FILE`; the folder is made if need be.

    Settings of an earlier plan are replaced. Raises `StageError` if the folder is the run of another architecture, and
    `OSError` if it cannot be written.
    """
    shared = plan.teachers != plan.run / TEACHERS
    content = plain(
        {
            "architecture": plan.architecture.to_json(),
            "settings": asdict(plan.settings),
            "teachers": plan.teachers.absolute() if shared else None,
            "responses": plan.responses and plan.responses.absolute(),
            "unlabelled": plan.unlabelled and plan.unlabelled.absolute(),
        }
    )
    plan.run.mkdir(parents=True, exist_ok=True)
    with FileLock(plan.run / "run.lock"):
        stored = _stored(plan.run)
        if stored is not None and stored["architecture"] != content["architecture"]:
            raise StageError(
                f"{plan.run} is the run of another architecture, {Architecture.from_json(stored['architecture'])}; "
                f"this one is {plan.architecture}. Take another --out."
            )
        if stored != content:
            write_text(plan.run / RUN_FILE, json.dumps(content, indent=2) + "\n")


def read_plan(folder: Path, data: Path, cache: Path) -> Plan:
    """The plan that a run was made by, with these folders, and the CPU as its device.

    Raises `StageError` for a folder that is no run, `SettingError` for a run with settings that no longer exist.
    """
    content = read_run(folder)
    teachers, responses, unlabelled = (content.get(name) and Path(content[name]) for name in _FOLDERS)
    return Plan(
        architecture=Architecture.from_json(content["architecture"]),
        settings=restored(TrainingSettings(), content["settings"]),
        data=data,
        run=folder,
        teachers=teachers or folder / TEACHERS,
        cache=cache,
        responses=responses,
        unlabelled=unlabelled,
    )


def read_run(folder: Path) -> dict[str, Any]:
    """What a run's `RUN_FILE` holds, as parsed JSON: `architecture` (a JSON text), `settings`, and folders.

    `settings` is a dict with nested names. `teachers`, `responses` and `unlabelled` are paths, or None: the run's own
    folder, no responses, and no audio without labels.
    Raises `StageError` for a folder that is no run.
    """
    content = _stored(folder)
    if content is None:
        raise StageError(
            f"{folder} is no run: it has no {RUN_FILE}, or a damaged one; `python -m dynacp train ARCH --out "
            f"{shlex.quote(str(folder))}` makes or mends it."
        )
    return content


def _stored(folder: Path) -> dict[str, Any] | None:
    """The content of RUN/run.json, or None if there is none that can be read and used."""
    try:
        content = read_json(folder / RUN_FILE)
        Architecture.from_json(content["architecture"]), COMPUTED_IN[content["settings"]["dtype"]]
        [Path(content[name]) for name in _FOLDERS if content.get(name) is not None]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return content
