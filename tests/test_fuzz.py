"""Damaged files and absurd command lines by the thousand: an answer or a clear error, and nothing else touched.

`DYNACP_FUZZ=10000 pytest -s -n 0 tests/test_fuzz.py` is the long form.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tiny
import torch
from fuzzing import Case, Sandbox, answered, check, command, fuzz
from mutations import VALUES, damaged_bytes, damaged_header, damaged_json, damaged_table

from budget.__main__ import main as budget
from dynacp.__main__ import main as dynacp
from dynacp.audio.augment import load_impulse_responses
from dynacp.audio.dataset import Dataset
from dynacp.audio.features import FrontEnd
from dynacp.audio.recording_devices import RecordingDevices
from dynacp.audio.tau import VALIDATION_FOLDS, DataError, parts_of_whole_groups
from dynacp.efficientat import mn
from dynacp.efficientat.__main__ import main as efficientat
from dynacp.settings import SettingError
from dynacp.student.architecture import TABLE1
from nas.explore import main as explore
from nas.export import main as export
from nas.plot import main as plot
from nas.report import main as report
from nas.search import main as search

CASES = int(os.environ.get("DYNACP_FUZZ", "2000"))
STUDY = Path(__file__).parents[1] / "studies" / "int8" / "study.db"

Make = Callable[[Random], Case]


def audio(sandbox: Sandbox) -> Make:
    """Wavs for `predict`, and as clips of a data set and impulse responses."""
    run, wav = tiny.write_run(sandbox.given / "run"), sandbox.given / "clip.wav"
    tiny.write_tone(wav)
    whole = wav.read_bytes()
    check(command(dynacp, "predict", run, wav))

    def make(random: Random) -> Case:
        wav.write_bytes(random.choice((damaged_header, damaged_bytes))(whole, random))
        if random.random() < 0.2:
            return answered(partial(load_impulse_responses, sandbox.given, tiny.RATE), ValueError)
        return command(dynacp, "predict", run, wav, *random.choice(((), ("--csv", sandbox.out / "out.csv"))))

    return make


def dataset(sandbox: Sandbox) -> Make:
    """meta.csv and the splits, and at times a clip, until all clips are decoded and divided for validation."""
    root = tiny.write_tiny(sandbox.given / "data")
    tables = [root / "meta.csv", root / "split_setup/split25.csv", root / "split_setup/test.csv"]
    clips = sorted((root / "audio").iterdir())[:3]
    whole = {file: file.read_bytes() for file in (*tables, *clips)}

    def read() -> None:
        roles = RecordingDevices()
        dataset = Dataset(root, sandbox.out / "cache", FrontEnd(), torch.device("cpu"), recording=roles)
        dataset.check()
        dataset.decode()
        parts_of_whole_groups(dataset.training, VALIDATION_FOLDS, seed=0)

    check(answered(read))

    def make(random: Random) -> Case:
        for file, content in whole.items():
            if file.read_bytes() != content:
                file.write_bytes(content)
        for file in random.sample(tables, random.choice((1, 1, 2))):
            file.write_bytes(damaged_table(whole[file], random))
        if random.random() < 0.1:
            clip = random.choice(clips)
            clip.write_bytes(damaged_header(whole[clip], random))
        return answered(read, DataError, SettingError)

    return make


def architecture(sandbox: Sandbox) -> Make:
    """JSON of a network, for the budget."""
    file, whole = sandbox.given / "architecture.json", TABLE1.to_json().encode()
    file.write_bytes(whole)
    check(command(budget, file))

    def make(random: Random) -> Case:
        file.write_bytes(damaged_json(whole, random))
        more = random.choice(((), (), ("--json",), ("--dtype", "int8"), ("--frames", random.choice((1, 65, 10**9)))))
        return command(budget, file, *more)

    return make


def checkpoint(sandbox: Sandbox) -> Make:
    """An EfficientAT checkpoint that lies where a download would be put, so that nothing is fetched."""
    name, file = "mn01_as_mAP_298", sandbox.given / "mn01_as_mAP_298.pt"
    torch.manual_seed(0)
    state = mn(0.1, 527).state_dict()
    torch.save(state, file)
    whole = file.read_bytes()
    check(command(efficientat, name, "--folder", sandbox.given))

    def make(random: Random) -> Case:
        if random.random() < 0.5:
            file.write_bytes(damaged_bytes(whole, random))
        else:
            torch.save(_other_state(state, random), file)
        return command(efficientat, name, "--folder", sandbox.given)

    return make


def _other_state(state: dict[str, torch.Tensor], random: Random) -> Any:
    key = random.choice(list(state))
    value = state[key]
    others: tuple[Any, ...] = (
        {**state, key: value[..., None]}, {**state, key: value.double()}, {**state, key: value * torch.nan},
        {**state, key: value.to_sparse()}, {**state, key: random.choice(VALUES)}, {**state, "more": value},
        {each: tensor for each, tensor in state.items() if each != key}, {"state_dict": state},
        {f"module.{each}": tensor for each, tensor in state.items()}, {"a": state, "b": state}, list(state.values()),
        random.choice(VALUES), {1: value}, {**state, key: value.new_zeros(0)}, {**state, key: value.to("meta")},
        {**state, "classifier.2.bias": torch.zeros(10**6)}, {**state, "classifier.5.bias": torch.zeros(10**6)},
    )  # fmt: skip
    return random.choice(others)


def run_folder(sandbox: Sandbox) -> Make:
    """What a training left, for `predict` and the beginning of `export` and `train`."""
    run, wav, kept = sandbox.given / "run", sandbox.given / "clip.wav", sandbox.root / "whole"
    tiny.write_run(kept)
    tiny.write_tone(wav)
    data = tiny.write_tiny(sandbox.given / "data")
    check(command(dynacp, "predict", kept, wav))

    def make(random: Random) -> Case:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(kept, run, ignore=shutil.ignore_patterns("*.lock"))
        file = run / random.choice(("run.json", "run.json", "students/base.json", "students/base.pt"))
        content = file.read_bytes()
        file.write_bytes((damaged_json if file.suffix == ".json" else damaged_bytes)(content, random))
        if random.random() < 0.7:
            return command(dynacp, "predict", run, wav)
        places = ("--data", data, "--cache", sandbox.out / "cache", "--max-bytes", 1)
        return command(dynacp, "export", run, "--to", random.choice(("onnx", "int8", "executorch")), *places)

    return make


def study(sandbox: Sandbox) -> Make:
    """A database of a finished search, for what reads it."""
    file = sandbox.out / "studies" / "int8" / "study.db"  # the one place that is read and written
    file.parent.mkdir(parents=True)
    whole = STUDY.read_bytes()
    file.write_bytes(whole)
    for main in (export, plot, report):
        check(command(main, "--study", "int8"))

    def make(random: Random) -> Case:
        file.write_bytes(damaged_bytes(whole, random) if random.random() < 0.3 else whole)
        if file.read_bytes() == whole:
            _damage_a_row(file, random)
        main = random.choice((export,) * 8 + (plot, report))
        return command(main, "--study", "int8")

    return make


def _damage_a_row(file: Path, random: Random) -> None:
    """Another value in one cell of a study's tables, in its JSON where it holds some."""
    table = random.choice(("study_user_attributes", "trial_user_attributes", "trial_params", "trial_values", "trials"))
    with closing(sqlite3.connect(file)) as database:
        (key, *_), *columns = database.execute(f"SELECT name FROM pragma_table_info('{table}')").fetchall()
        (column,), place = (
            random.choice(columns),
            random.choice(database.execute(f"SELECT {key} FROM {table}").fetchall()),
        )
        (value,) = database.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", place).fetchone()
        if column.endswith("_json"):
            changed: Any = damaged_json(value.encode(), random).decode(errors="replace")
        else:
            changed = random.choice(
                (None, -1, 0, 10**15, 1e300, float("inf"), "x", "", "COMPLETE", "FAIL", "candidate")
            )
        database.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {key} = ?", (changed, *place))
        database.commit()


