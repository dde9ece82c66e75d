"""The real checkpoint, on real audio."""

from pathlib import Path

import numpy as np
import soundfile
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from teacher_networks import parameters, seeded
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import resample

from dynacp.audio.features import FrontEnd, LogMel
from dynacp.efficientat import MN, load_checkpoint

REAL = Path("weights") / "mn04_as_mAP_432.pt"

NATIVE = FrontEnd(
    sample_rate=32_000, n_fft=1024, window_samples=800, hop_samples=320, mels=128, f_min_range=10, f_max_range=2000
)


def esc10(folder: Path) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Waves [clips, samples] at 44.1 kHz, class numbers and folds: of each class and fold the first four clips."""
    waves, labels, folds = [], [], []
    for label, scene in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for fold in range(1, 5):
            for path in sorted(scene.glob(f"{fold}-*.ogg"))[:4]:
                wave, rate = soundfile.read(path, frames=220_500, dtype="float32")
                assert rate == 44_100
                waves.append(functional.pad(torch.from_numpy(wave), (0, 220_500 - len(wave))))
                labels.append(label)
                folds.append(fold)
    return torch.stack(waves), np.array(labels), np.array(folds)


def probe(network: nn.Module, inputs: Tensor, labels: np.ndarray, folds: np.ndarray) -> float:
    """Accuracy on fold 4 of a linear classifier of the embeddings, fitted to folds 1 to 3."""
    network.eval()
    with torch.inference_mode():
        embeddings = torch.cat([network(part)[1] for part in inputs.split(16)]).numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(embeddings[folds < 4], labels[folds < 4])
    return float(model.score(embeddings[folds == 4], labels[folds == 4]))


def test_the_real_checkpoint_loads_every_one_of_its_312_tensors(shared: Path) -> None:
    stored = torch.load(shared / REAL, weights_only=True)
    network = load_checkpoint(shared / REAL, classes=527)
    assert (type(network), network.width, len(stored)) == (MN, 0.4, 312)
    assert all(torch.equal(tensor, stored[key]) for key, tensor in network.state_dict().items())
    assert parameters(network) == 983_599


def test_the_real_checkpoint_separates_real_sounds_as_random_weights_do_not(shared: Path) -> None:
    waves, labels, folds = esc10(shared / "data" / "esc10")
    real = load_checkpoint(shared / REAL, classes=527)
    random = seeded(MN, 0.4, 527)
    native = LogMel(NATIVE)(resample(waves, 44_100, 32_000))
    students = LogMel()(waves[:, :44_100])
    measured = {
        "native, 5 s": (probe(real, native, labels, folds), probe(random, native, labels, folds)),
        "students', 1 s": (probe(real, students, labels, folds), probe(random, students, labels, folds)),
    }
    # measured: (0.975, 0.65) and (0.70, 0.40) of 40 clips
    for front_end, (trained, untrained) in measured.items():
        assert trained - untrained > 0.15, (front_end, trained, untrained)
    assert measured["native, 5 s"][0] > 0.9
