"""Sent results: only to the configured URL, with a signature that the Standard Webhooks library verifies."""

import base64
import ipaddress
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from errata.errors import InvalidSetting, Unavailable
from pki import write_self_signed
from standardwebhooks import Webhook

from service.network_addresses import is_allowed
from service.web.hooks.outgoing import Target, make_target

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
NAME = "receiver.example"
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
BODY = json.dumps({"type": "errata.analysis.completed", "data": {"gate": "fail", "why": "é"}}).encode()


# Where results may go


@pytest.mark.parametrize(
    "url",
    [
        f"http://{NAME}/x",
        f"//{NAME}/x",
        f"ftp://{NAME}/x",
        NAME,
        "https://",
        "https:///x",
        "",
        f"https://user@{NAME}/",
        f"https://user:word@{NAME}/",
        f"https://:word@{NAME}/",
        f"https://@{NAME}/",
        f"https://{NAME}@127.0.0.1/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://127.0.0.1/",
        "https://8.8.8.8/",
        "https://8.8.8.8./",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[2606:4700::1111]/",
        f"https://{NAME}:444/",
        f"https://{NAME}:80/",
        f"https://{NAME}:99999/",
        f"https://{NAME}:-1/",
        f"https://{NAME}:port/",
        f"https://{NAME}/a b",
        f"https://{NAME}/é",
        f"https://{NAME}\\@evil.example/",
        "https://rëceiver.example/",
        "https://receiver_.example/",
        "https://-receiver.example/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 130}example/",
        "https://１２７.0.0.1/",
    ],
)
def test_forbidden_url_is_rejected(url: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        make_target("prod", url, KEY)

    assert "ERRATA_REGISTRIES" in error.value.message and "prod.url" in error.value.message
    assert "word" not in error.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_the_message_for_an_ip_address_says_that_it_is_refused(host: str) -> None:
    with pytest.raises(InvalidSetting, match=f"Invalid host name '{host.strip('[]')}'.*IP addresses are refused"):
        make_target("prod", f"https://{host}/", KEY)


@pytest.mark.parametrize(("line", "path"), [("\nx", "/axb"), ("\r", "/ab"), ("\t", "/ab")])
def test_line_breaks_and_tabs_are_removed_from_a_path(line: str, path: str) -> None:
    assert make_target("prod", f"https://{NAME}/a{line}b", KEY).path == path


@pytest.mark.parametrize("line", ["\r\nHost: evil.example", "\x00", "\x7f"])
def test_a_path_with_a_space_or_a_control_character_is_refused(line: str) -> None:
    with pytest.raises(InvalidSetting, match="Invalid path"):
        make_target("prod", f"https://{NAME}/a{line}b", KEY)


def test_path_and_query_are_preserved() -> None:
    result = make_target("prod", f"https://{NAME.upper()}/a/b?c=d&e", KEY)

    assert (result.host, result.port, result.path, result.key) == (NAME, 443, "/a/b?c=d&e", KEY)
    assert make_target("prod", f"https://{NAME}", KEY).path == "/"
    assert make_target("prod", f"https://{NAME}:443/", KEY).port == 443


def test_listed_port_is_allowed() -> None:
    assert make_target("prod", f"https://{NAME}:8443/", KEY, ports=[8443]).port == 8443
    with pytest.raises(InvalidSetting):
        make_target("prod", f"https://{NAME}:8444/", KEY, ports=[8443])


@pytest.mark.parametrize("network", ["nonsense", "10.0.0.0/33", "10.0.0.1/8", "", "internal.example"])
def test_invalid_network_is_rejected(network: str) -> None:
    with pytest.raises(InvalidSetting, match=r"prod\.networks"):
        make_target("prod", f"https://{NAME}/", KEY, networks=[network])


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # metadata service of cloud providers
        "100.64.0.1",  # shared address space, not private
        "224.0.0.1",  # `is_global` is True for this and the next two
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "239.255.255.250",
        "ff02::1",
        "ff0e::1",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:100.64.0.1",
        "::ffff:224.0.0.1",
        "64:ff9b::169.254.169.254",
        "2002:a00:1::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "2001:db8::1",
        "fec0::1",  # site-local
        # IPv6 addresses that embed an IPv4 address
        "::7f00:1",
        "::10.0.0.1",
        "::8.8.8.8",
        "::ffff:0:a00:1",
        "64:ff9b::8.8.8.8",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::a00:1",
        "64:ff9b:1:ffff:ffff:ffff:a00:1",
        "2002:a9fe:a9fe::",
        "2002:808:808::1",
        "2001:0:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        # metadata services
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "::ffff:168.63.129.16",
        "fd00:ec2::23",
        "fd20:ce::254",
        "localhost",
        "",
        "127.1",
    ],
)
def test_non_public_addresses_are_rejected(address: str) -> None:
    assert not is_allowed(address)


