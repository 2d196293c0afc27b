"""Uploads of free-text answers: every answer without a class is an error, and the shares are reported."""

import csv
import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from errata.errors import InvalidRequest, InvalidRow, TruncatedUpload

from service.analyses.error_table import ReportKind
from service.analyses.images import list_images
from service.analyses.reanalyze import reanalyze
from service.analyses.report import build_view
from service.analyses.upload import upload
from service.analyses.verdicts import VerdictFilter, explain_image, iterate_verdicts, load_judged, verdict_table
from service.archive.document import encode_document, from_document
from service.domain import (
    ALL,
    NO_CLASS,
    Analysis,
    AnalysisRequest,
    AnswerOutcome,
    AnswerRelation,
    ErrorType,
)
from service.domain.images import ImageQuery
from service.evidence.bundle import Bundle
from service.report.render import render_report

from .conftest import Backend


def write_csv(rows: list[tuple[str, str]], header: str = "answer") -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file_name", header), *rows])
    return text.getvalue().encode()


def write_jsonl(rows: list[tuple[str, str]]) -> bytes:
    return "".join(json.dumps({"file_name": name, "answer": answer}) + "\n" for name, answer in rows).encode()


@pytest.fixture
def rows(demo: Bundle) -> list[tuple[str, str]]:
    """A sentence with the original label of each image, and six answers without a class."""
    names, targets = demo.label_space.names, demo.all_targets
    answers = [f"This is a photo of a {demo.label_space.synonyms[target][-1]}." for target in targets.tolist()]
    answers[:6] = ["animal", "crane", "xyzzy", "", "I see a goldfish, and a tench", "thing"]
    assert "crane" not in [names[target] for target in targets]
    return [*zip(demo.image_names, answers, strict=True)]


def send(backend: Backend, content: bytes, mapping: str = "") -> Analysis:
    return upload(backend.ports, AnalysisRequest("demo", answers_mapping=mapping), io.BytesIO(content))


@pytest.mark.parametrize("write", [write_csv, write_jsonl])
def test_answers_without_a_class_are_errors(
    backend: Backend, rows: list[tuple[str, str]], write: Callable[[list[tuple[str, str]]], bytes]
) -> None:
    analysis = send(backend, write(rows))

    assert analysis.summary is not None and analysis.answers is not None
    overall, answers = analysis.summary.groups[ALL], analysis.answers
    assert (overall.num_samples, overall.counts[ErrorType.CORRECT]) == (20, 14)
    assert (overall.top1_errors, overall.num_errors) == (6, 6)
    assert overall.counts[ErrorType.MODEL_FAILURE] + overall.counts[ErrorType.NON_PROTOTYPICAL] == 6
    assert analysis.summary.num_predicted == 20
    assert (answers.num_answers, answers.num_mapped, answers.num_distinct) == (20, 14, len({text for _, text in rows}))
    assert (answers.num_unknown, answers.num_ambiguous, answers.num_outside) == (2, 2, 2)
    assert (answers.num_unmapped_errors, answers.num_errors, answers.num_answers - answers.num_mapped) == (6, 6, 6)
    assert [(example.answer, example.outcome.name) for example in answers.examples] == [
        ("crane", "AMBIGUOUS"),
        ("I see a goldfish, and a tench", "AMBIGUOUS"),
        ("animal", "OUTSIDE"),
        ("thing", "OUTSIDE"),
        ("xyzzy", "UNKNOWN"),
        ("", "UNKNOWN"),
    ]
    assert answers.examples[0].classes == ("crane (n02012849)", "crane (n03126707)")
    assert answers.examples[1].classes == ("tench", "goldfish")


def test_classes_of_answers_have_the_verdicts_of_uploaded_classes(
    backend: Backend, demo: Bundle, rows: list[tuple[str, str]]
) -> None:
    numbers = np.random.default_rng(0).integers(0, 1000, 20).tolist()
    ids = [demo.label_space.ids[number] for number in numbers]
    as_classes = send(backend, write_csv([*zip(demo.image_names, ids, strict=True)], "predicted_class"))
    as_answers = send(backend, write_csv([*zip(demo.image_names, [f"It is {id_}" for id_ in ids], strict=True)]))

    assert as_answers.summary == as_classes.summary
    assert as_answers.predictions_digest == as_classes.predictions_digest
    assert as_classes.answers is None


def test_verdicts_have_the_answer_its_outcome_and_its_relation(
    backend: Backend, demo: Bundle, rows: list[tuple[str, str]]
) -> None:
    analysis = send(backend, write_csv(rows))
    judged = load_judged(backend.ports.stores, analysis.id)
    verdicts = {verdict.file_name: verdict for verdict in iterate_verdicts(judged, np.arange(20), with_evidence=True)}

    organisms = {name for name in demo.judged_names if "organism" in verdicts[name].groups}
    for name, answer in rows[:6]:
        verdict = verdicts[name]
        assert (verdict.predicted, verdict.answer, verdict.matches_label) == (NO_CLASS, answer, False)
        assert verdict.error_type in (ErrorType.MODEL_FAILURE, ErrorType.NON_PROTOTYPICAL)
        assert verdict.evidence is not None
        assert not verdict.evidence.shared_superclasses and not verdict.evidence.co_occurrences
        explained = explain_image(judged, name, None)
        assert (explained.answer, explained.error_type) == (answer, verdict.error_type)
        assert explained.evidence == verdict.evidence
    animal = verdicts[rows[0][0]]
    assert animal.answer_outcome is AnswerOutcome.OUTSIDE
    assert (animal.answer_relation is AnswerRelation.TOO_GENERAL) == (animal.file_name in organisms)
    assert verdicts[rows[10][0]].answer_outcome is AnswerOutcome.MAPPED
    assert analysis.answers is not None
    general = sum(verdict.answer_relation is AnswerRelation.TOO_GENERAL for verdict in verdicts.values())
    assert analysis.answers.num_too_general == general > 0


