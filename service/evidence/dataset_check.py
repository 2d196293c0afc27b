"""Check a label space and the labels of a data set for facts that make the error breakdown less useful."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.domain import Classes, LabelSpace, Mask, normalize
from service.evidence.cooccurrence import MIN_COUNT, cooccurrence_relation
from service.evidence.inputs import CooccurrenceInputs, LabelInputs

MAX_NAMED = 5  # names in a message; `items` has all of them
_ENCODER_REMEDY = "For the bundle, add --encoder, --images, and --train-images to 'errata evidence build'."


@dataclass(frozen=True)
class Advice:
    """A fact that does not prevent a build, but makes the error breakdown less useful."""

    kind: str  # identifier that does not change between versions, such as "classes-without-superclass"
    message: str  # the fact, its effect, and the remedy
    items: tuple[str, ...] = ()  # names of the classes, superclasses, or groups


@dataclass(frozen=True)
class Dataset:
    """The content of the files of a data set. A field is None if there is no such file."""

    label_space: LabelSpace
    images: LabelInputs | None = None
    pairs: CooccurrenceInputs | None = None  # None although `images` is set: no pair reaches the minimum
    pairs_note: str = ""  # why the file with `--cooccurrence` has no effect
    min_cooccurrence: int = MIN_COUNT
    predicted: Classes | None = None  # predicted classes of images; -1: no prediction
    prediction_warnings: tuple[str, ...] = ()  # warnings that an analysis of the predictions has
    has_overlaps: bool = False  # there is a file of overlaps, perhaps with errors
    has_vocabulary: bool = False
    has_own_classes: bool = True  # False: the classes and their relations are built in


def find_advice(dataset: Dataset) -> list[Advice]:
    """Return all advice about a data set."""
    space, images = dataset.label_space, dataset.images
    advice: list[Advice] = []
    if dataset.has_own_classes:
        advice += [*_check_superclasses(space), *_check_classes(dataset)]
    if images is not None:
        advice += [*_check_labels(images), *_check_pairs(dataset)]
        if dataset.has_own_classes:
            advice += _check_use(space, images)
        if dataset.predicted is not None:
            advice += _check_predictions(dataset, images, dataset.predicted)
    advice += [Advice("prediction-warnings", warning) for warning in dataset.prediction_warnings]
    return advice


def _check_superclasses(space: LabelSpace) -> Iterable[Advice]:
    names = space.superclasses.ids
    counts = np.bincount(space.superclasses.numbers, minlength=len(names))
    if not len(space.superclasses.numbers):
        yield Advice(
            "no-superclasses",
            "No class has a superclass. The rule of fine-grained errors never applies, and confusions of similar "
            "classes count as model failures. Add the column superclasses, or a file with --superclasses.",
        )
        return
    alone = np.diff(space.superclasses.offsets) == 0
    if alone.any():
        yield _about(
            "classes-without-superclass",
            _names(space, alone),
            f"{_count(alone, 'class has', 'classes have')} no superclass: {{}}. Their confusions are never "
            "fine-grained. Add superclasses if similar classes exist.",
        )
    large = (counts * 2 >= space.num_classes) & (counts > 1)
    if large.any():
        yield _about(
            "large-superclasses",
            [f"{names[number]} ({counts[number]:,})" for number in np.flatnonzero(large)],
            f"{_count(large, 'superclass has', 'superclasses have')} half of all {space.num_classes:,} classes or "
            "more: {}. All confusions within it count as fine-grained. Split it into superclasses of classes that are "
            "hard to tell apart.",
        )
    single = counts == 1
    if single.any():
        yield _about(
            "superclasses-of-one-class",
            [names[number] for number in np.flatnonzero(single)],
            f"{_count(single, 'superclass has', 'superclasses have')} one class: {{}}. A superclass of one class "
            "has no effect. Check its spelling, add classes, or remove it.",
        )


def _check_classes(dataset: Dataset) -> Iterable[Advice]:
    space = dataset.label_space
    texts = Counter(
        text
        for name, synonyms in zip(space.names, space.synonyms, strict=True)
        for text in {normalize(name), *map(normalize, synonyms)}
    )
    repeated = [text for text, count in texts.items() if count > 1]
    if repeated:
        yield _about(
            "ambiguous-names",
            repeated,
            f"{_count(repeated, 'name means', 'names mean')} several classes: {{}}. Predictions and labels can use "
            "such a name only if it is exactly the ID of a class; the ID of a class without an ID is its name. Use IDs "
            "or indices there, or rename the classes.",
        )
    divided = [name for name in space.names if ";" in name]
    if divided:
        yield _about(
            "names-with-semicolons",
            divided,
            f"{_count(divided, 'name has a semicolon', 'names have semicolons')}: {{}}. Labels files cannot use such "
            "names, because a semicolon separates the labels of an image. Use IDs without semicolons or indices there.",
        )
    everywhere = [name for name, row in zip(space.groups, space.group_members, strict=True) if row.all()]
    if everywhere:
        yield _about(
            "groups-of-all-classes",
            everywhere,
            "Every class belongs to the group {}. The statistics of the group equal those of all images. Remove the "
            "group.",
        )
    if not dataset.has_overlaps and not len(space.overlaps):
        yield Advice(
            "no-overlaps",
            "There are no overlaps. If two classes mean the same object in some images, list them in a CSV file with "
            "the columns class,also_correct, and pass it with --overlaps.",
        )
    if not dataset.has_vocabulary and not any(space.synsets):
        yield Advice(
            "no-vocabulary",
            "There are no synsets and no vocabulary. The out-of-vocabulary rule abstains. Add the column synset, or a "
            f"file text,near with --vocabulary. {_ENCODER_REMEDY}",
        )
    if dataset.has_vocabulary:
        yield Advice(
            "vocabulary-needs-encoder",
            "The vocabulary has no effect without an encoder and training images. The out-of-vocabulary rule then "
            f"abstains. {_ENCODER_REMEDY}",
        )


def _check_use(space: LabelSpace, images: LabelInputs) -> Iterable[Advice]:
    counted = ~images.problematic
    unused = _class_sizes(images, space.num_classes) == 0
    if unused.any():
        yield _about(
            "classes-without-images",
            _names(space, unused),
            f"{_count(unused, 'class is', 'classes are')} no label of any image: {{}}. Statistics of classes leave "
            "them out. Check that the labels are complete.",
        )
    empty = [
        name
        for name, members in zip(space.groups, space.group_members, strict=True)
        if not counted[images.labels.samples[members[images.labels.classes]]].any()
    ]
    if empty:
        yield _about(
            "groups-without-images",
            empty,
            f"{_count(empty, 'group has', 'groups have')} no image: {{}}. Remove the group, or add images of its "
            "classes.",
        )


def _check_labels(images: LabelInputs) -> Iterable[Advice]:
    counted = ~images.problematic
    if not (images.labels.counts[counted] > 1).any():
        yield Advice(
            "one-label-per-image",
            "Each image has one label. A prediction of another object in the image counts as an error, so the number "
            "of model failures is an upper bound. Add all labels that are correct.",
        )
    rejected = counted & ~images.labels.contain(images.targets)
    if rejected.sum() * 2 > counted.sum():
        yield Advice(
            "rejected-targets",
            f"The labels reject the original label of {rejected.sum():,} of {counted.sum():,} images. Check that the "
            "columns target and labels use the same classes.",
        )


def _check_pairs(dataset: Dataset) -> Iterable[Advice]:
    if dataset.pairs is None:
        note = f"The file with --cooccurrence has no effect: {dataset.pairs_note}. " if dataset.pairs_note else ""
        images = "1 image" if dataset.min_cooccurrence == 1 else f"{dataset.min_cooccurrence:,} images"
        yield Advice(
            "no-co-occurrence",
            f"{note}No pair of classes occurs together in at least {images}. The rule of spurious correlations "
            "abstains, and the number of model failures is an upper bound. Pass labels of other images, such as the "
            "training set, with --cooccurrence.",
        )
    elif not len(cooccurrence_relation(dataset.pairs, dataset.label_space.superclasses, dataset.min_cooccurrence)):
        yield Advice(
            "no-co-occurrence-across-superclasses",
            "All classes that occur together share a superclass. The rule of spurious correlations abstains, and the "
            "number of model failures is an upper bound. Pass labels of other images, such as the training set, with "
            "--cooccurrence.",
        )


def _check_predictions(dataset: Dataset, images: LabelInputs, predicted: Classes) -> Iterable[Advice]:
    space = dataset.label_space
    is_label = _class_sizes(images, space.num_classes) > 0
    is_predicted = np.bincount(predicted[predicted >= 0], minlength=space.num_classes) > 0
    missed = is_label & ~is_predicted
    if missed.any():
        yield _about(
            "labels-never-predicted",
            _names(space, missed),
            f"{_count(missed, 'class is a label, but is', 'classes are labels, but are')} never predicted: {{}}. Check "
            "that the model has these classes, and that it orders all classes as the label space does.",
        )
    extra = is_predicted & ~is_label
    labels, also_correct = space.overlaps.as_array().T
    extra[also_correct[is_label[labels]]] = False  # such a prediction can be correct
    if extra.any() and dataset.has_own_classes:
        yield _about(
            "predictions-without-images",
            _names(space, extra),
            f"{_count(extra, 'class is predicted, but is', 'classes are predicted, but are')} no label of any image: "
            "{}. Each such prediction is an error. Check that the labels are complete.",
        )


def _class_sizes(images: LabelInputs, num_classes: int) -> NDArray[np.intp]:
    """Return, for each class, the number of images that have it as a label or as the original label, (C,)."""
    others = images.targets[~images.labels.contain(images.targets)]
    return np.bincount(images.labels.classes, minlength=num_classes) + np.bincount(others, minlength=num_classes)


def _about(kind: str, items: Iterable[str], message: str) -> Advice:
    """Return advice about items. The names of the first items replace `{}` in the message."""
    items = tuple(items)
    more = f", and {len(items) - MAX_NAMED:,} more" if len(items) > MAX_NAMED else ""
    shown = ", ".join(f"{item!r:.60}" for item in items[:MAX_NAMED])
    return Advice(kind, message.replace("{}", shown + more), items)


def _names(space: LabelSpace, mask: Mask) -> list[str]:
    """Return the name of each class in a mask, or its ID if the name is not unique."""
    counts = Counter(space.names)
    indices = np.flatnonzero(mask).tolist()
    return [space.names[index] if counts[space.names[index]] == 1 else space.ids[index] for index in indices]


def _count(items: Mask | list[str], one: str, several: str) -> str:
    count = int(np.count_nonzero(items)) if isinstance(items, np.ndarray) else len(items)
    return f"{count:,} {one if count == 1 else several}"
