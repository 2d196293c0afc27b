"""Names of classes on pages."""

from unusual_classes import CLASSES, HTML, label_space

from service.report.class_names import MAX_NAME, display_names
from service.taxonomy.imagenet_1k import imagenet_1k


def test_the_id_follows_where_two_classes_have_the_same_name() -> None:
    names = display_names(label_space())

    assert names[:6] == ("running shoe", "ballet shoe", HTML, "crane (sku-4)", "crane (sku-5)", "Brötchen 面包")


def test_a_long_name_is_shortened() -> None:
    name = display_names(label_space())[7]

    assert len(name) == MAX_NAME
    assert name.startswith("a very long name") and name.endswith("…")


def test_names_that_are_equal_after_they_are_shortened_have_indices() -> None:
    rows = [CLASSES[0] | {"id": text, "name": text} for text in ("x" * 199 + "1", "x" * 199 + "2")]

    first, second = display_names(label_space(rows))

    assert (first, second) == (f"{'x' * 59}… (class 0)", f"{'x' * 59}… (class 1)")


def test_names_of_pages_are_distinct_and_only_equal_names_of_imagenet_change() -> None:
    space = imagenet_1k()
    names = display_names(space)

    changed = {index for index, name in enumerate(names) if name != space.names[index]}
    assert len({*names}) == 1000
    assert changed == {134, 517, 264, 474, 638, 639}
    assert (names[134], names[517]) == ("crane (n02012849)", "crane (n03126707)")
