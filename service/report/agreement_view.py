"""The agreement of verdicts with experts, as the report and the command line show it."""

from collections.abc import Mapping
from dataclasses import dataclass

from errata.messages import MISSING, format_count, format_percentage

from service.domain import Agreement, ErrorType, TypeAgreement
from service.report.elements import css_class
from service.report.messages.agreement import NOT_INDEPENDENT, cause_note, format_kappa, severity_note, type_note


@dataclass(frozen=True)
class AgreementRow:
    """The agreement about one error type."""

    css_class: str
    title: str
    judged: str  # predictions with this verdict that experts judged
    agreed: str
    precision: str
    recall: str
    kappa: str
    severity: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the texts of a table's row."""
        return (self.title, self.judged, self.agreed, self.precision, self.recall, self.kappa, self.severity)


@dataclass(frozen=True)
class AgreementView:
    """The agreement with experts."""

    rows: tuple[AgreementRow, ...]
    notes: tuple[str, ...]  # about all error types
    severity_note: str
    of_type: Mapping[ErrorType, str]  # one sentence beside the description of a type


def agreement_view(agreement: Agreement) -> AgreementView:
    """Convert an agreement for display."""
    return AgreementView(
        rows=tuple(_row(error_type, values, agreement) for error_type, values in agreement.types.items()),
        notes=(cause_note(agreement), NOT_INDEPENDENT),
        severity_note=severity_note(agreement),
        of_type={error_type: type_note(error_type, values) for error_type, values in agreement.types.items()},
    )


def _row(error_type: ErrorType, values: TypeAgreement, agreement: Agreement) -> AgreementRow:
    has_verdicts = error_type not in agreement.abstained
    is_cause = values.num_experts > 0
    severity = values.num_severity_agreed / values.num_judged if values.num_judged else None
    return AgreementRow(
        css_class=css_class(error_type),
        title=error_type.title,
        judged=format_count(values.num_judged) if has_verdicts else MISSING,
        agreed=format_count(values.num_agreed) if has_verdicts and is_cause else MISSING,
        precision=format_percentage(values.precision if is_cause else None),
        recall=format_percentage(values.recall if has_verdicts else None),
        kappa=format_kappa(values.kappa) or MISSING,
        severity=format_percentage(severity),
    )
