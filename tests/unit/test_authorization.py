"""Who may do what: tokens, their file, and the table."""

import base64
import hashlib
import os
from pathlib import Path

import pytest
import structlog
from errata.errors import (
    CertificateMissing,
    InvalidSetting,
    PermissionDenied,
    TokenMissing,
    TokenUnknown,
    Unauthenticated,
)
from hypothesis import given
from hypothesis import strategies as st

from service.authorization import PERMISSIONS, Authorizer, Scope, Tokens, line_of, new_token, parse_tokens

READER, WRITER = new_token(), new_token()
READ_CALL, WRITE_CALL = "/errata.v1.AnalysisService/GetAnalysis", "/errata.v1.AnalysisService/CreateAnalysis"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(
        f"# who calls\n\n{line_of('dashboard', Scope.READ, READER)}\n{line_of('ci', Scope.WRITE, WRITER)}  # pipeline\n"
    )
    return path


@pytest.fixture
def access(file: Path) -> Authorizer:
    tokens = Tokens(file)
    tokens.load()
    return Authorizer(tokens)


def bearer(token: str) -> str:
    return f"Bearer {token}"


def basic(password: str, user: str = "anybody") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_file_holds_digests_and_never_a_token(file: Path) -> None:
    text = file.read_text()

    assert READER not in text
    assert WRITER not in text
    assert hashlib.sha256(WRITER.encode()).hexdigest() in text


def test_tokens_are_long_and_no_two_alike() -> None:
    made = {new_token() for _ in range(100)}

    assert len(made) == 100
    assert all(len(item) >= len("errata_") + 43 for item in made)  # 256 bits in base 64


@pytest.mark.parametrize("scheme", [bearer, basic])
def test_a_token_is_known_by_its_name(access: Authorizer, scheme: object) -> None:
    assert access.check(READ_CALL, scheme(READER), certified=False) == "dashboard"  # type: ignore[operator]
    assert access.check(WRITE_CALL, scheme(WRITER), certified=False) == "ci"  # type: ignore[operator]


def test_who_may_write_may_read(access: Authorizer) -> None:
    assert access.check(READ_CALL, bearer(WRITER), certified=False) == "ci"


def test_who_may_read_may_not_write(access: Authorizer) -> None:
    with pytest.raises(PermissionDenied, match=r"scope write.*'dashboard' with read"):
        access.check(WRITE_CALL, bearer(READER), certified=False)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic ", "Basic !!!", "Digest x", READER], ids=range(7)
)
def test_a_call_without_a_token_is_refused(access: Authorizer, authorization: str) -> None:
    with pytest.raises(TokenMissing):
        access.check(READ_CALL, authorization, certified=False)


@pytest.mark.parametrize("token", ["x", READER[:-1], READER + "x", READER.upper(), "y" * 10_000, "ü"], ids=range(6))
def test_a_token_that_isnt_known_is_refused(access: Authorizer, token: str) -> None:
    with pytest.raises(TokenUnknown) as error:
        access.check(READ_CALL, bearer(token), certified=False)

    assert token not in error.value.message or token == "x"


@given(st.text(max_size=80), st.sampled_from(["Bearer", "bearer", "Basic", "Negotiate", ""]))
def test_whatever_a_caller_sends_is_refused_in_words(text: str, scheme: str) -> None:
    with pytest.raises(Unauthenticated):
        Authorizer(_known()).check(READ_CALL, f"{scheme} {text}", certified=False)


def _known() -> Tokens:
    tokens = Tokens(Path("/nowhere"))
    tokens._known = parse_tokens(line_of("ci", Scope.WRITE, WRITER))
    return tokens


def test_where_there_are_no_tokens_nobody_is_asked() -> None:
    assert Authorizer().check(WRITE_CALL, "", certified=False) == ""


def test_what_isnt_in_the_table_is_denied(access: Authorizer) -> None:
    for item in (access, Authorizer()):
        with pytest.raises(PermissionDenied):
            item.check("/errata.v1.AnalysisService/Unheard", bearer(WRITER), certified=False)


@pytest.mark.parametrize(
    "what", sorted(what for what, need in PERMISSIONS.items() if need in (Scope.OPEN, Scope.SIGNED))
)
def test_what_is_open_or_signed_needs_neither_token_nor_certificate(access: Authorizer, what: str) -> None:
    assert Authorizer(access.tokens, certificates=True).check(what, "", certified=False) == ""


def test_a_certificate_is_asked_for_besides_the_token(access: Authorizer) -> None:
    both = Authorizer(access.tokens, certificates=True)

    with pytest.raises(CertificateMissing):
        both.check(READ_CALL, bearer(READER), certified=False)
    with pytest.raises(TokenMissing):
        both.check(READ_CALL, "", certified=True)
    assert both.check(READ_CALL, bearer(READER), certified=True) == "dashboard"


