"""Checkpoint files: what is loaded, and what must be refused."""

import os
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from teacher_networks import log_mels, ready, saved, seeded
from torch import Tensor

from dynacp.efficientat import MN, CheckpointError, DyMN, load_checkpoint


@pytest.fixture(scope="module")
def small() -> dict[str, dict[str, Tensor]]:
    """State dicts of both families at width 0.1 with five classes."""
    return {build.__name__: seeded(build, 0.1, 5).state_dict() for build in (MN, DyMN)}


@pytest.mark.parametrize("build", [MN, DyMN])
@pytest.mark.parametrize("width", [0.1, 0.25, 0.4])
def test_what_is_saved_is_loaded_as_it_was(build: type[MN], width: float, tmp_path: Path) -> None:
    network = ready(build, width, 5)
    loaded = load_checkpoint(saved(network.state_dict(), tmp_path), classes=5).eval()
    assert (type(loaded), loaded.width) == (build, width)
    if isinstance(network, DyMN):
        network.temperature = 1.0
    with torch.inference_mode():
        assert torch.equal(loaded(log_mels(2))[0], network(log_mels(2))[0])


@pytest.mark.parametrize("family", ["MN", "DyMN"])
def test_another_number_of_classes_leaves_only_the_last_layer_fresh(
    family: str, small: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    path = saved(small[family], tmp_path)
    torch.manual_seed(1)
    state = load_checkpoint(path, classes=7).state_dict()
    torch.manual_seed(1)
    again = load_checkpoint(path, classes=7).state_dict()
    changed = {key for key in state if not torch.equal(state[key], small[family][key])}
    assert changed == {"classifier.5.weight", "classifier.5.bias"}
    assert state["classifier.5.weight"].shape == (7, 128)
    assert torch.equal(state["classifier.5.weight"], again["classifier.5.weight"])


class Hostile:
    """Pickled, this would make a file when loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.file,)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path = saved({"features.0.0.weight": Hostile(trap)}, tmp_path)
    with pytest.raises(CheckpointError, match=r"file\.pt.*pickled code, which was not run.*fetch it anew"):
        load_checkpoint(path, classes=5)
    assert not trap.exists()


def spoilt(state: dict[str, Tensor], key: str, value: Tensor | None) -> dict[str, Tensor]:
    """The state dict with one entry replaced, or without it."""
    others = {k: v for k, v in state.items() if k != key}
    return others if value is None else {**others, key: value}


@pytest.mark.parametrize("family", ["MN", "DyMN"])
@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("classifier.2.weight", None, "lacks keys of .* at width 0.1: classifier.2.weight"),
        ("extra.weight", torch.zeros(1), "has keys that are none of .*: extra.weight"),
        ("classifier.2.weight", torch.zeros(3, 3), "shapes or types are not those .*: classifier.2.weight"),
        ("classifier.2.bias", torch.zeros(128, dtype=torch.int64), "shapes or types are not those .*classifier.2.bias"),
        ("classifier.2.bias", torch.full((128,), torch.nan), "values are not finite: classifier.2.bias"),
        ("classifier.2.bias", torch.zeros(131), "`width` must be a positive multiple of 1/160"),
        ("classifier.2.bias", torch.zeros(256), "lacks keys|shapes or types are not those .* at width 0.2"),
        ("classifier.5.bias", torch.zeros(6), "shapes or types are not those .*: classifier.5.weight"),
        ("classifier.5.bias", None, "neither MN nor DyMN"),
    ],
)
def test_a_state_dict_that_is_not_exactly_the_network_is_refused(
    family: str, key: str, value: Tensor | None, reason: str, small: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    path = saved(spoilt(small[family], key, value), tmp_path)
    with pytest.raises(CheckpointError, match=rf"(?s)file\.pt is no usable.*({reason}).*fetch it anew"):
        load_checkpoint(path, classes=7)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"model": {}}, "it is no state dict"),
        ([1, 2], "it is no state dict"),
        ({}, "neither MN nor DyMN"),
        ({"weight": torch.zeros(2)}, "neither MN nor DyMN"),
        ({"state_dict": {"weight": torch.zeros(2)}, "epoch": 3}, "it is no state dict .* and holds none of MN or DyMN"),
        ({("features.0.0.weight",): torch.zeros(2), 5: None}, "it is no state dict"),
    ],
)
def test_a_torch_file_of_another_kind_is_refused(content: object, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"file\.pt.*{reason}"):
        load_checkpoint(saved(content, tmp_path), classes=5)


def test_files_that_are_none_are_refused(small: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    whole = saved(small["MN"], tmp_path).read_bytes()
    file = tmp_path / "bad.pt"
    for content in (b"", b"<html>Not Found</html>", whole[: len(whole) // 2], whole[:-1], whole[100:]):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"bad\.pt.*truncated, damaged or of another kind"):
            load_checkpoint(file, classes=5)
    with pytest.raises(CheckpointError, match=r"absent\.pt.*cannot be read \(No such file"):
        load_checkpoint(tmp_path / "absent.pt", classes=5)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path, classes=5)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=40)
def test_a_flipped_bit_is_noticed_or_harmless(
    place: float, bit: int, small: dict[str, dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = saved(small["MN"], tmp_path_factory.mktemp("flip"))
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        state = load_checkpoint(path, classes=5).state_dict()
    except CheckpointError:
        return
    assert all(torch.equal(tensor, small["MN"][key]) for key, tensor in state.items())


def test_a_flipped_bit_in_the_weights_is_noticed(small: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    path = saved(small["MN"], tmp_path)
    content = bytearray(path.read_bytes())
    place = content.index(small["MN"]["classifier.2.weight"].numpy().tobytes()) + 1000
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="checksum of its record"):
        load_checkpoint(path, classes=5)


def as_lightning(state: dict[str, Tensor]) -> object:
    """With the audio front end beside the network, and all that the trainer keeps."""
    network = {f"net.{name}": tensor for name, tensor in state.items()}
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {"mel.window": torch.ones(4), **network},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3}]}],
        "hyper_parameters": {"lr": 1e-3},
    }


WRAPPED: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "lightning": as_lightning,
    "DDP": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "compiled in DDP": lambda state: {"model": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}},
    "with a counter": lambda state: {"model_state_dict": state, "epoch": 7},
    "averaged": lambda state: {
        "n_averaged": torch.tensor(1),
        **{f"module.{name}": each for name, each in state.items()},
    },
}


@pytest.mark.parametrize("family", ["MN", "DyMN"])
@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_a_network_is_found_in_what_frameworks_write(
    wrapped: Callable[[dict[str, Tensor]], object], family: str, small: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    state = load_checkpoint(saved(wrapped(small[family]), tmp_path), classes=5).state_dict()
    assert state.keys() == small[family].keys()
    assert all(torch.equal(tensor, small[family][name]) for name, tensor in state.items())


@pytest.mark.parametrize("wrapped", [dict, as_lightning])
def test_the_format_before_torch_1_6_is_read_and_its_pickled_code_is_not(
    wrapped: Callable[[dict[str, Tensor]], object], small: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    old, trap = tmp_path / "old.pt", tmp_path / "trap"
    torch.save(wrapped(small["MN"]), old, _use_new_zipfile_serialization=False)
    state = load_checkpoint(old, classes=5).state_dict()
    assert all(torch.equal(tensor, small["MN"][name]) for name, tensor in state.items())
    torch.save({"features.0.0.weight": Hostile(trap)}, old, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="pickled code, which was not run"):
        load_checkpoint(old, classes=5)
    assert not trap.exists()
    old.write_bytes(old.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"truncated, damaged or of another kind|pickled code"):
        load_checkpoint(old, classes=5)


def test_of_several_networks_in_a_file_none_is_guessed(small: dict[str, dict[str, Tensor]], tmp_path: Path) -> None:
    student, teacher = ({f"{name}.{key}": each for key, each in small["MN"].items()} for name in ("student", "teacher"))
    path = saved({"state_dict": student | teacher}, tmp_path)
    with pytest.raises(CheckpointError, match=r"several networks, under 'state_dict.student', 'state_dict.teacher'"):
        load_checkpoint(path, classes=5)


def test_what_would_take_more_memory_than_its_file_is_refused(
    small: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    endless = {name: torch.zeros(1).expand(10**9) for name in small["MN"]}
    with pytest.raises(CheckpointError, match="its tensors are larger than the file"):
        load_checkpoint(saved(endless, tmp_path), classes=5)
    path = saved({**small["MN"], "zeros": torch.zeros(10**6)}, tmp_path)
    with ZipFile(path) as plain, ZipFile(tmp_path / "small.pt", "w", ZIP_DEFLATED) as packed:
        for record in plain.infolist():
            packed.writestr(record.filename, plain.read(record))
    with pytest.raises(CheckpointError, match="its records are compressed"):
        load_checkpoint(tmp_path / "small.pt", classes=5)


def test_no_file_is_advised_to_be_deleted(tmp_path: Path) -> None:
    (tmp_path / "mine.ckpt").write_bytes(b"years of work")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "mine.ckpt", classes=5)
    assert "elete" not in str(caught.value)
    assert "if it is your own, save the network alone" in str(caught.value)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="it is no regular file"):
        load_checkpoint(tmp_path / "pipe", classes=5)
