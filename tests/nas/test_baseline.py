"""`python -m nas.search --baseline`, whole: a network of the user's own that neither the space nor the limits hold."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from tiny import search_options

from budget.errors import UserError
from dynacp.student.architecture import BASELINE, TABLE1, Architecture, with_classes
from nas import export, fidelity, plot, report
from nas.scoring.clips import FRONT_END
from nas.search import main
from nas.strategy.baseline import Baseline
from nas.study.settings import StudySettings
from nas.study.store import Store

OWN = replace(TABLE1, blocks=(replace(TABLE1.blocks[0], dilation=4), *TABLE1.blocks[1:]))
"""As costly as Table 1, with a dilation that the space does not hold."""

LIMIT = 15_000_000
"""MACs, half of what `OWN` takes."""


@pytest.fixture(scope="module")
def searched(data: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A finished search `mine` against `OWN`, in a file `own/my net.json`: its `folder` and what it `told`."""
    folder, told = tmp_path_factory.mktemp("baseline"), list[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("nas.views.terminal.Screen.note", lambda _, text: told.append(text))
        write(folder / "own" / "my net.json")
        assert main(search_options(data, "mine", 4, max_macs=LIMIT, baseline="own/my net.json")) == 0
    return SimpleNamespace(folder=folder, told="\n".join(told))


@pytest.fixture
def copied(searched: SimpleNamespace, here: Path) -> Path:
    """The folder with a copy of the study `mine`, without the network's file."""
    shutil.copytree(searched.folder / "studies", here / "studies")
    return here / "studies" / "mine"


def write(file: Path, architecture: Architecture = OWN) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(architecture.to_json())
    return file


def test_a_search_races_against_the_user_s_network_and_calls_it_by_its_file(searched: SimpleNamespace) -> None:
    results = pd.read_csv(searched.folder / "studies/mine/results.csv")
    assert len(results) == 4
    assert results.loc[0, "layout"] == str(OWN)
    own, *others = results["macs"].tolist()
    assert own > LIMIT > max(others)
    assert not results.loc[0, "front"], "it does not fit"
    race = pd.read_csv(searched.folder / "studies/mine/race.csv")
    assert 0 in set(race["candidate"])
    assert race["candidate"].nunique() == 3
    assert "To beat: my-net, 28.80 MMACs, over by " in searched.told
    assert "architectures beside my-net, with" in searched.told
    assert len(re.findall(r"^  my-net  +\d+\.\d%  28\.80 MMACs", searched.told, re.MULTILINE)) == 6, (
        "once, and five ways"
    )
    assert "Table 1" not in searched.told


def test_its_page_pictures_and_exports_name_it_and_best_is_a_network_that_fits(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (report.main, plot.main):
        assert command(["--study", "mine"]) == 0
    page, picture = (copied / "report.html").read_text(), (copied / "pareto.svg").read_text()
    assert "is any better than my-net?" in page
    assert "finalists and my-net, trained in full" in page
    assert "against my-net, 95 %" in page
    assert "my-net in full, mean" in page
    assert "my-net, in full" in picture
    assert "Table 1" not in page + picture
    for pick in ("best", "knee"):
        capsys.readouterr()
        assert export.main(["--study", "mine", "--pick", pick]) == 0
        out = capsys.readouterr().out
        assert not out.startswith("Candidate 0")
        assert "Against my-net: " in out
    assert export.main(["--study", "mine", "--pick", "0"]) == 0
    assert Architecture.read(copied / "export" / "mine-0.json") == with_classes(OWN, 3)


def test_a_search_is_resumed_with_the_same_network_from_any_file_and_with_no_other(
    data: Path, copied: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copied / "results.csv").read_bytes()
    asked = search_options(data, "mine", 4, max_macs=LIMIT)
    for other in ([], ["--baseline", str(write(here / "other.json", replace(OWN, pool="maximum")))]):
        assert main([*asked, *other]) == 2
        err = capsys.readouterr().err
        assert f"  baseline: '{OWN}' in the study, '" in err
        assert err.rstrip().endswith("which `python -m nas.export --pick 0` writes for --baseline.")
    assert main([*asked, "--baseline", str(write(here / "elsewhere" / "renamed.json", with_classes(OWN, 7)))]) == 0
    assert "my-net" in capsys.readouterr().out
    assert (copied / "results.csv").read_bytes() == before


def test_a_search_against_table_1_is_not_resumed_against_another(
    data: Path, finished_search: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished_search, here / "studies")
    asked = search_options(data, "finished", 5)
    assert main([*asked, "--baseline", str(write(here / "own.json"))]) == 2
    assert f"  baseline: '{TABLE1}' in the study, '{OWN}' now\n" in capsys.readouterr().err
    assert main([*asked, "--baseline", str(write(here / "copy.json", TABLE1))]) == 0, "that is Table 1"
    assert "against Table 1 (95 %)" in capsys.readouterr().out


def test_further_workers_and_full_trainings_take_the_same_network(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write(here / "own.json")
    assert main(search_options(data, "fits", 4, race=0, workers=2, baseline=own.name)) == 0
    assert "ended early" not in capsys.readouterr().out
    assert "To beat: own, 28.80 MMACs, fits" in (here / "studies/fits/worker-2.log").read_text()
    own.unlink()
    assert fidelity.main(["--study", "fits", "--layouts", "4", "--seeds", "1"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^ +own ", out, re.MULTILINE)) == 3, "two short trainings and a full one"
    assert "To beat" not in out


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "'own.json' is neither a file nor one of table1, baseline."),
        (b"\x93NUMPY\x01\x00v\x00", "own.json: "),
        (b'{"blocks": [', "own.json: "),
        (b'{"layers": 3}', "own.json: `blocks` is missing or no list"),
        (
            BASELINE.to_json().encode(),
            "`--baseline` 'own.json': the network takes 256 x 65 inputs, but the front end gives 256 x 89: give a "
            'network with "input": [256, 89].',
        ),
    ],
    ids=["missing", "foreign", "broken", "other JSON", "other input"],
)
def test_what_is_no_network_for_these_data_ends_in_a_line_that_says_so(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (here / "own.json").write_bytes(content)
    assert main(search_options(data, "bad", 2, baseline="own.json")) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert complaint in err
    assert err.count("\n") == 1
    assert not (here / "studies").exists()


def test_cp_mobile_on_the_search_s_log_mels_can_be_beaten_too(data: Path, here: Path) -> None:
    own = write(here / "cp.json", replace(BASELINE, input=TABLE1.input))
    assert main(search_options(data, "cp", 2, race=0, baseline=own)) == 0
    assert Store.open("cp").candidates[0].architecture.family == "cp"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("tau-17.json", "tau-17"),
        ("Table 1.json", "Table-1"),
        ("_$x$.json", "x"),
        ("???.json", "baseline"),
        (f"{'long' * 30}.json", "long" * 10),
    ],
)
def test_a_network_is_called_after_its_file_in_plain_characters(here: Path, file: str, name: str) -> None:
    assert Baseline.given(str(write(here / file)), FRONT_END).name == name
    assert Baseline.given(str(write(here / file, with_classes(TABLE1, 3))), FRONT_END).name == "Table 1"


@pytest.mark.parametrize(
    "damage",
    [
        lambda stored: stored.pop("baseline_name"),
        lambda stored: stored.update(baseline_name="a$b$"),
        lambda stored: stored["identity"].update(baseline=[]),
        lambda stored: stored["identity"]["baseline"].update(blocks=[]),
    ],
    ids=["no name", "another name", "no network", "no blocks"],
)
def test_a_stored_baseline_that_is_damaged_is_named(copied: Path, damage: Callable[[dict[str, object]], None]) -> None:
    stored = json.loads((copied / "settings.json").read_text())
    assert StudySettings.read(stored).baseline == Baseline(with_classes(OWN, 3), "my-net")
    damage(stored)
    with pytest.raises(UserError):
        StudySettings.read(stored)
