"""How fast a student's training step is on one core, against the same step with PyTorch's own gradients and memory.

    python -m benchmarks.step

Steps on 32 clips, of Table 1 (three of its six blocks are dilated) and of four random architectures that fit, in the
mean. Each measurement is a process of its own, since memory that is kept stays kept; rounds take turns, the median
counts.

Notes. With something else training on the other of two cores: 1.6 times as fast for Table 1 (102 to 164 clips/s; memory
alone 1.24, gradients alone 1.32), and 2.0 times for the random architectures (132 to 263), all of it by the gradients.

PyTorch's CPU backward pass of a dilated depthwise convolution is a generic one: at 64 channels of 64 x 23 it takes
41 ms with dilation 2 where the undilated takes 7, and 94 against 5 with a stride as well; the forward pass is oneDNN's,
and fast. glibc gives blocks beyond 128 kB back to the system when they are freed: 32,000 page faults a step of Table 1,
a fifth of its time. jemalloc made it worse (106,000 faults) unless told to keep everything, tcmalloc did as well as the
two settings of glibc; huge pages gained nothing beyond. torch.profiler with record_shapes=True brings the page faults
back, and then blames batch norm. Activations in place cost 4 to 7 %: ReLU6 copies its input first. A second thread for
our backward pass gained nothing: torch's own threads spin for a while after each operation.
"""

import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture
from dynacp.student.fast_gradients import fast_gradients
from dynacp.student.model import DynaCP
from dynacp.training.malloc import keep_freed_memory
from nas.space.feasible import Feasible
from nas.space.space import Space

BATCH, STEPS, ROUNDS = 32, 4, 3
CONDITIONS = {
    "PyTorch's gradients, memory given back": (False, False),
    "PyTorch's gradients, memory kept": (False, True),
    "our gradients, memory given back": (True, False),
    "our gradients, memory kept": (True, True),
}


def clips_a_second(architectures: list[Architecture], ours: bool, kept: bool) -> list[float]:
    """Forward and backward of each, in this process."""
    torch.set_num_threads(1)
    if kept:
        keep_freed_memory()
    rates = []
    for architecture in architectures:
        network = DynaCP(architecture)
        with fast_gradients(network) if ours else nullcontext():
            rates.append(_rate(network, architecture.input))
    return rates


def _rate(network: DynaCP, size: tuple[int, int]) -> float:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    clips = torch.randn(BATCH, 1, *size).contiguous(memory_format=torch.channels_last)
    for step in range(2 * STEPS):
        if step == STEPS:
            started = time.perf_counter()
        network.zero_grad()
        network(clips).square().mean().backward()
    return STEPS * BATCH / (time.perf_counter() - started)


def measured(architectures: list[Architecture], condition: tuple[bool, bool]) -> list[float]:
    """In a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(clips_a_second, architectures, *condition).result()


def main() -> None:
    feasible, rng = Feasible(Space(), Limits()), np.random.default_rng(0)
    random = [feasible.sample(blocks, 1, rng)[0] for blocks in (4, 5, 6, 7)]
    table = Table(title="Training steps on one core, clips a second")
    for name in ("", "Table 1", "ratio", "random architectures", "ratio"):
        table.add_column(name, justify="right" if name else "left")
    rates: dict[str, list[list[float]]] = {name: [] for name in CONDITIONS}
    for _ in range(ROUNDS):
        for name, condition in CONDITIONS.items():
            rates[name].append(measured([TABLE1, *random], condition))
    base = None
    for name, rounds in rates.items():
        each = [statistics.median(of_architecture) for of_architecture in zip(*rounds, strict=True)]
        pair = each[0], statistics.harmonic_mean(each[1:])
        base = base or pair
        table.add_row(
            name, *(text for now, was in zip(pair, base, strict=True) for text in (f"{now:.0f}", f"{now / was:.2f}"))
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
