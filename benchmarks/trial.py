"""What a trial costs: our short distillation against the plain recipe, as samples per second in the same run.

    python -m benchmarks.trial --data PATH [--mn FILE]

Both train Table 1 with the same loss, batches and augmentations on the same machine. The plain recipe does in its loop
what a training script without caches does for every batch: read the wavs, compute the log-mels, ask the eight teachers.
The short distillation reads log-mels from the memory-mapped cache and the teachers' soft labels from memory. Its caches
are built before the clock starts: once for a whole search, not once for each of its trials.

Notes. With teachers of width 0.4 the plain recipe spends 65 % of its time on them, 4 % on the front end and 2 % on
reading: what the search saves is the teachers. What is left is the student's own backward pass, which this processor
runs at the pace of its memory (batch norm, pools and activations as much as convolutions), so a deeper cache would save
nothing. More threads than free cores cost a factor of ten: torch's threads spin while they wait for each other.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.batches import Features
from dynacp.audio.cache import log_mels, read_wave
from dynacp.audio.features import FrontEnd, LogMel
from dynacp.audio.scenes import write_scenes
from dynacp.audio.tau import Clips, split_validation, training_clips
from dynacp.efficientat import Teacher
from dynacp.student.architecture import TABLE1, with_classes
from dynacp.student.model import DynaCP
from dynacp.teachers.ensemble import MEMBERS
from dynacp.training.distillation import Distillation
from dynacp.training.examples import Augmented
from dynacp.training.loop import one_hot, train
from nas.scoring.score import TEACHERS, ScoreSettings

RECIPE = ScoreSettings().recipe
PLAIN_SAMPLES, SHORT_SAMPLES = 256, 1_024


class PlainFeatures(Features):
    """Clips decoded and transformed anew for every batch."""

    def __init__(self, clips: Clips, settings: FrontEnd) -> None:
        self.clips, self.settings, self.front_end = clips, settings, LogMel(settings)
        self.device = torch.device("cpu")
        self.seconds: dict[str, float] = {"read wavs": 0.0, "log-mels": 0.0}

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, clips: Tensor) -> Tensor:
        started = time.perf_counter()
        rate = self.settings.sample_rate
        waves = [read_wave(self.clips.files[index], sample_rate=rate, samples=rate) for index in clips.tolist()]
        read = time.perf_counter()
        log_mels = self.front_end(torch.from_numpy(np.stack(waves)))
        self.seconds["read wavs"] += read - started
        self.seconds["log-mels"] += time.perf_counter() - read
        return log_mels


class TeachersInTheLoop:
    """Teachers that are asked about every batch, and how many seconds that takes."""

    def __init__(self, teachers: Sequence[Teacher], distillation: Distillation) -> None:
        self.teachers, self.distillation, self.seconds = teachers, distillation, 0.0
        self.soft_of_batch = torch.empty(0)

    def ask(self, log_mels: Tensor) -> Tensor:
        """Soft labels [batch, classes] of log-mels [batch, 1, mels, frames]."""
        started = time.perf_counter()
        with torch.no_grad():
            logits = torch.stack([teacher(log_mels)[0] for teacher in self.teachers]).mean(dim=0)
        self.seconds += time.perf_counter() - started
        return self.distillation.soft_labels(logits)

    def loss(self, logits: Tensor, hard: Tensor) -> Tensor:
        """The distillation loss of a batch, by the soft labels that its augmentation left here."""
        return self.distillation.loss(logits, self.soft_of_batch, hard)


@dataclass(frozen=True, kw_only=True)
class Asking(Augmentation):
    """Asks the teachers about the batch as it is before the augmentation, then augments both."""

    teachers: TeachersInTheLoop

    def __call__(
        self, log_mels: Tensor, targets: tuple[Tensor, ...], generator: torch.Generator
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        soft = self.teachers.ask(log_mels)
        log_mels, (self.teachers.soft_of_batch, hard) = super().__call__(log_mels, (soft, *targets), generator)
        return log_mels, (hard,)


def show(plain_rate: float, short_rate: float, seconds: dict[str, float]) -> None:
    """Print both rates in samples/s, and the plain recipe's seconds by part as shares of its whole time."""
    view = Table(title=f"Table 1, batch 32, {torch.get_num_threads()} threads", title_justify="left")
    for name in ("recipe", "samples/s", "ratio"):
        view.add_column(name, justify="left" if name == "recipe" else "right")
    view.add_row("plain: wavs, mel and teachers in the loop", f"{plain_rate:.1f}", "1")
    view.add_row("short distillation from the caches", f"{short_rate:.1f}", f"{short_rate / plain_rate:.1f}")
    console = Console(width=120)
    console.print(view)
    total = PLAIN_SAMPLES / plain_rate
    parts = {**seconds, "student and augmentation": total - sum(seconds.values())}
    console.print("plain recipe: " + ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in parts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="in TAU's layout (default: the built-in scenes)")
    parser.add_argument("--mn", type=Path, help="an EfficientAT MN checkpoint (default: random weights, width 0.1)")
    options = parser.parse_args()
    cache = user_cache_path("dynacp")
    clips, _ = split_validation(training_clips(options.data or write_scenes(cache / "scenes")), seed=0)
    classes, settings = len(clips.classes), replace(TEACHERS, mn=options.mn)
    torch.manual_seed(0)
    front_end, distillation = FrontEnd(), Distillation()
    teachers = TeachersInTheLoop([settings.build(member.family, classes).eval() for member in MEMBERS], distillation)

    plain = PlainFeatures(clips, front_end)
    labels = one_hot(clips.labels, classes)
    network = with_classes(TABLE1, classes)
    plain_recipe = replace(RECIPE, samples=PLAIN_SAMPLES, augmentation=Asking(teachers=teachers))
    short_recipe = replace(RECIPE, samples=SHORT_SAMPLES, augmentation=Augmentation())
    started = time.perf_counter()
    asking = Augmented(plain, (labels,), plain_recipe.augmentation)
    train(DynaCP(network), asking, teachers.loss, plain_recipe, seed=0)
    plain_rate = PLAIN_SAMPLES / (time.perf_counter() - started)

    cached = Features(log_mels(clips, front_end, cache), np.arange(len(clips)), torch.device("cpu"))
    soft = torch.full((len(clips), classes), 1 / classes)  # what the teachers said does not change what it costs
    started = time.perf_counter()
    examples = Augmented(cached, (soft, labels), short_recipe.augmentation)
    train(DynaCP(network), examples, distillation.loss, short_recipe, seed=0)
    short_rate = SHORT_SAMPLES / (time.perf_counter() - started)

    show(plain_rate, short_rate, {**plain.seconds, "teachers": teachers.seconds})


if __name__ == "__main__":
    main()
