"""Recipes: which facts make up the evidence of each data set. One function a data set, one row in RECIPES."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.domain import Mask
from service.evidence import labels
from service.evidence.annotation import Annotation, read_annotation
from service.evidence.artefacts import Artefacts, read_artefacts, read_grouping
from service.evidence.cooccurrence import count_pairs
from service.evidence.custom_labels import read_own_labels
from service.evidence.encoder import CachedEncoder, Progress, load_encoder
from service.evidence.images import class_folders, find_images
from service.evidence.inputs import ClipInputs, CooccurrenceInputs, Facts, LabelInputs, Source
from service.evidence.neighbors import nearest_classes
from service.evidence.prototype import FILES as MISTAKES
from service.evidence.prototype import read_non_prototypical
from service.evidence.vocabulary import decide_oov
from service.storage import sha256_of
from service.taxonomy.proposals import Proposals
from service.taxonomy.superclasses import Grouping, default_grouping
from service.taxonomy.wordnet import load_taxonomy

REAL_SOURCE = Source(
    "co-occurrence", "pairs of ReaL labels (Beyer et al. 2020) of validation images that {which}", "Apache-2.0"
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def _silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Inputs:
    """The files that a build is given; all but what a data set needs may be missing."""

    annotations: Path | None = None
    mistakes: Path | None = None
    artefacts: Path | None = None
    superclasses: Path | None = None
    labels: Path | None = None
    encoder: str = ""  # MODULE:CLASS
    images: Path | None = None
    train_images: Path | None = None
    cache: Path | None = None  # of embeddings; needed with an encoder
    progress: Progress = field(default=_silent)


def gather(dataset: str, inputs: Inputs | None = None) -> Facts:
    """Return the evidence of a data set; raise InvalidEvidence for an input that is missing or isn't what it should."""
    inputs = inputs or Inputs()
    recipe = RECIPES.get(dataset)
    if recipe is None and not _NAME.fullmatch(dataset):
        raise InvalidEvidence(f"expected a data set's name of a-z, 0-9, _.- , got {dataset!r:.80}", field="dataset")
    if recipe is None and inputs.labels is None:
        known = ", ".join(RECIPES)
        raise InvalidEvidence(
            f"expected one of the data sets {known}, or --labels FILE for one of your own, got {dataset!r:.80}",
            field="dataset",
        )
    if recipe is not None and inputs.labels is not None:
        raise InvalidEvidence(f"{dataset} has labels of its own: name your data set otherwise", field="dataset")
    artefacts = read_artefacts(inputs.artefacts, dataset) if inputs.artefacts else Artefacts(None, None, None, ())
    annotation = read_annotation(inputs.annotations) if inputs.annotations else None
    images = (recipe or _own)(_Given(inputs, artefacts, annotation))
    grouping, grouping_source = _grouping(inputs, artefacts)
    if dataset in NEEDS_NO_INPUT:
        annotation = None  # co-occurrence is counted over all images
    pairs, pair_source = _pairs(annotation)
    clip = _clip(inputs, artefacts, images, grouping)
    return Facts(
        dataset=dataset,
        labels=images,
        superclasses=grouping,
        pairs=pairs,
        non_prototypical=_non_prototypical(inputs, images),
        clip=clip,
        sources=(
            *images.sources,
            _shipped("WordNet 3.0", "Princeton University", "WordNet 3.0 license", "wordnet.json"),
            grouping_source,
            pair_source,
            *_files(inputs, annotation is not None, clip is not None),
            *_used(inputs, artefacts, clip is not None),
        ),
        imagenet_m=_imagenet_m(annotation, images) if dataset == "imagenet" else None,
    )


@dataclass(frozen=True)
class _Given:
    """What a recipe may draw on."""

    inputs: Inputs
    artefacts: Artefacts
    annotation: Annotation | None


def _imagenet(given: _Given) -> LabelInputs:
    if given.annotation is None:
        raise InvalidEvidence("imagenet needs the multi-label annotation: --annotations FILE", field="annotations")
    return labels.imagenet(given.annotation)


