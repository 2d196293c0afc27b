"""Authorization: tokens, their file, and the table of permissions."""

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
from errata.tokens import INCLUDED_SCOPES, Quota, Scope, line_of, new_token
from hypothesis import given
from hypothesis import strategies as st

from service.authorization import PERMISSIONS, Authorizer, Tokens, parse_tokens
from service.domain import RETENTION, UNAUTHENTICATED

READER, WRITER = new_token(), new_token()
READ_CALL, WRITE_CALL = "/errata.v1.AnalysisService/GetAnalysis", "/errata.v1.AnalysisService/CreateAnalysis"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(
        f"# callers\n\n{line_of('dashboard', Scope.READ, READER)}\n{line_of('ci', Scope.WRITE, WRITER)}  # pipeline\n"
    )
    return path


@pytest.fixture
def authorizer(file: Path) -> Authorizer:
    tokens = Tokens(file)
    tokens.load()
    return Authorizer(tokens)


def bearer(token: str) -> str:
    return f"Bearer {token}"


def basic(password: str, user: str = "anybody") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_the_file_has_digests_instead_of_tokens(file: Path) -> None:
    text = file.read_text()

    assert READER not in text
    assert WRITER not in text
    assert hashlib.sha256(WRITER.encode()).hexdigest() in text


@pytest.mark.parametrize("name", [UNAUTHENTICATED, RETENTION])
def test_a_token_has_no_name_of_another_actor_of_the_audit_log(name: str) -> None:
    with pytest.raises(InvalidSetting, match=f"The token name '{name}' is reserved"):
        line_of(name, Scope.READ, new_token())


def test_tokens_are_long_and_unique() -> None:
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert all(len(item) >= len("errata_") + 43 for item in tokens)  # 256 bits in base 64


@pytest.mark.parametrize("scheme", [bearer, basic])
def test_a_token_identifies_its_caller(authorizer: Authorizer, scheme: object) -> None:
    assert authorizer.check(READ_CALL, scheme(READER), certified=False).name == "dashboard"  # type: ignore[operator]
    assert authorizer.check(WRITE_CALL, scheme(WRITER), certified=False).name == "ci"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("scope", "permitted"),
    [
        (Scope.READ, {"read"}),
        (Scope.REVIEW, {"read", "review"}),
        (Scope.WRITE, {"read", "write"}),
        (Scope.ADMIN, {"read", "review", "write", "admin"}),
    ],
)
def test_a_scope_includes_others(file: Path, scope: Scope, permitted: set[str]) -> None:
    file.write_text(line_of("alice", scope, READER))
    tokens = Tokens(file)
    tokens.load()
    calls = {
        "read": READ_CALL,
        "review": "/errata.v1.ReviewService/CreateReview",
        "write": WRITE_CALL,
        "admin": "/errata.v1.EvidenceService/SetDefaultEvidence",
    }

    for name, call in calls.items():
        if name in permitted:
            assert Authorizer(tokens).check(call, bearer(READER), certified=False).name == "alice"
        else:
            message = f"Token 'alice' has the scope {scope.value}. Use a token with the scope {name} for this call"
            with pytest.raises(PermissionDenied, match=message):
                Authorizer(tokens).check(call, bearer(READER), certified=False)


def test_every_permission_is_included_in_the_scope_admin() -> None:
    needed = set(PERMISSIONS.values()) - {Scope.OPEN, Scope.SIGNED}

    assert needed == INCLUDED_SCOPES[Scope.ADMIN]


def test_a_file_of_an_earlier_version_stays_valid() -> None:
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    tokens = parse_tokens(f"# name scope digest\ndash read sha256:{digest}\npipeline     write  sha256:{digest}\n")

    assert [(token.name, token.scope, token.digest) for token in tokens] == [
        ("dash", Scope.READ, digest),
        ("pipeline", Scope.WRITE, digest),
    ]


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic ", "Basic !!!", "Digest x", READER], ids=range(7)
)
def test_a_call_without_a_token_is_rejected(authorizer: Authorizer, authorization: str) -> None:
    with pytest.raises(TokenMissing, match="Set ERRATA_TOKEN"):
        authorizer.check(READ_CALL, authorization, certified=False)


@pytest.mark.parametrize("token", ["x", READER[:-1], READER + "x", READER.upper(), "y" * 10_000, "ü"], ids=range(6))
def test_an_unknown_token_is_rejected(authorizer: Authorizer, token: str) -> None:
    with pytest.raises(TokenUnknown) as error:
        authorizer.check(READ_CALL, bearer(token), certified=False)

    assert token not in error.value.message or token == "x"


