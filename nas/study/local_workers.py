"""More workers on this machine: the same command, started again."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch


@contextmanager
def helpers(
    module: str, number: int, arguments: Sequence[str], folder: Path, note: Callable[[str], None]
) -> Iterator[None]:
    """Run `python -m MODULE` in `number` more processes beside the block, each with as many threads as this one.

    Each adds to worker-2.log and so on in `folder`. They end when the search does, or when the block fails.
    """
    command = [sys.executable, "-m", module, *arguments, "--workers", "1"]
    logs = [folder / f"worker-{index}.log" for index in range(2, number + 2)]
    with ExitStack() as stack:
        processes = []
        for worker, log in enumerate(logs, start=1):
            out = stack.enter_context(log.open("a", encoding="utf-8"))
            processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment(worker)))
        try:
            yield
            for process, log in zip(processes, logs, strict=True):
                if status := process.wait():
                    note(f"One worker ended early, with status {status}; the others did its share. It wrote {log}.")
        finally:
            for process in processes:
                process.terminate()
                process.wait()


def environment(worker: int) -> dict[str, str]:
    """The environment of a further worker: this process's number of threads, and the next of its GPUs in turn."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = list(map(str, range(torch.cuda.device_count()))) if seen is None else seen.split(",")
    gpu = {"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)]} if gpus else {}
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), **gpu}
