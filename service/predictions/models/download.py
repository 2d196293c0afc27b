"""What sources that fetch weights share: how large a file is before it is fetched, and what a failed fetch means."""

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

SECONDS = 10.0  # for an answer that only tells a size
RETRY_AFTER = 30.0  # seconds


def hub_file_size(model: str, repository: str, name: str, revision: str | None = None) -> int | None:
    """Return the bytes of a file on Hugging Face's hub; None if it is cached, isn't there or the hub doesn't tell.

    Raise Unavailable if the hub can't be reached, which is found here without the many attempts of a fetch.
    """
    if isinstance(try_to_load_from_cache(repository, name, revision=revision), str):
        return None
    try:
        return get_hf_file_metadata(hf_hub_url(repository, name, revision=revision), timeout=SECONDS).size
    except HfHubHTTPError:
        return None  # the fetch itself says what is wrong
    except Exception as error:  # the hub's client passes on what its transport raises
        raise Unavailable(
            f"{model}: the hub can't be reached", retry_after=RETRY_AFTER, detail=f"{error!s:.200}"
        ) from error


def url_file_size(url: str) -> int | None:
    """Return the bytes behind a URL of weights; None if torch has it in its cache or nobody tells."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if cached.is_file() or not url.startswith(("http://", "https://")):
        return None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS) as answer:  # noqa: S310
            return int(answer.headers.get("Content-Length", ""))
    except (OSError, ValueError):
        return None


@contextmanager
def download_errors(model: str) -> Iterator[None]:
    """Raise ModelNotFound for what isn't on the hub, Unavailable where the hub can't be reached."""
    try:
        yield
    except LocalEntryNotFoundError as error:  # neither cached nor reachable
        raise Unavailable(
            f"{model}: the hub can't be reached", retry_after=RETRY_AFTER, detail=f"{error!s:.200}"
        ) from error
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as error:
        raise ModelNotFound(f"{model}: expected it on the hub, got {error!s:.200}", field="model") from error
    except OSError as error:
        raise Unavailable(
            f"{model}: the weights could not be fetched: {error!s:.200}", retry_after=RETRY_AFTER
        ) from error
