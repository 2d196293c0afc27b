"""The shipped agreement of verdicts with experts, from the expert judgments of imagenet-mistakes.

The verdicts are those of the data set `imagenet` with the default superclasses and without CLIP.

`errata evidence agreement BUNDLE --mistakes DIR --json` writes data/expert_agreement.json. The file contains only
numbers.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from service.domain import Agreement, ErrorType, TypeAgreement

DATASETS = frozenset({"imagenet", "imagenet-real"})  # data sets with images that experts judged


@cache
def shipped_agreement() -> Agreement:
    """Return the agreement that ships with Errata."""
    raw = json.loads((files("service.evidence") / "data" / "expert_agreement.json").read_text(encoding="utf-8"))
    return Agreement(
        **raw
        | {
            "types": {ErrorType[key.upper()]: TypeAgreement(**values) for key, values in raw["types"].items()},
            "abstained": tuple(ErrorType[key.upper()] for key in raw["abstained"]),
        }
    )


def agreement_for(dataset: str) -> Agreement | None:
    """Return the shipped agreement for a data set; None if experts judged none of its images."""
    return shipped_agreement() if dataset in DATASETS else None


def agreement_to_plain(agreement: Agreement) -> dict[str, Any]:
    """Return an agreement as JSON values."""
    return {
        **vars(agreement),
        "types": {error_type.key: vars(values) for error_type, values in agreement.types.items()},
        "abstained": [error_type.key for error_type in agreement.abstained],
    }
