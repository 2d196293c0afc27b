"""Artifacts of W&B: safe files by name, with the digests of the version, and the token only for the API."""

import json
import math
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event

import pytest
import torch
from errata.errors import ErrataError, ModelNotFound, ModelRefused, Unavailable, UnsupportedFormat
from registry_server import RegistryServer, drip_until, send
from unit.predictions.label_spaces import label_space
from unit.predictions.models.transformers_models import files_of, save_vit
from wandb_server import API_KEY, StoredArtifact, WandbServer, wandb_server

from service.predictions import registry_http
from service.predictions.model_id import parse_model_id
from service.predictions.model_policy import ModelPolicy
from service.predictions.models import transformers
from service.predictions.models import wandb as source
from service.predictions.models.loaded_model import LoadedModel
from service.predictions.pinning import pin_model
from service.predictions.registry_http import RegistryAddress

LABELS = {0: "name 0", 1: "name 1", 2: "name 2"}
PREDICTIONS = {"predictions.csv": b"file_name,predicted_class\na.png,name 1\n"}


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as running:
        yield running


def policy_of(server: WandbServer, token: str = API_KEY, **options: object) -> ModelPolicy:
    return ModelPolicy(registries=[RegistryAddress("wandb", server.url, token, "wandb")], **options)  # type: ignore[arg-type]


def load(server: WandbServer, rest: str = "team/project/small:v0", **options: object) -> LoadedModel:
    return source.load(rest, policy_of(server, **options), label_space(3))


def store(server: WandbServer, files: Mapping[str, bytes], **options: object) -> StoredArtifact:
    artifact = StoredArtifact(dict(files), **options)  # type: ignore[arg-type]
    server.versions.append(artifact)
    return artifact


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_vit(tmp_path / "saved", LABELS)
    return tmp_path / "saved"


@pytest.mark.parametrize("algorithm", ["MD5", "XXH128"])
def test_a_model_of_transformers_is_loaded_from_its_safe_files(
    server: WandbServer, saved: Path, algorithm: str
) -> None:
    code = {"own.py": b"raise", "pytorch_model.bin": b"a pickle", "code/config.json": b"{}"}
    store(server, {f"model/{name}": content for name, content in files_of(saved).items()} | code, algorithm=algorithm)

    loaded = load(server)

    expected = transformers.load_folder("m", saved, ModelPolicy(), label_space(3))
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded.module(images), expected.module(images))
    assert loaded.info.model == "wandb:team/project/small:v0"
    fetched = {Path(path.partition("?")[0]).name for path, _ in server.file_requests()}
    assert fetched == {"0", "model.safetensors", "config.json", "preprocessor_config.json"}


def test_predictions_are_used_if_the_artifact_has_them(server: WandbServer) -> None:
    store(server, {**PREDICTIONS, "model.pth": b"a pickle"})

    assert load(server).predictions


def test_the_token_is_sent_to_the_api_only(server: WandbServer) -> None:
    store(server, PREDICTIONS)
    load(server)

    assert len(server.file_requests()) == 2
    assert {token for _, token in server.file_requests()} == {""}


@pytest.mark.parametrize("version", ["v3", "latest", "production", "v3@{digest}"])
def test_a_version_is_pinned_with_its_digest(server: WandbServer, version: str) -> None:
    artifact = store(server, PREDICTIONS, version=3, aliases=("latest", "production"))
    model = parse_model_id(f"wandb:team/project/small:{version.format(digest=artifact.digest)}")

    pinned = pin_model(model, policy_of(server))

    assert str(pinned) == f"wandb://wandb/team/project/small:v3@{artifact.digest}"
    assert pin_model(parse_model_id(str(pinned)), ModelPolicy()) == pinned, "without a request"
    assert load(server, pinned.rest).predictions


def test_a_version_with_another_digest_is_refused(server: WandbServer) -> None:
    store(server, PREDICTIONS)

    with pytest.raises(ModelRefused, match="now has the digest"):
        load(server, "team/project/small:v0@" + "0" * 32)


