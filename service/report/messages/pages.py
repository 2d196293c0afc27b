"""Texts of the HTML pages and of the error table's script."""

from collections.abc import Mapping

from errata.messages import (
    BEST_TEXTS,
    COOCCURRENCE_NOTE,
    NO_SIMILAR_NEIGHBORS,
    PREFERS_LABEL,
    RANKED_TEXT,
    REJECTED_TARGET_NOTE,
    SIMILAR_NEIGHBORS,
    SUPERCLASS_NOTE,
    format_count,
    format_duration,
    pluralize,
)

from service.domain import Progress, State
from service.report.messages.evidence import EVIDENCE_TEXTS
from service.report.messages.images import IMAGE_TEXTS
from service.report.messages.review import REVIEW_TEXTS

ERROR_TABLE_TEXTS: Mapping[str, str] = {  # templates/error_table.js fills in the fields in braces
    "superclass_note": SUPERCLASS_NOTE,
    "cooccurrence_note": COOCCURRENCE_NOTE,
    "similar_neighbors": SIMILAR_NEIGHBORS,
    "no_similar_neighbors": NO_SIMILAR_NEIGHBORS,
    "best_texts": BEST_TEXTS,
    "ranked_text": RANKED_TEXT,
    "prefers_label": PREFERS_LABEL,
    "rejected_target_note": REJECTED_TARGET_NOTE,
    "labels": "labels",
    "no_labels": "none",
    "evidence": "evidence",
    "rule_trace": "rule trace",
    "agreement": "agreement with experts about this error type",
    "attributes": "attributes",
    "problematic": "problematic",
    "count": "Errors {first} to {last} of {total}",
    "no_match": "No errors match the filters.",
    "any": "any",
    "exclude_problematic": "excluded",
    "include_problematic": "included",
    "only_problematic": "only problematic",
    "image_details": "Image details",
    "image": "image {name}",
}
ORDER_NAMES: Mapping[str, str] = {
    "create_time desc": "newest first",
    "create_time": "oldest first",
    "display_name": "name, A to Z",
    "display_name desc": "name, Z to A",
    "top1_accuracy desc": "highest top-1 accuracy first",
    "top1_accuracy": "lowest top-1 accuracy first",
    "model_failures": "fewest model failures first",
    "model_failures desc": "most model failures first",
    "multi_label_accuracy desc": "highest multi-label accuracy first",
    "multi_label_accuracy": "lowest multi-label accuracy first",
    "severe_error_rate": "lowest severe error rate first",
    "severe_error_rate desc": "highest severe error rate first",
}
COLUMN_NAMES: Mapping[str, str] = {  # columns of the list by the name of their order
    "display_name": "name",
    "create_time": "created (UTC)",
    "top1_accuracy": "top-1",
    "multi_label_accuracy": "multi-label (class mean)",
    "severe_error_rate": "severe error rate",
}
_TEXTS = (
    "95 % confidence intervals of the change from A to B, from a paired bootstrap over images. That of the class mean "
    "is wider if classes have unequal sizes. The intervals of error types come from the score test, and are not "
    "adjusted for multiple comparisons.",
    "95 % interval",
    "A",
    "Accuracies on the axes are measured on all evaluated images, even if you select a group.",
    "Accuracy gain by error type",
    "Accuracy that the model would gain without errors of the type, in percentage points.",
    "Agreement with experts",
    "Free-text answers",
    "Free-text answers.",
    "Most frequent answers without a class",
    "answer",
    "names",
    "adjusted p-value",
    "Agreement with experts about this error type",
    "all",
    "All analyses",
    "All models in the charts",
    "Analyses",
    "Analyses can be missing: the service is building its index, or cannot read the archive or the job store.",
    "any",
    "attributes",
    "B",
    "broken",
    "Broken: {count}",
    "Calibration",
    "Calibration bins",
    "change",
    "change from A to B",
    "Changes of {group}",
    "class",
    "Cohen's κ",
    "experts agreed",
    "judged errors",
    "precision",
    "recall",
    "severity agreed",
    "Classes",
    "Classes with the most model failures: {count} of {total} classes with errors",
    "Classes with the most significant changes: {count} of {total}.",
    "Classes, sorted by model failures. Gains are percentage points of multi-label accuracy.",
    "Colors",
    "Compare with other models",
    "comparison",
    "Comparison with other models",
    "confidence",
    "Confidence by error type",
    "Contents",
    "counted as",
    "created (UTC)",
    "data set",
    "Data set {dataset}: {state}",
    "description",
    "difference",
    "Difference between the models of each {label} and the linear fit over all models, in percentage points",
    (
        "Difference between the models of each {label} and the median of the reference models at equal accuracy, "
        "or the linear fit over all models if there is no reference, in percentage points"
    ),
    "Differences at equal accuracy",
    "Download comparison",
    "Download report",
    "Download report with thumbnails",
    "Each dot is a model. Diamonds mark the selected models. Vertical lines are 95 % score intervals of the selected "
    "and the newest models. The dashed line is a linear fit over all models.",
    "Errata",
    "Errata: error analysis for image classifiers",
    "Error breakdown",
    "Error filters",
    "error type",
    "Error type descriptions",
    "error type of A",
    "error type of B",
    "error types",
    "Error types and accuracy",
    "Error types by group",
    "Error types by {name}",
    "Error types with changes.",
    "Error types, superclasses, and classes",
    "Errors",
    "errors",
    "Errors among the classes of the most frequent confusions: ground truth (rows) by prediction (columns).",
    "Errors by severity",
    "errors of A",
    "errors of B",
    "evidence",
    "Evidence sources",
    "Evidence {digest}",
    "examples",
    "explainable errors forgiven",
    "file",
    "file or class",
    "first quartile",
    "fixed",
    "Fixed: {count}",
    "gain without errors",
    "gain without model failures",
    "ground truth",
    "group",
    "group of classes",
    "Image details",
    "image {name}",
    (
        "Images with one value of an attribute, compared with the other images that have the attribute. Error types "
        "and severities do not depend on attributes."
    ),
    "images",
    "Images by group and error type, with the percentage of the group's top-1 or multi-label errors. An image can be "
    "in several groups. The labels of some images reject the original label. Multi-label (class mean) and the two "
    "columns after it: means over target classes. The other accuracies: shares of images.",
    "Images by group and error type, with the percentage of the group's top-1 errors. An image can be in several "
    "groups. Multi-label (class mean) and the two columns after it: means over target classes. The other accuracies: "
    "shares of images.",
    "coverage {share}",
    "Images excluded because only one analysis has a prediction: {count}.",
    "images predicted",
    "implausible",
    "Images that A classifies correctly and B does not, most severe errors of B first: {count} of {total}",
    "Images that B classifies correctly and A does not, most severe errors of A first: {count} of {total}",
    "interval of the change, points",
    "label",
    "labels",
    "license",
    "Linear fits",
    "Linear fits: percentage points of the metric per percentage point of accuracy",
    "McNemar's exact test",
    "McNemar's exact test of each row. Adjusted p-values of at most 0.05 are bold: among the bold rows of a "
    "table, at most 5 % are expected to be due to chance (Benjamini and Hochberg). The 95 % intervals (score "
    "test) are not adjusted.",
    "McNemar's exact test, two-sided; significant if p < 0.05",
    "mean confidence",
    "median",
    "Method: Peychev, Müller, Fischer, Vechev, “Automated Classification of Model Errors on ImageNet”, NeurIPS 2023.",
    "metric",
    "minimum confidence",
    "minor errors forgiven",
    "model",
    "model failures",
    "Models",
    "models",
    "multi-label errors",
    "Most frequent confusions",
    "multi-label (class mean)",
    "multi-label (images)",
    "multi-label accuracy (class mean)",
    "multi-label accuracy (images)",
    "multi-label error rate",
    "multi-label accuracy, points",
    "multi-label correct",
    "Next",
    "No analyses match the filters.",
    "No analyses of this data set.",
    "No analyses of this data set and owner.",
    "No error type and no class differs.",
    "No errors.",
    "No images.",
    "none",
    "number",
    "of all errors",
    "of all images",
    "only in A",
    "only in B",
    "order",
    "origin",
    "p-value",
    "percentile",
    (
        "Percentile among the reference models with the most similar accuracy. The interval comes from resampled "
        "images of the model."
    ),
    "portion of",
    "prediction",
    "prediction of A",
    "prediction of B",
    "Previous",
    "problematic",
    "problematic images",
    "Provenance",
    "rate of model failures",
    "rate",
    "Reset",
    "rest",
    "Results by group",
    "Results by group. An image can be in several groups. Images: the share of images. Class mean: the mean over "
    "target classes.",
    "Rows: error type in A. Columns: error type in B. Images: {count}. Solid frame: worse in B. Dashed frame: "
    "better in B.",
    "Rejected labels.",
    "Rule not evaluated.",
    "rule trace",
    "R²",
    "search",
    "Select an error type to see its evidence.",
    "severity",
    "share in A",
    "share in B",
    "Show",
    "Skip to content",
    "slice",
    (
        "Slices with changes: {count} of {total}. p-values of McNemar's exact test, adjusted for the number of slices "
        "(Benjamini–Hochberg)."
    ),
    "Slices",
    (
        "Slices: {count} of {total}. p-values of Fisher's exact test, adjusted for the number of slices "
        "(Benjamini–Hochberg)."
    ),
    "slope",
    "source",
    "state",
    "Statistical significance",
    "superclass",
    "Summary",
    "Superclasses and classes",
    "Superclasses of the ground truth, sorted by model failures. Gains are percentage points of multi-label "
    "accuracy. If a class has several superclasses, the numbers do not add up.",
    "Superclasses with the most model failures: {count} of {total} superclasses with errors",
    "Superclasses with the most significant changes: {count} of {total}. A class can have several superclasses.",
    "Swap A and B",
    "Table by group",
    "Table of changes",
    "Table of error types",
    "Table of gains",
    "Table of the heat map",
    "The bands contain 50 % and 90 % of the {count} reference models; the thin line is their median.",
    "The table contains the {count} worst of {total} errors. To get all errors, run errata show --export.",
    "Errors, worst first: {count} of {total}. Select an error to see its evidence.",
    "third quartile",
    "To compare groups of models at equal accuracy, group them by a label.",
    "top-1",
    "top-1 accuracy",
    "top-1 accuracy, points",
    "top-1 correct",
    "Images by top-1 correctness only: {fixed} fixed, {broken} broken.",
    "top-1 errors",
    "total of A",
    "total of B",
    "Transitions between error types",
    "Trend",
    "value",
    "Warning.",
    "Assumed.",
    "{count} of {total} models. To get all models, run errata trend --json.",
    "– Errata",
    # the list
    "No analyses. To create one, upload a predictions file or run errata analyze.",
    "owner",
    "select",
    "select {name}",
    "Compare two",
    "Show in the trend",
    "Select two analyses of the same data set to compare them, or any number to mark them in the trend.",
    "severe error rate",
    "Delete",
    "delete {name}",
    "name, id, model, owner, or label",
    "key=value",
    "Clear filters",
    "uploaded predictions",
    "Upload",
    "Review",
    # deletion and upload
    "Delete {title}",
    "The analysis has not ended. Cancel it first: errata cancel {id}",
    "Back to the analysis",
    "The analysis, its predictions, and its report are deleted permanently.",
    "Delete permanently",
    "Upload predictions",
    "The file was not analyzed.",
    "name (default: the name of the file)",
    "labels, one key=value a line",
    "More options",
    "row order of a file without file names (--row-order)",
    "minimum share of the evaluated images with a prediction, from 0 to 1 (--min-coverage)",
    "sorted by path (default)",
    "sorted by file name",
    "analyze implausible predictions as they are (--accept-implausible)",
    "predictions file, at most {size}",
    "The file is too large. Select a file of at most {size}.",
    "CSV, JSON, JSON Lines, Parquet, .npy, or .npz.",
    "Upload and analyze",
    "Uploading…",
    "All images ({count})",
    "change of images",
    "group and color by",
    "horizontal axis",
    "Table of models",
    "vertical axis",
    "The filters select the images in the matrix and in the grids below it. The tests and the tables contain all "
    "images.",
)
PAGE_TEXTS: Mapping[str, str] = {
    text: text for text in (*_TEXTS, *EVIDENCE_TEXTS, *IMAGE_TEXTS, *REVIEW_TEXTS)
}  # map a text to its translation to translate the pages


