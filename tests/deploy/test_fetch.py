"""The script fetch.py of components/evidence-object-store downloads exactly one bundle."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import fsspec
import pytest
import s3fs
from moto.server import ThreadedMotoServer
from redis_server import free_port
from registry_server import RegistryServer

from service.evidence.build import verify_evidence
from service.evidence.bundle import Bundle, open_bundle

SCRIPT = Path(__file__).parents[2] / "deploy" / "kubernetes" / "components" / "evidence-object-store" / "fetch.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """An object store with files that have the names of a bundle, at memory://bucket/bundle."""
    result = fsspec.filesystem("memory")
    result.pipe({"/bucket/bundle/manifest.json": b"{}", "/bucket/bundle/names.npy": b"n" * 100})
    yield result
    result.rm("/bucket", recursive=True)


def test_a_bundle_is_downloaded_completely(demo: Bundle, tmp_path: Path) -> None:
    url, folder = f"file://{demo.path}", tmp_path / "evidence" / "demo"
    completed = subprocess.run(
        [sys.executable, str(SCRIPT), url, str(folder)], capture_output=True, text=True, check=True
    )

    assert (open_bundle(folder).digest, verify_evidence(folder)) == (demo.digest, [])
    size = sum(path.stat().st_size for path in demo.path.iterdir())
    assert completed.stdout == f"{size} bytes downloaded from {url}\n"


@pytest.fixture
def use_store(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that sets the address of S3."""

    def use(address: str) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        s3fs.S3FileSystem.clear_instance_cache()  # its key has no variables of the environment

    return use


@pytest.fixture
def bucket(use_store: Callable[[str], None]) -> Iterator[s3fs.S3FileSystem]:
    """An S3 server with the bucket `fetched`."""
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    use_store(f"http://127.0.0.1:{port}")
    try:
        store = s3fs.S3FileSystem(skip_instance_cache=True)
        store.makedirs("fetched", exist_ok=True)  # the content outlives a server
        yield store
    finally:
        server.stop()


def failure(script: ModuleType, url: str, folder: Path) -> str:
    """Return the reason in the message of a download that fails."""
    with pytest.raises(SystemExit) as caught:
        script.main(url, str(folder))
    message = str(caught.value)
    prefix, remedy = f"Cannot download {url} to {folder}: ", ". Set EVIDENCE_URL to s3://BUCKET/FOLDER, and check"
    assert message.startswith(prefix)
    assert len(message.splitlines()) == 1
    reason, _, rest = message.removeprefix(prefix).partition(remedy)
    assert "errata-object-store" in rest
    return reason


def test_folder_objects_and_other_objects_in_s3_are_ignored(
    script: ModuleType, bucket: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    bucket.pipe({"fetched/bundle/manifest.json": b"{}", "fetched/bundle2/other.npy": b"o"})
    bucket.call_s3("put_object", Bucket="fetched", Key="bundle/", Body=b"")

    assert script.fetch("s3://fetched/bundle/", tmp_path / "bundle") == 2

    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["manifest.json"]


def test_a_missing_bucket_and_a_bad_destination_are_reported(
    script: ModuleType, bucket: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    bucket.pipe({"fetched/bundle/manifest.json": b"{}"})
    (tmp_path / "file").touch()

    assert failure(script, "s3://missing/bundle", tmp_path / "bundle") == "The specified bucket does not exist"
    assert "Not a directory" in failure(script, "s3://fetched/bundle", tmp_path / "file" / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_store_that_refuses_the_credentials_is_reported(
    script: ModuleType, use_store: Callable[[str], None], tmp_path: Path
) -> None:
    with RegistryServer() as server:
        server.fallback = (403, b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>")
        use_store(server.url)

        assert failure(script, "s3://fetched/bundle", tmp_path / "bundle") == "Access Denied"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://fetched/bundle", "Could not connect to the endpoint URL"),
        ("s3://two words/bundle", "Invalid bucket name"),  # a message of several lines
        ("gs://fetched/bundle", "install gcsfs"),
        ("ftps://fetched/bundle", "Protocol not known: ftps"),
    ],
)
def test_a_store_that_cannot_be_reached_and_an_invalid_url_are_reported(
    script: ModuleType, use_store: Callable[[str], None], tmp_path: Path, url: str, reason: str
) -> None:
    use_store("http://127.0.0.1:1")

    assert reason in failure(script, url, tmp_path / "bundle")


def test_a_second_start_downloads_the_bundle_again(
    script: ModuleType, store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    for previous in (folder, tmp_path / "bundle.part"):  # from a pod that was stopped
        previous.mkdir()
        (previous / "old.npy").write_bytes(b"old")

    assert script.fetch("memory://bucket/bundle", folder) == 102

    assert {path.name: path.stat().st_size for path in folder.iterdir()} == {"manifest.json": 2, "names.npy": 100}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    "name", ["../escaped.npy", "deeper/names.npy", "names.npy/..", ".hidden.npy", "run.py", "a\n.npy", "Ünicode.npy"]
)
def test_an_invalid_file_name_is_rejected_before_the_download(
    script: ModuleType, store: fsspec.AbstractFileSystem, tmp_path: Path, name: str
) -> None:
    store.store[f"/bucket/bundle/{name}"] = store.store["/bucket/bundle/names.npy"]  # a store accepts any name

    with pytest.raises(ValueError, match="Unexpected file"):
        script.fetch("memory://bucket/bundle", tmp_path / "evidence" / "bundle")

    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_too_large_is_rejected_without_leftovers(
    script: ModuleType, store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    assert script.fetch("memory://bucket/bundle", tmp_path / "bundle", max_bytes=102) == 102

    with pytest.raises(ValueError, match="at most 101 bytes"):
        script.fetch("memory://bucket/bundle", tmp_path / "bundle", max_bytes=101)

    assert list(tmp_path.iterdir()) == []


def test_too_many_files_are_rejected(script: ModuleType, store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    store.pipe({f"/bucket/bundle/more{number}.npy": b"" for number in range(script.MAX_FILES)})

    with pytest.raises(ValueError, match=f"at most {script.MAX_FILES} files"):
        script.fetch("memory://bucket/bundle", tmp_path / "bundle")


def test_a_folder_without_a_bundle_is_rejected_with_a_message(tmp_path: Path) -> None:
    completed = subprocess.run(
        [sys.executable, str(SCRIPT), f"file://{tmp_path}", str(tmp_path / "bundle")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert completed.returncode == 1
    assert completed.stderr == f"No manifest.json at file://{tmp_path}. Set EVIDENCE_URL to the folder of a bundle.\n"
