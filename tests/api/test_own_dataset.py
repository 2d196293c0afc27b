"""A custom data set, from its labels to its verdicts."""

import io
import json
from csv import DictReader
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from errata import errors, pb

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.bundle import Bundle

# File -> labels, the first of which is the target. 207: golden retriever, 208: Labrador, 620: laptop, 681: notebook,
# 417: balloon.
LABELS: dict[str, list[int | str]] = {
    "right.jpg": [207],
    "overlap.jpg": [620],
    "second.jpg": [207, 417],
    "like.jpg": ["n02099601"],
    "failure.jpg": [207],
}
PREDICTED = {"right.jpg": 207, "overlap.jpg": 681, "second.jpg": 417, "like.jpg": 208, "failure.jpg": 417}
EXPECTED = {
    "right.jpg": "correct",
    "overlap.jpg": "class_overlap",
    "second.jpg": "multi_label",
    "like.jpg": "fine_grained",
    "failure.jpg": "model_failure",
}


def build(form: str, folder: Path) -> Bundle:
    file = folder / f"labels.{form}"
    if form == "json":
        file.write_text(json.dumps(LABELS))
    else:
        rows = [f"{name},{' '.join(map(str, labels))}" for name, labels in LABELS.items()]
        file.write_text("file_name,labels\n" + "\n".join(rows) + "\n")
    (folder / "superclasses.json").write_text('{"dogs": [["dog", "hunting_dog"]]}\n')
    return build_evidence("street", Inputs(labels=file, superclasses=folder / "superclasses.json"), folder / "bundle")


def csv(predicted: dict[str, int]) -> io.BytesIO:
    return io.BytesIO(("file_name,top1\n" + "".join(f"{k},{v}\n" for k, v in predicted.items())).encode())


@pytest.mark.parametrize("form", ["csv", "json"])
def test_rules_with_evidence_decide_and_the_others_abstain(start, tmp_path: Path, form: str) -> None:
    bundle = build(form, tmp_path)
    with start(evidence={"street": [str(bundle.path)]}) as service:
        analysis = service.client.upload(csv(PREDICTED), "street")
        verdicts = {
            verdict.file_name: verdict for verdict in service.client.verdicts(analysis.name, with_evidence=True)
        }

        assert {name: verdict.error_type for name, verdict in verdicts.items()} == EXPECTED
        assert list(analysis.summary.abstained) == ["fine_grained_oov", "spurious_correlation", "non_prototypical"]
        assert analysis.summary.groups["all"].num_samples == analysis.summary.num_images == 5
        assert analysis.summary.groups["all"].top1_accuracy == pytest.approx(1 / 5)
        assert verdicts["overlap.jpg"].evidence.overlap
        assert [
            shared_superclass.superclasses for shared_superclass in verdicts["like.jpg"].evidence.shared_superclasses
        ] == [["dogs"]]
        assert not analysis.summary.HasField("top1_accuracy_among_classes")
        assert "datasets/street" in [dataset.name for dataset in service.client.datasets()]


def test_both_label_formats_give_the_same_bundle(tmp_path: Path) -> None:
    digests = []
    for form in ("csv", "json"):
        (tmp_path / form).mkdir()
        digests.append(build(form, tmp_path / form).digest)

    assert digests[0] == digests[1]


def test_a_missing_prediction_is_named_and_an_unknown_image_is_rejected(start, tmp_path: Path) -> None:
    bundle = build("csv", tmp_path)
    with start(evidence={"street": [str(bundle.path)]}) as service:
        some = {name: predicted for name, predicted in PREDICTED.items() if name != "like.jpg"}

        (warning,) = service.client.upload(csv(some), "street").warnings
        assert "like.jpg" in warning
        with pytest.raises(errors.InvalidUpload, match=r"like\.jpg"):
            service.client.upload(csv(some), "street", min_coverage=1.0)
        with pytest.raises(errors.InvalidRow):
            service.client.upload(csv(PREDICTED | {"stranger.jpg": 1}), "street")


def test_a_bundle_of_another_data_set_prevents_the_start(start, tmp_path: Path) -> None:
    bundle = build("csv", tmp_path)
    with (
        pytest.raises(errors.InvalidEvidence, match="not highway"),
        start(evidence={"highway": [str(bundle.path)]}),
    ):
        pass


def test_a_formula_as_a_file_name_is_escaped_only_in_csv(start, tmp_path: Path) -> None:
    formulas = ["=cmd|' /C calc'!A0", "+1+1.jpg", "-2+3.jpg", "@SUM(1+1).jpg"]
    plain = ["a=b.jpg", "'quoted.jpg", "7.jpg", "a,b.jpg"]
    labels, names = tmp_path / "labels.json", [*formulas, *plain]
    labels.write_text(json.dumps({name: [207] for name in names}))
    bundle = build_evidence("hostile", Inputs(labels=labels), tmp_path / "bundle")
    with start(evidence={"hostile": [str(bundle.path)]}) as service:
        rows = "".join(json.dumps({"file_name": name, "top1": 207, "probability": 0.5}) + "\n" for name in names)
        name = service.client.upload(io.BytesIO(rows.encode()), "hostile").name
        table, columns, lines = (
            b"".join(service.client.export(name, form))
            for form in (pb.VERDICT_FORMAT_CSV, pb.VERDICT_FORMAT_PARQUET, pb.VERDICT_FORMAT_JSONL)
        )

    read = list(DictReader(io.StringIO(table.decode())))
    assert [row["file_name"] for row in read] == [f"'{name}" if name in formulas else name for name in sorted(names)]
    assert {(row["target"], row["probability"]) for row in read} == {("207", "0.5")}
    assert pq.read_table(io.BytesIO(columns))["file_name"].to_pylist() == sorted(names)
    assert [json.loads(line)["file_name"] for line in lines.splitlines()] == sorted(names)
