"""Streaming parser of a form with a file: fields in memory, the file in a temporary file, both bounded.

Call `feed` with the pieces of the body and then `finish`. The field of the form's token must precede the file, so that
the service stores no file of a form from another site.
"""

from collections.abc import Callable
from io import BufferedRandom
from typing import Any

from errata.errors import InvalidRequest
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.storage import temporary_file, upload_too_large, write_all
from service.web.forms import FIELD

CONTENT_TYPE = b"multipart/form-data"
MAX_FIELD = 32 << 10  # bytes of the value of a field
MAX_PARTS = 32
MAX_OVERHEAD = MAX_PARTS * (MAX_FIELD + (8 << 10))  # bytes besides the content of the file
MAX_FILE_NAME = 1024  # bytes


class FileForm:
    """A form with one file. Close it after use.

    Args:
        content_type: The header with the boundary.
        max_bytes: Maximum size of the file.
        check_token: Called with the token before the file is stored; raises PermissionDenied.
        file_kind: The kind of file that the form expects, for messages, such as "predictions".

    Raises:
        InvalidRequest: The content type is not multipart/form-data with a boundary.
    """

    def __init__(self, content_type: str, max_bytes: int, check_token: Callable[[str], None], file_kind: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != CONTENT_TYPE or not boundary:
            raise InvalidRequest(
                f"Unexpected content type {content_type!r:.80}. Submit the form from a page of this service."
            )
        self.fields: dict[str, str] = {}
        self.file: BufferedRandom | None = None
        self.file_name = ""
        self._max_bytes = max_bytes
        self._check_token = check_token
        self._file_kind = file_kind
        self._size = self._num_parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._name = ""
        self._value: bytearray | None = None  # of the current field; None: the part is the file, or unnamed
        self._is_complete = False
        callbacks: Any = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise _invalid(error) from error

    def feed(self, piece: bytes) -> None:
        """Parse a piece of the body.

        Raises:
            InvalidRequest: The body is not a valid form.
            PermissionDenied: The token is missing or wrong.
            TooLarge: The file has over `max_bytes` bytes.
            Unavailable: The disk is full.
        """
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _invalid(error) from error

    def finish(self) -> BufferedRandom:
        """Return the file, positioned at its start; raise InvalidRequest if the form is incomplete."""
        if not self._is_complete:
            raise InvalidRequest("The form ended before its last line. Send it again.")
        if self.file is None or not self._size:
            raise InvalidRequest(f"Select a {self._file_kind} file that is not empty.", field="file")
        self.file.seek(0)
        return self.file

    def close(self) -> None:
        """Delete the temporary file."""
        if self.file is not None:
            self.file.close()

    def _begin_part(self) -> None:
        self._num_parts += 1
        if self._num_parts > MAX_PARTS:
            raise InvalidRequest(f"The form has too many fields. Send at most {MAX_PARTS}.")
        self._headers = {}

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = _decode(options.get(b"name", b""))
        self._value = None
        if b"filename" not in options:
            self._value = bytearray()
            return
        if self._name != "file" or self.file is not None:
            raise InvalidRequest(f"The form has more than one file. Send one {self._file_kind} file.", field="file")
        self._check_token(self.fields.get(FIELD, ""))
        self.file_name = _decode(options[b"filename"][:MAX_FILE_NAME], errors="replace")
        self.file = temporary_file()

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._value is not None:
            self._value += memoryview(data)[start:end]
            if len(self._value) > MAX_FIELD:
                raise InvalidRequest(f"The field {self._name!r:.40} is too long. Send at most {MAX_FIELD} bytes.")
            return
        assert self.file is not None, "This is a bug: data without a part"
        self._size += end - start
        if self._size > self._max_bytes:
            raise upload_too_large(self._max_bytes)
        write_all(self.file.raw, memoryview(data)[start:end])

    def _end_part(self) -> None:
        if self._value is not None:
            self.fields[self._name] = _decode(bytes(self._value))

    def _end(self) -> None:
        self._is_complete = True


def _decode(content: bytes, errors: str = "strict") -> str:
    try:
        return content.decode(errors=errors)
    except UnicodeDecodeError as error:
        raise InvalidRequest("The form is not valid UTF-8. Submit the form from a page of this service.") from error


def _invalid(error: FormParserError) -> InvalidRequest:
    return InvalidRequest(f"Invalid form: {error!s:.120}. Submit the form from a page of this service.")
