"""`python -m dynacp export RUN... --to dcase`: a package, installed, used by a stand-in for the organisers' scripts."""

import json
import os
import re
import shutil
import subprocess
import sys
import weakref
from dataclasses import asdict
from importlib.metadata import distribution, distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import tiny
import torch
from packaging.requirements import Requirement
from sklearn.metrics import accuracy_score
from tiny import CLASSES, RATE

from dynacp.__main__ import main
from dynacp.audio.features import FrontEnd
from dynacp.audio.reading import AudioError
from dynacp.export.package import OF_MODULES
from dynacp.export.submission import System, log_mels, predict
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import Plan, TrainingSettings, claim_run
from dynacp.pipeline.prediction import Student
from dynacp.stages import Stage, StageStore
from dynacp.student.architecture import Architecture, with_classes
from dynacp.student.model import DynaCP

ORGANISERS = Path(__file__).parents[2] / "helpers" / "organisers.py"
PACKAGE = "Team_Lab_task1"


def export(runs: list[Path], data: Path, *more: str) -> int:
    cache = str(data.parent / "cache")
    return main(["export", *map(str, runs), "--to", "dcase", "--data", str(data), "--cache", cache, *more])


def untrained(run: Path, data: Path, cache: Path, architecture: Architecture) -> Path:
    """A finished run, as far as exports know, of students with random weights, each with its own. Returns `run`."""
    settings = TrainingSettings()
    plan = Plan(
        architecture=architecture, settings=settings, data=data, run=run, teachers=run / "teachers", cache=cache
    )
    claim_run(plan)
    pipeline = Pipeline(plan)
    for number, name in enumerate(("base", *pipeline.dataset.devices)):
        torch.manual_seed(number)
        content = {
            "architecture": pipeline.architecture.to_json(),
            "classes": list(pipeline.dataset.training.classes),
            "front_end": asdict(settings.front_end),
            "state": DynaCP(pipeline.architecture).state_dict(),
        }
        stage = Stage(
            name=name,
            path=run / "students" / name,
            settings={"data": pipeline.dataset.key},
            needs=(),
            make=lambda _, kept=content: kept,  # type: ignore[misc]
        )
        StageStore().make(stage, lambda: None)
    return run


