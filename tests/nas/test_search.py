"""`python -m nas.search`, whole: on a tiny data set of real wavs, with four real (small) teachers."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest
from tiny import search_options, write_tiny

from dynacp.student.architecture import TABLE1
from nas import plot
from nas.export import main as export_main
from nas.search import main
from nas.study.store import Store

TRIALS = 5


def options(data: Path, study: str, /, trials: object = TRIALS, **more: object) -> list[str]:
    return search_options(data, study, trials, **more)


@pytest.fixture(scope="module")
def begun(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `studies` with a study `fixed` of one trained candidate; not to be changed."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(options(data, "fixed", trials=1)) == 0
    return folder / "studies"


def results(study: str, studies: Path = Path("studies")) -> pd.DataFrame:
    return pd.read_csv(studies / study / "results.csv")


def race(study: str, studies: Path = Path("studies")) -> pd.DataFrame:
    return pd.read_csv(studies / study / "race.csv").drop(columns="seconds")


SCORES = [
    "candidate",
    "accuracy",
    "samples",
    "macs",
    "parameters",
    "bytes",
    "layout",
    "seed",
    "rejected",
    "duplicates",
]


def test_a_search_trains_what_fits_table_1_first_and_ends_in_a_race(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*options(data, "whole"), "--vary", "stem", "pool", "norm"]
    assert main(arguments) == 0
    table, out = results("whole"), capsys.readouterr().out
    assert len(table) == TRIALS
    assert table.loc[0, "layout"] == str(TABLE1)
    assert (table["macs"] <= 30_000_000).all()
    assert (table["bytes"] <= 128_000).all()
    assert table["layout"].is_unique
    assert table["rejected"].sum() > 0, "rejections must not have used up trials"
    for text in (
        "training clips",
        "validation clips",
        "Teachers on validation",
        "Teachers not clearly better than guessing (33.3%) on the validation clips: ",
        "Table 1",
        "trained in full, with new seeds",
        "The race: at most 1 round, from 2 to 2 architectures beside Table 1",
    ):
        assert text in out
    raced = race("whole")
    assert raced["candidate"].nunique() == 3
    assert 0 in set(raced["candidate"])
    assert (raced.groupby("candidate")["way"].apply(sorted).map(tuple) == (0, 1, 2, 3, 4)).all()
    assert not set(raced["seed"]) & set(table["seed"]), "the race takes new seeds"
    for name in ("pareto.png", "pareto.svg", "settings.json"):
        assert (here / "studies/whole" / name).is_file()
    searched = {"stem", "pool", "norm"}
    assert all(searched <= set(each.trial.params) for each in Store.open("whole").candidates)
    assert main(arguments) == 0, "the same command again has nothing left to do"
    pd.testing.assert_frame_equal(results("whole"), table)


def test_a_search_on_labels_alone_needs_no_teachers(data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*options(data, "labels", trials=2, race=0), "--set", "distillation.label_weight=1"]
    assert main([*arguments, "--cache", str(here / "cache")]) == 0
    out = capsys.readouterr().out
    assert "No teachers: candidates learn from labels alone." in out
    assert "Teachers on validation" not in out
    assert not (here / "cache/teachers").exists()
    assert len(results("labels")) == 2


def test_the_same_seed_gives_the_same_candidates_and_scores_also_when_resumed_by_two_workers(
    data: Path, finished_search: Path, here: Path
) -> None:
    once = results("finished", finished_search)
    assert main(options(data, "twice", trials=2, race=0)) == 0
    assert main(options(data, "twice", workers=2)) == 0
    pd.testing.assert_frame_equal(once[SCORES], results("twice")[SCORES])
    pd.testing.assert_frame_equal(race("twice"), race("finished", finished_search))
    assert "race" in Path("studies/twice/worker-2.log").read_text()
    assert main(options(data, "other", trials=3, sampler="random", seed=1, race=0)) == 0
    assert set(results("other")["layout"][1:]).isdisjoint(once["layout"][1:])


def test_sigkill_sigint_and_sigterm_lose_no_finished_trial_and_change_no_result(
    data: Path, finished_search: Path, here: Path
) -> None:
    command = [sys.executable, "-m", "nas.search", *options(data, "killed")]
    stored = here / "studies/killed/results.csv"

    def start_and_stop_after(trials: int, signal_number: int) -> tuple[int, str]:
        process = subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if stored.exists() and len(pd.read_csv(stored)) >= trials:
                break
            time.sleep(0.02)
        os.kill(process.pid, signal_number)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    assert start_and_stop_after(2, signal.SIGKILL)[0] == -signal.SIGKILL
    for trials, signal_number in ((3, signal.SIGINT), (4, signal.SIGTERM)):
        status, out = start_and_stop_after(trials, signal_number)
        assert status == 130, out
        assert "Finished trials are kept" in out
        assert "Traceback" not in out
    assert 3 <= len(pd.read_csv(stored)) <= TRIALS
    assert main(options(data, "killed")) == 0
    pd.testing.assert_frame_equal(results("killed")[SCORES], results("finished", finished_search)[SCORES])
    pd.testing.assert_frame_equal(race("killed"), race("finished", finished_search))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 5}, r"seed: 0 in the study, 5 now"),
        ({"max_macs": 20_000_000}, r"limits.max_macs: 30000000 in the study, 20000000 now"),
        ({"dtype": "int8"}, r"dtype: 'float16' in the study, 'int8' now"),
        ({"sampler": "random"}, r"sampler: 'model' in the study, 'random' now"),
        ({"samples": 64}, r"score.recipe.samples: 32 in the study, 64 now"),
        ({"teacher_epochs": 2}, r"teachers.epochs: 1 in the study, 2 now"),
    ],
)
def test_a_study_is_not_resumed_with_other_settings(
    data: Path, begun: Path, here: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], named: str
) -> None:
    shutil.copytree(begun, here / "studies")
    before = results("fixed")
    assert main(options(data, "fixed", trials=2, **change)) == 2
    assert re.search(named, capsys.readouterr().err)
    pd.testing.assert_frame_equal(results("fixed"), before)


def test_a_study_is_not_resumed_with_other_data(
    data: Path, begun: Path, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(begun, here / "studies")
    other = write_tiny(tmp_path / "other", seed=1)
    assert main(options(data, "fixed", trials=2, data=other)) == 2
    assert "data: " in capsys.readouterr().err


def test_limits_that_nothing_else_meets_end_the_search_and_keep_its_results(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stem alone takes 3,806,288 MACs, so not even the baseline fits, which is trained all the same."""
    assert main(options(data, "narrow", max_macs=3_000_000)) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "The search ends after 1 candidates: no new architecture within 3,000,000 MACs" in out
    assert len(results("narrow")) == 1
    assert not results("narrow")["front"].any()


