"""The label space of a bundle as JSON: round trips, and content that is refused."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from example_counts import max_examples
from hypothesis import given
from unit.evidence.small_label_space import label_spaces, own_label_space

from service.domain import LabelSpace, Superclasses
from service.evidence import label_space_json
from service.evidence.label_space_json import from_json, to_json
from service.taxonomy.imagenet_1k import imagenet_1k


def fields(space: LabelSpace) -> dict[str, Any]:
    """Return everything that a label space says about classes."""
    classes = range(space.num_classes)
    return {
        "texts": (space.name, space.ids, space.names, space.synonyms, space.synsets),
        "superclasses": [set(space.superclasses.names_of(index)) for index in classes],
        "groups": [
            {group for group, members in zip(space.groups, space.group_members, strict=True) if members[index]}
            for index in classes
        ],
        "overlaps": space.overlaps.as_array().tolist(),
    }


@max_examples(200)
@given(label_spaces())
def test_label_space_round_trips(space: LabelSpace) -> None:
    result = from_json(to_json(space))

    assert fields(result) == fields(space)
    assert (result.groups, result.superclasses.ids) == (space.groups, space.superclasses.ids)
    assert to_json(result) == to_json(space)


def test_imagenet_1k_round_trips_and_its_second_form_is_canonical() -> None:
    result = from_json(to_json(imagenet_1k()))

    assert fields(result) == fields(imagenet_1k())
    assert to_json(from_json(to_json(result))) == to_json(result)


@pytest.mark.slow
def test_the_largest_label_space_round_trips() -> None:
    rows = [{**ROW, "id": str(index), "superclasses": [f"s{index // 3}", f"t{index % 900}"]} for index in range(32_767)]
    space = from_json(json.dumps({"name": "large", "classes": rows, "overlaps": [[0, 32_766]]}).encode())

    assert fields(from_json(to_json(space))) == fields(space)
    assert space.superclasses.share(np.array([0, 0]), np.array([2, 3])).tolist() == [True, False]


def test_superclasses_and_groups_without_classes_are_not_stored() -> None:
    space = own_label_space()
    members = np.zeros((2, space.num_classes), dtype=bool)
    members[1, [0, 3]] = True
    changed = LabelSpace(
        **{**vars(space), "superclasses": Superclasses.from_members(("nobody", "two"), members), "groups": ("x", "y")}
        | {"group_members": members}
    )

    result = from_json(to_json(changed))

    assert (result.superclasses.ids, result.groups) == (("two",), ("y",))


ROW = {"id": "a", "name": "a", "synonyms": [], "superclasses": [], "groups": [], "synset": ""}


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    content = json.loads(to_json(own_label_space()))
    change(content)
    return json.dumps(content).encode()


REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "no UTF-8": to_json(own_label_space()).replace(b"cup", b"c\xffp"),
    "lone surrogate": changed(lambda raw: raw["classes"][0].update(name="\ud800")),
    "deep": b"[" * 100_000,
    "no name": changed(lambda raw: raw.pop("name")),
    "empty name": changed(lambda raw: raw.update(name="")),
    "unknown field": changed(lambda raw: raw.update(more=1)),
    "one class": changed(lambda raw: raw.update(classes=raw["classes"][:1], overlaps=[])),
    "too many classes": changed(lambda raw: raw.update(classes=[{**ROW, "id": str(i)} for i in range(32_768)])),
    "classes by ID": changed(lambda raw: raw.update(classes={"a": ROW})),
    "class without ID": changed(lambda raw: raw["classes"][0].pop("id")),
    "duplicate ID": changed(lambda raw: raw["classes"][0].update(id="SKU-2")),
    "empty ID": changed(lambda raw: raw["classes"][0].update(id="")),
    "number as name": changed(lambda raw: raw["classes"][0].update(name=7)),
    "empty synonym": changed(lambda raw: raw["classes"][0].update(synonyms=[""])),
    "text instead of a list": changed(lambda raw: raw["classes"][0].update(superclasses="birds")),
    "null": changed(lambda raw: raw["classes"][0].update(groups=None)),
    "too many groups": changed(lambda raw: raw["classes"][0].update(groups=[f"group {i}" for i in range(17)])),
    "overlap of an unknown class": changed(lambda raw: raw["overlaps"].append([0, 7])),
    "negative overlap": changed(lambda raw: raw["overlaps"].append([0, -1])),
    "huge overlap": changed(lambda raw: raw["overlaps"].append([0, 10**40])),
    "overlap with itself": changed(lambda raw: raw["overlaps"].append([3, 3])),
    "overlap of three": changed(lambda raw: raw["overlaps"].append([0, 1, 2])),
    "fraction": changed(lambda raw: raw["overlaps"].append([0, 1.5])),
    "Boolean": changed(lambda raw: raw["overlaps"].append([0, True])),
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_content_that_is_no_label_space_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(content)


def test_too_long_content_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    content = to_json(own_label_space())
    monkeypatch.setattr(label_space_json, "MAX_BYTES", len(content) - 1)

    with pytest.raises(ValueError, match="bytes are more than"):
        from_json(content)
