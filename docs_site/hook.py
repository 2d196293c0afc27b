"""The hook of MkDocs: generated pages, manuals, notebooks, and links to files of the repository."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs_site import adr_index, manuals, notebook_page
from docs_site.generated import GENERATED

TUTORIALS = "tutorials/index.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the notebooks to the tutorials, and the records to the decisions."""
    for section in config.nav or []:
        if "Tutorials" in section:
            section["Tutorials"] += [
                {f"{notebook_page.read_title(notebook)} (notebook)": _page_of(notebook)}
                for notebook in notebook_page.list_notebooks()
            ]
        if "Decisions" in section:
            records = [f"adr/{record.name}" for record in adr_index.list_records()]
            section["Decisions"] = [{"Overview": "adr/index.md"}, *records]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no source under docs/."""
    pages = {path: render() for path, render in GENERATED.items()}
    pages |= {path: manuals.read_manual(path) for path in manuals.MANUALS}
    pages |= {_page_of(notebook): notebook_page.render(notebook) for notebook in notebook_page.list_notebooks()}
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Adapt the links of a page that lead to files of the repository, add copies of these files, and list notebooks."""
    if page.file.src_uri == TUTORIALS:
        markdown += notebook_page.render_list({_page_of(path): path for path in notebook_page.list_notebooks()})
    markdown, linked = manuals.adapt_links(markdown, page.file.src_uri)
    for path in sorted(linked):
        target = f"{manuals.FILES}/{path}"
        if files.get_file_from_path(target) is None:
            files.append(File.generated(config, target, content=(manuals.ROOT / path).read_bytes()))
    return markdown


def _page_of(notebook: Path) -> str:
    return f"tutorials/{notebook.stem}_notebook.md"
