"""Devices: available ones are chosen, and others are rejected."""

import pytest
import torch
from errata.errors import InvalidSetting

from service.predictions.models.device import choose_device


def test_a_device_is_chosen_by_name_or_by_availability() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "meta", "cuda:0 "])
def test_an_unknown_device_is_rejected(name: str) -> None:
    with pytest.raises(InvalidSetting, match="Expected cpu, cuda:N, or mps"):
        choose_device(name)


def test_an_unavailable_gpu_is_rejected_with_the_available_devices() -> None:
    message = r"^ERRATA_DEVICE: device 'cuda:99' is not available.* Expected one of cpu"
    with pytest.raises(InvalidSetting, match=message) as caught:
        choose_device("cuda:99")
    assert [violation.field for violation in caught.value.violations] == ["ERRATA_DEVICE"]
