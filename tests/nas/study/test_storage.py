"""Our reading of Optuna's tables, with Optuna's own as the witness."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import text

from nas.study.storage import Storage

DISTRIBUTIONS = {
    "width": IntDistribution(8, 128, step=8),
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "shortcut": CategoricalDistribution(["none", None, True, 2, 0.5]),
}


def trials() -> Iterator[FrozenTrial]:
    """One of every state, with every kind of parameter, attribute and number."""
    shortcuts = iter(["none", None, True, 2, 0.5])
    for state in TrialState:
        params = {"width": 16, "shortcut": next(shortcuts), "rate": 0.1}  # not in the order of the alphabet
        yield create_trial(
            state=state,
            values=[float("inf"), -float("inf")] if state == TrialState.COMPLETE else None,
            params=params,
            distributions=DISTRIBUTIONS,
            user_attrs={"candidate": 3, "at 64": {"loss": 1.5}, "ä": [None, "\N{SNOWMAN}"]},
            system_attrs={"constraints": [-1.0, 2.0]},
            intermediate_values={64: float("nan"), 8: 0.25, 128: float("inf"), 256: -float("inf")},
        )
    yield create_trial(state=TrialState.WAITING)
    yield create_trial(values=[0.25, 7.0])


@contextmanager
def filled(url: str) -> Iterator[tuple[Storage, RDBStorage, int]]:
    """Two studies in a database: our reader, Optuna's, and the second one's id."""
    ours, optunas = Storage(url), RDBStorage(url)
    for name in ("other", "work"):
        study = optuna.create_study(study_name=name, storage=optunas, directions=["maximize", "minimize"])
        study.add_trials(list(trials()))
    try:
        yield ours, optunas, ours.get_study_id_from_name("work")
    finally:
        for each in (ours, optunas):
            each.engine.dispose()


def shown(trials: list[FrozenTrial]) -> list[str]:
    """What the trials hold, NaN equal to itself; in its order where somebody relies on that, as with parameters."""
    unordered = ("intermediate_values", "_user_attrs", "_system_attrs")
    return [repr(vars(each) | {name: sorted(vars(each)[name].items()) for name in unordered}) for each in trials]


def test_trials_are_read_as_optuna_reads_them(database: Callable[[str], str]) -> None:
    with filled(database("read")) as (ours, optunas, study):
        for states in (None, (TrialState.COMPLETE,), (TrialState.WAITING, TrialState.RUNNING), ()):
            read = ours.get_all_trials(study, states=states)
            assert shown(read) == shown(optunas.get_all_trials(study, states=states))
            assert len(read) == sum(states is None or each.state in states for each in trials())


def test_what_is_new_is_read_as_optuna_reads_it(database: Callable[[str], str]) -> None:
    with filled(database("new")) as (ours, optunas, study):
        first, *_, last = (each._trial_id for each in ours.get_all_trials(study))
        for known in (first - 1, first + 2, last):
            for included in (set[int](), {first, first + 1}, {first + 3, last}, {first - 1}):
                asked = (study, None, included, known)
                assert shown(ours._get_trials(*asked)) == shown(optunas._get_trials(*asked))


def test_studies_read_their_trials_by_it(database: Callable[[str], str]) -> None:
    with filled(database("studies")) as (ours, _, study):
        stored = optuna.load_study(study_name="work", storage=ours)
        for read in (lambda: stored.get_trials(deepcopy=False), lambda: ours.get_all_trials(study)):
            with (
                patch.object(Storage, "_get_trials", side_effect=NotImplementedError),
                pytest.raises(NotImplementedError),
            ):
                read()


def test_equal_distributions_are_one_object(database: Callable[[str], str]) -> None:
    with filled(database("shared")) as (ours, _, study):
        kept = [each.distributions["width"] for each in ours.get_all_trials(study, deepcopy=False) if each.params]
        assert len(kept) == len(TrialState)
        assert len({id(each) for each in kept}) == 1


def test_a_database_that_fails_is_optunas_error(database: Callable[[str], str]) -> None:
    with filled(database("failing")) as (ours, _, study):
        with ours.engine.begin() as connection:
            connection.execute(text("DROP TABLE trial_params"))
        with pytest.raises(StorageInternalError) as caught:
            ours.get_all_trials(study)
        assert caught.value.__cause__
