"""Students in int8, by torchao: calibrated after training, or trained so that they bear it.

Kernels are symmetric with a scale for each output channel; activations have a scale and a zero point for each tensor,
fixed by what calibration sees. Biases are int32 where a runtime computes, in the scale of input times kernel. A batch
norm that no convolution precedes directly (behind the sum of two branches) stays in float32, between two conversions;
so does a global response norm.
The rules are XNNPACK's, which onnxruntime can follow as well.

Not every processor adds 8-bit products alike. x86 without VNNI (AVX2, and AVX-512 before 2019) multiplies unsigned
activations with signed weights and adds two neighbouring products in 16 bits, where a sum beyond 32,767 saturates.
onnxruntime uses that instruction, XNNPACK does not. `PairwiseObserver` gives kernels that cannot saturate it.
"""

import warnings
from dataclasses import replace
from unittest.mock import patch

import torch
from torch import Tensor, nn

from dynacp import executorch_tools  # noqa: F401
from dynacp.student.model import DynaCP, GlobalResponseNorm

from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (  # isort: skip
    QuantizationConfig,
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torchao.quantization.pt2e import (  # isort: skip
    MinMaxObserver,
    PerChannelMinMaxObserver,
    allow_exported_model_train_eval,
    quantize_pt2e,
)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e  # isort: skip

CALIBRATED_AT_ONCE = 32
"""Clips in one batch of calibration."""

LEAST_SCALE = 2**-12
"""The smallest scale that a kernel's channel or an activation gets."""


class PairwiseObserver(PerChannelMinMaxObserver):
    """Scales each output channel of a kernel so that two neighbouring taps of one sign sum to at most 127.

    Rounded, they sum to at most 128, and 128 x 255 = 32,640 fits 16 bits, whatever the activations are. Neighbours are
    counted in both orders in which runtimes lay out a kernel: channels first, and channels last. A channel keeps 7.5 of
    its 8 bits on average, where a plain limit to 7 bits would cost each channel a whole one.
    """

    def forward(self, kernel: Tensor) -> Tensor:
        """Observe a kernel [out, in, frequency, time], and return it itself, unchanged."""
        worst = worst_pairs(kernel.detach())
        self.min_val, self.max_val = -worst, worst
        return kernel


def worst_pairs(kernel: Tensor) -> Tensor:
    """The largest sum of two neighbouring taps of one sign in each output channel, [out, in, ...] -> [out].

    It is 0 or more; of a channel with a single tap it is that tap's magnitude.
    """
    orders = torch.stack([kernel.flatten(1), kernel.movedim(1, -1).flatten(1)])
    signs = torch.stack([orders.clamp_min(0), (-orders).clamp_min(0)])
    pairs = signs[..., 1:] + signs[..., :-1] if signs.shape[-1] > 1 else signs
    return pairs.amax(dim=(0, 1, 3))


def quantised(network: nn.Module, log_mels: Tensor, *, adds_in_16_bits: bool) -> nn.Module:
    """The network in int8, in evaluation mode, calibrated on float32 log-mels [clips, 1, mels, frames].

    There must be two clips at least. The result takes and gives float32. `network`, in float32 on the CPU, is put into
    evaluation mode; do not train it beside the result, which may share its memory. `adds_in_16_bits`: the runtime may
    add two products in 16 bits, so kernels are scaled not to saturate these (`PairwiseObserver`).

    Activations take the range that they have on these clips: a ReLU6 bounds most of them, so histograms, torchao's
    default, find nothing better (73.5 % for Table 1 on the pocket set both ways, in half the time).
    """
    config = get_symmetric_quantization_config(is_per_channel=True)
    seen = MinMaxObserver.with_args(eps=LEAST_SCALE)
    activations = replace(config.input_activation, observer_or_fake_quant_ctr=seen)
    kernels = config.weight
    if adds_in_16_bits:
        kernels = replace(kernels, observer_or_fake_quant_ctr=PairwiseObserver.with_args(eps=LEAST_SCALE))
    config = replace(config, input_activation=activations, output_activation=activations, weight=kernels)
    prepared = prepare_pt2e(_graph(network.train(False), log_mels), _quantizer(config))
    with torch.no_grad():
        for part in log_mels.split(CALIBRATED_AT_ONCE):
            prepared(part)
    # Of a network that is not fine-tuned, torchao would look for batch norms that fine-tuning left beside their
    # convolutions, find none, and take eight times as long. torchao 0.18 has no option for that; a version without
    # this private function fails here, and so in tests/dynacp/student/test_int8.py.
    with patch.object(quantize_pt2e, "_fold_conv_bn_qat", lambda graph: graph):
        return _switchable(convert_pt2e(prepared))


def aware(network: DynaCP) -> nn.Module:
    """The network with int8 rounding in its forward pass, to be trained.

    Its parameters and buffers start as the network's, and have the same names. `network`, on the CPU, is put into
    training mode; do not use it beside the result, which may share its memory.
    """
    config = get_symmetric_quantization_config(is_per_channel=True, is_qat=True)
    example = torch.zeros(2, 1, *network.architecture.input)
    return _switchable(prepare_qat_pt2e(_graph(network.train(), example), _quantizer(config)))


def _quantizer(config: QuantizationConfig) -> XNNPACKQuantizer:
    return XNNPACKQuantizer().set_global(config).set_module_type(GlobalResponseNorm, None)


def _graph(network: nn.Module, log_mels: Tensor) -> torch.fx.GraphModule:
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(network, (log_mels[:2],), dynamic_shapes=({0: batch},)).module()


def _switchable(graph: torch.fx.GraphModule) -> nn.Module:
    """The graph as a module that obeys `train()` and `eval()`, as an exported graph does not by itself."""
    return allow_exported_model_train_eval(graph)