@given(st.text(max_size=80), st.sampled_from(["Bearer", "bearer", "Basic", "Negotiate", ""]))
def test_any_other_header_is_unauthenticated(text: str, scheme: str) -> None:
    with pytest.raises(Unauthenticated):
        Authorizer(_tokens()).check(READ_CALL, f"{scheme} {text}", certified=False)


def _tokens() -> Tokens:
    tokens = Tokens(Path("/nowhere"))
    tokens._tokens = parse_tokens(line_of("ci", Scope.WRITE, WRITER))
    return tokens


def test_without_a_token_file_no_token_is_required() -> None:
    assert Authorizer().check(WRITE_CALL, "", certified=False).name == ""


def test_a_method_outside_the_table_is_not_permitted(authorizer: Authorizer) -> None:
    for item in (authorizer, Authorizer()):
        with pytest.raises(PermissionDenied, match="Method not permitted"):
            item.check("/errata.v1.AnalysisService/Unheard", bearer(WRITER), certified=False)


@pytest.mark.parametrize(
    "target", sorted(target for target, scope in PERMISSIONS.items() if scope in (Scope.OPEN, Scope.SIGNED))
)
def test_an_open_or_signed_target_needs_neither_token_nor_certificate(authorizer: Authorizer, target: str) -> None:
    assert Authorizer(authorizer.tokens, requires_certificate=True).check(target, "", certified=False).name == ""


def test_a_certificate_is_required_in_addition_to_the_token(authorizer: Authorizer) -> None:
    with_certificate = Authorizer(authorizer.tokens, requires_certificate=True)

    with pytest.raises(CertificateMissing):
        with_certificate.check(READ_CALL, bearer(READER), certified=False)
    with pytest.raises(TokenMissing):
        with_certificate.check(READ_CALL, "", certified=True)
    assert with_certificate.check(READ_CALL, bearer(READER), certified=True).name == "dashboard"


def test_a_changed_file_is_read_again(authorizer: Authorizer, file: Path) -> None:
    fresh = new_token()
    file.write_text(line_of("ci", Scope.WRITE, fresh))

    assert authorizer.check(WRITE_CALL, bearer(fresh), certified=False).name == "ci"
    with pytest.raises(TokenUnknown):
        authorizer.check(WRITE_CALL, bearer(WRITER), certified=False)


def test_a_file_behind_a_replaced_link_is_read_again(tmp_path: Path) -> None:
    """Kubernetes mounts a secret as a symbolic link to a folder, and replaces the link."""
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
def test_previous_tokens_stay_valid_when_the_file_is_missing_or_invalid(
    authorizer: Authorizer, file: Path, content: str | None
) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_text(content)

    with structlog.testing.capture_logs() as log:
        for _ in range(3):
            assert authorizer.check(READ_CALL, bearer(READER), certified=False).name == "dashboard"

    assert [event["log_level"] for event in log] == ["error"], "logged once"


def test_a_file_with_only_comments_rejects_all_callers(authorizer: Authorizer, file: Path) -> None:
    file.write_text("# all are revoked\n")

    with pytest.raises(TokenUnknown):
        authorizer.check(READ_CALL, bearer(READER), certified=False)
    file.write_text(line_of("dashboard", Scope.READ, READER))
    assert authorizer.check(READ_CALL, bearer(READER), certified=False).name == "dashboard"


@pytest.mark.parametrize("content", ["", "# no tokens\n"])
def test_a_service_does_not_start_without_a_token(file: Path, content: str) -> None:
    file.write_text(content)

    with pytest.raises(InvalidSetting, match="Add a line"):
        Tokens(file).load()


@pytest.mark.parametrize("extra", ["\xa0", "\u2003", "\xff", "é"])
def test_only_spaces_around_a_token_are_ignored(authorizer: Authorizer, extra: str) -> None:
    with pytest.raises(TokenUnknown):
        authorizer.check(READ_CALL, bearer(READER) + extra, certified=False)
    assert authorizer.check(READ_CALL, f" {bearer(READER)} \t", certified=False).name == "dashboard"


def test_a_named_pipe_is_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokens")

    with pytest.raises(InvalidSetting, match="ERRATA_TOKENS: can't read the file"):
        Tokens(tmp_path / "tokens").load()


