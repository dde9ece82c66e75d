"""Export a finished run's students. Each file is counted again and compared with PyTorch before it is kept.

    python -m dynacp export RUN --to onnx                  graphs for onnxruntime, in the run's dtype
    python -m dynacp export RUN --to int8                  the same in int8: half of float16, so twice as much fits
    python -m dynacp export RUN --to executorch            programs in int8 for phones and embedded Linux
    python -m dynacp export RUN [RUN ...] --to dcase --name Team_Lab     a package with the challenge's interface

int8 is calibrated on training clips. Where that costs a student more than half a point of accuracy on training clips,
it is fine-tuned first with the same distillation, for which the run's teachers must be there. The test clips decide
nothing.

A package of the challenge holds one system, all students of a run, for each RUN (at most four, in this order). It is
written into the first RUN's folder.

A student that is over the limits in the format asked for is refused, and the error says in which formats it fits.
Exit status: 0 exported, 2 refused or bad input, 3 standard output could not be written, 130 stopped.
"""

import argparse
import shlex
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from budget.cli.command import Add, add_limit_options, limits_of
from budget.dtypes import DTYPES
from dynacp.commands.options import add_cache_option, add_data_option, cache_errors, data_root, resumable
from dynacp.export.finished_run import Trained
from dynacp.export.formats import TARGETS, ExportFormat
from dynacp.settings import SettingError

INT8 = "int8"
"""The value of `--to` that is short for `--to onnx --dtype int8`."""


def add_options(add: Add) -> None:
    """Add the options of `python -m dynacp export`; `add` is `add_argument` of its parser."""
    add("run", type=Path, nargs="+", metavar="RUN", help="a folder that `train` finished (dcase: up to four)")
    add("--to", choices=("onnx", INT8, *(name for name in TARGETS if name != "onnx")), required=True, help="see above")
    add(
        "--dtype",
        choices=tuple(DTYPES),
        help="of the parameters (default: the run's; of executorch int8)",
    )
    add("--waveform", action="store_true", help="hear one second of samples in place of log-mels (onnx, int8)")
    add("--student", metavar="NAME", help="base, or a device's (default: all)")
    add("--name", metavar="NAME", help="of the submission, such as Team_Lab (dcase)")
    add_data_option(add, "what the run was trained on")
    add_limit_options(add)
    add_cache_option(add, "decoded audio")


@resumable
def run(options: argparse.Namespace, console: Console) -> None:
    """Export students of the runs that these options name (see `add_options`).

    `resumable` makes it return the exit status.
    """
    with cache_errors(options.cache):
        _export(options, console)


def _export(options: argparse.Namespace, console: Console) -> None:
    limits, data = limits_of(options), data_root(options)
    runs = [Trained(run, data, options.cache, limits) for run in options.run]
    if options.to == "dcase":
        _package(runs, options, console)
        return
    if len(runs) > 1:
        raise SettingError(f"`--to {options.to}` exports one run, but got {len(runs)}: give the command for each.")
    _files(runs[0], _format(runs[0], options), options, console)


def _format(trained: Trained, options: argparse.Namespace) -> ExportFormat:
    if options.name:
        raise SettingError("`--name` is a submission's: it goes with `--to dcase`.")
    if options.to == INT8:
        if options.dtype not in (None, INT8):
            raise SettingError(f"`--to int8` contradicts `--dtype {options.dtype}`: leave one of them out.")
        return ExportFormat(TARGETS["onnx"], INT8, options.waveform)
    target = TARGETS[options.to]
    if options.waveform and target.no_waveform:
        raise SettingError(
            f"`--waveform` does not go with `--to {target.name}`: {target.no_waveform}. Compute the log-mel outside, "
            "or take `--to onnx` or `--to int8`."
        )
    dtype = options.dtype or target.default_dtype or trained.dtype
    if dtype not in target.dtypes:
        raise SettingError(
            f"`--to {target.name}` stores parameters in {' or '.join(target.dtypes)}, but not in {dtype}."
        )
    return ExportFormat(target, dtype, options.waveform)


def _files(trained: Trained, format: ExportFormat, options: argparse.Namespace, console: Console) -> None:
    students = trained.students(options.student)
    trained.judge(trained.base.network.architecture, format)  # before the slow imports
    from dynacp.export.runtime_files import Files

    quiet = not console.is_terminal
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task(f"exporting as {format}", total=len(students))
        files = Files(trained, format, tell=lambda text: console.print(text, soft_wrap=True))
        for export in files.exports(students):
            console.print(str(export), soft_wrap=True)
            card = files.write_card()
            bar.advance(task)
    console.print(str(card), soft_wrap=True)


def _package(runs: list[Trained], options: argparse.Namespace, console: Console) -> None:
    if given := [name for name in ("dtype", "waveform", "student") if getattr(options, name)]:
        raise SettingError(f"`--{given[0]}` does not go with `--to dcase`, which takes all students as they are.")
    if not options.name:
        raise SettingError("`--to dcase` needs `--name`, such as Team_Lab.")
    from dynacp.export.package import write_package

    packaged = write_package(runs, options.name)
    for module, of_system in packaged.parity.items():
        for name, parity in of_system.items():
            console.print(f"{module}, {name}: {parity}.", soft_wrap=True)
    console.print(f"Next: pip install {shlex.quote(str(packaged.folder))}", soft_wrap=True)
