"""The coverage of an upload: which of the images that it should cover have a prediction."""

from dataclasses import replace

import numpy as np
from errata.errors import InvalidUpload
from errata.messages import coverage_text, format_count, pluralize
from numpy.typing import NDArray

from service.domain import NO_PREDICTION, AnalysisRequest, Mask, Predictions, Subset
from service.domain.answers import NO_ANSWER
from service.evidence.bundle import Bundle
from service.evidence.inputs import LabelInputs
from service.predictions.uploads.subset import digest_subset, parse_subset

MAX_NAMED = 10  # missing images in a message


def read_subset(bundle: Bundle, text: str) -> Mask | None:
    """Return the images of a subset file as a mask, (A,); None for an empty text.

    Raises:
        InvalidUpload: A name is not the name of an image, or the bundle evaluates none of the images.
    """
    if not text:
        return None
    subset = parse_subset(text, bundle.names, bundle.dataset)
    if not subset[bundle.rows].any():
        images = pluralize(int(subset.sum()), "image")
        raise InvalidUpload(
            f"The evidence of data set '{bundle.dataset}' evaluates none of the {images} of the subset. Add evaluated "
            "images to the subset file.",
            field="subset",
        )
    return subset


def describe_subset(bundle: Bundle, subset: Mask | None) -> Subset | None:
    """Return the record of a subset, (A,); None for all images."""
    if subset is None:
        return None
    num_judged = int(np.count_nonzero(subset[bundle.rows]))
    return Subset(digest_subset(subset, bundle.names), int(subset.sum()), num_judged)


def restrict_to_subset(predictions: Predictions, subset: Mask | None) -> Predictions:
    """Keep only the predictions for a subset, (A,), and store the subset with them. The subset None changes nothing."""
    if subset is None:
        return predictions
    restricted, probability, answers = predictions.top1_restricted, predictions.probability, predictions.answers
    return replace(
        predictions,
        top1=np.where(subset, predictions.top1, np.int16(NO_PREDICTION)),
        top1_restricted=None if restricted is None else np.where(subset, restricted, np.int16(NO_PREDICTION)),
        probability=None if probability is None else np.where(subset, probability, np.float16(0)),
        answers=answers and replace(answers, index=np.where(subset, answers.index, np.int32(NO_ANSWER))),
        subset=subset,
    )


def coverage_warnings(images: LabelInputs, predictions: Predictions, request: AnalysisRequest) -> tuple[str, ...]:
    """Return a warning that names evaluated images without a prediction, if there are any.

    Raises:
        InvalidUpload: No evaluated image has a prediction, or the coverage is below the minimum of the request.
    """
    rows = images.rows
    if (predictions.top1 != NO_PREDICTION).all():
        return ()
    if predictions.subset is not None:
        rows = rows[predictions.subset[rows]]
    missing = rows[predictions.top1[rows] == NO_PREDICTION]
    covered = len(rows) - len(missing)
    if not len(missing):
        return ()
    num_judged = None if predictions.subset is None else len(images.rows)
    coverage = f"The predictions cover {coverage_text(covered, len(rows), num_judged)}"
    names = f"Images without a prediction: {_list_names(images.names[missing])}."
    if not covered:
        raise InvalidUpload(
            f"{coverage}, so that nothing can be evaluated. {names} Add rows for evaluated images, or choose another "
            "data set with --dataset.",
            field="file_name",
        )
    if covered / len(rows) < request.min_coverage:
        raise InvalidUpload(
            f"{coverage}. At least {100 * request.min_coverage:g} % is required (--min-coverage). {names} Add a row "
            "for each of them, reduce --min-coverage, or list the images that the file covers with --subset.",
            field="file_name",
        )
    return (f"{coverage}. All statistics refer only to these images. {names}",)


def _list_names(names: NDArray[np.bytes_]) -> str:
    shown = ", ".join(name.decode() for name in names[:MAX_NAMED].tolist())
    return shown + (f", and {format_count(len(names) - MAX_NAMED)} more" if len(names) > MAX_NAMED else "")
