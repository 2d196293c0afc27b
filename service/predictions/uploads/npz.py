"""npz in the form of the paper's preds.npz (top1 (N,), and optionally probs (N, C)), or with only scores.

Without scores, top1 can have an array of probabilities (N,). Other arrays are ignored.
"""

import lzma
import zipfile
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from errata.errors import InvalidUpload, TooLarge, TruncatedUpload
from numpy.typing import NDArray

from service.predictions.uploads import npy
from service.predictions.uploads.columns import FILE_NAME, PROBABILITY, SCORES, is_known_column
from service.predictions.uploads.other_formats import check_zip_members
from service.predictions.uploads.rows import OrderedRows
from service.predictions.uploads.score_probabilities import scores_of
from service.predictions.uploads.terms import format_size

MAX_ARRAYS = 16
TOP1 = ("top1", "predictions", "preds", "pred", "y_pred", "arr_0")  # names in order of preference, as in SCORES
UNREADABLE = (  # errors of zipfile for a damaged archive, besides BadZipFile
    *(zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError),
)


def recognizes(head: bytes) -> bool:
    """Return whether a file starts with the signature of a ZIP archive."""
    return head.startswith(b"PK\x03\x04")


def read(content: BinaryIO, expected: tuple[int, int], classes: Sequence[int] | None, limit: int) -> OrderedRows:
    """Return the classes, with their probabilities if the file has scores.

    Args:
        content: The file.
        expected: Numbers of images and of classes of the data set, (N, C).
        classes: Classes of the data set; None: all.
        limit: Maximum size of the unpacked arrays in bytes.

    Raises:
        InvalidUpload: The file is damaged, or has no usable array.
        TooLarge: The file has too many arrays, or unpacks to more than `limit`.
    """
    try:
        with zipfile.ZipFile(content) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            check_zip_members(names)
            if len(members) > MAX_ARRAYS:
                raise TooLarge(
                    f"The npz file has {len(members):,} arrays. Expected at most {MAX_ARRAYS}. Save only top1 and "
                    "probs.",
                    field="chunk",
                )
            if (size := sum(member.file_size for member in members)) > limit:
                raise TooLarge(
                    f"The npz file unpacks to {format_size(size)}. Expected at most {format_size(limit)}. Save only "
                    "top1 and probs, or ask the operator to raise ERRATA_MAX_UPLOAD_BYTES.",
                    field="chunk",
                )
            _check_no_file_names(archive, names)
            top1, scores = _find_arrays(names)
            rows = _read_arrays(archive, top1, scores, expected, classes)
            return rows if top1 is None or scores is not None else _with_probability(archive, names, rows)
    except zipfile.BadZipFile as error:
        raise TruncatedUpload(
            f"The npz file is incomplete or damaged ({error!s:.80}). Upload it again, or save it again with "
            "numpy.savez.",
            field="chunk",
        ) from error
    except UNREADABLE as error:
        raise InvalidUpload(
            f"The npz file is damaged ({type(error).__name__}). Save it again with numpy.savez.", field="chunk"
        ) from error


def _find_arrays(names: Collection[str]) -> tuple[str | None, str | None]:
    """Return the names of the arrays with classes and with scores; raise InvalidUpload if both are missing."""
    top1, scores = (next((name for name in known if f"{name}.npy" in names), None) for known in (TOP1, SCORES[0]))
    if top1 or scores:
        return top1, scores
    arrays = sorted(name.removesuffix(".npy")[:40] for name in names if name.endswith(".npy"))
    if arrays:
        raise InvalidUpload(
            f"Missing array 'top1', 'probs', or 'logits'. The npz file has {', '.join(map(repr, arrays))}. Rename the "
            "array with the class indices to 'top1', or the array with the scores to 'probs' or 'logits'.",
            field="chunk",
        )
    members = ", ".join(repr(name[:40]) for name in sorted(names)[:10]) or "no files"
    raise InvalidUpload(
        f"The file is a ZIP archive with {members}, not an npz file. Extract the predictions file, and upload it. CSV "
        "and JSONL files may be compressed with gzip or zstd.",
        field="chunk",
    )