@pytest.fixture(scope="module")
def runs(finished_run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run that was trained, and one of another architecture; their exports are kept in the first."""
    root = tmp_path_factory.mktemp("submitted")
    return [
        shutil.copytree(finished_run, root / "finished_run"),
        untrained(root / "lean", data, data.parent / "cache", tiny.LEAN),
    ]


@pytest.fixture(scope="module")
def installed(runs: list[Path], data: Path) -> Path:
    """A folder with the installed package of two systems, all that it requires, and nothing else.

    Where the package is written is a link.
    """
    (runs[0] / "exports").mkdir()
    (runs[0] / "exports" / "dcase").symlink_to(runs[0].parent / "elsewhere")
    assert export(runs, data, "--name", "Team_Lab") == 0
    target = runs[0].parent / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*pip, str(target), str(runs[0] / "exports" / "dcase")], check=True)
    link_what_is_required(target)
    return target


def link_what_is_required(target: Path) -> None:
    """Link into a folder what its distribution requires, and what that requires, from this environment."""
    (submission,) = distributions(path=[str(target)])
    waiting = [(Requirement(text), frozenset[str]()) for text in submission.requires or ()]
    seen = set[str]()
    while waiting:
        needed, extras = waiting.pop()
        wanted = needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras})
        if not wanted or str(needed) in seen:
            continue
        seen.add(str(needed))
        found = distribution(needed.name)
        assert needed.specifier.contains(found.version), f"{needed} is required, but {found.version} is here"
        for name in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (target / name).exists():
                (target / name).symlink_to(str(found.locate_file(name)))
        waiting += [(Requirement(text), frozenset(needed.extras)) for text in found.requires or ()]


def alone(installed: Path, *command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in the environment that holds the package and what it requires: no other packages, no checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-S", "-P", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


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
def predictions(installed: Path, evaluation: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the stand-in for the challenge's scripts wrote."""
    folder = tmp_path_factory.mktemp("organisers")
    sets = ("--dev_set_dir", str(data), "--eval_set_dir", str(evaluation))
    for script, system, more in (("complexity", "1", ()), ("evaluate", "1", sets), ("evaluate", "2", sets)):
        asked = (script, "--submission_name", PACKAGE, "--submission_index", system, *more)
        run = alone(installed, str(ORGANISERS), *asked, folder=folder)
        assert run.returncode == 0, run.stderr
    return folder / "predictions"


def test_the_environment_holds_what_the_package_declares_and_nothing_else(installed: Path, tmp_path: Path) -> None:
    script = "import sys, importlib.util; print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))"
    declared = ("Team_Lab_task1", "numpy", "pandas", "sklearn", "soundfile", "torch", "torchaudio", "torchinfo")
    others = ("dynacp", "budget", "nas", "rich", "omegaconf", "matplotlib", "pytest", "pip")
    assert alone(installed, "-c", script, *declared, *others, folder=tmp_path).stdout.split() == [*declared]


def test_every_device_s_submodel_keeps_the_limits_as_the_challenge_counts(predictions: Path) -> None:
    """Table 1 with three classes in place of ten: 61,644 - 7 x (104 + 2) parameters, its head smaller alike."""
    parameters = 61_644 - 7 * (104 + 2)
    macs = 28_938_900 - 7 * (104 * 16 * 12 + 2)
    assert json.loads((predictions / f"{PACKAGE}_1" / "complexity.json").read_text())["per_device"] == {
        device: {"MACs": macs, "Params": 2 * parameters}
        for device in ("a", "b", "c", *(f"s{number}" for number in range(1, 11)))
    }


@pytest.mark.parametrize("system", [1, 2])
def test_each_clip_is_predicted_by_its_device_s_student_of_its_system(
    predictions: Path, evaluation: Path, data: Path, runs: list[Path], system: int
) -> None:
    run, folder = runs[system - 1], predictions / f"{PACKAGE}_{system}"
    table = pd.read_csv(folder / "output.csv", sep="\t")
    assert list(table.columns) == ["filename", "scene_label", *sorted(CLASSES)]
    for number, name in enumerate(["a", "b", "s1", "base", "base", "a"]):
        wave = sf.read(evaluation / "audio" / f"{number}.wav", dtype="float32")[0]
        ours = Student.load(run, name).probabilities(wave[None])
        assert table[sorted(CLASSES)].to_numpy()[number] == pytest.approx(ours.tolist(), abs=1e-3)
    listed = pd.read_csv(data / "split_setup" / "test.csv", sep="\t")["filename"]
    test = pd.read_csv(data / "meta.csv", sep="\t").set_index("filename").loc[listed.tolist()]
    students = {name: Student.load(run, name) for name in ("base", *tiny.TRAINING_DEVICES)}
    guesses = []
    for file, device in test["source_label"].items():
        student = students.get(device, students["base"])
        wave = sf.read(data / str(file), dtype="float32")[0]
        guesses.append(student.classes[student.probabilities(wave[None]).argmax()])
    accuracy = json.loads((folder / "test_accuracy.json").read_text())["Test Accuracy"]
    assert accuracy == pytest.approx(100 * accuracy_score(test["scene_label"], guesses))


def test_systems_share_the_code_and_have_students_of_their_own_in_the_run_s_dtype(
    installed: Path, predictions: Path, runs: list[Path]
) -> None:
    assert len(list(installed.glob(f"{PACKAGE}/**/model.py"))) == 1
    for number, run in enumerate(runs, start=1):
        stored = torch.load(installed / PACKAGE / "resources" / f"{PACKAGE}_{number}.pt", weights_only=True)
        assert set(stored["students"]) == {"base", *tiny.TRAINING_DEVICES}
        weight = stored["students"]["b"]["head.conv.weight"]
        assert weight.dtype == torch.float16
        assert torch.equal(weight, Student.load(run, "b").network.state_dict()["head.conv.weight"])
        state = torch.load(predictions / f"{PACKAGE}_{number}" / "model_state_dict.pt", weights_only=True)
        assert len(state) == sum(len(student) for student in stored["students"].values())


def test_the_package_has_a_card_for_each_system(installed: Path, runs: list[Path]) -> None:
    folder = runs[0] / "exports" / "dcase"
    readme = (folder / "README.md").read_text()
    assert f"| `{PACKAGE}_2` | lean | [{PACKAGE}_2.md]({PACKAGE}_2.md) |" in readme
    assert f"--submission_name {PACKAGE} --submission_index 1" in readme
    card = (folder / f"{PACKAGE}_1.md").read_text()
    assert "library_name: pytorch" in card
    assert f'{PACKAGE}_1.predict(["clip.wav"], ["a"])' in card
    assert "| s1 | 60,902 | 121,804 |" in card  # 61,644 - 7 x (104 + 2)
    assert f"system {PACKAGE}_2" in (folder / f"{PACKAGE}_2.md").read_text()


def test_a_link_to_where_the_package_shall_be_stays(installed: Path, runs: list[Path]) -> None:
    assert (runs[0] / "exports" / "dcase").is_symlink()
    assert (runs[0].parent / "elsewhere" / "pyproject.toml").is_file()


STRANGE = ("iPhone.6", "keys", "items", "forward", "training", "a b", "数", "0")


def system(students: tuple[str, ...] = ("base", "a")) -> System:
    architecture = with_classes(tiny.LEAN, len(CLASSES))
    states = {}
    for number, name in enumerate(students):
        torch.manual_seed(number)
        states[name] = DynaCP(architecture).state_dict()
    return System(
        {
            "architecture": architecture.to_json(),
            "classes": sorted(CLASSES),
            "front_end": asdict(FrontEnd()),
            "dtype": "float32",
            "base": students[0],
            "students": states,
        }
    )


def test_devices_of_any_name_have_their_student() -> None:
    strange = system(("base", *STRANGE))
    weights = [strange.student(name).state_dict()["head.conv.weight"] for name in ("base", *STRANGE)]
    assert len({weight.sum().item() for weight in weights}) == 1 + len(STRANGE)
    for unknown in ("unknown", "1", "", "model", "iPhone"):
        assert strange.student(unknown) is strange.student("base")


def test_a_run_with_devices_of_strange_names_is_packaged(data: Path, tmp_path: Path) -> None:
    renamed = tiny.rename_devices(data, tmp_path / "data", {"a": "iPhone.6", "b": "keys", "s1": "forward"})
    run = untrained(tmp_path / "run", renamed, data.parent / "cache", tiny.LEAN)
    cache = str(data.parent / "cache")
    options = ["--to", "dcase", "--name", "Team", "--data", str(renamed), "--cache", cache]
    assert main(["export", str(run), *options]) == 0
    stored = torch.load(run / "exports/dcase/Team_task1/resources/Team_task1_1.pt", weights_only=True)
    assert set(stored["students"]) == {"base", "iPhone.6", "keys", "forward"}


def test_one_log_mel_is_held_at_a_time(data: Path) -> None:
    """27,000 clips of an evaluation set would take 2.5 GB."""
    packaged, made, most = system(), list[weakref.ref[torch.Tensor]](), 0

    def note(_module: object, _inputs: object, log_mel: torch.Tensor) -> None:
        nonlocal most
        most = max(most, 1 + sum(earlier() is not None for earlier in made))
        made.append(weakref.ref(log_mel))

    packaged.front_end.register_forward_hook(note)
    files = sorted((data / "audio").glob("*.wav"))[:12]
    assert len(predict(packaged, files, ["a"] * 12, use_cuda=False)) == 12
    assert len(made) == 12
    assert most <= 2
    with pytest.raises(ValueError, match=r"a device id for each of the 12 files, but got 1"):
        predict(packaged, files, ["a"], use_cuda=False)


def test_a_clip_that_is_no_second_of_audio_is_refused_and_another_rate_resampled(data: Path, tmp_path: Path) -> None:
    sf.write(tmp_path / "long.wav", np.zeros(RATE + 1), RATE)
    sf.write(tmp_path / "slow.wav", np.random.default_rng(0).normal(0, 0.1, (22_050, 2)), 22_050)
    (tmp_path / "text.wav").write_text("no audio")
    packaged = system()
    with pytest.raises(
        AudioError, match=r"long\.wav has 44,101 samples at 44,100 Hz, but needs 44,100, one second exactly"
    ):
        predict(packaged, [tmp_path / "long.wav"], ["a"], use_cuda=False)
    with pytest.raises(AudioError, match=r"text\.wav cannot be read as audio"):
        predict(packaged, [tmp_path / "text.wav"], ["a"], use_cuda=False)
    (logits,) = predict(packaged, [tmp_path / "slow.wav"], ["a"], use_cuda=False)
    assert logits.shape == (len(CLASSES),)
    (log_mel,) = log_mels(packaged, [tmp_path / "slow.wav"])
    assert log_mel.shape == (1, 1, 256, 89)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ((), r"`--to dcase` needs `--name`"),
        (("--name", "Team-Lab"), r"`--name` must be a Python name .* but got 'Team-Lab'"),
        (("--name", "class"), r"but got 'class'"),
        (("--name", "Team", "--waveform"), r"`--waveform` does not go with `--to dcase`"),
        (("--name", "Team", "--max-macs", "20000000"), r"counted as dcase .* over by \S+ MACs; .*no format of it fits"),
    ],
)
def test_what_cannot_be_packaged_is_refused(
    finished_run: Path, data: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], complaint: str
) -> None:
    assert export([finished_run], data, *more) == 2
    assert re.search(complaint, capsys.readouterr().err)
    assert not (finished_run / "exports").exists()


