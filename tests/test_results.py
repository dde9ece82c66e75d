"""A search, a run and an export come to what is written down in tests/frozen, up to the last bit of every weight.

What depends on how a machine rounds is compared on machines that are like the one that wrote it down; elsewhere these
tests skip. A change of results that is meant is written down anew: `DYNACP_FREEZE=1 pytest tests/test_results.py`.
"""

import json
import platform
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

import frozen
import pandas as pd
import pytest
from ready_students import clips, student
from tiny import LEAN

from dynacp.export.executorch_program import Program
from dynacp.export.formats import Exported
from dynacp.export.onnx_graph import OnnxGraph
from dynacp.student.int8 import quantised

VERSIONED = ("torch", "torchaudio", "numpy", "optuna", "onnx", "onnxscript", "onnxruntime", "executorch", "torchao")


def machine() -> dict[str, str]:
    """What results may depend on besides the code: the processor's make and abilities, and the libraries."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processor = [line for line in lines if line.startswith(("vendor_id", "cpu family", "model\t", "flags"))]
    key = blake2b("\n".join(sorted({*processor})).encode(), digest_size=8).hexdigest()
    return {"system": platform.machine(), "processor": key, **{name: version(name) for name in VERSIONED}}


@pytest.fixture
def like_the_first() -> None:
    """The machine rounds as the one did that wrote the results down."""
    found = machine()
    try:
        frozen.check("machine", found)
    except AssertionError:
        other = ", ".join(name for name, value in frozen.stored("machine").items() if found[name] != value)
        pytest.skip(f"results were written down on a machine with another {other}, which may round otherwise")


def digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def test_a_search_comes_to_the_same_candidates_and_scores(like_the_first: None, finished_search: Path) -> None:
    folder = finished_search / "finished"
    columns = ["candidate", "key", "seed", "accuracy", "loss", "macs", "bytes", "rejected", "duplicates"]
    found = {
        "candidates": pd.read_csv(folder / "results.csv")[columns].to_dict("records"),
        "race": pd.read_csv(folder / "race.csv")[["candidate", "samples", "way", "seed", "accuracy"]].to_dict(
            "records"
        ),
        "identity": json.loads((folder / "settings.json").read_text())["identity"],
    }
    frozen.check("search", found)


def test_a_run_makes_the_same_stages_from_the_same_settings(like_the_first: None, finished_run: Path) -> None:
    found = {}
    for file in sorted(finished_run.glob("*/**/*.json")):
        record = json.loads(file.read_text())
        settings = digest(json.dumps(record["settings"], sort_keys=True).encode())
        name = str(file.relative_to(finished_run).with_suffix(""))
        found[name] = {"settings": settings, "needs": record["needs"], "checksum": record["checksum"]}
    frozen.check("run", found)


@pytest.mark.parametrize(("runtime", "dtype"), [(OnnxGraph, "float32"), (OnnxGraph, "int8"), (Program, "int8")])
def test_an_export_has_the_same_bytes(
    like_the_first: None, runtime: type[OnnxGraph] | type[Program], dtype: str, tmp_path: Path
) -> None:
    trained, file = student(LEAN), tmp_path / "student"
    network = runtime.prepared(trained.network)
    if dtype == "int8":
        network = quantised(network, clips(8, seed=2), adds_in_16_bits=runtime.adds_in_16_bits)
    runtime(Exported(trained, dtype, network=network)).save(file, {"classes": list(trained.classes)})
    frozen.check(f"export/{runtime.library}-{dtype}", digest(file.read_bytes()))
