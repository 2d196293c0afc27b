"""What a rule is: a function from evidence to the predictions that it claims."""

from collections.abc import Callable
from dataclasses import dataclass

from service.domain import ErrorType, Evidence, Mask


@dataclass(frozen=True)
class Rule:
    """One row of ORDER."""

    error_type: ErrorType
    hits: Callable[[Evidence], Mask]  # (N, C): which predictions the rule claims, whatever other rules say
    needs: str = ""  # the field of Evidence without which the rule abstains

    def abstains(self, evidence: Evidence) -> bool:
        """Say whether the evidence that the rule needs is missing; it then never fires."""
        return bool(self.needs) and getattr(evidence, self.needs) is None