def test_a_search_never_touches_the_test_split(data: Path, finished_search: Path, here: Path, tmp_path: Path) -> None:
    """Nothing changes where the test split and its audio do not exist."""
    without = write_tiny(tmp_path / "without")
    test = pd.read_csv(without / "split_setup/test.csv", sep="\t")
    for name in test["filename"]:
        (without / name).unlink()
    (without / "split_setup/test.csv").unlink()
    assert main(options(data, "without", trials=2, data=without)) == 0
    pd.testing.assert_frame_equal(results("finished", finished_search)[SCORES][:2], results("without")[SCORES])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (["--data", "nowhere"], "nowhere/meta.csv does not exist"),
        (["--study", "a/b"], "`--study` must be a folder name of letters"),
        (["--mn", "missing.pt"], "missing.pt"),
        (["--mn-width", "-1"], "width"),
        (["--set", "recipe.batch=64"], "`--samples` must be at least a batch of 64, but got 32"),
        (["--margin", "nan"], "`--margin` must be from 0 to 100 points, but got nan"),
        (["--race", "14"], "it takes 540, which is `--race 15`; `--race 0` does without"),
        (["--study", "what?"], "`--study` must be a folder name of letters"),
        (["--storage", "nosuchdb://x"], "the storage nosuchdb://x cannot be used"),
        (["--storage", "postgresql+psycopg://nas:secret@127.0.0.1:1/nas"], "nas:***@127.0.0.1:1/nas cannot be used"),
    ],
)
def test_bad_input_ends_with_status_2_and_no_traceback(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str], change: list[str], complaint: str
) -> None:
    assert main([*options(data, "bad"), *change]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert complaint in err
    assert err.count("\n") == 1 or "made with other settings" in err
    assert "secret" not in err


def test_a_file_that_is_no_checkpoint_is_refused_before_anything_is_trained(
    data: Path, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.pt").write_bytes(b"not a checkpoint")
    assert main(options(data, "bad", mn=tmp_path / "broken.pt")) == 2
    assert "broken.pt" in capsys.readouterr().err
    assert not (here / "studies/bad/results.csv").exists()


def test_teachers_that_other_workers_do_not_have_are_told_of(
    data: Path, begun: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(begun, here / "studies")
    assert main(options(data, "fixed", trials=2, race=0)) == 0
    assert "are not those of other workers" not in capsys.readouterr().out
    assert Store.open("fixed").note_teachers("0a0b0c0d") != []
    assert main(options(data, "fixed", trials=3, race=0)) == 0
    assert "are not those of other workers (0a0b0c0d)" in capsys.readouterr().out
    assert len(results("fixed")) == 3


def test_the_real_checkpoint_teaches_a_search(data: Path, here: Path, shared: Path) -> None:
    assert main(options(data, "real", trials=1, mn=shared / "weights/mn04_as_mAP_432.pt")) == 0
    assert len(results("real")) == 1


def test_what_is_exported_is_the_trial_that_was_trained(
    finished_search: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dynacp.student.architecture import Architecture

    shutil.copytree(finished_search, here / "studies")
    store = Store.open("finished")
    for pick in ("best", "knee", "0", str(TRIALS - 1)):
        capsys.readouterr()
        assert export_main(["--study", "finished", "--pick", pick, "--out", str(here / pick)]) == 0
        out = capsys.readouterr().out
        (file,) = (here / pick).glob("*.json")
        exported = Architecture.read(file)
        candidate = store.candidates[int(re.search(r"Candidate (\d+):", out).group(1))]  # type: ignore[union-attr]
        assert exported == candidate.architecture
        assert f"{candidate.macs:,} MACs" in out
        assert "| Input | Operator | Stride | Dilation |" in out
        ledger = pd.read_csv(next((here / pick).glob("*-ledger.csv")))
        assert ledger["macs"].sum() == candidate.macs
        if pick in ("best", "knee"):
            assert candidate in store.front()
    assert export_main(["--study", "finished", "--pick", "99"]) == 2
    assert export_main(["--study", "finished", "--max-macs", "1"]) == 2
    assert export_main(["--study", "finished", "--pick", "0", "--max-macs", "1e6"]) == 2
    assert export_main(["--study", "none"]) == 2
    assert "no study 'none' in studies/ (there: finished)" in capsys.readouterr().err


def test_pictures_are_drawn_again_for_a_stored_study(
    finished_search: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished_search, here / "studies")
    for path in (here / "studies/finished").glob("*.png"):
        path.unlink()
    assert plot.main(["--study", "finished"]) == 0
    out = capsys.readouterr().out
    for name in ("pareto.png", "pareto.svg", "hypervolume.png", "hypervolume.svg"):
        assert (here / "studies/finished" / name).is_file()
    assert "importance: not drawn, 5 trained trials are too few" in out
    assert plot.main(["--study", "none"]) == 2


def test_a_study_of_another_program_is_refused_and_left_alone(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{here / 'other.db'}"
    foreign = optuna.create_study(study_name="theirs", storage=url)
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert main([*options(data, "theirs"), "--storage", url]) == 2
    assert plot.main(["--study", "theirs", "--storage", url]) == 2
    assert export_main(["--study", "theirs", "--storage", url]) == 2
    err = capsys.readouterr().err
    assert err.count("study 'theirs' was not made by `python -m nas.search`") == 3
    assert len(foreign.trials) == 1
    assert not foreign.user_attrs


def test_a_database_that_is_damaged_ends_in_a_line_that_says_so(
    data: Path, finished_search: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished_search, here / "studies")
    file = here / "studies/finished/study.db"
    content = bytearray(file.read_bytes())
    content[4096:] = bytes(len(content) - 4096)  # the schema is there, its tables are not
    file.write_bytes(content)
    for status in (
        main(options(data, "finished")),
        plot.main(["--study", "finished"]),
        export_main(["--study", "finished"]),
    ):
        assert status == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.count("error: ") == 3
    assert "finished" in err


def test_a_study_in_a_storage_elsewhere_is_drawn_without_a_folder_here(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{here / 'central.db'}"
    assert main([*options(data, "far", trials=2, race=0), "--storage", url]) == 0
    assert f"python -m nas.report --study far --storage {url}" in capsys.readouterr().out
    assert plot.main(["--study", "near", "--storage", url]) == 2
    assert f"the storage {url} holds no study 'near'" in capsys.readouterr().err
    shutil.rmtree(here / "studies")
    assert plot.main(["--study", "far", "--storage", url]) == 0
    assert (here / "studies/far/pareto.png").is_file()
