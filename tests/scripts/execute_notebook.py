"""Execute a notebook against a running service and store its outputs, with charts as SVG, which every viewer shows."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

SETUP = "import altair; altair.renderers.enable('svg')"


def main(path: Path) -> None:
    """Execute the notebook at a path; ERRATA_SERVER names the service."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SETUP))
    NotebookClient(notebook, timeout=300, record_timing=False).execute()
    del notebook.cells[0]
    for number, cell in enumerate([cell for cell in notebook.cells if cell.cell_type == "code"], 1):
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of this machine
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