def _imagenet_a(given: _Given) -> LabelInputs:
    samples = given.artefacts.samples
    if samples is None and given.inputs.images is not None:
        samples = class_folders(given.inputs.images)
    if samples is None:
        raise InvalidEvidence(
            "imagenet-a needs its samples: --artefacts with imagenet-a/samples_info.npz, or --images DIR of wnid/file",
            field="images",
        )
    return labels.folders(samples)


def _own(given: _Given) -> LabelInputs:
    assert given.inputs.labels is not None, "this is a bug: gather asks for labels"
    return labels.own(read_own_labels(given.inputs.labels))


RECIPES: Mapping[str, Callable[[_Given], LabelInputs]] = {
    "demo": lambda _: labels.demo(),
    "imagenet": _imagenet,
    "imagenet-a": _imagenet_a,
    "imagenet-real": lambda _: labels.imagenet_real(),
}
NEEDS_NO_INPUT = frozenset({"demo", "imagenet-real"})


def _grouping(inputs: Inputs, artefacts: Artefacts) -> tuple[Grouping, Source]:
    """Return the superclasses: a file of their own, else the artefacts', else the default."""
    if inputs.superclasses is not None:
        return read_grouping(inputs.superclasses), _file("superclasses", inputs.superclasses, "its author's")
    if artefacts.superclasses is not None:
        return artefacts.superclasses, next(
            source for source in artefacts.sources if source.name == "superclasses.json"
        )
    return default_grouping(), _shipped("superclasses", "Errata's default grouping", "Apache-2.0", "superclasses.json")


def _shipped(name: str, origin: str, license_: str, file: str) -> Source:
    """Return the source of a part that ships with the taxonomy."""
    content = (files("service.taxonomy") / "data" / file).read_bytes()
    return Source(name, f"{origin}, service/taxonomy/data/{file}", license_, hashlib.sha256(content).hexdigest())


def _pairs(annotation: Annotation | None) -> tuple[CooccurrenceInputs, Source]:
    """Return how often classes are seen together in ReaL-labelled images that the annotation doesn't hold."""
    result, judged = labels.real_and_original_labels()
    counted = judged.copy()
    which = "have any"
    if annotation is not None:
        names = {name.encode() for name in annotation.images}
        counted &= np.array([name not in names for name in labels.validation_names().tolist()])
        which = "are not in the multi-label annotation"
    rows = np.flatnonzero(counted)
    pairs = count_pairs(result.take(rows), (rows + 1).astype(np.int32))
    return pairs, Source(REAL_SOURCE.name, REAL_SOURCE.origin.format(which=which), REAL_SOURCE.license)


def _non_prototypical(inputs: Inputs, images: LabelInputs) -> Mask | None:
    if inputs.mistakes is None:
        return None
    names = {name.encode() for name in read_non_prototypical(inputs.mistakes)}
    judged = images.names[images.rows].tolist()
    return np.array([name.rsplit(b"/", 1)[-1] in names for name in judged], dtype=bool)


def _imagenet_m(annotation: Annotation | None, images: LabelInputs) -> Mask | None:
    if annotation is None or annotation.imagenet_m is None:
        return None
    judged = images.names[images.rows].tolist()
    return np.array([name.decode() in annotation.imagenet_m for name in judged], dtype=bool)


def _clip(inputs: Inputs, artefacts: Artefacts, images: LabelInputs, grouping: Grouping) -> ClipInputs | None:
    """Return what the encoder says; None, so that the rule abstains, without an encoder or without neighbors."""
    if not inputs.encoder or (artefacts.neighbors is None and inputs.train_images is None):
        return None
    if inputs.cache is None:
        raise InvalidEvidence("an encoder needs a folder for its embeddings", field="cache")
    encoder = CachedEncoder(load_encoder(inputs.encoder), inputs.cache, inputs.progress)
    paths = _wordnet_paths(images)
    if inputs.images is not None:
        paths = find_images(inputs.images, paths)
    embedded = encoder.images(paths)
    neighbors = _neighbors(inputs, artefacts, images, encoder, embedded)
    proposals = Proposals(load_taxonomy(), grouping.same_superclass())
    texts = encoder.texts(proposals.texts)
    if texts.shape[1] != embedded.shape[1]:
        raise InvalidEvidence(
            f"{inputs.encoder}: expected texts of {embedded.shape[1]} dimensions as images, got {texts.shape[1]}",
            field="encoder",
        )
    oov = decide_oov(embedded, texts, images.targets, neighbors, proposals, inputs.progress)
    return ClipInputs(neighbors, embedded, texts, oov)