def _check_no_file_names(archive: zipfile.ZipFile, names: Collection[str]) -> None:
    """Raise InvalidUpload if an array has file names, because the rows are read in the row order of the request."""
    for name in names:
        array = name.removesuffix(".npy")
        if array == name or not is_known_column(array, FILE_NAME):
            continue
        with archive.open(name) as member:
            shape, dtype, _ = npy.read_header(member, f"Array {array!r:.40}", allow_objects=True)
        if shape != () and dtype.kind in "USO":
            raise InvalidUpload(
                f"Array {array!r:.40} has file names, which Errata does not read in npz files. Save the file names and "
                "the predictions as CSV or Parquet. If the rows are in the order of --row-order, remove the array.",
                field="chunk",
            )


def _read_arrays(
    archive: zipfile.ZipFile,
    top1_name: str | None,
    scores_name: str | None,
    expected: tuple[int, int],
    classes: Sequence[int] | None,
) -> OrderedRows:
    shown = [f"'{name}' as {role}" for name, role in _roles(top1_name, scores_name)]
    assumptions = (f"The file's arrays: {', '.join(shown)}.",) if shown else ()
    if top1_name is None:
        rows = _read_scores(archive, str(scores_name), expected, classes)
        return replace(rows, assumptions=(*assumptions, *rows.assumptions))
    with archive.open(f"{top1_name}.npy") as member:
        label = f"Array '{top1_name}'"
        header = npy.read_header(member, label)
        if not npy.has_classes(header, expected) and top1_name != "top1":
            blocks = npy.read_score_blocks(member, header, expected, label)
            rows = npy.collect_rows(blocks, npy.best_class, classes)
            return replace(rows, assumptions=(f"The file's arrays: '{top1_name}' as scores.", *rows.assumptions))
        rows = npy.read_class_rows(member, header, expected, label)
    if scores_name is None:
        return replace(rows, assumptions=(*assumptions, *rows.assumptions))
    top1 = np.asarray(rows.top1, dtype=np.int64)
    num_different = 0

    def choose(block: NDArray[np.float32], start: int) -> NDArray[np.int64]:
        nonlocal num_different
        chosen = top1[start : start + len(block)]
        num_different += int((scores_of(block, chosen) < block.max(axis=1)).sum())
        return chosen

    rows = _read_scores(archive, scores_name, expected, classes, choose)
    rows = replace(rows, assumptions=(*assumptions, *rows.assumptions))
    if not num_different:
        return rows
    rest = f"the best class of {scores_name}: {num_different:,}. Errata uses {top1_name}."
    return replace(rows, warnings=(f"Rows in which {top1_name} is not {rest}",))


def _with_probability(archive: zipfile.ZipFile, names: Collection[str], rows: OrderedRows) -> OrderedRows:
    """Add the probabilities of an array that has one for each row, if the file has such an array."""
    name = next((name for rank in PROBABILITY for name in rank if f"{name}.npy" in names), None)
    if name is None or rows.probability is not None:
        return rows
    with archive.open(f"{name}.npy") as member:
        label = f"Array '{name}'"
        header = npy.read_header(member, label, allow_objects=True)
        probability = npy.read_probabilities(member, header, len(rows.top1), label)
    note = f"The file's arrays: '{name}' as the probabilities."
    if probability is None:
        note = f"The array '{name}' is not used, because it does not have a number from 0 to 1 for each row."
    return replace(rows, probability=probability, assumptions=(*rows.assumptions, note))


def _roles(top1_name: str | None, scores_name: str | None) -> list[tuple[str, str]]:
    """Return the names of the arrays without a standard name, with their roles."""
    roles = [(top1_name, "the classes"), (scores_name, "the scores")]
    return [(name, role) for name, role in roles if name and (name not in ("top1", "probs") or top1_name is None)]


def _read_scores(
    archive: zipfile.ZipFile,
    name: str,
    expected: tuple[int, int],
    classes: Sequence[int] | None,
    choose: Callable[[NDArray[np.float32], int], NDArray[np.int64]] = npy.best_class,
) -> OrderedRows:
    with archive.open(f"{name}.npy") as member:
        label = f"Array '{name}'"
        blocks = npy.read_score_blocks(member, npy.read_header(member, label), expected, label)
        return npy.collect_rows(blocks, choose, classes, is_logits=name == "logits")
