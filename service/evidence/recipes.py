"""Recipes: collect the evidence of each data set. RECIPES has one function per data set."""

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
from service.evidence.artefacts import NEIGHBORS, Artefacts, read_artefacts, read_grouping
from service.evidence.build_inputs import OWN_LICENSE, Inputs, check_inputs, check_no_imagenet_files, file_source
from service.evidence.built_in import BUILT_IN, check_classes, find_built_in, has_validation_images, read_images
from service.evidence.class_files import read_classes, read_groups, read_superclasses
from service.evidence.cooccurrence import count_pairs
from service.evidence.encoder import CachedEncoder, describe, load_encoder
from service.evidence.expert_judgments import pack_judgments, read_expert_judgments
from service.evidence.images import class_folders, find_images
from service.evidence.inputs import BundleInputs, ClipInputs, CooccurrenceInputs, EncoderInfo, LabelInputs, Source
from service.evidence.label_files import read_labels
from service.evidence.label_pairs import pairs_of_labels, read_pairs
from service.evidence.neighbors import nearest_classes
from service.evidence.proposals import proposals_of
from service.evidence.prototype import FILES as MISTAKES
from service.evidence.prototype import read_non_prototypical
from service.evidence.vocabulary import ClipImages, decide_oov
from service.evidence.vocabulary_file import read_vocabulary
from service.taxonomy.imagenet_1k import imagenet_1k
from service.taxonomy.superclasses import Grouping, default_grouping
from service.taxonomy.wordnet import load_taxonomy

__all__ = ["Inputs", "gather"]

REAL_SOURCE = Source(
    "co-occurrence", "pairs of ReaL labels (Beyer et al. 2020) of validation images that {which}", "Apache-2.0"
)


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
    annotation = read_annotation(inputs.annotations) if inputs.annotations else None
    label_space, class_sources = _label_space(dataset, built_in, inputs, artefacts)
    images = (recipe or _custom)(_RecipeInputs(inputs, artefacts, annotation, label_space))
    if dataset in NEEDS_NO_INPUT:
        annotation = None  # co-occurrence is counted over all images
    pairs, pair_source = _pairs(built_in or dataset, inputs, images, label_space, annotation)
    clip = _clip(inputs, artefacts, images, label_space)
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
        return labels.folders(arguments.artefacts.samples)
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
COUNTS_OWN_PAIRS = frozenset({"imagenet-real"})  # co-occurrence is counted over the labels of the data set itself
ARTEFACT_FOLDERS = {"imagenet-real": "imagenet"}  # the validation images; other data sets: a folder with their name


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
    paths = {
        "classes": inputs.classes,
        "overlaps": inputs.overlaps,
        "superclasses": inputs.superclasses,
        "groups": inputs.groups,
    }
    sources = [file_source(name, path, OWN_LICENSE) for name, path in paths.items() if path is not None]
    if inputs.classes is None:
        sources.append(Source("classes", f"{built_in}, as Errata includes them", OWN_LICENSE))
    return own, tuple(sources)


def _grouping(inputs: Inputs, artefacts: Artefacts) -> tuple[Grouping, Source]:
    """Return the superclasses from the --superclasses file, else from the artifacts, else the default superclasses."""
    if inputs.superclasses is not None:
        return read_grouping(inputs.superclasses), file_source("superclasses", inputs.superclasses, OWN_LICENSE)
    if artefacts.superclasses is not None:
        return artefacts.superclasses, next(
            source for source in artefacts.sources if source.name == "superclasses.json"
        )
    return default_grouping(), _data_file_source(
        "superclasses", "Errata's default grouping", "Apache-2.0", "superclasses.json"
    )


def _data_file_source(name: str, origin: str, license_: str, file: str) -> Source:
    """Return the source of a data file of the taxonomy."""
    content = (files("service.taxonomy") / "data" / file).read_bytes()
    return Source(name, f"{origin}, service/taxonomy/data/{file}", license_, hashlib.sha256(content).hexdigest())


