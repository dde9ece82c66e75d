"""Working off a pipeline's stages: one after the other, side by side, or a share of them in each of many processes."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, get_context
from multiprocessing.queues import Queue

import torch

from dynacp.audio.dataset import GENERAL
from dynacp.pipeline.evaluation import tested_students, tested_teachers
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import Plan
from dynacp.stages import Stage, StageError

Progress = Callable[[str, int], None]
"""A function (name of a stage, steps done since the last call)."""

GROUPS = ("teachers", "views", "base", "device-teachers", "device-views", "device-students", "evaluation")
"""The groups of stages, in order; stages of one group do not need each other."""

POLL_SECONDS = 0.2
"""How often processes look at each other, in seconds."""


def stages_of(pipeline: Pipeline, group: str) -> list[Stage]:
    """The stages of a group, one of `GROUPS`; without views the two groups of them are empty.

    Those of the evaluation alone read the test split. The name is not checked: any other gives the evaluation's. Raises
    `DataError` for data that cannot be used.
    """
    general, own = (GENERAL,), pipeline.dataset.devices
    devices = own if group.startswith("device-") else general
    pairs = [(device, member) for device in devices for member in pipeline.members]
    if group in ("teachers", "device-teachers"):
        return [pipeline.teacher(*pair) for pair in pairs]
    if group in ("views", "device-views"):
        viewed = pipeline.settings.distillation.views
        return [stage for device in devices for stage in pipeline.lessons(device)] if viewed else []
    if group in ("base", "device-students"):
        return [pipeline.student(device) for device in devices]
    return [tested_teachers(pipeline), tested_students(pipeline)]


def make_in_turn(pipeline: Pipeline, stages: list[Stage], progress: Progress) -> None:
    """Make the stages that are not current, one after the other, in the order given.

    `progress(name of the stage, 1)` is called after each of a stage's steps. Raises `StageError` for a stage that
    cannot be made, as where it comes before one that it needs.
    """
    for stage in stages:
        pipeline.store.make(stage, partial(progress, stage.name, 1))


def make_side_by_side(plan: Plan, groups: tuple[str, ...], stages: list[Stage], jobs: int, progress: Progress) -> None:
    """Make the stages that are not current in `jobs` processes, each stage as soon as what it needs is there.

    `groups` are those of `GROUPS` that the stages belong to. `progress(name of a stage, 1)` is called for each step
    that a process has done. The processes share torch's threads among them. Raises `StageError` for the first stage
    that cannot be made, once those that run beside it are finished, for a process that was killed, and where there is
    no shared memory.
    """
    waiting, running = {stage.name: stage for stage in stages}, dict[Future[None], str]()
    failed: list[StageError] = []
    pool, steps = _workers(plan, groups, jobs)
    with pool, _killed_on_interrupt():
        while running or (waiting and not failed):
            unmade = {*waiting, *running.values()}
            for name, stage in list(waiting.items()):
                if not failed and not any(need.name in unmade for need in stage.needs):
                    running[pool.submit(_make, name)] = waiting.pop(name).name
            finished, _ = wait(running, POLL_SECONDS, FIRST_COMPLETED)
            while not steps.empty():
                progress(steps.get(), 1)
            for future in finished:
                name = running.pop(future)
                try:
                    future.result()
                except StageError as error:
                    failed.append(error)
                except BrokenProcessPool:
                    raise StageError(
                        f"a process that made {name} was killed, perhaps for memory: take fewer --jobs. Finished "
                        "stages are kept."
                    ) from None
    if failed:
        raise failed[0]


def _workers(plan: Plan, groups: tuple[str, ...], jobs: int) -> "tuple[ProcessPoolExecutor, Queue[str]]":
    """Processes, and a queue of the stages that they make steps of. Raises `StageError` without shared memory.

    Their queues are guarded by semaphores, which Linux keeps in /dev/shm.
    """
    context = get_context("spawn")
    threads = max(1, torch.get_num_threads() // jobs)
    try:
        steps: Queue[str] = context.Queue()
        start = (os.getpid(), plan, groups, threads, steps)
        return ProcessPoolExecutor(jobs, context, _start_worker, start), steps
    except (OSError, ImportError) as error:
        raise StageError(
            f"`--jobs {jobs}` needs semaphores in shared memory, which cannot be made ({error}): mount a /dev/shm that "
            "can be written, or take `--jobs 1`."
        ) from None


_pipeline: Pipeline
_stages: dict[str, Stage]
_steps: "Queue[str]"


def _start_worker(parent: int, plan: Plan, groups: tuple[str, ...], threads: int, steps: "Queue[str]") -> None:
    global _pipeline, _stages, _steps
    threading.Thread(target=_die_with_parent, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is the parent's to answer
    torch.set_num_threads(threads)
    _steps, _pipeline = steps, Pipeline(plan)
    _stages = {stage.name: stage for group in groups for stage in stages_of(_pipeline, group)}


def _die_with_parent(parent: int) -> None:
    """End this worker when its parent is gone, lest it go on beside the next run."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def _make(name: str) -> None:
    _pipeline.store.make(_stages[name], lambda: _steps.put(name))


@contextmanager
def _killed_on_interrupt() -> Iterator[None]:
    try:
        yield
    except BaseException:
        for worker in active_children():
            worker.kill()
        raise
