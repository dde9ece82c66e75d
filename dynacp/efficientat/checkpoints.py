"""Official EfficientAT checkpoints: loaded strictly, fetched by name, refused with a reason.

The files are those of release v0.0.1 of https://github.com/fschmid56/EfficientAT (MIT): state dicts of networks trained
on AudioSet (527 classes). Family and width are read off the tensors, so a file name is never trusted.

A user's own network may also lie in what training frameworks write: as an entry of a checkpoint (Lightning's
`state_dict`), under a prefix (`module.` of DistributedDataParallel), or in torch's format before 1.6.
"""

import pickle
import shutil
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen
from zipfile import ZipFile

import torch
from rich.console import Console
from rich.progress import wrap_file
from torch import Tensor

from budget.errors import UserError
from dynacp.efficientat.blocks import LAST_HIDDEN
from dynacp.efficientat.dymn import TRAINED_TEMPERATURE, DyMN
from dynacp.efficientat.families import FAMILIES, Family, Teacher
from dynacp.files import written_whole
from dynacp.strict_json import shown

RELEASE = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1"
"""The address of the official files' release."""

NAMES = (
    "mn01_as_mAP_298",
    "mn02_as_mAP_378",
    "mn04_as_mAP_432",
    "mn05_as_mAP_443",
    "mn10_as_mAP_471",
    "mn20_as_mAP_478",
    "mn30_as_mAP_482",
    "mn40_as_mAP_484",
    "mn10_as_mels_256_mAP_474",
    "dymn04_as",
    "dymn10_as",
    "dymn20_as_mAP_493",
)
"""The names of the official checkpoints: family, width in tenths, training set, and mean average precision there in
thousandths."""

State = dict[str, Tensor]
"""A state dict: tensors by name."""

_FIRST_KEYS = {family.first_key: family for family in FAMILIES.values()}
_LAST_LAYER = ("classifier.5.weight", "classifier.5.bias")
_OLD_FORMAT = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
"""The first bytes of files that torch wrote before 1.6."""


class CheckpointError(UserError):
    """A file that is no usable EfficientAT checkpoint, or could not be fetched; the message says what to do."""


def load_checkpoint(path: Path, *, classes: int) -> Teacher:
    """The network that a checkpoint holds, on the CPU and in training mode; DyMN at temperature 1, as training ends.

    If the file was made for another number of classes, the last layer alone is new. It is drawn from torch's global
    generator: seed it before. Raises `CheckpointError` unless the file is there and holds one network, a complete state
    dict of finite tensors of the right names and shapes, and `UserError` for `classes` that are no positive integer.
    Pickled code in a file is never run.
    """
    state = _read(path)
    family, width, own_classes = _held_by(path, state)
    network = family.network(width, classes)
    if own_classes != classes:
        fresh = network.state_dict()
        state |= {key: fresh[key] for key in _LAST_LAYER}
    network.load_state_dict(state)
    if isinstance(network, DyMN):
        network.temperature = TRAINED_TEMPERATURE
    return network


def fetch(name: str, folder: Path, *, base: str = RELEASE) -> Path:
    """`folder / (name + ".pt")`, downloaded if absent and in any case checked to hold what the name says.

    `name` is one of `NAMES`, and `folder` is made if need be. `base` is the address that files are fetched from. A
    download shows a progress bar on standard error and appears in `folder` only when whole and checked. Raises
    `CheckpointError` for an unknown name, a bad file, and a download that fails: then it says what to do instead.
    """
    if name not in NAMES:
        raise CheckpointError(f"{name!r} is no known checkpoint; known are:\n  " + "\n  ".join(NAMES))
    path, url = folder / f"{name}.pt", f"{base}/{name}.pt"
    if path.exists():
        _check_held(path, name)
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            _download(url, partial, name)
            _check_held(partial, name)
    except (OSError, HTTPException) as error:
        if isinstance(error, OSError) and error.filename and not isinstance(error, URLError):
            raise CheckpointError(
                f"{error.filename} cannot be written ({error.strerror}); name another folder with `--folder`."
            ) from error
        raise CheckpointError(
            f"{name} could not be downloaded ({str(error) or type(error).__name__}).\n"
            f"Where there is a network, fetch  {url}\n"
            f"then put the file at             {path}\n"
            f"or, from wherever it lies, pass  --{_named(name)[0].name} FILE"
        ) from error
    return path


def _download(url: str, path: Path, name: str) -> None:
    with urlopen(url, timeout=30) as response, path.open("wb") as out:
        size = int(response.headers["Content-Length"] or 0)
        console = Console(stderr=True)
        with wrap_file(response, size, description=name, console=console) as shown:
            shutil.copyfileobj(shown, out)
        if out.tell() < size:
            raise OSError(f"the connection ended after {out.tell():,} of {size:,} bytes")


def _check_held(path: Path, name: str) -> None:
    family, width, _ = _held_by(path, _read(path))
    promised = _named(name)
    if (family, width) != promised:
        raise _refusal(
            path, f"it holds {family.title} of width {width:g}, not {promised[0].title} of width {promised[1]:g}"
        )


