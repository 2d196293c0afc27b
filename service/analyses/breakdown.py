"""Breakdown: the verdicts of an analysis by target class, or by superclass of the target."""

from service.analyses.judge import JudgedAnalysis
from service.domain import BreakdownRow
from service.rules.table import error_types
from service.summary.breakdown import by_class, by_superclass, types_by_class
from service.taxonomy.classes import class_names


def compute_breakdown(found: JudgedAnalysis, superclasses: bool) -> list[BreakdownRow]:
    """Return a row for each class with samples, or for each superclass of the bundle."""
    evidence = found.bundle.evidence
    table = types_by_class(error_types(found.verdicts), evidence.targets, ~evidence.problematic)
    if superclasses:
        return by_superclass(table, found.bundle.manifest.superclasses, found.bundle.arrays["superclass_members"])
    return by_class(table, class_names())
