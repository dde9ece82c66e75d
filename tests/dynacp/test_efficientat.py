"""The teachers: golden sizes, equivalences, official checkpoints, and files that must be refused."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import resample

from dynacp.efficientat import (
    MN,
    NAMES,
    CheckpointError,
    DyMN,
    dymn,
    fetch,
    load_checkpoint,
    mn,
    mn_initialised_dymn,
)
from dynacp.efficientat.__main__ import main
from dynacp.efficientat.blocks import rounded
from dynacp.efficientat.dymn import KERNEL_NOISE, DynamicConv, DynamicReLU
from dynacp.features import FrontEnd, LogMel

REAL = Path("weights") / "mn04_as_mAP_432.pt"


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def log_mels(batch: int, mels: int = 64, frames: int = 40, seed: int = 0) -> Tensor:
    return torch.randn(batch, 1, mels, frames, generator=torch.Generator().manual_seed(seed))


def seeded(build: type[MN] | type[DyMN], width: float, classes: int, seed: int = 0) -> MN | DyMN:
    torch.manual_seed(seed)
    return build(width, classes).eval()


def awake(build: type[MN] | type[DyMN], width: float = 0.1, classes: int = 10) -> MN | DyMN:
    """A network whose logits are of the order of one, and differ from clip to clip; fresh ones are 1e-9 everywhere."""
    network = seeded(build, width, classes).train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network(log_mels(16, seed=1))
    for module in network.classifier:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.3)
    return network.eval()


def linear_of(layer: DynamicConv) -> nn.Linear:
    linear = layer.residuals[0]
    assert isinstance(linear, nn.Linear)
    return linear


def saved(state: object, folder: Path, name: str = "file.pt") -> Path:
    torch.save(state, folder / name)
    return folder / name


@pytest.fixture(scope="module")
def small() -> dict[str, dict[str, Tensor]]:
    """State dicts of both families at width 0.1 with five classes."""
    return {build.__name__: seeded(build, 0.1, 5).state_dict() for build in (MN, DyMN)}


# Sizes and names


@pytest.mark.parametrize(
    ("width", "count"),
    [
        (0.1, 123_783),
        (0.2, 324_695),
        (0.4, 983_599),
        (0.5, 1_431_239),
        (1.0, 4_876_831),
        (2.0, 17_909_287),
        (3.0, 39_086_367),
        (4.0, 68_427_303),
    ],
)
def test_mn_has_exactly_the_published_parameters(width: float, count: int) -> None:
    with torch.device("meta"):
        assert parameters(mn(width)) == count


@pytest.mark.parametrize(("width", "count"), [(0.4, 1_961_239), (1.0, 10_548_479), (2.0, 39_966_143)])
def test_dymn_has_exactly_the_published_parameters(width: float, count: int) -> None:
    with torch.device("meta"):
        assert parameters(dymn(width)) == count


def test_the_state_dicts_have_the_published_keys_and_shapes() -> None:
    with torch.device("meta"):
        plain, dynamic = mn(1.0).state_dict(), dymn(1.0).state_dict()
    assert (len(plain), len(dynamic)) == (312, 578)
    for state, key, shape in (
        (plain, "features.0.0.weight", (16, 1, 3, 3)),
        (plain, "features.4.block.1.0.weight", (72, 1, 5, 5)),
        (plain, "features.4.block.2.conc_se_layers.0.fc1.weight", (24, 72)),
        (plain, "features.4.block.3.0.weight", (40, 72, 1, 1)),
        (plain, "features.16.0.weight", (960, 160, 1, 1)),
        (plain, "classifier.2.weight", (1280, 960)),
        (plain, "classifier.5.weight", (527, 1280)),
        (dynamic, "in_c.0.weight", (16, 1, 3, 3)),
        (dynamic, "layers.1.exp_conv.weight", (1, 1, 4, 16 * 64)),
        (dynamic, "layers.1.depth_conv.weight", (1, 1, 4, 64 * 9)),
        (dynamic, "layers.1.proj_conv.weight", (1, 1, 4, 64 * 24)),
        (dynamic, "layers.1.proj_conv.residuals.0.weight", (4, 32)),
        (dynamic, "layers.1.depth_act.coef_net.0.weight", (4 * 64, 32)),
        (dynamic, "layers.1.depth_act.lambdas", (4,)),
        (dynamic, "layers.1.context_gen.joint_conv.weight", (32, 16, 1, 1)),
        (dynamic, "layers.1.context_gen.conv_t.bias", (64,)),
        (dynamic, "out_c.0.weight", (960, 160, 1, 1)),
    ):
        assert state[key].shape == shape, key
    assert not any(key.startswith("layers.0.exp") for key in dynamic)
    # H = expanded / 4, rounded to 8, within 32 and 128
    lengths = [dynamic[f"layers.{number}.depth_conv.residuals.0.weight"].shape[1] for number in range(15)]
    assert lengths == [32] * 6 + [64] + [48] * 3 + [120] + [128] * 4


@given(st.floats(min_value=8, max_value=5000))
def test_rounding_gives_a_near_multiple_of_eight_and_loses_at_most_a_tenth(channels: float) -> None:
    assert rounded(channels) % 8 == 0
    assert 0.9 * channels <= rounded(channels) <= channels + 8


@pytest.mark.parametrize("width", [0, -0.1, 0.33, float("nan"), float("inf")])
@pytest.mark.parametrize("build", [mn, dymn])
def test_a_width_that_no_checkpoint_could_show_is_refused(build: Callable[[float], nn.Module], width: float) -> None:
    with pytest.raises(ValueError, match=r"`width` must be a positive multiple of 1/160.*but got"):
        build(width)


@pytest.mark.parametrize("classes", [0, -1, 2.0, True])
def test_a_number_of_classes_that_is_none_is_refused(classes: int) -> None:
    with pytest.raises(ValueError, match="`classes` must be a positive integer, but got"):
        mn(0.1, classes)


# What the networks compute


@pytest.mark.parametrize("build", [MN, DyMN])
@pytest.mark.parametrize("size", [(256, 89), (128, 100), (33, 17)])
def test_any_input_size_gives_logits_and_the_pooled_embedding(build: type[MN], size: tuple[int, int]) -> None:
    network = awake(build)
    with torch.inference_mode():
        logits, embedding = network(log_mels(2, *size))
    channels = network.classifier[2].in_features
    assert (logits.shape, embedding.shape) == ((2, 10), (2, channels))
    with torch.inference_mode():
        assert torch.allclose(network.classifier[2:](embedding), logits)


@pytest.mark.parametrize("build", [MN, DyMN])
def test_clips_of_a_batch_do_not_touch_each_other_in_evaluation(build: type[MN]) -> None:
    network, x = awake(build), log_mels(3)
    with torch.inference_mode():
        together = network(x)[0]
        alone = torch.cat([network(clip)[0] for clip in x.split(1)])
    assert torch.allclose(together, alone, rtol=1e-3, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize("build", [MN, DyMN])
def test_memory_format_does_not_change_the_logits(build: type[MN]) -> None:
    network, x = awake(build).double(), log_mels(2).double()
    with torch.inference_mode():
        plain = network(x)[0]
        assert plain.abs().max() > 0.1
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert torch.allclose(network(x.to(memory_format=torch.channels_last))[0], plain, atol=1e-9)


@pytest.mark.parametrize("build", [MN, DyMN])
def test_autocast_trains_every_parameter_with_finite_gradients(build: type[MN]) -> None:
    network = awake(build).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, _ = network(log_mels(4))
        loss = functional.cross_entropy(logits, torch.arange(4))
    loss.backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without


@given(
    batch=st.integers(1, 3),
    inputs=st.integers(1, 5),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    temperature=st.sampled_from([1.0, 30.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_a_dynamic_convolution_is_one_static_convolution_a_sample(
    batch: int, inputs: int, kernel: int, stride: int, temperature: float, seed: int
) -> None:
    torch.manual_seed(seed)
    depthwise = kernel > 1
    outputs, stride = (inputs, stride) if depthwise else (6, 1)
    layer = DynamicConv(inputs, outputs, 7, kernel, stride=stride).double()
    x, context = torch.randn(batch, inputs, 6, 9).double(), torch.randn(batch, 7).double()
    expected = []
    for sample in range(batch):
        scores = layer.residuals(context[sample]) / temperature
        attention = scores.exp() / scores.exp().sum()
        flat = sum(attention[k] * layer.weight[0, 0, k] for k in range(4))
        assert isinstance(flat, Tensor)
        weight = flat.reshape(outputs, 1 if depthwise else inputs, kernel, kernel)
        groups = inputs if depthwise else 1
        one = x[sample : sample + 1]
        expected.append(functional.conv2d(one, weight, stride=stride, padding=kernel // 2, groups=groups))
    assert torch.allclose(layer(x, context, temperature), torch.cat(expected), atol=1e-12)


def test_the_dynamic_relu_is_the_larger_of_two_lines() -> None:
    torch.manual_seed(0)
    layer, x, context = DynamicReLU(3, 7).double(), torch.randn(2, 3, 4, 5).double(), torch.randn(2, 7).double()
    theta = 2 / (1 + torch.exp(-layer.coef_net(context))) - 1
    a1, a2, b1, b2 = theta.reshape(2, 3, 4).permute(2, 0, 1)[..., None, None]
    expected = torch.maximum((a1 + 1) * x + b1 / 2, a2 * x + b2 / 2)
    assert torch.allclose(layer(x, context), expected, atol=1e-12)
    for parameter in layer.coef_net.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(layer(x, context), x.relu())  # at rest it is a plain ReLU


# The temperature


def test_the_temperature_falls_by_one_an_epoch_from_thirty_to_one() -> None:
    network = seeded(DyMN, 0.1, 10)
    assert isinstance(network, DyMN)
    seen = []
    for _ in range(32):
        seen.append(network.temperature)
        network.epoch_ends()
    assert seen == [float(t) for t in range(30, 0, -1)] + [1.0, 1.0]


def test_the_end_of_an_epoch_changes_nothing_in_mn() -> None:
    network = seeded(MN, 0.1, 10)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    network.epoch_ends()
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_loading_sets_the_temperature_and_it_matters(tmp_path: Path) -> None:
    network = load_checkpoint(saved(awake(DyMN).state_dict(), tmp_path), classes=10).eval()
    assert isinstance(network, DyMN)
    assert network.temperature == 1.0
    for layer in network.modules():
        if isinstance(layer, DynamicConv):
            nn.init.normal_(linear_of(layer).weight)  # trained attention is not near zero
    with torch.inference_mode():
        at_one = network(log_mels(2))[0]
        network.temperature = 30.0
        at_thirty = network(log_mels(2))[0]
    assert (at_one - at_thirty).abs().max() > 0.01 * at_one.abs().max()


# Checkpoints


@pytest.mark.parametrize("build", [MN, DyMN])
@pytest.mark.parametrize("width", [0.1, 0.25, 0.4])
def test_what_is_saved_is_loaded_as_it_was(build: type[MN], width: float, tmp_path: Path) -> None:
    network = awake(build, width, 5)
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
@settings(max_examples=40, deadline=None)
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


# MN-initialised


def test_an_mn_initialised_dymn_takes_280_of_578_tensors_and_no_more() -> None:
    source = seeded(MN, 0.4, 5)
    for tensor in source.state_dict().values():  # fresh norms and biases would agree by themselves
        tensor.add_(torch.rand(tensor.shape)) if tensor.is_floating_point() else tensor.add_(7)
    assert isinstance(source, MN)
    network = mn_initialised_dymn(source, 5)
    assert (network.width, network.temperature) == (0.4, 1.0)
    torch.manual_seed(0)
    taken = 0
    theirs = list(source.state_dict().values())
    for key, tensor in network.state_dict().items():
        if key.endswith("_conv.weight") and "context" not in key:
            kernels = [t for t in theirs if t.numel() == tensor[0, 0, 0].numel()]
            close = [(tensor - k.flatten()).std() < 2 * KERNEL_NOISE * k.std() for k in kernels]
            taken += any(close)
        else:
            taken += any(t.shape == tensor.shape and torch.equal(t, tensor) for t in theirs)
    assert (taken, len(network.state_dict())) == (280, 578)


def test_dynamic_convolutions_of_an_mn_initialised_dymn_compute_what_the_mn_does_whatever_the_attention() -> None:
    source = seeded(MN, 0.1, 5)
    assert isinstance(source, MN)
    network = mn_initialised_dymn(source, 5)
    static = [m for m in source.features[3].modules() if isinstance(m, nn.Conv2d)]
    dynamic = [m for m in network.layers[2].modules() if isinstance(m, DynamicConv)]
    assert len(static) == len(dynamic) > 1
    for plain, mixed in zip(static, dynamic, strict=True):
        assert mixed.weight[0, 0].std(dim=0).min() > 0  # the noise: attention has something to choose from
        nn.init.normal_(linear_of(mixed).weight)
        x, context = torch.randn(4, plain.in_channels, 16, 9), 10 * torch.randn(4, linear_of(mixed).in_features)
        with torch.inference_mode():
            expected, got = plain(x), mixed(x, context, 1.0)
        assert (got - expected).std() < 2 * KERNEL_NOISE * expected.std()


def test_an_mn_initialised_dymn_repeats_with_the_seed_and_takes_other_classes() -> None:
    source = seeded(MN, 0.1, 5)
    assert isinstance(source, MN)
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(mn_initialised_dymn(source, 7).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert states[0]["classifier.5.bias"].shape == (7,)
    assert torch.equal(states[0]["classifier.2.weight"], source.state_dict()["classifier.2.weight"])


# Fetching


class Server(SimpleHTTPRequestHandler):
    """Serves a folder; of a file named `short-...` it sends half, but announces all."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        short = path.parent.name == "short"
        if not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if short else content)
        return None

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a server on the loopback interface, and the folder it serves."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = tmp_path / "served"
    served.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", served
        server.shutdown()
        thread.join()


