"""`python -m dynacp`, whole: on a tiny data set of real wavs, with small teachers from random weights."""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import tiny
from tiny import SHORT
from tiny import train_options as train

from dynacp.__main__ import main
from dynacp.audio.dataset import GENERAL
from dynacp.audio.tau import training_clips
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import read_plan
from dynacp.pipeline.runner import make_side_by_side
from dynacp.stages import StageError, read_artifact
from dynacp.student.architecture import with_classes
from dynacp.teachers.members import MEMBERS

STUDENTS = ("base", *tiny.TRAINING_DEVICES)
KILLS = int(os.environ.get("DYNACP_KILLS", "2"))
"""How often the training is killed before it may finish; DYNACP_KILLS=20 is the full soak."""


def checksums(run: Path) -> dict[str, str]:
    """Every artifact of a run, by content."""
    return {str(file.relative_to(run)): json.loads(file.read_text())["checksum"] for file in run.glob("*/**/*.json")}


def seconds(run: Path) -> dict[str, float]:
    """When every artifact was made."""
    return {str(file.relative_to(run)): file.stat().st_mtime_ns for file in run.glob("*/**/*.pt")}


def test_a_run_leaves_teachers_students_and_a_report(finished_run: Path) -> None:
    names = set(checksums(finished_run))
    assert {f"students/{name}.json" for name in STUDENTS} < names
    assert len([name for name in names if name.startswith("teachers/")]) == 8 * (1 + len(tiny.TRAINING_DEVICES))
    assert {"test/teachers.json", "test/students.json"} < names
    report = (finished_run / "report.md").read_text()
    macs = 28_938_900 - 7 * (104 * 16 * 12 + 2)  # three classes in place of ten: 1x1 convolution and its batch norm
    for text in ("DyMN + MN", "Device-specific", "unseen", f"{macs:,}", "fits, with", "nats); there are no others"):
        assert text in report
    for name in ("confusion.png", "devices.png"):
        assert (finished_run / name).is_file()
    assert list(pd.read_csv(finished_run / "budget.csv")["model"]) == list(STUDENTS)
    figures = pd.read_csv(finished_run / "figures.csv")
    assert figures["value"].between(0, 1).all()
    assert (figures["low"] <= figures["high"]).all()
    assert "report" not in figures, "only TAU stands beside the paper's figures"


def test_an_unseen_device_is_served_by_the_base(finished_run: Path) -> None:
    figures = pd.read_csv(finished_run / "figures.csv").set_index(["system", "model", "measure"])["value"]
    for model in ("MN", "DyMN", "student"):
        assert figures[("general", model, "s4")] == figures[("device-specific", model, "s4")]
        assert figures[("general", model, "unseen")] == figures[("device-specific", model, "unseen")]