def test_exported_columns_have_the_answers(backend: Backend, rows: list[tuple[str, str]]) -> None:
    judged = load_judged(backend.ports.stores, send(backend, write_csv(rows)).id)

    table = verdict_table(judged, with_evidence=True)

    assert dict(zip(table["file_name"].to_pylist(), table["answer"].to_pylist(), strict=True)) == dict(rows)
    assert table["predicted"].to_pylist().count(-1) == 6
    assert table["predicted_name"].to_pylist().count("no class") == 6
    assert table["answer_outcome"].to_pylist().count("ANSWER_OUTCOME_MAPPED") == 14
    assert verdict_table(judged, VerdictFilter(superclass="bony_fish")).num_rows <= 1


def test_lists_of_images_and_the_report_show_answers_without_a_class(
    backend: Backend, rows: list[tuple[str, str]]
) -> None:
    analysis = send(backend, write_csv(rows))
    page = list_images(backend.ports.stores, ImageQuery(analysis.id))
    judged = load_judged(backend.ports.stores, analysis.id)

    assert sum(row.predicted == NO_CLASS for row in page.rows) == 6
    assert sum(count.count for count in page.facets.predicted.counts) <= 14
    for kind in (ReportKind.FILE, ReportKind.SITE):
        html = render_report(build_view(backend.ports, judged, kind))
        assert "6 of the 6 errors that are not label noise (100.0 %) are answers without a class." in html.replace(
            "\xa0", " "
        )
        assert "The answer “xyzzy” names nothing that is known." in html
        assert "no class" in html


def test_the_mapping_file_decides_and_only_its_digest_is_stored(backend: Backend, rows: list[tuple[str, str]]) -> None:
    mapping = "answer,class\nxyzzy,1\nthing,\n"
    analysis = send(backend, write_csv(rows), mapping)

    assert analysis.answers is not None
    assert (analysis.answers.num_mapped, analysis.answers.num_overridden) == (15, 2)
    assert len(analysis.answers.mapping_digest) == 64
    assert analysis.request.answers_mapping == ""
    archived = backend.archive.get(analysis.id)
    assert archived is not None and archived.answers == analysis.answers


def test_a_mapping_file_for_classes_is_refused(backend: Backend, demo_csv: bytes) -> None:
    with pytest.raises(InvalidRequest, match="--answers-mapping does not apply"):
        send(backend, demo_csv, "answer,class\nx,1\n")


def test_an_invalid_mapping_file_is_refused(backend: Backend, rows: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRow, match="Line 2 of the mapping file"):
        send(backend, write_csv(rows), "answer,class\nx,no such class\n")


def test_two_rows_of_an_image_are_refused(backend: Backend, rows: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRow, match="has more than one row"):
        send(backend, write_csv([*rows, (rows[0][0], "tench")]))


def test_a_reanalysis_keeps_the_answers(backend: Backend, rows: list[tuple[str, str]]) -> None:
    before = send(backend, write_csv(rows), "answer,class\nxyzzy,1\n")

    after = reanalyze(backend.ports, before.id, "")

    assert (after.answers, after.summary) == (before.answers, before.summary)


def test_the_document_of_an_analysis_keeps_the_summary_of_answers(
    backend: Backend, rows: list[tuple[str, str]]
) -> None:
    analysis = send(backend, write_csv(rows))
    document = json.loads(encode_document(analysis))

    assert from_document(document) == analysis
    del document["answers"]
    assert from_document(document).answers is None  # as archived by earlier versions


def test_long_answers_and_line_breaks_are_stored_as_one_short_line(
    backend: Backend, rows: list[tuple[str, str]]
) -> None:
    rows[0] = (rows[0][0], "well,\nthis " + "is hard " * 100)
    judged = load_judged(backend.ports.stores, send(backend, write_jsonl(rows)).id)

    answers = judged.predictions.answers
    assert answers is not None
    text = answers.text_of(0)
    assert text.startswith("well, this is hard") and len(text) <= 200


@pytest.mark.parametrize("write", [write_csv, write_jsonl])
def test_no_answers_are_matched_after_a_cancellation(
    backend: Backend, rows: list[tuple[str, str]], write: Callable[[list[tuple[str, str]]], bytes]
) -> None:
    with pytest.raises(TruncatedUpload, match="canceled while its answers were matched"):
        upload(backend.ports, AnalysisRequest("demo"), io.BytesIO(write(rows)), is_cancelled=lambda: True)
