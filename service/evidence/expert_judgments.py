"""Expert judgments: the cause and the severity of the annotated mistakes of two models (imagenet-mistakes).

`metadata/*.json`: file name → {"top_prediction": class, "failure category", "failure severity"}. A bundle stores the
judgments in an array that its digest does not cover, because no rule reads it:

  expert_judgments.npy (J, 4) int32   row of the evaluated image, predicted class, ID of the cause, ExpertSeverity
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence
from errata.json_input import parse_json
from numpy.typing import NDArray

from service.domain import ErrorType, ExpertJudgment, ExpertSeverity
from service.evidence.prototype import FILES, check_folder
from service.taxonomy.imagenet_1k import imagenet_1k

CAUSES: Mapping[str, ErrorType] = {
    "Fine-grained error": ErrorType.FINE_GRAINED,
    "Fine-grained with Multilabel Options": ErrorType.FINE_GRAINED,
    "Fine-grained error with OOV": ErrorType.FINE_GRAINED_OOV,
    "Fine-grained with OOV": ErrorType.FINE_GRAINED_OOV,
    "Spurious Correlation": ErrorType.SPURIOUS_CORRELATION,
    "Non-prototypical": ErrorType.NON_PROTOTYPICAL,
}
SEVERITIES: Mapping[str, ExpertSeverity] = {
    "Minor": ExpertSeverity.MINOR,
    "Borderline": ExpertSeverity.BORDERLINE,
    "Major": ExpertSeverity.MAJOR,
}
Judgments = Mapping[tuple[str, int], ExpertJudgment]  # by file name and predicted class


def read_expert_judgments(folder: Path) -> Judgments:
    """Read the judgments of both files. If both judge the same image and prediction, the first file counts.

    Raises:
        InvalidEvidence: If the folder or a file is missing, or if a file is invalid.
    """
    check_folder(folder)
    judgments: dict[tuple[str, int], ExpertJudgment] = {}
    for file in FILES:
        try:
            if not (folder / file).is_file():  # opening a pipe would block
                raise FileNotFoundError("no regular file")
            raw = parse_json((folder / file).read_text(encoding="utf-8"))
            for name, mistake in raw.items():
                predicted = _predicted(mistake["top_prediction"])
                cause, severity = CAUSES[mistake["failure category"]], SEVERITIES[mistake["failure severity"]]
                judgments.setdefault((name, predicted), ExpertJudgment(cause, severity))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidEvidence(
                f"{folder.name}/{file}: {error!r:.100}. Expected a JSON object that maps file names to mistakes, each "
                "with 'top_prediction', 'failure category', and 'failure severity'. Use the files of "
                "imagenet-mistakes.",
                field="mistakes",
            ) from error
    return judgments


def pack_judgments(judgments: Judgments, names: Sequence[bytes]) -> NDArray[np.int32]:
    """Return the judgments of N evaluated images as the array of a bundle, (J, 4)."""
    rows = {name.rsplit(b"/", 1)[-1].decode(): row for row, name in enumerate(names)}
    entries = sorted(
        (rows[name], predicted, judgment.cause.id, judgment.severity.value)
        for (name, predicted), judgment in judgments.items()
        if name in rows
    )
    return np.array(entries, dtype=np.int32).reshape(-1, 4)


def unpack_judgments(array: NDArray[np.int32]) -> Mapping[tuple[int, int], ExpertJudgment]:
    """Return the judgments of a bundle by the row of the image and the predicted class."""
    return {
        (row, predicted): ExpertJudgment(ErrorType(cause), ExpertSeverity(severity))
        for row, predicted, cause, severity in array.tolist()
    }


def _predicted(raw: object) -> int:
    if type(raw) is not int or not 0 <= raw < imagenet_1k().num_classes:
        raise ValueError(f"top_prediction {raw!r:.20} is no class")
    return raw
