"""Break an analysis down by target class or by superclass of the target."""

from service.analyses.judge import JudgedAnalysis
from service.domain import BreakdownRow
from service.rules.table import error_types
from service.summary.breakdown import by_class, by_superclass, types_by_class
from service.taxonomy.classes import class_names


def compute_breakdown(judged: JudgedAnalysis, superclasses: bool) -> list[BreakdownRow]:
    """Return one row per class that has samples, or one row per superclass of the bundle."""
    evidence = judged.bundle.evidence
    table = types_by_class(error_types(judged.verdicts), evidence.targets, ~evidence.problematic)
    if superclasses:
        return by_superclass(table, judged.bundle.manifest.superclasses, judged.bundle.arrays["superclass_members"])
    return by_class(table, class_names())
