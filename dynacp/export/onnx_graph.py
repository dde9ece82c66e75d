"""ONNX: the exported student as a graph, for onnxruntime."""

import json
import logging
import warnings
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from budget.onnx_count import GraphCount, count_graph
from dynacp.export.formats import Exported

OUTPUT = "logits"
"""The name of the graph's output."""

RUN_AT_ONCE = 16
"""Clips, about, in one run of onnxruntime."""


class OnnxGraph:
    """A student as an ONNX model, as `RuntimeFile` describes it; `model` is that model.

    Batch norms that follow a convolution directly are merged into it.
    """

    suffix: ClassVar[str] = "onnx"
    library: ClassVar[str] = "onnx"
    adds_in_16_bits: ClassVar[bool] = True  # onnxruntime on x86 without VNNI
    usage: ClassVar[str] = """
```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{student}.onnx")
inputs = np.zeros({shape}, np.float32)  # {inputs}
(logits,) = session.run(None, {{"{input}": inputs}})
```

Input and logits are float32, the batch is free; another length is an error. The file's metadata holds classes, sample
rate, front end and architecture.
"""

    def __init__(self, exported: Exported) -> None:
        self.model = onnx_graph(exported)

    @staticmethod
    def prepared(network: nn.Module) -> nn.Module:
        """The network itself, unchanged: ONNX has all of its layers."""
        return network

    def count(self) -> GraphCount:
        """The cost of the model, counted in its graph; raises `UnknownLayerError` as `count_graph` does."""
        return count_graph(self.model)

    def run(self, inputs: np.ndarray) -> np.ndarray:
        """Logits [clips, classes] of log-mels [clips, 1, mels, frames], or of samples [clips, samples]; all float32.

        Computed by onnxruntime on one thread of the CPU.
        """
        (name,) = (value.name for value in self._session.get_inputs())
        batches = np.array_split(inputs, max(1, len(inputs) // RUN_AT_ONCE))
        return np.concatenate([self._session.run([OUTPUT], {name: batch})[0] for batch in batches])

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(self.model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def save(self, file: Path, metadata: dict[str, object]) -> None:
        """Write the model, with its metadata in it: texts as they are, other values as JSON."""
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
        onnx.helper.set_model_props(self.model, texts)
        onnx.save(self.model, file)


def onnx_graph(exported: Exported) -> onnx.ModelProto:
    """The student as an ONNX model that takes any number of clips at once: inputs as `exported` takes them -> `OUTPUT`.

    Silences torch's ONNX exporter for the rest of the process.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            exported,
            (torch.zeros(2, *exported.input_shape),),
            dynamo=True,
            verbose=False,
            input_names=[exported.input_name],
            output_names=[OUTPUT],
            dynamic_shapes={"inputs": {0: torch.export.Dim("batch")}},
        )
    assert program is not None
    return _bare(program.model_proto)


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the exporter's notes on where in the program each node comes from, which take more than the
    weights.
    """
    graph = model.graph
    for each in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        each.ClearField("metadata_props")
        each.ClearField("doc_string")
    return model
