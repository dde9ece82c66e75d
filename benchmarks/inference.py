"""How long one clip takes on one thread, and what memory: PyTorch, and the runtimes on what is exported for them.

    python -m benchmarks.inference

Table 1 with random weights, from log-mels, and where a form hears samples from those, with the front end included. Each
measurement is a process of its own; rounds take turns, the median counts. Memory is what the process's peak grows by
from before the model is loaded to after its clips (Linux counts it; the imports are not in it): weights, activations,
scratch space and the runtime's own structures together. Below the table stands what the budget says a layer-by-layer
runtime must hold of activations, and what ExecuTorch's memory planner lays out for its plain kernels, layer by layer.

Notes, of one core. From log-mels onnxruntime takes 0.29 of PyTorch's time in float32 (1.6 ms against 5.4) and
ExecuTorch 0.17 (0.9 ms). int8 pays with ExecuTorch (0.13) and not with onnxruntime (0.48), which fuses half of the
convolutions with their conversions and computes the others in float32. float16 is slow in PyTorch (4.2) and no gain in
onnxruntime. Before its average pools stood behind a layer of zeros, ExecuTorch left them to plain kernels, and a clip
took 34 ms.

A clip takes 3 to 4 MB with ExecuTorch, 13 to 16 with onnxruntime, 32 with PyTorch; what a layer-by-layer runtime must
hold of activations is 1.3 MB in float32, a quarter in int8, and ExecuTorch's planner comes to the same bytes.

From samples onnxruntime takes 1.4 times as long as PyTorch (9.6 ms against 6.8): its front end costs 8 ms, PyTorch's
1.4. So on such a processor compute the log-mel outside the graph; `--waveform` is for where nothing else can.
"""

import multiprocessing
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from budget.memory import peak
from dynacp.audio.features import FrontEnd, LogMel
from dynacp.export.formats import TARGETS, Exported
from dynacp.pipeline.prediction import Student
from dynacp.student.architecture import TABLE1
from dynacp.student.int8 import quantised
from dynacp.student.layers import steps_of
from dynacp.student.model import DynaCP

WARM_UP, CLIPS, ROUNDS = 20, 200, 3


class Cost(NamedTuple):
    milliseconds: float
    kilobytes: float


def student() -> Student:
    """Table 1 with random weights and the batch statistics of random clips."""
    torch.manual_seed(0)
    network = DynaCP(TABLE1).train()
    with torch.no_grad():
        for _ in range(10):
            network(torch.randn(8, 1, *TABLE1.input))
    return Student(network.eval(), LogMel(FrontEnd()), tuple(map(str, range(10))), torch.float32)


def clip(waveform: bool) -> np.ndarray:
    shape = (1, 44_100) if waveform else (1, 1, *TABLE1.input)
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


def write(runtime: str, dtype: str, waveform: bool, file: Path) -> None:
    """The student as a file of the runtime."""
    writer, network = TARGETS[runtime].file(), student()
    prepared = writer.prepared(network.network)
    if dtype == "int8":
        inputs = torch.randn(64, 1, *TABLE1.input)
        prepared = quantised(prepared, inputs, adds_in_16_bits=writer.adds_in_16_bits)
    writer(Exported(network, dtype, waveform=waveform, network=prepared)).save(file, {})


def by_pytorch(dtype: str, waveform: bool) -> Cost:
    torch.set_num_threads(1)
    inputs = torch.from_numpy(clip(waveform))

    def load() -> Callable[[], object]:
        network = Exported(student(), dtype, waveform=waveform)
        return lambda: network(inputs)

    with torch.inference_mode():
        return _cost(load)


def by_onnxruntime(file: Path, waveform: bool) -> Cost:
    options, clips = onnxruntime.SessionOptions(), clip(waveform)
    options.intra_op_num_threads = 1

    def load() -> Callable[[], object]:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        inputs = {session.get_inputs()[0].name: clips}
        return lambda: session.run(None, inputs)

    return _cost(load)


def by_executorch(file: Path, waveform: bool) -> Cost:
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(1)
    inputs = [torch.from_numpy(clip(waveform))]

    def load() -> Callable[[], object]:
        method = Runtime.get().load_program(file).load_method("forward")
        assert method is not None
        return lambda: method.execute(inputs)

    return _cost(load)


def planned_activations() -> int:
    """Bytes that ExecuTorch's memory planner lays out for one clip where plain kernels compute, layer by layer."""
    from executorch.exir import to_edge

    program = torch.export.export(student().network, (torch.from_numpy(clip(waveform=False)),))
    (plan,) = to_edge(program).to_executorch().executorch_program.execution_plan
    return sum(plan.non_const_buffer_sizes)


def _cost(load: Callable[[], Callable[[], object]]) -> Cost:
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    run, times = load(), []
    for _ in range(WARM_UP + CLIPS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return Cost(1e3 * statistics.median(times[WARM_UP:]), _memory("VmHWM") - before)


def _memory(kind: str) -> int:
    """Of this process, in kB."""
    found = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def measured(condition: Callable[[], Cost]) -> Cost:
    """In a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(condition).result()


def conditions(folder: Path) -> dict[tuple[str, str], Callable[[], Cost]]:
    """(what it hears, what computes) -> measurement."""
    found: dict[tuple[str, str], Callable[[], Cost]] = {}
    for inputs, waveform in (("log-mel", False), ("samples", True)):
        for dtype in ("float32", "float16"):
            found[inputs, f"PyTorch, {dtype}"] = partial(by_pytorch, dtype, waveform)
        runtimes = [("onnxruntime", "onnx", by_onnxruntime), ("ExecuTorch", "executorch", by_executorch)]
        for name, runtime, by_runtime in runtimes[: 1 if waveform else None]:
            for dtype in TARGETS[runtime].dtypes:
                file = folder / f"{runtime}-{dtype}-{inputs}"
                write(runtime, dtype, waveform, file)
                found[inputs, f"{name}, {dtype}"] = partial(by_runtime, file, waveform)
    return found


def main() -> None:
    with TemporaryDirectory() as temporary:
        wanted = conditions(Path(temporary))
        rounds = [{name: measured(condition) for name, condition in wanted.items()} for _ in range(ROUNDS)]
    table = Table(title="One clip of Table 1 on one thread")
    for name in ("input", "", "ms", "of PyTorch's float32", "memory, MB"):
        table.add_column(name, justify="left" if name in ("input", "") else "right")
    for key in wanted:
        costs = [each[key] for each in rounds]
        took, held = (statistics.median(values) for values in zip(*costs, strict=True))
        base = statistics.median(each[key[0], "PyTorch, float32"].milliseconds for each in rounds)
        table.add_row(*key, f"{took:.2f}", f"{took / base:.2f}", f"{held / 1e3:.1f}")
    out = Console(width=120)
    out.print(table)
    out.print(
        f"Activations of Table 1 in float32, layer by layer: {peak(steps_of(TABLE1)).bytes['float32']:,} bytes by the "
        f"budget, {planned_activations():,} bytes by ExecuTorch's memory planner."
    )


if __name__ == "__main__":
    main()
