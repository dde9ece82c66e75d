"""A stand-in for the challenge's evaluation scripts, which are not at hand: it calls a submission as they are said to.

    python organisers.py PACKAGE INDEX DEV_SET EVAL_SET

Prints one line of JSON. Reads DEV_SET/meta.csv and EVAL_SET/evaluation_setup/fold1_test.csv (`filename`, `device_id`).
"""

import csv
import importlib
import importlib.resources
import json
import sys
from pathlib import Path

import torch
from torchinfo import summary

BYTES = {torch.float32: 4, torch.float16: 2, torch.bfloat16: 2, torch.int8: 1, torch.uint8: 1, torch.int32: 4}
DEVICES = ["a", "b", "c", *(f"s{number}" for number in range(1, 11))]


def main(package: str, index: str, development: Path, evaluation: Path) -> None:
    api = importlib.import_module(f"{package}.{package}_{index}")
    resources = importlib.resources.files(f"{package}.resources")
    assert len((resources / "test.csv").read_text().splitlines()) > 1
    model = api.load_model()
    state = model.model.state_dict()

    dummy = str(resources / "dummy.wav")
    (heard,) = api.load_inputs([dummy], ["a"], model)
    costs = {}
    for device in DEVICES:
        submodel = api.get_model_for_device(model, device)
        counted = summary(submodel, input_size=tuple(heard.shape), verbose=0, device="cpu")
        memory = sum(each.numel() * BYTES[each.dtype] for each in submodel.parameters())
        costs[device] = {"macs": counted.total_mult_adds, "bytes": memory}

    with (evaluation / "evaluation_setup" / "fold1_test.csv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    files = [str(evaluation / row["filename"]) for row in rows]
    logits, classes = api.predict(files, [row["device_id"] for row in rows], None, use_cuda=True)
    probabilities = torch.softmax(torch.stack(logits), dim=-1)
    with (development / "meta.csv").open() as file:
        known = {row["scene_label"] for row in csv.DictReader(file, delimiter="\t")}
    assert set(classes) == known
    print(json.dumps({"costs": costs, "tensors": len(state), "classes": classes, "rows": probabilities.tolist()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
