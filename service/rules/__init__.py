"""The rules, in the order of the table of error types. For each prediction, the first rule that holds decides.

See Peychev et al. 2023, section 3. The rule of an error type is the function `hits` in the module that has
the key of the type as its name.
"""

from importlib import import_module

from service.domain import ERROR_TYPES, ErrorType, Evidence
from service.rules.rule import Rule

__all__ = ["ORDER", "RULES_VERSION", "Rule", "find_abstained_types"]

CHANGED = 1  # newest version of the rules that changed verdicts without adding an error type
RULES_VERSION = max(CHANGED, *(error_type.row.since for error_type in ERROR_TYPES))  # part of each bundle's digest
ORDER = tuple(
    Rule(error_type, import_module(f"service.rules.{error_type.key}").hits, error_type.row.needs)
    for error_type in ERROR_TYPES
)


def find_abstained_types(evidence: Evidence) -> tuple[ErrorType, ...]:
    """Return the error types whose rules abstain, in order."""
    return tuple(rule.error_type for rule in ORDER if rule.abstains(evidence))
