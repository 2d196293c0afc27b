"""The tutorial notebook runs against a service with the demo data set."""

from pathlib import Path

import pytest
from running_service import Running

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorials" / "compare_models.ipynb"
CLIENT = Path(__file__).parents[2] / "client"


def test_the_tutorial_notebook_runs(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat  # the import takes 3 s, which each worker would wait for
    from nbclient import NotebookClient

    monkeypatch.setenv("ERRATA_SERVER", running.addresses.grpc)
    monkeypatch.setenv("PYTHONPATH", str(CLIENT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = [len(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]

    NotebookClient(notebook, timeout=60, shutdown_kernel="graceful").execute()

    executed = [len(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    assert executed == stored, "store the outputs again: python tests/scripts/execute_notebook.py"
