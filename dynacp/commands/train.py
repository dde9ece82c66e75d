"""`python -m dynacp train`: the stages of a full training, made one by one or side by side, and the report."""

import argparse
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from budget.cli.command import Add
from budget.cli.terminal import show
from budget.ledger import ledger
from budget.memory import peak
from dynacp.commands.options import (
    BUILT_IN,
    add_cache_option,
    add_checkpoint_options,
    add_data_option,
    add_device_option,
    cache_errors,
    data_root,
    resumable,
    training_device,
)
from dynacp.overrides import changed, settings_table
from dynacp.pipeline.pipeline import Pipeline
from dynacp.pipeline.plan import PRESET_SOURCES, PRESETS, TEACHERS, Plan, TrainingSettings, claim_run
from dynacp.pipeline.runner import GROUPS, make_in_turn, make_side_by_side, stages_of
from dynacp.settings import SettingError
from dynacp.stages import Stage, in_order
from dynacp.student.architecture import resolve
from dynacp.student.layers import layers_of, steps_of
from dynacp.teachers.views import told_beforehand


def add_options(add: Add) -> None:
    """Add the options of `python -m dynacp train`; `add` is `add_argument` of its parser."""
    add("architecture", metavar="ARCH", help="table1, or a JSON file such as `python -m nas.export` writes")
    add_data_option(add, "a data set in TAU's layout")
    add("--out", type=Path, metavar="RUN", help="the run's folder (default: runs/ARCH); the same one resumes")
    add(
        "--preset",
        choices=sorted(PRESETS),
        help="best: what brought most on real audio, for a GPU; paper: the paper's training where it speaks; quick: as "
        "the paper's, but minutes on two cores (default: quick on the built-in scenes, else best)",
    )
    named = "settings by the names that the run prints"
    add("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=named)
    add("--seed", type=int, default=0, metavar="N", help="of the students (default: 0)")
    add_checkpoint_options(add)
    add(
        "--irs",
        type=Path,
        metavar="DIR",
        help="wavs of microphone impulse responses, for clips of the clean device (--set recording.clean=NAME)",
    )
    add(
        "--unlabelled",
        type=Path,
        metavar="DIR",
        help="audio without labels, of any length: teachers say what it is, and the base student hears every second of "
        "it (--set distillation.views=K)",
    )
    add("--teachers", type=Path, metavar="DIR", help="their folder, to share them among runs (default: RUN/teachers)")
    add_device_option(add)
    add("--jobs", type=int, default=1, metavar="N", help="stages made side by side on the CPU (default: 1)")
    add("--only", choices=GROUPS, help="make this group of stages alone")
    add("--shard", metavar="K/N", help="with --only: of its stages every Nth, from the Kth; for a cluster's array jobs")
    add_cache_option(add, "decoded audio")


@resumable
def run(options: argparse.Namespace, console: Console) -> None:
    """Train or resume, and evaluate, the run that these options describe (see `add_options`).

    `resumable` makes it return the exit status.
    """
    with cache_errors(options.cache):
        _train(options, console)


def _train(options: argparse.Namespace, console: Console) -> None:
    preset = options.preset or ("quick" if options.data == BUILT_IN else "best")
    plan = _plan(options, PRESETS[preset], console)
    shard = _shard(options)
    pipeline = Pipeline(plan)
    pipeline.check()
    claim_run(plan)
    title = f"Settings of {plan.run}"
    show(console, settings_table(plan.settings, PRESETS[preset], title, preset_source=PRESET_SOURCES[preset]))
    _introduce(pipeline, console)
    groups = GROUPS if options.only is None else (options.only,)
    if options.only:
        stages = stages_of(pipeline, options.only)[shard]
    else:
        stages = in_order([stage for group in GROUPS for stage in stages_of(pipeline, group)])
    missing = [stage for stage in stages if pipeline.store.checksum(stage) is None]
    console.print(f"{len(stages) - len(missing)} of {len(stages)} stages are finished already.")
    with _progress(console, missing) as progressed:
        if options.jobs == 1:
            make_in_turn(pipeline, missing, progressed)
        else:
            make_side_by_side(plan, groups, missing, options.jobs, progressed)
    if "evaluation" in groups and all(pipeline.store.checksum(stage) for stage in stages_of(pipeline, "evaluation")):
        from dynacp.pipeline.report import Report  # seaborn takes half a second, which others need not wait for

        report = Report(pipeline)
        for path in report.write():
            console.print(str(path), soft_wrap=True)
        console.print(report.headline(), soft_wrap=True)
        console.print(f"Next: python -m dynacp predict {shlex.quote(str(plan.run))} WAV...", soft_wrap=True)


def _plan(options: argparse.Namespace, preset: TrainingSettings, console: Console) -> Plan:
    """What the options ask for, starting from a preset."""
    architecture = resolve(options.architecture)
    settings = replace(preset, seed=options.seed, teachers=replace(preset.teachers, mn=options.mn, dymn=options.dymn))
    run = options.out or Path("runs") / Path(options.architecture).stem
    if options.jobs < 1:
        raise SettingError(f"`--jobs` must be at least 1, but got {options.jobs}.")
    return Plan(
        architecture=architecture,
        settings=changed(settings, options.set),
        data=data_root(options, console.print),
        run=run,
        teachers=options.teachers or run / TEACHERS,
        cache=options.cache,
        responses=options.irs,
        unlabelled=options.unlabelled,
        device=_device(options),
    )


def _device(options: argparse.Namespace) -> str:
    device = training_device(options.device).type
    if device == "cuda" and options.jobs > 1:
        raise SettingError(
            "`--jobs` is for the CPU: take `--device cpu`, or on GPUs `--only ... --shard K/N`, one invocation with "
            "CUDA_VISIBLE_DEVICES for each."
        )
    return device


def _introduce(pipeline: Pipeline, console: Console) -> None:
    """The data, what the teachers start from, and whether the architecture fits, before anything is trained."""
    clips, settings = pipeline.dataset.training, pipeline.settings
    pipeline.dataset.decode()
    counts = ", ".join(f"{device} {len(pipeline.dataset.rows(device)):,}" for device in pipeline.dataset.devices)
    console.print(f"{len(clips):,} training clips of {len(clips.classes)} classes; by device: {counts}.")
    for device in sorted({clips.device_names[number] for number in set(clips.devices)} - {*pipeline.dataset.devices}):
        console.print(f"Device {device} has a single training clip and gets no models of its own; the base serves it.")
    real = [device for device in pipeline.dataset.devices if device in settings.recording.real_names]
    console.print(f"Real devices (`recording.real`) among them: {', '.join(real) or 'none'}.")
    for sentence in settings.teachers.described():
        console.print(sentence)
    if pipeline.dataset.unlabelled:
        console.print(f"{pipeline.dataset.unlabelled:,} seconds without labels, which the base student hears as well.")
    if settings.distillation.views:
        console.print(told_beforehand(settings.distillation.views, pipeline.view_bytes))
    if (own := pipeline.plan.architecture.classes) != pipeline.classes:
        console.print(
            f"The architecture's head of {own:,} classes is replaced by one of {pipeline.classes:,}, as the data has."
        )
    architecture = pipeline.architecture
    account = ledger(layers_of(architecture), dtype=settings.dtype)
    verdict = settings.limits.verdict(account, peak(steps_of(architecture)))
    console.print(f"{architecture}: {verdict} ({settings.dtype}).")
    console.print("Every training takes its last state; no clip is held out, and the test split steers nothing.")


def _shard(options: argparse.Namespace) -> slice:
    """Which stages of the group that `--only` names are this invocation's."""
    if options.shard is None:
        return slice(None)
    if options.only is None:
        raise SettingError("`--shard` divides the stages of one group: add `--only`.")
    shard, _, shards = options.shard.partition("/")
    if not (shard.isdecimal() and shards.isdecimal() and 1 <= int(shard) <= int(shards)):
        raise SettingError(f"`--shard` must be K/N with 1 <= K <= N, such as 3/8, but got {options.shard!r}.")
    return slice(int(shard) - 1, None, int(shards))


@contextmanager
def _progress(console: Console, stages: list[Stage]) -> Iterator[Callable[[str, int], None]]:
    """All stages as one bar, by their work; in a log a line as each begins."""
    work = {stage.name: stage.work / stage.steps for stage in stages}
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(elapsed_when_finished=True), console=console, transient=True) as bar:
        task = bar.add_task("training", total=sum(stage.work for stage in stages))
        begun = set[str]()

        def progressed(name: str, steps: int) -> None:
            if name not in begun and not console.is_terminal:
                console.print(f"{name} ({len(begun) + 1} of {len(stages)})", soft_wrap=True)
            begun.add(name)
            bar.update(task, description=name, advance=steps * work[name])

        yield progressed
