"""What the teachers start from, and how they are fine-tuned.

The paper gives no widths of the masks. These are EfficientAT's 48 bands, and its 192 frames of 1,000 as the same share
of 89.
"""

from dataclasses import asdict, dataclass, replace
from hashlib import blake2b, file_digest
from pathlib import Path

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.efficientat import FAMILIES, CheckpointError, Family, Teacher, load_checkpoint
from dynacp.settings import SettingError, require, sourced
from dynacp.teachers.members import MEMBERS, Member
from dynacp.training.schedule import Recipe, Schedule

ALL = "all"
"""The value of `which` that takes all teachers."""

LEAST_CROSS_FITTED = 3
"""Of fewer teachers, one that leaves out its share of a class's locations may hear no more than one."""

MASKING_AND_ROLL = Augmentation(mask_frames=17, mixstyle_probability=0.0)
"""The augmentation of a teacher with masking and roll; the module's docstring derives the widths."""


@dataclass(frozen=True)
class TeacherSettings:
    """Which teachers there are, where they start, and how they are fine-tuned.

    `mn` and `dymn` are official EfficientAT checkpoints. Without `dymn`, DyMN starts from the MN checkpoint
    ("MN-initialised"); without either, both start from random weights at the widths given here. Raises `SettingError`
    for values that make no training; widths and files are first looked at when a teacher is built.
    """

    which: str = sourced(ALL, "the paper's eight; else those whose names begin so, such as mn")
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
    cross_fitted: bool = sourced(False, "as in the paper; if true, each leaves out its share of the groups")
    augmentation: Augmentation = MASKING_AND_ROLL
    """The augmentation of a teacher with masking and roll; the others leave out one or both."""

    def __post_init__(self) -> None:
        for name in ("mn_rate", "dymn_rate", "scratch_rate"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        self.schedule(FAMILIES["mn"])
        names = ", ".join(member.name for member in MEMBERS)
        require(bool(self.members), "which", self.which, f"{ALL}, or how some of these begin: {names}")
        require(
            len(self.members) >= LEAST_CROSS_FITTED or not self.cross_fitted,
            "which",
            self.which,
            f"{LEAST_CROSS_FITTED} teachers or more where `cross_fitted` is true",
        )

    @property
    def members(self) -> tuple[Member, ...]:
        """The teachers."""
        return tuple(member for member in MEMBERS if self.which == ALL or member.name.startswith(self.which))

    @property
    def families(self) -> tuple[Family, ...]:
        """The families of the teachers."""
        return tuple(dict.fromkeys(member.family for member in self.members))

    def recipe(self, member: Member, clips: int) -> Recipe:
        """How a teacher is fine-tuned on that many clips; raises `SettingError` for none."""
        augmentation = self.augmentation
        if not member.masking:
            augmentation = replace(augmentation, mask_bands=0, mask_frames=0)
        if not member.roll:
            augmentation = replace(augmentation, roll_frames=0)
        return self.schedule(member.family).recipe(clips, augmentation)

    def checkpoint(self, family: Family) -> Path | None:
        """The file that a family's weights come from: its own, or that of the family it is made from; or None."""
        own: Path | None = getattr(self, family.name)
        return own or (self.checkpoint(FAMILIES[family.made_from]) if family.made_from else None)

    def width(self, family: Family) -> float:
        """The width of a family's networks that start from random weights; 1 is MobileNetV3-Large's."""
        return float(getattr(self, f"{family.name}_width"))

    def described(self) -> list[str]:
        """A sentence on the teachers of each family: how many there are, and what they start from."""
        families = [member.family for member in self.members]
        return [f"{family.title} teachers: {families.count(family)}, {self.start(family)}." for family in self.families]

    def start(self, family: Family) -> str:
        """What a family starts from, in words, such as "from random weights, width 0.1"."""
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
        """A teacher before fine-tuning, new each time; random parts come from torch's global generator: seed it before.

        Raises `CheckpointError` for a file that is no checkpoint of the family, `UserError` for a width that none has.
        """
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
        """Raise `UserError` (`CheckpointError` for a checkpoint) for settings that no teacher can be built from.

        Or for a checkpoint that none would start from.
        """
        used = {self.checkpoint(family) for family in self.families}
        for name in FAMILIES:
            file = getattr(self, name)
            if file not in {None, *used}:
                raise SettingError(
                    f"`--{name} {file}`: none of the teachers starts from it, which are those of `teachers.which` "
                    f"{self.which!r}. Leave it out, or add `--set teachers.which={ALL}`."
                )
        for family in self.families:
            self.build(family, classes)

    def identity(self) -> dict[str, object]:
        """All settings that the teachers depend on, as plain JSON; checkpoints are named by their content.

        Besides settings by their names, the name of each of their families -> its `rate`, and its `width` or
        `checkpoint` (a hash).
        Raises `OSError` for a checkpoint that cannot be read.
        """
        return {
            "which": self.which,
            **{family.name: self._origin(family) for family in self.families},
            "epochs": self.epochs,
            "batch": self.batch,
            "weight_decay": self.weight_decay,
            "warm_up": self.warm_up,
            "cross_fitted": self.cross_fitted,
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
