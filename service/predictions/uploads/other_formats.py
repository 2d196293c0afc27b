"""Files that users upload by mistake, recognized by their first bytes, each with its remedy.

Any file that no other format recognizes is read as CSV, whose errors do not help for these files.
"""

import re

from errata.errors import InvalidUpload

EXCEL = "The file is an Excel workbook. Export the sheet as CSV, and upload the CSV file."
ONNX_MODEL = (
    "The file looks like an ONNX model, not a predictions file. To run a model, put it in the folder ERRATA_MODELS and "
    "analyze the model ID onnx:NAME.onnx."
)
WEIGHTS = (
    "The file contains model weights, not predictions. To run a model, put it in the folder ERRATA_MODELS and analyze "
    "the model ID file:NAME#ARCHITECTURE."
)
HDF5 = "The file is an HDF5 file. Save the predictions as CSV, JSONL, Parquet, npz, or npy."
UTF16 = "The file is encoded in UTF-16. Save it as UTF-8."
REMEDIES = (
    (re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), EXCEL),  # .xls; .xlsx files are ZIP archives: see npz.py
    (re.compile(rb"\x89HDF\r\n\x1a\n"), HDF5),
    (re.compile(rb"\xff\xfe|\xfe\xff"), UTF16),
    (re.compile(rb"\x08[\x03-\x20]\x12"), ONNX_MODEL),  # fields 1 (IR version) and 2 (producer) of a ModelProto
    (re.compile(rb'.{6}\0\0\{"', re.DOTALL), WEIGHTS),  # safetensors: length of a JSON header, then the header
)


def check_other_formats(head: bytes) -> None:
    """Raise InvalidUpload with a remedy if the first bytes are those of a file that contains no predictions."""
    for pattern, message in REMEDIES:
        if pattern.match(head):
            raise InvalidUpload(message, field="chunk")
