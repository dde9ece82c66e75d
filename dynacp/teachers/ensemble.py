"""The eight general teachers: four MN and four DyMN, fine-tuned on the training split, and their summed logits.

As in the paper (section 2.1), each family is fine-tuned four times: time-frequency masking on or off, time roll on or
off. The paper gives no widths of the masks; these are EfficientAT's 48 bands, and its 192 frames of 1,000 as the same
share of 89.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b, file_digest
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dynacp.audio.augmentation import Augmentation
from dynacp.audio.batches import ClipSource, Features
from dynacp.audio.cache import stored_array
from dynacp.efficientat import FAMILIES, CheckpointError, Family, Teacher, load_checkpoint
from dynacp.files import written_whole
from dynacp.settings import require, sourced
from dynacp.training.loop import macro_accuracy, one_hot, predict, train
from dynacp.training.schedule import Recipe, Schedule

MASKING_AND_ROLL = Augmentation(mask_frames=17, mixstyle_probability=0.0)
"""The augmentation of a teacher with masking and roll; the module's docstring derives the widths."""


@dataclass(frozen=True)
class TeacherSettings:
    """Where the teachers start, and how they are fine-tuned.

    `mn` and `dymn` are official EfficientAT checkpoints. Without `dymn`, DyMN starts from the MN checkpoint
    ("MN-initialised"); without either, both start from random weights at the widths given here.
    """

    mn: Path | None = sourced(None, "given with --mn")
    dymn: Path | None = sourced(None, "given with --dymn")
    mn_width: float = sourced(0.1, "without checkpoints: the smallest that teaches at all")
    dymn_width: float = sourced(0.1, "without checkpoints: the smallest that teaches at all")
    epochs: int = sourced(80, "the paper gives none: EfficientAT's on DCASE 2020")
    batch: int = sourced(64, "the paper gives none: EfficientAT's on DCASE 2020")
    mn_rate: float = sourced(8e-4, "peak, from a checkpoint: EfficientAT's on DCASE 2020")
    dymn_rate: float = sourced(3e-4, "peak, from a checkpoint: EfficientAT's on DCASE 2020")
    scratch_rate: float = sourced(1e-2, "peak, from random weights: the best of a few short runs")
    weight_decay: float = sourced(1e-4, "the paper gives none: CP-JKU's for students (EfficientAT has 0)")
    warm_up: float = sourced(0.25, "share of the steps before the peak; the paper gives none, chosen here")
    augmentation: Augmentation = MASKING_AND_ROLL

    def __post_init__(self) -> None:
        for name in ("mn_rate", "dymn_rate", "scratch_rate"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        self.schedule(FAMILIES["mn"])

    def checkpoint(self, family: Family) -> Path | None:
        """The file that a family's weights come from: its own, or that of the family that it is made from."""
        own: Path | None = getattr(self, family.name)
        return own or (self.checkpoint(FAMILIES[family.made_from]) if family.made_from else None)

    def width(self, family: Family) -> float:
        """The width of a family's networks that start from random weights."""
        return float(getattr(self, f"{family.name}_width"))

    def start(self, family: Family) -> str:
        """What a family starts from, in words."""
        path = self.checkpoint(family)
        if path is None:
            return f"from random weights, width {self.width(family)}"
        own = getattr(self, family.name) is not None
        return (
            f"from checkpoint {path.name}"
            if own
            else f"{FAMILIES[str(family.made_from)].title}-initialised from {path.name}"
        )

    def build(self, family: Family, classes: int) -> Teacher:
        """A teacher before fine-tuning; random parts come from torch's global generator. Raises `CheckpointError`."""
        path = self.checkpoint(family)
        if path is None:
            return family.network(self.width(family), classes)
        network, own = load_checkpoint(path, classes=classes), getattr(self, family.name) is not None
        wanted = family if own else FAMILIES[str(family.made_from)]
        if not isinstance(network, wanted.network):
            raise CheckpointError(
                f"{path}: holds a {type(network).__name__}, but was given as the {wanted.title} checkpoint; "
                "`--mn` takes an MN, `--dymn` a DyMN."
            )
        return network if own or family.convert is None else family.convert(network, classes)

    def check(self, classes: int) -> None:
        """Raise `UserError` (`CheckpointError` for a checkpoint) for settings that no teacher can be built from."""
        for family in FAMILIES.values():
            self.build(family, classes)

    def identity(self) -> dict[str, object]:
        """All settings that the teachers depend on, and no others; checkpoints are named by their content."""
        return {
            **{name: self._origin(family) for name, family in FAMILIES.items()},
            "epochs": self.epochs,
            "batch": self.batch,
            "weight_decay": self.weight_decay,
            "warm_up": self.warm_up,
            "augmentation": asdict(self.augmentation),
        }

    def rate(self, family: Family) -> float:
        """The peak learning rate of a family's fine-tuning."""
        if self.checkpoint(family) is None:
            return self.scratch_rate
        return float(getattr(self, f"{family.name}_rate"))

    def schedule(self, family: Family) -> Schedule:
        """How a family is fine-tuned. Raises `SettingError` for settings that make no schedule."""
        return Schedule(self.epochs, self.batch, self.rate(family), self.weight_decay, self.warm_up)

    def _origin(self, family: Family) -> dict[str, object]:
        path = self.checkpoint(family)
        start = {"width": self.width(family)} if path is None else {"checkpoint": _content(path)}
        return {**start, "rate": self.rate(family)}


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


@dataclass(frozen=True)
class Member:
    """One teacher's place in the ensemble."""

    family: Family
    masking: bool
    roll: bool

    @property
    def name(self) -> str:
        return f"{self.family.name}-{'masking' if self.masking else 'plain'}-{'roll' if self.roll else 'still'}"

    def recipe(self, settings: TeacherSettings, clips: int) -> Recipe:
        augmentation = settings.augmentation
        if not self.masking:
            augmentation = replace(augmentation, mask_bands=0, mask_frames=0)
        if not self.roll:
            augmentation = replace(augmentation, roll_frames=0)
        return settings.schedule(self.family).recipe(clips, augmentation)


MEMBERS = tuple(Member(*choice) for choice in product(FAMILIES.values(), (False, True), (False, True)))


@dataclass(frozen=True)
class Ensemble:
    """Summed logits [training clips, classes] of the unaugmented clips, and each teacher's validation accuracy."""

    summed_logits: Tensor
    accuracies: dict[str, float]
    accuracy: float
    key: str

    @property
    def fingerprint(self) -> str:
        """A hash of the logits: machines and numbers of threads that round otherwise come to other teachers."""
        return blake2b(self.summed_logits.numpy().tobytes(), digest_size=4).hexdigest()


def chance_warning(accuracies: Mapping[str, float], labels: np.ndarray, clips: str) -> str | None:
    """A warning about teachers whose macro accuracy is within two standard errors of guessing; None where none is.

    `accuracies` are by teacher, on clips with these labels; `clips` names the clips.
    """
    counts = np.unique(labels, return_counts=True)[1]
    chance = 1 / len(counts)
    error = math.sqrt(chance * (1 - chance) * np.sum(1 / counts)) / len(counts)
    weak = [f"{name} {accuracy:.1%}" for name, accuracy in accuracies.items() if accuracy <= chance + 2 * error]
    if not weak:
        return None
    return (
        f"Teachers not clearly better than guessing ({chance:.1%}) on {clips}: {', '.join(weak)}. Students learn "
        "little from them: fine-tune for more epochs, start from checkpoints (--mn, --dymn), or check the labels."
    )


def prepare_teachers(
    training: tuple[Features, np.ndarray],
    validation: tuple[Features, np.ndarray],
    classes: int,
    settings: TeacherSettings,
    *,
    data_key: str,
    seed: int,
    folder: Path,
    on_step: Callable[[str, int, int], None],
) -> Ensemble:
    """Fine-tune what is not in `folder` yet, and return the ensemble.

    `training` and `validation` are (log-mels, labels [clips]); `data_key` names their content. Each finished teacher
    and its logits are stored at once, so an interrupted run goes on with the next teacher. `on_step(name, step, steps)`
    reports progress over all teachers.
    """
    identity = json.dumps({"data": data_key, "seed": seed, **settings.identity()}, sort_keys=True)
    key = blake2b(identity.encode(), digest_size=8).hexdigest()
    home = folder / f"teachers-{key}"
    home.mkdir(parents=True, exist_ok=True)
    clips = len(training[0]), len(validation[0])
    total = sum(member.recipe(settings, clips[0]).steps for member in MEMBERS)
    done, summed = 0, np.zeros((sum(clips), classes), dtype=np.float32)
    accuracies = {}
    for member in MEMBERS:
        recipe = member.recipe(settings, clips[0])

        def fill(out: np.ndarray, *, member: Member = member, done: int = done) -> None:
            count = iter(range(done + 1, total + 1))
            torch.manual_seed(seed + MEMBERS.index(member))
            teacher = settings.build(member.family, classes)
            fine_tune(
                teacher,
                *training,
                classes,
                member.recipe(settings, clips[0]),
                seed=seed + MEMBERS.index(member),
                after_step=lambda: on_step(member.name, next(count), total),
            )
            with written_whole(home / f"{member.name}.pt") as partial:
                temperature = getattr(teacher, "temperature", None)  # a DyMN's is no part of its state
                torch.save({"state": teacher.state_dict(), "temperature": temperature}, partial)
            out[:] = np.concatenate([predict(teacher, features).numpy() for features, _ in (training, validation)])

        logits = stored_array(home / f"{member.name}.npy", summed.shape, np.float32, fill)
        done += recipe.steps
        on_step(member.name, done, total)
        summed += logits
        accuracies[member.name] = macro_accuracy(torch.from_numpy(logits[clips[0] :].copy()), validation[1])
    accuracy = macro_accuracy(torch.from_numpy(summed[clips[0] :]), validation[1])
    return Ensemble(torch.from_numpy(summed[: clips[0]]), accuracies, accuracy, key)


def fine_tune(
    teacher: Teacher,
    clips: ClipSource,
    labels: np.ndarray,
    classes: int,
    recipe: Recipe,
    *,
    seed: int,
    after_step: Callable[[], None],
) -> float:
    """Train a teacher in place on labels [clips]; returns the last loss, as `train` does."""
    return train(
        teacher,
        clips,
        (one_hot(labels, classes),),
        functional.cross_entropy,
        recipe,
        seed=seed,
        after_step=after_step,
        after_epoch=teacher.epoch_ends,
    )
