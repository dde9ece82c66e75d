"""`python -m nas.fidelity`, whole: on the search of a tiny data set of real wavs."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny import search_options

from nas.fidelity import main
from nas.report import main as report
from nas.search import main as search


def test_candidates_of_a_search_are_trained_in_full_once_and_the_report_shows_what_they_say(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert search(search_options(data, "checked", 5, race=0)) == 0
    assert report(["--study", "checked"]) == 0
    assert "Can the short trainings be trusted?" not in Path("studies/checked/report.html").read_text()
    command = ["--study", "checked", "--layouts", "4", "--seeds", "1"]
    assert main(command) == 0
    told = capsys.readouterr().out
    table = pd.read_csv("studies/checked/fidelity.csv")
    assert table["statistic"].tolist()[0] == "training loss, mean of all steps"
    assert table["statistic"].tolist()[-1] == "MACs alone"
    assert (table["candidates"] == 4).all()
    assert told.count("32 samples;") == 8, "two short trainings of each"
    assert told.count("36 samples;") == 4, "a full one of each"
    assert main(command) == 0, "nothing is left to train"
    assert "samples;" not in capsys.readouterr().out
    assert report(["--study", "checked"]) == 0
    page = Path("studies/checked/report.html").read_text()
    assert "Can the short trainings be trusted?" in page
    assert page.count("Kendall's tau with the full training, 95 %") == 1, "a chart of them"
    assert Path("studies/checked/fidelity.png").stat().st_size > 0


def test_a_search_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--study", "none"]) == 2
    assert "no study 'none'" in capsys.readouterr().err


def test_a_search_of_too_few_candidates_is_told_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert search(search_options(data, "few", 2, race=0)) == 0
    assert main(["--study", "few", "--seeds", "1"]) == 0
    assert "Fewer than 4 candidates have all their trainings" in capsys.readouterr().out
    assert not Path("studies/few/fidelity.csv").exists()


def test_a_gpu_whose_memory_runs_out_ends_in_a_line_with_the_remedy(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert search(search_options(data, "large", 4, race=0)) == 0

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("nas.scoring.score.train", full)
    assert main(["--study", "large", "--seeds", "1"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the GPU's memory ran out" in err
    assert "fewer --workers" in err