def _named(name: str) -> tuple[Family, float]:
    """The family and the width that the name of an official checkpoint says, such as dymn10_as."""
    head = name.split("_")[0]
    return FAMILIES[head[:-2]], int(head[-2:]) / 10


def _refusal(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is no usable EfficientAT checkpoint: {reason}. "
        "If it is an official file, fetch it anew with `python -m dynacp.efficientat NAME --folder NEW`; if it is your "
        "own, save the network alone where it was made: `torch.save(network.state_dict(), FILE)`."
    )


def _read(path: Path) -> State:
    """The network's tensors by name. An archive's checksums are compared first: torch.load does not look at them."""
    try:
        _check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise _refusal(path, f"it cannot be read ({error.strerror})") from error
    except pickle.UnpicklingError as error:
        raise _refusal(path, "it holds more than tensors (pickled code, which was not run)") from error
    except Exception as error:  # a broken file can fail in any way that its readers know
        raise _refusal(path, f"it is truncated, damaged or of another kind ({type(error).__name__})") from error
    state = _network_in(path, content)
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > path.stat().st_size:
        raise _refusal(path, "its tensors are larger than the file")
    return state


def _check_archive(path: Path) -> None:
    """Raise unless the file is whole, as far as it says so itself: the old format has no checksums."""
    if path.exists() and not path.is_file():
        raise _refusal(path, "it cannot be read (it is no regular file)")
    with path.open("rb") as file:
        if file.read(len(_OLD_FORMAT)) == _OLD_FORMAT:
            return
    with ZipFile(path) as archive:
        if sum(record.file_size for record in archive.infolist()) > path.stat().st_size:
            raise _refusal(path, "its records are compressed, which torch's never are")
        if damaged := archive.testzip():
            raise _refusal(path, f"the checksum of its record {damaged} is wrong")


def _network_in(path: Path, content: Any) -> State:
    """The one state dict of a network in what a file holds, its names without their prefix."""
    found = list(islice(_networks(content), 4))
    if len(found) > 1:
        raise _refusal(path, f"it holds several networks, under {', '.join(where for where, _ in found)}")
    if found:
        return found[0][1]
    if isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values()):
        wanted = ", ".join([*_FIRST_KEYS, "classifier.2.bias", _LAST_LAYER[1]])
        raise _refusal(path, f"it is neither MN nor DyMN (looked for {wanted})")
    raise _refusal(path, "it is no state dict (names and tensors) and holds none of MN or DyMN")


def _networks(content: Any) -> Iterator[tuple[str, State]]:
    """Each with where it stands: an entry, if any, and a prefix of names. Other tensors there are not its own."""
    entries = {"": content} | (content if isinstance(content, dict) else {})
    for entry, state in entries.items():
        named = state.items() if isinstance(state, dict) else ()
        tensors = {name: value for name, value in named if isinstance(name, str) and isinstance(value, Tensor)}
        for first in _FIRST_KEYS:
            for prefix in [name.removesuffix(first) for name in tensors if f".{name}".endswith(f".{first}")]:
                own = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
                yield shown(".".join(filter(None, (str(entry), prefix.removesuffix("."))))), own


def _held_by(path: Path, state: State) -> tuple[Family, float, int]:
    """Family, width and classes, from the tensors. Raises `CheckpointError` unless all keys and shapes are theirs."""
    family = next(family for key, family in _FIRST_KEYS.items() if key in state)
    hidden, last = state.get("classifier.2.bias"), state.get(_LAST_LAYER[1])
    if hidden is None or last is None:
        raise _refusal(path, f"it is neither MN nor DyMN (looked for classifier.2.bias, {_LAST_LAYER[1]})")
    width, classes = hidden.numel() / LAST_HIDDEN, last.numel()
    try:
        with torch.device("meta"):
            expected = family.network(width, classes).state_dict()
    except ValueError as error:
        raise _refusal(path, str(error).rstrip(".")) from error
    what = f"of {family.title} at width {width:g}"
    problems = {
        f"it lacks keys {what}": expected.keys() - state.keys(),
        f"it has keys that are none {what}": state.keys() - expected.keys(),
        f"shapes or types are not those {what}": {
            key for key in expected.keys() & state.keys() if not _alike(state[key], expected[key])
        },
    }
    for problem, keys in problems.items():
        if keys:
            raise _refusal(path, f"{problem}: {_few(keys)}")
    if endless := {key for key, tensor in state.items() if not tensor.isfinite().all()}:
        raise _refusal(path, f"values are not finite: {_few(endless)}")
    return family, width, classes


def _alike(tensor: Tensor, expected: Tensor) -> bool:
    dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    return dense and (tensor.shape, tensor.is_floating_point()) == (expected.shape, expected.is_floating_point())


def _few(keys: Iterable[str]) -> str:
    first, *others = sorted(keys)
    name = shown(first)[1:-1]
    return f"{name} and {len(others)} more" if others else name
