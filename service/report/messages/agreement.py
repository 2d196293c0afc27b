"""Texts about the agreement of verdicts with experts."""

from errata.messages import format_count, format_percentage

from service.domain import Agreement, ErrorType, Severity, TypeAgreement

CAPTION = (
    "How often experts agree with an error type. The experts judged the predictions of two models (imagenet-mistakes); "
    "the error types use the default superclasses of imagenet. This model does not affect the table."
)
NOT_INDEPENDENT = (
    "The rule for non-prototypical errors reads a list by the same experts, so its agreement is not independent."
)


def type_note(error_type: ErrorType, values: TypeAgreement) -> str:
    """Describe the agreement about one error type; empty if no verdict of the type was judged.

    Args:
        error_type: The error type.
        values: The agreement about it.

    Returns:
        For example "Experts agreed in 248 of 290 errors, and on the severity in 187."
    """
    judged, severity = format_count(values.num_judged), format_count(values.num_severity_agreed)
    if not values.num_judged:
        return ""
    if error_type.severity is Severity.SEVERE:
        return f"Experts always name a cause. They called {severity} of {judged} errors major."
    return (
        f"Experts agreed in {format_count(values.num_agreed)} of {judged} errors, and called "
        f"{format_count(values.num_judged - values.num_severity_agreed)} of them major."
    )


def cause_note(agreement: Agreement) -> str:
    """Describe the agreement about the causes of all errors."""
    explained, pairs = agreement.num_explained, agreement.num_pairs
    cause = agreement.num_cause_agreed / explained if explained else None
    return (
        f"Of {format_count(pairs)} predictions that experts judged, the rules explain {format_count(explained)}; "
        f"the cause agrees in {format_percentage(cause)} of these{_kappa(agreement.cause_kappa)}. The two fine-grained "
        "types count as one cause."
    )


def severity_note(agreement: Agreement) -> str:
    """Describe the agreement about the severity of all errors."""
    share = agreement.num_severity_agreed / agreement.num_pairs if agreement.num_pairs else None
    return (
        "Severity states what explains an error, not how bad it is: “severe” in Errata and “major” for experts agree "
        f"on {format_percentage(share)} of the errors that experts judged{_kappa(agreement.severity_kappa)}."
    )


def format_kappa(value: float | None) -> str:
    """Format Cohen's kappa with two decimal places; empty for a missing value."""
    return "" if value is None else f"{value + 0.0:.2f}".replace("-", "−")


def _kappa(value: float | None) -> str:
    return "" if value is None else f" (κ = {format_kappa(value)})"