def test_two_tokens_with_the_same_name_are_valid(file: Path) -> None:
    old, new = new_token(), new_token()
    file.write_text("\n".join(line_of("ci", Scope.WRITE, item) for item in (old, new)))
    tokens = Tokens(file)
    tokens.load()

    assert {tokens.find(old).name, tokens.find(new).name} == {"ci"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("ci write", 2),
        ("ci owner sha256:" + "0" * 64, 2),
        ("ci open sha256:" + "0" * 64, 2),
        ("ci signed sha256:" + "0" * 64, 2),
        ("ci write md5:" + "0" * 64, 2),
        ("ci write sha256:" + "0" * 63, 2),
        ("ci write sha256:" + "A" * 64, 2),
        ("a:b write sha256:" + "0" * 64, 2),
        ("ci write errata_secret more", 2),
    ],
)
def test_an_invalid_line_is_named_but_not_quoted(line: str, number: int) -> None:
    with pytest.raises(InvalidSetting) as error:
        parse_tokens(f"# first\n{line}\n")

    assert error.value.violations[0].line == number
    assert "errata_secret" not in error.value.message


def test_a_missing_or_empty_file_prevents_the_start(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# no tokens\n")
    (tmp_path / "large").write_bytes(b"#" * (2 << 20))
    for name in ("empty", "large", "missing", ""):
        with pytest.raises(InvalidSetting, match="ERRATA_TOKENS"):
            Tokens(tmp_path / name).load()
    with pytest.raises(InvalidSetting, match=r"missing.*Correct the path, or create the file"):
        Tokens(tmp_path / "missing").load()


@pytest.mark.parametrize("name", ["", "a b", "a:b", "#", "x" * 65, "registry:prod"])
def test_an_invalid_token_name_is_rejected(name: str) -> None:
    with pytest.raises(InvalidSetting):
        line_of(name, Scope.READ, READER)


@pytest.mark.parametrize(
    "quota", [Quota(), Quota(600), Quota(None, 20), Quota(600, 20), Quota(0, 0), Quota(9_999_999, 9_999_999)]
)
def test_the_limits_of_a_token_are_in_its_line(quota: Quota) -> None:
    (token,) = parse_tokens(line_of("ci", Scope.WRITE, WRITER, quota))

    assert token.quota == quota


@pytest.mark.parametrize(
    "words",
    [
        "requests=600",
        "requests=600/s",
        "requests=-1/min",
        "requests=/min",
        "open=",
        "open=2.5",
        "open=99999999",
        "open=\u0661",
        "open=1 open=2",
        "limit=1",
        "Requests=1/min",
    ],
)
def test_a_line_with_an_invalid_limit_is_refused(words: str) -> None:
    with pytest.raises(InvalidSetting, match=r"line 1 is invalid.*\[requests=N/min\] \[open=N\]"):
        parse_tokens(f"{line_of('ci', Scope.WRITE, WRITER)} {words}")


def test_a_caller_has_the_limits_of_its_token_or_the_default(file: Path) -> None:
    quotas = {"a": Quota(), "b": Quota(5), "c": Quota(0, 0)}
    secrets = {name: new_token() for name in quotas}
    file.write_text("\n".join(line_of(name, Scope.READ, secrets[name], quota) for name, quota in quotas.items()))
    tokens = Tokens(file)
    tokens.load()

    def limits(authorizer: Authorizer, name: str) -> tuple[int, int]:
        caller = authorizer.check(READ_CALL, bearer(secrets[name]), certified=False)
        return caller.max_requests, caller.max_open

    assert [limits(Authorizer(tokens), name) for name in "abc"] == [(0, 0), (5, 0), (0, 0)]
    default = Authorizer(tokens, default_quota=Quota(60, 7))
    assert [limits(default, name) for name in "abc"] == [(60, 7), (5, 7), (0, 0)]


@pytest.mark.parametrize("scope", INCLUDED_SCOPES)
def test_isolated_tokens_see_their_own_analyses_except_those_of_administrators(file: Path, scope: Scope) -> None:
    file.write_text(line_of("alice", scope, READER))
    tokens = Tokens(file)
    tokens.load()

    caller = Authorizer(tokens, isolates_owners=True).check(READ_CALL, bearer(READER), certified=False)

    assert caller.visible_owner == (None if scope is Scope.ADMIN else "alice")
    assert Authorizer(tokens).check(READ_CALL, bearer(READER), certified=False).visible_owner is None
