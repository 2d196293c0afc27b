"""The compiled nouns, compared with WordNet through NLTK."""

import json
import lzma
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from service.domain import normalize_answer
from service.taxonomy.compile import compile_nouns
from service.taxonomy.nouns import SUFFIXES, load_nouns

DATA = files("service.taxonomy") / "data"


@pytest.mark.slow
def test_compiled_nouns_are_up_to_date(wordnet: Any, wordnet_folder: Path) -> None:
    taxonomy = json.loads((DATA / "wordnet.json").read_text())
    plurals = (wordnet_folder / "noun.exc").read_text()

    shipped = lzma.decompress((DATA / "nouns.txt.xz").read_bytes()).decode()
    assert "\n".join(compile_nouns(wordnet, taxonomy, plurals)) == shipped


@pytest.mark.slow
def test_nouns_have_the_hypernyms_of_wordnet(wordnet: Any) -> None:
    nouns = load_nouns()
    for offset in [*nouns.hypernyms][::50]:
        synset = wordnet.synset_from_pos_and_offset("n", offset)
        above = synset.closure(lambda item: [*item.hypernyms(), *item.instance_hypernyms()])
        assert nouns.ancestors(offset) == {item.offset() for item in above}
        assert {*nouns.lemmas[offset]} == {normalize_answer(lemma) for lemma in synset.lemma_names()}


def test_suffixes_are_those_of_nltk(wordnet: Any) -> None:
    assert [*SUFFIXES] == wordnet.MORPHOLOGICAL_SUBSTITUTIONS["n"]


def test_plurals_have_the_singular_of_nltk(wordnet: Any) -> None:
    nouns = load_nouns()
    words = [lemma for lemma in nouns.synsets if lemma.isalpha() and lemma.isascii() and len(lemma) > 2][::40]
    plurals = [f"{word}{ending}" for word in words for ending in ("s", "es")] + [*nouns.plurals][::5]
    compared = 0
    for plural in plurals:
        forms = [form for form in nouns.singulars(plural) if form in nouns.synsets]
        expected = wordnet._morphy(plural, "n")
        if forms and plural not in nouns.synsets and wordnet.synsets(forms[0], "n"):  # not without its apostrophe
            compared += 1
            assert forms[0] in expected, plural
    assert compared > 500


@pytest.mark.parametrize(
    ("text", "singular"),
    [
        ("hot dogs", "hot dog"),
        ("geese", "goose"),
        ("mice", "mouse"),
        ("wolves", "wolf"),
        ("foxes", "fox"),
        ("churches", "church"),
        ("firemen", "fireman"),
        ("butterflies", "butterfly"),
    ],
)
def test_plurals_of_the_last_word(text: str, singular: str) -> None:
    assert singular in load_nouns().singulars(text)
    assert load_nouns().find(text) == load_nouns().synsets[singular]


@pytest.mark.parametrize("text", ["glass", "as", "fish"])
def test_words_that_are_no_plural_have_no_singular(text: str) -> None:
    assert [*load_nouns().singulars(text)] == []
