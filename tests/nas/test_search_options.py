"""The options that resume a stored search: those that it was made with, and what has another default today."""

import json
import shlex
import sqlite3
from dataclasses import asdict
from pathlib import Path

import pytest
from tiny import search_options

from nas.fidelity import main as fidelity
from nas.report import main as report
from nas.scoring.score import SearchSettings
from nas.search import main as search
from nas.search_options import parser, resuming, settings_of
from nas.study.settings import StudyError, StudySettings

STUDIES = Path(__file__).resolve().parents[2] / "studies"


def stored(name: str = "field-0", **changes: object) -> StudySettings:
    """The settings of a committed search, from before teachers could be cross-fitted and views be heard."""
    content = json.loads((STUDIES / name / "settings.json").read_text())
    return StudySettings(content | changes)


@pytest.mark.parametrize("name", ["field-0", "field-1", "field-2", "field-3", "built-in"])
def test_a_committed_search_is_resumed_with_its_own_settings(name: str) -> None:
    study = stored(name)
    settings = settings_of(parser().parse_args(resuming(study)))
    assert asdict(settings.score) == study.identity["score"]
    teachers, told = asdict(settings.teachers), study.identity["teachers"]
    for setting in ("which", "epochs", "batch", "cross_fitted", "augmentation"):
        assert teachers[setting] == told[setting]


def test_a_search_with_the_defaults_of_today_is_resumed_by_its_own_command() -> None:
    content = json.loads(json.dumps(dict(stored().content)))
    content["identity"] |= {"score": asdict(SearchSettings().score)}
    content["identity"]["teachers"] |= {"which": "mn", "cross_fitted": True}
    content["command"] = "python -m nas.search --data 'a folder' --seed 1"
    assert resuming(StudySettings(content)) == ["--data", "a folder", "--seed", "1"]


@pytest.mark.parametrize("asked", ["", " --trials 200", " --trials=20", " --trials 2 --vary pool"])
def test_how_many_trials_there_were_to_be_is_left_out(asked: str) -> None:
    words = resuming(stored(command=f"python -m nas.search --data 'a folder'{asked}"))
    assert words[:2] == ["--data", "a folder"]
    assert not [word for word in words if word.startswith("--trials")]


def test_a_search_of_blocks_alone_is_resumed_as_one() -> None:
    content = json.loads(json.dumps(dict(stored().content)))
    del content["identity"]["space"]["network_wide"]
    assert "--vary none" in shlex.join(resuming(StudySettings(content)))


def test_what_the_stored_command_sets_is_not_set_twice() -> None:
    words = resuming(stored(command="python -m nas.search --set distillation.views=0 full_epochs=3"))
    assert sum(word.startswith("distillation.views") for word in words) == 1
    assert settings_of(parser().parse_args(words)).full_epochs == 3


def test_a_damaged_command_is_named() -> None:
    with pytest.raises(StudyError, match="No closing quotation"):
        resuming(stored(command="python -m nas.search --data 'a"))


def test_a_search_of_an_older_version_is_checked_and_resumed_whole(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its database lacks the entries, and its command the words, that came later."""
    monkeypatch.chdir(tmp_path)
    options = search_options(data, "older", 5, race=0)
    then = ["teachers.cross_fitted=false", "distillation.temperature=2", "distillation.views=0"]
    assert search([*options, "--set", *then]) == 0
    forget(Path("studies/older/study.db"), f"python -m nas.search {shlex.join(options)}")
    assert search(options) == 2, "today's defaults are others"
    assert "score.distillation.temperature: 2.0 in the study, 1.0 now" in capsys.readouterr().err
    assert fidelity(["--study", "older", "--layouts", "4", "--seeds", "1"]) == 0
    assert report(["--study", "older"]) == 0
    page = Path("studies/older/report.html").read_text()
    assert "--set teachers.cross_fitted=False distillation.temperature=2.0 distillation.views=0 --trials 5" in page
    capsys.readouterr()
    assert search([*options, "--set", *then]) == 0
    assert "Trained 5 in" in capsys.readouterr().out, "none of them again"


def forget(database: Path, command: str) -> None:
    """Take from a stored search what older versions did not write."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT study_user_attribute_id, value_json FROM study_user_attributes").fetchall()
        for row, value in rows:
            content = json.loads(value)
            if isinstance(content, dict) and "identity" in content:
                content["command"] = command
                del (
                    content["identity"]["teachers"]["cross_fitted"],
                    content["identity"]["score"]["distillation"]["views"],
                )
                change = (json.dumps(content), row)
                connection.execute(
                    "UPDATE study_user_attributes SET value_json = ? WHERE study_user_attribute_id = ?", change
                )
    connection.close()
