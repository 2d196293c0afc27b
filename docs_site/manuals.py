"""Links from pages of the site to files of the repository, and manuals (pages whose source is outside docs/)."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MANUALS = {  # page of the site: its source
    "concepts/superclasses.md": "service/taxonomy/README.md",
    "how-to/kubernetes.md": "deploy/kubernetes/README.md",
    "operations/changelog.md": "CHANGELOG.md",
    "operations/manual.md": "deploy/README.md",
}
PAGES = {source: page for page, source in MANUALS.items()} | {
    "README.md": "index.md",
    "SECURITY.md": "operations/threat-model.md",
    "client/errata/error_types.py": "reference/error-types.md",
    "client/errata/errors.py": "reference/errors.md",
    "protos/errata/v1/analysis_service.proto": "reference/grpc/services.md",
    "protos/errata/v1/catalog_service.proto": "reference/grpc/services.md",
    "service/settings.py": "reference/settings.md",
    "service/telemetry.py": "reference/metrics.md",
}
FILES = "files"  # folder of the site for copies of the repository's files
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def read_manual(page: str) -> str:
    """Return the Markdown of a manual."""
    return (ROOT / MANUALS[page]).read_text(encoding="utf-8")


def adapt_links(text: str, page: str) -> tuple[str, set[str]]:
    """Rewrite the links of a page that lead out of docs/.

    A link to a manual, or to the source of a generated page, leads to that page. A link to another file leads to a copy
    of it, and a link to a folder becomes plain text. Links within docs/ do not change, except in a manual.

    Args:
        text: Markdown of the page.
        page: Path of the page, relative to docs/.

    Returns:
        The Markdown with adapted links, and the paths of the linked files, relative to the repository's root.

    Raises:
        ValueError: The target of a link does not exist.
    """
    source = MANUALS.get(page, f"docs/{page}")
    linked: set[str] = set()

    def rewrite(match: re.Match[str]) -> str:
        label, target = match.groups()
        path, separator, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not path:
            return match.group()
        path = os.path.normpath(Path(source).parent / path)
        if path.startswith("docs/"):
            inside = _relative(path.removeprefix("docs/"), page)
            return f"[{label}]({inside}{separator}{anchor})" if page in MANUALS else match.group()
        if path in PAGES:
            return f"[{label}]({_relative(PAGES[path], page)}{separator}{anchor})"
        if (ROOT / path).is_file():
            linked.add(path)
            return f"[{label}]({_relative(f'{FILES}/{path}', page)})"
        if (ROOT / path).is_dir():
            return label
        raise ValueError(f"{source} links to {target}, which does not exist. Correct the link.")

    return _LINK.sub(rewrite, text), linked


def _relative(target: str, page: str) -> str:
    return os.path.relpath(target, Path(page).parent)
