"""Lookup of classes in a folder: as the service finds them."""

from errata import pb
from errata.cli.class_lookup import match_class
from hypothesis import example, given
from hypothesis import strategies as st
from unusual_classes import label_space

from service import wire
from service.domain import LabelSpace
from service.taxonomy.imagenet_1k import imagenet_1k

TEXTS = st.sampled_from(["a", "A", " a", "b_c", "b c", "B C", "0", "1", "2", "01", "ß", "ẞ", "İ"])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": TEXTS,
            "synonyms": st.lists(TEXTS, max_size=2),
            "superclasses": st.just([]),
            "groups": st.just([]),
        }
    ),
    min_size=2,
    max_size=5,
)


def messages(space: LabelSpace) -> list[pb.Class]:
    return wire.to_classes(space, range(space.num_classes), "evidence")


@given(rows=ROWS, ids=st.permutations(["a", "b c", "0", "2", "x", "B_C"]), text=TEXTS)
@example(rows=[{"name": "a", "synonyms": [], "superclasses": [], "groups": []}] * 2, ids=["x", "y"], text="0000000001")
def test_a_folder_finds_the_classes_that_the_service_finds(rows: list[dict], ids: list[str], text: str) -> None:
    space = label_space([row | {"id": id_} for row, id_ in zip(rows, ids, strict=False)])

    assert match_class(messages(space), text) == [*space.match(text)]


def test_names_of_imagenet_are_found() -> None:
    space = imagenet_1k()
    classes = messages(space)

    for text in ("tench", "Tinca tinca", "n01440764", "0", "crane", "no such class", "1000", "00000000000"):
        assert match_class(classes, text) == [*space.match(text)], text