def test_operator_network_allows_only_its_addresses() -> None:
    networks = [ipaddress.ip_network(item) for item in ("10.1.0.0/16", "fd00:1::/32")]

    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5", "8.8.8.8"):
        assert is_allowed(address, networks)
    for address in ("10.2.0.1", "127.0.0.1", "fd00:2::5", "::1", "::ffff:10.2.0.1", "169.254.169.254"):
        assert not is_allowed(address, networks)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("169.254.169.254", "169.254.0.0/16"),
        ("100.100.100.200", "100.64.0.0/10"),
        ("168.63.129.16", "168.63.0.0/16"),
        ("fd00:ec2::254", "fd00::/8"),
        ("::ffff:169.254.169.254", "169.254.0.0/16"),
        ("::10.1.2.3", "10.1.0.0/16"),
        ("64:ff9b::10.1.2.3", "10.1.0.0/16"),
        ("2002:a01:203::1", "10.1.0.0/16"),
    ],
)
def test_wide_network_allows_neither_metadata_services_nor_translated_addresses(address: str, network: str) -> None:
    assert not is_allowed(address, [ipaddress.ip_network(network)])


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("169.254.169.254", "169.254.169.254/32"),
        ("fd00:ec2::254", "fd00:ec2::254/128"),
        ("64:ff9b::10.1.2.3", "64:ff9b::a01:0/112"),
        ("::10.1.2.3", "::a01:0/112"),
    ],
)
def test_operator_can_allow_metadata_services_by_exact_network(address: str, network: str) -> None:
    assert is_allowed(address, [ipaddress.ip_network(network)])


# What is posted


@dataclass
class Receiver:
    """A TLS server that records requests."""

    status: int = 200
    location: str = ""
    answer: bytes = b"{}"
    hangs_up: bool = False
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    sent: int = 0
    port: int = 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_self_signed(tmp_path_factory.mktemp("tls") / f"{NAME}.pem", NAME)


@contextmanager
def receiving(certificate: Path) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            receiver.received.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.close_connection = True
            if receiver.hangs_up:
                return
            self.send_response(receiver.status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", str(len(receiver.answer)))
            self.end_headers()
            with suppress(OSError):  # the client has closed the connection
                for start in range(0, len(receiver.answer), 1 << 16):
                    receiver.sent += self.wfile.write(receiver.answer[start : start + (1 << 16)])

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            plain, address = self.socket.accept()
            receiver.connections += 1
            plain.settimeout(10)
            try:
                return context.wrap_socket(plain, server_side=True), address
            except OSError:
                plain.close()
                raise

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver(certificate: Path) -> Iterator[Receiver]:
    with receiving(certificate) as result:
        yield result


def target_at(receiver: Receiver, certificate: Path, *addresses: str, **changes: Any) -> Target:
    """A target whose name resolves to the addresses, by default to the receiver."""
    result = make_target("prod", f"https://{NAME}:{receiver.port}/results?a=b", KEY, [receiver.port], ["127.0.0.0/8"])
    context = ssl.create_default_context(cafile=certificate)
    return replace(result, **{"context": context, "resolve": lambda host, port: addresses or ["127.0.0.1"], **changes})


def test_standard_webhooks_library_verifies_sent_results(receiver: Receiver, certificate: Path) -> None:
    target_at(receiver, certificate).post("msg_1", BODY)

    ((path, headers, body),) = receiver.received
    assert (path, body) == ("/results?a=b", BODY)
    assert headers["webhook-id"] == "msg_1"
    assert headers["host"] == f"{NAME}:{receiver.port}"
    assert headers["content-type"] == "application/json"
    assert Webhook(SECRET).verify(body, headers) == json.loads(BODY)


def test_retry_has_the_same_id_and_a_new_timestamp(receiver: Receiver, certificate: Path) -> None:
    clock = itertools.count(int(time.time()))
    result = target_at(receiver, certificate, clock=lambda: float(next(clock)))

    for _ in range(2):
        result.post("msg_1", BODY)

    (_, first, _), (_, second, _) = receiver.received
    assert first["webhook-id"] == second["webhook-id"] == "msg_1"
    assert int(second["webhook-timestamp"]) == int(first["webhook-timestamp"]) + 1
    assert first["webhook-signature"] != second["webhook-signature"]
    for headers in (first, second):
        Webhook(SECRET).verify(BODY, headers)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_result_is_delivered_if_the_response_is_2xx(receiver: Receiver, certificate: Path, status: int) -> None:
    receiver.status, receiver.answer = status, b""

    target_at(receiver, certificate).post("msg_1", BODY)


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 410, 429, 500, 503])
def test_other_status_is_unavailable(receiver: Receiver, certificate: Path, status: int) -> None:
    receiver.status, receiver.answer = status, b""

    with pytest.raises(Unavailable, match=str(status)):
        target_at(receiver, certificate).post("msg_1", BODY)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(receiver: Receiver, certificate: Path, status: int) -> None:
    receiver.status, receiver.location = status, f"https://{NAME}:{receiver.port}/elsewhere"

    with pytest.raises(Unavailable):
        target_at(receiver, certificate).post("msg_1", BODY)
    assert [path for path, _, _ in receiver.received] == ["/results?a=b"]
    assert receiver.connections == 1


