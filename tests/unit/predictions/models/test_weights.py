"""Weights files: nothing in them is executed, and other files are rejected with a remedy."""

import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from errata.errors import ModelRefused
from safetensors.torch import save_file

from service.predictions.models.weights import read_weights

WEIGHTS = {"weight": torch.arange(2000.0)}


class Payload:
    """Opens a file for writing when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return (open, (str(self.canary), "w"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_a_payload_is_rejected_and_never_runs(tmp_path: Path, canary: Path, legacy: bool) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"weights": Payload(canary)}, path, _use_new_zipfile_serialization=not legacy)

    with pytest.raises(ModelRefused, match=r"does not unpickle it. Save the weights as safetensors"):
        read_weights(path, "m")

    assert not canary.exists()
    torch.load(path, weights_only=False)["weights"].close()  # it would have
    assert canary.exists()


def test_a_pickle_that_calls_itself_safetensors_is_rejected_and_never_runs(tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "evil.safetensors"
    torch.save({"weights": Payload(canary)}, path)

    with pytest.raises(ModelRefused, match="truncated"):
        read_weights(path, "m")
    assert not canary.exists()


def test_an_archive_that_unpacks_to_more_than_its_size_is_rejected_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(64 << 20))

    with pytest.raises(ModelRefused, match="archive is compressed"):
        read_weights(path, "m")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_truncated_weights_are_rejected(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    save_file(WEIGHTS, path) if suffix == "safetensors" else torch.save(WEIGHTS, path)
    torch.testing.assert_close(read_weights(path, "m"), WEIGHTS)
    path.write_bytes(path.read_bytes()[:-1000])

    with pytest.raises(ModelRefused, match="truncated"):
        read_weights(path, "m")


@pytest.mark.parametrize("content", [b"", b"\x00", b"PK\x03\x04", b"no weights at all", b"\x80\x02."])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_bytes_that_are_not_weights_are_rejected(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)

    with pytest.raises(ModelRefused):
        read_weights(path, "m")


@pytest.mark.parametrize(
    "content", [[1, 2], {"epoch": 3}, torch.zeros(3), {"state_dict": {"a": 1}}, {1: torch.zeros(3)}]
)
def test_a_checkpoint_without_a_state_dict_is_rejected(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "held.pth")

    with pytest.raises(ModelRefused, match=r"Expected a state dict|has the key 1\. Expected names"):
        read_weights(tmp_path / "held.pth", "m")


def test_torchscript_is_rejected_with_a_remedy(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch wants users to leave TorchScript
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "script.pt")

    with pytest.raises(ModelRefused, match=r"TorchScript.*torch\.jit\.load.*safetensors"):
        read_weights(tmp_path / "script.pt", "m")


def test_an_exported_program_is_rejected_with_a_remedy(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "program.pt2")

    with pytest.raises(ModelRefused, match=r"torch\.export.*safetensors"):
        read_weights(tmp_path / "program.pt2", "m")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("constants.pkl", "TorchScript"),
        ("model/code/__torch__.py", "TorchScript"),
        ("serialized_exported_program.json", "export"),  # torch 2.1 to 2.5
        ("archive/models/model.json", "export"),
    ],
)
def test_a_program_is_recognized_by_the_names_in_its_archive(tmp_path: Path, name: str, message: str) -> None:
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        archive.writestr(name, "")

    with pytest.raises(ModelRefused, match=message):
        read_weights(tmp_path / "model.pth", "m")
