"""Model sources: real weights on real photographs, and every way in which weights are refused."""

import json
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from service.errors import ImagesMissing, InvalidModelId, ModelNotFound, ModelRefused
from service.evidence.labels import demo, demo_folder
from service.predictions.models import demo as demo_source
from service.predictions.models import file as file_source
from service.predictions.models import timm as timm_source
from service.predictions.models.images import FolderImages
from service.predictions.models.loaded import ready, weights_digest
from service.predictions.models.run import TorchPredictor

SMALL = "test_vit"  # timm's smallest: 0.4 million parameters


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return timm.create_model(SMALL, pretrained=False).state_dict()


def test_efficientnet_lite0_is_right_on_18_of_20_photographs() -> None:
    images = demo()
    predictor = TorchPredictor({"demo": demo_folder()}, None, 20, threads=2, device="cpu")

    (batch,) = predictor.predict("demo:efficientnet_lite0", "demo", [name.decode() for name in images.names.tolist()])

    assert int((batch.top1 == images.all_targets).sum()) == 18


@pytest.mark.parametrize("size", [0, 1, 2])
def test_demo_weights_fit_timms_architecture(size: int) -> None:
    loaded = demo_source.load(f"efficientnet_lite{size}")

    assert loaded.info.architecture == f"tf_efficientnet_lite{size}"
    assert not loaded.module.training


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_of_weights_is_loaded_in_either_safe_form(folder: Path, state: dict, suffix: str) -> None:
    path = folder / f"weights.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)

    loaded = file_source.load(f"weights.{suffix}#{SMALL}", folder)

    own = timm.create_model(SMALL, pretrained=False)
    own.load_state_dict(state)
    assert loaded.info.weights_sha256 == weights_digest(own)


def test_a_config_beside_the_weights_names_the_architecture(folder: Path, state: dict) -> None:
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": SMALL}))

    assert file_source.load("model.safetensors", folder).info.architecture == SMALL


def test_a_checkpoint_with_a_state_dict_inside_is_loaded(folder: Path, state: dict) -> None:
    torch.save({"state_dict": state, "epoch": 3}, folder / "checkpoint.pth")

    assert file_source.load(f"checkpoint.pth#{SMALL}", folder).info.architecture == SMALL


def test_a_pickle_with_a_payload_is_refused_and_never_runs(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "it-ran"

    class Payload:
        def __reduce__(self) -> tuple:
            return (open, (str(ran), "w"))

    torch.save({"weights": Payload()}, folder / "evil.pth")

    with pytest.raises(ModelRefused, match="never unpickled"):
        file_source.load(f"evil.pth#{SMALL}", folder)
    assert not ran.exists()


def test_truncated_weights_are_refused(folder: Path, state: dict) -> None:
    for suffix in ("safetensors", "pth"):
        path = folder / f"weights.{suffix}"
        save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-1000])

        with pytest.raises(ModelRefused, match="truncated"):
            file_source.load(f"weights.{suffix}#{SMALL}", folder)


def test_weights_of_another_architecture_are_refused(folder: Path, state: dict) -> None:
    save_file(state, folder / "weights.safetensors")

    with pytest.raises(ModelRefused, match="don't fit"):
        file_source.load("weights.safetensors#test_resnet", folder)


def test_another_number_of_outputs_is_refused() -> None:
    with pytest.raises(ModelRefused, match="1000 outputs, got 21841"):
        ready("x", SMALL, timm.create_model(SMALL, pretrained=False, num_classes=21_841))


def test_outputs_that_arent_finite_are_refused(folder: Path, state: dict) -> None:
    state["head.weight"] = torch.full_like(state["head.weight"], float("nan"))
    save_file(state, folder / "nan.safetensors")
    predictor = TorchPredictor({"demo": demo_folder()}, folder, 4, threads=1, device="cpu")

    with pytest.raises(ModelRefused, match="finite"):
        list(predictor.predict(f"file:nan.safetensors#{SMALL}", "demo", ["imagenet_00_243.jpg"]))


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        ("nowhere.pth#test_vit", ModelNotFound),
        ("weights.safetensors#no_such_architecture", ModelNotFound),
        ("weights.safetensors", ModelRefused),  # no config.json beside it
        ("../outside.pth#test_vit", InvalidModelId),
        ("link.pth#test_vit", InvalidModelId),
    ],
)
def test_a_path_that_isnt_a_permitted_file_of_weights_is_refused(
    folder: Path, state: dict, rest: str, error: type
) -> None:
    save_file(state, folder / "weights.safetensors")
    torch.save(state, folder.parent / "outside.pth")
    (folder / "link.pth").symlink_to(folder.parent / "outside.pth")

    with pytest.raises(error):
        file_source.load(rest, folder)


def test_without_a_permitted_folder_no_file_is_loaded() -> None:
    with pytest.raises(InvalidModelId, match="ERRATA_MODELS"):
        file_source.load("weights.pth#test_vit", None)


@pytest.mark.parametrize("name", ["no_such_model", "test_vit.no_such_tag"])
def test_a_model_that_timm_lacks_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound):
        timm_source.load(name)


def test_images_are_found_by_name_and_by_class_folder(tmp_path: Path) -> None:
    (tmp_path / "n01440764").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "n01440764" / "a.png")
    images = FolderImages(tmp_path)

    assert images.open("a.png").mode == "RGB"
    assert images.open("n01440764/a.png").size == (4, 4)
    with pytest.raises(ImagesMissing, match=r"b\.png"):
        images.open("b.png")


def test_a_damaged_image_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")

    with pytest.raises(ImagesMissing, match="decoded"):
        FolderImages(tmp_path).open("bad.jpg")
    with pytest.raises(ImagesMissing, match="ERRATA_IMAGES"):
        FolderImages(tmp_path / "nowhere").open("a.png")
