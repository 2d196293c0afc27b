"""The interface of a rule: a function of evidence and predictions that returns where the rule holds."""

from collections.abc import Callable
from dataclasses import dataclass

from service.domain import Classes, ErrorType, Evidence, Mask


@dataclass(frozen=True)
class Rule:
    """One rule: its error type, its predicate, and the evidence that it needs."""

    error_type: ErrorType
    hits: Callable[[Evidence, Classes], Mask]  # (N, K) where the rule holds, regardless of other rules. Predictions:
    # (N, K), or (1, K) for the same K predictions of all samples
    needs: str = ""  # field of Evidence without which the rule abstains

    def abstains(self, evidence: Evidence) -> bool:
        """Return whether the rule abstains because its evidence is missing. It then never holds."""
        return bool(self.needs) and getattr(evidence, self.needs) is None
