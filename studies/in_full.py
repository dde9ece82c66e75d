"""Full trainings on a whole training split, judged on its test split, and comparisons of them that know both noises."""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import t
from torch import Tensor, nn

from dynacp.audio.batches import Features
from dynacp.audio.cache import log_mels
from dynacp.audio.features import FrontEnd
from dynacp.audio.recording_devices import OVERALL
from dynacp.audio.tau import test_clips
from dynacp.pipeline.intervals import CONFIDENCE, Bootstrap
from dynacp.training.loop import macro_accuracy, one_hot, predict


class TestSplit:
    """The test clips of a data set, and what networks make of them."""

    def __init__(self, root: Path, front_end: FrontEnd, cache: Path) -> None:
        self.clips = test_clips(root)
        array = log_mels(self.clips, front_end, cache)
        self.features = Features(array, np.arange(len(self.clips)), torch.device("cpu"))

    def judged(self, network: nn.Module) -> dict[str, object]:
        """Its accuracy, and what it takes every clip for: a letter each, a for the first class."""
        return self.decided(predict(network, self.features))

    def decided(self, logits: Tensor) -> dict[str, object]:
        """The same of a network's logits [clips, classes]."""
        decided = logits.argmax(dim=1).tolist()
        letters = "".join(string.ascii_letters[each] for each in decided)
        return {"accuracy": macro_accuracy(logits, self.clips.labels), "decided": letters}

    def as_logits(self, decided: str) -> Tensor:
        """Logits [clips, classes] that decide so."""
        return one_hot(np.array([string.ascii_letters.index(each) for each in decided]), len(self.clips.classes))


class Difference(NamedTuple):
    """A difference of mean test accuracies, in percentage points, with its 95 % interval."""

    value: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        return f"{self.value:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def summary(trained: pd.DataFrame, test: TestSplit, *, reference: str) -> pd.DataFrame:
    """A row for each network: its MACs, its accuracy on the test split, and how far it is from the reference.

    `trained` has a row for each training, with the columns network, seed, macs, and those of `TestSplit.judged`.
    """
    apart, told = differences(trained, test, reference=reference), []
    for name, mine in trained.groupby("network", sort=False):
        accuracies = 100 * mine["accuracy"]
        scatter = f" ± {accuracies.std():.1f}" if len(mine) > 1 else ""
        told.append(
            {
                "network": name,
                "MMACs": f"{mine['macs'].iloc[0] / 1e6:.2f}",
                "test accuracy, %": f"{accuracies.mean():.1f}{scatter} ({len(mine)})",
                f"against {reference}, points (95 %)": str(apart.get(str(name), "")),
            }
        )
    return pd.DataFrame(told)


def differences(trained: pd.DataFrame, test: TestSplit, *, reference: str) -> Mapping[str, Difference]:
    """How far each network is from the reference, over the seeds that both have, from two on.

    An interval covers both noises: test recordings are drawn again, alike for both sides, and the variance of the
    differences between seeds is added (Student's t, with Satterthwaite's degrees of freedom).
    """
    bootstrap = Bootstrap(test.clips, test.clips.device_names)
    draws = {
        (row["network"], row["seed"]): bootstrap.accuracies(test.as_logits(row["decided"]))[OVERALL].to_numpy()
        for row in trained.to_dict("records")
    }
    seeds_of = trained.groupby("network", sort=False)["seed"].agg(set)
    told = {}
    for name, seeds in seeds_of.items():
        shared = sorted(seeds & seeds_of[reference])
        if name != reference and len(shared) > 1:
            apart = np.stack([draws[name, seed] - draws[reference, seed] for seed in shared])
            told[str(name)] = _with_both_noises(100 * apart)
    return told


def _with_both_noises(apart: np.ndarray) -> Difference:
    """From differences [seeds, draws], of which the first draw is the test split itself."""
    number, mean = len(apart), apart.mean(axis=0)
    of_recordings, of_seeds = float(mean[1:].var(ddof=1)), float(apart[:, 0].var(ddof=1)) / number
    both = of_recordings + of_seeds
    freedom = (number - 1) * (both / of_seeds) ** 2 if of_seeds else np.inf
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(both))
    return Difference(float(mean[0]), float(mean[0]) - reach, float(mean[0]) + reach, number)
