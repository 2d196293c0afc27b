"""Notebooks as pages: their cells and saved outputs, without scripts from elsewhere."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def list_notebooks() -> list[Path]:
    """Return the notebooks of the tutorials."""
    return sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def read_title(notebook: Path) -> str:
    """Return the first heading of a notebook."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for line in "".join(cell["source"]).splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line.removeprefix("# ").strip()
    raise ValueError(f"{notebook.name} has no title. Begin it with a Markdown cell '# TITLE'.")


def render_list(notebooks: Mapping[str, Path]) -> str:
    """Return a section with links to notebooks by the path of their page; empty if there are no notebooks."""
    links = [f"* [{read_title(notebook)}]({Path(page).name})\n" for page, notebook in notebooks.items()]
    return "\n".join(["\n\n## Notebooks\n", "".join(links)]) if links else ""


def render(notebook: Path) -> str:
    """Return a notebook as Markdown."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source:
            parts.append(f"```python\n{source}\n```")
            parts += [_render_output(output) for output in cell["outputs"]]
    title, _, rest = "\n\n".join(part for part in parts if part).partition("\n")
    return f"{title}\n\n[Download this notebook]({notebook.name}).\n{rest}\n"


def _render_output(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream":
        return _preformat("".join(output["text"]))
    data = output.get("data", {})
    if "image/svg+xml" in data:
        return f'<div class="output">{"".join(data["image/svg+xml"])}</div>'
    if "image/png" in data:
        return f'<img alt="Output" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    html = "".join(data.get("text/html", ""))
    if html and "<script" not in html:
        return f'<div class="output">{html}</div>'
    return _preformat("".join(data.get("text/plain", "")))


def _preformat(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
