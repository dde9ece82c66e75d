"""A study opens in optuna-dashboard: its front, objectives, constraints, scores and architectures can be read there."""

import json
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna_dashboard import wsgi
from tiny import search_options

from nas.search import main
from nas.strategy.pareto import front
from nas.study.store import Store


def get(storage: str, path: str) -> Any:
    """What the dashboard's own page would get."""
    environment: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": "after=0"}
    setup_testing_defaults(environment)
    statuses = list[str]()
    app = wsgi(optuna.storages.RDBStorage(storage))
    body = b"".join(app(environment, lambda status, *_: statuses.append(status)))
    assert statuses == ["200 OK"], body
    return json.loads(body)


def test_a_study_is_readable_in_the_dashboard(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(search_options(data, "shown", 4)) == 0
    storage, store = "sqlite:///studies/shown/study.db", Store.open("shown")
    names = {study["study_name"]: study["study_id"] for study in get(storage, "/api/studies")["study_summaries"]}
    assert set(names) == {"shown", "shown: fresh seeds"}
    study = get(storage, f"/api/studies/{names['shown']}")
    assert study["objective_names"] == ["validation macro accuracy", "MACs"]
    assert study["directions"] == ["maximize", "minimize"]
    by_accuracy = front([each.point for each in store.finished()])
    assert {trial["number"] for trial in study["best_trials"]} == {
        store.finished()[index].trial.number for index in by_accuracy
    }
    shown = {trial["number"]: trial for trial in study["trials"]}
    for candidate in store.candidates:
        trial = shown[candidate.trial.number]
        attributes = {attribute["key"]: attribute["value"] for attribute in trial["user_attrs"]}
        assert trial["values"] == [candidate.accuracy, candidate.macs]
        assert attributes["layout"] == candidate["layout"]
        assert trial["constraints"] == [candidate.bytes / 128_000 - 1, candidate.macs / 30_000_000 - 1]
        assert {int(value["step"]): value["value"] for value in trial["intermediate_values"]} == {
            candidate.samples: candidate.accuracy
        }
