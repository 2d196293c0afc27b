"""Helpers for downloads of weights: get the size of a file before its download, and map download errors."""

import errno
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import torch
from errata.errors import ModelNotFound, Unavailable
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

SIZE_SECONDS = 10.0  # time limit for the response to a size request
RETRY_AFTER = 30.0  # seconds


def hub_file_size(model: str, repository: str, name: str, revision: str | None = None) -> int | None:
    """Return the size in bytes of a file on the Hugging Face Hub; None if it is cached, missing, or unknown.

    Raises:
        Unavailable: The hub cannot be reached. A download would retry many times before it fails.
    """
    if isinstance(try_to_load_from_cache(repository, name, revision=revision), str):
        return None
    try:
        return get_hf_file_metadata(hf_hub_url(repository, name, revision=revision), timeout=SIZE_SECONDS).size
    except HfHubHTTPError:
        return None  # the download reports the error
    except Exception as error:  # the hub's client does not wrap the errors of its transport
        raise _hub_unavailable(model, error) from error


def url_file_size(url: str) -> int | None:
    """Return the size in bytes of weights at a URL; None if torch has cached them or the size is unknown."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if cached.is_file() or not url.startswith(("http://", "https://")):
        return None
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=SIZE_SECONDS) as response:  # noqa: S310
            return int(response.headers.get("Content-Length", ""))
    except (OSError, ValueError):
        return None


@contextmanager
def download_errors(model: str) -> Iterator[None]:
    """Map the errors of a download: ModelNotFound if the hub has no such file, Unavailable if the download fails."""
    try:
        yield
    except LocalEntryNotFoundError as error:  # the file is not cached, and the hub cannot be reached
        raise _hub_unavailable(model, error) from error
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as error:
        raise ModelNotFound(
            f"{model}: Not found on the Hugging Face Hub: {error!s:.200}. Check the name and the access rights.",
            field="model",
        ) from error
    except OSError as error:
        raise download_failed(model, error) from error


def download_failed(model: str, error: Exception) -> Unavailable:
    """Return the error for a failed download that may succeed later."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Unavailable(
            f"{model}: The disk of the worker is full. Delete downloaded weights, or set ERRATA_WEIGHTS_CACHE_BYTES.",
            retry_after=RETRY_AFTER,
        )
    return Unavailable(
        f"{model}: The download of the weights failed: {error!s:.200}. Try again later.", retry_after=RETRY_AFTER
    )


def _hub_unavailable(model: str, error: Exception) -> Unavailable:
    return Unavailable(
        f"{model}: The Hugging Face Hub cannot be reached. Try again later.",
        retry_after=RETRY_AFTER,
        detail=f"{error!s:.200}",
    )
