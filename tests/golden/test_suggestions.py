"""The measured quality of suggestions: the tables of the documentation, and an independent count."""

import json
from pathlib import Path
from typing import Any

from oracle.verdicts import OVERLAP

from benchmarks import suggestions

from .conftest import Annotation


def test_the_tables_of_the_documentation_are_those_of_the_benchmark(reference: Path) -> None:
    page = suggestions.PAGE.read_text(encoding="utf-8")

    assert suggestions.replace_tables(page, suggestions.render_tables(reference)) == page


def test_the_suggestions_of_a_model_agree_with_an_independent_count(
    reference: Path, targets: dict[str, int], real_labels: dict[str, list[int]], resnet50: dict[str, int]
) -> None:
    wrong = [
        name
        for name in real_labels
        if resnet50[name] != targets[name] and resnet50[name] not in OVERLAP.get(targets[name], ())
    ]
    correct = [name for name in wrong if resnet50[name] in real_labels[name]]
    missing = sum(len({*labels} - {targets[name]}) for name, labels in real_labels.items())

    quality = suggestions.measure_models(reference)[1]

    assert (quality.suggested, quality.correct, quality.missing) == (len(wrong), len(correct), missing)


def test_the_agreement_of_published_models_agrees_with_an_independent_count(
    reference: Path,
    common_errors: list[dict[str, Any]],
    class_of: dict[str, int],
    annotation: Annotation,
    targets: dict[str, int],
    real_labels: dict[str, list[int]],
) -> None:
    raw = json.loads((reference / "imagenet-multilabel" / "human_accuracy_v3.0.0.json").read_text())
    pairs = {
        (error["name"], error["prediction"])
        for error in common_errors
        if error["models_making_it"] >= 481  # half of 962
        and error["name"] in raw["initial_annots"].keys() - annotation.problematic
        and error["prediction"] not in OVERLAP.get(error["target"], ())
    }
    correct = [
        label in {class_of[wordnet_id] for wordnet_id in raw["initial_annots"][name].get("correct", [])}
        for name, label in pairs
    ]

    missing = sum(
        len({class_of[wordnet_id] for wordnet_id in labels.get("correct", [])} - {targets[name]})
        for name, labels in raw["initial_annots"].items()
        if name not in annotation.problematic
    )
    with_real = {(name, label) for name, label in pairs if name in real_labels}
    correct_in_real = [label in real_labels[name] for name, label in with_real]
    missing_in_real = sum(
        len({*real_labels[name]} - {targets[name]})
        for name in raw["initial_annots"].keys() - annotation.problematic
        if name in real_labels
    )

    quality = suggestions.measure_published(reference, 50)
    in_real = suggestions.measure_published(reference, 50, with_real=True)

    assert (quality.suggested, quality.correct, quality.missing) == (len(pairs), sum(correct), missing)
    assert (in_real.suggested, in_real.correct, in_real.missing) == (
        len(with_real),
        sum(correct_in_real),
        missing_in_real,
    )
