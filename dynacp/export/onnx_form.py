"""ONNX: the exported student as a graph, with what a program needs to know of it in its metadata."""

import json
import logging
import warnings
from dataclasses import asdict
from hashlib import blake2b

import numpy as np
import onnx
import onnxruntime
import torch

from budget.ledger import Ledger
from dynacp.export.network import Exported, input_shape
from dynacp.predict import Student

INPUT, OUTPUT = {False: "log_mel", True: "wave"}, "logits"


def onnx_graph(student: Student, dtype: str, *, waveform: bool) -> onnx.ModelProto:
    """The student as an ONNX model; batch norms that follow a convolution directly are merged into it."""
    network = Exported(student, getattr(torch, dtype), waveform=waveform)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            network,
            (torch.zeros(2, *input_shape(student, waveform=waveform)),),
            dynamo=True,
            verbose=False,
            input_names=[INPUT[waveform]],
            output_names=[OUTPUT],
            dynamic_shapes={"heard": {0: torch.export.Dim("batch")}},
        )
    assert program is not None
    return _bare(program.model_proto)


def _bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the exporter's notes on where in the program each node comes from, which take more than the weights."""
    for each in (model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info):
        each.ClearField("metadata_props")
        each.ClearField("doc_string")
    return model


def describe(model: onnx.ModelProto, student: Student, ledger: Ledger) -> None:
    """Write into the model's metadata what it predicts, hears, and costs."""
    facts = {
        "classes": json.dumps(student.classes),
        "sample_rate": str(student.front_end.settings.sample_rate),
        "front_end": json.dumps(asdict(student.front_end.settings)),
        "architecture": student.network.architecture.to_json(),
        "ledger": ledger_hash(ledger),
    }
    onnx.helper.set_model_props(model, facts)


def ledger_hash(ledger: Ledger) -> str:
    """Sixteen hexadecimal digits of all that a ledger says."""
    return blake2b(json.dumps(asdict(ledger)).encode(), digest_size=8).hexdigest()


def run_onnx(model: onnx.ModelProto, heard: np.ndarray) -> np.ndarray:
    """Logits [clips, classes] by onnxruntime on one thread of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())
    batches = np.array_split(heard, max(1, len(heard) // 16))
    return np.concatenate([session.run([OUTPUT], {name: batch})[0] for batch in batches])
