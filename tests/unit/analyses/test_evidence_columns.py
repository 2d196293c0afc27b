"""The evidence of many verdicts as columns and as lines of JSON, against the evidence of each."""

import json
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from errata.proto_json import to_dict
from unit.evidence.official import mistake, write_mistakes
from unit.evidence.small_label_space import own_inputs
from unit.evidence.small_label_space import row as class_row

from service import wire
from service.analyses.evidence_columns import evidence_columns
from service.analyses.explain import collect_evidence
from service.analyses.export import Export, write_jsonl
from service.analyses.judge import JudgedAnalysis, compute_verdicts
from service.analyses.verdicts import VerdictFilter, iterate_verdicts, select_rows, verdict_table
from service.bootstrap.build import Inputs, build_evidence
from service.domain import (
    MULTI_LABEL_ERROR_TYPES,
    Analysis,
    ErrorType,
    LabelSource,
    Predictions,
    VerdictEvidence,
    create_label_space,
)
from service.evidence.build import write_bundle
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.inputs import BundleInputs, LabelInputs
from service.evidence.labels import original_labels, pack_labels, validation_name
from service.taxonomy.wordnet import load_taxonomy

IMAGES = 300
CLASSES = (248, 249, 250, 281, 282, 504, 620, 681, 968)  # of some overlap, of one superclass, or of neither


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with labels that occur together, and with problematic images, half of them without labels."""
    draw, folder = random.Random(4), tmp_path_factory.mktemp("annotated")
    lines = ["id,original_label,proposed_labels,unclear_multi_labels,is_problematic"]
    for number in range(1, IMAGES + 1):
        problematic = draw.random() < 0.3
        labels = [] if problematic and draw.random() < 0.5 else draw.sample(CLASSES, draw.randint(1, 3))
        proposed = ", ".join(map(str, labels))
        lines.append(f'{validation_name(number)},{original_labels()[number - 1]},"{proposed}",,{problematic}')
    (folder / "annotations.csv").write_text("\n".join(lines) + "\n")
    judged_by_experts = {
        validation_name(number): mistake("Spurious Correlation", CLASSES[number % len(CLASSES)])
        for number in range(1, IMAGES + 1)
    }
    mistakes = write_mistakes(folder / "mistakes", [])
    (mistakes / "vit3b_mistakes.json").write_text(json.dumps(judged_by_experts))
    inputs = Inputs(annotations=folder / "annotations.csv", mistakes=mistakes)
    return build_evidence("imagenet", inputs, folder / "bundle")


@pytest.fixture(scope="module")
def with_vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The 20 photographs, with an encoder that hashes names."""
    folder = tmp_path_factory.mktemp("vocabulary")
    for index in range(0, 1000, 40):
        (folder / "train" / load_taxonomy().wordnet_id(index)).mkdir(parents=True)
        (folder / "train" / load_taxonomy().wordnet_id(index) / "a.JPEG").write_bytes(b"")
    encoder = "service.evidence.encoder:HashEncoder"
    inputs = Inputs(encoder=encoder, train_images=folder / "train", cache=folder / "cache")
    return build_evidence("demo", inputs, folder / "bundle")


def judged(bundle: Bundle, predicted: Sequence[int]) -> JudgedAnalysis:
    predictions = Predictions(np.array(predicted, dtype=np.int16))
    return JudgedAnalysis(cast(Analysis, None), bundle, predictions, compute_verdicts(bundle, predictions))


def first_overlap(bundle: Bundle) -> dict[int, int]:
    """Return the first class that also counts as correct, by target."""
    return dict(reversed(bundle.label_space.overlaps.as_array().tolist()))


