"""Break an analysis down by target class or by superclass of the target."""

from service.analyses.judge import JudgedAnalysis
from service.domain import NO_TYPE, BreakdownRow
from service.rules.table import error_types
from service.summary.breakdown import by_class, by_superclass, types_by_class


def compute_breakdown(judged: JudgedAnalysis, superclasses: bool) -> list[BreakdownRow]:
    """Return one row per class that has samples, or one row per superclass of the bundle."""
    evidence, types = judged.bundle.evidence, error_types(judged.verdicts)
    label_space = judged.bundle.label_space
    table = types_by_class(types, evidence.effective_targets, ~evidence.problematic, label_space.num_classes)
    has_rejected_targets = bool((evidence.rejected & (types != NO_TYPE)).any())
    if superclasses:
        return by_superclass(table, label_space.superclasses, has_rejected_targets)
    return by_class(table, label_space.names, has_rejected_targets)
