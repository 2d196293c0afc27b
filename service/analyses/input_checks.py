"""The input checks of an upload: implausible predictions, and images without a prediction."""

from errata.errors import ImplausibleUpload

from service.analyses.coverage import coverage_warnings
from service.domain import AnalysisRequest, LabelSpace
from service.evidence.inputs import LabelInputs
from service.predictions.uploads import Upload
from service.report.messages.input_checks import (
    ACCEPT_REMEDY,
    classes_from_one,
    permuted_classes,
    renumbered_classes,
    reordered_rows,
)
from service.summary.input_checks import (
    find_classes_from_one,
    find_permuted_classes,
    find_renumbered_classes,
    find_reordered_rows,
)


def check_upload(
    images: LabelInputs, label_space: LabelSpace, parsed: Upload, request: AnalysisRequest
) -> tuple[str, tuple[str, ...]]:
    """Return the problem of implausible predictions, empty for plausible predictions, and warnings.

    Raises:
        ImplausibleUpload: The request does not accept implausible predictions.
        InvalidUpload: No evaluated image has a prediction, or the coverage is below the minimum of the request.
    """
    problem = field = ""
    targets, predicted = images.targets, parsed.predictions.top1.take(images.rows)
    if parsed.reordered is not None and (
        reordered := find_reordered_rows(images.all_targets, parsed.predictions, parsed.reordered)
    ):
        problem, field = reordered_rows(reordered, request.row_order), "row_order"
    elif permuted := find_permuted_classes(targets, predicted, label_space.num_classes):
        problem, field = permuted_classes(permuted, label_space.name), "predicted_class"
    if problem and not request.accept_implausible:
        raise ImplausibleUpload(f"{problem} {ACCEPT_REMEDY}", field=field)
    warnings = coverage_warnings(images, parsed.predictions, request)
    if problem or parsed.has_class_names:
        return problem, warnings
    if permuted := find_classes_from_one(targets, predicted):
        warnings = (*warnings, classes_from_one(permuted))
    elif permuted := find_renumbered_classes(targets, predicted, label_space.num_classes):
        warnings = (*warnings, renumbered_classes(permuted, label_space.name))
    return problem, warnings
