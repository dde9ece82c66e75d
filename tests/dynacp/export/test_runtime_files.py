"""`python -m dynacp export` in int8 and for ExecuTorch, on a run of a network that is exported in seconds."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile as sf
import tiny
import torch
from executorch.runtime import Runtime

from budget.conventions import FOLDED, XNNPACK
from budget.ledger import ledger
from budget.limits import Limits
from budget.memory import peak
from dynacp.__main__ import main
from dynacp.export.finished_run import Trained
from dynacp.export.formats import TARGETS, ExportError, ExportFormat
from dynacp.pipeline.prediction import Student
from dynacp.stages import StageError, read_artifact
from dynacp.student.architecture import TABLE1, Architecture, with_classes
from dynacp.student.layers import layers_of, steps_of

ARCHITECTURE = with_classes(tiny.LEAN, len(tiny.CLASSES))
HELD = peak(steps_of(ARCHITECTURE)).elements
"""Elements of activations, so bytes in int8."""

CONVENTIONS = {"onnx": FOLDED, "executorch": XNNPACK}


def export(run: Path, data: Path, *more: str) -> int:
    return main(["export", str(run), "--data", str(data), "--cache", str(data.parent / "cache"), *more])


@pytest.fixture(scope="module")
def exported(lean_run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, moved to where it was not trained, with its base in three forms."""
    run = shutil.copytree(lean_run, tmp_path_factory.mktemp("moved") / "elsewhere")
    base = ("--student", "base")
    assert export(run, data, "--to", "int8", *base) == 0
    assert export(run, data, "--to", "executorch", "--dtype", "float32", *base) == 0
    assert export(run, data, "--to", "executorch", "--dtype", "int8", *base) == 0
    return run


FORMS = {"onnx-int8": "onnx", "executorch-float32": "pte", "executorch-int8": "pte"}


def facts_of(run: Path, form: str) -> dict:
    return json.loads((run / "exports" / form / "base.json").read_text())


def answers(file: Path, log_mels: np.ndarray) -> np.ndarray:
    """Logits of a file, by its runtime alone."""
    if file.suffix == ".onnx":
        session = onnxruntime.InferenceSession(file)
        (logits,) = session.run(None, {"log_mel": log_mels})
        return logits
    method = Runtime.get().load_program(file).load_method("forward")
    return np.concatenate(
        [method.execute([torch.from_numpy(log_mels[i : i + 1])])[0].numpy() for i in range(len(log_mels))]
    )


@pytest.mark.parametrize("form", FORMS)
def test_beside_each_file_stands_what_was_counted_compared_and_reached(exported: Path, form: str) -> None:
    folder = exported / "exports" / form
    assert sorted(file.name for file in folder.iterdir()) == sorted(("README.md", "base.json", f"base.{FORMS[form]}"))
    facts, (runtime, dtype) = facts_of(exported, form), form.split("-")
    account = ledger(layers_of(ARCHITECTURE), convention=CONVENTIONS[runtime], dtype=dtype)
    assert (facts["parameters"], facts["bytes"], facts["macs"]) == (account.parameters, account.bytes, account.macs)
    assert (facts["dtype"], facts["convention"]) == (dtype, CONVENTIONS[runtime].name)
    most = peak(steps_of(ARCHITECTURE))
    assert facts["peak_activation_bytes"] == most.bytes[dtype]
    assert facts["verdict"] == str(Limits().verdict(account, most))
    assert (facts["quantiser_bytes"] > 0) == (dtype == "int8")
    assert facts["parity"]["clips"] == tiny.TEST_CLIPS
    assert facts["parity"]["equal_decisions"] == 1
    exact = dtype == "float32"
    assert 0 < facts["parity"]["largest_difference"] < (1e-4 if exact else 0.1)
    choice = {"clips": tiny.TRAINING_CLIPS, "float32": 1.0, "calibrated": 1.0, "fine_tuned": None}
    assert facts["choice"] == (None if exact else choice)
    assert facts["accuracy"] == (None if exact else {"clips": tiny.TEST_CLIPS, "float32": 1.0, "int8": 1.0})


def test_the_bytes_in_int8_by_hand() -> None:
    """Kernels of stem, two blocks and head, one byte each; a bias of four bytes for each channel behind them."""
    kernels = 9 * 8 + 9 * 8 * 32 + 2 * (32 * 32 + 9 * 32 + 32 * 32) + 32 * 3
    biases = 8 + 32 + 2 * (32 + 32 + 32) + 3
    account = ledger(layers_of(ARCHITECTURE), convention=FOLDED, dtype="int8")
    assert account.bytes == kernels + 4 * biases == 8_084


