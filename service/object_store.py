"""Object stores, which fsspec opens by URL, such as s3://bucket/prefix."""

from typing import Any

from errata.errors import InvalidSetting


def is_remote(location: str) -> bool:
    """Return whether a location is the URL of an object store, and not a local path."""
    return "://" in location and not location.startswith("file://")


def open_file_system(location: str, setting: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path in it.

    Args:
        location: The URL.
        setting: Name of the setting that has the URL, for the message.

    Raises:
        InvalidSetting: The URL's scheme is not supported.
    """
    try:
        import fsspec

        file_system, path = fsspec.core.url_to_fs(location, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise InvalidSetting(
            f"{setting}: cannot open {location!r:.120} ({error}). Use a folder or a supported URL, and install "
            "errata-service[object-store] for object stores.",
            field=setting,
        ) from error
    return file_system, path
