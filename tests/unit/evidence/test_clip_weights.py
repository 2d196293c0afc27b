"""The activation function of CLIP: from the configuration of the weights, in both towers, or an error."""

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errata.errors import InvalidEvidence

PLAIN, QUICK = "errata-plain", "errata-quickgelu"  # architectures without `quick_gelu`, and with it
TAGS = {"quick": {"quick_gelu": True}, "plain": {}}
CONFIG: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def file(open_clip: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny model that fit both architectures."""
    import torch

    folder = tmp_path_factory.mktemp("weights")
    for name, extra in ((PLAIN, {}), (QUICK, {"quick_gelu": True})):
        (folder / f"{name}.json").write_text(json.dumps(CONFIG | extra))
        open_clip.add_model_config(folder / f"{name}.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model(PLAIN).state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


@pytest.fixture(autouse=True)
def tags(open_clip: Any, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretrained weights with and without `quick_gelu` in their configuration, as open_clip has them."""
    registry = importlib.import_module("open_clip.pretrained")._PRETRAINED
    configurations = {tag: registry["ViT-L-14-336"]["openai"] | {"file": str(file)} for tag in TAGS}
    for tag, configuration in configurations.items():
        del configuration["quick_gelu"]
        configuration.update(TAGS[tag])
    for name in (PLAIN, QUICK):
        monkeypatch.setitem(registry, name, configurations)
    for variable in ("MODEL", "WEIGHTS", "ACTIVATION"):
        monkeypatch.delenv(f"ERRATA_CLIP_{variable}", raising=False)


def load(*names: str) -> Any:
    from service.evidence.clip import OpenClip

    encoder = OpenClip(*names)
    encoder.embed_texts(["A photo of a dog"])
    return encoder


def activations(encoder: Any) -> dict[str, set[str]]:
    """Return the classes of the activation functions in the MLPs of each tower."""
    model = encoder._loaded.model
    return {
        tower: {type(block.mlp.gelu).__name__ for block in transformer.resblocks}
        for tower, transformer in (("image", model.visual.transformer), ("text", model.transformer))
    }


def both(name: str) -> dict[str, set[str]]:
    return {"image": {name}, "text": {name}}


@pytest.mark.parametrize(("tag", "expected"), [("quick", "QuickGELU"), ("plain", "GELU")])
def test_both_towers_have_the_activation_of_the_weights(tag: str, expected: str) -> None:
    assert activations(load(PLAIN, tag)) == both(expected)


@pytest.mark.parametrize(("setting", "expected"), [("quick_gelu", "QuickGELU"), ("gelu", "GELU")])
def test_a_local_file_has_the_activation_of_the_setting(
    file: Path, setting: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERRATA_CLIP_MODEL", PLAIN)
    monkeypatch.setenv("ERRATA_CLIP_WEIGHTS", str(file))
    monkeypatch.setenv("ERRATA_CLIP_ACTIVATION", setting)

    assert activations(load()) == both(expected)


def test_a_local_file_has_the_activation_that_its_architecture_defines(file: Path) -> None:
    assert activations(load(QUICK, str(file))) == both("QuickGELU")


def test_the_activation_changes_the_embeddings() -> None:
    texts = ["A photo of a dog", "A photo of a cat"]

    quick, plain = (load(PLAIN, tag).embed_texts(texts) for tag in ("quick", "plain"))

    assert np.abs(quick - plain).max() > 1e-4


def test_the_default_weights_of_openai_need_quick_gelu() -> None:
    from service.evidence.clip_weights import select_weights

    selected = select_weights()

    assert (selected.architecture, selected.weights, selected.activation) == ("ViT-L-14-336", "openai", "quick_gelu")


INVALID = {
    "local file without a setting": (PLAIN, "FILE", "", "Set ERRATA_CLIP_ACTIVATION"),
    "tag and setting": (PLAIN, "quick", "gelu", "the weights: quick_gelu, ERRATA_CLIP_ACTIVATION: gelu"),
    "tag without quick_gelu and setting": (PLAIN, "plain", "quick_gelu", "the weights: gelu"),
    "architecture and setting": (QUICK, "FILE", "gelu", f"{QUICK}: quick_gelu, ERRATA_CLIP_ACTIVATION: gelu"),
    "unknown activation": (PLAIN, "FILE", "relu", "Expected quick_gelu or gelu"),
    "unknown architecture": ("ViT-L-14-337", "openai", "", "Set ERRATA_CLIP_MODEL"),
    "architecture with a schema": ("hf-hub:a/b", "openai", "", "Set ERRATA_CLIP_MODEL"),
    "unknown tag": (PLAIN, "opanai", "", r"a tag \((quick, plain)\)"),
}


@pytest.mark.parametrize(("architecture", "weights", "setting", "message"), INVALID.values(), ids=INVALID)
def test_unknown_and_contradictory_activations_are_errors(
    file: Path, architecture: str, weights: str, setting: str, message: str
) -> None:
    with pytest.raises(InvalidEvidence, match=message) as error:
        load(architecture, weights.replace("FILE", str(file)), setting)

    assert error.value.violations[0].field == "encoder"


def test_weights_of_another_architecture_are_an_error(open_clip: Any, tmp_path: Path) -> None:
    import torch

    torch.save({"visual.conv1.weight": torch.zeros(3)}, tmp_path / "other.pt")
    (tmp_path / "damaged.pt").write_bytes(b"no weights")

    for name in ("other.pt", "damaged.pt"):
        with pytest.raises(InvalidEvidence, match=rf"Cannot load the CLIP weights {name} into {PLAIN}"):
            load(PLAIN, str(tmp_path / name), "gelu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"vision_cfg": CONFIG["vision_cfg"] | {"image_size": 48}},
            "visual.positional_embedding: expected 5 .* got 10",
        ),
        ({"text_cfg": CONFIG["text_cfg"] | {"context_length": 64}}, "positional_embedding: expected 77 .* got 64"),
    ],
    ids=["resolution", "context"],
)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_local_file_of_another_resolution_or_context_length_is_an_error(
    open_clip: Any, tmp_path: Path, change: dict[str, Any], message: str, suffix: str
) -> None:
    import torch
    from safetensors.torch import save_file

    (tmp_path / "errata-other.json").write_text(json.dumps(CONFIG | change))
    open_clip.add_model_config(tmp_path / "errata-other.json")
    weights = open_clip.create_model("errata-other").state_dict()
    save = save_file if suffix == "safetensors" else torch.save
    save(weights, tmp_path / f"other.{suffix}")

    with pytest.raises(InvalidEvidence, match=message) as error:
        load(PLAIN, str(tmp_path / f"other.{suffix}"), "gelu")

    assert error.value.violations[0].field == "encoder"
    assert "Set ERRATA_CLIP_MODEL" in error.value.message


