"""CLIP evidence of a build: embeddings, nearest training images, and the decisions of the out-of-vocabulary rule."""

from pathlib import Path

import numpy as np
from errata.errors import InvalidEvidence
from numpy.typing import NDArray

from service.domain import IMAGENET_1K, Classes, LabelSpace
from service.evidence.artefacts import NEIGHBORS, Artefacts
from service.evidence.build_inputs import Inputs
from service.evidence.encoder import CachedEncoder, describe, load_encoder
from service.evidence.images import class_folders, find_images
from service.evidence.inputs import ClipInputs, LabelInputs
from service.evidence.neighbors import nearest_classes
from service.evidence.proposals import proposals_of
from service.evidence.vocabulary import ClipImages, decide_oov
from service.evidence.vocabulary_file import read_vocabulary
from service.taxonomy.imagenet_1k import imagenet_1k


def compute_clip_inputs(
    inputs: Inputs, artefacts: Artefacts, images: LabelInputs, label_space: LabelSpace
) -> ClipInputs | None:
    """Return the CLIP evidence; None without an encoder. The rule then abstains.

    Raises:
        InvalidEvidence: If there is an encoder, but the neighbors, the training images, the proposals, or an image are
            missing, or if the encoder fails.
    """
    vocabulary = None if inputs.vocabulary is None else read_vocabulary(inputs.vocabulary, label_space)
    if not inputs.encoder:
        return None
    if artefacts.neighbors is None and inputs.train_images is None:
        other = ", or --artefacts DIR with valid_clip_knn.npz" if label_space.name == IMAGENET_1K else ""
        raise InvalidEvidence(
            f"--encoder needs training images for the nearest neighbors. Add --train-images DIR{other}.",
            field="train_images",
        )
    proposals = proposals_of(label_space, vocabulary)
    if proposals is None:
        raise InvalidEvidence(
            "--encoder needs texts that name no class. Add the column synset to the classes, or a file text,near with "
            "--vocabulary.",
            field="vocabulary",
        )
    if inputs.cache is None:
        raise InvalidEvidence("The cache folder is missing. An encoder needs one for its embeddings.", field="cache")
    encoder = CachedEncoder(load_encoder(inputs.encoder), inputs.cache, inputs.progress)
    paths = _image_paths(images, label_space)
    names = [name.decode() for name in images.names[images.rows].tolist()]
    files = paths if inputs.images is None else find_images(inputs.images, names, paths, label_space)
    train = None if inputs.train_images is None else _find_training_images(inputs.train_images, label_space)
    embeddings = encoder.images(files)
    if train is None:
        neighbors = _published_neighbors(artefacts, images, paths)
    else:
        train_files, train_classes = train
        neighbors = nearest_classes(embeddings, encoder.image_chunks(train_files, "training images"), train_classes)
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


def _find_training_images(folder: Path, label_space: LabelSpace) -> tuple[list[str], Classes]:
    """Return the paths of the training images, and their classes."""
    train = class_folders(folder, label_space)
    if len(train.names) < NEIGHBORS:
        raise InvalidEvidence(
            f"Only {len(train.names)} training images. Pass at least {NEIGHBORS} with --train-images.",
            field="train_images",
        )
    return [str(folder.resolve() / name) for name in train.names], train.targets


def _published_neighbors(artefacts: Artefacts, images: LabelInputs, paths: list[str]) -> NDArray[np.int16]:
    """Return, from the artifacts, the classes of the training images nearest to each evaluated image, (N, 10)."""
    assert artefacts.neighbors is not None, "This is a bug: compute_clip_inputs checks for neighbors."
    rows = {name: row for row, name in enumerate(_row_names(artefacts, images))}
    if len(artefacts.neighbors) != len(rows):
        raise InvalidEvidence(
            f"valid_clip_knn.npz: {len(artefacts.neighbors)} rows, but {len(rows)} images. Use files of one download.",
            field="artefacts",
        )
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
    """Return the path of each evaluated image: `wnid/file` for imagenet-1k, else the name of the image."""
    names = images.names[images.rows].tolist()
    if label_space.name != IMAGENET_1K:
        return [name.decode() for name in names]
    return _paths(names, images.targets.tolist())


def _paths(names: list[bytes], targets: list[int]) -> list[str]:
    ids, files = imagenet_1k().ids, map(bytes.decode, names)
    return [file if "/" in file else f"{ids[target]}/{file}" for file, target in zip(files, targets, strict=True)]
