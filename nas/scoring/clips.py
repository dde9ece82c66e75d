"""What a search works on: training and validation clips as log-mels, and the teachers' logits of all of them.

`SearchData` holds neither the paths of recordings nor test clips, so no search can look at these.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache, partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import Timeout

from budget.witness import by_torch
from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.batches import Features
from dynacp.audio.cache import log_mels
from dynacp.audio.features import FrontEnd
from dynacp.audio.tau import VALIDATION_FOLDS, class_by_device, parts_of_whole_groups, training_clips
from dynacp.stages import FORMAT, Stage, StageStore
from dynacp.teachers.ensemble import Ensemble, left_out
from dynacp.teachers.fine_tuning import TeacherData, load_teacher, teacher_stage
from dynacp.teachers.settings import TeacherSettings
from dynacp.teachers.views import Viewing, mean_logits_of_views

FRONT_END = FrontEnd()
"""The front end of every search: how log-mels are made of audio."""


@dataclass(frozen=True, kw_only=True)
class SearchData:
    """Clips as the search sees them, divided in one of several ways into a training and a validation part."""

    log_mels: np.ndarray
    """Log-mels in half precision, [clips, mels, frames], perhaps a memory-mapped file."""
    labels: np.ndarray
    """The class of each clip: int64 [clips], indices into `classes`."""
    groups: np.ndarray
    """The place where each clip was recorded: str [clips], its city and location."""
    held_out: np.ndarray
    """The clips that are validation in each way to divide them: bool [ways, clips]."""
    left_out: Callable[[int], np.ndarray]
    """Gives the clips that each of so many cross-fitted teachers leaves out, as `dynacp.teachers.ensemble.left_out`
    does: bool [teachers, clips]."""
    way: int = 0
    """The row of `held_out` in use."""
    classes: tuple[str, ...]
    """The names of the classes."""
    front_end: FrontEnd
    """How log-mels are made of audio."""
    device: torch.device
    """Where networks are trained."""
    key: str
    """A digest of the clips and of the first way to divide them; the same data give the same key."""
    tables: dict[str, pd.DataFrame]
    """`training` and `validation`: clips of the first way by class (rows) and device (columns), with totals."""

    @cached_property
    def training_rows(self) -> np.ndarray:
        """The indices of the training clips, ascending."""
        return np.flatnonzero(~self.held_out[self.way])

    @cached_property
    def validation_rows(self) -> np.ndarray:
        """The indices of the validation clips, ascending."""
        return np.flatnonzero(self.held_out[self.way])

    @cached_property
    def training(self) -> Features:
        """The log-mels of the training clips, in batches on `device`."""
        return Features(self.log_mels, self.training_rows, self.device)

    @cached_property
    def validation(self) -> Features:
        """The log-mels of the validation clips, in batches on `device`."""
        return Features(self.log_mels, self.validation_rows, self.device)

    @property
    def training_labels(self) -> np.ndarray:
        """The labels of the training clips, int64 [training clips]."""
        return self.labels[self.training_rows]

    @property
    def validation_labels(self) -> np.ndarray:
        """The labels of the validation clips, int64 [validation clips]."""
        return self.labels[self.validation_rows]

    def teachers(self, settings: TeacherSettings, seed: int, folder: Path) -> dict[str, Stage]:
        """The stages of the teachers by name, stored in `folder`, with logits of training and validation clips.

        A search fine-tunes on log-mels as they are decoded.
        """
        origins, classes = settings.identity(), len(self.classes)
        shape = (1, 1, self.front_end.mels, self.front_end.frames(self.front_end.sample_rate))
        macs = {family: by_torch(settings.build(family, classes).eval(), shape) for family in settings.families}
        stages = {}
        for member, kept in zip(settings.members, self._kept(settings), strict=True):
            data = self._taught(kept)
            stages[member.name] = teacher_stage(
                f"teachers/{member.name}",
                folder,
                member,
                data,
                start=origins[member.family.name],
                build=partial(settings.build, member.family, classes),
                recipe=settings.recipe(member, data.number),
                seed=seed,
                macs=macs[member.family],
            )
        return stages

    def _kept(self, settings: TeacherSettings) -> np.ndarray:
        """The clips that each teacher does not leave out: bool [teachers, clips]."""
        teachers = len(settings.members)
        if settings.cross_fitted:
            return ~self.left_out(teachers)
        return np.ones((teachers, len(self.labels)), dtype=bool)

    def _taught(self, kept: np.ndarray) -> TeacherData:
        """What a teacher is given that is fine-tuned on the training clips which are `kept` (bool [clips])."""
        rows = self.training_rows[kept[self.training_rows]]
        return TeacherData(
            classes=len(self.classes),
            seen=np.isin(np.concatenate([self.training_rows, self.validation_rows]), rows),
            labels=lambda: self.labels[rows],
            training=lambda: Features(self.log_mels, rows, self.device),
            predicted=lambda: self.training + self.validation,
            made_with=self._made_with,
            augmented_by={},
        )

    def ensemble(
        self,
        settings: TeacherSettings,
        *,
        seed: int,
        folder: Path,
        on_step: Callable[[str, int, int], None],
        views: tuple[int, Augmentation] | None = None,
    ) -> Ensemble:
        """What the teachers say of the training and of the validation clips, and their accuracies on these.

        Teachers that are not finished in `folder` yet are fine-tuned, each with a seed that follows from `seed` and its
        name; workers that share the folder share the work. With `views` they are asked about so many views of all
        clips too, which are augmented so. `on_step(name, step, steps)` reports progress over all, from step 1 on.

        Raises `CheckpointError` for a checkpoint that cannot be used, `UserError` for a width that no teacher has,
        `SettingError` for an augmentation that no view has, and `StageError` for a training that diverges, or where
        memory or disk runs out.
        """
        store, teachers = StageStore(), self.teachers(settings, seed, folder)
        viewing = self._viewing(settings, *views, seed) if views else None
        asked = self._asked(viewing, teachers, store) if viewing else {}
        _make_all({**teachers, **asked}, store, on_step)
        labels = np.concatenate([self.training_labels, self.validation_labels])
        ensemble = Ensemble.of(teachers, store, labels, len(self.training_labels))
        if viewing is None:
            return ensemble
        return replace(ensemble, views=viewing.views(), view_logits=mean_logits_of_views(asked.values(), store))

    def view_bytes(self, settings: TeacherSettings, views: tuple[int, Augmentation]) -> int:
        """What is stored of what all teachers say of so many views of all clips."""
        return self._viewing(settings, *views, seed=0).bytes(len(self.classes))

    def _viewing(self, settings: TeacherSettings, number: int, augmentation: Augmentation, seed: int) -> Viewing:
        """Views of all clips; none is mixed with one of another part of any way to divide them."""
        everything = Features(self.log_mels, np.arange(len(self.labels)), self.device)
        return Viewing(lambda: everything, number, augmentation, seed, self._kept(settings), self.held_out)

    def _asked(self, viewing: Viewing, teachers: dict[str, Stage], store: StageStore) -> dict[str, Stage]:
        """The stages of what each teacher says of the views, by name."""
        stages = {}
        for index, (name, teacher) in enumerate(teachers.items()):
            load = partial(load_teacher, teacher, store, len(self.classes))
            stages[f"{name}, views"] = viewing.stage(teacher, index, self._made_with, load)
        return stages

    @property
    def _made_with(self) -> dict[str, object]:
        """What identifies the clips and how they are heard, as plain JSON."""
        return {"format": FORMAT, "data": self.key, "front_end": asdict(self.front_end)}


def _make_all(stages: dict[str, Stage], store: StageStore, on_step: Callable[[str, int, int], None]) -> None:
    """Make those of the stages, by name, that are not finished: first those that no other worker is at."""
    total, done, unmade = sum(stage.steps for stage in stages.values()), 0, dict(stages)
    for wait in (False, True):
        for name, stage in list(unmade.items()):
            if not wait and any(need in unmade.values() for need in stage.needs):
                continue
            count = iter(range(done + 1, total + 1))
            try:
                store.make(stage, lambda name=name, count=count: on_step(name, next(count), total), wait=wait)  # type: ignore[misc]
            except Timeout:
                continue
            del unmade[name]
            done += stage.steps
            on_step(name, done, total)


def load_search_data(root: Path, *, seed: int, cache: Path, device: torch.device) -> SearchData:
    """The training split of the data set in `root`, with five ways to hold out a fifth of the city-locations.

    Way 0 is used by the search, and `seed` picks the fifth that it holds out. Clips are decoded once, into the folder
    `cache`. Raises `dynacp.audio.tau.DataError` for whatever is wrong with the data, before anything is trained, and
    `OSError` where `cache` cannot be written.
    """
    clips, front_end = training_clips(root), FRONT_END
    held_out = parts_of_whole_groups(clips, VALIDATION_FOLDS, seed=seed)
    nameless = replace(clips, files=(Path(),) * len(clips))
    array, first = log_mels(clips, front_end, cache), np.flatnonzero(held_out[0])
    identity = [Path(array.filename).stem, clips.classes, clips.labels.tolist(), first.tolist()]  # type: ignore[attr-defined]
    return SearchData(
        log_mels=array,
        labels=clips.labels,
        groups=clips.groups,
        held_out=held_out,
        left_out=lru_cache(partial(left_out, nameless)),  # teachers and their views ask, and it takes a while
        classes=clips.classes,
        front_end=front_end,
        device=device,
        key=blake2b(json.dumps(identity).encode(), digest_size=8).hexdigest(),
        tables={
            name: class_by_device(clips.take(part))
            for name, part in (("training", ~held_out[0]), ("validation", held_out[0]))
        },
    )
