"""Forms with a file: the fields, the file, and every limit, however the body is cut into pieces."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from errata.errors import ErrataError, InvalidRequest, PermissionDenied, TooLarge, Unavailable
from hypothesis import given
from hypothesis import strategies as st

from service.web.multipart import MAX_FIELD, MAX_PARTS, FileForm

BOUNDARY = "----b"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
TOKEN = ("form_token", "secret")


def part(name: str, value: bytes, file_name: str | None = None) -> bytes:
    file = "" if file_name is None else f'; filename="{file_name}"\r\nContent-Type: text/csv'
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"


def body(content: bytes, *fields: tuple[str, str], file_name: str = "a.csv") -> bytes:
    parts = [part(name, value.encode()) for name, value in fields]
    return b"".join([*parts, part("file", content, file_name), f"--{BOUNDARY}--\r\n".encode()])


def check_token(token: str) -> None:
    if token != "secret":
        raise PermissionDenied("no token")


def parse(
    pieces: Iterator[bytes], max_bytes: int = 1000, file_kind: str = "predictions"
) -> tuple[dict[str, str], str, bytes]:
    form = FileForm(CONTENT_TYPE, max_bytes, check_token, file_kind)
    try:
        for piece in pieces:
            form.feed(piece)
        return form.fields, form.file_name, form.finish().read()
    finally:
        form.close()


@given(
    st.binary(min_size=1, max_size=300) | st.sampled_from([b"\r\n--", b"\r\n------b", b"--" * 20, b"\r\n" * 9]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.integers(1, 50),
)
def test_fields_and_file_do_not_depend_on_the_pieces(content: bytes, value: str, size: int) -> None:
    if f"\r\n--{BOUNDARY}".encode() in content or f"\r\n--{BOUNDARY}" in value:
        return
    whole = body(content, TOKEN, ("name", value))

    fields, file_name, actual = parse(whole[start : start + size] for start in range(0, len(whole), size))

    assert (fields, file_name, actual) == ({"form_token": "secret", "name": value}, "a.csv", content)


@pytest.mark.parametrize("file_name", ["../../etc/passwd", "ä<b>.csv", "a\\b.csv", "x" * 2000, "%22;name=x"])
def test_name_of_the_file_is_only_text(file_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    _, actual, content = parse(iter([body(b"x", TOKEN, file_name=file_name)]))

    assert actual == file_name[:1024]
    assert content == b"x"
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("fields", [(), (("form_token", "wrong"),)])
def test_without_the_token_no_file_is_stored(
    fields: tuple[tuple[str, str], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.multipart.temporary_file", lambda: pytest.fail("a file was created"))

    with pytest.raises(PermissionDenied):
        parse(iter([body(b"x", *fields)]))


def test_token_after_the_file_is_too_late() -> None:
    late = part("file", b"x", "a.csv") + part(*TOKEN[:1], TOKEN[1].encode()) + f"--{BOUNDARY}--\r\n".encode()

    with pytest.raises(PermissionDenied):
        parse(iter([late]))


@pytest.mark.parametrize(("size", "is_allowed"), [(1000, True), (1001, False)])
def test_file_is_bounded(size: int, is_allowed: bool) -> None:
    if is_allowed:
        assert len(parse(iter([body(bytes(size), TOKEN)]))[2]) == size
    else:
        with pytest.raises(TooLarge, match="at most 1000 bytes"):
            parse(iter([body(bytes(size), TOKEN)]))


END = f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (body(b"", TOKEN), "not empty"),
        (body(b"x", TOKEN)[:-12], "ended before"),
        (b"", "ended before"),
        (part("form_token", b"secret") + END, "not empty"),
        (b"no form", "Invalid form"),
        (body(b"x", TOKEN, ("name", "y" * (MAX_FIELD + 1))), "too long"),
        (part("name", b"\xff") + END, "UTF-8"),
        (part("form_token", b"secret") * (MAX_PARTS + 1) + END, "too many fields"),
        (part("form_token", b"secret") + part("file", b"x", "a") * 2 + END, "more than one file"),
        (part("form_token", b"secret") + part("other", b"x", "a") + END, "more than one file"),
        (f"--{BOUNDARY}\r\nX: {'y' * 100_000}\r\n\r\nz\r\n".encode() + END, "Invalid form"),
        (f"--{BOUNDARY}\r\n".encode() + b"X: y\r\n" * 1000 + b"\r\nz\r\n" + END, "Invalid form"),
    ],
)
def test_invalid_forms_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse(iter([content]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (body(b"", TOKEN), "Select a labels file that is not empty."),
        (part("form_token", b"secret") + END, "Select a labels file that is not empty."),
        (
            part("form_token", b"secret") + part("file", b"x", "a") * 2 + END,
            "The form has more than one file. Send one labels file.",
        ),
    ],
)
def test_messages_name_the_kind_of_file_that_the_form_expects(content: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        parse(iter([content]), file_kind="labels")

    assert error.value.message == message


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'b' * 999}",
    ],
)
def test_other_content_types_are_refused(content_type: str) -> None:
    with pytest.raises(ErrataError) as error:
        FileForm(content_type, 1000, check_token, "predictions")
    assert isinstance(error.value, InvalidRequest)


def test_full_disk_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")

    with pytest.raises(Unavailable, match="temporary files"):
        parse(iter([body(b"x", TOKEN)]))
