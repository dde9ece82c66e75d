"""What teachers say of views of clips: a stage for each teacher, stored once, and the soft labels of all together.

The views themselves are not stored, being computed from their seed. With K views, what the teachers say takes 4 K bytes
a clip and class where they are cross-fitted, and as much by each of them where all hear every clip: for the 34,900
clips of TAU and 32 views 45 MB, or 357 MB by eight general teachers, and as much again by those of devices.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.views import ViewedSource, Views, cells_of
from dynacp.efficientat import Teacher
from dynacp.stages import OnStep, Stage, StageStore, beside
from dynacp.teachers.ensemble import heard_of
from dynacp.training.loop import TRAINING_WORK, batches, predict

FLOAT_BYTES = 4
"""The bytes of a logit."""


@dataclass(frozen=True)
class Viewing:
    """Which views of some clips there are, and which teacher hears which clip.

    `source` gives the clips that views are made of, `number` is the number of views, `augmentation` what is done to
    them, and `seed` decides it. `seen` says on which clips each teacher was fine-tuned, bool [teachers, clips]. Clips
    are mixed with clips that the same teachers hear, and of which `apart`, bool [..., clips], says the same.
    """

    source: Callable[[], ViewedSource]
    number: int
    augmentation: Augmentation
    seed: int
    seen: np.ndarray
    apart: np.ndarray

    @property
    def heard(self) -> np.ndarray:
        """Which clips each teacher speaks of, as `heard_of` gives them: bool [teachers, clips]."""
        return heard_of(self.seen)

    def bytes(self, classes: int) -> int:
        """What is stored of what all teachers say of the views, with so many classes."""
        return FLOAT_BYTES * self.number * int(self.heard.sum()) * classes

    def views(self) -> Views:
        """The views of all clips. Raises `SettingError` for an augmentation that views cannot have."""
        cells = cells_of(self.heard, self.apart)
        return Views(self.source(), self.augmentation, cells=cells, seed=self.seed)

    def stage(self, teacher: Stage, index: int, made_with: Mapping[str, Any], load: Callable[[], Teacher]) -> Stage:
        """The stage of what the finished stage `teacher`, the one of this index, says of the views of what it hears.

        It stores `logits` (float32 [views, heard clips, classes]) and `heard` (bool [clips]), beside the teacher.
        `made_with` identifies the clips and what is done to them before the augmentation, as plain JSON. `load` gives
        the teacher's network.
        """
        heard = self.heard[index]
        settings = {
            **made_with,
            "views": self.number,
            "augmentation": asdict(self.augmentation),
            "seed": self.seed,
            "heard": blake2b(np.vstack([self.heard, self.apart]).tobytes(), digest_size=8).hexdigest(),
        }
        key = blake2b(json.dumps(settings).encode(), digest_size=4).hexdigest()

        def make(on_step: OnStep) -> dict[str, Any]:
            network, views, rows = load(), self.views(), torch.from_numpy(np.flatnonzero(heard))
            said = [predict(network, _View(views, rows, view), after_batch=on_step) for view in range(self.number)]
            return {"logits": torch.stack(said), "heard": torch.from_numpy(heard)}

        steps = self.number * batches(int(heard.sum()))
        return Stage(
            name=f"{teacher.name}/views",
            path=beside(teacher.path, f"-views-{key}"),
            settings=settings,
            needs=(teacher,),
            make=make,
            steps=steps,
            work=steps * teacher.work / (TRAINING_WORK * teacher.steps),
        )


def told_beforehand(views: int, size: int) -> str:
    """A sentence about so many views, and the bytes that what teachers say of them takes."""
    return f"Teachers are asked about {views} views of each clip: {size / 1e3:,.0f} kB to store."


def mean_logits_of_views(stages: Iterable[Stage], store: StageStore) -> Tensor:
    """The mean of what teachers say of each view of a clip, over those that heard it: float32 [views, clips, classes].

    On the CPU. Raises `StageError` for a stage that is not finished.
    """
    stored = [store.load(stage) for stage in stages]
    heard = torch.stack([each["heard"] for each in stored])
    views, _, classes = stored[0]["logits"].shape
    total = torch.zeros(views, heard.shape[1], classes)
    for each in stored:
        total[:, each["heard"]] += each["logits"]
    return total / heard.sum(dim=0).unsqueeze(-1)


class _View:
    """One view of the clips at some rows, as `predict` takes clips."""

    def __init__(self, views: Views, rows: Tensor, number: int) -> None:
        self._views, self._rows, self._number, self.device = views, rows, number, views.device

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, clips: Tensor) -> Tensor:
        return self._views.batch(self._rows[clips], self._number)
