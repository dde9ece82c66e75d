"""More workers on this machine: the same command, started again."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch


@contextmanager
def helpers(number: int, arguments: Sequence[str], folder: Path, note: Callable[[str], None]) -> Iterator[None]:
    """Runs `python -m nas.search` so many times beside the block, with as many threads each as this process has.

    Each writes to worker-2.log and so on in `folder`. They end when the search does, or when the block fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-m", "nas.search", *arguments, "--workers", "1"]
    logs = [folder / f"worker-{index}.log" for index in range(2, number + 2)]
    with ExitStack() as stack:
        processes = []
        for log in logs:
            out = stack.enter_context(log.open("w", encoding="utf-8"))
            processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment))
        try:
            yield
            for process, log in zip(processes, logs, strict=True):
                if status := process.wait():
                    note(f"One worker ended early, with status {status}; the others did its share. It wrote {log}.")
        finally:
            for process in processes:
                process.terminate()
                process.wait()
