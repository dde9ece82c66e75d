"""Recording devices: their names, which of them is the clean one, and which are real."""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import tiny
import torch
from hypothesis import given, reject
from hypothesis import strategies as st

from dynacp.__main__ import main
from dynacp.audio.augmentation_settings import WaveAugmentation
from dynacp.audio.dataset import GENERAL
from dynacp.audio.recording_devices import RecordingDevices, check_names
from dynacp.audio.tau import DataError
from dynacp.overrides import changed
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import Plan, TrainingSettings
from dynacp.settings import SettingError
from dynacp.student.architecture import TABLE1

CAPITALS = {"a": "A", "b": "B", "s1": "S1", "s4": "S4"}


@pytest.fixture(scope="module")
def capitals(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data set with devices A, B, S1 and S4."""
    return tiny.rename_devices(data, tmp_path_factory.mktemp("capitals") / "data", CAPITALS)


@pytest.fixture(scope="module")
def responses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one impulse response: an echo."""
    folder = tmp_path_factory.mktemp("responses")
    echo = np.zeros(400)
    echo[0], echo[300] = 0.5, 0.4
    sf.write(folder / "echo.wav", echo, tiny.RATE)
    return folder


def pipeline(data: Path, cache: Path, responses: Path | None = None, clean: str = "a") -> Pipeline:
    roles = replace(TrainingSettings(), recording=RecordingDevices(clean))
    return Pipeline(
        Plan(
            architecture=TABLE1,
            settings=roles,
            data=data,
            run=cache / "run",
            teachers=cache / "teachers",
            cache=cache,
            responses=responses,
        )
    )


def test_impulse_responses_change_the_clips_of_the_clean_device_and_no_others(
    capitals: Path, responses: Path, data: Path
) -> None:
    whole = pipeline(capitals, data.parent / "cache", responses, clean="A")
    whole.check()
    clips = whole.dataset
    every = torch.arange(tiny.TRAINING_CLIPS)
    off = WaveAugmentation(roll_samples=0, perturb_edges=False, impulse_probability=0.0)
    dry, wet = (
        clips.augmented(clips.rows(GENERAL), replace(off, impulse_probability=probability)).batch(
            every, torch.Generator()
        )
        for probability in (0.0, 1.0)
    )
    altered = (dry != wet).flatten(1).any(dim=1).numpy()
    assert altered.sum() == 36
    assert np.flatnonzero(altered).tolist() == clips.training.recorded_by("A").tolist()


def test_impulse_responses_that_no_clip_would_take_are_refused(capitals: Path, responses: Path, tmp_path: Path) -> None:
    wanted = (
        r"`recording\.clean` is 'a', and no training clip is of it; there are A, B, S1: .*--set recording\.clean=NAME"
    )
    with pytest.raises(SettingError, match=wanted):
        pipeline(capitals, tmp_path, responses).check()
    pipeline(capitals, tmp_path).check()
    with pytest.raises(
        SettingError, match=r"`recording\.clean` is 's4', .* there are a, b, s1"
    ):  # in the test split alone
        pipeline(tiny.write_tiny(tmp_path / "tiny"), tmp_path, responses, clean="s4").check()


def test_models_know_which_clips_took_impulse_responses(data: Path, responses: Path) -> None:
    cache = data.parent / "cache"
    keys = [pipeline(data, cache, folder, clean).dataset.key for folder in (None, responses) for clean in ("a", "b")]
    assert keys[0] == keys[1]
    assert keys[2] != keys[3]
    assert keys[0] != keys[2]


def test_the_report_names_the_devices_of_each_group_and_says_where_none_is_real(
    data: Path, finished_run: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Groups of devices: real: a, b; seen: s1; unseen: s4.\n" in (finished_run / "report.md").read_text()

    def columns(*names: str) -> set[str]:
        assert main(tiny.train_options(data, copy, short=(*tiny.SHORT, f"recording.real={','.join(names)}"))) == 0
        return set(pd.read_csv(copy / "table2.csv").columns) & {"real", "seen", "unseen"}

    assert columns("S1", "B") == {"seen", "unseen"}
    assert "38 of 38 stages are finished already" in (said := capsys.readouterr().out)
    assert "Real devices (`recording.real`) among them: none." in said
    assert (
        "No device that was trained on and tested is real: `recording.real` is S1,B."
        in (copy / "report.md").read_text()
    )
    assert columns("s1") == {"real", "seen", "unseen"}
    assert "Groups of devices: real: s1; seen: a, b; unseen: s4.\n" in (copy / "report.md").read_text()


def test_roles_are_settings_whose_text_is_taken_as_it_stands() -> None:
    for name in ("A", "007", "no", "1e3", "iPhone.6", "Gerät 7"):
        roles = changed(TrainingSettings(), [f"recording.clean={name}", f"recording.real={name}, b"])
        assert roles.recording == RecordingDevices(name, f"{name}, b")
        assert roles.recording.real_names == (name, "b")
    with pytest.raises(SettingError, match=r"`recording\.real` must be a device's name, but got ','"):
        changed(TrainingSettings(), ["recording.real=,"])


GOOD = ("a", "s1", "iPhone.6", "keys", "items", "forward", "training", "0", "Gerät 7", "数", "con1", "x" * 100)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "'' cannot name files: the name is empty"),
        (".", "begins or ends with a space or a dot"),
        ("..", "begins or ends with a space or a dot"),
        (" a", "begins or ends with a space or a dot"),
        ("a/b", "'/' is in it"),
        ("a\\b", "is in it"),
        ("a,b", "',' is in it"),
        ("a:b", "':' is in it"),
        ("a\tb", "a character in it cannot be printed"),
        ("\ud800", "cannot be printed"),
        ("CON", "'CON' cannot name files: Windows keeps the name for itself"),
        ("lpt1.x", "Windows keeps the name for itself"),
        ("x" * 101, "longer than 100 bytes"),
        ("ü" * 51, "longer than 100 bytes"),
        ("base", "no device may be named 'base'"),
        ("accuracy", "no device may be named 'accuracy'"),
        ("Base", "'Base' and 'base' are one name on a disk that ignores case"),
        ("S1", "'S1' and 's1' are one name on a disk that ignores case"),
        ("gera\u0308t 7", "are one name"),
    ],
)
def test_names_that_no_file_or_column_can_have_are_refused(name: str, complaint: str) -> None:
    check_names(GOOD, files=("general", "base"), columns=("accuracy", "park"))
    with pytest.raises(ValueError, match=complaint) as refusal:
        check_names((*GOOD, name), files=("general", "base"), columns=("accuracy", "park"))
    assert "rename" in str(refusal.value)


@given(
    st.text(
        st.characters(codec=sys.getfilesystemencoding(), exclude_categories=["C"], exclude_characters='<>:"/\\|?*,'),
        max_size=60,
    )
)
def test_a_name_that_is_taken_is_that_of_a_file_in_the_folder(name: str) -> None:
    try:
        check_names([name], files=(), columns=())
    except ValueError:
        reject()
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}-int8.json.partial"
        file.touch()
        assert [each.name for each in Path(folder).iterdir()] == [file.name]
        assert (Path(folder) / name).parent == Path(folder)


def test_names_are_refused_before_anything_is_decoded(data: Path, tmp_path: Path) -> None:
    for name, complaint in (("..", r"meta\.csv: the device '\.\.' cannot name files"), ("hum", "may be named 'hum'")):
        root = tiny.rename_devices(data, tmp_path / f"device {name.strip('.')}", {"s4": name})
        with pytest.raises(DataError, match=complaint):
            pipeline(root, tmp_path / "cache").check()
    assert not (tmp_path / "cache").exists()
