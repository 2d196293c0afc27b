"""The class that an answer names, compared with a slow implementation for all names of ImageNet-1k."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.predictions.answers.slow_matcher import SlowMatcher
from unit.predictions.label_spaces import label_space_of

from service.domain import AnswerOutcome, LabelSpace, normalize_answer
from service.predictions.answers.matcher import MAX_ANSWER, AnswerMapping, AnswerMatcher
from service.taxonomy.imagenet_1k import imagenet_1k
from service.taxonomy.nouns import Nouns

GOLDEN_RETRIEVER, GOLDFISH, GREAT_WHITE = 207, 1, 2
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "underscores": lambda name: name.replace(" ", "_"),
    "hyphens": lambda name: name.replace(" ", "-"),
    "article and full stop": lambda name: f"The {name}.",
    "plural": lambda name: f"{name}s",
    "wide letters": lambda name: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name),
}


@pytest.fixture(scope="module")
def matcher() -> AnswerMatcher:
    return AnswerMatcher(imagenet_1k())


@pytest.fixture(scope="module")
def slow(wordnet: Any) -> SlowMatcher:
    return SlowMatcher(imagenet_1k(), wordnet)


def names_of(label_space: LabelSpace) -> Iterator[str]:
    for name, synonyms in zip(label_space.names, label_space.synonyms, strict=True):
        yield from (name, *synonyms)


@pytest.mark.slow
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_names_and_synonyms_equal_those_of_the_slow_implementation(
    matcher: AnswerMatcher, slow: SlowMatcher, spelling: str
) -> None:
    answers = [SPELLINGS[spelling](name) for name in dict.fromkeys(names_of(imagenet_1k()))]
    assert len(answers) > 2000

    for answer in answers if spelling == "as it is" else random.Random(1).sample(answers, 400):
        outcome, classes = slow.match(answer)
        match = matcher.match(answer)
        assert (match.outcome.name.lower(), {*match.classes}) == (outcome, classes), answer


@pytest.mark.slow
def test_sentences_equal_those_of_the_slow_implementation(matcher: AnswerMatcher, slow: SlowMatcher) -> None:
    numbers = random.Random(2)
    names = [*dict.fromkeys(names_of(imagenet_1k())), "hot dogs", "police dog", "sky", "two", "wolves", "zxcv"]
    for _ in range(100):
        words = [numbers.choice(names) for _ in range(numbers.choice([1, 2, 2, 3]))]
        answer = " ".join(numbers.choice(["some", "red", "beside", "and"]) + f" {word}" for word in words)
        outcome, classes = slow.match(answer)
        match = matcher.match(answer)
        assert (match.outcome.name.lower(), {*match.classes}) == (outcome, classes), answer


def test_every_id_is_its_class(matcher: AnswerMatcher) -> None:
    for index, id_ in enumerate(imagenet_1k().ids):
        assert matcher.match(id_).classes == (index,)
        assert matcher.match(f" {id_.upper()}. ").classes == (index,)


@pytest.mark.parametrize(
    "answer",
    [
        "a photo of a golden retriever",
        "This is a golden retriever.",
        "It's a Golden-Retriever!",
        "Answer: golden_retriever",
        "The answer is golden retriever",
        "The image shows a golden retriever",
        "I can see a golden retriever in this picture",
        "a close-up photo of a golden retriever",
        "Two golden retrievers are lying in the grass.",
        "The main object in the image is a golden retriever.",
        "ＧＯＬＤＥＮ　ＲＥＴＲＩＥＶＥＲ",
    ],
)
def test_phrases_around_a_name_do_not_matter(matcher: AnswerMatcher, answer: str) -> None:
    match = matcher.match(answer)

    assert (match.outcome, match.classes) == (AnswerOutcome.MAPPED, (GOLDEN_RETRIEVER,))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("crane", AnswerOutcome.AMBIGUOUS),  # the bird and the machine
        ("a goldfish and a great white shark", AnswerOutcome.AMBIGUOUS),
        ("dog", AnswerOutcome.OUTSIDE),
        ("This is a photo of two wolves", AnswerOutcome.UNKNOWN),  # `two wolves` is no noun, and no class is named
        ("wolves", AnswerOutcome.OUTSIDE),
        ("police dog", AnswerOutcome.OUTSIDE),
        ("xyzzy", AnswerOutcome.UNKNOWN),
        ("I cannot help with that.", AnswerOutcome.UNKNOWN),
        ("207", AnswerOutcome.UNKNOWN),  # an index is no free-text answer
        ("", AnswerOutcome.UNKNOWN),
        ("…", AnswerOutcome.UNKNOWN),
        ("goldfish " * (MAX_ANSWER // 9 + 1), AnswerOutcome.UNKNOWN),
    ],
)
def test_an_answer_without_exactly_one_class_has_none(
    matcher: AnswerMatcher, answer: str, outcome: AnswerOutcome
) -> None:
    match = matcher.match(answer)

    assert match.outcome is outcome
    assert len(match.classes) != 1


def test_a_longer_noun_hides_a_class_in_it() -> None:
    matcher = AnswerMatcher(label_space_of([("0", "dog"), ("1", "truck")]))

    assert matcher.match("hot dog").outcome is AnswerOutcome.OUTSIDE
    assert matcher.match("someone eats a hot dog").outcome is AnswerOutcome.UNKNOWN
    assert matcher.match("someone walks a brown dog").classes == (0,)


def test_a_text_of_the_vocabulary_or_a_superclass_is_outside() -> None:
    matcher = AnswerMatcher(label_space_of([("0", "cat"), ("1", "truck")]), terms=["Zebra Crossing"])

    assert matcher.match("a zebra-crossing").outcome is AnswerOutcome.OUTSIDE


def test_a_name_of_two_classes_is_ambiguous_and_an_id_decides() -> None:
    matcher = AnswerMatcher(label_space_of([("bat-animal", "bat"), ("bat-club", "bat"), ("cat", "cat")]))

    assert matcher.match("bats").classes == (0, 1)
    assert matcher.match("bat-club").classes == (1,)


def test_names_of_symbols_only_are_matched_exactly() -> None:
    matcher = AnswerMatcher(label_space_of([("plus", "+"), ("minus", "−")]))

    assert matcher.match("+").classes == (0,)
    assert matcher.match("*").outcome is AnswerOutcome.UNKNOWN


def test_the_mapping_file_has_priority() -> None:
    mapping = AnswerMapping({"goldfish": GREAT_WHITE, "crane": 134, "tench": None})
    matcher = AnswerMatcher(imagenet_1k(), mapping)

    assert (matcher.match("a Goldfish!").classes, matcher.match("a Goldfish!").overridden) == ((GREAT_WHITE,), True)
    assert matcher.match("crane").classes == (134,)
    assert matcher.match("tench").outcome is AnswerOutcome.OUTSIDE
    assert matcher.match("golden retriever").overridden is False


def test_no_class_is_found_in_a_hostile_answer_in_quadratic_time(matcher: AnswerMatcher, tmp_path: Path) -> None:
    for answer in ("a photo of " * 90, "the " * 250, "- " * 500, "s" * 1000, "i see " * 160):
        assert matcher.match(answer).outcome is AnswerOutcome.UNKNOWN


@pytest.mark.parametrize("answer", ["hen " * 118, "".join(f"hen x{number} " for number in range(59))])
def test_a_hostile_answer_needs_few_lookups_for_each_word(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """The longest noun that begins with `hen` has 12 words."""
    matcher, lookups, forms = AnswerMatcher(imagenet_1k()), 0, Nouns.forms

    def count(nouns: Nouns, text: str) -> tuple[str, ...]:
        nonlocal lookups
        lookups += 1
        return forms(nouns, text)

    monkeypatch.setattr(Nouns, "forms", count)
    for number in range(10):
        matcher.match(f"x{number} {answer}")

    assert lookups < 4 * 118


@pytest.mark.parametrize(
    ("answer", "other"), [("केला", "किला"), ("ปู", "ปี"), ("ปู", "ป"), ("naïve cafe\u0301", "naive cafe")]
)
def test_combining_marks_belong_to_words(answer: str, other: str) -> None:
    """Without its vowels, the word for banana would equal that for fort."""
    assert normalize_answer(answer) != normalize_answer(other)
    assert normalize_answer(f"{answer}, {answer}_{answer}") == " ".join([normalize_answer(answer)] * 3)