def test_a_failed_download_is_an_error_with_a_remedy(open_clip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip, "download_pretrained", fail)

    with pytest.raises(InvalidEvidence, match=r"no route to host.*ERRATA_CLIP_WEIGHTS"):
        load(PLAIN, "quick")


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("unreachable " * 30, "(unreachable ){16}…"),
        ("u" * 201 + " is unreachable", "u{200} …"),
        ("u is\n  unreachable.", "u is unreachable"),
    ],
)
def test_a_long_reason_of_a_failed_download_ends_after_a_word_if_possible(
    open_clip: Any, monkeypatch: pytest.MonkeyPatch, reason: str, shown: str
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError(reason)

    monkeypatch.setattr(open_clip, "download_pretrained", fail)

    with pytest.raises(InvalidEvidence, match=rf": {shown}\. Check the connection"):
        load(PLAIN, "quick")


def test_the_description_has_the_digest_of_the_weights(open_clip: Any, file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    by_tag, local = load(PLAIN, "quick").describe(), load(PLAIN, str(file), "gelu").describe()

    assert (by_tag.architecture, by_tag.weights, by_tag.activation) == (PLAIN, "quick", "quick_gelu")
    assert (local.architecture, local.weights, local.activation) == (PLAIN, "local file weights.pt", "gelu")
    assert by_tag.weights_sha256 == local.weights_sha256 == digest
    assert by_tag.library == local.library == f"open_clip {open_clip.__version__}"
