"""How fast a student trains: our loop against a plain one like the DCASE baseline's, samples per second in one run.

    python -m benchmarks.training --data PATH [--device cuda]

Both train Table 1 on labels, with the same batches, Freq-MixStyle and optimiser, on 256 x 89 inputs, each in a process
of its own and on one thread, as trainings side by side have it (`dynacp train --jobs`). The plain loop does for every
batch what the baseline's data loader and module do: read each wav, resample it to 32 kHz, and compute the mel
spectrogram (torchaudio's, with a hop that gives 89 frames); the training step is PyTorch's own. Ours takes the waves
decoded before from one memory-mapped array (on a GPU: from its memory), rolls them, perturbs the mel bank's edges and
computes the log-mels, and steps as `benchmarks.step` shows. The time to fill that array is shown as well: a run pays it
once, not once an epoch.

Notes. With something else training on the other of two cores (an EPYC with AVX2): 2.2 times as fast (80 against 36
samples/s). The plain loop spends 34 % of its time on its data. Ours spends a tenth on Fourier transforms; dense
convolutions take 35 % of it, the gradients of norms and of dilated layers 17 and 7 %.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import numpy as np
import soundfile as sf
import torch
from platformdirs import user_cache_path
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional
from torchaudio.transforms import MelSpectrogram, Resample

from benchmarks.apart import apart
from dynacp.audio.augmentation_settings import Augmentation, WaveAugmentation
from dynacp.audio.batches import ClipSource, Waves
from dynacp.audio.cache import waves
from dynacp.audio.features import FrontEnd
from dynacp.audio.scenes import write_scenes
from dynacp.audio.tau import Clips, training_clips
from dynacp.student.architecture import TABLE1, with_classes
from dynacp.student.model import DynaCP
from dynacp.training.examples import Augmented
from dynacp.training.loop import one_hot, train
from nas.scoring.score import ScoreSettings

T = TypeVar("T")

LOOP, CACHE, RATE = "dynacp.training.loop", user_cache_path("dynacp"), 44_100
BATCH, PLAIN_BATCHES, OWN_BATCHES, ROUNDS = 64, 6, 18, 3
HOP_FOR_89_FRAMES = 363
"""32,000 samples / 363 + 1 = 89 frames."""


@dataclass
class PlainClips:
    """Clips read, resampled and transformed anew for every batch; knows how long each part took."""

    clips: Clips
    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: {"read wavs": 0.0, "resample": 0.0, "mel": 0.0})

    def __post_init__(self) -> None:
        self._resample = Resample(RATE, 32_000)
        self._mel = MelSpectrogram(32_000, n_fft=4096, win_length=3072, hop_length=HOP_FOR_89_FRAMES, n_mels=256).to(
            self.device
        )

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, clips: Tensor, _generator: torch.Generator) -> Tensor:
        read = self._timed("read wavs", lambda: [torch.from_numpy(_read(self.clips.files[i])) for i in clips.tolist()])
        sounds = self._timed("resample", lambda: torch.stack([self._resample(sound) for sound in read]))
        return self._timed("mel", lambda: torch.log(self._mel(sounds.to(self.device)) + 1e-5).unsqueeze(1))

    def _timed(self, part: str, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = work()
        self.seconds[part] += time.perf_counter() - started
        return result


def _read(file: Path) -> np.ndarray:
    return sf.read(file, dtype="float32")[0]


def own_rate(root: Path, device: str) -> float:
    """Samples a second of our loop."""
    clips = training_clips(root)
    source = Waves(
        waves(clips, RATE, CACHE),
        np.arange(len(clips)),
        torch.device(device),
        front_end=FrontEnd(),
        augmentation=WaveAugmentation(),
        eligible=np.zeros(len(clips), dtype=bool),
    )
    return samples_a_second(source, one_hot(clips.labels, len(clips.classes)), OWN_BATCHES)


def plain_rate(root: Path, device: str) -> tuple[float, dict[str, float]]:
    """Samples a second of the plain loop, and the share of each part of its data's in the whole time."""
    clips = training_clips(root)
    source, labels = PlainClips(clips, torch.device(device)), one_hot(clips.labels, len(clips.classes))
    with patch(f"{LOOP}.fast_training", nullcontext), patch(f"{LOOP}.keep_freed_memory", lambda: None):
        rate = samples_a_second(source, labels, PLAIN_BATCHES)
    took = (PLAIN_BATCHES + 2) * BATCH / rate
    return rate, {part: seconds / took for part, seconds in source.seconds.items()}


def samples_a_second(source: ClipSource, labels: Tensor, batches: int) -> float:
    """Of training Table 1, after two batches that are not timed."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = DynaCP(with_classes(TABLE1, labels.shape[1]))
    clock: list[float] = []

    def stepped() -> None:
        if source.device.type == "cuda":
            torch.cuda.synchronize()
        clock.append(time.perf_counter())

    recipe = replace(
        ScoreSettings().recipe,
        samples=(batches + 2) * BATCH,
        batch=BATCH,
        augmentation=Augmentation(roll_frames=0, mixup_alpha=0.0),
    )
    examples = Augmented(source, (labels,), recipe.augmentation)
    train(network, examples, functional.cross_entropy, recipe, seed=0, after_step=stepped)
    return (len(clock) - 2) * BATCH / (clock[-1] - clock[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="in TAU's layout (default: the built-in scenes)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    root, device, console = options.data or write_scenes(CACHE / "scenes"), options.device, Console(width=120)
    clips, started = training_clips(root), time.perf_counter()
    waves(clips, RATE, CACHE)
    decoding = time.perf_counter() - started
    rounds = [(apart(plain_rate, root, device), apart(own_rate, root, device)) for _ in range(ROUNDS)]
    plain, own = (statistics.median(rates) for rates in zip(*((plain, own) for (plain, _), own in rounds), strict=True))
    parts = rounds[0][0][1]

    where = "one thread" if device == "cpu" else torch.cuda.get_device_name()
    view = Table(title=f"Training Table 1, batch {BATCH}, {where}: median of {ROUNDS} rounds", title_justify="left")
    for name in ("loop", "samples/s", "ratio"):
        view.add_column(name, justify="left" if name == "loop" else "right")
    view.add_row("plain: wavs, resampling and mel in the loop", f"{plain:.1f}", "1")
    view.add_row("ours: decoded once, log-mel by batch", f"{own:.1f}", f"{own / plain:.1f}")
    console.print(view)
    console.print(f"Decoding {len(clips):,} clips once (or finding them decoded): {decoding:.1f} s.")
    console.print("Plain loop: " + ", ".join(f"{part} {share:.0%}" for part, share in parts.items()))


if __name__ == "__main__":
    main()
