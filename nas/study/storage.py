"""Optuna's storage in a database, with a quicker way to read many trials."""

import json
from collections import defaultdict
from collections.abc import Container, Iterable
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, DateTime, Select, column, or_, select, table
from sqlalchemy.exc import SQLAlchemyError

_TRIALS = table(
    "trials",
    *(column(name) for name in ("trial_id", "study_id", "number", "state")),
    *(column(name, DateTime) for name in ("datetime_start", "datetime_complete")),
)
_NOT_FINITE = {"INF_POS": float("inf"), "INF_NEG": float("-inf"), "NAN": float("nan")}


class Storage(RDBStorage):
    """Optuna's storage, which reads the trials of a study as plain rows.

    Optuna makes an object of every parameter of every trial, and parses its distribution twice, which takes ten seconds
    for 10,000 candidates of a search. Here a distribution is parsed once for all trials that share it. `_get_trials` is
    private: in Optuna 5.0 all reading of many trials comes to it, and tests/nas/study/test_storage.py fails for a
    version in which it does not.
    """

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """The trials of a study with greater ids, and those included, in the order of their ids."""
        wanted = _TRIALS.c.trial_id > trial_id_greater_than
        if included := [each for each in included_trial_ids if each <= trial_id_greater_than]:
            wanted = or_(wanted, _TRIALS.c.trial_id.in_(included))
        try:
            with self.engine.begin() as connection:
                trials = _read(connection, select(_TRIALS).where(_TRIALS.c.study_id == study_id, wanted))
        except SQLAlchemyError as error:
            raise StorageInternalError("The trials of a study could not be read.") from error
        return [trial for trial in trials if states is None or trial.state in states]


def _read(connection: Connection, chosen: Select[Any]) -> list[FrozenTrial]:
    """The trials of the chosen rows of their table, with all that the other tables hold of them."""
    ids = chosen.with_only_columns(_TRIALS.c.trial_id)

    def held(name: str, *columns: str, by: str) -> Iterable[Any]:
        there = table(name, *map(column, ("trial_id", *columns, by)))
        rows = select(*(there.c[each] for each in ("trial_id", *columns))).where(there.c.trial_id.in_(ids))
        return connection.execute(rows.order_by(there.c[by]))

    def notes(name: str, by: str) -> dict[int, dict[str, Any]]:
        found, rows = defaultdict[int, dict[str, Any]](dict), list(held(name, "key", "value_json", by=by))
        values = json.loads(f"[{','.join(text for _, _, text in rows)}]")  # in one go, twice as fast as one by one
        for (trial, key, _), value in zip(rows, values, strict=True):
            found[trial][key] = value
        return found

    def numbers(name: str, key: str, value: str) -> dict[int, dict[int, float]]:
        found = defaultdict[int, dict[int, float]](dict)
        for trial, step, number, kind in held(name, key, value, f"{value}_type", by=key):
            found[trial][step] = _NOT_FINITE.get(kind, number)
        return found

    rows = connection.execute(chosen.order_by(_TRIALS.c.trial_id)).all()
    params, distributions = defaultdict[int, dict[str, Any]](dict), defaultdict[int, dict[str, BaseDistribution]](dict)
    for trial, name, value, text in held(
        "trial_params", "param_name", "param_value", "distribution_json", by="param_id"
    ):
        distributions[trial][name] = distribution = _distribution(text)
        params[trial][name] = distribution.to_external_repr(value)
    user, system = (notes(f"trial_{whose}_attributes", f"trial_{whose}_attribute_id") for whose in ("user", "system"))
    values = numbers("trial_values", "objective", "value")
    steps = numbers("trial_intermediate_values", "step", "intermediate_value")
    return [
        FrozenTrial(
            number=number,
            state=TrialState[state],
            value=None,
            values=list(values[trial].values()) or None,
            datetime_start=start,
            datetime_complete=complete,
            params=params[trial],
            distributions=distributions[trial],
            user_attrs=user[trial],
            system_attrs=system[trial],
            intermediate_values=steps[trial],
            trial_id=trial,
        )
        for trial, _, number, state, start, complete in rows
    ]


@lru_cache(maxsize=10_000)
def _distribution(text: str) -> BaseDistribution:
    """The distribution that Optuna stores as this text; one object for all parameters with the same."""
    return json_to_distribution(text)
