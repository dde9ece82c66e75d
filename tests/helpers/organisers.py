"""A stand-in for the challenge's two scripts: it makes their calls, reads and writes their files, imports what they do.

    python organisers.py complexity --submission_name PACKAGE --submission_index K
    python organisers.py evaluate --submission_name PACKAGE --submission_index K --dev_set_dir DEV --eval_set_dir EVAL

It follows `test_complexity.py` and `evaluate_submission.py` as submissions of 2025 hold them, forks of the challenge's
inference repository (such as github.com/turquenite/dcase2025_task1_inference). It shows what it found as files in
predictions/PACKAGE_K.
"""

import argparse
import copy
import json
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torchinfo
from sklearn.metrics import accuracy_score

BYTES = {
    torch.float32: 4, torch.float16: 2, torch.bfloat16: 2, torch.int32: 4,
    torch.int8: 1, torch.uint8: 1, torch.qint8: 1, torch.quint8: 1,
}  # fmt: skip
DEVICES = ["a", "b", "c", *(f"s{number}" for number in range(1, 11))]


def complexity(api: Any, package: str, out: Path) -> None:
    """MACs and bytes of each device's submodel, on the shape of its input; all inputs are loaded in one call."""
    model = api.load_model()
    with resources.path(f"{package}.resources", "dummy.wav") as dummy:
        inputs = api.load_inputs([str(dummy)] * len(DEVICES), DEVICES, model)
    assert isinstance(inputs, list)
    costs = {}
    for device, heard in zip(DEVICES, inputs, strict=True):
        submodel = api.get_model_for_device(model, device)
        counted = torchinfo.summary(copy.deepcopy(submodel).float(), input_size=tuple(heard.shape), verbose=0)
        memory = sum(each.numel() * BYTES[each.dtype] for each in submodel.parameters())
        costs[device] = {"MACs": counted.total_mult_adds, "Params": memory}
    (out / "complexity.json").write_text(json.dumps({"per_device": costs}))


def evaluate(api: Any, package: str, out: Path, development: Path, evaluation: Path) -> None:
    """Accuracy on the package's own list of the test split, predictions of the evaluation set, and the weights."""
    with resources.path(f"{package}.resources", "test.csv") as listed:
        test = pd.read_csv(listed, sep="\t").drop(columns="scene_label", errors="ignore")
    test = test.merge(pd.read_csv(development / "meta.csv", sep="\t"), on="filename")
    logits, classes = _predictions(api, development, test["filename"], test["source_label"])
    right = accuracy_score(
        [classes.index(label) for label in test["scene_label"]], [int(row.argmax()) for row in logits]
    )
    (out / "test_accuracy.json").write_text(json.dumps({"Test Accuracy": right * 100}))

    asked = pd.read_csv(evaluation / "evaluation_setup" / "fold1_test.csv", sep="\t")
    logits, again = _predictions(api, evaluation, asked["filename"], asked["device_id"])
    assert again == classes
    probabilities = torch.stack(logits).softmax(dim=1)
    table = pd.DataFrame(probabilities.tolist(), columns=classes)
    table.insert(0, "scene_label", [classes[int(best)] for best in probabilities.argmax(dim=1)])
    table.insert(0, "filename", asked["filename"])
    table.to_csv(out / "output.csv", sep="\t", index=False)
    torch.save(api.load_model().model.state_dict(), out / "model_state_dict.pt")


def _predictions(api: Any, root: Path, names: "pd.Series[str]", devices: "pd.Series[str]") -> Any:
    files = [str(root / name) for name in names]
    use_cuda = torch.cuda.is_available()
    return api.predict(file_paths=files, device_ids=devices.tolist(), model_file_path=None, use_cuda=use_cuda)


def main() -> None:
    form = argparse.ArgumentParser()
    form.add_argument("script", choices=("complexity", "evaluate"))
    form.add_argument("--submission_name", required=True)
    form.add_argument("--submission_index", required=True, type=int)
    form.add_argument("--dev_set_dir", type=Path)
    form.add_argument("--eval_set_dir", type=Path)
    options = form.parse_args()
    package, module = options.submission_name, f"{options.submission_name}_{options.submission_index}"
    api, out = import_module(f"{package}.{module}"), Path("predictions") / module
    out.mkdir(parents=True, exist_ok=True)
    if options.script == "complexity":
        complexity(api, package, out)
    else:
        evaluate(api, package, out, options.dev_set_dir, options.eval_set_dir)


if __name__ == "__main__":
    main()
