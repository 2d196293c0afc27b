"""The blocking client is generated from the asyncio client."""

import inspect
import runpy
from pathlib import Path
from typing import Any

import errata
import pytest
from errata import AsyncClient, AsyncVerdicts, Client, Verdicts

CLIENT = Path(errata.__file__).parents[1]


@pytest.mark.processes
def test_the_generated_modules_are_up_to_date(tmp_path: Path) -> None:
    generate_sync = runpy.run_path(str(CLIENT / "generate_sync.py"))["generate_sync"]

    generate_sync(tmp_path)

    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert written == {name: (CLIENT / "errata" / "_sync" / name).read_text() for name in written}
    assert written.keys() == {"calls.py", "client.py", "evidence.py", "reviews.py", "verdicts.py"}


@pytest.mark.parametrize(("blocking", "asynchronous"), [(Client, AsyncClient), (Verdicts, AsyncVerdicts)])
def test_both_clients_have_the_same_methods_and_parameters(blocking: type, asynchronous: type) -> None:
    def parameters(kind: type) -> dict[str, Any]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {name: [*inspect.signature(method).parameters] for name, method in methods if name[:1] != "_"}

    assert parameters(blocking) == parameters(asynchronous)
    assert parameters(blocking)