def test_a_fetched_checkpoint_is_the_file_and_is_fetched_once(release: tuple[str, Path], tmp_path: Path) -> None:
    base, served = release
    source = saved(seeded(MN, 0.1, 527).state_dict(), served, "mn01_as_mAP_298.pt")
    path = fetch("mn01_as_mAP_298", tmp_path / "new" / "folder", base=base)
    assert path == tmp_path / "new" / "folder" / "mn01_as_mAP_298.pt"
    assert path.read_bytes() == source.read_bytes()
    assert fetch("mn01_as_mAP_298", path.parent, base="http://127.0.0.1:9") == path  # nothing listens there


@pytest.mark.parametrize("build", [MN, DyMN])
def test_a_file_that_is_not_what_its_name_says_is_refused(
    build: type[MN], release: tuple[str, Path], tmp_path: Path
) -> None:
    base, served = release
    saved(seeded(build, 0.1, 527).state_dict(), served, "dymn04_as.pt")
    with pytest.raises(CheckpointError, match=rf"holds {build.__name__} of width 0.1, not DyMN of width 0.4"):
        fetch("dymn04_as", tmp_path / "out", base=base)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_broken_transfer_leaves_nothing(release: tuple[str, Path], tmp_path: Path) -> None:
    base, served = release
    (served / "short").mkdir()
    saved(seeded(MN, 0.1, 527).state_dict(), served / "short", "mn01_as_mAP_298.pt")
    with pytest.raises(CheckpointError, match=r"connection ended after [\d,]+ of [\d,]+ bytes"):
        fetch("mn01_as_mAP_298", tmp_path / "out", base=f"{base}/short")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_page_in_place_of_the_file_is_refused(release: tuple[str, Path], tmp_path: Path) -> None:
    base, served = release
    (served / "mn01_as_mAP_298.pt").write_text("<html>sign in first</html>")
    with pytest.raises(CheckpointError, match="truncated, damaged or of another kind"):
        fetch("mn01_as_mAP_298", tmp_path / "out", base=base)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("name", "flag"), [("mn10_as_mAP_471", "--mn FILE"), ("dymn04_as", "--dymn FILE")])
