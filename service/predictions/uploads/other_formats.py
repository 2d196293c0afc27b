"""Files that users upload by mistake, recognized by their first bytes or by the files in a ZIP archive.

Without these checks, such files would be read as CSV, and the errors would not help.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from errata.errors import InvalidUpload, UnsupportedFormat

MAX_NAMES = 1000  # names in a ZIP archive that are checked; a hostile archive can have hundreds of thousands
HEAD_BYTES = 512  # the signature of a tar archive is at 257

EXPORT = "Export the sheet as CSV, and upload the CSV file."
SAVE_PREDICTIONS = "Save the predictions as CSV, JSONL, Parquet, npz, or npy."
WRITE_PREDICTIONS = "Write the predictions to a CSV file, and upload that file."
DOWNLOAD_AGAIN = "Check the address and the permissions, and download the file itself."
EXTRACT = "Extract the predictions file, and upload it. CSV and JSONL files may be compressed with gzip or zstd."
RECOMPRESS = "Decompress it, or compress it with gzip or zstd instead."
MODEL_IN_FOLDER = "To run a model, put it in the folder ERRATA_MODELS and analyze the model ID"
ONNX_MODEL = f"{MODEL_IN_FOLDER} onnx:NAME.onnx."
WEIGHTS = f"{MODEL_IN_FOLDER} file:NAME#ARCHITECTURE."


@dataclass(frozen=True)
class OtherFormat:
    """One row of FORMATS or ZIP_FORMATS: a format of files that contain no predictions."""

    pattern: re.Pattern[bytes]  # matches the first bytes of the file, or the name of a file in a ZIP archive
    kind: str  # what the file is
    remedy: str
    error: type[InvalidUpload] = InvalidUpload

    def to_error(self) -> InvalidUpload:
        """Return the error for such a file."""
        return self.error(f"The file is {self.kind}. {self.remedy}", field="chunk")


def _row(pattern: bytes, kind: str, remedy: str, error: type[InvalidUpload] = InvalidUpload) -> OtherFormat:
    return OtherFormat(re.compile(pattern, re.DOTALL | re.IGNORECASE), kind, remedy, error)


# The first byte of a pickle in a binary protocol, or the start of a list, dictionary, or object in the text protocol.
_PICKLE = rb"\x80|\([dl]p[0-9]+\r?\n|c(?:__builtin__|builtins|collections|copy_reg|numpy|pandas|torch)[\w.]*\n"
_SPACE = rb"(?:\xef\xbb\xbf)?\s*"
_COMMENTS = rb"(?:(?><!--.*?-->)\s*)*+"  # possessive, because backtracking takes exponential time for many comments
FORMATS = (  # by the first bytes of a file
    _row(_PICKLE, "a pickle", f"Errata reads no pickles, because they run code. {SAVE_PREDICTIONS}", UnsupportedFormat),
    _row(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook or another Office document", EXPORT),
    _row(rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis\.opendocument\.spreadsheet", "a spreadsheet (ODS)", EXPORT),
    _row(rb"PK\x03\x04.{26}mimetypeapplication/", "an OpenDocument or EPUB file", WRITE_PREDICTIONS),
    _row(rb"PK\x05\x06", "an empty ZIP archive", WRITE_PREDICTIONS),
    _row(_SPACE + _COMMENTS + rb"<(?:!doctype\s+html|html|head|body)\b", "an HTML page", DOWNLOAD_AGAIN),
    _row(_SPACE + _COMMENTS + rb"<(?:\?xml|svg|Error>)", "an XML document", DOWNLOAD_AGAIN),
    _row(rb"%PDF-", "a PDF document", WRITE_PREDICTIONS),
    _row(rb"\{\\rtf", "an RTF document", WRITE_PREDICTIONS),
    _row(rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP", "an image", WRITE_PREDICTIONS),
    _row(rb"II\*\0|MM\0\*|BM.{4}\0\0\0\0", "an image (TIFF or BMP)", WRITE_PREDICTIONS),
    _row(
        rb"version https://git-lfs\.github\.com/spec/",
        "a pointer of Git LFS",
        "Fetch the file itself with 'git lfs pull'.",
    ),
    _row(rb"outs:\r?\n-\s+(?:md5|hash):", "a pointer of DVC", "Fetch the file itself with 'dvc pull'."),
    _row(_SPACE + rb'\{\s*"(?:cells"\s*:\s*\[|nbformat"\s*:)', "a Jupyter notebook", WRITE_PREDICTIONS),
    _row(rb"\x89HDF\r\n\x1a\n", "an HDF5 file", SAVE_PREDICTIONS),
    _row(rb"MATLAB (?:5\.0|7\.3) MAT-file", "a MATLAB file", SAVE_PREDICTIONS),
    _row(rb"ARROW1|FEA1|\xff\xff\xff\xff.{2}\0\0", "an Arrow or Feather file", "Save the table as Parquet or CSV."),
    _row(rb"Obj\x01|ORC[\0-\x1f\x80-\xff]", "an Avro or ORC file", "Save the table as Parquet or CSV."),
    _row(rb"SQLite format 3\0", "an SQLite database", SAVE_PREDICTIONS),
    _row(rb"\x08[\x03-\x20]\x12", "an ONNX model", ONNX_MODEL),  # fields 1 (IR version) and 2 (producer) of ModelProto
    _row(rb'.{6}\0\0\{"', "a file of model weights", WEIGHTS),  # safetensors: length of a JSON header, then the header
    _row(rb"GGUF[\x01-\x0f]\0", "a model (GGUF)", SAVE_PREDICTIONS),
    _row(rb"BZh[1-9]1AY&SY|\xfd7zXZ\0|\x04\x22\x4d\x18", "compressed with bzip2, xz, or lz4", RECOMPRESS),
    _row(rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|.{257}ustar(?:\0| )", "a 7z, RAR, or tar archive", EXTRACT),
    _row(rb"\x1f\x8b|\x28\xb5\x2f\xfd", "compressed twice", "Compress it once, with gzip or zstd."),
    _row(rb"\xff\xfe|\xfe\xff", "encoded in UTF-16 or UTF-32", "Save it as UTF-8."),
)
ZIP_FORMATS = (  # by the name of a file in a ZIP archive
    _row(rb"\[Content_Types\]\.xml$|xl/", "an Excel workbook or another Office document", EXPORT),
    _row(rb"Index/.*\.iwa$", "a document of Apple Numbers, Pages, or Keynote", EXPORT),
    _row(rb"(?:.*/)?data\.pkl$", "a PyTorch pickle, for example of model weights", f"{SAVE_PREDICTIONS} {WEIGHTS}"),
    _row(rb"model\.weights\.h5$", "a Keras model", SAVE_PREDICTIONS),
    _row(rb"META-INF/MANIFEST\.MF$", "a Java archive", WRITE_PREDICTIONS),
)


def check_other_formats(head: bytes) -> None:
    """Raise InvalidUpload with a remedy if the first bytes are those of a file that contains no predictions."""
    _check(FORMATS, head[:HEAD_BYTES])


def check_zip_members(names: Sequence[str]) -> None:
    """Raise InvalidUpload with a remedy if the first file names in a ZIP archive show that it has no predictions."""
    for name in names[:MAX_NAMES]:
        _check(ZIP_FORMATS, name.encode(errors="replace"))


def _check(formats: tuple[OtherFormat, ...], content: bytes) -> None:
    for other in formats:
        if other.pattern.match(content):
            raise other.to_error()
