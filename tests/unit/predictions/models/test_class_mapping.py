"""Mappings of a model's outputs to classes."""

import json
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from errata.errors import ModelRefused
from unit.predictions.label_spaces import label_space

from service.evidence.label_space_json import create_label_space
from service.predictions.models.class_mapping import (
    MappedOutputs,
    OutputClasses,
    check_outputs,
    map_outputs,
    read_classes,
    require_imagenet,
)
from service.taxonomy.imagenet_1k import imagenet_1k

WEIGHTS = PurePosixPath("model.safetensors")


def test_scores_go_to_their_classes_and_the_softmax_is_over_mapped_outputs_alone() -> None:
    head = MappedOutputs([7, None, 3], 1000)

    result = head(torch.tensor([[1.0, 100.0, 2.0]])).softmax(dim=1)

    # the second output, by far the highest, is no class: e^1 and e^2 share the probability
    assert result.shape == (1, 1000)
    assert result[0, 3].item() == pytest.approx(1 / (1 + 2.718281828**-1))
    assert result[0, 7].item() == pytest.approx(1 / (1 + 2.718281828))
    assert result.count_nonzero().item() == 2


def test_an_entry_is_an_index_a_wordnet_id_or_null(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(json.dumps([999, "n01440764", None, "n01443537"]))

    assert read_classes(tmp_path, WEIGHTS, imagenet_1k()).mapping == [999, 0, None, 1]  # tench is class 0, goldfish 1


def test_a_file_named_after_the_model_takes_precedence(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text("[1, 2]")
    (tmp_path / "model.classes.json").write_text("[3, 4]")

    assert read_classes(tmp_path, WEIGHTS, imagenet_1k()).mapping == [3, 4]
    assert read_classes(tmp_path, PurePosixPath("other.safetensors"), imagenet_1k()).mapping == [1, 2]


def test_without_a_file_nothing_is_mapped(tmp_path: Path) -> None:
    assert read_classes(tmp_path, WEIGHTS, imagenet_1k()) == OutputClasses(1000)
    assert read_classes(tmp_path, WEIGHTS, label_space(10)) == OutputClasses(10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[0, 1", "JSON"),
        ('{"0": 1}', "Expected an array"),
        ("[]", "at least two"),
        ("[null, 5, null]", "at least two outputs with a class, got 1"),
        ("[1, 2, 1]", "Class 1 has the outputs 0 and 2"),
        ("[0, 1000]", "Output 1 has the entry 1000"),
        ("[0, -1]", "Output 1 has the entry -1"),
        ("[0, true]", "Output 1 has the entry True"),
        ("[0, 1.0]", r"Output 1 has the entry 1\.0"),
        (
            '[0, "crane"]',
            r"Output 1 has the entry 'crane', which can mean 2 classes: index 134 .ID 'n02012849'., index 517",
        ),
        ('[0, "n00000000"]', "Output 1 has the entry 'n00000000'"),
        ("[0, [1]]", r"Output 1 has the entry \[1\]"),
    ],
)
def test_a_wrong_mapping_is_rejected_with_its_first_wrong_entry(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "classes.json").write_text(content)

    with pytest.raises(ModelRefused, match=message):
        read_classes(tmp_path, WEIGHTS, imagenet_1k())


def test_1000_outputs_need_no_mapping_and_others_do() -> None:
    check_outputs("m", 1000, OutputClasses(1000))
    check_outputs("m", 3, OutputClasses(1000, [5, None, 6]))
    with pytest.raises(ModelRefused, match=r"21841 outputs\. The label space has 1000 classes\. Put a classes\.json"):
        check_outputs("m", 21_841, OutputClasses(1000))
    with pytest.raises(ModelRefused, match=r"m: classes\.json of x has 2 entries, but the model has 3 outputs"):
        check_outputs("m", 3, OutputClasses(1000, [5, 6], "classes.json of x"))


def test_different_mappings_have_different_descriptions() -> None:
    assert OutputClasses(1000).description == ""
    assert OutputClasses(1000, [5, None, 6]).description.startswith(", 2 of 3 outputs mapped (")
    mappings = ([5, None, 6], [6, None, 5], [None, 5, 6])
    assert len({OutputClasses(1000, mapping).description for mapping in mappings}) == 3


def test_an_entry_of_another_label_space_is_an_index_an_id_a_name_or_a_synonym(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(json.dumps(["id-9", None, 0, "name 3", "synonym 4", "ID-5"]))

    classes = read_classes(tmp_path, WEIGHTS, label_space(10))

    assert classes.mapping == [9, None, 0, 3, 4, 5]
    assert classes.num_outputs == 6


def test_an_entry_out_of_the_range_of_the_label_space_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text("[0, 10]")

    with pytest.raises(ModelRefused, match=r"Output 1 has the entry 10\. Expected a class index from 0 to 9, an ID"):
        read_classes(tmp_path, WEIGHTS, label_space(10))


def test_models_of_imagenet_are_rejected_for_another_label_space_with_as_many_classes() -> None:
    assert require_imagenet("timm:m", imagenet_1k()) == OutputClasses(1000)
    with pytest.raises(ModelRefused, match=r"timm:m: .* ImageNet-1k classes, .* has 1000 other classes\."):
        require_imagenet("timm:m", label_space(1000))


def test_a_number_that_is_the_id_of_another_class_is_refused(tmp_path: Path) -> None:
    rows = [
        {"id": id_, "name": f"class {id_}", "synonyms": [], "superclasses": [], "groups": [], "synset": ""}
        for id_ in ("1", "2", "3")
    ]
    space = create_label_space("mine", rows, np.zeros((0, 2), dtype=np.int64))

    with pytest.raises(ModelRefused, match="Output 0 has the entry 1, which can mean 2 classes"):
        map_outputs("classes.json", [1, 2], space)
    assert map_outputs("classes.json", [3, "class 1"], space).mapping == [2, 0]
