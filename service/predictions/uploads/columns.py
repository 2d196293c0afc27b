"""The names of columns (CSV, Parquet) and keys (JSON) in uploads, and the choice of the columns to read.

A role, such as the class, has names in several ranks. The first rank with a name in the file decides. For example, the
class in `filename,label,pred` is `pred`, because `label` is the ground truth. Two names of that rank are an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from errata.errors import InvalidUpload

from service.predictions.uploads.terms import CSV_TERMS, FormatTerms

Ranks = tuple[tuple[str, ...], ...]

FILE_NAME: Ranks = (
    ("file_name",),
    (
        *("filename", "filenames", "file_names", "file", "files", "fname", "path", "paths", "filepath", "file_path"),
        *("image_path", "image_paths", "img_path", "image_file", "image_filename", "image_name", "img_name"),
    ),
    ("image", "images", "img"),
    ("image_id", "imageid", "sample_id", "id", "name", "key"),
)
NUMBER: Ranks = (("index", "idx", "image_index", "sample_index"),)
CLASS: Ranks = (
    ("predicted_class", "top1", "prediction"),
    (
        *("pred", "preds", "predictions", "predicted", "y_pred", "pred_class", "pred_label", "pred_index", "pred_idx"),
        *("predicted_label", "predicted_index", "predicted_idx", "predicted_id", "predicted_class_index"),
        *("predicted_class_id", "predicted_class_name", "predicted_labels", "top_1", "top1_class", "top1_label"),
    ),
    ("topk", "top_k", "top5", "top_5", "indices", "top_indices", "topk_indices", "top5_indices"),
    ("index", "index_0", "class_index", "class_idx", "class_id", "label_id", "category_id"),
    ("label", "labels", "label_0", "class", "class_name", "classname", "category", "wnid", "synset"),
)
SCORES: Ranks = (("probs", "probabilities", "softmax", "logits", "scores", "outputs", "output"),)
PROBABILITY: Ranks = (
    ("predicted_probability", "probability"),
    (
        *("prob", "confidence", "conf", "score", "prob_0", "score_0", "top1_prob", "top1_probability", "top1_score"),
        *("pred_prob", "pred_score", "max_prob", "predicted_score", "predicted_prob"),
    ),
)
ROW_NUMBER = "index"  # pandas writes row numbers first; timm writes the class after the file name
CLEAR_CLASS = CLASS[:3]  # names that can only mean a prediction; a `label` beside answers is the ground truth
ANSWER: Ranks = (("answer",),)  # free-text answers, which are read if no name is in CLEAR_CLASS
CONTENTS = {FILE_NAME: "file names", CLASS: "predicted classes", PROBABILITY: "probabilities", ANSWER: "answers"}
STANDARD = {name for ranks in (FILE_NAME, CLASS, PROBABILITY, ANSWER) for name in ranks[0]}
EXPECTED_HEADER = "file_name,predicted_class[,predicted_probability]"
DELIMITERS = {"|": "bars", " ": "spaces"}
MAX_SHOWN = 120  # characters of the header in a message


@dataclass(frozen=True)
class Columns:
    """The columns that Errata reads. A file may have others."""

    file_name: str
    predicted: str
    probability: str | None
    are_answers: bool = False  # whether `predicted` has free-text answers
    is_numbered: bool = False  # whether `file_name` has the numbers of the images, not their names
    is_certain: bool = True  # whether the name of `probability` can only mean probabilities
    assumptions: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Return the names of the columns to read."""
        return [self.file_name, self.predicted, *([self.probability] if self.probability else [])]