def test_a_manifest_that_does_not_have_the_digest_is_refused(server: WandbServer) -> None:
    server.sent_manifest = store(server, PREDICTIONS).manifest
    server.sent_manifest["contents"]["predictions.csv"]["digest"] = "AAAAAAAAAAAAAAAAAAAAAA=="

    with pytest.raises(ModelRefused, match="differ from the digest of its version"):
        load(server)


@pytest.mark.parametrize("content", [b"file_name,predicted_class\na.png,name 2\n", b"", b"x" * 10_000_000])
def test_a_file_that_differs_from_the_manifest_is_refused(server: WandbServer, content: bytes) -> None:
    store(server, PREDICTIONS)
    server.server.responses["/files/0/predictions.csv"] = (200, content)

    with pytest.raises(ModelRefused, match="differs from the manifest"):
        load(server)


def test_an_endless_file_ends_at_the_size_in_the_manifest(server: WandbServer) -> None:
    store(server, PREDICTIONS)
    sent = []

    def answer(handler: object) -> None:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        for _ in range(10_000):
            try:
                handler.wfile.write(b"x" * 65_536)  # type: ignore[attr-defined]
            except OSError:
                return
            sent.append(65_536)

    server.server.responses["/files/0/predictions.csv"] = answer

    with pytest.raises(ModelRefused, match="differs from the manifest"):
        load(server)
    assert sum(sent) < 100 << 20


@pytest.mark.parametrize("size", [-(10**12), math.inf])
def test_a_manifest_with_an_impossible_size_is_reported(server: WandbServer, size: float) -> None:
    """The digest of a version does not include sizes, and a negative one would lower the size of the download."""
    artifact = store(server, {"model.onnx": b"x" * 2000, "config.json": b"{}"})
    server.sent_manifest = artifact.manifest
    server.sent_manifest["contents"]["config.json"]["size"] = size

    with pytest.raises(Unavailable):
        load(server, max_download_bytes=1000)
    assert not [path for path, _ in server.file_requests() if path.startswith("/files/")]


def test_files_over_the_limit_are_not_downloaded(server: WandbServer) -> None:
    store(server, {"predictions.csv": b"x" * 2000})

    with pytest.raises(ModelRefused, match="at most 1,000 bytes"):
        load(server, max_download_bytes=1000)
    assert [path for path, _ in server.file_requests()] == ["/manifests/0"]


@pytest.mark.parametrize(
    "files",
    [
        {"model.pth": b"p"},
        {"model.pt2": b"p", "code/a.py": b"p"},
        {"../model.safetensors/..": b"p"},
        {"a\0.onnx": b"p"},
    ],
)
def test_an_artifact_without_safe_files_is_refused(server: WandbServer, files: dict[str, bytes]) -> None:
    store(server, files)

    with pytest.raises(UnsupportedFormat, match="without running code"):
        load(server)


def test_references_to_other_stores_are_not_followed(server: WandbServer) -> None:
    store(server, {"a.txt": b""}, references={"model.safetensors": "http://169.254.169.254/latest"})

    with pytest.raises(UnsupportedFormat, match=r"a\.txt"):
        load(server)


@pytest.mark.parametrize(
    ("rest", "token", "error"),
    [
        ("team/project/small:v9", API_KEY, ModelNotFound),
        ("team/project/small:nothing", API_KEY, ModelNotFound),
        ("team/project/other:v0", API_KEY, ModelNotFound),
        ("team/other/small:v0", API_KEY, ModelNotFound),
        ("team/project/small:v0", "wrong", Unavailable),
        ("//other/team/project/small:v0", API_KEY, ModelNotFound),
    ],
)
def test_a_missing_artifact_or_a_wrong_token_is_reported(
    server: WandbServer, rest: str, token: str, error: type[ErrataError]
) -> None:
    store(server, PREDICTIONS)

    with pytest.raises(error) as caught:
        source.load(rest, policy_of(server, token), label_space(3))
    assert API_KEY not in str(caught.value)


@pytest.mark.parametrize(("state", "error"), [("PENDING", Unavailable), ("DELETED", ModelNotFound)])
def test_a_version_that_is_not_committed_is_not_read(server: WandbServer, state: str, error: type[ErrataError]) -> None:
    store(server, PREDICTIONS, state=state)

    with pytest.raises(error):
        load(server)
    assert server.file_requests() == []


