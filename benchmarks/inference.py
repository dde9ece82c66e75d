"""How long one clip takes on one thread: PyTorch, and onnxruntime on the exported graph.

    python -m benchmarks.inference

Table 1 with random weights, from log-mels, and from samples with the front end included. Each measurement is a process
of its own; rounds take turns, the median counts.

Notes, of one core. From log-mels onnxruntime takes 0.29 of PyTorch's time (1.6 ms against 5.4). From samples it takes
1.31 times as long (9.7 against 7.4): its front end costs 8 ms, PyTorch's 2. So on such a processor compute the log-mel
outside the graph; `--waveform` is for where nothing else can. PyTorch takes 4.4 times as long in float16 as in float32
here, onnxruntime as long as in float32.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from dynacp.architecture import TABLE1
from dynacp.export.network import Exported
from dynacp.export.onnx_form import onnx_graph
from dynacp.features import FrontEnd, LogMel
from dynacp.model import DynaCP
from dynacp.predict import Student

WARM_UP, CLIPS, ROUNDS = 20, 200, 5


def student() -> Student:
    torch.manual_seed(0)
    return Student(DynaCP(TABLE1).eval(), LogMel(FrontEnd()), tuple(map(str, range(10))), torch.float32)


def clip(waveform: bool) -> np.ndarray:
    shape = (1, 44_100) if waveform else (1, 1, *TABLE1.input)
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


def by_pytorch(dtype: str, waveform: bool) -> float:
    """Milliseconds a clip."""
    torch.set_num_threads(1)
    network, heard = Exported(student(), dtype, waveform=waveform), torch.from_numpy(clip(waveform))
    with torch.inference_mode():
        return _milliseconds(lambda: network(heard))


def by_onnxruntime(file: Path, waveform: bool) -> float:
    """Milliseconds a clip."""
    options, heard = onnxruntime.SessionOptions(), clip(waveform)
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: heard}
    return _milliseconds(lambda: session.run(None, inputs))


def _milliseconds(run: Callable[[], object]) -> float:
    times = []
    for _ in range(WARM_UP + CLIPS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times[WARM_UP:])


def measured(condition: Callable[[], float]) -> float:
    """In a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(condition).result()


def main() -> None:
    with TemporaryDirectory() as temporary:
        conditions: dict[tuple[str, str], Callable[[], float]] = {}
        for waveform in (False, True):
            heard = "waveform" if waveform else "log-mel"
            for dtype in ("float32", "float16"):
                file = Path(temporary) / f"{dtype}-{heard}.onnx"
                onnx.save(onnx_graph(Exported(student(), dtype, waveform=waveform)), file)
                conditions[heard, f"PyTorch, {dtype}"] = partial(by_pytorch, dtype, waveform)
                conditions[heard, f"onnxruntime, {dtype}"] = partial(by_onnxruntime, file, waveform)
        rounds = [{name: measured(condition) for name, condition in conditions.items()} for _ in range(ROUNDS)]
    table = Table(title="One clip of Table 1 on one thread")
    for name in ("input", "", "ms", "of PyTorch's float32"):
        table.add_column(name, justify="left" if name in ("input", "") else "right")
    for heard, name in conditions:
        took, base = (statistics.median(each[heard, which] for each in rounds) for which in (name, "PyTorch, float32"))
        table.add_row(heard, name, f"{took:.2f}", f"{took / base:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
