"""A data set with its own ten classes: uploads in all forms, and models."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from color_images import COLORS, NAMES, build_colors, write_images
from errata import Client, errors, pb
from onnx import TensorProto, helper, numpy_helper

from service.bootstrap.local import local_service
from service.predictions.fake import hashed_class
from service.settings import read_settings

MODEL = "demo:efficientnet_lite0"
FORMS = {
    "index": list(range(10)),
    "ID": [row[0] for row in COLORS],
    "name": [row[1] for row in COLORS],
    "synonym": [row[2].upper() for row in COLORS],
}


def csv(classes: Sequence[object]) -> io.BytesIO:
    rows = zip(NAMES, classes, strict=True)
    return io.BytesIO(("file_name,top1\n" + "".join(f"{name},{value}\n" for name, value in rows)).encode())


def npy(array: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    np.save(file, array)
    return io.BytesIO(file.getvalue())


def verdicts(client: Client, name: str) -> dict[str, pb.Verdict]:
    return {verdict.file_name: verdict for verdict in client.verdicts(name)}


@pytest.mark.parametrize("form", FORMS)
def test_classes_are_uploaded_by_index_id_name_or_synonym(start, tmp_path: Path, form: str) -> None:
    """Red as maroon, which overlaps it; blue as cyan, which has the same superclass; white as black."""
    build_colors(tmp_path / "bundle")
    predicted = [8, 1, 4, 3, 4, 5, 6, 6, 8, 9]
    with start(evidence={"colors": [str(tmp_path / "bundle")]}) as service:
        analysis = service.client.upload(csv([FORMS[form][index] for index in predicted]), "colors")
        decided = verdicts(service.client, analysis.name)

    assert [decided[name].predicted for name in NAMES] == predicted
    assert analysis.summary.top1_accuracy_all_images == pytest.approx(0.7)
    assert decided[NAMES[0]].error_type == "class_overlap"
    assert decided[NAMES[2]].error_type == "fine_grained"
    assert decided[NAMES[7]].error_type == "model_failure"
    assert {decided[NAMES[index]].error_type for index in (1, 3, 4, 5, 6, 8, 9)} == {"correct"}


def test_scores_have_a_column_for_each_class(start, tmp_path: Path) -> None:
    build_colors(tmp_path / "bundle")
    scores = np.eye(10, dtype=np.float32)
    with start(evidence={"colors": [str(tmp_path / "bundle")]}) as service:
        analysis = service.client.upload(npy(scores), "colors")

        assert analysis.summary.top1_accuracy_all_images == pytest.approx(1)
        with pytest.raises(errors.InvalidUpload, match=r"shape \(10, 1000\). Expected \(10, 10\)"):
            service.client.upload(npy(np.zeros((10, 1000), dtype=np.float32)), "colors")


def test_an_unknown_class_is_rejected_in_the_terms_of_the_label_space(start, tmp_path: Path) -> None:
    build_colors(tmp_path / "bundle")
    with (
        start(evidence={"colors": [str(tmp_path / "bundle")]}) as service,
        pytest.raises(errors.InvalidRow) as refused,
    ):
        service.client.upload(csv([10] * 10), "colors")

    (first, *_) = refused.value.violations
    assert first.line == 2
    assert first.description == (
        "Unknown class '10'. Expected a class index from 0 to 9, an ID, or a unique name. Class indices start at 0: "
        "subtract 1 if yours start at 1."
    )


def test_workers_predict_the_classes_of_the_label_space(start, tmp_path: Path) -> None:
    build_colors(tmp_path / "bundle")
    images = {"colors": str(write_images(tmp_path / "images"))}
    with start(evidence={"colors": [str(tmp_path / "bundle")]}, images=images, shard_size=3) as service:
        final = [*service.client.watch(service.client.analyze(MODEL, "colors").name)][-1]
        decided = verdicts(service.client, final.name)

    assert final.state == pb.Analysis.STATE_SUCCEEDED
    assert [decided[name].predicted for name in NAMES] == [hashed_class(name, 10) for name in NAMES]


def test_predictions_for_other_classes_are_not_reused(start, tmp_path: Path) -> None:
    """The second bundle has the same images and the classes in another order; the third one other superclasses."""
    build_colors(tmp_path / "first")
    reordered = build_colors(tmp_path / "second", order=[1, 0, *range(2, 10)])
    images = {"colors": str(write_images(tmp_path / "images"))}
    bundles = {"colors": [str(tmp_path / "first"), str(tmp_path / "second")]}
    with start(evidence=bundles, images=images) as service:
        client = service.client
        first = [*client.watch(client.analyze(MODEL, "colors").name)][-1]
        again = client.analyze(MODEL, "colors")
        other = [*client.watch(client.analyze(MODEL, "colors", evidence=reordered).name)][-1]

        assert again.cached
        assert other.state == pb.Analysis.STATE_SUCCEEDED
        assert not other.cached
        with pytest.raises(errors.InvalidRequest, match="has other classes than analysis"):
            client.reanalyze(first.name, evidence=reordered)


def nearest_color(order: Sequence[int]) -> onnx.ModelProto:
    """Return a graph whose output N is the color with the number order[N]: -|x - c|^2 = 2xc - |c|^2 - |x|^2."""
    colors = np.array([COLORS[index][4] for index in order], dtype=np.float32) / 255
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", len(order)])],
        [numpy_helper.from_array(2 * colors.T.copy(), "w"), numpy_helper.from_array(-(colors**2).sum(axis=1), "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.slow
@pytest.mark.processes
def test_a_worker_runs_an_onnx_model_of_ten_classes(data_dir: Path, tmp_path: Path) -> None:
    """The first model has the order of the classes, the second one a classes.json, the third one only five outputs."""
    build_colors(tmp_path / "bundle")
    config = {"input_size": [3, 8, 8], "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "nearest", "crop_pct": 1.0}
    models = tmp_path / "models"
    models.mkdir()
    (models / "config.json").write_text(json.dumps(config))
    (models / "ordered.onnx").write_bytes(nearest_color(range(10)).SerializeToString())
    (models / "named.onnx").write_bytes(nearest_color(range(9, -1, -1)).SerializeToString())
    (models / "named.classes.json").write_text(json.dumps([row[1] for row in reversed(COLORS)]))
    (models / "five.onnx").write_bytes(nearest_color(range(5)).SerializeToString())
    settings = read_settings(
        {"ERRATA_DATA_DIR": str(data_dir), "ERRATA_ARCHIVE": str(tmp_path / "archive")}
        | {"ERRATA_GRPC_ADDRESS": "127.0.0.1:0", "ERRATA_HTTP_ADDRESS": "127.0.0.1:0"},
        evidence={"colors": [str(tmp_path / "bundle")]},
        images={"colors": str(write_images(tmp_path / "images"))},
        models=str(models),
        shard_size=4,
    )
    with local_service(settings) as addresses, Client(addresses.grpc) as client:
        ordered, named, five = (
            [*client.watch(client.analyze(f"onnx:{name}.onnx", "colors").name)][-1]
            for name in ("ordered", "named", "five")
        )

    for analysis in (ordered, named):
        assert analysis.state == pb.Analysis.STATE_SUCCEEDED, analysis.failure
        assert analysis.summary.top1_accuracy_all_images == pytest.approx(1)
    assert ", 10 of 10 outputs mapped" in named.model_info.transform
    assert five.state == pb.Analysis.STATE_FAILED
    assert "The model has 5 outputs. The label space has 10 classes. Put a classes.json" in five.failure.message
