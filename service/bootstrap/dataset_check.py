"""Checks the files of a data set, and the predictions of a model for its images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from errata.errors import ErrataError, InvalidEvidence

from service.domain import Classes, RowOrder
from service.evidence.build_inputs import Inputs, check_inputs
from service.evidence.dataset_check import Dataset
from service.evidence.dataset_files import DatasetFiles, FileError, read_files
from service.predictions.uploads import Layout, parse_upload

__all__ = ["Inputs", "check_files"]


def check_files(name: str, inputs: Inputs, predictions: Path | None, max_bytes: int) -> DatasetFiles:
    """Read the files of a data set and collect their errors.

    Args:
        name: Name of the data set.
        inputs: The files.
        predictions: Predictions for the images of the labels.
        max_bytes: Maximum size of the predictions.

    Raises:
        InvalidEvidence: The combination of files is invalid.
    """
    check_inputs(name, inputs, is_custom=True)
    if predictions is not None and inputs.labels is None:
        raise InvalidEvidence(
            "Predictions are checked with the labels of their images. Add --labels FILE.", field="labels"
        )
    files = read_files(name, inputs)
    if predictions is None:
        return files
    if files.dataset is None or files.dataset.images is None:
        files.unchecked.append(predictions.name)
        return files
    try:
        predicted = _read_predictions(name, files.dataset, predictions, max_bytes)
        files.dataset = replace(files.dataset, predicted=predicted)
    except OSError as error:
        files.errors.append(FileError(predictions.name, f"Cannot read the file: {error.strerror}. Check the path."))
    except ErrataError as error:
        files.errors += [
            FileError(predictions.name, violation.description, violation.field, violation.unit, violation.line)
            for violation in error.violations
            if violation.line is not None
        ] or [FileError(predictions.name, error.message)]
    return files


def _read_predictions(name: str, dataset: Dataset, path: Path, max_bytes: int) -> Classes:
    """Return the predicted classes. Their order does not matter: only the classes are counted."""
    assert dataset.images is not None, "This is a bug: check_files checks for labels."
    names = dataset.images.names
    layout = Layout(
        dataset=name,
        names=pa.array(names.tolist(), type=pa.binary()),
        positions=lambda _: np.arange(len(names)),
        label_space=dataset.label_space,
    )
    with path.open("rb") as file:
        return parse_upload(file, layout, RowOrder.UNSPECIFIED, max_bytes).predictions.top1
