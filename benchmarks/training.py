"""How fast a student trains: our loop against a plain one like the DCASE baseline's, samples per second in one run.

    python -m benchmarks.training --data PATH [--device cuda]

Both train Table 1 on labels, with the same batches, Freq-MixStyle and optimiser, on 256 x 89 inputs. The plain loop
does for every batch what the baseline's data loader and module do: read each wav, resample it to 32 kHz, and compute
the mel spectrogram (torchaudio's, with a hop that gives 89 frames). Ours takes the waves decoded before from one
memory-mapped array (on a GPU: from its memory), rolls them, perturbs the mel bank's edges and computes the log-mels.
The time to fill that array is shown as well: a run pays it once, not once an epoch.

Notes, of two CPU cores. Ours is 1.4 times as fast (202 against 144 samples/s on the pocket set), and could be at most
1.7 times: the student's own forward and backward pass are 58 % of the plain loop, and nothing about the data changes
them. Of that pass, batch norm takes 29 % and convolutions 34 %, at the pace of memory: batches of 16 to 64 are alike,
torch.compile gains 6 % (and takes a minute), NCHW in place of channels-last loses 37 %. Autocast to bfloat16 loses 33 %
on a processor with AMX: all else gains, but the backward pass of the depthwise convolutions takes three times as long.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile as sf
import torch
from platformdirs import user_cache_path
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torchaudio.transforms import MelSpectrogram, Resample

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
        self._resample = Resample(44_100, 32_000)
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


def samples_a_second(source: ClipSource, labels: Tensor, batches: int) -> float:
    """Of training Table 1, after two batches that are not timed."""
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
    cache, device, console = user_cache_path("dynacp"), torch.device(options.device), Console(width=120)
    clips = training_clips(options.data or write_scenes(cache / "scenes"))
    labels = one_hot(clips.labels, len(clips.classes))

    started = time.perf_counter()
    stored = waves(clips, 44_100, cache)
    decoding = time.perf_counter() - started
    own = Waves(
        stored,
        np.arange(len(clips)),
        device,
        front_end=FrontEnd(),
        augmentation=WaveAugmentation(),
        eligible=np.zeros(len(clips), dtype=bool),
    )
    plain = PlainClips(clips, device)
    rounds = [
        (samples_a_second(plain, labels, PLAIN_BATCHES), samples_a_second(own, labels, OWN_BATCHES))
        for _ in range(ROUNDS)
    ]
    plain_rate, own_rate = np.median(np.array(rounds), axis=0)

    where = f"{torch.get_num_threads()} threads" if device.type == "cpu" else torch.cuda.get_device_name()
    view = Table(title=f"Training Table 1, batch {BATCH}, {where}: median of {ROUNDS} rounds", title_justify="left")
    for name in ("loop", "samples/s", "ratio"):
        view.add_column(name, justify="left" if name == "loop" else "right")
    view.add_row("plain: wavs, resampling and mel in the loop", f"{plain_rate:.1f}", "1")
    view.add_row("ours: decoded once, log-mel by batch", f"{own_rate:.1f}", f"{own_rate / plain_rate:.1f}")
    console.print(view)
    console.print(f"Decoding {len(clips):,} clips once (or finding them decoded): {decoding:.1f} s.")
    took = ROUNDS * (PLAIN_BATCHES + 2) * BATCH / plain_rate
    console.print("Plain loop: " + ", ".join(f"{part} {spent / took:.0%}" for part, spent in plain.seconds.items()))
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=activities) as profiled:
        samples_a_second(own, labels, 4)
    key = "self_cpu_time_total" if device.type == "cpu" else "self_device_time_total"
    console.print(profiled.key_averages().table(sort_by=key, row_limit=12, max_name_column_width=44), soft_wrap=True)


if __name__ == "__main__":
    main()