def test_the_same_command_again_makes_nothing_again_but_tells_the_result(
    data: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = seconds(copy)
    assert main(train(data, copy)) == 0
    assert seconds(copy) == before
    out, base = capsys.readouterr().out, pd.read_csv(copy / "table2.csv").set_index("model").loc["General", "accuracy"]
    assert "38 of 38 stages are finished already" in out
    assert "base student " + str(base) + ", device students" in out


def test_changed_settings_redo_what_depends_on_them_and_nothing_else(data: Path, copy: Path) -> None:
    before = seconds(copy)
    assert main(train(data, copy, short=(*SHORT, "devices.peak_rate=1e-4"))) == 0
    after = seconds(copy)
    redone = {name for name in after if after[name] != before[name]}
    assert redone == {f"students/{device}.pt" for device in tiny.TRAINING_DEVICES} | {"test/students.pt"}


def test_a_damaged_artifact_is_made_again_as_it_was(data: Path, copy: Path) -> None:
    wanted = checksums(copy)
    for file in (copy / "students/a.pt", *copy.glob("teachers/general/mn-plain-still-*.pt")):
        file.write_bytes(file.read_bytes()[:-100])
    assert main(train(data, copy)) == 0
    assert checksums(copy) == wanted


def test_killed_at_random_moments_it_comes_to_the_same_models_also_side_by_side(
    data: Path, finished_run: Path, tmp_path: Path
) -> None:
    run, rng = tmp_path / "killed", random.Random(0)
    for kill in range(KILLS):
        jobs = ("--jobs", str(1 + kill % 2))
        command = [sys.executable, "-m", "dynacp", *train(data, run, *jobs)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        began = len(list(run.glob("*/**/*.pt")))
        deadline, more = time.monotonic() + 120, rng.randrange(1, max(2, 24 // KILLS))
        while time.monotonic() < deadline and len(list(run.glob("*/**/*.pt"))) < began + more:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL, "it ended before it could be killed"
    assert main(train(data, run, "--jobs", "2")) == 0
    assert checksums(run) == checksums(finished_run)


def test_shards_share_a_folder_and_need_what_comes_before(
    data: Path, finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(train(data, run, "--only", "base")) == 2
    assert re.search(r"students/base needs teachers/general/mn-plain-still, .*not made yet", capsys.readouterr().err)
    for shard in ("1/3", "2/3", "3/3"):
        assert main(train(data, run, "--only", "teachers", "--shard", shard)) == 0
    wanted = checksums(finished_run)
    assert checksums(run) == {name: wanted[name] for name in wanted if name.startswith("teachers/general/")}


def test_runs_share_teachers(data: Path, finished_run: Path, tmp_path: Path) -> None:
    before = seconds(finished_run)
    run = tmp_path / "other"
    assert main(train(data, run, "--teachers", str(finished_run / "teachers"), "--seed", "1", "--only", "base")) == 0
    assert seconds(finished_run) == before
    assert not (run / "teachers").exists()
    assert checksums(run)["students/base.json"] != checksums(finished_run)["students/base.json"]


def test_teachers_of_other_settings_do_not_overwrite_those_there(data: Path, copy: Path) -> None:
    before = seconds(copy)
    more = ("--only", "teachers", "--shard", "1/8")
    assert main(train(data, copy, *more, short=(*SHORT, "teachers.batch=8"))) == 0
    after = seconds(copy)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1


def test_cross_fitted_teachers_leave_out_the_same_whole_groups_on_every_device(data: Path, tmp_path: Path) -> None:
    """Each class has four training locations, of which the first teacher leaves out one."""
    run, clips = tmp_path / "run", training_clips(data)
    for group in ("teachers", "device-teachers"):
        options = train(data, run, "--only", group, "--shard", "1/8", short=(*SHORT, "teachers.cross_fitted=true"))
        assert main(options) == 0
    folders = {folder.name: folder for folder in (run / "teachers").iterdir() if folder.is_dir()}
    seen = {}
    for device, folder in folders.items():
        (file,) = folder.glob("mn-plain-still-*.pt")
        seen[device] = read_artifact(file.with_suffix(""))["seen"].numpy()
    general = seen.pop("general")
    assert not set(clips.groups[general]) & set(clips.groups[~general])
    assert np.bincount(clips.labels[~general]).tolist() == [4, 4, 4]
    assert seen.keys() == set(tiny.TRAINING_DEVICES)
    for device, of_device in seen.items():
        assert np.array_equal(of_device, general[clips.recorded_by(device)])


def test_students_learn_from_views_which_are_groups_of_their_own(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, views = tmp_path / "run", ("teachers.cross_fitted=true", "distillation.views=2")
    assert main(train(data, run, "--only", "base", short=(*SHORT, *views))) == 2
    assert "`mixstyle_probability` must be 0 where soft labels are of views" in capsys.readouterr().err
    short = (*SHORT, *views, "augmentation.mixstyle_probability=0")
    for group in ("teachers", "views", "base"):
        assert main(train(data, run, "--only", group, short=short)) == 0
    size = 2 * 2 * tiny.TRAINING_CLIPS * 3 * 4  # each of 2 views by 2 of 8 teachers, as classes have 4 locations
    size *= 2  # general teachers and those of the devices
    assert f"2 views of each clip: {size / 1e3:.0f} kB to store" in capsys.readouterr().out
    needs = json.loads((run / "students" / "base.json").read_text())["needs"]
    assert list(needs) == [f"teachers/general/{member.name}/views" for member in MEMBERS]
    (file,) = run.glob("teachers/general/mn-plain-still-*-views-*.pt")
    stored = read_artifact(file.with_suffix(""))
    assert stored["logits"].shape == (2, 12, 3), "a teacher is asked about the twelve clips that it left out"


def test_the_base_student_hears_audio_without_labels_too(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, audio = tmp_path / "run", tmp_path / "audio"
    audio.mkdir()
    sf.write(audio / "field.wav", np.random.default_rng(0).uniform(-0.3, 0.3, 17 * 16_000 + 9), 16_000)
    more = ("--unlabelled", str(audio))
    assert main(train(data, run, *more, "--only", "teachers")) == 2
    assert "add `--set distillation.views=32`, or leave out `--unlabelled`" in capsys.readouterr().err
    views = ("distillation.views=2", "augmentation.mixstyle_probability=0")
    for group in ("teachers", "views", "base"):
        assert main(train(data, run, *more, "--only", group, short=(*SHORT, *views))) == 0
    assert "17 seconds without labels, which the base student hears as well." in capsys.readouterr().out
    plan = read_plan(run, data, data.parent / "cache")
    assert plan.unlabelled == audio
    pipeline = Pipeline(plan)
    base, (teacher, *_) = pipeline.student(GENERAL), pipeline.lessons(GENERAL)
    assert base.steps == (tiny.TRAINING_CLIPS + 17) // 16
    assert pipeline.store.load(teacher)["logits"].shape == (2, tiny.TRAINING_CLIPS + 17, 3)
    assert pipeline.student("a").steps == len(pipeline.dataset.rows("a")) // 8
    before = seconds(run)
    assert main(train(data, run, "--only", "teachers", short=(*SHORT, *views))) == 0
    assert seconds(run) == before, "teachers do not depend on it"


def test_a_run_of_another_architecture_is_refused(data: Path, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    architecture = copy / "architecture.json"
    architecture.write_text('{"blocks": [{"expanded": 64, "out": 32, "residual": 2}]}')
    arguments = train(data, copy)
    arguments[1] = str(architecture)
    assert main(arguments) == 2
    assert "is the run of another architecture" in capsys.readouterr().err


def test_a_training_that_diverges_says_so_and_keeps_what_is_finished(
    data: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = seconds(copy)
    assert main(train(data, copy, short=(*SHORT, "base.peak_rate=1e30", "base.epochs=4"))) == 2
    assert "students/base: the training diverged" in capsys.readouterr().err
    assert seconds(copy) == before


def test_a_device_with_a_single_clip_is_served_by_the_base(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lonely = shutil.copytree(data, tmp_path / "data")
    file = lonely / "split_setup" / "split25.csv"
    rows = file.read_text().splitlines()
    of_b = [row for row in rows if "-b.wav" in row]
    file.write_text("\n".join(row for row in rows if row not in of_b[1:]) + "\n")
    assert main([*train(lonely, tmp_path / "run", "--only", "teachers", "--shard", "1/8")]) == 0
    assert "Device b has a single training clip" in capsys.readouterr().out


def test_teachers_that_learned_nothing_are_told_as_they_are_made(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--only", "teachers", "--shard", "1/8")
    assert main(train(data, tmp_path / "run", *more, short=(*SHORT, "teachers.scratch_rate=1e-9"))) == 0
    said = r"warning: Teachers not clearly better than guessing \(33\.3%\) on .*: teachers/general/mn-plain-still \d"
    assert re.search(said, capsys.readouterr().err)


def test_an_architecture_of_other_classes_than_the_data_s_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    architecture, options = (
        tmp_path / "architecture.json",
        train(data, tmp_path / "run", "--only", "base", "--shard", "1/1"),
    )
    for classes, told in ((527, True), (3, False)):
        architecture.write_text(with_classes(tiny.LEAN, classes).to_json())
        assert (
            main([options[0], str(architecture), *options[2:], "--out", str(tmp_path / str(classes))]) == 2
        )  # no teachers
        note = "The architecture's head of 527 classes is replaced by one of 3, as the data has."
        assert (note in capsys.readouterr().out) == told


def test_a_missing_test_csv_is_told_before_any_clip_is_decoded(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    untested, cache = shutil.copytree(data, tmp_path / "data"), tmp_path / "cache"
    (untested / "split_setup" / "test.csv").unlink()
    options = train(untested, tmp_path / "run", "--cache", str(cache))
    assert main(options) == 2
    assert re.search(r"test\.csv does not exist; put the official split files", capsys.readouterr().err)
    assert not cache.exists()
    assert main([*options, "--only", "teachers"]) == 2  # before a step of a cluster takes hours
    assert "test.csv does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--shard", "1/2"), r"add `--only`"),
        (("--only", "base", "--shard", "3/2"), r"`--shard` must be K/N with 1 <= K <= N, such as 3/8, but got '3/2'"),
        (("--jobs", "0"), r"`--jobs` must be at least 1"),
        (("--mn", "nowhere.pt"), r"nowhere\.pt is no usable EfficientAT checkpoint: it cannot be read \(No such file"),
        (("--irs", "nowhere"), r"nowhere holds no \.wav files"),
        (("--data", "nowhere"), r"nowhere/meta\.csv does not exist"),
        (("--mn", "{data}/meta.csv"), r"meta\.csv is no usable EfficientAT checkpoint"),
        (("--out", "{data}/meta.csv"), r"meta\.csv: File exists"),
        (
            ("--cache", "{data}/meta.csv"),
            r"the cache \S+/meta\.csv cannot be used: \S+: (File exists|Not a directory)\. Name another with `--cache`",
        ),
    ],
)
def test_bad_input_is_named_with_its_remedy(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], complaint: str
) -> None:
    assert main(train(data, tmp_path / "run", *(each.format(data=data) for each in more))) == 2
    assert re.search(complaint, capsys.readouterr().err)


def test_jobs_without_shared_memory_are_refused_with_the_remedy(finished_run: Path, data: Path) -> None:
    """A file of semaphores cannot grow where no file can."""
    plan = read_plan(finished_run, data, data.parent / "cache")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(StageError, match=r"`--jobs 2` needs .* mount a /dev/shm .* or take `--jobs 1`"):
            make_side_by_side(plan, ("teachers",), [], 2, lambda *_: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("base.epochs=0", r"`epochs` must be at least 1, but got 0"),
        ("base.batch=1", r"`batch` must be at least 2"),
        ("base.batch=[1", r"`--set base.batch=\[1`"),
        ("base.warm_up=1", r"`warm_up` must be a share between 0 and 1"),
        ("augmentation.mask_bands=300", r"`mask_bands` must be at most 256, but got 300"),
        ("augmentation.mixstyle_probability=2", r"`mixstyle_probability` must be in \[0, 1\]"),
        ("waves.roll_samples=50000", r"`waves.roll_samples` must be at most 44100"),
        ("distillation.temperature=0", r"`temperature` must be positive"),
        ("front_end.n_fft=100000", r"must have more than 50001 samples"),
        ("teachers.mn_width=0.33", r"0\.33"),
        ("front_end.hop_samples=689", r"the architecture takes 256 x 89 inputs, but the front end gives 256 x 65"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_before_anything_is_made(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], assignment: str, complaint: str
) -> None:
    assert main(train(data, tmp_path / "run", short=(assignment,))) == 2
    assert re.search(complaint, capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_a_clip_in_both_splits_and_a_device_named_base_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = shutil.copytree(data, tmp_path / "both")
    with (both / "split_setup" / "test.csv").open("a") as file:
        file.write((both / "split_setup" / "split25.csv").read_text().splitlines()[1] + "\n")
    assert main(train(both, tmp_path / "run", "--only", "evaluation")) == 2
    assert re.search(r"1 clips are in split25\.csv and in test\.csv", capsys.readouterr().err)
    named = shutil.copytree(data, tmp_path / "named")
    for table in (named / "meta.csv", *(named / "split_setup").iterdir()):
        table.write_text(re.sub(r"-b\.wav", "-base.wav", re.sub(r"\tb\n", "\tbase\n", table.read_text())))
    for wav in (named / "audio").glob("*-b.wav"):
        wav.rename(wav.with_name(wav.name.replace("-b.wav", "-base.wav")))
    assert main(train(named, tmp_path / "run")) == 2
    assert "no device may be named 'base'" in capsys.readouterr().err