@pytest.mark.parametrize("form", FORMS)
def test_each_file_says_of_real_wavs_what_the_student_says(exported: Path, data: Path, form: str) -> None:
    file = exported / "exports" / form / f"base.{FORMS[form]}"
    student = Student.load(exported, "base", torch.float32)
    seconds = np.stack([sf.read(wav, dtype="float32")[0] for wav in sorted((data / "audio").glob("*.wav"))[::6]])
    with torch.inference_mode():
        log_mels = student.front_end(torch.from_numpy(seconds))
        ours = student.network(log_mels).numpy()
    theirs = answers(file, log_mels.numpy())
    assert len(set(ours.argmax(axis=1))) == len(tiny.CLASSES), "a student that says one thing alone shows nothing"
    assert theirs == pytest.approx(ours, abs=1e-4 if "float32" in form else 0.15)
    assert (theirs.argmax(axis=1) == ours.argmax(axis=1)).mean() >= (1 if "float32" in form else 0.9)


def test_in_int8_a_graph_can_hear_samples_and_its_front_end_is_counted_apart(
    lean_run: Path, data: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(lean_run, tmp_path / "run", ignore=shutil.ignore_patterns("teachers"))
    assert export(run, data, "--to", "int8", "--waveform", "--student", "base") == 0
    facts = facts_of(run, "onnx-int8-waveform")
    assert facts["bytes"] == 8_084
    assert facts["front_end_bytes"] > 4 * 3072  # the window, and the mel bank
    assert 0 < facts["quantiser_bytes"] < 8_084
    session = onnxruntime.InferenceSession(run / "exports/onnx-int8-waveform/base.onnx")
    student = Student.load(run, "base", torch.float32)
    for wav in sorted((data / "audio").glob("*.wav"))[::9]:
        second = sf.read(wav, dtype="float32")[0][None]
        (theirs,) = session.run(["logits"], {"wave": second})
        with torch.inference_mode():
            ours = student.network(student.front_end(torch.from_numpy(second))).numpy()
        assert theirs == pytest.approx(ours, abs=0.15)
    with pytest.raises(Exception, match="invalid dimensions"):
        session.run(["logits"], {"wave": np.zeros((1, 44_099), np.float32)})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("frames", [88, 90])
def test_a_clip_of_another_length_is_an_error_in_each_runtime(exported: Path, form: str, frames: int) -> None:
    file = exported / "exports" / form / f"base.{FORMS[form]}"
    assert answers(file, np.zeros((1, 1, 256, 89), np.float32)).shape == (1, len(tiny.CLASSES))
    with pytest.raises(Exception, match=r"invalid dimensions|failed with error"):
        answers(file, np.zeros((1, 1, 256, frames), np.float32))


@pytest.mark.parametrize("form", FORMS)
def test_the_json_tells_a_program_all_that_it_needs(exported: Path, form: str) -> None:
    facts = facts_of(exported, form)
    assert facts["classes"] == sorted(tiny.CLASSES)
    assert facts["sample_rate"] == tiny.RATE
    assert facts["front_end"]["hop_samples"] == 500
    assert Architecture.from_json(facts["architecture"]) == ARCHITECTURE
    assert re.fullmatch(r"[0-9a-f]{16}", facts["ledger"])


@pytest.mark.parametrize("form", FORMS)
def test_the_card_of_each_form_tells_its_cost_its_accuracy_and_runs_as_it_says(exported: Path, form: str) -> None:
    card = (exported / "exports" / form / "README.md").read_text()
    facts = facts_of(exported, form)
    assert f"library_name: {form.split('-')[0]}\n" in card
    assert f"| base | {facts['parameters']:,} | {facts['bytes']:,} | {facts['macs']:,} |" in card
    figures = "| base | 48 | 100.00% | 100.00% | not needed | 24 | 100.00% | 100.00% |"
    assert (figures in card) == ("int8" in form)
    assert ("without VNNI" in card) == (form == "onnx-int8")
    assert (f"their\n{facts['quantiser_bytes']:,} bytes" in card) == ("int8" in form)
    assert tiny.logits_by_card(exported / "exports" / form).shape == (1, len(tiny.CLASSES))


def test_the_json_of_another_program_in_an_export_s_folder_is_named(
    lean_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(lean_run, tmp_path / "run", ignore=shutil.ignore_patterns("teachers"))
    (run / "exports/onnx-float32").mkdir(parents=True)
    (run / "exports/onnx-float32/notes.json").write_text('{"student": "b", "parity": {"clips": "all"}}')
    assert export(run, data, "--to", "onnx", "--dtype", "float32", "--student", "base") == 2
    assert re.search(r"notes\.json is damaged \(it lacks 'parameters'\): .* move it away", capsys.readouterr().err)


def trained(run: Path, data: Path) -> Trained:
    return Trained(run, data, data.parent / "cache", Limits())


def without_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what stands behind quantisation and does not depend on it."""
    monkeypatch.setattr("dynacp.export.runtime_files.quantised", lambda network, _log_mels, **_: network)


def test_where_int8_costs_too_much_the_student_is_fine_tuned_once(
    lean_run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(lean_run, tmp_path / "run")
    monkeypatch.setattr("dynacp.export.runtime_files.TOLERATED", -1.0)
    assert export(run, data, "--to", "int8", "--student", "base") == 0
    told = capsys.readouterr().out
    assert "base: calibration alone costs 0.00% of accuracy on training clips; fine-tuning ..." in told
    choice = facts_of(run, "onnx-int8")["choice"]
    tuned = choice["fine_tuned"]
    assert choice == {"clips": tiny.TRAINING_CLIPS, "float32": 1.0, "calibrated": 1.0, "fine_tuned": tuned}
    assert 0.9 <= tuned <= 1
    assert f"| 100.00% | {tuned:.2%} |" in (run / "exports/onnx-int8/README.md").read_text()

    base, trained_on = (read_artifact(run / "students" / name)["state"] for name in ("base", "base-int8"))
    assert base.keys() == trained_on.keys()
    for name in ("blocks.2.project.weight", "head.norm.bias", "stem.norm1.running_mean"):
        assert not torch.equal(base[name], trained_on[name]), name
        assert torch.allclose(base[name], trained_on[name], atol=0.2), "it goes on from the student"

    made, kept = run / "students/base-int8.pt", read_artifact(lean_run / "students/base")["state"]
    before = made.stat().st_mtime_ns
    again = trained(run, data).fine_tuned("base").network.state_dict()
    assert made.stat().st_mtime_ns == before
    assert all(torch.equal(again[name], trained_on[name]) for name in trained_on)
    assert all(torch.equal(base[name], kept[name]) for name in kept), "the student itself is left as it was"


def test_without_its_teachers_a_run_is_not_fine_tuned_and_keeps_nothing_half(
    lean_run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(lean_run, tmp_path / "run")
    shutil.rmtree(run / "teachers")
    monkeypatch.setattr("dynacp.export.runtime_files.TOLERATED", -1.0)
    without_rounding(monkeypatch)
    assert export(run, data, "--to", "int8", "--student", "base") == 2
    assert re.search(r"students/base-int8 needs .*teachers/general/mn-plain-still", capsys.readouterr().err)
    assert not (run / "exports").exists()
    assert not list(run.glob("students/*-int8.[pj]*"))


def test_an_export_that_lacks_teachers_names_what_is_missing_and_no_other_command_s_option(
    lean_run: Path, data: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(lean_run, tmp_path / "run", ignore=shutil.ignore_patterns("teachers"))
    with pytest.raises(StageError, match=r"needs .*teachers/general/mn-plain-still") as raised:
        trained(run, data).fine_tuned("base")
    assert "--only" not in str(raised.value)


def test_a_student_without_test_clips_is_tested_on_all(lean_run: Path, data: Path, tmp_path: Path) -> None:
    others = shutil.copytree(data, tmp_path / "data")
    file = others / "split_setup/test.csv"
    kept = [row for row in file.read_text().splitlines() if "-s1.wav" not in row]
    file.write_text("\n".join(kept) + "\n")
    of_a, of_s1 = (trained(lean_run, others).tested(name, waveform=False) for name in ("a", "s1"))
    assert [len(inputs) for inputs in (of_a, of_s1)] == [6, 18]
    assert [len(inputs.read(slice(None))) for inputs in (of_a, of_s1)] == [6, 18]


def test_no_test_clip_decides_which_student_in_int8_is_kept(lean_run: Path, data: Path, tmp_path: Path) -> None:
    """With a test split whose clips are all those of another class, the same student is kept, in the same file."""
    misled = shutil.copytree(data, tmp_path / "data")
    tests = [name for name in sorted((data / "split_setup/test.csv").read_text().split()) if name.endswith(".wav")]
    of_a_class = len(tests) // len(tiny.CLASSES)
    for name, other in zip(tests, tests[of_a_class:] + tests[:of_a_class], strict=True):
        shutil.copy(data / other, misled / name)
    chosen = {}
    for split in (data, misled):
        run = shutil.copytree(lean_run, tmp_path / split.parent.name, ignore=shutil.ignore_patterns("teachers"))
        assert export(run, split, "--to", "int8", "--student", "a") == 0
        facts = json.loads((run / "exports/onnx-int8/a.json").read_text())
        chosen[split] = (facts["choice"], (run / "exports/onnx-int8/a.onnx").read_bytes())
        assert facts["accuracy"]["int8"] == (0 if split == misled else 1)
    assert chosen[data] == chosen[misled]


def test_a_run_meant_for_int8_is_exported_in_int8_unless_it_is_told_otherwise(
    lean_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(lean_run, run)
    capsys.readouterr()
    assert main(tiny.lean_options(data, run, "dtype=int8")) == 0
    assert re.search(r"fits, with \S+ MACs and 119,916 bytes to spare \(int8\)", capsys.readouterr().out)  # 8,084
    assert trained(run, data).dtype == "int8"
    assert export(run, data, "--to", "onnx", "--student", "a") == 0
    assert [path.name for path in (run / "exports").iterdir()] == ["onnx-int8"]
    assert export(run, data, "--to", "dcase", "--name", "Team_Lab") == 2
    complaint = capsys.readouterr().err
    assert re.search(r"is meant for int8, but a package computes in PyTorch, .*`--to int8`", complaint)
    assert [path.name for path in (run / "exports").iterdir()] == ["onnx-int8"]
    assert export(run, data, "--to", "executorch", "--max-bytes", "8000") == 2
    complaint = capsys.readouterr().err
    assert "as executorch-int8, counted as xnnpack" in complaint
    assert "over by 84 bytes" in complaint
    assert "no format of it fits" in complaint
    wav = str(next((data / "audio").glob("*.wav")))
    assert main(["predict", str(run), wav]) == 0


def test_what_a_target_cannot_compute_is_refused_with_what_can(lean_run: Path, data: Path) -> None:
    run, architecture = trained(lean_run, data), replace(TABLE1, response="global")
    with pytest.raises(ExportError, match=r"`--to executorch` .*`response` global: XNNPACK .*`--to onnx --dtype int8`"):
        run.judge(architecture, ExportFormat(TARGETS["executorch"], "int8"))
    assert run.judge(architecture, ExportFormat(TARGETS["onnx"], "int8")).fits


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--to", "executorch", "--waveform"), r"`--waveform` does not go with `--to executorch`.*`--to onnx`"),
        (("--to", "int8", "--dtype", "float32"), r"`--to int8` contradicts `--dtype float32`: leave one of them out"),
        (("--to", "executorch", "--dtype", "float16"), r"stores parameters in float32 or int8, but not in float16"),
        (("--to", "int8", "--name", "Team_Lab"), r"`--name` is a submission's: it goes with `--to dcase`"),
        (("--to", "executorch", "--name", "Team"), r"`--name` is a submission's"),
        (("--to", "dcase", "--name", "Team", "--dtype", "int8"), r"`--dtype` does not go with `--to dcase`"),
        (("--to", "int8", "--student", "c"), r"has no student 'c'; it has base, a, b, s1"),
        (("--to", "int8", "--max-bytes", "8083"), r"over by 1 bytes; .*no format of it fits"),
        (("--to", "int8", "--max-activation-bytes", str(HELD - 1)), r"over by 1 bytes of activations; .*no format"),
        (
            ("--to", "onnx", "--dtype", "float32", "--max-activation-bytes", str(HELD)),
            r"it fits as `--to onnx --dtype int8`, `--to exe",
        ),
        (
            ("--to", "onnx", "--dtype", "float32", "--max-bytes", "14000"),
            r"it fits as `--to onnx --dtype int8`, `--to exe",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_made(
    lean_run: Path, data: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], complaint: str
) -> None:
    assert export(lean_run, data, *more) == 2
    assert re.search(complaint, capsys.readouterr().err)
    assert not (lean_run / "exports").exists()


@pytest.mark.parametrize("more", [("--to", "tflite"), ("--to", "onnx", "--dtype", "int4"), ()])
def test_an_unknown_target_or_dtype_is_the_parser_s_error(
    lean_run: Path, data: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        export(lean_run, data, *more)
    assert re.search(r"argument --(to|dtype): invalid choice|required: --to", capsys.readouterr().err)


@pytest.mark.parametrize("form", [("--to", "int8"), ("--to", "executorch", "--dtype", "float32")])
def test_a_damaged_or_unfinished_run_is_refused_by_the_file_s_name(
    lean_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: tuple[str, ...]
) -> None:
    run = shutil.copytree(lean_run, tmp_path / "run", ignore=shutil.ignore_patterns("teachers"))
    (run / "students/a.pt").unlink()
    assert export(run, data, *form) == 2
    assert re.search(r"students/a\.pt is not there, not finished or damaged", capsys.readouterr().err)
    base = run / "students/base.pt"
    content = bytearray(base.read_bytes())
    content[len(content) // 2] ^= 1
    base.write_bytes(content)
    assert export(run, data, *form, "--student", "base") == 2
    assert re.search(r"students/base\.pt is not there, not finished or damaged", capsys.readouterr().err)
    assert not (run / "exports").exists()
