"""Write the files of the tutorial "Your own classes": images of digits, their classes and labels, and two models.

Usage: python digits.py FOLDER
"""

import csv
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

NUM_TRAINING = 600  # the first images train the models; the others are analyzed


# --8<-- [start:data]
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SUPERCLASSES = {"closed curves": "0689", "open curves": "235", "straight lines": "147"}


def write_data(folder: Path, images: np.ndarray, digits: list[int]) -> None:
    """Write classes.csv, labels.csv, and the images, enlarged from 8 x 8 to 64 x 64 pixels."""
    superclass_of = {int(digit): name for name, members in SUPERCLASSES.items() for digit in members}
    classes = [[name, superclass_of[digit]] for digit, name in enumerate(NAMES)]
    write_csv(folder / "classes.csv", [["name", "superclass"], *classes])
    labels = [[f"digit_{number:04}.png", NAMES[digit], NAMES[digit], ""] for number, digit in enumerate(digits)]
    write_csv(folder / "labels.csv", [["file_name", "target", "labels", "problematic"], *labels])
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for (file_name, *_), pixels in zip(labels, images, strict=True):
        image = Image.fromarray((pixels * 255 / 16).astype(np.uint8))  # scikit-learn has 17 shades of gray
        image.resize((64, 64), Image.Resampling.NEAREST).save(folder / "images" / file_name)


# --8<-- [end:data]


def write_csv(path: Path, rows: list[list[str]]) -> None:
    """Write a CSV file in UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


# --8<-- [start:model]
class Classifier(torch.nn.Module):
    """A network with one hidden layer for RGB images of 8 x 8 pixels."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, 10) scores for (N, 3, 8, 8) images with values from 0 to 1."""
        return self.layers(images.mean(dim=1).flatten(1))


def train(images: np.ndarray, digits: np.ndarray, steps: int = 300) -> Classifier:
    """Train a classifier on all images at once."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # more threads take longer for a small model
    model = Classifier().double()  # float64: all machines get the same predictions
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    pixels = torch.from_numpy(images / 16)[:, None].expand(-1, 3, -1, -1)
    targets = torch.from_numpy(digits)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pixels), targets).backward()
        optimizer.step()
    return model.float().eval()


# --8<-- [end:model]
# --8<-- [start:export]
CONFIG = {  # the preprocessing of both models
    "input_size": [3, 8, 8],
    "interpolation": "nearest",
    "crop_pct": 1.0,
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
}


def export(model: Classifier, path: Path) -> None:
    """Write a model as an ONNX graph, and its preprocessing and classes beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated; the new one needs another package
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, 8, 8),),
            path,
            input_names=["images"],
            output_names=["scores"],
            dynamic_axes={"images": {0: "n"}, "scores": {0: "n"}},
            dynamo=False,
        )
    path.with_name("config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    path.with_name("classes.json").write_text(json.dumps(NAMES), encoding="utf-8")


# --8<-- [end:export]


def main(folder: Path) -> None:
    """Write all files of the tutorial to a folder."""
    digits = load_digits()
    images, targets = digits.images, digits.target.astype(np.int64)
    write_data(folder, images[NUM_TRAINING:], targets[NUM_TRAINING:].tolist())
    export(train(images[:NUM_TRAINING], targets[:NUM_TRAINING]), folder / "models" / "first.onnx")
    export(train(images[:60], targets[:60]), folder / "models" / "second.onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
