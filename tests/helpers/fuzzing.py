"""Many damaged inputs, one after the other, in a process of their own: what each ends in, takes and touches.

A case must end in an exit status that the command states, within a minute and the memory allowed, without a traceback,
and with every file as it was but those that the command is there to write.
"""

import io
import os
import resource
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from budget.cli.command import run

MOST_MEGABYTES = 512
"""That a case may take beside what the program itself does."""

MOST_SECONDS = 60

STATUSES = {0, 1, 2, 3}

Case = Callable[[], int]
"""One damaged input, made and ready; returns the exit status."""


@dataclass
class Outcome:
    """What all cases of a kind came to."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    megabytes: int = 0
    """By which the process grew."""

    def __str__(self) -> str:
        statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return (
            f"{self.cases:,} cases ended by status {{{statuses}}}, {len(self.faults)} faults, {self.megabytes} MB more"
        )


@dataclass(frozen=True)
class Sandbox:
    """A folder to work in. What a command may write goes to `out`, and so does what it keeps for itself."""

    root: Path

    def __post_init__(self) -> None:
        for folder in (self.given, self.out):
            folder.mkdir(parents=True, exist_ok=True)
        (self.given / "beside.txt").write_text("not to be touched")

    @property
    def given(self) -> Path:
        return self.root / "given"

    @property
    def out(self) -> Path:
        return self.root / "out"

    def state(self) -> dict[str, tuple[int, ...]]:
        """Every file and folder that is not to be written, with what would change if it were."""
        paths = [path for path in self.root.rglob("*") if not path.is_relative_to(self.out)]
        seen = {str(path): path.lstat() for path in paths}
        return {name: (stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime_ns) for name, stat in seen.items()}


def fuzz(prepare: Callable[[Sandbox], Callable[[Random], Case]], cases: int, folder: Path, *, name: str) -> Outcome:
    """`prepare` fills a sandbox with what is whole; what it returns makes case after case of it, by a seed each."""
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(prepare, cases, folder, name, theirs))
    process.start()
    theirs.close()
    outcome, current = Outcome(), "the first case"
    try:
        while True:
            told = ours.recv()
            if isinstance(told, Outcome):
                outcome = told
            else:
                current = told
    except EOFError:
        process.join()
    if process.exitcode:
        outcome.faults.append(f"{current}: the process ended with {process.exitcode}")
    return outcome


def _work(prepare: Any, cases: int, folder: Path, name: str, pipe: Connection) -> None:
    sandbox, outcome = Sandbox(folder), Outcome()
    os.chdir(sandbox.out)
    make = prepare(sandbox)
    _limit_memory()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(cases):
        pipe.send(f"{name} {number}")
        status, fault = _tried(make(Random(f"{name} {number}")), sandbox)
        outcome.cases += 1
        outcome.statuses[status] += 1
        if fault:
            outcome.faults.append(f"{name} {number}: {fault}")
    outcome.megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most) // 1024
    if outcome.megabytes > MOST_MEGABYTES:
        outcome.faults.append(f"{name}: the process grew by {outcome.megabytes} MB")
    pipe.send(outcome)
    pipe.close()
    os._exit(0)


def _limit_memory() -> None:
    """So that a fault here is an error here, and nobody else's: allocations beyond fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 2 * MOST_MEGABYTES * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _tried(case: Case, sandbox: Sandbox) -> tuple[int, str]:
    """The exit status, or -1, and what is wrong."""
    before = sandbox.state()
    with _captured() as told:
        try:
            with _limited():
                status = run(case)
        except BaseException:  # whatever it is, a user would see a traceback
            return -1, traceback.format_exc(limit=-4)
    text = told.getvalue().decode(errors="replace")
    if "Traceback" in text or status not in STATUSES:
        return status, f"status {status}: {text[-2_000:]}"
    if status == 2 and "error" not in text:
        return status, f"no word of what is wrong: {text[-500:]!r}"
    after = sandbox.state()
    touched = {path for path, _ in before.items() ^ after.items()}
    return status, f"touched {', '.join(sorted(touched))}" if touched else ""


@contextmanager
def _captured() -> Any:
    """Both standard streams as bytes."""
    out, err, content = sys.stdout, sys.stderr, io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="utf-8", write_through=True)
    sys.stdout = sys.stderr = stream
    try:
        yield content
    finally:
        sys.stdout, sys.stderr = out, err
        stream.detach()


@contextmanager
def _limited() -> Any:
    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {MOST_SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def answered(function: Callable[[], object], *errors: type[Exception]) -> Case:
    """A case of a function of the library: these errors are what its command would answer with status 2."""

    def case() -> int:
        try:
            function()
        except errors as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0

    return case


def check(whole: Case) -> None:
    """That a case is answered with status 0 before anything is damaged."""
    with _captured() as told:
        status = run(whole)
    assert status == 0, told.getvalue().decode(errors="replace")


def command(main: Callable[[list[str]], int], *arguments: object) -> Case:
    return partial(main, list(map(str, arguments)))
