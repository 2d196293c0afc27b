"""Read a bundle from an uploaded tar file. The upload is not trusted.

The tar is read one header at a time. It may contain only folders and plain files with the names of a bundle's files.
Links, devices, sparse files, and long names are refused. Extended headers are skipped, so the names and sizes in them
have no effect.
"""

import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from errata.errors import InvalidEvidence, Unavailable

from service.evidence.build import verify_evidence, write_bundle
from service.evidence.build_inputs import is_dataset_name
from service.evidence.bundle import Bundle, open_bundle
from service.evidence.input_files import MAX_NAME, text_problem
from service.evidence.manifest import LABEL_SPACE, MANIFEST, MAX_MANIFEST, read_manifest
from service.evidence.relabeled import inputs_of
from service.storage import CHUNK

MAX_FILES = 64
MAX_EXTENDED_HEADER = 64 << 10
_BLOCK = tarfile.BLOCKSIZE
_ARRAY = re.compile(r"[a-z0-9_]{1,64}\.npy")
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE)
_REMEDY = "Create the tar with: tar -cf bundle.tar -C BUNDLE ."


def read_bundle_tar(content: BinaryIO, folder: Path) -> Path:
    """Check all digests of the bundle in a tar, and write the bundle to a folder.

    The counts of the manifest, which the digest does not cover, are computed again.

    Args:
        content: An uncompressed tar.
        folder: An empty folder for temporary files.

    Returns:
        The folder of the bundle.

    Raises:
        InvalidEvidence: The tar or the bundle in it is invalid.
        Unavailable: The disk is full.
    """
    uploaded, written = folder / "uploaded", folder / "bundle"
    try:
        uploaded.mkdir()
        extract(content, uploaded)
        dataset = read_manifest(uploaded).dataset
        if not is_dataset_name(dataset):
            raise InvalidEvidence(f"The bundle has the invalid data set name {dataset!r:.80}.", field="dataset")
        problems = verify_evidence(uploaded)
        bundle = open_bundle(uploaded)
        if not problems:
            problems += [*_array_problems(bundle), *_name_problems(bundle.image_names)]
        if not problems and write_bundle(inputs_of(bundle), written) != bundle.digest:
            problems.append("digest: the bundle has content that its manifest does not describe")
    except InvalidEvidence as error:
        message = error.message.replace(f"{uploaded}/", "").replace(str(uploaded), "the bundle")
        raise InvalidEvidence(f"Invalid bundle: {message}", field="content") from error
    except OSError as error:
        raise Unavailable(f"The bundle cannot be stored: {error.strerror or error}.") from error
    except Exception as error:  # numpy raises many types of errors for arrays with invalid content
        raise InvalidEvidence(f"Invalid bundle: {error!r:.200}. Build it again.", field="content") from error
    if problems:
        raise InvalidEvidence(f"Invalid bundle: {'; '.join(problems)[:500]}. Build it again.", field="content")
    return written


def _array_problems(bundle: Bundle) -> list[str]:
    """Return the problems of arrays that a build never writes, although all values are in range."""
    evidence = bundle.evidence
    pairs = np.zeros((0, 2), dtype=np.int16) if bundle.pairs is None else bundle.pairs.classes
    labels = np.column_stack([evidence.labels.samples, evidence.labels.classes])
    problems = {
        "rows: expected ascending numbers": (bundle.rows[1:] <= bundle.rows[:-1]).any(),
        "problematic: no image is evaluated": evidence.problematic.all(),
        "label_classes: an image has a label twice": len(np.unique(labels, axis=0)) < len(labels),
        "pair_classes: expected the lower class first": (pairs[:, 0] >= pairs[:, 1]).any(),
        "pair_classes: a pair occurs twice": len(np.unique(pairs, axis=0)) < len(pairs),
    }
    return [problem for problem, is_present in problems.items() if is_present]


def _name_problems(names: Sequence[str]) -> list[str]:
    """Return the first problem of the names of images. Names must be valid texts and distinct."""
    problems = (text_problem("file_name", name, MAX_NAME) for name in names)
    if problem := next(filter(None, problems), ""):
        return [f"names: {problem}"]
    return [] if len(set(names)) == len(names) else ["names: two images have the same name"]


def extract(content: BinaryIO, folder: Path) -> None:
    """Write the files of a bundle in a tar to a folder.

    Raises:
        InvalidEvidence: The tar is invalid, or it contains other files than those of a bundle.
    """
    names: set[str] = set()
    for name, size in _members(content):
        if name in names or len(names) == MAX_FILES:
            raise _error(f"{name!r} occurs twice" if name in names else f"more than {MAX_FILES} files")
        if name == MANIFEST and size > MAX_MANIFEST:
            raise _error(f"{name} has {size:,} bytes, more than {MAX_MANIFEST:,}")
        names.add(name)
        with (folder / name).open("xb") as file:
            _copy(content, size, file)
    if MANIFEST not in names:
        raise _error(f"{MANIFEST} is missing")


def _members(content: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yield the name and size of each file. Before the next file, the caller must read the content from the stream."""
    prefix: str | None = None
    while (block := content.read(_BLOCK)).strip(b"\0"):
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise _error(f"invalid header ({error!s:.80})") from error
        if header.size < 0:
            raise _error("a file has a negative size")
        if header.type in _EXTENDED and header.size <= MAX_EXTENDED_HEADER:
            _copy(content, header.size, None)
            continue
        if header.type == tarfile.DIRTYPE and header.size == 0:
            continue
        if header.type not in _FILES:
            raise _error(f"{header.name!r:.80} is not a plain file")
        parent, _, name = header.name.removeprefix("./").rpartition("/")
        if prefix is None:
            prefix = parent
        if parent != prefix or "/" in parent or not (_ARRAY.fullmatch(name) or name in (MANIFEST, LABEL_SPACE)):
            raise _error(f"{header.name!r:.80} is no file of a bundle")
        yield name, header.size


def _copy(content: BinaryIO, size: int, target: BinaryIO | None) -> None:
    """Copy the content of a member, and skip the padding to the next block."""
    left = size
    while left:
        piece = content.read(min(left, CHUNK))
        if not piece:
            raise _error("it ends early")
        left -= len(piece)
        if target is not None:
            target.write(piece)
    content.read(-size % _BLOCK)


def _error(problem: str) -> InvalidEvidence:
    return InvalidEvidence(f"The upload is not the tar of a bundle: {problem}. {_REMEDY}", field="content")
