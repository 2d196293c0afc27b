"""Recipes: functions that collect the evidence of each data set. RECIPES has one function per data set."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files

import numpy as np
from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.domain import IMAGENET_1K, LabelSpace, Mask
from service.evidence import labels
from service.evidence.annotation import Annotation, read_annotation
from service.evidence.artefacts import ARTEFACT_SUPERCLASSES, Artefacts, read_artefacts, read_grouping
from service.evidence.build_inputs import (
    OWN_LICENSE,
    Inputs,
    check_image_folders,
    check_inputs,
    check_no_imagenet_files,
    file_source,
)
from service.evidence.built_in import BUILT_IN, check_classes, find_built_in, read_images
from service.evidence.class_files import read_classes, read_groups, read_superclasses
from service.evidence.clip_inputs import compute_clip_inputs
from service.evidence.expert_judgments import pack_judgments, read_expert_judgments
from service.evidence.inputs import LABELS_FILE, BundleInputs, ClipInputs, EncoderInfo, LabelInputs, Source
from service.evidence.label_files import read_labels
from service.evidence.label_pairs import count_cooccurrence
from service.evidence.prototype import FILES as MISTAKES
from service.evidence.prototype import read_non_prototypical
from service.taxonomy.imagenet_1k import imagenet_1k
from service.taxonomy.superclasses import Grouping, default_grouping

__all__ = ["Inputs", "gather"]


def gather(dataset: str, inputs: Inputs | None = None) -> BundleInputs:
    """Collect the evidence of a data set.

    Raises:
        InvalidEvidence: If an input is missing or invalid.
    """
    inputs = inputs or Inputs()
    built_in = None if inputs.classes is not None else find_built_in(dataset)
    recipe = RECIPES.get(dataset) if built_in is None else partial(_built_in, built_in)
    if recipe is None and inputs.labels is None:
        if inputs.classes is not None:
            raise InvalidEvidence(
                f"The data set {dataset!r:.80} has classes, but no labels. Add --labels FILE.", field="labels"
            )
        known = ", ".join((*RECIPES, *BUILT_IN))
        raise InvalidEvidence(
            f"Unknown data set {dataset!r:.80}. Expected one of {known}, or --labels FILE for a custom data set.",
            field="dataset",
        )
    check_inputs(dataset, inputs, is_custom=recipe is None or built_in is not None)
    artefacts = _artefacts(dataset, inputs)
    check_image_folders(
        inputs, has_class_folders=built_in is not None and inputs.labels is None and artefacts.samples is None
    )
    annotation = read_annotation(inputs.annotations) if inputs.annotations else None
    label_space, class_sources = _label_space(dataset, built_in, inputs, artefacts)
    images = (recipe or _custom)(_RecipeInputs(inputs, artefacts, annotation, label_space))
    if dataset in NEEDS_NO_INPUT or inputs.labels is not None:
        annotation = None  # it has no effect, and is no source
    pairs, pair_source = count_cooccurrence(built_in or dataset, inputs, images, label_space, annotation)
    clip = compute_clip_inputs(inputs, artefacts, images, label_space)
    return BundleInputs(
        dataset=dataset,
        labels=images,
        label_space=label_space,
        pairs=pairs,
        non_prototypical=_non_prototypical(inputs, images),
        clip=clip,
        sources=(
            *images.sources,
            *class_sources,
            pair_source,
            *_file_sources(inputs, annotation is not None, clip),
            *_artefact_sources(inputs, artefacts, clip is not None),
        ),
        imagenet_m=_imagenet_m(annotation, images) if dataset == "imagenet" else None,
        expert_judgments=_expert_judgments(inputs, images),
        min_cooccurrence=inputs.min_cooccurrence,
    )


@dataclass(frozen=True)
class _RecipeInputs:
    """Arguments of a recipe."""

    inputs: Inputs
    artefacts: Artefacts
    annotation: Annotation | None
    label_space: LabelSpace


def _imagenet(arguments: _RecipeInputs) -> LabelInputs:
    if arguments.annotation is None:
        raise InvalidEvidence(
            "The data set imagenet needs the multi-label annotation. Add --annotations FILE.", field="annotations"
        )
    return labels.imagenet(arguments.annotation)


def _built_in(name: str, arguments: _RecipeInputs) -> LabelInputs:
    """Return the images of a data set of BUILT_IN from a labels file, from the artifacts, or from a folder."""
    if arguments.label_space.name != IMAGENET_1K:
        check_no_imagenet_files(arguments.inputs, f"for {name}")
    if arguments.inputs.labels is not None:
        return check_classes(name, _custom(arguments))
    if arguments.artefacts.samples is not None:
        return labels.single_labels(arguments.artefacts.samples)
    if arguments.inputs.images is not None:
        return read_images(name, arguments.inputs.images)
    raise InvalidEvidence(
        f"The data set {name} needs its images. Add --images DIR with images as {BUILT_IN[name].layout.pattern}, "
        f"--labels FILE, or --artefacts DIR with {name}/samples_info.npz.",
        field="images",
    )


def _custom(arguments: _RecipeInputs) -> LabelInputs:
    assert arguments.inputs.labels is not None, "This is a bug: a custom data set has labels."
    return read_labels(arguments.inputs.labels, arguments.label_space)


RECIPES: Mapping[str, Callable[[_RecipeInputs], LabelInputs]] = {
    "demo": lambda _: labels.demo(),
    "imagenet": _imagenet,
    "imagenet-real": lambda _: labels.imagenet_real(),
}
NEEDS_NO_INPUT = frozenset({"demo", "imagenet-real"})
ARTEFACT_FOLDERS = {"imagenet-real": "imagenet"}  # other data sets have a folder with their own name


def _artefacts(dataset: str, inputs: Inputs) -> Artefacts:
    if inputs.artefacts is None:
        return Artefacts(None, None, None, ())
    return read_artefacts(inputs.artefacts, ARTEFACT_FOLDERS.get(dataset, dataset))


def _label_space(
    dataset: str, built_in: str | None, inputs: Inputs, artefacts: Artefacts
) -> tuple[LabelSpace, tuple[Source, ...]]:
    """Return the classes of a data set, and their sources."""
    own = None if built_in is None else BUILT_IN[built_in].label_space()
    if inputs.classes is not None:
        own = read_classes(inputs.classes, dataset, inputs.overlaps)
    if own is None or own.name == IMAGENET_1K:
        grouping, source = _grouping(inputs, artefacts)
        wordnet = _data_file_source("WordNet 3.0", "Princeton University", "WordNet 3.0 license", "wordnet.json")
        return replace(imagenet_1k(), superclasses=grouping.superclasses), (wordnet, source)
    if inputs.superclasses is not None:
        own = read_superclasses(inputs.superclasses, own)
    if inputs.groups is not None:
        own = read_groups(inputs.groups, own)
    paths = {name: getattr(inputs, name) for name in ("classes", "overlaps", "superclasses", "groups")}
    sources = [file_source(name, path, OWN_LICENSE) for name, path in paths.items() if path is not None]
    if inputs.classes is None:
        sources.append(Source("classes", f"{built_in}, as Errata includes them", OWN_LICENSE))
    return own, tuple(sources)


def _grouping(inputs: Inputs, artefacts: Artefacts) -> tuple[Grouping, Source]:
    """Return the superclasses from the --superclasses file, else from the artifacts, else the default superclasses."""
    if inputs.superclasses is not None:
        return read_grouping(inputs.superclasses), file_source("superclasses", inputs.superclasses, OWN_LICENSE)
    if artefacts.superclasses is not None:
        sources = (source for source in artefacts.sources if source.name == ARTEFACT_SUPERCLASSES)
        return artefacts.superclasses, next(sources)
    source = _data_file_source("superclasses", "Errata's default grouping", "Apache-2.0", "superclasses.json")
    return default_grouping(), source


def _data_file_source(name: str, origin: str, license_: str, file: str) -> Source:
    """Return the source of a data file of the taxonomy."""
    content = (files("service.taxonomy") / "data" / file).read_bytes()
    return Source(name, f"{origin}, service/taxonomy/data/{file}", license_, hashlib.sha256(content).hexdigest())


def _non_prototypical(inputs: Inputs, images: LabelInputs) -> Mask | None:
    if inputs.mistakes is None:
        return None
    names = {name.encode() for name in read_non_prototypical(inputs.mistakes)}
    judged = images.names[images.rows].tolist()
    return np.array([name.rsplit(b"/", 1)[-1] in names for name in judged], dtype=bool)


def _expert_judgments(inputs: Inputs, images: LabelInputs) -> NDArray[np.int32] | None:
    if inputs.mistakes is None:
        return None
    return pack_judgments(read_expert_judgments(inputs.mistakes), images.names[images.rows].tolist())


def _imagenet_m(annotation: Annotation | None, images: LabelInputs) -> Mask | None:
    if annotation is None or annotation.imagenet_m is None:
        return None
    judged = images.names[images.rows].tolist()
    return np.array([name.decode() in annotation.imagenet_m for name in judged], dtype=bool)


def _file_sources(inputs: Inputs, uses_annotation: bool, clip: ClipInputs | None) -> tuple[Source, ...]:
    """Return the local files that the evidence uses, with their digests."""
    sources = []
    if inputs.annotations is not None and uses_annotation:
        sources.append(file_source("multi-label annotation", inputs.annotations, "Apache-2.0"))
    if inputs.labels is not None:
        sources.append(file_source(LABELS_FILE, inputs.labels, OWN_LICENSE))
    if inputs.mistakes is not None:
        sources += [file_source("non-prototypical images", inputs.mistakes / name, "Apache-2.0") for name in MISTAKES]
    if clip is not None:
        if inputs.vocabulary is not None:
            sources.append(file_source("vocabulary", inputs.vocabulary, OWN_LICENSE))
        sources.append(_encoder_source(inputs.encoder, clip.encoder))
        if inputs.train_images is not None:
            terms = "ImageNet's terms" if inputs.classes is None else OWN_LICENSE
            sources.append(Source("training images", "a local folder", terms))
    return tuple(sources)


def _encoder_source(name: str, info: EncoderInfo | None) -> Source:
    if info is None:
        return Source("CLIP encoder", name, OWN_LICENSE)
    origin = f"{name}, {info.architecture}, weights {info.weights}, activation {info.activation}, {info.library}"
    return Source("CLIP encoder", origin, OWN_LICENSE, info.weights_sha256)


def _artefact_sources(inputs: Inputs, artefacts: Artefacts, uses_encoder: bool) -> tuple[Source, ...]:
    """Return the artifact files that the evidence uses, except for the superclasses."""
    uses_neighbors = uses_encoder and inputs.train_images is None
    unused = {ARTEFACT_SUPERCLASSES, *(() if uses_neighbors else ("valid_clip_knn.npz",))}
    return tuple(source for source in artefacts.sources if source.name not in unused)
