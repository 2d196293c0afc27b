"""The interface of a rule: a function of evidence and predictions that returns where the rule holds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from service.domain import Classes, ErrorType, Evidence, Mask

WITHOUT_CLASS = (ErrorType.NON_PROTOTYPICAL, ErrorType.MODEL_FAILURE)  # their rules do not use the predicted class


@dataclass(frozen=True)
class Rule:
    """One rule: its error type, its predicate, and the evidence that it needs."""

    error_type: ErrorType
    hits: Callable[[Evidence, Classes], Mask]  # returns (N, K): where the rule holds, regardless of other rules. Takes
    # predictions: (N, K), or (1, K) for the same K predictions of all samples
    needs: str = ""  # field of Evidence without which the rule abstains

    def holds(self, evidence: Evidence, predicted: Classes) -> Mask:
        """Return where the rule holds, (N, K). Only the rules in WITHOUT_CLASS can hold for NO_CLASS."""
        if self.error_type in WITHOUT_CLASS or (has_class := predicted >= 0).all():
            return self.hits(evidence, predicted)
        return self.hits(evidence, np.maximum(predicted, 0)) & has_class

    def abstains(self, evidence: Evidence) -> bool:
        """Return whether the rule abstains because its evidence is missing. A rule that abstains never holds."""
        return bool(self.needs) and getattr(evidence, self.needs) is None
