"""What a full training is to do: all its settings in one place, each with its source, and two presets."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from budget.ledger import DEFAULT_DTYPE
from budget.limits import Limits
from dynacp.architecture import Architecture
from dynacp.distill import Distillation
from dynacp.features import FrontEnd
from dynacp.files import written_whole
from dynacp.settings import SettingError, sourced
from dynacp.stages import StageError, plain
from dynacp.teachers import MASKING_AND_ROLL, TeacherSettings
from dynacp.train import Augmentation, Recipe
from dynacp.waves import WaveAugmentation

_BASELINE = "the report gives none: the DCASE 2025 baseline's"
_ON_WAVES = "the roll is done on the waves"


@dataclass(frozen=True)
class Schedule:
    """How long a training is and how fast: AdamW on a one-cycle cosine that peaks after `warm_up` of the steps."""

    epochs: int
    batch: int
    peak_rate: float
    weight_decay: float = 1e-4
    warm_up: float = 0.1

    def recipe(self, clips: int, augmentation: Augmentation) -> Recipe:
        """For so many clips."""
        return Recipe(self.epochs * clips, self.batch, self.peak_rate, self.weight_decay, self.warm_up, augmentation)


@dataclass(frozen=True)
class TrainingSettings:
    """All that a run depends on besides the layout, the data and the files it is given; `paper` is the default.

    Raises `SettingError` for a dtype that no student is trained and evaluated in here.
    """

    seed: int = sourced(0, "of the students; teachers have one of their own, so that runs can share them")
    dtype: str = sourced(DEFAULT_DTYPE, "of the students at inference, as the budget counts them")
    front_end: FrontEnd = FrontEnd()
    waves: WaveAugmentation = WaveAugmentation()
    teachers_seed: int = sourced(0, "of the teachers")
    teachers: TeacherSettings = sourced(
        TeacherSettings(augmentation=replace(MASKING_AND_ROLL, roll_frames=0)),
        f"{_ON_WAVES}; otherwise EfficientAT's",
    )
    device_teachers: Schedule = sourced(Schedule(20, 32, 1e-4), "the report gives none: a fraction of the general")
    base: Schedule = sourced(Schedule(150, 256, 5e-3), _BASELINE)
    augmentation: Augmentation = sourced(Augmentation(roll_frames=0), _ON_WAVES)
    devices: Schedule = sourced(Schedule(50, 256, 5e-4, warm_up=0.25), _BASELINE)
    device_augmentation: Augmentation = sourced(
        Augmentation(roll_frames=0, mixstyle_probability=0.0), f"{_ON_WAVES}; no Freq-MixStyle, as the DCASE baseline"
    )
    distillation: Distillation = Distillation()
    limits: Limits = sourced(Limits(), "DCASE 2025 Task 1")

    def __post_init__(self) -> None:
        if self.dtype not in ("float16", "float32"):
            raise SettingError(f"`dtype` must be float16 or float32, which students run in, but got {self.dtype!r}.")


PRESETS = {
    "paper": TrainingSettings(),
    "quick": replace(
        TrainingSettings(),
        teachers=replace(TrainingSettings().teachers, epochs=2, batch=32),
        device_teachers=Schedule(2, 16, 1e-3),
        base=Schedule(10, 32, 5e-3),
        devices=Schedule(4, 16, 5e-4),
        augmentation=Augmentation(roll_frames=0, mixstyle_probability=0.1, mixup_alpha=0.1),
        device_augmentation=Augmentation(roll_frames=0, mixstyle_probability=0.0, mixup_alpha=0.1),
    ),
}
"""`paper`: the report's training where it speaks, hours on a GPU. `quick`: minutes on two CPU cores."""


@dataclass(frozen=True)
class Plan:
    """What to train, on what, and where to keep it. `teachers` may be another run's, to share them."""

    architecture: Architecture
    settings: TrainingSettings
    data: Path
    run: Path
    teachers: Path
    cache: Path
    responses: Path | None = None
    device: str = "cpu"


def claim_run(plan: Plan) -> None:
    """Keep what the plan asks for in RUN/run.json. Raises `StageError` for the run of another layout."""
    content = plain({"architecture": plan.architecture.to_json(), "settings": asdict(plan.settings)})
    file = run_file(plan.run)
    if file.exists() and (stored := read_run(plan.run)["architecture"]) != content["architecture"]:
        raise StageError(
            f"{plan.run} is the run of another layout:\n  {stored}\nin place of\n  {content['architecture']}\n"
            "Take another --out."
        )
    plan.run.mkdir(parents=True, exist_ok=True)
    with written_whole(file) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_run(folder: Path) -> dict[str, Any]:
    """Layout and settings of a run. Raises `StageError` for a folder that is none."""
    try:
        content = json.loads(run_file(folder).read_text(encoding="utf-8"))
        content["architecture"], content["settings"]["dtype"]
    except (OSError, ValueError, KeyError, TypeError):
        raise StageError(
            f"{folder} is no run: {run_file(folder)} is not there or not whole; `python -m dynacp train ARCH --out "
            f"{folder}` makes one."
        ) from None
    return content


def run_file(folder: Path) -> Path:
    return folder / "run.json"
