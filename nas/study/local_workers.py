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
    """Run `python -m MODULE ARGUMENTS --workers 1` in `number` more processes while the block runs.

    Each has as many threads as this process and appends what it prints to worker-2.log and so on in `folder`. At the
    end of the block they are waited for, and one that failed is told by a line to `note`; they are stopped if the block
    fails. With 0 there are none. Raises `OSError` where `folder` cannot be written.
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
    """Environment variables of further worker 1, 2, ...: this process's, its number of threads, and one of its GPUs.

    Workers take this process's GPUs in turn; it has the first itself.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = list(map(str, range(torch.cuda.device_count()))) if seen is None else seen.split(",")
    gpu = {"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)]} if gpus else {}
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), **gpu}
