"""`python -m dynacp predict` on folders as recorders and computers leave them: nothing is left out without a word."""

import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import tiny
import torch

from dynacp.__main__ import main
from dynacp.audio import reading
from dynacp.audio.reading import opened
from dynacp.pipeline.prediction import Prediction, Predictor, Student

RATE = tiny.RATE


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of an untrained base student."""
    return tiny.write_run(tmp_path_factory.mktemp("untrained") / "run")


def test_predictions_for_standard_output_are_followed_by_no_path(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tiny.write_tone(tmp_path / "clip.wav")
    (tmp_path / "out").symlink_to("/dev/stdout")
    assert main(["predict", str(run), str(tmp_path / "clip.wav"), "--csv", str(tmp_path / "out")]) == 0
    header, row, *others = capfd.readouterr().out.splitlines()
    assert header.startswith("file,class,")
    assert "clip.wav" in row
    assert others == []


def test_no_file_of_the_run_is_overwritten_by_predictions(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.write_tone(tmp_path / "clip.wav")
    before = (run / "run.json").read_bytes()
    assert (
        main(["predict", str(run), str(tmp_path / "clip.wav"), "--csv", str(run / "students" / ".." / "run.json")]) == 2
    )
    assert "run.json` is a file of the run; give another name." in capsys.readouterr().err
    assert (run / "run.json").read_bytes() == before


@pytest.mark.parametrize("arguments", [("",), ("x.wav", "--csv", "")])
def test_an_empty_name_is_not_the_working_folder(
    run: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["predict", str(run), *arguments])
    assert "is empty; name a file or a folder" in capsys.readouterr().err


def test_an_option_of_another_command_is_not_taken_for_one_that_begins_alike(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["predict", str(run), "x.wav", "--device", "cuda"])
    assert "unrecognized arguments: --device" in capsys.readouterr().err


def noise(seconds: float = 1, rate: int = RATE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.1, 0.1, int(seconds * rate))


def listed(file: Path) -> list[str]:
    return [Path(name).name for name in pd.read_csv(file)["file"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Wav, flac and ogg, in upper and lower case, and what macOS leaves beside them."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.WAV", "b.wav", "deep/c.flac", "deep/D.Ogg"):
        sf.write(tmp_path / "in" / name, noise(), RATE)
    (tmp_path / "in" / "notes.txt").write_text("no audio")
    return tmp_path / "in"


def test_a_folder_s_audio_is_predicted_whatever_its_endings(run: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert main(["predict", str(run), str(folder), "--csv", str(out)]) == 0
    assert listed(out) == ["a.WAV", "b.wav", "D.Ogg", "c.flac"]
    assert list(pd.read_csv(out).columns) == ["file", "class", *tiny.CLASSES]


@pytest.mark.parametrize("csv", [True, False])
def test_files_that_cannot_be_used_are_named_and_all_others_predicted(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], csv: bool
) -> None:
    (folder / "._a.WAV").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X" + bytes(100))
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    sf.write(folder / "short.wav", noise(0.5), RATE)
    sf.write(folder / "cut.wav", noise(3), RATE, subtype="PCM_16")
    os.truncate(folder / "cut.wav", RATE * 4)
    sf.write(folder / "scaled.wav", noise() * 2**15, RATE, subtype="FLOAT")
    out = tmp_path / "out.csv"
    assert main(["predict", str(run), str(folder), *(["--csv", str(out)] if csv else [])]) == 1
    captured = capsys.readouterr()
    for complaint in (
        "._a.WAV cannot be read as audio (Format not recognised); give wav, flac or ogg files.",
        "gone.wav cannot be read as audio (it is no file, or not there)",
        "short.wav lasts 0.50 s, but a student takes one second; give more.",
        "cut.wav is cut off: its header promises more than it holds; fetch or convert it anew.",
        "scaled.wav has samples of magnitude 3277, but full scale is 1; scale them to [-1, 1].",
        "5 of 9 files could not be used; all others are predicted.",
    ):
        assert complaint in captured.err
    if csv:
        assert listed(out) == ["a.WAV", "b.wav", "D.Ogg", "c.flac"]
    else:
        assert all(name in captured.out for name in ("a.WAV", "b.wav", "D.Ogg", "c.flac"))


def test_where_nothing_can_be_predicted_an_older_output_stays(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.wav"):
        (tmp_path / "in" / name).write_text("no audio")
    out = tmp_path / "out.csv"
    out.write_text("of yesterday")
    assert main(["predict", str(run), str(tmp_path / "in"), "--csv", str(out)]) == 2
    assert "none of the 2 files could be used" in capsys.readouterr().err
    assert out.read_text() == "of yesterday"


def test_a_place_where_no_csv_can_be_is_told_before_the_work(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = (folder / "b.wav").read_bytes()
    for place, complaint in (
        (tmp_path, f"`--csv {tmp_path}` is a folder; give the name of a file, such as {tmp_path / 'predictions.csv'}"),
        (tmp_path / "none" / "out.csv", f"the folder {tmp_path / 'none'} does not exist"),
        (folder / "b.wav", "is one of the recordings; give another name"),
        (tmp_path / ("x" * 252), r"cannot be written (File name too long); make room, or give another"),
    ):
        assert main(["predict", str(run), str(folder), "--csv", str(place)]) == 2
        captured = capsys.readouterr()
        assert complaint in captured.err
        assert "what is finished is kept" not in captured.err
    assert (folder / "b.wav").read_bytes() == recorded


def test_notes_are_told_once_for_all_files_of_a_kind(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / f"{number}.wav" for number in range(6)]
    for file in files:
        sf.write(file, np.stack([noise(2, 22_050)] * 2, axis=1), 22_050)
    assert main(["predict", str(run), *map(str, files)]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "0.wav: 2 channels, mixed to one; 5 more of several channels: 1.wav, 2.wav, ...",
        "0.wav: 22050 Hz, resampled to 44100 Hz; 5 more of other rates: 1.wav, 2.wav, ...",
        "0.wav: 2.00 s, the mean over 2 whole seconds; 5 more of other lengths: 1.wav, 2.wav, ...",
    ]


def test_a_recording_of_44_101_hz_is_predicted_with_a_note(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "a.wav", noise(1, 44_101), 44_101)
    assert main(["predict", str(run), str(tmp_path / "a.wav")]) == 0
    assert capsys.readouterr().err == "a.wav: 44101 Hz, resampled to 44100 Hz\n"


def test_silence_and_overshoot_are_predicted_with_a_note(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    sf.write(tmp_path / "stuck.wav", np.full(RATE, 0.25), RATE)
    loud = noise() * 15
    sf.write(tmp_path / "loud.wav", loud, RATE, subtype="FLOAT")
    sf.write(tmp_path / "clipped.wav", loud.clip(-1, 1), RATE, subtype="FLOAT")
    out = tmp_path / "out.csv"
    assert main(["predict", str(run), str(tmp_path), "--csv", str(out)]) == 0
    captured = capsys.readouterr()
    assert "silent.wav: digital silence, its prediction means nothing; 1 more silent: stuck.wav" in captured.err
    assert "loud.wav: samples of magnitude 1.5, clipped to [-1, 1]" in captured.err
    loud_row, clipped_row = (
        next(line for line in out.read_text().splitlines() if name in line).partition(",")[2]
        for name in ("loud", "clipped")
    )
    assert loud_row == clipped_row


def test_a_clip_a_sample_short_of_a_second_is_not_said_to_last_one(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "a.wav", noise()[:-1], RATE)
    assert main(["predict", str(run), str(tmp_path / "a.wav")]) == 2
    assert "a.wav lasts 0.99 s, but a student takes one second" in capsys.readouterr().err


def test_a_long_recording_is_read_in_blocks_to_the_same_prediction(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sf.write(tmp_path / "a.wav", noise(5.5, 48_000), 48_000)
    student = Student.load(run, "base", torch.float32)

    def predicted() -> tuple[np.ndarray, int]:
        with opened(tmp_path / "a.wav") as audio:
            return student.of_recording(audio)

    at_once, samples = predicted()
    assert samples == 5.5 * RATE
    monkeypatch.setattr(reading, "BLOCK_SAMPLES", 100_000)  # two seconds
    np.testing.assert_allclose(predicted()[0], at_once, rtol=0, atol=1e-5)


def test_a_name_that_is_no_utf_8_reaches_the_csv_as_it_is(run: Path, tmp_path: Path) -> None:
    sf.write(tmp_path / "plain.wav", noise(), RATE)
    try:
        (tmp_path / "plain.wav").rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    out = tmp_path / "out.csv"
    assert main(["predict", str(run), str(tmp_path), "--csv", str(out)]) == 0
    assert b"caf\xe9.wav," in out.read_bytes()


def test_what_was_predicted_until_a_stop_is_written(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Predictor.predict

    def stopped_at_the_third(self: Predictor, student: Student, file: Path) -> Prediction:
        if file.name == "D.Ogg":
            os.kill(os.getpid(), signal.SIGINT)
        return predict(self, student, file)

    monkeypatch.setattr(Predictor, "predict", stopped_at_the_third)
    out = tmp_path / "out.csv"
    assert main(["predict", str(run), str(folder), "--csv", str(out)]) == 130
    assert "Stopped." in capsys.readouterr().out
    assert listed(out) == ["a.WAV", "b.wav"]
