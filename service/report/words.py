"""All prose about numbers: names and sentences for error types, groups, severities, sources; nowhere else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.domain import ErrorType, Group, LabelSource, Outcome, ProblematicTag, Severity


@dataclass(frozen=True)
class TypeWords:
    """How people speak of an error type."""

    title: str  # the paper's words
    plural: str  # in a sentence: "37 % are …"
    sentence: str


ERROR_TYPE_WORDS: Mapping[ErrorType, TypeWords] = {
    ErrorType.CORRECT: TypeWords("top-1 correct", "correct", "The prediction is the original label."),
    ErrorType.CLASS_OVERLAP: TypeWords(
        "class overlap",
        "overlapping classes",
        "ImageNet has two classes for the same thing, and the prediction is the other one. Counted correct.",
    ),
    ErrorType.MULTI_LABEL: TypeWords(
        "missing multi-label",
        "missing multi-labels",
        "The prediction is in the image, though it isn't the original label. Counted correct.",
    ),
    ErrorType.FINE_GRAINED: TypeWords(
        "fine-grained",
        "fine-grained errors",
        "The prediction differs from a class in the image only in fine detail: they share a superclass.",
    ),
    ErrorType.FINE_GRAINED_OOV: TypeWords(
        "fine-grained, out of vocabulary",
        "fine-grained errors out of vocabulary",
        "What the image shows is close to the prediction, but ImageNet has no class for it.",
    ),
    ErrorType.SPURIOUS_CORRELATION: TypeWords(
        "spurious correlation",
        "spurious correlations",
        "The prediction isn't in the image, but is often seen together with something that is.",
    ),
    ErrorType.NON_PROTOTYPICAL: TypeWords(
        "non-prototypical", "non-prototypical images", "The image shows its class in an unusual way."
    ),
    ErrorType.MODEL_FAILURE: TypeWords("model failure", "model failures", "Nothing explains the error."),
}

GROUP_WORDS: Mapping[Group, str] = {
    Group.ALL: "all images",
    Group.ORGANISM: "organisms",
    Group.ARTIFACT: "artifacts",
    Group.OTHER: "other",
}

SEVERITY_WORDS: Mapping[Severity, str] = {
    Severity.NONE: "counted correct",
    Severity.MINOR: "minor",
    Severity.EXPLAINABLE: "explainable",
    Severity.SEVERE: "severe",
}

SOURCE_WORDS: Mapping[LabelSource, str] = {
    LabelSource.UNSPECIFIED: "unknown",
    LabelSource.ORIGINAL: "original label",
    LabelSource.REAL: "ReaL label",
    LabelSource.CORRECT: "annotated correct",
    LabelSource.UNCLEAR: "annotated unclear",
}

OUTCOME_WORDS: Mapping[Outcome, str] = {
    Outcome.UNSPECIFIED: "unknown",
    Outcome.HIT: "decides",
    Outcome.MISS: "no",
    Outcome.ABSTAINED: "abstains",
    Outcome.NOT_REACHED: "not asked",
}

TAG_WORDS: Mapping[ProblematicTag, str] = {
    ProblematicTag.UNSPECIFIED: "",
    ProblematicTag.EMPTY_CORRECT: "no labels; predicts the original label",
    ProblematicTag.EMPTY_CORRECT_BY_OVERLAP: "no labels; overlaps with the original label",
    ProblematicTag.EMPTY_WRONG: "no labels; wrong",
    ProblematicTag.CORRECT_BUT_WRONG_LABEL: "predicts an original label that is wrong",
    ProblematicTag.OOV_SIMILAR_TO_TARGET: "similar to the original label",
    ProblematicTag.CO_OCCURRENCE_WITH_TARGET: "seen together with the original label",
    ProblematicTag.UNTAGGED: "set aside by the annotators",
}

_MISSING: Mapping[ErrorType, str] = {
    ErrorType.FINE_GRAINED_OOV: "CLIP's decisions were not available",
    ErrorType.SPURIOUS_CORRELATION: "No co-occurrence counts were available",
    ErrorType.NON_PROTOTYPICAL: "No list of non-prototypical images was available",
}


PERMUTED = (
    "hardly any prediction is right, yet most targets have a prediction of their own: the classes seem to be numbered "
    "otherwise than ImageNet's sorted WordNet ids"
)
REORDERED = (
    "the rows make far more sense in the other order: if they are sorted otherwise, say so with row_order, "
    "path or file name"
)


def number(value: int) -> str:
    """Return a count with its thousands separated."""
    return f"{value:,}"


def share(value: float | None) -> str:
    """Return a fraction of 1 in percent with one decimal; a dash where it is absent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def shared_superclasses(predicted: str, label: str, superclasses: Sequence[str]) -> str:
    """Return what two classes have in common."""
    return f"“{predicted}” and “{label}” are both in {' and '.join(superclasses)}."


