"""The runner: it halves batches that exceed the memory, and returns the best class of each image."""

import numpy as np
import pytest
import torch
from errata.errors import ModelRefused

from service.predictions.models.runner import Runner

CPU = torch.device("cpu")


class Small(torch.nn.Module):
    """Predicts the pixel value as the class, and raises OutOfMemoryError for large batches, like a GPU."""

    def __init__(self, memory: int) -> None:
        super().__init__()
        self.memory = memory
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        if len(images) > self.memory:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return torch.nn.functional.one_hot(images[:, 0, 0, 0].long(), 1000) * 9.0


def images(count: int) -> list[torch.Tensor]:
    return [torch.full((3, 2, 2), number, dtype=torch.uint8) for number in range(count)]


def test_a_batch_that_exceeds_the_memory_is_halved_until_it_fits() -> None:
    module = Small(memory=20)
    runner = Runner("m", module, CPU, limit=100)

    result = runner.finish(runner.start(images(100)))

    assert result.top1.tolist() == list(range(100))
    assert module.batches == [100, 50, 25, *[12] * 8, 4]
    assert runner.limit == 12


def test_the_reduced_size_applies_to_later_batches() -> None:
    module = Small(memory=20)
    runner = Runner("m", module, CPU, limit=32)
    runner.start(images(32))
    module.batches.clear()

    runner.start(images(32))

    assert module.batches == [16, 16]


def test_a_model_that_exceeds_the_memory_with_one_image_is_rejected() -> None:
    runner = Runner("file:big", Small(memory=0), CPU, limit=8)

    with pytest.raises(ModelRefused, match="file:big: The memory of cpu is too small"):
        runner.start(images(8))


def test_the_probability_is_that_of_the_softmax() -> None:
    runner = Runner("m", Small(memory=8), CPU, limit=8)

    result = runner.finish(runner.start(images(2)))

    assert result.probability is not None
    assert result.probability.dtype == np.float16
    assert result.probability.tolist() == pytest.approx([8103.08 / (8103.08 + 999)] * 2, rel=1e-3)  # e^9


def test_images_reach_the_module_whole_and_channels_last() -> None:
    batches: list[torch.Tensor] = []

    class Recorder(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            batches.append(batch)
            return torch.zeros(len(batch), 1000)

    inputs = [torch.rand(3, 4, 5) for _ in range(2)]
    Runner("m", Recorder(), CPU, limit=8).start(inputs)

    assert torch.equal(batches[0], torch.stack(inputs))
    assert batches[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.is_inference_mode_enabled() is False


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_rejected(value: float) -> None:
    class Broken(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.full((len(batch), 1000), value)

    runner = Runner("m", Broken(), CPU, limit=8)

    with pytest.raises(ModelRefused, match="contain NaN or infinity"):
        runner.finish(runner.start(images(2)))