def plain(names: Sequence[str], evidence: VerdictEvidence) -> dict[str, Any]:
    """Return the evidence of one verdict as a row of the table has it."""
    return {
        "labels": [
            {"class_index": label, "class_name": names[label], "source": f"LABEL_SOURCE_{source.name}"}
            for label, source in evidence.labels
        ],
        "shared_superclasses": [
            {"label": shared.label, "label_name": names[shared.label], "superclasses": list(shared.superclasses)}
            for shared in evidence.shared_superclasses
        ],
        "co_occurrences": [
            {"label": pair.label, "label_name": names[pair.label], "count": pair.count, "examples": list(pair.examples)}
            for pair in evidence.co_occurrences
        ],
        "overlap": evidence.overlap or None,
        "vocabulary": evidence.vocabulary
        and {
            "gate": evidence.vocabulary.gate,
            "best": [
                {"text": best.text, "probability": pytest.approx(best.probability), "outside": best.outside}
                for best in evidence.vocabulary.best
            ],
            "num_texts": evidence.vocabulary.num_texts,
            "prefers_label": evidence.vocabulary.prefers_label,
        },
        "expert_judgment": evidence.expert_judgment
        and {
            "error_type": evidence.expert_judgment.cause.key,
            "severity": f"EXPERT_SEVERITY_{evidence.expert_judgment.severity.name}",
        },
        "attributes": [{"attribute": item.attribute, "values": list(item.values)} for item in evidence.attributes],
        "outcomes": [f"OUTCOME_{step.outcome.name}" for step in evidence.trace],
    }


def check(analysis: JudgedAnalysis) -> list[dict[str, Any]]:
    """Compare each row of the table, and each line of the export, with its verdict; return the rows."""
    rows, names = select_rows(analysis, VerdictFilter()), analysis.bundle.label_space.names
    messages = [to_dict(wire.to_verdict(verdict, names)) for verdict in iterate_verdicts(analysis, rows, True)]
    lines = b"".join(write_jsonl(analysis, partial(wire.verdict_line, names=names), Export(with_evidence=True)))
    assert [{"name": "", **json.loads(line)} for line in lines.splitlines()] == messages
    result = verdict_table(analysis, with_evidence=True).to_pylist()
    assert len(result) == len(rows)
    for row, values in zip(rows.tolist(), result, strict=True):
        outcomes = [value for name, value in values.items() if name.startswith("rule_") and value]
        predicted = int(analysis.predictions.top1[analysis.bundle.rows[row]])
        verdict = int(analysis.verdicts[row])
        expected = plain(names, collect_evidence(analysis.bundle, row, predicted, verdict))
        assert {name: values.get(name) for name in expected} | {"outcomes": outcomes} == expected
    return result


@pytest.mark.parametrize("seed", range(3))
def test_columns_of_annotated_images_equal_the_evidence_of_each_verdict(annotated: Bundle, seed: int) -> None:
    draw = random.Random(seed)
    predicted = draw.choices((*CLASSES, *range(0, 1000, 100)), k=len(annotated.all_targets))
    overlap = first_overlap(annotated)
    for image, target in enumerate(annotated.all_targets.tolist()):
        if target in overlap and draw.random() < 0.5:
            predicted[image] = overlap[target]
    rows = check(judged(annotated, predicted))

    assert any(row["co_occurrences"] for row in rows), "the test would prove little"
    assert any(row["overlap"] for row in rows)
    assert any(row["expert_judgment"] for row in rows)
    assert any(row["rule_oov_similar_to_target"] for row in rows)


@pytest.mark.parametrize("seed", range(3))
def test_columns_with_vocabulary_equal_the_evidence_of_each_verdict(with_vocabulary: Bundle, seed: int) -> None:
    draw = random.Random(seed)
    rows = check(judged(with_vocabulary, [draw.randrange(1000) for _ in with_vocabulary.all_targets]))

    assert any(row["vocabulary"] for row in rows), "the test would prove little"


