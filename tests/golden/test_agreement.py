"""The shipped agreement with experts, derived again from imagenet-mistakes, and compared with a slow count."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.bootstrap.build import expert_agreement
from service.domain import Agreement, ErrorType
from service.evidence.agreement import agreement_for, shipped_agreement
from service.evidence.bundle import Bundle


@pytest.fixture(scope="module")
def metadata(reference: Path) -> Path:
    return reference / "imagenet-mistakes" / "metadata"


@pytest.fixture(scope="module")
def agreement(bundle: Bundle) -> Agreement:
    return expert_agreement(bundle.path)


@pytest.fixture(scope="module")
def judged(metadata: Path) -> dict[tuple[str, int], dict[str, Any]]:
    raw = [json.loads((metadata / f"{model}_mistakes.json").read_text()) for model in ("greedy_soups", "vit3b")]
    return {(name, entry["top_prediction"]): entry for entries in raw for name, entry in entries.items()}


def test_shipped_table_is_what_the_command_derives(agreement: Agreement) -> None:
    shipped = shipped_agreement()

    assert shipped.types.keys() == agreement.types.keys()
    for error_type, values in agreement.types.items():
        assert vars(shipped.types[error_type]) == pytest.approx(vars(values), nan_ok=True)
    assert {**vars(shipped), "types": None, "cause_kappa": None, "severity_kappa": None} == {
        **vars(agreement),
        "types": None,
        "cause_kappa": None,
        "severity_kappa": None,
    }
    assert shipped.cause_kappa == pytest.approx(agreement.cause_kappa)
    assert shipped.severity_kappa == pytest.approx(agreement.severity_kappa)


def test_counts_agree_with_a_slow_count(
    bundle: Bundle, agreement: Agreement, judged: dict[tuple[str, int], dict[str, Any]]
) -> None:
    pairs = [
        (ErrorType(int(bundle.verdicts[bundle.row_of_name[name], predicted]) & 0x0F), entry)
        for (name, predicted), entry in judged.items()
    ]

    assert agreement.num_pairs == len(pairs) == 484  # spec: "484 pairs"
    for error_type, words in (
        (ErrorType.SPURIOUS_CORRELATION, ("Spurious Correlation",)),
        (ErrorType.NON_PROTOTYPICAL, ("Non-prototypical",)),
        (ErrorType.FINE_GRAINED, ("Fine-grained error", "Fine-grained with Multilabel Options")),
    ):
        values = agreement.types[error_type]
        own = [entry for verdict, entry in pairs if verdict is error_type]
        assert values.num_judged == len(own)
        assert values.num_experts == sum(entry["failure category"] in words for _, entry in pairs)
        assert values.num_agreed == sum(entry["failure category"] in words for entry in own)
        assert values.num_severity_agreed == sum(entry["failure severity"] != "Major" for entry in own)
    failures = [entry for verdict, entry in pairs if verdict is ErrorType.MODEL_FAILURE]
    assert agreement.types[ErrorType.MODEL_FAILURE].num_severity_agreed == sum(
        entry["failure severity"] == "Major" for entry in failures
    )


def test_figures_are_near_those_of_the_first_measurement(agreement: Agreement) -> None:
    spurious = agreement.types[ErrorType.SPURIOUS_CORRELATION]

    # spec: 81 %, 0.32, 0.21, and 0.10 with the superclasses before ADR 0051
    assert agreement.num_cause_agreed / agreement.num_explained == pytest.approx(0.81, abs=0.02)
    assert spurious.precision == pytest.approx(0.32, abs=0.05)
    assert spurious.recall == pytest.approx(0.21, abs=0.05)
    assert agreement.severity_kappa == pytest.approx(0.10, abs=0.03)


def test_only_data_sets_whose_images_experts_judged_have_an_agreement() -> None:
    assert agreement_for("imagenet") == agreement_for("imagenet-real") == shipped_agreement()
    assert agreement_for("imagenet-a") is None
    assert agreement_for("demo") is None


def test_documentation_states_the_measured_kappa_of_severity() -> None:
    page = Path(__file__).parents[2] / "docs" / "concepts" / "severity.md"

    assert f"κ is {shipped_agreement().severity_kappa:.2f}, where 0" in " ".join(page.read_text().split())
