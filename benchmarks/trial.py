"""What a trial costs: our short distillation against the plain recipe, as samples per second in the same run.

    python -m benchmarks.trial [--data PATH] [--mn FILE] [--device cuda]

Both train Table 1 by a search's default recipe, on one thread: the same loss, batches, and augmentation. The plain
recipe does in its loop what a training script without caches does for every batch: read the wavs, compute the log-mels,
ask the paper's eight teachers. The short distillation reads the log-mels of both clips that a view mixes from the
memory-mapped cache, and what the teachers say of it from memory. Its caches are built before the clock starts: once for
a whole search, not once for each of its trials.

Notes. With teachers of width 0.4, on an EPYC with AVX2: 65 samples/s against 13.4, 4.8 times as fast. The plain recipe
spends 74 % of its time on the teachers, 5 % on reading and the front end; what is left is the student's own training
step, which bounds the ratio at five. Views cost 5 ms a batch more than one clip drawn and augmented at random, of 240.
Before, the plain recipe was timed from its first batch on, with what that compiles: so measured the ratio was 5.9.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dynacp.audio.augmentation_settings import Augmentation
from dynacp.audio.batches import Features
from dynacp.audio.cache import read_wave
from dynacp.audio.features import LogMel
from dynacp.audio.scenes import write_scenes
from dynacp.audio.tau import Clips, training_clips
from dynacp.audio.views import Views
from dynacp.efficientat import Teacher
from dynacp.student.architecture import TABLE1, with_classes
from dynacp.student.model import DynaCP
from dynacp.teachers.members import MEMBERS
from dynacp.training.distillation import Distillation
from dynacp.training.examples import Augmented
from dynacp.training.loop import one_hot, train
from nas.scoring.clips import FRONT_END, SearchData, load_search_data
from nas.scoring.score import DISTILLATION, TEACHERS, Scorer, ScoreSettings

RECIPE = ScoreSettings().recipe
PLAIN_SAMPLES, SHORT_SAMPLES, WARM_UP = 256, 1_024, 32


class PlainFeatures(Features):
    """Clips decoded and transformed anew for every batch."""

    def __init__(self, clips: Clips, device: torch.device) -> None:
        self.clips, self.device, self.front_end = clips, device, LogMel(FRONT_END).to(device)
        self.seconds: dict[str, float] = {"read wavs": 0.0, "log-mels": 0.0}

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, clips: Tensor) -> Tensor:
        started, rate = time.perf_counter(), FRONT_END.sample_rate
        waves = [read_wave(self.clips.files[index], sample_rate=rate, samples=rate) for index in clips.tolist()]
        read = time.perf_counter()
        log_mels = self.front_end(torch.from_numpy(np.stack(waves)).to(self.device))
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


def plain(data: SearchData, clips: Clips, teachers: TeachersInTheLoop) -> tuple[float, dict[str, float]]:
    """Samples a second of the plain recipe, and the share in its time of each part of it."""
    source, labels = PlainFeatures(clips, data.device), one_hot(data.training_labels, len(data.classes))
    asking = Augmented(source, (labels,), Asking(**asdict(RECIPE.augmentation), teachers=teachers))
    network = DynaCP(with_classes(TABLE1, len(data.classes)))
    train(network, asking, teachers.loss, replace(RECIPE, samples=WARM_UP), seed=0)
    teachers.seconds, source.seconds = 0.0, dict.fromkeys(source.seconds, 0.0)
    started = time.perf_counter()
    train(network, asking, teachers.loss, replace(RECIPE, samples=PLAIN_SAMPLES), seed=0)
    took = time.perf_counter() - started
    parts = {**source.seconds, "teachers": teachers.seconds}
    shares = {name: seconds / took for name, seconds in parts.items()}
    return PLAIN_SAMPLES / took, {**shares, "student and augmentation": 1 - sum(shares.values())}


def short(data: SearchData) -> float:
    """Samples a second of the short distillation. What teachers said does not change what it costs."""
    clips, classes = len(data.labels), len(data.classes)
    everything = Features(data.log_mels, np.arange(clips), data.device)
    views = Views(everything, RECIPE.augmentation, cells=np.zeros(clips, dtype=np.int64), seed=0)
    said = torch.full((DISTILLATION.views, clips, classes), 1 / classes)
    scorer, network = Scorer(data, said, ScoreSettings(), views), with_classes(TABLE1, classes)
    scorer.distil(network, replace(RECIPE, samples=WARM_UP), seed=0)
    started = time.perf_counter()
    scorer.distil(network, replace(RECIPE, samples=SHORT_SAMPLES), seed=0)
    return SHORT_SAMPLES / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="in TAU's layout (default: the built-in scenes)")
    parser.add_argument("--mn", type=Path, help="an EfficientAT MN checkpoint (default: random weights, width 0.1)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu (the default) or cuda")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cache = user_cache_path("dynacp")
    root = options.data or write_scenes(cache / "scenes")
    data = load_search_data(root, seed=0, cache=cache, device=options.device)
    settings = replace(TEACHERS, mn=options.mn)
    torch.manual_seed(0)
    teachers = [settings.build(member.family, len(data.classes)).eval().to(data.device) for member in MEMBERS]
    asked = TeachersInTheLoop(teachers, DISTILLATION)
    rate, shares = plain(data, training_clips(root).take(~data.held_out[0]), asked)
    ours = short(data)
    view = Table(title=f"Table 1, batch {RECIPE.batch}, on {data.device}", title_justify="left")
    for name in ("recipe", "samples/s", "ratio"):
        view.add_column(name, justify="left" if name == "recipe" else "right")
    view.add_row("plain: wavs, mel and teachers in the loop", f"{rate:.1f}", "1")
    view.add_row("short distillation from the caches", f"{ours:.1f}", f"{ours / rate:.1f}")
    console = Console(width=120)
    console.print(view)
    console.print("plain recipe: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))


if __name__ == "__main__":
    main()
