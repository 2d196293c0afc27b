"""The script fetch.py of components/evidence-object-store downloads exactly one bundle."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import fsspec
import pytest
import s3fs
from moto.server import ThreadedMotoServer
from redis_server import free_port

from service.evidence.bundle import Bundle, open_bundle, verify

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
    url = f"file://{demo.path}"
    completed = subprocess.run(
        [sys.executable, str(SCRIPT), url, str(tmp_path / "evidence" / "demo")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert verify(open_bundle(tmp_path / "evidence" / "demo"), demo.digest) == []
    size = sum(path.stat().st_size for path in demo.path.iterdir())
    assert completed.stdout == f"{size} bytes downloaded from {url}\n"


def test_folder_objects_and_other_objects_in_s3_are_ignored(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    try:
        bucket = s3fs.S3FileSystem(skip_instance_cache=True)
        bucket.mkdir("fetched")
        bucket.pipe({"fetched/bundle/manifest.json": b"{}", "fetched/bundle2/other.npy": b"o"})
        bucket.call_s3("put_object", Bucket="fetched", Key="bundle/", Body=b"")

        assert script.fetch("s3://fetched/bundle/", tmp_path / "bundle") == 2

        assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["manifest.json"]
    finally:
        server.stop()


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
