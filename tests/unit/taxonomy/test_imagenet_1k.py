"""Names of classes, compared with the lists of timm."""

from collections import Counter
from pathlib import Path

import pytest
from example_counts import max_examples
from hypothesis import given
from hypothesis import strategies as st

from service.taxonomy.imagenet_1k import imagenet_1k


@pytest.fixture(scope="module")
def lemmas(timm_info: Path, wordnet_ids: list[str]) -> list[list[str]]:
    """The lemma names of each class, with spaces, as timm lists them."""
    lines = (timm_info / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    of_synset = dict(line.split("\t") for line in lines)
    return [of_synset[wordnet_id].split(", ") for wordnet_id in wordnet_ids]


def test_class_name_is_the_first_lemma(lemmas: list[list[str]]) -> None:
    assert list(imagenet_1k().names) == [names[0] for names in lemmas]


def test_index_and_wordnet_id_name_their_class(wordnet_ids: list[str]) -> None:
    for index, wordnet_id in enumerate(wordnet_ids):
        assert imagenet_1k().parse(str(index)) == index
        assert imagenet_1k().parse(wordnet_id) == index


def test_lemma_names_a_class_if_it_is_unique(lemmas: list[list[str]]) -> None:
    # a name is a lemma or the list of all lemmas of a class, in any case
    owners = Counter(name for names in lemmas for name in {*map(str.lower, names), ", ".join(names).lower()})
    for index, names in enumerate(lemmas):
        for name in (*names, ", ".join(names)):
            expected = index if owners[name.lower()] == 1 else None
            assert imagenet_1k().parse(name) == expected
            assert imagenet_1k().parse(name.replace(" ", "_").upper()) == expected


@pytest.mark.parametrize("name", ["crane", "maillot", "cardigan"])
def test_ambiguous_name_is_no_class(name: str) -> None:
    assert imagenet_1k().parse(name) is None


def test_classes_with_equal_names_differ_in_their_wordnet_ids() -> None:
    assert (imagenet_1k().parse("n02012849"), imagenet_1k().parse("n03126707")) == (134, 517)


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1", "1000", "99999999999999999999", "1.0", "1e2", "+1", "0x1", "²", "n00000000", "no such thing"],
)
def test_unknown_text_is_no_class(text: str) -> None:
    assert imagenet_1k().parse(text) is None


@pytest.mark.parametrize("text", [" 7 ", "7\n", " n01514668", "COCK "])
def test_white_space_around_a_name_does_not_matter(text: str) -> None:
    assert imagenet_1k().parse(text) == 7


@max_examples(300)
@given(st.text(max_size=20) | st.integers().map(str) | st.from_regex(r"n\d{1,9}", fullmatch=True))
def test_any_text_is_a_class_or_none(text: str) -> None:
    assert imagenet_1k().parse(text) is None or 0 <= imagenet_1k().parse(text) < 1000