def _neighbors(
    inputs: Inputs, artefacts: Artefacts, images: LabelInputs, encoder: CachedEncoder, embedded: NDArray[np.float32]
) -> NDArray[np.int16]:
    """Return the classes of each judged image's nearest training images, (N, 10)."""
    if inputs.train_images is not None:
        train = class_folders(inputs.train_images)
        if len(train.names) < 10:
            raise InvalidEvidence(f"expected at least 10 training images, got {len(train.names)}", field="train_images")
        chunks = encoder.image_chunks([str(inputs.train_images.resolve() / name) for name in train.names])
        return nearest_classes(embedded, chunks, train.targets)
    assert artefacts.neighbors is not None, "this is a bug: _clip asks for neighbors"
    rows = {name: row for row, name in enumerate(_positional(artefacts, images))}
    if len(artefacts.neighbors) != len(rows):
        raise InvalidEvidence(
            f"valid_clip_knn.npz: expected {len(rows)} rows, one an image, got {len(artefacts.neighbors)}",
            field="artefacts",
        )
    missing = [path for path in _wordnet_paths(images) if path not in rows]
    if missing:
        raise InvalidEvidence(
            f"samples_info.npz: expected all judged images, got none named {missing[0]!r:.80}", field="artefacts"
        )
    return artefacts.neighbors[[rows[path] for path in _wordnet_paths(images)]]


def _positional(artefacts: Artefacts, images: LabelInputs) -> list[str]:
    """Return `wnid/file` of each positional row: the artefacts' order, else all images sorted by path."""
    if artefacts.samples is not None:
        return list(artefacts.samples.names)
    return sorted(_paths(images.names.tolist(), images.all_targets.tolist()))


def _wordnet_paths(images: LabelInputs) -> list[str]:
    """Return `wnid/file` of each judged image."""
    return _paths(images.names[images.rows].tolist(), images.targets.tolist())


def _paths(names: list[bytes], targets: list[int]) -> list[str]:
    taxonomy = load_taxonomy()
    result = []
    for name, target in zip(names, targets, strict=True):
        file = name.decode()
        result.append(file if "/" in file else f"{taxonomy.wordnet_id(target)}/{file}")
    return result


def _files(inputs: Inputs, annotated: bool, compared: bool) -> tuple[Source, ...]:
    """Return the local files that facts came from, with their digests; `compared`: an encoder was asked."""
    result = []
    if inputs.annotations is not None and annotated:
        result.append(_file("multi-label annotation", inputs.annotations, "Apache-2.0"))
    if inputs.labels is not None:
        result.append(_file("labels", inputs.labels, "its author's"))
    if inputs.mistakes is not None:
        result += [_file("non-prototypical images", inputs.mistakes / name, "Apache-2.0") for name in MISTAKES]
    if compared:
        result.append(Source("CLIP encoder", inputs.encoder, "its author's"))
        if inputs.train_images is not None:
            result.append(Source("training images", "a local folder", "ImageNet's terms"))
    return tuple(result)


def _file(name: str, path: Path, license_: str) -> Source:
    return Source(name, f"local file {path.name}", license_, sha256_of(path))


def _used(inputs: Inputs, artefacts: Artefacts, compared: bool) -> tuple[Source, ...]:
    """Return the artefacts' files that facts came from; the superclasses stand by themselves."""
    neighbors = compared and inputs.train_images is None
    unused = {"superclasses.json", *(() if neighbors else ("valid_clip_knn.npz",))}
    return tuple(source for source in artefacts.sources if source.name not in unused)
