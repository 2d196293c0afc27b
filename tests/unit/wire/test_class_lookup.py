"""Classes in requests: an ID, a name, a synonym, or an index of the label space of the data set."""

import difflib

import pytest
from errata import v1 as pb
from errata.errors import InvalidRequest
from unusual_classes import CLASSES, HTML, LONG, label_space

from service import wire
from service.evidence.manifest import Manifest
from service.taxonomy.imagenet_1k import imagenet_1k


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("sku-1", 0),
        ("0", 0),
        ("running shoe", 0),
        ("Running_Shoe", 0),
        (" trainer ", 0),
        (HTML, 2),
        ("bird", 3),
        ("machine", 4),
        ("brötchen 面包", 5),
        ("three", 6),
        ("sku/7", 6),
        (LONG, 7),
        ("7", 7),
    ],
)
def test_a_class_is_found_by_id_name_synonym_and_index(text: str, index: int) -> None:
    assert wire.class_named(text, "target", label_space()) == index
    verdict_filter = wire.verdict_filter(pb.VerdictFilter(target_class=text, predicted_class=text), label_space())
    assert (verdict_filter.target, verdict_filter.predicted) == (index, index)


def test_a_name_of_two_classes_is_rejected_with_their_ids_and_indices() -> None:
    with pytest.raises(InvalidRequest) as raised:
        wire.class_named("crane", "filter.target_class", label_space())

    assert raised.value.message == (
        "2 classes match 'crane': index 3 (ID 'sku-4'), index 4 (ID 'sku-5'). Use an ID, a name, or an index that "
        "matches only one of them."
    )
    assert [violation.field for violation in raised.value.violations] == ["filter.target_class"]


def test_a_number_that_is_an_id_and_an_index_is_rejected() -> None:
    with pytest.raises(InvalidRequest, match=r"2 classes match '3': index 3 \(ID 'sku-4'\), index 6 \(ID '3'\)"):
        wire.class_named("3", "target", label_space())


def test_the_error_of_a_name_of_many_classes_is_short() -> None:
    rows = [
        {"id": f"{'x' * 200}{i}", "name": "same", "synonyms": [], "superclasses": [], "groups": []} for i in range(99)
    ]

    with pytest.raises(InvalidRequest, match=r"99 classes match 'same': .* and 94 more\.") as raised:
        wire.class_named("same", "target", label_space(rows))

    assert len(raised.value.message) < 700


@pytest.mark.parametrize("text", ["8", "-1", "999", "sku-9", "runing shoe", "", "\0", "x" * 5000])
def test_the_error_of_an_unknown_class_has_the_range_of_this_label_space(text: str) -> None:
    with pytest.raises(InvalidRequest, match="an index from 0 to 7") as raised:
        wire.class_named(text, "target", label_space())

    assert "999" not in raised.value.message.replace(repr(text), "")
    assert len(raised.value.message) < 600


def test_the_error_of_an_unknown_class_has_similar_names() -> None:
    with pytest.raises(InvalidRequest, match="Similar names: running shoe"):
        wire.class_named("runing shoe", "target", label_space())


def test_two_classes_are_a_label_space() -> None:
    space = label_space(CLASSES[:2], "two")

    assert [wire.class_named(text, "target", space) for text in ("0", "1", "sku-2")] == [0, 1, 1]
    with pytest.raises(InvalidRequest, match="an index from 0 to 1"):
        wire.class_named("2", "target", space)


def test_classes_of_imagenet_keep_their_lookup() -> None:
    space = imagenet_1k()

    assert [wire.class_named(text, "target", space) for text in ("2", "n01484850", "great_white_shark")] == [2, 2, 2]
    with pytest.raises(InvalidRequest, match=r"2 classes match 'crane': index 134 \(ID 'n02012849'\), index 517"):
        wire.class_named("crane", "target", space)


def test_messages_of_classes_have_all_their_facts() -> None:
    first, third, fourth = (
        wire.to_classes(label_space(), range(index, index + 1), "datasets/products/evidence/abc")[0]
        for index in (0, 2, 3)
    )

    assert first == pb.Class(
        name="datasets/products/evidence/abc/classes/0",
        class_index=0,
        class_id="sku-1",
        display_name="running shoe",
        synonyms=["trainer"],
        superclasses=["shoes"],
        groups=["footwear"],
    )
    assert (third.display_name, list(third.superclasses)) == (HTML, [])
    assert (list(fourth.overlaps), list(first.overlaps)) == ([4], [])


def test_classes_of_imagenet_have_synsets_and_groups() -> None:
    tench, sunglass = wire.to_classes(imagenet_1k(), range(0, 837, 836), "e")

    assert (tench.class_id, tench.synset, list(tench.groups)) == ("n01440764", "n01440764", ["organism"])
    assert "Tinca tinca" in tench.synonyms
    assert list(sunglass.overlaps) == [837]


def manifest(label_space: str, counts: dict[str, int]) -> Manifest:
    return Manifest("d", "0" * 64, 1, (), (), {"images": 3, "judged": 2} | counts, (), {}, label_space=label_space)


def test_the_manifest_has_the_label_space_and_the_number_of_classes() -> None:
    own, older = manifest("products", {"classes": 8}), manifest("imagenet-1k", {})

    for message in (wire.to_evidence(own), wire.to_dataset(own, has_images=False)):
        assert (message.label_space, message.num_classes) == ("products", 8)
    for message in (wire.to_evidence(older), wire.to_dataset(older, has_images=False)):
        assert (message.label_space, message.num_classes) == ("imagenet-1k", 1000)


def test_similar_names_among_many_classes_are_found_with_few_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {
            "id": str(number),
            "name": f"item {number * 7919 % 20_000:05}",
            "synonyms": [],
            "superclasses": [],
            "groups": [],
        }
        for number in range(20_000)
    ]
    rows[15_000]["name"] = "cast iron skillet"
    compared: list[int] = []
    find = difflib.get_close_matches

    def get_close_matches(text: str, names: list[str], n: int) -> list[str]:
        compared.append(len(names))
        return find(text, names, n=n)

    monkeypatch.setattr(difflib, "get_close_matches", get_close_matches)

    with pytest.raises(InvalidRequest, match=r"an index from 0 to 19999\. Similar names: cast iron skillet"):
        wire.class_named("cast iorn skilet", "target", label_space(rows))
    assert compared == [1000]