def translate(text: str, /, **values: object) -> str:
    """Return a text of the pages in the language of PAGE_TEXTS.

    Args:
        text: The English text.
        values: Values of the fields in braces.

    Returns:
        The translated text with the values filled in.
    """
    translation = PAGE_TEXTS[text]
    return translation.format(**values) if values else translation


def identity_text(id: str, owner: str) -> str:
    """Return the resource name of an analysis and, if it is known, its owner."""
    name = f"analyses/{id}"
    return f"{name}, owner: {owner}" if owner else name


def list_caption(first: int, count: int, total: int, limit: int) -> str:
    """Describe a page of the list.

    Args:
        first: Number of analyses before the page; any number over `limit` means only that there are more than `limit`.
        count: Number of analyses on the page.
        total: Number of all analyses; `limit` + 1 if there are more than `limit`, and they were not counted.
        limit: Number up to which analyses are counted.
    """
    of_total = format_count(total)
    if total == limit + 1:
        of_total = f"more than {format_count(limit)}"
    if first > limit:
        return f"{pluralize(count, 'analysis', 'analyses')} of {of_total}"
    return f"Analyses {format_count(first + min(1, count))} to {format_count(first + count)} of {of_total}"


def progress_text(state: State, progress: Progress) -> str:
    """Describe the progress of an analysis; empty if it is finished."""
    if state is State.QUEUED:
        if progress.waiting_reason:
            return progress.waiting_reason
        if progress.live_workers == 0:
            return "no worker is available"
        position = progress.queue_position
        return "" if position is None else f"{pluralize(position, 'analysis', 'analyses')} ahead in the queue"
    if state is not State.RUNNING:
        return ""
    text = f"{format_count(progress.done)} of {format_count(progress.total)} images"
    if progress.images_per_second is not None:
        text += f", {progress.images_per_second:,.0f} images/s"
    if progress.eta_seconds is not None:
        text += f", about {format_duration(progress.eta_seconds)} left"
    return text
