"""Models of the source timm: names, default tags, and limits. Downloads are tested in test_hf_hub.py."""

import pytest
from errata.errors import ModelNotFound, ModelRefused

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import timm
from service.taxonomy.imagenet_1k import imagenet_1k


@pytest.mark.parametrize("name", ["no_such_model", "test_vit.no_such_tag"])
def test_an_unknown_timm_model_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound):
        timm.load(name, ModelPolicy(), imagenet_1k())


def test_similar_names_are_suggested() -> None:
    with pytest.raises(ModelNotFound, match=r"Similar names: .*resnet50"):
        timm.load("resnet_50", ModelPolicy(), imagenet_1k())


def test_a_name_without_tag_means_timms_default_tag() -> None:
    assert timm.full_name("resnet50") == "resnet50.a1_in1k"
    assert timm.full_name("resnet50.tv_in1k") == "resnet50.tv_in1k"


def test_the_cap_on_parameters_holds_before_anything_is_fetched() -> None:
    with pytest.raises(ModelRefused, match="25,557,032"):  # the known size of a ResNet-50
        timm.load("resnet50", ModelPolicy(max_parameters=1_000_000), imagenet_1k())
