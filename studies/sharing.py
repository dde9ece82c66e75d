"""What several studies do alike: trainings of the pocket set, shared out to processes that each add to one table."""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch
from filelock import FileLock
from scipy.stats import t

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.teachers.settings import ALL
from dynacp.training.distillation import Distillation
from nas.scoring.clips import load_search_data
from nas.scoring.score import SHORT, TEACHERS, Scorer, ScoreSettings

GENTLE = Augmentation(mixstyle_probability=0.1, mixup_alpha=0.1)
"""Augmentation for short trainings, weaker than a full training's. On the pocket set (studies/pocket) Table 1 reaches
62 % in 3,072 samples with roll and masks alone, 45 % with Freq-MixStyle and mixup at full training's strength as well:
scores that low tell architectures apart badly.
"""

UNVIEWED = replace(SHORT, augmentation=GENTLE)
"""The short recipe of searches as they were before students and teachers heard the same views, and of labels alone."""


def study_parser(description: str | None, *, teachers: bool = True) -> argparse.ArgumentParser:
    """The options of a study that trains, with teachers or on labels alone."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=_resolved, required=True, help="the pocket or the field set")
    if teachers:
        parser.add_argument("--mn", type=_resolved, required=True, help="the teachers' checkpoint")
    parser.add_argument("--cache", type=_resolved, required=True, help="for log-mels and teachers")
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="this process does the K-th of every N things")
    return parser


def _resolved(path: str) -> Path:
    return Path(path).resolve()


T = TypeVar("T")


def share(things: Iterable[T], options: argparse.Namespace) -> list[T]:
    """Those of `--shard`."""
    shard, shards = map(int, options.shard.split("/"))
    return list(islice(things, shard - 1, None, shards))


def scorer(options: argparse.Namespace) -> Scorer:
    """A search's, on one thread. The first process that asks fine-tunes the teachers, the others wait.

    These hear all training clips and are softened, as in the paper, as the searches' were when these studies were made.
    """
    data = load_search_data(options.data, seed=0, cache=options.cache, device=torch.device("cpu"))
    teachers = replace(TEACHERS, which=ALL, mn=options.mn, cross_fitted=False)
    ensemble = data.ensemble(teachers, seed=0, folder=options.cache / "teachers", on_step=lambda *_: None)
    torch.set_num_threads(1)
    return Scorer.from_ensemble(data, ensemble, ScoreSettings(UNVIEWED, Distillation()))


def reach(differences: "pd.Series[float]") -> float:
    """Half of the 95 % interval of their mean (Student's t)."""
    return float(t.ppf(0.975, len(differences) - 1) * differences.sem())


class Rows:
    """A CSV file of which some columns are the key of a row; many processes add to it."""

    def __init__(self, file: Path, key: list[str]) -> None:
        self.file, self.key = file, key
        self._lock = FileLock(file.with_suffix(".lock"))

    def read(self) -> pd.DataFrame:
        with self._lock:
            return pd.read_csv(self.file) if self.file.exists() else pd.DataFrame(columns=self.key)

    def done(self) -> set[tuple[object, ...]]:
        """The keys of all rows."""
        return set(self.read()[self.key].itertuples(index=False, name=None))

    def keep(self, row: dict[str, object]) -> None:
        with self._lock:
            new = not self.file.exists()
            pd.DataFrame([row]).to_csv(self.file, mode="a", header=new, index=False, float_format="%.5f")
