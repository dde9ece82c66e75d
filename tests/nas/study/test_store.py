"""Stored studies: of another space than the default one, damaged, or no studies at all."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import made_up
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import add_retraining, history, made_up_score, scored

from budget.limits import Limits
from budget.memory import peak
from dynacp.student.architecture import TABLE1
from dynacp.student.layers import steps_of
from nas import export, plot, report
from nas.results.importance import IMPORTANCE_TRIALS, importance_grid, importance_of_the_rest, well_read
from nas.space.network_wide import EVERY
from nas.space.space import Space
from nas.strategy.propose import Rules, propose
from nas.strategy.race import Run
from nas.strategy.samplers import SAMPLERS
from nas.study.candidate import Candidate
from nas.study.settings import StudyError, StudySettings
from nas.study.store import Store, connect, default_storage
from nas.views.page import write_page

SPACE = Space(TABLE1, 2, 3, dilations=(1, 4), expansions=(2.0,), widths=(16, 24, 64))
OLD = sorted((Path(__file__).parents[3] / "studies").glob("*/study.db"))
COMMANDS = {"plot": plot.main, "report": report.main, "export": export.main}


def resumed(name: str = "small", space: Space = SPACE) -> Store:
    """As a search begins or goes on: in studies/NAME/study.db in the working folder, in a space of its own."""
    return Store.create_or_resume(name, connect(name, default_storage(name)), made_up.settings(space))


def written(folder: Path, name: str = "small", trials: int = 4, space: Space = SPACE) -> Path:
    """studies/NAME/study.db in the working folder, of a search without training."""
    (folder / "studies" / name).mkdir(parents=True)
    rules, store = Rules(space, Limits(), "float16"), resumed(name, space)
    done = list[Candidate]()
    for number in range(trials):
        proposal = propose(SAMPLERS["random"], rules, history(done), seed=0)
        done.append(scored(number, rules, proposal, made_up_score(proposal.architecture)))
    store.study.add_trials([each.trial for each in done])
    store.read()
    for number, seed in product(range(2), (1, 2)):
        add_retraining(store, number, Run(samples=1, way=0, seed=seed), done[number].accuracy + seed / 100)
    store.study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    return folder / "studies" / name / "study.db"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The content of a study's database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("whole"))
        return written(folder).read_bytes()


@pytest.fixture
def database(here: Path, whole: bytes) -> Path:
    """studies/small/study.db in it, of four candidates."""
    file = here / "studies" / "small" / "study.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(whole)
    return file


@pytest.mark.parametrize("command", COMMANDS)
def test_a_study_of_any_space_is_shown(command: str, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert COMMANDS[command](["--study", "small"]) == 0
    assert "studies/small/" in capsys.readouterr().out


def test_the_choices_whose_importance_is_drawn_are_those_of_the_study_s_space(here: Path) -> None:
    written(here, trials=IMPORTANCE_TRIALS + 2)
    store = Store.open("small")
    shares = well_read(store)
    assert shares.keys() <= SPACE.values().keys()
    assert "blocks" in shares
    assert list(importance_grid(store, shares).columns) == ["block 1", "block 2", "block 3"]


def test_the_table_of_results_says_what_activations_take_at_their_peak(here: Path) -> None:
    written(here, trials=4)
    store = Store.open("small")
    alone = [peak(steps_of(each.architecture)).bytes[store.settings.dtype] for each in store.candidates]
    assert store.results()["activation_bytes"].tolist() == alone


@pytest.mark.parametrize("kept", OLD, ids=lambda file: file.parent.name)
def test_stored_studies_open_and_go_on_in_the_same_choices(kept: Path, database: Path) -> None:
    database.write_bytes(kept.read_bytes())
    store = Store.open(kept.parent.name, default_storage("small"))
    assert len(store.results()) == len(store.candidates) >= 40
    chosen = Space(network_wide=EVERY) if store.settings.network_wide else Space()
    assert all(each.trial.distributions == chosen.distributions() for each in store.candidates)
    space = json.loads(json.dumps(made_up.settings(chosen).identity["space"]))
    assert space == store.settings.identity["space"], "so that a search that varies nothing more resumes it"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kept", OLD, ids=lambda file: file.parent.name)
def test_studies_of_older_versions_are_shown(command: str, kept: Path, here: Path) -> None:
    database = here / "studies" / kept.parent.name / "study.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(kept.read_bytes())
    assert COMMANDS[command](["--study", kept.parent.name]) == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_study_with_network_wide_choices_is_shown_with_them(command: str, here: Path) -> None:
    space = replace(SPACE, network_wide=EVERY)
    store = Store.open(written(here, trials=IMPORTANCE_TRIALS + 2, space=space).parent.name)
    assert store.settings.network_wide["stem"] == ["8-16", "8-24", "8-32", "16-32"]
    assert {each.trial.params["stem"] for each in store.candidates} == {*store.settings.network_wide["stem"]}
    shares = well_read(store)
    assert shares.keys() >= {"stem", "pool", "norm"}
    assert "pool: " in importance_of_the_rest(store, shares)
    assert COMMANDS[command](["--study", "small"]) == 0
    if command == "report":
        page = (here / "studies/small/report.html").read_text()
        assert "; stem 8-16, 8-24, 8-32, 16-32; activation relu6, relu; pool average, maximum;" in page


def test_a_candidate_that_lacks_a_network_wide_choice_is_named(here: Path) -> None:
    database = written(here, space=replace(SPACE, network_wide=EVERY))
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM trial_params WHERE param_name = 'stem'")
    connection.close()
    with pytest.raises(StudyError, match=r"trial 0 is not as a search keeps it \(no 'stem' among its parameters"):
        Store.open("small")


@pytest.mark.parametrize("stored", [[], "pool", {"pool": "average"}, {"pool": [1]}])
def test_network_wide_choices_that_are_damaged_are_named(stored: object) -> None:
    content = json.loads(json.dumps(made_up.settings(SPACE).content))
    content["identity"]["space"]["network_wide"] = stored
    with pytest.raises(ValueError, match="network_wide"):
        StudySettings.read(content)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def an_empty_file(file: Path) -> None:
    file.write_bytes(b"")


def text(file: Path) -> None:
    file.write_text("no database\n" * 1_000)


def another_program_s(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE bookmarks (url TEXT)")


def another_optuna_study(file: Path) -> None:
    file.unlink()
    study = optuna.create_study(study_name="small", storage=f"sqlite:///{file}", directions=["maximize", "minimize"])
    study.set_user_attr("settings", "identity")
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def changed(statement: str) -> Callable[[Path], None]:
    """By SQL."""

    def change(file: Path) -> None:
        with sqlite3.connect(file) as database:
            assert database.execute(statement).rowcount

    return change


DAMAGE = {
    "a folder": (a_folder, "study.db is a folder"),
    "empty": (an_empty_file, "study.db is empty"),
    "text": (text, "study.db is no SQLite database"),
    "another program's": (another_program_s, "is a database, but not one of Optuna's"),
    "another Optuna study": (another_optuna_study, "was not made by `python -m nas.search`"),
    "half": (half, "cannot be used"),
    "no architecture": (
        changed("UPDATE trial_user_attributes SET key = 'x' WHERE key = 'layout'"),
        "trial 0 has no 'layout' as a search notes it",
    ),
    "no network": (
        changed("UPDATE trial_user_attributes SET value_json = '\"{}\"' WHERE key = 'architecture'"),
        "trial 0 is not as a search keeps it",
    ),
    "half a training": (
        changed("UPDATE trial_user_attributes SET value_json = '{\"accuracy\": 1}' WHERE key = 'at 1'"),
        "trial 0 notes a training without its accuracy, seed, loss, seconds",
    ),
    "trainings that were stopped early": (
        changed(
            "UPDATE study_user_attributes SET value_json = replace(value_json, '\"rungs\": [1]', '\"rungs\": [1, 2]')"
        ),
        "study 'small' was made by a version that stopped trainings early (its `--rungs` trained with 1, 2 samples)",
    ),
    "a state that is none": (changed("UPDATE trials SET state = 'DONE'"), "cannot be used"),
    "fresh scores of nothing": (
        changed(
            "UPDATE trial_user_attributes SET value_json = '99' WHERE key = 'candidate' AND trial_id IN "
            "(SELECT trial_id FROM trial_user_attributes WHERE key = 'training')"
        ),
        "is damaged: trial 0 is of no candidate",
    ),
    "other settings": (
        changed('UPDATE study_user_attributes SET value_json = \'{"identity": {"limits": {}}}\''),
        "is damaged, or another version's: settings.identity lacks '",
    ),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_no_whole_study_ends_in_a_line_that_says_so(
    damage: Callable[[Path], None], complaint: str, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(database)
    before = None if database.is_dir() else database.read_bytes()
    for main in COMMANDS.values():
        assert main(["--study", "small"]) == 2
        said = capsys.readouterr().err
        assert complaint in said
        assert said.count("\n") == 1
    assert before is None or database.read_bytes() == before, "nothing is written into it"


@pytest.mark.parametrize("damage", [damage for name, (damage, _) in DAMAGE.items() if name != "empty"])
def test_a_search_does_not_go_on_in_what_is_no_whole_study(damage: Callable[[Path], None], database: Path) -> None:
    damage(database)
    before = None if database.is_dir() else database.read_bytes()
    with pytest.raises(StudyError, match="small"):
        resumed()
    assert before is None or database.read_bytes() == before, "nothing is written into it"


def test_a_database_that_is_not_there_is_not_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for main in COMMANDS.values():
        assert main(["--study", "small", "--storage", "sqlite:///none.db"]) == 2
    assert capsys.readouterr().err.count("none.db does not exist") == 3
    assert not list(here.iterdir())


def test_a_search_makes_no_tables_in_another_program_s_database_but_fills_an_empty_file(here: Path) -> None:
    url, file = f"sqlite:///{here / 'some.db'}", here / "some.db"
    file.touch()
    assert connect("some", url).get_all_studies() == []
    another_program_s(file)
    before = file.read_bytes()
    with pytest.raises(StudyError, match=r"some\.db is a database, but not one of Optuna's"):
        connect("some", url)
    assert file.read_bytes() == before


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    kept=st.floats(0, 1) | st.just(1.0),
)
def test_a_database_with_any_bytes_changed_is_read_or_refused(
    flips: list[tuple[float, int]], kept: float, whole: bytes, database: Path
) -> None:
    content = bytearray(whole)
    for place, byte in flips:
        content[int(place * len(content))] = byte
    database.write_bytes(content[: int(kept * len(content))])
    try:
        store = Store.open("small")
    except StudyError as error:
        assert "\n" not in str(error)
    else:
        assert len(store.results()) == len(store.candidates)
        write_page(store, "python -m nas.search")
