"""Deletes downloaded weights: the caches of the Hugging Face Hub and of torch, which have no limit of their own."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import torch
from huggingface_hub import CacheNotFound, constants, scan_cache_dir

_log = structlog.get_logger()


@dataclass(frozen=True)
class _Download:
    """The files of a repository of the hub, or one file of torch."""

    name: str
    size: int  # bytes
    used_at: float  # last access, in seconds since the epoch; on file systems without it, the time of the download
    delete: Callable[[], object]


def delete_old_weights(max_bytes: int) -> None:
    """Delete the least recently used weights until the others have at most `max_bytes`. Errors are logged."""
    try:
        downloads = sorted([*_hub_downloads(), *_torch_downloads()], key=lambda download: download.used_at)
        total = sum(download.size for download in downloads)
        for download in downloads:
            if total <= max_bytes:
                return
            download.delete()
            _log.info("downloaded weights deleted", name=download.name, size=download.size)
            total -= download.size
    except OSError as error:  # such as a file that another worker deleted
        _log.warning("downloaded weights cannot be deleted", error=str(error))


def _hub_downloads() -> Iterator[_Download]:
    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return
    for repository in cache.repos:
        # `delete_revisions` finds a revision by its commit, which a copy of a repository can also have.
        delete = partial(shutil.rmtree, repository.repo_path)
        yield _Download(repository.repo_id, repository.size_on_disk, repository.last_accessed, delete)


def _torch_downloads() -> Iterator[_Download]:
    for file in Path(torch.hub.get_dir(), "checkpoints").glob("*"):
        status = file.stat()
        yield _Download(file.name, status.st_size, status.st_atime, partial(file.unlink, missing_ok=True))
