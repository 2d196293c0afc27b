"""Free-text answers through the API, the command, and the pages."""

import csv
import io
import os
import re
import urllib.request
from pathlib import Path

import pyarrow as pa
import pytest
from command import run_command
from errata import errors, pb
from pyarrow import parquet

from service.evidence.bundle import Bundle

from .conftest import Running


@pytest.fixture
def answers(demo: Bundle) -> bytes:
    """The original label of each image in a sentence, and three answers without a class."""
    texts = [f"This is a {demo.label_space.synonyms[target][-1]}." for target in demo.all_targets.tolist()]
    texts[:3] = ["an animal", "crane", "<script>"]
    text = io.StringIO()
    csv.writer(text).writerows([("file_name", "answer"), *zip(demo.image_names, texts, strict=True)])
    return text.getvalue().encode()


def test_an_upload_reports_the_mapping_of_its_answers(running: Running, answers: bytes, demo: Bundle) -> None:
    analysis = running.client.upload(io.BytesIO(answers), "demo", answers_mapping="answer,class\ncrane,559\n")

    mapping = analysis.answers
    assert (mapping.num_answers, mapping.num_mapped, mapping.num_overridden) == (20, 18, 1)
    assert (mapping.num_outside, mapping.num_unknown, mapping.num_ambiguous) == (1, 1, 0)
    assert [example.answer for example in mapping.examples] == ["an animal", "<script>"]
    assert running.client.get(analysis.name).answers == mapping
    verdicts = {verdict.file_name: verdict for verdict in running.client.verdicts(analysis.name)}
    first = verdicts[demo.image_names[0]]
    assert (first.predicted, first.predicted_name, first.answer) == (-1, "no class", "an animal")
    assert first.answer_outcome == pb.ANSWER_OUTCOME_OUTSIDE
    assert first.answer_relation == pb.ANSWER_RELATION_TOO_GENERAL  # the image shows a dog
    explained = running.client.explain(analysis.name, demo.image_names[0])
    assert (explained.answer, explained.predicted) == ("an animal", -1)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_answers_in_a_table_are_mapped_like_those_in_text(running: Running, answers: bytes, kind: pa.DataType) -> None:
    _, *rows = csv.reader(io.StringIO(answers.decode()))
    names, texts = zip(*rows, strict=True)
    file = io.BytesIO()
    parquet.write_table(pa.table({"file_name": names, "answer": pa.array(texts).cast(kind)}), file)

    table = running.client.upload(io.BytesIO(file.getvalue()), "demo")

    text = running.client.upload(io.BytesIO(answers), "demo")
    assert table.predictions_digest == text.predictions_digest
    assert table.answers == text.answers


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([1.5] * 20), "Column 'answer' has the type double. Expected text"),
        (pa.array(["x"] * 19 + [None]), "Column 'answer' has no value"),
        (pa.array(["x" * 20_000] * 20), "A value has more than 16,384 bytes"),
    ],
    ids=["numbers", "nothing", "long"],
)
def test_a_column_of_other_values_is_refused(running: Running, demo: Bundle, column: pa.Array, message: str) -> None:
    file = io.BytesIO()
    parquet.write_table(pa.table({"file_name": demo.image_names, "answer": column}), file)

    with pytest.raises(errors.ErrataError, match=message):
        running.client.upload(io.BytesIO(file.getvalue()), "demo")


def test_an_upload_of_classes_has_no_mapping(running: Running, demo_csv: bytes) -> None:
    assert not running.client.upload(io.BytesIO(demo_csv), "demo").HasField("answers")
    with pytest.raises(errors.InvalidRequest, match="--answers-mapping does not apply"):
        running.client.upload(io.BytesIO(demo_csv), "demo", answers_mapping="answer,class\nx,1\n")


def test_the_same_request_with_another_mapping_is_refused(running: Running, answers: bytes) -> None:
    running.client.upload(io.BytesIO(answers), "demo", request_id="answers")
    with pytest.raises(errors.AlreadyExists):
        running.client.upload(
            io.BytesIO(answers), "demo", request_id="answers", answers_mapping="answer,class\ncrane,559\n"
        )


def test_the_command_reads_answers_and_a_mapping_file(running: Running, answers: bytes, tmp_path: Path) -> None:
    file, mapping = tmp_path / "vlm.csv", tmp_path / "mapping.csv"
    file.write_bytes(answers)
    mapping.write_text("answer,class\nCrane,559\n")
    environment = {**os.environ, "ERRATA_SERVER": running.addresses.grpc, "COLUMNS": "200"}
    arguments = ["analyze", "--predictions", str(file), "--dataset", "demo", "--name", "in words"]

    analyzed = run_command([*arguments, "--answers-mapping", str(mapping)], environment)
    shown = run_command(["show", "in words"], environment)
    listed = run_command(["show", "in words", "--errors"], environment)
    missing = run_command([*arguments, "--answers-mapping", str(tmp_path / "none.csv")], environment)
    misplaced = run_command(["analyze", "demo:x", "--answers-mapping", str(mapping)], environment)

    assert analyzed.returncode == 0, analyzed.stderr
    assert "distinct): 90.0 % mapped, " in " ".join(analyzed.stdout.split())
    assert "The mapping file decides 1 answer." in " ".join(shown.stdout.split())
    assert re.search(r"2 of the \d+ errors that are not label noise", " ".join(shown.stdout.split()))
    assert "The answer “<script>” names nothing that is known." in " ".join(listed.stdout.split())
    assert "Too general" in " ".join(listed.stdout.split())
    assert (missing.returncode, misplaced.returncode) == (2, 2), (missing, misplaced)


def test_the_pages_show_answers_without_a_class(running: Running, answers: bytes, demo: Bundle) -> None:
    analysis = running.client.upload(io.BytesIO(answers), "demo").name.partition("/")[2]
    for path, text in {
        f"analyses/{analysis}": "Most frequent answers without a class",
        f"analyses/{analysis}/images": "no class",
        f"analyses/{analysis}/errors/{demo.image_names[2]}": "names nothing that is known.",
    }.items():
        with urllib.request.urlopen(f"http://{running.addresses.http}/{path}") as response:
            html = response.read().decode()
        assert text in html
        assert "“<script>”" not in html