def test_a_file_that_changes_is_read_anew(access: Authorizer, file: Path) -> None:
    fresh = new_token()
    file.write_text(line_of("ci", Scope.WRITE, fresh))

    assert access.check(WRITE_CALL, bearer(fresh), certified=False) == "ci"
    with pytest.raises(TokenUnknown):
        access.check(WRITE_CALL, bearer(WRITER), certified=False)


def test_a_secret_that_is_swapped_behind_a_link_is_read_anew(tmp_path: Path) -> None:
    """Kubernetes mounts a secret as a link to a folder, and swaps the link."""
    for version, token in (("1", READER), ("2", WRITER)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "tokens").write_text(line_of("ci", Scope.WRITE, token))
    link = tmp_path / "now"
    link.symlink_to(tmp_path / "1")
    tokens = Tokens(link / "tokens")
    tokens.load()
    (tmp_path / "next").symlink_to(tmp_path / "2")
    (tmp_path / "next").replace(link)

    assert tokens.find(READER) is None
    assert tokens.find(WRITER) is not None


@pytest.mark.parametrize("content", [None, "", " \n", "garbage", "ci write"])
def test_a_file_that_gets_lost_or_broken_leaves_the_tokens_as_they_were(
    access: Authorizer, file: Path, content: str | None
) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_text(content)

    with structlog.testing.capture_logs() as log:
        for _ in range(3):
            assert access.check(READ_CALL, bearer(READER), certified=False) == "dashboard"

    assert [event["log_level"] for event in log] == ["error"], "told once"


def test_a_file_of_comments_lets_nobody_in(access: Authorizer, file: Path) -> None:
    file.write_text("# all are revoked\n")

    with pytest.raises(TokenUnknown):
        access.check(READ_CALL, bearer(READER), certified=False)
    file.write_text(line_of("dashboard", Scope.READ, READER))
    assert access.check(READ_CALL, bearer(READER), certified=False) == "dashboard"


@pytest.mark.parametrize("content", ["", "# nobody\n"])
def test_a_service_doesnt_start_without_a_token(file: Path, content: str) -> None:
    file.write_text(content)

    with pytest.raises(InvalidSetting, match="expected a token a line"):
        Tokens(file).load()


@pytest.mark.parametrize("extra", ["\xa0", "\u2003", "\xff", "é"])
def test_a_token_with_more_than_spaces_around_it_is_another(access: Authorizer, extra: str) -> None:
    with pytest.raises(TokenUnknown):
        access.check(READ_CALL, bearer(READER) + extra, certified=False)
    assert access.check(READ_CALL, f" {bearer(READER)} \t", certified=False) == "dashboard"


def test_a_pipe_is_no_file_of_tokens(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokens")

    with pytest.raises(InvalidSetting, match="ERRATA_TOKENS: expected a file of tokens"):
        Tokens(tmp_path / "tokens").load()


def test_two_tokens_of_one_name_hold_while_one_is_replaced(file: Path) -> None:
    old, new = new_token(), new_token()
    file.write_text("\n".join(line_of("ci", Scope.WRITE, item) for item in (old, new)))
    tokens = Tokens(file)
    tokens.load()

    assert {tokens.find(old).name, tokens.find(new).name} == {"ci"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("ci write", 2),
        ("ci admin sha256:" + "0" * 64, 2),
        ("ci write md5:" + "0" * 64, 2),
        ("ci write sha256:" + "0" * 63, 2),
        ("ci write sha256:" + "A" * 64, 2),
        ("a:b write sha256:" + "0" * 64, 2),
        ("ci write errata_secret more", 2),
    ],
)
def test_a_line_that_isnt_a_tokens_is_named_and_not_shown(line: str, number: int) -> None:
    with pytest.raises(InvalidSetting) as error:
        parse_tokens(f"# first\n{line}\n")

    assert error.value.violations[0].line == number
    assert "errata_secret" not in error.value.message


def test_a_file_without_tokens_or_that_isnt_there_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nobody\n")
    (tmp_path / "large").write_bytes(b"#" * (2 << 20))
    for name in ("empty", "large", "missing", ""):
        with pytest.raises(InvalidSetting, match="ERRATA_TOKENS"):
            Tokens(tmp_path / name).load()


@pytest.mark.parametrize("name", ["", "a b", "a:b", "#", "x" * 65, "registry:prod"])
def test_a_name_that_cant_stand_in_the_file_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting):
        line_of(name, Scope.READ, READER)