def test_server_that_closes_the_connection_is_unavailable(receiver: Receiver, certificate: Path) -> None:
    receiver.hangs_up = True

    with pytest.raises(Unavailable):
        target_at(receiver, certificate).post("msg_1", BODY)


def test_response_is_read_up_to_a_limit(receiver: Receiver, certificate: Path) -> None:
    receiver.answer = b"x" * (64 << 20)

    target_at(receiver, certificate).post("msg_1", BODY)

    assert receiver.sent < 16 << 20, "64 KiB are read; the rest is what sockets hold"


def test_unreachable_server_is_unavailable(receiver: Receiver, certificate: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable):
            replace(target_at(receiver, certificate), port=unused.getsockname()[1]).post("msg_1", BODY)


def test_untrusted_certificate_is_unavailable(receiver: Receiver, certificate: Path) -> None:
    with pytest.raises(Unavailable):
        target_at(receiver, certificate, context=ssl.create_default_context()).post("msg_1", BODY)
    assert receiver.received == []


def test_certificate_of_another_host_is_unavailable(certificate: Path, tmp_path: Path) -> None:
    other = write_self_signed(tmp_path / "other.pem", "other.example")
    with receiving(other) as receiver:
        with pytest.raises(Unavailable):
            target_at(receiver, other).post("msg_1", BODY)
        assert receiver.received == []


def test_server_without_tls_is_unavailable(receiver: Receiver, certificate: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unavailable):
            replace(target_at(receiver, certificate), port=plain.getsockname()[1]).post("msg_1", BODY)
        thread.join()


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        ["127.0.0.1", "93.184.216.34"],
        ["::ffff:127.0.0.1"],
        ["2606:4700:4700::1111", "::1"],
        ["93.184.216.34", "169.254.169.254"],
    ],
)
def test_host_with_a_private_address_is_rejected_before_connecting(
    receiver: Receiver, certificate: Path, addresses: Sequence[str]
) -> None:
    with pytest.raises(Unavailable):
        target_at(receiver, certificate, *addresses, networks=()).post("msg_1", BODY)
    assert receiver.connections == 0


def test_host_is_resolved_once_per_request(receiver: Receiver, certificate: Path) -> None:
    resolved: list[tuple[str, int]] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        resolved.append((host, port))
        return ["127.0.0.1"] if len(resolved) == 1 else ["10.0.0.1"]

    target_at(receiver, certificate, resolve=rebinding).post("msg_1", BODY)

    assert resolved == [(NAME, receiver.port)]


def test_unresolvable_host_is_unavailable(receiver: Receiver, certificate: Path) -> None:
    def fails(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def finds_none(host: str, port: int) -> Sequence[str]:
        return []

    for resolve in (fails, finds_none):
        with pytest.raises(Unavailable):
            target_at(receiver, certificate, resolve=resolve).post("msg_1", BODY)


def test_proxy_of_the_environment_is_ignored(
    receiver: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    target_at(receiver, certificate).post("msg_1", BODY)

    assert len(receiver.received) == 1


def test_only_public_addresses_are_allowed_by_default() -> None:
    assert make_target("prod", f"https://{NAME}/", KEY).networks in ((), [])
    assert list(make_target("prod", f"https://{NAME}/", KEY, networks=["127.0.0.0/8"]).networks) == LOOPBACK
