"""`python -m dynacp predict`, whole: files, folders, devices, and what cannot be predicted."""

import io
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import soundfile as sf
import tiny

from budget.cli.command import run
from dynacp.__main__ import main
from dynacp.stages import read_artifact


@pytest.mark.skipif(sys.getfilesystemencoding() == "ascii", reason="needs a locale that has other letters in names")
@pytest.mark.usefixtures("handlers")
def test_predictions_are_told_in_ascii(
    finished_run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav = shutil.copy(next((data / "audio").glob("*.wav")), tmp_path / "\u00b1.wav")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    assert run(lambda: main(["predict", str(finished_run), str(wav)])) == 0
    assert b"+-.wav |" in out.buffer.getvalue()


def test_predictions_come_from_the_device_s_student_or_the_base(
    finished_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    some = sorted((data / "audio").glob("*-a.wav"))[:3]

    def predicted(device: str | None) -> tuple[pd.DataFrame, str]:
        chosen = ["--device-id", device] if device else []
        assert main(["predict", str(finished_run), *map(str, some), "--csv", str(out), *chosen]) == 0
        return pd.read_csv(out), capsys.readouterr().err

    of_a, of_base, (of_unknown, note) = predicted("a")[0], predicted(None)[0], predicted("s9")
    assert list(of_a.columns) == ["file", "class", *tiny.CLASSES]
    assert of_a[list(tiny.CLASSES)].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-4)
    assert not of_a.equals(of_base)
    assert of_unknown.equals(of_base)
    assert "device 's9' has no student of its own here" in note


def test_a_prediction_is_what_the_evaluation_found(finished_run: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert main(["predict", str(finished_run), str(data / "audio"), "--csv", str(out)]) == 0
    table = pd.read_csv(out).set_index("file")
    listed = pd.read_csv(data / "split_setup" / "test.csv", sep="\t")["filename"]
    logits = read_artifact(finished_run / "test" / "students")["general"]
    named = [sorted(tiny.CLASSES)[index] for index in logits.argmax(dim=1).tolist()]
    probabilities = table.loc[[str(data / name) for name in listed], sorted(tiny.CLASSES)].to_numpy()
    assert probabilities == pytest.approx(logits.softmax(dim=1).numpy(), abs=2e-2)  # float16, cached log-mels
    assert (table.loc[[str(data / name) for name in listed], "class"] == named).mean() > 0.9


def test_other_rates_lengths_and_channels_are_handled_and_said(
    finished_run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound, rate = sf.read(next((data / "audio").glob("*.wav")))
    sf.write(tmp_path / "long.wav", [[value, value] for value in [*sound, *sound, *sound[:100]]], rate)
    sf.write(tmp_path / "slow.wav", sound, 22_050)
    assert main(["predict", str(finished_run), str(tmp_path / "long.wav"), str(tmp_path / "slow.wav")]) == 0
    captured = capsys.readouterr()
    assert "long.wav: 2 channels, mixed to one" in captured.err
    assert "long.wav: 2.00 s, the mean over 2 whole seconds" in captured.err
    assert "slow.wav: 22050 Hz, resampled to 44100 Hz" in captured.err


def test_what_cannot_be_predicted_is_refused(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, text = tmp_path / "short.wav", tmp_path / "text.wav"
    sf.write(short, [0.1, 0.2] * 100, tiny.RATE)
    text.write_text("no audio")
    for path, complaint in (
        (short, "lasts 0.00 s, but a student takes one second"),
        (text, "cannot be read as audio"),
        (tmp_path / "none.wav", "does not exist"),
        (finished_run, "holds no .wav file"),
    ):
        assert main(["predict", str(finished_run), str(path)]) == 2
        assert complaint in capsys.readouterr().err
    assert main(["predict", str(tmp_path), str(short)]) == 2
    assert "is no run" in capsys.readouterr().err
    assert main(["predict", str(finished_run), str(short), "--csv", str(tmp_path / "none" / "out.csv")]) == 2
    assert "none does not exist" in capsys.readouterr().err
