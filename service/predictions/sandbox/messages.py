"""Messages between a service, its fork servers and the processes that parse."""

import json
from dataclasses import asdict

from errata.errors import InvalidUpload

from service.predictions.sandbox.limits import ParserLimits
from service.predictions.uploads.binary import ParseRequest

MAX_REQUEST = 64 << 10  # bytes; a data set's own classes are the longest part
MAX_MESSAGE = 1 << 10  # bytes of any other message
DONE = b"done"


def encode_limits(limits: ParserLimits) -> str:
    """Return the limits of all files, for the command line of a fork server."""
    return json.dumps(asdict(limits))


def decode_limits(text: str) -> ParserLimits:
    """Return the limits."""
    return ParserLimits(**json.loads(text))


def encode_request(request: ParseRequest) -> bytes:
    """Return a request, for the process that parses."""
    return json.dumps(asdict(request)).encode()


def decode_request(content: bytes) -> ParseRequest:
    """Return a request."""
    return ParseRequest(**json.loads(content))


def encode_child(pid: int) -> bytes:
    """Return the announcement of a process that waits for a file."""
    return json.dumps({"pid": pid}).encode()


def encode_exit(code: int) -> bytes:
    """Return the announcement that a process has ended; a negative code is a signal."""
    return json.dumps({"exit": code}).encode()


def decode_event(content: bytes) -> tuple[str, int]:
    """Return what a fork server announces: `pid` or `exit`, and the number."""
    ((name, number),) = json.loads(content).items()
    return name, int(number)


def out_of_memory(limits: ParserLimits) -> InvalidUpload:
    """Return the refusal of a file that takes too much memory."""
    return exceeded(f"takes more than {limits.memory >> 20} MiB of memory")


def exceeded(what: str) -> InvalidUpload:
    """Return the refusal of a file whose parser exceeds a limit."""
    return InvalidUpload(f"Parsing the file {what}. Write it anew with fewer columns, or upload CSV.", field="chunk")