def command_line(sandbox: Sandbox) -> Make:
    """Options and values of every command, none of which can begin a long work: an architecture or a data set is
    missing.
    """
    architecture = sandbox.given / "architecture.json"
    architecture.write_text(TABLE1.to_json())
    names = [
        "table1", architecture, sandbox.given, sandbox.given / "absent", "", "-", "--", "\udcff", "/dev/null",
        "a" * 300, "none", "pool",
        "../..", "int8", "nan", "1e309", "-1", "0", "1", "3", str(10**30), "x=1", "base.epochs=0", "base.epochs=x",
        "seed=${oc.env:HOME}", "recording.real=,", "1/2", "0/0", "float16", "onnx", "dcase", "sqlite:///", "mysql://x",
    ]  # fmt: skip
    absent, kept = ("--data", sandbox.given / "absent"), ("--cache", sandbox.out / "cache")
    commands: tuple[tuple[Callable[[list[str]], int], tuple[object, ...], tuple[str, ...]], ...] = (
        (budget, (), ("--dtype", "--frames", "--max-macs", "--max-bytes", "--max-activation-bytes", "--json")),
        (
            dynacp,
            ("train", architecture, *absent, *kept),
            ("--set", "--seed", "--mn", "--irs", "--jobs", "--only", "--shard"),
        ),
        (dynacp, ("predict",), ("--device-id", "--csv")),
        (dynacp, ("export", *absent, *kept), ("--to", "--dtype", "--student", "--name", "--max-macs")),
        (efficientat, (), ()),
        (
            search,
            (*absent, *kept),
            ("--trials", "--samples", "--study", "--mn", "--storage", "--mn-width", "--vary", "--baseline"),
        ),
        (explore, (sandbox.given / "absent", *kept), ("--dtype", "--max-macs", "--max-bytes", "--vary")),
        (export, (), ("--study", "--pick", "--storage")),
        (plot, (), ("--study", "--storage")),
        (report, (), ("--study", "--storage")),
    )

    def make(random: Random) -> Case:
        main, first, options = random.choice(commands)
        more: list[object] = [random.choice(names) for _ in range(random.choice((0, 1, 1, 2)))]
        for option in random.sample(options, random.randrange(min(3, len(options)) + 1)):
            more += [option, random.choice(names)]
        random.shuffle(more)
        return command(main, *first, *more)

    return make


KINDS: dict[Callable[[Sandbox], Make], float] = {
    audio: 0.3, dataset: 0.15, architecture: 0.25, checkpoint: 0.1, run_folder: 0.1, study: 0.02, command_line: 0.12,
}  # fmt: skip
"""Kind -> its share of the cases."""


def test_the_short_form_is_of_two_thousand_inputs() -> None:
    assert sum(round(2_000 * share) for share in KINDS.values()) >= 2_000


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_damaged_input_ends_in_an_answer_or_an_error_and_touches_nothing_else(
    kind: Callable[[Sandbox], Make], tmp_path: Path
) -> None:
    outcome = fuzz(kind, round(CASES * KINDS[kind]), tmp_path, name=kind.__name__)
    print(f"\n{kind.__name__}: {outcome}")
    assert outcome.faults == [], json.dumps(outcome.faults[:5], indent=1).replace("\\n", "\n")
    assert outcome.cases == round(CASES * KINDS[kind])
    assert outcome.statuses[2] > outcome.cases / 10, "damage that is never noticed shows nothing"
