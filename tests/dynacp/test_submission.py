"""`python -m dynacp export RUN --to dcase`: the package, installed, used by a stand-in for the challenge's scripts."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
import torch
from tiny import CLASSES, RATE

from dynacp.__main__ import main
from dynacp.export.package import ALLOWED, vendored
from dynacp.export.trained import ExportError
from dynacp.predict import Student

ORGANISERS = Path(__file__).with_name("organisers.py")
ALONE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("dynacp", "budget", "nas", "numba", "pandas", "omegaconf", "rich"):
            raise ModuleNotFoundError(f"{name} is not there where submissions are evaluated")

sys.meta_path.insert(0, Absent())
sys.path.insert(0, sys.argv.pop(1))
import runpy
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script as in an environment that has the submission, what that depends on, and the script's torchinfo."""


def export(run: Path, data: Path, *more: str) -> int:
    cache = str(data.parent / "cache")
    return main(["export", str(run), "--to", "dcase", "--data", str(data), "--cache", cache, *more])


@pytest.fixture(scope="module")
def installed(calm: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package in it."""
    run = shutil.copytree(calm, tmp_path_factory.mktemp("submitted") / "run")
    assert export(run, data, "--name", "Team_Lab", "--index", "2") == 0
    target = run.parent / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, str(target), str(run / "exports" / "dcase-2")], check=True)
    return target


@pytest.fixture(scope="module")
def evaluation(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of known and unknown devices, in the evaluation set's layout."""
    root = tmp_path_factory.mktemp("evaluation")
    (root / "audio").mkdir()
    wavs, rows = sorted((data / "audio").glob("*.wav")), list[tuple[str, ...]]()
    for number, (wav, device) in enumerate(zip(wavs, ["a", "b", "s1", "unknown", "s9", "a"], strict=False)):
        shutil.copy(wav, root / "audio" / f"{number}.wav")
        rows.append((f"audio/{number}.wav", device))
    (root / "evaluation_setup").mkdir()
    tiny.write_rows(root / "evaluation_setup" / "fold1_test.csv", ("filename", "device_id"), rows)
    return root


@pytest.fixture(scope="module")
def evaluated(installed: Path, evaluation: Path, data: Path) -> dict[str, object]:
    """What the stand-in found."""
    script = [sys.executable, "-c", ALONE, str(installed), str(ORGANISERS), "Team_Lab_task1", "2"]
    run = subprocess.run([*script, str(data), str(evaluation)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_every_device_s_submodel_keeps_the_limits_as_the_challenge_counts(evaluated: dict[str, object]) -> None:
    """Table 1 with three classes in place of ten: 61,644 - 7 x (104 + 2) parameters, its head smaller alike."""
    parameters = 61_644 - 7 * (104 + 2)
    macs = 28_938_900 - 7 * (104 * 16 * 12 + 2)
    assert evaluated["costs"] == {
        device: {"macs": macs, "bytes": 2 * parameters}
        for device in ("a", "b", "c", *(f"s{number}" for number in range(1, 11)))
    }


def test_each_clip_is_predicted_by_its_device_s_student(
    evaluated: dict[str, object], evaluation: Path, calm: Path
) -> None:
    assert evaluated["classes"] == sorted(CLASSES)
    for number, name in enumerate(["a", "b", "s1", "base", "base", "a"]):
        student = Student.load(calm, name)
        wave = sf.read(evaluation / "audio" / f"{number}.wav", dtype="float32")[0]
        ours = student.probabilities(wave[None])
        assert evaluated["rows"][number] == pytest.approx(ours.tolist(), abs=1e-3)  # type: ignore[index]


def test_a_clip_that_is_no_second_of_audio_is_refused_and_another_rate_resampled(
    installed: Path, tmp_path: Path
) -> None:
    sf.write(tmp_path / "long.wav", np.zeros(RATE + 1), RATE)
    sf.write(tmp_path / "slow.wav", np.random.default_rng(0).normal(0, 0.1, (22_050, 2)), 22_050)
    (tmp_path / "text.wav").write_text("no audio")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from Team_Lab_task1 import Team_Lab_task1_2 as api\n"
        "print(api.predict(sys.argv[1:], ['a'] * len(sys.argv[1:])))\n"
    )

    def said(name: str) -> str:
        command = [sys.executable, "-c", ALONE, str(installed), str(script), str(tmp_path / name)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return run.stdout + run.stderr

    assert "long.wav lasts 1.000 s, but a student hears exactly one second" in said("long.wav")
    assert "text.wav cannot be read as audio" in said("text.wav")
    assert re.search(r"\(\[tensor\(\[.*\]\)\], \['crackle', 'hum', 'whistle'\]\)", said("slow.wav"))


def test_a_package_holds_python_torch_torchaudio_soundfile_and_numpy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = vendored("some_package._system")
    assert {"submission.py", "model.py", "features.py", "layers.py"} <= sources.keys()
    for source in sources.values():
        assert not re.search(r"^\s*(from|import) (dynacp|budget|nas)\b", source, re.MULTILINE)
    monkeypatch.setattr("dynacp.export.package.ALLOWED", ALLOWED - {"torchaudio"})
    with pytest.raises(ExportError, match=r"imports torchaudio\S*, which a submission may not need"):
        vendored("some_package._system")


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ((), r"`--to dcase` needs `--name`"),
        (("--name", "Team-Lab"), r"`--name` must be a Python name .* but got 'Team-Lab'"),
        (("--name", "class"), r"but got 'class'"),
        (("--name", "Team", "--index", "0"), r"`--index` must be at least 1, but got 0"),
        (("--name", "Team", "--waveform"), r"`--waveform` does not go with `--to dcase`"),
        (("--name", "Team", "--max-macs", "20000000"), r"counted as dcase .* over by \S+ MACs; .*no form of it fits"),
    ],
)
def test_what_cannot_be_packaged_is_refused(
    calm: Path, data: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], complaint: str
) -> None:
    assert export(calm, data, *more) == 2
    assert re.search(complaint, capsys.readouterr().err)
    assert not (calm / "exports").exists()


def test_the_package_has_a_card(calm: Path, data: Path, tmp_path: Path) -> None:
    run = shutil.copytree(calm, tmp_path / "run")
    assert export(run, data, "--name", "Team_Lab") == 0
    card = (run / "exports/dcase-1/README.md").read_text()
    assert "library_name: pytorch" in card
    assert 'Team_Lab_task1_1.predict(["clip.wav"], ["a"])' in card
    assert "| s1 | 60,902 | 121,804 |" in card  # 61,644 - 7 x (104 + 2)


def test_packaged_states_are_the_run_s_in_its_dtype(installed: Path, calm: Path) -> None:
    stored = torch.load(installed / "Team_Lab_task1/resources/Team_Lab_task1_2.pt", weights_only=True)
    assert set(stored["students"]) == {"base", *tiny.TRAINING_DEVICES}
    weight = stored["students"]["b"]["head.conv.weight"]
    assert weight.dtype == torch.float16
    assert torch.equal(weight, Student.load(calm, "b").network.state_dict()["head.conv.weight"])