@pytest.mark.parametrize("seed", range(3))
def test_columns_of_an_own_label_space_equal_the_evidence_of_each_verdict(tmp_path: Path, seed: int) -> None:
    write_bundle(own_inputs(), tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    classes, images = bundle.label_space.num_classes, len(bundle.all_targets)
    analysis = judged(bundle, np.random.default_rng(seed).integers(0, classes, images).tolist())
    rows = np.arange(images)

    columns = evidence_columns(analysis, rows)

    for row in rows.tolist():
        values = {name: column[row].as_py() for name, column in columns.items()}
        predicted, verdict = int(analysis.predictions.top1[bundle.rows[row]]), int(analysis.verdicts[row])
        expected = plain(bundle.label_space.names, collect_evidence(bundle, row, predicted, verdict))
        del expected["outcomes"]
        assert {name: values[name] for name in expected} == expected


def test_overlaps_can_have_more_reasons_than_a_byte_counts(tmp_path: Path) -> None:
    rows = [class_row(f"id {number}", f"name {number}") for number in range(300)]
    space = create_label_space("mine", rows, np.array([[number, 299 - number] for number in range(300)]))
    labels = pack_labels([{number: LabelSource.CORRECT} for number in range(300)])
    names = np.array([f"{number}.jpg".encode() for number in range(300)])
    images, targets = np.arange(300, dtype=np.int32), np.arange(300, dtype=np.int16)
    inputs = LabelInputs(names, targets, images, labels, np.zeros(300, dtype=bool), ())
    write_bundle(BundleInputs("mine", inputs, space, None, None, None, ()), tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")

    columns = evidence_columns(judged(bundle, targets[::-1].tolist()), np.arange(300))

    assert columns["overlap"].to_pylist() == [space.overlap_reason(number, 299 - number) for number in range(300)]


def test_columns_of_rejected_targets_equal_the_evidence_of_each_verdict(imagenet_real: Bundle) -> None:
    evidence = imagenet_real.evidence
    top1 = np.full(len(imagenet_real.all_targets), -1, dtype=np.int16)
    some = np.flatnonzero(evidence.rejected)[::100]
    top1[imagenet_real.rows[some]] = evidence.targets[some]

    rows = check(judged(imagenet_real, top1.tolist()))

    assert [row["effective_target"] for row in rows] == [int(evidence.labels.of(row)[0]) for row in some]
    assert all(row["rejected_target"] and not row["matches_label"] for row in rows)
    assert all(row["target"] == row["predicted"] for row in rows)
    assert {row["error_type"] for row in rows} <= {"class_overlap", *(kind.key for kind in MULTI_LABEL_ERROR_TYPES)}
    assert any(row["shared_superclasses"] for row in rows)


def test_the_values_of_dictionaries_are_distinct_as_data_frames_need_them(imagenet_real: Bundle) -> None:
    overlap = first_overlap(imagenet_real)
    analysis = judged(imagenet_real, [overlap.get(target, 0) for target in imagenet_real.all_targets.tolist()])

    columns = verdict_table(analysis, with_evidence=True)

    dictionaries = {
        name: columns[name].chunk(0).dictionary.to_pylist()
        for name in columns.column_names
        if pa.types.is_dictionary(columns.schema.field(name).type)
    }
    assert {"error_type", "groups", "overlap", "rule_correct"} <= dictionaries.keys()
    for name, values in dictionaries.items():
        assert len(values) == len(set(values)), name
    row = columns["overlap"].is_valid().to_pylist().index(True)
    sample = int(select_rows(analysis, VerdictFilter())[row])
    predicted = int(analysis.predictions.top1[imagenet_real.rows[sample]])
    expected = collect_evidence(imagenet_real, sample, predicted, int(analysis.verdicts[sample]))
    assert columns["overlap"][row].as_py() == expected.overlap


def test_a_filter_selects_the_rows_of_the_table(annotated: Bundle) -> None:
    analysis = judged(annotated, [0] * len(annotated.all_targets))
    failures = VerdictFilter(error_types=frozenset({ErrorType.MODEL_FAILURE}))

    rows = verdict_table(analysis, failures, with_evidence=True)

    assert 0 < len(rows) < len(verdict_table(analysis))
    assert set(rows["error_type"].to_pylist()) == {"model_failure"}
    nothing = verdict_table(analysis, VerdictFilter(target=1, predicted=2), with_evidence=True)
    assert len(nothing) == 0
    assert nothing.schema == rows.schema


def test_each_dictionary_has_distinct_texts(annotated: Bundle) -> None:
    """Data frames have categories, which are distinct. Problematic images of several error types have the same tag."""
    predicted = random.Random(5).choices(CLASSES, k=len(annotated.all_targets))
    table = verdict_table(judged(annotated, predicted), with_evidence=True)

    dictionaries = {
        name: column.chunk(0).dictionary.to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
        if pa.types.is_dictionary(column.type)
    }
    assert len(dictionaries["problematic"]) > 1
    assert {name: len(texts) for name, texts in dictionaries.items()} == {
        name: len({*texts}) for name, texts in dictionaries.items()
    }
