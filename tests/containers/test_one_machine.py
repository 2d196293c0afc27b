"""One machine, as the operations manual describes it: tokens and TLS, the loss of Redis, and a restore elsewhere."""

import json
import os
import re
import shutil
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from errata import Client, pb
from errata.errors import ErrataError, NotFound, PermissionDenied, Unauthenticated
from pki import Authority

from service.evidence.bundle import Bundle

from .stack import ROOT, Stack, copy_project, docker, manual_block

COMMENT = re.compile(r"^( +)# (ERRATA_\w+: .*|- \./.*)$", re.MULTILINE)  # a setting that an operator may uncomment
KUBERNETES = "deploy/kubernetes/README.md"
BACKUP = ("archive.tar", "secrets", ".env", "docker-compose.yml", "ca.crt", "ci.token", "ann.token")


def uncomment_settings(folder: Path) -> None:
    """Edit docker-compose.yml as the manual says: the settings of the API, and tokens instead of insecure access."""
    path = folder / "docker-compose.yml"
    before, start, rest = path.read_text().partition("\n  api:\n")
    api, end, after = rest.partition("\n  worker:\n")
    api = COMMENT.sub(r"\1\2", api).replace('ERRATA_ALLOW_INSECURE: "true"', 'ERRATA_ALLOW_INSECURE: "false"')
    path.write_text(before + start + api + end + after)


def write_registries(folder: Path) -> None:
    """Write the example of ERRATA_REGISTRIES into `.env`: on one line, in single quotes."""
    example = re.search(
        r"^cat > registries <<'JSON'\n(.+?)^JSON", manual_block("(umask 077\ncat", KUBERNETES), re.M | re.S
    )
    assert example
    (folder / ".env").write_text(f"ERRATA_REGISTRIES='{json.dumps(json.loads(example[1]))}'\n")


def install(name: str, image_names: Path, folder: Path) -> Stack:
    """Return a stack in a copy of the project, without monitoring."""
    stack = Stack(name, image_names, copy_project(folder))
    stack.environment["COMPOSE_PROFILES"] = ""
    programs = folder / "bin"
    programs.mkdir()
    if not shutil.which("sudo"):
        (programs / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (programs / "sudo").chmod(0o755)
    stack.environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), str(programs), os.environ["PATH"]])
    return stack


@pytest.fixture(scope="module")
def machine(image_names: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with tokens and TLS, by the commands of the manual."""
    folder = tmp_path_factory.mktemp("machine") / "errata"
    stack = install("errata-test-machine", image_names, folder)
    uncomment_settings(folder)
    write_registries(folder)
    authority = Authority(folder, "ca")
    pair = authority.issue("server")
    for source, name in ((authority.file, "ca.crt"), (pair.certificate, "server.crt"), (pair.key, "server.key")):
        source.rename(folder / name)
    (reviewer,) = re.findall(r"`(\(umask 077; errata token ann [^`]+)`", (ROOT / "deploy" / "README.md").read_text())
    commands = manual_block("(umask 077\nmkdir -p secrets").replace("localhost:50051", stack.grpc)
    stack.down("--volumes")
    try:
        stack.run(commands.replace("docker compose up", f"{reviewer}\ndocker compose up"))
        yield stack
    finally:
        stack.down("--volumes")


def connect(stack: Stack, token: str = "") -> Client:
    """Return a client with the token in a file of the machine."""
    value = (stack.folder / f"{token}.token").read_text().strip() if token else None
    return stack.client(tls=True, ca_file=str(stack.folder / "ca.crt"), token=value)


def test_calls_without_a_token_without_tls_and_beyond_a_scope_are_refused(machine: Stack) -> None:
    with connect(machine) as anonymous, pytest.raises(Unauthenticated):
        anonymous.datasets()
    with machine.client() as plain, pytest.raises(ErrataError):
        plain.datasets()
    with connect(machine, "ci") as writer, pytest.raises(PermissionDenied):
        writer.create_review("demo", "no-such-image", comment="x")


def test_pages_use_the_certificate_and_the_health_check_too(machine: Stack) -> None:
    context = ssl.create_default_context(cafile=str(machine.folder / "ca.crt"))
    url = f"https://localhost:{machine.ports['ERRATA_HTTP_PORT']}/readyz"
    with urllib.request.urlopen(url, timeout=10, context=context) as response:
        assert response.status == 200
    (container,) = machine.containers("api")
    assert docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy"


def test_only_the_user_of_the_containers_can_read_the_tokens(machine: Stack) -> None:
    tokens = (machine.folder / "secrets" / "tokens").stat()
    assert (tokens.st_uid, tokens.st_mode & 0o077) == (10001, 0)


def finished(client: Client) -> dict[str, bytes]:
    """Return the verdicts of each finished analysis by its name."""
    return {analysis.name: b"".join(client.export(analysis)) for analysis in client.list(states=["succeeded"])}


def reviews(client: Client, dataset: str = "demo") -> list[tuple[str, str, str]]:
    return [(review.name, review.reviewer, review.comment) for review in client.list_reviews(dataset)]


def test_backup_and_restore_drill(
    machine: Stack, image_names: Path, tmp_path: Path, reference: Path, demo: Bundle
) -> None:
    """Redis is lost for good; then the machine. Everything that was finished is there again, with the same tokens."""
    with connect(machine, "ci") as ci, connect(machine, "ann") as ann:
        ci.upload(reference / "predictions" / "imagenet_val_resnet50_cv.csv", "imagenet-real")
        ci.wait(ci.analyze("demo:efficientnet_lite0", "demo"))
        ann.create_review("demo", demo.judged_names[0], comment="from before the loss")
        analyses, labels = finished(ci), reviews(ann)
        machine.compose("stop", "worker")
        lost = ci.analyze("demo:efficientnet_lite1", "demo")  # still open
    assert len(analyses) == 2
    assert [(reviewer, comment) for _, reviewer, comment in labels] == [("ann", "from before the loss")]

    backup, _ = manual_block("docker compose exec").splitlines()
    machine.run(backup)
    machine.down()
    docker("volume", "rm", f"{machine.name}_redis")
    machine.up()
    with connect(machine, "ci") as ci, connect(machine, "ann") as ann:
        assert (finished(ci), reviews(ann)) == (analyses, labels)
        with pytest.raises(NotFound):
            ci.get(lost)
    machine.down("--volumes")

    other = install("errata-test-other", image_names, tmp_path / "other")
    other.run(f"cp --archive {' '.join(str(machine.folder / name) for name in BACKUP)} .")
    other.down("--volumes")
    try:
        other.run(manual_block("docker compose run --rm --no-deps"))
        with connect(other, "ci") as ci, connect(other, "ann") as ann:
            assert (finished(ci), reviews(ann)) == (analyses, labels)
            analysis = ci.wait(ci.analyze("demo:efficientnet_lite1", "demo"))
            assert analysis.state == pb.Analysis.STATE_SUCCEEDED
        other.run(manual_block("docker compose stop api"))  # restore into a running installation
        other.up()
        with connect(other, "ci") as ci:
            assert analyses.items() <= finished(ci).items()
    finally:
        other.down("--volumes")