def normalize_column(name: str) -> str:
    """Return a name in the form in which names of columns are compared."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def is_known_column(name: str, *roles: Ranks) -> bool:
    """Return whether a name belongs to one of the given roles, or to any role if no roles are given."""
    known = roles or (FILE_NAME, NUMBER, CLASS, SCORES, PROBABILITY)
    return any(normalize_column(name) in rank for ranks in known for rank in ranks)


def find_columns(
    names: Sequence[str], terms: FormatTerms, line: int | None = None, has_scores: bool = False
) -> Columns:
    """Return the columns that Errata reads.

    Args:
        names: All column names of a table, or all keys of an object.
        terms: Terms of the format, for messages.
        line: Line of the names, 1-based.
        has_scores: Whether lists of scores can take the place of classes.

    Raises:
        InvalidUpload: A required column is missing, or a role has several columns.
    """
    if terms is CSV_TERMS:
        _check_delimiter(names, line)
    file_name = _find_column(names, FILE_NAME, terms, line)
    number = None if file_name else _find_column(names, NUMBER, terms, line)
    rest = [name for name in names if name != number]
    predicted = _find_column(rest, CLASS, terms, line)
    if predicted is None and has_scores:
        predicted = _find_column(rest, SCORES, terms, line)
    probability = _find_column(rest, PROBABILITY, terms, line)
    answer = None if predicted and is_known_column(predicted, CLEAR_CLASS) else _find_column(rest, ANSWER, terms, line)
    predicted = answer or predicted
    if predicted is None:
        raise _missing_column(names, CLASS if file_name else FILE_NAME, terms, line)
    if file_name is None and number is None:
        raise _missing_column(names, FILE_NAME, terms, line)
    if file_name and normalize_column(predicted) == ROW_NUMBER and names.index(predicted) < names.index(file_name):
        _check_row_number(names, predicted, terms, line)
    readings = {file_name: "the file name", number: "the number of the image"}
    readings |= {predicted: "the answer" if answer else "the predicted class", probability: "its probability"}
    shown = [f"{name[:40]!r} as {role}" for name, role in readings.items() if name and name not in STANDARD]
    return Columns(
        file_name=file_name or str(number),
        predicted=predicted,
        probability=probability,
        are_answers=answer is not None,
        is_numbered=file_name is None,
        is_certain=probability is None or normalize_column(probability) in PROBABILITY[0],
        assumptions=(f"The file's {terms.field}s: {', '.join(shown)}.",) if shown else (),
    )


def _check_row_number(names: Sequence[str], index: str, terms: FormatTerms, line: int | None) -> None:
    """Raise InvalidUpload if both `index`, the column before the file name, and another column can mean the class."""
    labels = [name for name in names if normalize_column(name) in CLASS[-1]]
    if labels:
        raise InvalidUpload(
            f"Both {terms.field}s {index!r} and {labels[0]!r} can be the predicted class: {index!r} comes before the "
            f"file name, where pandas writes row numbers. Remove {index!r}, or rename the {terms.field} of the "
            "predictions to 'predicted_class'.",
            field="header",
            line=line,
        )


def _check_delimiter(names: Sequence[str], line: int | None) -> None:
    for delimiter, description in DELIMITERS.items():
        if len(names) == 1 and delimiter in names[0]:
            raise InvalidUpload(
                f"The columns are separated by {description}: {names[0][:MAX_SHOWN]!r}. Separate them with commas.",
                field="header",
                line=line,
            )


def _find_column(names: Sequence[str], ranks: Ranks, terms: FormatTerms, line: int | None) -> str | None:
    for rank in ranks:
        present = [name for name in names if normalize_column(name) in rank]
        if len(present) > 1:
            raise InvalidUpload(
                f"More than one {terms.field} with {CONTENTS.get(ranks, 'scores')}: {_quote(present)}. Keep one of "
                "them.",
                field="header",
                line=line,
            )
        if present:
            return present[0]
    return None


def _missing_column(names: Sequence[str], ranks: Ranks, terms: FormatTerms, line: int | None) -> InvalidUpload:
    also = [name for rank in ranks for name in rank[:4]][1:8]
    remedy = f"Rename the {terms.field} that contains the {CONTENTS[ranks]}."
    if terms is CSV_TERMS:
        remedy = f"Start the file with the header {EXPECTED_HEADER}."
    if ranks is CLASS:
        remedy = f"{remedy} Name a {terms.field} of free-text answers '{ANSWER[0][0]}'."
    return InvalidUpload(
        f"Missing {terms.field} '{ranks[0][0]}' (aliases: {', '.join(also)}, and others). {terms.header} has "
        f"{_quote(names)}. {remedy}",
        field="header",
        line=line,
    )


def _quote(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:MAX_SHOWN])[:MAX_SHOWN] or "none"
