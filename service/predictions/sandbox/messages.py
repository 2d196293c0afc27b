"""Messages between a service, its fork servers, and the processes that parse."""

import json
from base64 import b64decode, b64encode
from dataclasses import asdict

import numpy as np
from errata.errors import InvalidUpload

from service.predictions.sandbox.limits import ParserLimits
from service.predictions.uploads.binary import ParseRequest

MAX_REQUEST = 64 << 10  # bytes; the longest part is the classes of the data set, one bit each
MAX_MESSAGE = 1 << 10  # bytes of any other message
DONE = b"done"


def encode_limits(limits: ParserLimits) -> str:
    """Return the limits as an argument of a fork server."""
    return json.dumps(asdict(limits))


def decode_limits(text: str) -> ParserLimits:
    """Return the limits from the argument of a fork server."""
    return ParserLimits(**json.loads(text))


def encode_request(request: ParseRequest) -> bytes:
    """Encode a request to a process that parses."""
    document = asdict(request)
    if request.classes is not None:
        mask = np.zeros(request.num_classes, dtype=bool)
        mask[list(request.classes)] = True
        document["classes"] = b64encode(np.packbits(mask).tobytes()).decode()
    return json.dumps(document).encode()


def decode_request(content: bytes) -> ParseRequest:
    """Decode a request."""
    document = json.loads(content)
    if document["classes"] is not None:
        bits = np.unpackbits(np.frombuffer(b64decode(document["classes"]), dtype=np.uint8))
        document["classes"] = tuple(np.flatnonzero(bits).tolist())
    return ParseRequest(**document)


def encode_event(name: str, number: int) -> bytes:
    """Encode an event: `pid` of a new process that waits for a file, or its `exit` code; a negative one is a signal."""
    return json.dumps({name: number}).encode()


def decode_event(content: bytes) -> tuple[str, int]:
    """Decode an event of a fork server; see `encode_event`."""
    ((name, number),) = json.loads(content).items()
    return name, int(number)


def out_of_memory(limits: ParserLimits) -> InvalidUpload:
    """Return the error for a file whose parser takes too much memory."""
    return limit_exceeded(f"takes more than {limits.memory >> 20} MiB of memory")


def limit_exceeded(usage: str) -> InvalidUpload:
    """Return the error for a file whose parser exceeds a limit; `usage` completes "Parsing the file"."""
    return InvalidUpload(f"Parsing the file {usage}. Write it again with fewer columns, or upload CSV.", field="chunk")
