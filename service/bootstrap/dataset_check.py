"""Checks the files of a data set, and the predictions of a model for its images."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
from errata.errors import ErrataError, InvalidEvidence

from service.analyses.input_checks import check_upload
from service.domain import AnalysisRequest
from service.evidence.build_inputs import Inputs, check_inputs
from service.evidence.bundle import image_positions
from service.evidence.dataset_check import Dataset
from service.evidence.dataset_files import DatasetFiles, FileError, read_files
from service.predictions.uploads import Layout, parse_upload
from service.predictions.uploads.rows import MAX_VIOLATIONS

__all__ = ["Inputs", "check_files"]


def check_files(request: AnalysisRequest, inputs: Inputs, predictions: Path | None, max_bytes: int) -> DatasetFiles:
    """Read the files of a data set and collect their errors.

    Args:
        request: The request of an analysis of the predictions, with the name of the data set.
        inputs: The files.
        predictions: Predictions for the images of the labels.
        max_bytes: Maximum size of the predictions.

    Raises:
        InvalidEvidence: The combination of files is invalid.
    """
    check_inputs(request.dataset, inputs, is_custom=True)
    if predictions is not None and inputs.labels is None:
        raise InvalidEvidence(
            "Predictions are checked with the labels of their images. Add --labels FILE.", field="labels"
        )
    files = read_files(request.dataset, inputs)
    if predictions is None:
        return files
    if files.dataset is None or files.dataset.images is None:
        files.unchecked.append(predictions.name)
        return files
    try:
        files.dataset = _with_predictions(files.dataset, predictions, max_bytes, request)
    except OSError as error:
        files.errors.append(FileError(predictions.name, f"Cannot read the file: {error.strerror}. Check the path."))
    except ErrataError as error:
        lines = [
            FileError(predictions.name, violation.description, violation.field, violation.unit, violation.line)
            for violation in error.violations
            if violation.line is not None
        ]
        # The message has the first error, and the number of all errors, of which at most MAX_VIOLATIONS are listed.
        message = [FileError(predictions.name, error.message)] * (len(lines) in (0, MAX_VIOLATIONS))
        files.errors += [*message, *lines[len(message) :]]
    return files


def _with_predictions(dataset: Dataset, path: Path, max_bytes: int, request: AnalysisRequest) -> Dataset:
    """Return the data set with the predictions and the warnings of an analysis of them."""
    images = dataset.images
    assert images is not None, "This is a bug: check_files checks for labels."
    layout = Layout(
        dataset=request.dataset,
        names=pa.array(images.names.tolist(), type=pa.binary()),
        positions=partial(image_positions, images.names, images.all_targets),
        label_space=dataset.label_space,
    )
    with path.open("rb") as file:
        parsed = parse_upload(file, layout, request.row_order, max_bytes)
    _, warnings = check_upload(images, dataset.label_space, parsed, request)
    return replace(dataset, predicted=parsed.predictions.top1, prediction_warnings=(*parsed.warnings, *warnings))
