"""Third-party scripts that pages of the site load. The scripts are in templates/vendor.

The Content-Security-Policy lists their digests (STATIC_FILES), so that browsers run no other content.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class StaticFile:
    """A file that never changes: another version has another name."""

    name: str
    sha256: str  # base64

    @property
    def url(self) -> str:
        """Return the URL of the file."""
        return f"/static/{self.name}"

    @property
    def integrity(self) -> str:
        """Return the digest as pages and the Content-Security-Policy write it."""
        return f"sha256-{self.sha256}"


# htmx 2.0.11 (0BSD), the file dist/htmx.min.js of the npm package htmx.org.
HTMX = StaticFile("htmx-2.0.11.min.js", "1v3HXyBOa976mbab8ebUrGm4o2T3eSn0XBNHa0AA9xc=")
STATIC_FILES: Mapping[str, StaticFile] = {HTMX.name: HTMX}


@cache
def read_static_file(name: str) -> bytes:
    """Return the content of a file of STATIC_FILES."""
    content = (files("service.report") / "templates" / "vendor" / name).read_bytes()
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert digest == STATIC_FILES[name].sha256, f"This is a bug: {name} has another digest"
    return content