def test_what_cannot_be_downloaded_says_what_to_do(
    name: str, flag: str, release: tuple[str, Path], tmp_path: Path
) -> None:
    base, _ = release
    for address, reason in ((base, "404"), ("http://127.0.0.1:9", "refused")):
        with pytest.raises(CheckpointError) as caught:
            fetch(name, tmp_path / "out", base=address)
        message = str(caught.value)
        for part in (reason, f"{address}/{name}.pt", str(tmp_path / "out" / f"{name}.pt"), flag):
            assert part in message, message


def test_a_bad_file_that_is_already_there_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "mn04_as_mAP_432.pt"
    path.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"mn04_as_mAP_432\.pt is no usable .*Delete it"):
        fetch("mn04_as_mAP_432", tmp_path)
    assert path.read_text() == "not a checkpoint"


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        fetch("mn99", tmp_path)
    assert all(name in str(caught.value) for name in NAMES)
    assert len(NAMES) == 12


def test_the_command_line_exits_with_2_and_without_a_traceback() -> None:
    command = [sys.executable, "-m", "dynacp.efficientat", "mn99"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "'mn99' is no known checkpoint" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_command_line_prints_where_the_file_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(seeded(MN, 0.1, 527).state_dict(), tmp_path, "mn01_as_mAP_298.pt")
    assert main(["mn01_as_mAP_298", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(path)


def test_help_names_every_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in NAMES)


# The real checkpoint, on real audio


NATIVE = FrontEnd(
    sample_rate=32_000, n_fft=1024, window_samples=800, hop_samples=320, mels=128, f_min_range=10, f_max_range=2000
)


def esc10(folder: Path) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Waves [clips, samples] at 44.1 kHz, class numbers and folds: of each class and fold the first four clips."""
    waves, labels, folds = [], [], []
    for label, scene in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for fold in range(1, 5):
            for path in sorted(scene.glob(f"{fold}-*.ogg"))[:4]:
                wave, rate = soundfile.read(path, frames=220_500, dtype="float32")
                assert rate == 44_100
                waves.append(functional.pad(torch.from_numpy(wave), (0, 220_500 - len(wave))))
                labels.append(label)
                folds.append(fold)
    return torch.stack(waves), np.array(labels), np.array(folds)


def probe(network: nn.Module, inputs: Tensor, labels: np.ndarray, folds: np.ndarray) -> float:
    """Accuracy on fold 4 of a linear classifier of the embeddings, fitted to folds 1 to 3."""
    network.eval()
    with torch.inference_mode():
        embeddings = torch.cat([network(part)[1] for part in inputs.split(16)]).numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(embeddings[folds < 4], labels[folds < 4])
    return float(model.score(embeddings[folds == 4], labels[folds == 4]))


def test_the_real_checkpoint_loads_every_one_of_its_312_tensors(shared: Path) -> None:
    stored = torch.load(shared / REAL, weights_only=True)
    network = load_checkpoint(shared / REAL, classes=527)
    assert (type(network), network.width, len(stored)) == (MN, 0.4, 312)
    assert all(torch.equal(tensor, stored[key]) for key, tensor in network.state_dict().items())
    assert parameters(network) == 983_599


def test_the_real_checkpoint_separates_real_sounds_as_random_weights_do_not(shared: Path) -> None:
    waves, labels, folds = esc10(shared / "data" / "esc10")
    real = load_checkpoint(shared / REAL, classes=527)
    random = seeded(MN, 0.4, 527)
    native = LogMel(NATIVE)(resample(waves, 44_100, 32_000))
    students = LogMel()(waves[:, :44_100])
    measured = {
        "native, 5 s": (probe(real, native, labels, folds), probe(random, native, labels, folds)),
        "students', 1 s": (probe(real, students, labels, folds), probe(random, students, labels, folds)),
    }
    # measured: (0.975, 0.65) and (0.70, 0.40) of 40 clips
    for front_end, (trained, untrained) in measured.items():
        assert trained - untrained > 0.15, (front_end, trained, untrained)
    assert measured["native, 5 s"][0] > 0.9
