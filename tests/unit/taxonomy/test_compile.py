"""The compiled taxonomy file is up to date."""

from importlib.resources import files
from typing import Any

import pytest

from service.taxonomy.compile import compile_taxonomy, dump
from service.taxonomy.nltk_wordnet import LEXICOGRAPHER_FILES


@pytest.mark.slow
def test_compiled_file_is_up_to_date(wordnet: Any, wordnet_ids: list[str]) -> None:
    shipped = (files("service.taxonomy") / "data" / "wordnet.json").read_text(encoding="utf-8")

    assert dump(compile_taxonomy(wordnet, wordnet_ids)) == shipped
    assert dump(compile_taxonomy(wordnet, wordnet_ids[::-1])) == shipped  # the order given does not matter


def test_lexicographer_files_have_the_numbers_of_wordnet(wordnet: Any) -> None:
    # lexnames(5WN): 45 files, and the numbers of the kinds of noun that classes have
    assert len(LEXICOGRAPHER_FILES) == 45
    assert [LEXICOGRAPHER_FILES.index(f"noun.{kind}") for kind in ("Tops", "animal", "artifact", "food")] == [
        3,
        5,
        6,
        13,
    ]
    assert wordnet.synset_from_pos_and_offset("n", 1440764).lexname() == "noun.animal"
    assert wordnet.synset_from_pos_and_offset("n", 4557648).lexname() == "noun.artifact"
