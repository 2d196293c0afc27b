"""Groups of classes: sizes and members."""

from typing import Any

import pytest

from service.taxonomy.imagenet_1k import imagenet_1k


@pytest.mark.parametrize(("row", "size"), [(0, 410), (1, 522), (2, 68)], ids=["organism", "artifact", "other"])
def test_groups_have_the_sizes_of_the_specification(row: int, size: int) -> None:
    assert imagenet_1k().group_members.shape == (3, 1000)
    assert imagenet_1k().group_members[row].sum() == size


def test_every_class_is_in_one_group() -> None:
    assert (imagenet_1k().group_members.sum(axis=0) == 1).all()


@pytest.mark.slow
def test_groups_agree_with_wordnet(wordnet: Any, wordnet_ids: list[str]) -> None:
    for index, wordnet_id in enumerate(wordnet_ids):
        synset = wordnet.synset_from_pos_and_offset("n", int(wordnet_id[1:]))
        names = {lemma for path in synset.hypernym_paths() for item in path for lemma in item.lemma_names()}
        organism, artifact = "organism" in names, "artifact" in names
        assert imagenet_1k().group_members[:, index].tolist() == [organism, artifact, not (organism or artifact)]
