"""MN and DyMN: golden sizes, equivalences, temperature, and the start of a DyMN from an MN."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from teacher_networks import log_mels, parameters, ready, saved, seeded
from torch import Tensor, nn
from torch.nn import functional

from dynacp.efficientat import MN, DyMN, dymn, load_checkpoint, mn, mn_initialised_dymn
from dynacp.efficientat.blocks import rounded
from dynacp.efficientat.dymn import KERNEL_NOISE, DynamicConv, DynamicReLU


def linear_of(layer: DynamicConv) -> nn.Linear:
    linear = layer.residuals[0]
    assert isinstance(linear, nn.Linear)
    return linear


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
    network = ready(build)
    with torch.inference_mode():
        logits, embedding = network(log_mels(2, *size))
    channels = network.classifier[2].in_features
    assert (logits.shape, embedding.shape) == ((2, 10), (2, channels))
    with torch.inference_mode():
        assert torch.allclose(network.classifier[2:](embedding), logits)


@pytest.mark.parametrize("build", [MN, DyMN])
def test_clips_of_a_batch_do_not_touch_each_other_in_evaluation(build: type[MN]) -> None:
    network, x = ready(build), log_mels(3)
    with torch.inference_mode():
        together = network(x)[0]
        alone = torch.cat([network(clip)[0] for clip in x.split(1)])
    assert torch.allclose(together, alone, rtol=1e-3, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize("build", [MN, DyMN])
def test_memory_format_does_not_change_the_logits(build: type[MN]) -> None:
    network, x = ready(build).double(), log_mels(2).double()
    with torch.inference_mode():
        plain = network(x)[0]
        assert plain.abs().max() > 0.1
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert torch.allclose(network(x.to(memory_format=torch.channels_last))[0], plain, atol=1e-9)


@pytest.mark.parametrize("build", [MN, DyMN])
def test_autocast_trains_every_parameter_with_finite_gradients(build: type[MN]) -> None:
    network = ready(build).train()
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
@settings(max_examples=40)
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
    network = load_checkpoint(saved(ready(DyMN).state_dict(), tmp_path), classes=10).eval()
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
