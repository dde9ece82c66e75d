"""What a search works on: training and validation clips as log-mels, and the teachers' soft labels for training.

Nothing here holds a path or the test split, so no search can look at it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dynacp.audio.batches import Features
from dynacp.audio.cache import log_mels
from dynacp.audio.features import FrontEnd
from dynacp.audio.tau import class_by_device, split_validation, training_clips
from dynacp.teachers.ensemble import Ensemble, TeacherSettings, prepare_teachers


@dataclass(frozen=True)
class SearchData:
    """Clips as the search sees them. Labels are int64 [clips], indices into `classes`."""

    training: Features
    training_labels: np.ndarray
    validation: Features
    validation_labels: np.ndarray
    classes: tuple[str, ...]
    front_end: FrontEnd
    key: str
    tables: dict[str, pd.DataFrame]
    """Numbers of clips by class and device, of the training and the validation part."""

    def ensemble(
        self, settings: TeacherSettings, *, seed: int, folder: Path, on_step: Callable[[str, int, int], None]
    ) -> Ensemble:
        """The eight teachers' summed logits for the training clips; fine-tunes those that are not in `folder`."""
        return prepare_teachers(
            (self.training, self.training_labels),
            (self.validation, self.validation_labels),
            len(self.classes),
            settings,
            data_key=self.key,
            seed=seed,
            folder=folder,
            on_step=on_step,
        )


def load_search_data(root: Path, *, seed: int, cache: Path, device: torch.device) -> SearchData:
    """The training split of the data set in `root`, decoded once, with a fifth of its locations kept for validation.

    Raises `dynacp.audio.tau.DataError` for whatever is wrong with the data, before anything is trained.
    """
    clips, front_end = training_clips(root), FrontEnd()
    training, validation = split_validation(clips, seed=seed)
    array = log_mels(clips, front_end, cache)
    row = {file: index for index, file in enumerate(clips.files)}
    rows = {name: np.array([row[file] for file in part.files]) for name, part in (("t", training), ("v", validation))}
    identity = [Path(array.filename).stem, clips.classes, clips.labels.tolist(), rows["v"].tolist()]  # type: ignore[attr-defined]
    return SearchData(
        training=Features(array, rows["t"], device),
        training_labels=training.labels,
        validation=Features(array, rows["v"], device),
        validation_labels=validation.labels,
        classes=clips.classes,
        front_end=front_end,
        key=blake2b(json.dumps(identity).encode(), digest_size=8).hexdigest(),
        tables={"training": class_by_device(training), "validation": class_by_device(validation)},
    )