def _pairs(
    dataset: str, inputs: Inputs, images: LabelInputs, label_space: LabelSpace, annotation: Annotation | None
) -> tuple[CooccurrenceInputs | None, Source]:
    """Count the co-occurrences of classes."""
    if inputs.cooccurrence is not None:
        return read_pairs(inputs.cooccurrence, images, label_space, inputs.min_cooccurrence)
    if label_space.name != IMAGENET_1K:
        return pairs_of_labels(images, inputs.min_cooccurrence)
    if dataset in COUNTS_OWN_PAIRS:
        return _own_pairs(images)
    if has_validation_images(dataset) and inputs.labels is None:
        return _own_pairs(labels.imagenet_real())
    return _real_pairs(*_uncounted_images(dataset, annotation, images))


def _own_pairs(images: LabelInputs) -> tuple[CooccurrenceInputs, Source]:
    """Count co-occurrences among the labels of imagenet-real. Problematic images add no pairs."""
    rows = np.flatnonzero(~images.problematic)
    pairs = count_pairs(images.labels.take(rows), (images.rows[rows] + 1).astype(np.int32))
    return pairs, Source(REAL_SOURCE.name, REAL_SOURCE.origin.format(which="have any"), REAL_SOURCE.license)


def _uncounted_images(dataset: str, annotation: Annotation | None, images: LabelInputs) -> tuple[Mask | None, str]:
    """Return the mask of the validation images that do not count for co-occurrence, and which ones count."""
    if annotation is None and dataset not in BUILT_IN:
        return None, "have any"
    if annotation is None and not has_validation_images(dataset):
        return labels.annotated_images(), "are not in the multi-label annotation"
    if annotation is not None:
        names, which = {name.encode() for name in annotation.images}, "are not in the multi-label annotation"
    else:  # an image is no evidence for its own errors
        names, which = {name.rpartition(b"/")[2] for name in images.names.tolist()}, "are not in the data set"
    return np.array([name in names for name in labels.validation_names().tolist()]), which


def _real_pairs(uncounted: Mask | None, which: str) -> tuple[CooccurrenceInputs, Source]:
    """Count co-occurrences of ReaL and original labels in the other images."""
    image_labels, has_real_labels = labels.real_and_original_labels()
    rows = np.flatnonzero(has_real_labels if uncounted is None else has_real_labels & ~uncounted)
    pairs = count_pairs(image_labels.take(rows), (rows + 1).astype(np.int32))
    return pairs, Source(REAL_SOURCE.name, REAL_SOURCE.origin.format(which=which), REAL_SOURCE.license)


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


def _clip(inputs: Inputs, artefacts: Artefacts, images: LabelInputs, label_space: LabelSpace) -> ClipInputs | None:
    """Return the CLIP evidence; None without encoder, neighbors, or proposals: rule 5 abstains."""
    vocabulary = None if inputs.vocabulary is None else read_vocabulary(inputs.vocabulary, label_space)
    if not inputs.encoder or (artefacts.neighbors is None and inputs.train_images is None):
        return None
    proposals = proposals_of(label_space, vocabulary)
    if proposals is None:
        return None
    if inputs.cache is None:
        raise InvalidEvidence("The cache folder is missing. An encoder needs one for its embeddings.", field="cache")
    encoder = CachedEncoder(load_encoder(inputs.encoder), inputs.cache, inputs.progress)
    paths = _image_paths(images, label_space)
    if inputs.images is not None:
        paths = find_images(inputs.images, paths)
    embeddings = encoder.images(paths)
    neighbors = _neighbors(inputs, artefacts, images, label_space, encoder, embeddings)
    texts = encoder.texts(proposals.texts)
    if texts.shape[1] != embeddings.shape[1]:
        raise InvalidEvidence(
            f"{inputs.encoder}: expected text embeddings of {embeddings.shape[1]} dimensions like those of images, "
            f"got {texts.shape[1]}.",
            field="encoder",
        )
    clip_images = ClipImages(embeddings, images.effective_targets, images.labels, neighbors)
    decisions = decide_oov(clip_images, texts, proposals, inputs.progress)
    encoder_info = describe(encoder.encoder)
    return ClipInputs(neighbors, embeddings, texts, decisions.oov, decisions.label_preferred, encoder_info, proposals)


