"""The torch predictor: real weights on real photographs, unreadable images, and interruption."""

import json
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from errata.errors import ImagesMissing, InvalidModelId, InvalidSetting, ModelRefused
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.torch import save_file
from structlog.testing import capture_logs

from service import image_formats
from service.domain import Predictions
from service.evidence.labels import demo, demo_folder
from service.predictions.model_policy import ModelPolicy
from service.predictions.models.torch_predictor import TorchPredictor

SMALL = "test_vit"
LITE0 = "demo:efficientnet_lite0"


def photographs() -> list[str]:
    return [name.decode() for name in demo().names.tolist()]


def predict_all(predictor: TorchPredictor, model: str, names: Sequence[str]) -> Predictions:
    batches = list(predictor.predict(model, "demo", names))
    return Predictions(
        np.concatenate([batch.top1 for batch in batches]), np.concatenate([batch.probability for batch in batches])
    )


@pytest.fixture
def predictor() -> TorchPredictor:
    return TorchPredictor({"demo": demo_folder()}, ModelPolicy(), 20, threads=1, device="cpu")


@pytest.mark.slow
def test_efficientnet_lite0_is_correct_on_18_of_20_photographs(predictor: TorchPredictor) -> None:
    predictions = predict_all(predictor, LITE0, photographs())

    assert int((predictions.top1 == demo().all_targets).sum()) == 18


@pytest.mark.slow
def test_an_unreadable_image_has_no_class_and_the_others_are_predicted(tmp_path: Path) -> None:
    names = photographs()
    images = tmp_path / "images"
    shutil.copytree(demo_folder(), images)
    whole = predict_all(TorchPredictor({"demo": images}, ModelPolicy(), 4, threads=1, device="cpu"), LITE0, names)
    (images / names[1]).write_bytes(b"no image")
    (images / names[6]).unlink()

    with capture_logs() as logs:
        predictions = predict_all(
            TorchPredictor({"demo": images}, ModelPolicy(), 4, threads=1, device="cpu"), LITE0, names
        )

    readable = [row for row in range(20) if row not in (1, 6)]
    assert predictions.top1[[1, 6]].tolist() == [-1, -1]
    assert np.isnan(predictions.probability[[1, 6]]).all()
    assert predictions.top1[readable].tolist() == whole.top1[readable].tolist()
    reasons = {log["image"]: log["reason"] for log in logs if log["event"] == "image unreadable"}
    assert reasons.keys() == {names[1], names[6]}
    assert "not an image" in reasons[names[1]]
    assert "No image" in reasons[names[6]]


