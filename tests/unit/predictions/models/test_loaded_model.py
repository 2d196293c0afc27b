"""The digest of a model's weights, and its size before memory is allocated."""

import pytest
import timm
import torch
from errata.errors import ModelRefused

from service.predictions.model_policy import ModelPolicy
from service.predictions.models.loaded_model import (
    check_parameter_count,
    load_weights,
    weights_digest,
)


def test_the_digest_is_of_names_types_shapes_and_values_and_of_nothing_else() -> None:
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    same = torch.nn.Linear(3, 2)
    same.load_state_dict(module.state_dict())
    before = weights_digest(module)

    assert weights_digest(same) == before
    assert weights_digest(module.to(memory_format=torch.channels_last)) == before
    with torch.no_grad():
        same.weight[0, 0] += 1e-6
    assert weights_digest(same) != before
    assert weights_digest(torch.nn.Sequential(module)) != before  # other names
    assert weights_digest(module.half()) != before


def test_a_model_too_large_for_memory_is_rejected_before_it_is_created() -> None:
    def make() -> torch.nn.Module:
        return torch.nn.Linear(1 << 20, 1 << 20, bias=False)  # 4 TiB

    with pytest.raises(ModelRefused, match="has 1,099,511,627,776 parameters"):
        check_parameter_count(ModelPolicy(), "m", make)


def test_the_parameters_of_a_module_without_meta_device_support_are_counted() -> None:
    def make() -> torch.nn.Module:
        float(torch.ones(1).sum())  # needs a value, which the meta device does not have
        return torch.nn.Linear(3, 2)

    check_parameter_count(ModelPolicy(max_parameters=8), "m", make)
    with pytest.raises(ModelRefused, match="at most 7"):
        check_parameter_count(ModelPolicy(max_parameters=7), "m", make)


def test_parameters_are_counted() -> None:
    def make() -> torch.nn.Module:
        return timm.create_model("resnet50", pretrained=False)

    check_parameter_count(ModelPolicy(max_parameters=25_557_032), "m", make)  # as its authors count
    with pytest.raises(ModelRefused, match="25,557,032 parameters"):
        check_parameter_count(ModelPolicy(max_parameters=25_557_031), "m", make)


def test_weights_of_another_architecture_are_rejected_with_the_differences() -> None:
    with pytest.raises(ModelRefused, match=r"(?s)m: The weights do not match.*bias"):
        load_weights("m", torch.nn.Linear(3, 2), {"weight": torch.zeros(2, 3)})