def _neighbors(
    inputs: Inputs,
    artefacts: Artefacts,
    images: LabelInputs,
    label_space: LabelSpace,
    encoder: CachedEncoder,
    embeddings: NDArray[np.float32],
) -> NDArray[np.int16]:
    """Return the classes of the training images nearest to each evaluated image, (N, 10)."""
    if inputs.train_images is not None:
        train = class_folders(inputs.train_images, label_space)
        if len(train.names) < NEIGHBORS:
            raise InvalidEvidence(
                f"Only {len(train.names)} training images. Pass at least {NEIGHBORS} with --train-images.",
                field="train_images",
            )
        paths = [str(inputs.train_images.resolve() / name) for name in train.names]
        chunks = encoder.image_chunks(paths, "training images")
        return nearest_classes(embeddings, chunks, train.targets)
    assert artefacts.neighbors is not None, "This is a bug: _clip checks for neighbors."
    rows = {name: row for row, name in enumerate(_row_names(artefacts, images))}
    if len(artefacts.neighbors) != len(rows):
        raise InvalidEvidence(
            f"valid_clip_knn.npz: {len(artefacts.neighbors)} rows, but {len(rows)} images. Use files of one download.",
            field="artefacts",
        )
    paths = _image_paths(images, label_space)
    missing = [path for path in paths if path not in rows]
    if missing:
        raise InvalidEvidence(
            f"samples_info.npz: image {missing[0]!r:.80} is missing. Include all evaluated images.", field="artefacts"
        )
    return artefacts.neighbors[[rows[path] for path in paths]]


def _row_names(artefacts: Artefacts, images: LabelInputs) -> list[str]:
    """Return `wnid/file` of each image, in the order of the artifacts if they exist, else sorted by path."""
    if artefacts.samples is not None:
        return list(artefacts.samples.names)
    return sorted(_paths(images.names.tolist(), images.all_targets.tolist()))


def _image_paths(images: LabelInputs, label_space: LabelSpace) -> list[str]:
    """Return the path of each evaluated image: `wnid/file` for imagenet-1k, and its name for other classes."""
    names = images.names[images.rows].tolist()
    if label_space.name != IMAGENET_1K:
        return [name.decode() for name in names]
    return _paths(names, images.targets.tolist())


def _paths(names: list[bytes], targets: list[int]) -> list[str]:
    taxonomy = load_taxonomy()
    paths = []
    for name, target in zip(names, targets, strict=True):
        file = name.decode()
        paths.append(file if "/" in file else f"{taxonomy.wordnet_id(target)}/{file}")
    return paths


def _file_sources(inputs: Inputs, uses_annotation: bool, clip: ClipInputs | None) -> tuple[Source, ...]:
    """Return the local files that the evidence uses, with their digests."""
    sources = []
    if inputs.annotations is not None and uses_annotation:
        sources.append(file_source("multi-label annotation", inputs.annotations, "Apache-2.0"))
    if inputs.labels is not None:
        sources.append(file_source("labels", inputs.labels, OWN_LICENSE))
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
        return Source("CLIP encoder", name, "its author's")
    origin = f"{name}, {info.architecture}, weights {info.weights}, activation {info.activation}, {info.library}"
    return Source("CLIP encoder", origin, "its author's", info.weights_sha256)


def _artefact_sources(inputs: Inputs, artefacts: Artefacts, uses_encoder: bool) -> tuple[Source, ...]:
    """Return the artifact files that the evidence uses, except for the superclasses."""
    uses_neighbors = uses_encoder and inputs.train_images is None
    unused = {"superclasses.json", *(() if uses_neighbors else ("valid_clip_knn.npz",))}
    return tuple(source for source in artefacts.sources if source.name not in unused)
