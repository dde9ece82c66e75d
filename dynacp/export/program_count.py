"""An independent count of an ExecuTorch program: parameters, bytes and MACs read off the file, as XNNPACK gets them."""

import math
from typing import Any

from budget.conventions import DCASE, UnknownLayerError
from budget.ledger import Ledger, Row
from budget.onnx_count import GraphCount
from dynacp import executorch_tools

# ExecuTorch 1.3 reads programs back by no public function; tests/dynacp/export/test_program_count.py needs this one.
from executorch.exir._serialize._program import deserialize_pte_binary  # isort: skip

SCHEMA = "backends/xnnpack/serialization/schema.fbs"
"""The schema of XNNPACK's graphs, in the installed package `executorch`."""

CONVOLUTIONS = {"XNNConv2d", "XNNDepthwiseConv2d"}
"""Node types that are counted: norms that are left are convolutions too."""

FREE_NODES = {
    "XNNAdd", "XNNAvgPooling2d", "XNNClamp", "XNNConvert", "XNNGlobalAvgPooling2d", "XNNMaxPooling2d",
    "XNNStaticConstantPad", "XNNStaticReshape", "XNNStaticTranspose",
}  # fmt: skip
"""Node types that the challenge charges nothing for."""

DTYPES = {"xnn_datatype_fp32": "float32", "xnn_datatype_fp16": "float16", "xnn_datatype_qcint8": "int8"}
"""XNNPACK's name of a kernel's dtype -> the name in `budget.dtypes`."""


def count_program(content: bytes) -> GraphCount:
    """The cost of an ExecuTorch program (the bytes of a .pte file) for one clip, by the challenge's rule.

    The rule is `budget.conventions.DCASE`. Raises `UnknownLayerError` for what XNNPACK does not compute, and for a node
    without a rule: a count that skips either would be wrong in silence.
    """
    program = deserialize_pte_binary(content).program
    (plan,) = program.execution_plan
    if plan.operators or len(plan.delegates) != 1:
        names = ", ".join(sorted({operator.name for operator in plan.operators})) or "nothing"
        raise UnknownLayerError(
            f"the program computes {names} beside {len(plan.delegates)} parts for XNNPACK; this count reads programs "
            "that are one part and nothing else."
        )
    graph = _graph(program.backend_delegate_data[plan.delegates[0].processed.index].data)
    return _Graph(graph).count()


def _graph(blob: bytes) -> dict[str, Any]:
    """The delegate's graph, which lies behind a header."""
    start, size = (int.from_bytes(blob[at : at + 4], "little") for at in (10, 14))
    return executorch_tools.decoded(blob[start : start + size], SCHEMA)


class _Graph:
    def __init__(self, content: dict[str, Any]) -> None:
        self.nodes = [(node["xnode_union_type"], node["xnode_union"]) for node in content["xnodes"]]
        self.sizes = [constant["size"] for constant in content["constant_data"]]
        values = [value["xvalue_union"] for value in content["xvalues"]]
        self.values = {value.get("tensor_value", value)["id_out"]: value for value in values}

    def count(self) -> GraphCount:
        rows, dtypes, quantisers = list[Row](), set[str](), 0
        for kind, node in self.nodes:
            if kind in CONVOLUTIONS:
                kernel, bias = (self.values[node[name]] for name in ("filter_id", "bias_id"))
                rows.append(self._row(f"convolution {len(rows) + 1}", kind, kernel, bias, node["output_id"]))
                quantisers += self._scales(kernel) + self._scales(bias)
                if node["group_input_channels"] * node["kernel_height"] * node["kernel_width"] > 1:  # else a norm
                    dtypes.add(DTYPES[_tensor(kernel)["datatype"]])
            elif kind not in FREE_NODES:
                raise UnknownLayerError(
                    f"the program holds a {kind}, which this count has no rule for; it knows "
                    f"{', '.join(sorted(CONVOLUTIONS))}, and at no cost {', '.join(sorted(FREE_NODES))}."
                )
        account = Ledger(tuple(rows), DCASE.name, ", ".join(sorted(dtypes)))
        return GraphCount(account, quantiser_bytes=quantisers + self._activation_quantisers())

    def _row(self, name: str, kind: str, kernel: Any, bias: Any, output: int) -> Row:
        _, frequency, time, channels = _tensor(self.values[output])["dims"]
        parameters = sum(math.prod(_tensor(each)["dims"]) for each in (kernel, bias))
        size = sum(self.sizes[_tensor(each)["constant_buffer_idx"]] for each in (kernel, bias))
        return Row(name, kind, (channels, frequency, time), parameters, parameters * frequency * time, size)

    def _scales(self, value: Any) -> int:
        """The bytes of the scales that belong to a constant."""
        return self.sizes[value["quant_params"]["scale_buffer_idx"]] if "quant_params" in value else 0

    def _activation_quantisers(self) -> int:
        """The bytes of a float32 scale and an int32 zero point for each tensor that is quantised as a whole."""
        return 8 * sum(value.get("quant_params_type") == "PerTensorQuant" for value in self.values.values())


def _tensor(value: Any) -> Any:
    return value.get("tensor_value", value)
