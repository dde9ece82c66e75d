"""How fast a student's training step is on one core, against the same step with PyTorch's own passes and memory.

    python -m benchmarks.step

Steps on 32 clips, of Table 1 (three of its six blocks are dilated) and of four random architectures that fit, in the
mean. Each measurement is a process of its own, since memory that is kept stays kept; rounds take turns, the median
counts.

Notes. With something else training on the other of two cores (a Xeon with AVX-512): 1.5 times as fast for Table 1 (109
to 167 clips/s), and 2.2 times for the random architectures (131 to 283). Table 1 owes 1.26 of it to the gradients of
dilated layers, and 1.22 to fewer passes in norms and pools; on two threads the latter gain nothing, so they are taken
on one alone. What is left is bound by memory: a tensor of 3 million numbers no longer lies in a core's cache when its
gradient comes, and the dense convolutions, 40 % of a step now, run as fast as a matrix product does. Taking these
products a cache's size at a time, each with the pass that follows it, gained nothing beyond.

PyTorch's CPU backward pass of a dilated depthwise convolution is a generic one: at 64 channels of 64 x 23 it takes
41 ms with dilation 2 where the undilated takes 7, and 94 against 5 with a stride as well; the forward pass is oneDNN's,
and fast. glibc gives blocks beyond 128 kB back to the system when they are freed: 32,000 page faults a step of Table 1,
a fifth of its time. jemalloc made it worse (106,000 faults) unless told to keep everything, tcmalloc did as well as the
two settings of glibc; huge pages gained nothing beyond. torch.profiler with record_shapes=True brings the page faults
back, and then blames batch norm. Activations in place cost 4 to 7 %: ReLU6 copies its input first. A second thread for
our backward pass gained nothing: torch's own threads spin for a while after each operation.
"""

import statistics
import time
from contextlib import nullcontext

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.apart import apart
from budget.limits import Limits
from dynacp.student.architecture import TABLE1, Architecture
from dynacp.student.fast_training import fast_training
from dynacp.student.model import DynaCP
from dynacp.training.malloc import keep_freed_memory
from nas.space.feasible import Feasible
from nas.space.space import Space

BATCH, STEPS, ROUNDS = 32, 4, 3
CONDITIONS = {
    "PyTorch's passes, memory given back": (False, False),
    "PyTorch's passes, memory kept": (False, True),
    "our passes, memory given back": (True, False),
    "our passes, memory kept": (True, True),
}


def clips_a_second(architectures: list[Architecture], ours: bool, kept: bool) -> list[float]:
    """Forward and backward of each, in this process."""
    torch.set_num_threads(1)
    if kept:
        keep_freed_memory()
    rates = []
    for architecture in architectures:
        network = DynaCP(architecture)
        with fast_training(network) if ours else nullcontext():
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


def main() -> None:
    feasible, rng = Feasible(Space(), Limits()), np.random.default_rng(0)
    random = [feasible.sample(blocks, 1, rng)[0] for blocks in (4, 5, 6, 7)]
    table = Table(title="Training steps on one core, clips a second")
    for name in ("", "Table 1", "ratio", "random architectures", "ratio"):
        table.add_column(name, justify="right" if name else "left")
    rates: dict[str, list[list[float]]] = {name: [] for name in CONDITIONS}
    for _ in range(ROUNDS):
        for name, condition in CONDITIONS.items():
            rates[name].append(apart(clips_a_second, [TABLE1, *random], *condition))
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