def seen_together(predicted: str, label: str, count: int, examples: Sequence[str]) -> str:
    """Return how often two classes are in one image."""
    return f"“{predicted}” and “{label}” are seen together in {number(count)} images, such as {', '.join(examples)}."


def compared_texts(predicted: str, gate: bool, num_texts: int, best: Sequence[tuple[str, float]]) -> str:
    """Return what CLIP said of an image; `best` are texts with their probabilities."""
    texts = ", ".join(f"“{text}” ({share(probability)})" for text, probability in best)
    return (
        f"Classes like “{predicted}” {'are' if gate else 'are not'} among the nearest training images; of "
        f"{number(num_texts)} texts CLIP finds these the most fitting: {texts}."
    )


def rule_said(error_type: ErrorType, note: str, outcome: Outcome) -> str:
    """Return what one rule said."""
    note = f" ({note})" if note else ""
    return f"{ERROR_TYPE_WORDS[error_type].title}{note}: {OUTCOME_WORDS[outcome]}"


def abstention(error_type: ErrorType, after: Sequence[ErrorType]) -> str:
    """Return what it means that a rule had no evidence; `after` are the types that its errors fall to."""
    names = [ERROR_TYPE_WORDS[each].title for each in after]
    counted = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return (
        f"{_MISSING[error_type]}: {ERROR_TYPE_WORDS[error_type].plural} are counted as {counted}, "
        f"so model failure is an upper bound."
    )


def headline(
    title: str, errors: int, samples: int, noise: float, minor: float, excused: float, severe: int, bounded: bool
) -> str:
    """Return the one sentence that says what kind of mistakes a model makes; shares are of its top-1 errors."""
    images = f"{number(samples)} image{'s' if samples != 1 else ''}"
    if samples == 0:
        return f"{title} was judged on no images."
    if errors == 0:
        return f"{title} is right on all of {images}."
    kinds = [
        (noise, "are label noise", "label noise"),
        (minor, "are hair-splitting", "hair-splitting"),
        (excused, "have an excuse", "have an excuse"),
    ]
    present = [(value, whole, short) for value, whole, short in kinds if value]
    first = [f"{share(value)} of these errors {whole}" for value, whole, _ in present[:1]]
    parts = first + [f"{share(value)} {short}" for value, _, short in present[1:]]
    told = ", ".join(parts)
    if severe == 0:
        rest = "none is a plain failure"
    else:
        failures = "is a plain failure" if severe == 1 else "are plain failures"
        remaining = "the remaining " if told else ""
        measured = f"{share(severe / errors)} of errors, {share(severe / samples)} of images"
        rest = f"{remaining}{number(severe)} ({measured}) {failures}{', at most' if bounded else ''}"
    sentence = f"{told}; {rest}" if told else rest
    return f"{title} is wrong on {number(errors)} of {images}. {sentence[0].upper()}{sentence[1:]}."
