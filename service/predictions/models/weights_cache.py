"""Deletes downloaded weights: the caches of the Hugging Face Hub and of torch, which have no limit of their own."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import torch
from huggingface_hub import CacheNotFound, constants, scan_cache_dir

RUNNING_SECONDS = 3600.0  # an incomplete file that was written this recently is being downloaded
_log = structlog.get_logger()


@dataclass(frozen=True)
class _Download:
    """The files of a model of the hub, or one file."""

    name: str
    size: int  # bytes
    used_at: float  # last access or change, in seconds since the epoch; most file systems update the access rarely
    is_running: bool  # whether a worker is downloading it, perhaps another one that shares the cache
    delete: Callable[[], object]


def delete_old_weights(max_bytes: int) -> None:
    """Delete the least recently used weights until the others have at most `max_bytes`. Errors are logged.

    Running downloads count, but are not deleted.
    """
    try:
        downloads = sorted([*_models_of_hub(), *_single_files()], key=lambda download: download.used_at)
    except (OSError, ValueError) as error:  # ValueError: the path of the cache is a file
        _log.warning("downloaded weights cannot be listed", error=str(error))
        return
    total = sum(download.size for download in downloads)
    for download in downloads:
        if total <= max_bytes:
            return
        if download.is_running:
            continue
        try:
            download.delete()
        except OSError as error:  # such as a file that another worker deleted
            _log.warning("downloaded weights cannot be deleted", name=download.name, error=str(error))
            continue
        _log.info("downloaded weights deleted", name=download.name, size=download.size)
        total -= download.size


def _models_of_hub() -> Iterator[_Download]:
    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return
    for repository in cache.repos:
        if repository.repo_type == "model":
            # `delete_revisions` finds a revision by its commit, which a copy of a repository can also have.
            delete = partial(shutil.rmtree, repository.repo_path)
            used_at = max(repository.last_accessed, repository.last_modified)
            is_running = _are_running(repository.repo_path.glob("blobs/*.incomplete"))
            yield _Download(repository.repo_id, repository.size_on_disk, used_at, is_running, delete)


def _single_files() -> Iterator[_Download]:
    """Yield the checkpoints of torch, and incomplete downloads of the hub, which `scan_cache_dir` does not count."""
    incomplete = Path(constants.HF_HUB_CACHE).glob("models--*/blobs/*.incomplete")
    for file in filter(Path.is_file, [*Path(torch.hub.get_dir(), "checkpoints").glob("*"), *incomplete]):
        with suppress(FileNotFoundError):  # another worker can move or delete it
            status = file.stat()
            used_at = max(status.st_atime, status.st_mtime)
            is_running = file.suffix in (".incomplete", ".partial") and _are_running([file])
            yield _Download(file.name, status.st_size, used_at, is_running, partial(file.unlink, missing_ok=True))


def _are_running(files: Iterable[Path]) -> bool:
    """Return whether a download of an incomplete file is running; False for files that another worker has moved."""
    for file in files:
        with suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime < RUNNING_SECONDS:
                return True
    return False
