"""`python -m dynacp export`, on a run that was trained for the tests."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest
import soundfile as sf
import tiny
import torch

from budget.ledger import ledger
from dynacp.__main__ import main
from dynacp.export import package, runtime_files
from dynacp.export.formats import ExportError
from dynacp.pipeline.prediction import Student
from dynacp.student.architecture import TABLE1, Architecture
from dynacp.student.layers import layers_of


def export(run: Path, data: Path, *more: str) -> int:
    return main(["export", str(run), "--to", "onnx", "--data", str(data), "--cache", str(data.parent / "cache"), *more])


@pytest.fixture(scope="module")
def exported(finished_run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with two of its students exported, hearing samples, in float32."""
    run = shutil.copytree(finished_run, tmp_path_factory.mktemp("exported") / "run")
    for student in ("base", "a"):
        status = export(run, data, "--dtype", "float32", "--max-bytes", "256000", "--waveform", "--student", student)
        assert status == 0
    return run


def test_an_exported_student_says_what_the_student_says(exported: Path, data: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "exports/onnx-float32-waveform/a.onnx")
    student = Student.load(exported, "a", torch.float32)
    for wav in sorted((data / "audio").glob("*.wav"))[:8]:
        wave = sf.read(wav, dtype="float32")[0][None]
        with torch.inference_mode():
            ours = student.network(student.front_end(torch.from_numpy(wave))).numpy()
        (theirs,) = session.run(["logits"], {"wave": wave})
        assert theirs == pytest.approx(ours, abs=1e-4)


def test_beside_each_file_stands_what_was_counted_and_compared(exported: Path) -> None:
    folder = exported / "exports/onnx-float32-waveform"
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "a.json", "a.onnx", "base.json", "base.onnx"]
    facts = json.loads((folder / "a.json").read_text())
    folded = 60_786 - 7 * (104 + 1)  # Table 1's, whose head here has three classes, not ten
    assert (facts["parameters"], facts["bytes"], facts["convention"]) == (folded, 4 * folded, "folded")
    assert facts["parity"]["clips"] == tiny.TEST_CLIPS
    assert facts["parity"]["equal_decisions"] == 1
    assert 0 < facts["parity"]["largest_difference"] < 1e-3


def test_the_metadata_tell_a_program_all_that_it_needs(exported: Path) -> None:
    model = onnx.load(exported / "exports/onnx-float32-waveform/a.onnx")
    onnx.checker.check_model(model, full_check=True)
    facts = {each.key: each.value for each in model.metadata_props}
    assert json.loads(facts["classes"]) == sorted(tiny.CLASSES)
    assert facts["sample_rate"] == "44100"
    assert json.loads(facts["front_end"])["hop_samples"] == 500
    assert Architecture.from_json(facts["architecture"]).classes == len(tiny.CLASSES)
    assert re.fullmatch(r"[0-9a-f]{16}", facts["ledger"])


def test_the_card_says_what_the_files_are_and_reach(exported: Path) -> None:
    folder = exported / "exports/onnx-float32-waveform"
    card = (folder / "README.md").read_text()
    for section in ("Model description", "Intended uses and limits", "How to use", "Training data", "Evaluation"):
        assert f"\n## {section}\n" in card
    assert "library_name: onnx" in card.split("---")[1]
    assert "crackle, hum, whistle" in card
    assert re.search(r"\| base \| 60,051 \| 240,204 \|", card)
    assert tiny.logits_by_card(folder).shape == (1, len(tiny.CLASSES))


def test_over_the_limits_is_an_error_that_names_what_fits(
    finished_run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(finished_run, data, "--dtype", "float32") == 2
    complaint = capsys.readouterr().err
    assert "as onnx-float32, counted as folded" in complaint
    fitting = ("--to onnx --dtype float16", "--to onnx --dtype int8", "--to executorch --dtype int8", "--to dcase")
    assert re.search(rf"over by 112,204 bytes; .*it fits as {', .*'.join(f'`{each}`' for each in fitting)}", complaint)
    assert export(finished_run, data, "--max-macs", "20000000") == 2
    assert re.search(r"over by 9,355,552 MACs; .*no format of it fits", capsys.readouterr().err)
    assert not (finished_run / "exports").exists()


def test_what_cannot_be_exported_is_refused(
    copy: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(run: Path, clips: Path, *more: str) -> str:
        assert export(run, clips, *more) == 2
        return capsys.readouterr().err

    other = tiny.write_tiny(tmp_path / "other" / "data", seed=1)
    assert "was not trained on" in complaint(copy, other)
    assert "has no student 's9'; it has base, a, b, s1" in complaint(copy, data, "--student", "s9")
    (copy / "students/b.json").unlink()  # as after a ^C
    assert re.search(r"students/b\.pt is not there, not finished or damaged", complaint(copy, data))
    (copy / "students/a.pt").write_bytes(b"damaged")
    assert re.search(r"students/a\.pt is not there, not finished or damaged", complaint(copy, data, "--student", "a"))
    assert "is no run" in complaint(tmp_path, data)
    assert not (copy / "exports").exists()


def test_a_count_that_disagrees_is_told_by_names_and_two_numbers() -> None:
    account = ledger(layers_of(TABLE1))
    counted = [row for row in account.rows if row.parameters]
    with pytest.raises(ExportError) as missing:
        runtime_files.compare("base", replace(account, rows=tuple(counted[:-1])), account)
    assert str(missing.value) == "base: the exported graph has 41 layers with parameters, but the ledger 42."
    counted[2] = counted[2]._replace(name="Conv_7", macs=3_391_489)
    with pytest.raises(ExportError) as other:
        runtime_files.compare("base", replace(account, rows=tuple(counted)), account)
    assert str(other.value) == (
        "base: Conv_7 of the exported graph has macs 3391489, but stem.conv2 of the ledger 3391488."
    )
    with pytest.raises(ExportError) as packaged:
        package.compare("base", (61_644, 28_938_901), account)
    assert str(packaged.value) == (
        "base: torchinfo counts 61,644 parameters and 28,938,901 MACs, but the ledger 61,644 and 28,938,900."
    )