def test_a_redirect_of_the_api_is_not_followed(server: WandbServer) -> None:
    with RegistryServer() as other:
        server.server.responses["/graphql"] = lambda handler: send(handler, 307, b"", Location=f"{other.url}/graphql")
        with pytest.raises(Unavailable, match="redirects to another address"):
            load(server)
        assert other.requests == []


def test_a_redirect_of_a_file_is_not_followed(server: WandbServer) -> None:
    store(server, PREDICTIONS)
    with RegistryServer() as other:
        server.server.responses["/files/0/predictions.csv"] = lambda handler: send(
            handler, 302, b"", Location=f"{other.url}/x"
        )
        with pytest.raises(Unavailable, match="answered HTTP 302"):
            load(server)
        assert other.requests == []


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.com/x", "http://user@{host}/x", "http://[::1", "https:///x", "x" * 9000],
)
def test_an_address_of_another_scheme_is_refused(server: WandbServer, url: str) -> None:
    store(server, PREDICTIONS)
    server.store_url = url.format(host=server.url.partition("//")[2])

    with pytest.raises(ModelRefused, match="no public address"):
        load(server)


def test_internal_hosts_are_refused_unless_the_operator_allows_their_network(server: WandbServer) -> None:
    store(server, PREDICTIONS)
    with wandb_server() as internal:
        internal.versions = server.versions
        server.store_url = internal.url  # another port of 127.0.0.1
        with pytest.raises(ModelRefused, match="Ask the operator to add its network"):
            load(server)
        assert internal.server.requests == []

        address = RegistryAddress("wandb", server.url, API_KEY, "wandb", ("127.0.0.0/8",))
        assert source.load("team/project/small:v0", ModelPolicy(registries=[address]), label_space(3)).predictions
        assert {token for _, token in internal.file_requests()} == {""}


def test_the_addresses_of_many_files_are_read_page_by_page(server: WandbServer) -> None:
    server.page_size = 10
    store(server, {f"a{number}.txt": b"" for number in range(50)} | PREDICTIONS)

    assert load(server).predictions


def test_the_most_files_of_an_artifact_have_addresses_and_more_are_refused(server: WandbServer) -> None:
    server.page_size = 500
    files = {f"a{number}.txt": b"" for number in range(19_999)}
    store(server, files | PREDICTIONS)
    store(server, files | PREDICTIONS | {"b.txt": b""}, version=1)

    assert load(server).predictions
    with pytest.raises(ModelRefused, match=r"has 20,001 files\. .* with only the files of the model\."):
        load(server, "team/project/small:v1")


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"data": {"project": {"artifactCollectionMembership": {}}}},
        {"data": {"project": {"artifactCollectionMembership": {"versionIndex": 0, "artifact": {"id": "a"}}}}},
        {"data": None, "errors": [{"message": "internal error"}]},
        {
            "data": {
                "project": {
                    "artifactCollectionMembership": {
                        "versionIndex": math.inf,
                        "artifact": {"id": "a", "state": "COMMITTED", "digest": "0" * 32},
                    }
                }
            }
        },
    ],
)
def test_an_invalid_answer_is_reported(server: WandbServer, answer: object) -> None:
    server.server.responses["/graphql"] = (200, json.dumps(answer).encode())

    with pytest.raises(Unavailable):
        load(server)


def test_a_server_that_cannot_be_reached_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    address = RegistryAddress("wandb", url, API_KEY, "wandb")

    with pytest.raises(Unavailable, match="cannot be reached"):
        source.load("team/project/small:v0", ModelPolicy(registries=[address]), label_space(3))


def test_a_file_that_is_too_slow_is_not_read_to_its_end(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte arrives within the timeout of a read, so that only the rate ends the download."""
    monkeypatch.setattr(registry_http, "SLOW_SECONDS", 0.2)
    store(server, {"predictions.csv": b" " * 1_000_000})
    stopped = Event()
    server.server.responses["/files/0/predictions.csv"] = drip_until(stopped)
    with pytest.raises(Unavailable, match="bytes per second"):
        load(server)
    stopped.set()
