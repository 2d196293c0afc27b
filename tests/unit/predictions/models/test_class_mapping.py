"""Mappings of a model's outputs to classes."""

import json
from pathlib import Path, PurePosixPath

import pytest
import torch
from errata.errors import ModelRefused

from service.predictions.models.class_mapping import MappedOutputs, check_outputs, describe_mapping, read_classes

WEIGHTS = PurePosixPath("model.safetensors")


def test_scores_go_to_their_classes_and_the_softmax_is_over_mapped_outputs_alone() -> None:
    head = MappedOutputs([7, None, 3])

    result = head(torch.tensor([[1.0, 100.0, 2.0]])).softmax(dim=1)

    # the second output, by far the highest, is no class: e^1 and e^2 share the probability
    assert result.shape == (1, 1000)
    assert result[0, 3].item() == pytest.approx(1 / (1 + 2.718281828**-1))
    assert result[0, 7].item() == pytest.approx(1 / (1 + 2.718281828))
    assert result.count_nonzero().item() == 2


def test_an_entry_is_an_index_a_wordnet_id_or_null(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(json.dumps([999, "n01440764", None, "n01443537"]))

    assert read_classes(tmp_path, WEIGHTS) == [999, 0, None, 1]  # tench is class 0, goldfish 1


def test_a_file_named_after_the_model_takes_precedence(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text("[1, 2]")
    (tmp_path / "model.classes.json").write_text("[3, 4]")

    assert read_classes(tmp_path, WEIGHTS) == [3, 4]
    assert read_classes(tmp_path, PurePosixPath("other.safetensors")) == [1, 2]


def test_without_a_file_nothing_is_mapped(tmp_path: Path) -> None:
    assert read_classes(tmp_path, WEIGHTS) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[0, 1", "JSON"),
        ('{"0": 1}', "Expected an array"),
        ("[]", "at least two"),
        ("[null, 5, null]", "at least two outputs with a class, got 1"),
        ("[1, 2, 1]", "Class 1 has several outputs"),
        ("[0, 1000]", "Output 1 has the entry 1000"),
        ("[0, -1]", "Output 1 has the entry -1"),
        ("[0, true]", "Output 1 has the entry True"),
        ("[0, 1.0]", r"Output 1 has the entry 1\.0"),
        ('[0, "tench"]', "Output 1 has the entry 'tench'"),
        ('[0, "n00000000"]', "Output 1 has the entry 'n00000000'"),
        ("[0, [1]]", r"Output 1 has the entry \[1\]"),
    ],
)
def test_a_wrong_mapping_is_rejected_with_its_first_wrong_entry(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "classes.json").write_text(content)

    with pytest.raises(ModelRefused, match=message):
        read_classes(tmp_path, WEIGHTS)


def test_1000_outputs_need_no_mapping_and_others_do() -> None:
    check_outputs("m", 1000, None)
    check_outputs("m", 3, [5, None, 6])
    with pytest.raises(ModelRefused, match=r"21841 outputs\. Expected 1000\. Put a classes\.json"):
        check_outputs("m", 21_841, None)
    with pytest.raises(ModelRefused, match="2 entries, but the model has 3 outputs"):
        check_outputs("m", 3, [5, 6])


def test_different_mappings_have_different_descriptions() -> None:
    assert describe_mapping(None) == ""
    assert describe_mapping([5, None, 6]).startswith(", 2 of 3 outputs mapped (")
    assert len({describe_mapping(item) for item in ([5, None, 6], [6, None, 5], [None, 5, 6])}) == 3