def test_runs_that_do_not_make_one_package_are_refused(
    finished_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(*runs: Path) -> str:
        assert export(list(runs), data, "--name", "Team") == 2
        return capsys.readouterr().err

    assert "the challenge takes 4 systems of one team, but got 5 runs" in complaint(*[finished_run] * 5)
    assert "is given twice, but each system is another run" in complaint(
        finished_run, finished_run.parent / "x" / ".." / finished_run.name
    )
    other = tiny.write_tiny(tmp_path / "other" / "data", seed=1)
    elsewhere = untrained(tmp_path / "elsewhere", other, tmp_path / "cache", tiny.LEAN)
    assert re.search(r"elsewhere was not trained on .*data: give its `--data`", complaint(finished_run, elsewhere))
    assert "is no run" in complaint(finished_run, tmp_path)
    assert not (finished_run / "exports").exists()
    arguments = ["export", str(finished_run), str(elsewhere), "--to", "onnx", "--data", str(data)]
    assert main(arguments) == 2
    assert "`--to onnx` exports one run, but got 2" in capsys.readouterr().err


def test_the_modules_of_a_package_import_what_it_declares(
    runs: list[Path], data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "dynacp.export.package.OF_MODULES", {key: OF_MODULES[key] for key in ("numpy", "soundfile", "torch")}
    )
    assert export(runs[1:], data, "--name", "Team") == 2
    assert re.search(r"imports torchaudio\S*, which a submission may not need", capsys.readouterr().err)
    assert not (runs[1] / "exports").exists()
