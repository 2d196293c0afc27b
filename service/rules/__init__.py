"""The rules in the order of the table of error types. The first rule that holds decides.

See Peychev et al. 2023, section 3. The rule of a type is the function `hits` of the module that has its name.
"""

from importlib import import_module

from service.domain import ERROR_TYPES, ErrorType, Evidence
from service.rules.rule import Rule

__all__ = ["ORDER", "RULES_VERSION", "Rule", "find_abstained_types"]

CHANGED = 1  # the version of the rules in which a verdict last changed without a new type
RULES_VERSION = max(CHANGED, *(error_type.row.since for error_type in ERROR_TYPES))  # part of each bundle's digest
ORDER = tuple(
    Rule(error_type, import_module(f"service.rules.{error_type.key}").hits, error_type.row.needs)
    for error_type in ERROR_TYPES
)


def find_abstained_types(evidence: Evidence) -> tuple[ErrorType, ...]:
    """Return the error types whose rules abstain, in order."""
    return tuple(rule.error_type for rule in ORDER if rule.abstains(evidence))