def test_an_image_that_exceeds_the_memory_when_it_is_preprocessed_is_unreadable(
    predictor: TorchPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow raises MemoryError for such an image; which one it is depends on the machine, so it is simulated."""

    def refuse(*_: object, **__: object) -> Image.Image:
        raise MemoryError

    predictor.load(LITE0)
    monkeypatch.setattr(Image.Image, "resize", refuse)

    predictions = predict_all(predictor, LITE0, photographs()[:2])

    assert predictions.top1.tolist() == [-1, -1]


def test_batches_without_readable_images_have_no_classes_and_ten_images_are_logged(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "other.png")
    predictor = TorchPredictor({"demo": tmp_path}, ModelPolicy(), 4, threads=1, device="cpu")

    with capture_logs() as logs:
        predictions = predict_all(predictor, LITE0, [f"{number}.jpg" for number in range(25)])

    assert predictions.top1.tolist() == [-1] * 25
    assert [log["image"] for log in logs if "image" in log] == [f"{number}.jpg" for number in range(10)]
    assert [log["count"] for log in logs if "count" in log] == [15]


@pytest.mark.parametrize("images", ["nowhere", "empty"])
def test_a_whole_folder_that_is_missing_or_empty_is_an_error(tmp_path: Path, images: str) -> None:
    (tmp_path / "empty").mkdir()
    predictor = TorchPredictor({"demo": tmp_path / images}, ModelPolicy(), 4, threads=1, device="cpu")

    with pytest.raises(ImagesMissing, match=images):
        next(predictor.predict(LITE0, "demo", ["a.jpg"]))


def test_a_data_set_without_a_folder_is_an_error(predictor: TorchPredictor) -> None:
    with pytest.raises(ImagesMissing, match="no images of data set 'imagenet'"):
        next(predictor.predict(LITE0, "imagenet", ["a.jpg"]))


def test_images_of_a_tar_file_equal_those_of_a_folder(predictor: TorchPredictor, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "images"), "tar", demo_folder())
    names = photographs()[:4]

    predictions = predict_all(
        TorchPredictor({"demo": Path(archive)}, ModelPolicy(), 4, threads=1, device="cpu"), LITE0, names
    )

    assert predictions.top1.tolist() == predict_all(predictor, LITE0, names).top1.tolist()


def test_outputs_that_are_not_finite_are_rejected(folder: Path, policy: ModelPolicy, state: dict) -> None:
    state["head.weight"] = torch.full_like(state["head.weight"], float("nan"))
    save_file(state, folder / "nan.safetensors")
    predictor = TorchPredictor({"demo": demo_folder()}, policy, 4, threads=1, device="cpu")

    with pytest.raises(ModelRefused, match="NaN or infinity"):
        list(predictor.predict(f"file:nan.safetensors#{SMALL}", "demo", photographs()[:1]))


def test_a_mapping_restores_the_classes_of_a_head_in_another_order(
    folder: Path, policy: ModelPolicy, state: dict
) -> None:
    save_file(state, folder / "own.safetensors")
    order = np.random.default_rng(0).permutation(1000)
    changed = state | {name: state[name][torch.from_numpy(order)] for name in ("head.weight", "head.bias")}
    save_file(changed, folder / "changed.safetensors")
    (folder / "changed.classes.json").write_text(json.dumps(order.tolist()))
    predictor = TorchPredictor({"demo": demo_folder()}, policy, 20, threads=1, device="cpu")

    own = predict_all(predictor, f"file:own.safetensors#{SMALL}", photographs())
    mapped = predict_all(predictor, f"file:changed.safetensors#{SMALL}", photographs())

    assert mapped.top1.tolist() == own.top1.tolist()
    reasons = predictor.load(f"file:changed.safetensors#{SMALL}").transform
    assert ", 1000 of 1000 outputs mapped (" in reasons  # another mapping is another result
    np.testing.assert_allclose(mapped.probability, own.probability, rtol=2e-3)


def test_the_worker_rejects_a_model_that_is_not_allowed() -> None:
    policy = ModelPolicy(sources=["timm:resnet50.*"])
    predictor = TorchPredictor({"demo": demo_folder()}, policy, 4, threads=1, device="cpu")

    with pytest.raises(InvalidModelId, match="ERRATA_MODEL_SOURCES"):
        predictor.load(LITE0)


def test_an_unavailable_device_is_rejected() -> None:
    with pytest.raises(InvalidSetting, match="cuda:99"):
        TorchPredictor({"demo": demo_folder()}, ModelPolicy(), 4, threads=1, device="cuda:99")


def test_stopping_early_stops_the_decoding_threads(predictor: TorchPredictor) -> None:
    predictor.load(LITE0)
    before = {*threading.enumerate()}
    batches = predictor.predict(LITE0, "demo", photographs() * 50)
    next(batches)
    assert {*threading.enumerate()} - before

    batches.close()

    assert not {*threading.enumerate()} - before


def test_a_replaced_file_is_loaded_again(folder: Path, policy: ModelPolicy, state: dict) -> None:
    """Given other weights under the same name, a worker that has loaded the old ones runs the new ones."""
    predictor = TorchPredictor({"demo": demo_folder()}, policy, 20, threads=1, device="cpu")
    save_file(state, folder / "replaced.safetensors")
    first = predictor.load(f"file:replaced.safetensors#{SMALL}")
    assert predictor.load(f"file:replaced.safetensors#{SMALL}") is first

    changed = {name: value + 1 if value.is_floating_point() else value for name, value in state.items()}
    save_file(changed, folder / "replaced.safetensors")

    second = predictor.load(f"file:replaced.safetensors#{SMALL}")
    assert second.weights_sha256 != first.weights_sha256


def test_replaced_weights_beside_a_graph_are_loaded_again(folder: Path, policy: ModelPolicy) -> None:
    """MLflow writes external data with a random name."""
    predictor = TorchPredictor({}, policy, 20, threads=1, device="cpu")
    weights = folder / "4f3a.data"
    save_linear_graph(folder / "tiny.onnx", weights.name, value=1)
    first = predictor.load("onnx:tiny.onnx")
    assert predictor.load("onnx:tiny.onnx") is first

    weights.write_bytes(np.full(3000, 2, dtype=np.float32).tobytes())

    assert predictor.load("onnx:tiny.onnx").weights_sha256 != first.weights_sha256


def save_linear_graph(path: Path, weights: str, value: float) -> None:
    """Save a graph whose weights are in another file."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1000])]
    matrix = numpy_helper.from_array(np.full((3, 1000), value, dtype=np.float32), "w")
    proto = helper.make_graph(nodes, "tiny", inputs, outputs, [matrix])
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, path, save_as_external_data=True, location=weights, size_threshold=0)
    config = {"input_size": [3, 8, 8], "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear", "crop_pct": 1}
    path.with_name("config.json").write_text(json.dumps(config))


def test_the_digest_of_images_changes_with_each_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{name}.png")
    copy = shutil.copytree(tmp_path, tmp_path / "copy")

    def digest(folder: Path, *names: str) -> str:
        return TorchPredictor({"demo": folder}, ModelPolicy(), 4, threads=1, device="cpu").images_digest("demo", names)

    first = digest(tmp_path, "a.png", "b.png")
    assert digest(tmp_path, "a.png", "b.png") == first
    others = [digest(tmp_path, "b.png", "a.png"), digest(tmp_path, "a.png"), digest(copy, "a.png", "b.png")]
    others += [digest(tmp_path, "a.png", "missing.png"), digest(tmp_path / "missing", "a.png", "b.png")]
    os.utime(tmp_path / "b.png", ns=(1, 1))
    others.append(digest(tmp_path, "a.png", "b.png"))
    Image.new("RGB", (90, 90), "red").save(tmp_path / "b.png")
    os.utime(tmp_path / "b.png", ns=(1, 1))
    others.append(digest(tmp_path, "a.png", "b.png"))
    monkeypatch.setattr(image_formats, "DECODING", "3")
    others.append(digest(tmp_path, "a.png", "b.png"))
    assert len({first, *others}) == 1 + len(others)
