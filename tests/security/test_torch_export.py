"""Why programs of torch.export are refused: reading one runs code, also without a hostile pickle."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from errata.errors import ModelRefused

from service.predictions.model_policy import ModelPolicy
from service.predictions.models import file
from service.taxonomy.imagenet_1k import imagenet_1k

pytestmark = pytest.mark.processes


def replace_expressions(value: Any, code: str) -> Any:
    """Return a JSON value with code in place of the expressions, which torch passes to sympy."""
    if isinstance(value, dict):
        return {key: code if key == "expr_str" else replace_expressions(item, code) for key, item in value.items()}
    return [replace_expressions(item, code) for item in value] if isinstance(value, list) else value


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return a program that creates the file `ran` when torch reads it."""
    size = torch.export.Dim("size", min=2, max=64)
    exported = torch.export.export(torch.nn.Linear(3, 2), (torch.zeros(4, 3),), dynamic_shapes={"input": {0: size}})
    torch.export.save(exported, tmp_path / "plain.pt2")
    code = f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()"
    with zipfile.ZipFile(tmp_path / "plain.pt2") as plain, zipfile.ZipFile(tmp_path / "program.pt2", "w") as changed:
        for name in plain.namelist():
            content = plain.read(name)
            if name.endswith("models/model.json"):
                content = json.dumps(replace_expressions(json.loads(content), code)).encode()
            changed.writestr(name, content)
    return tmp_path / "program.pt2"


def test_torch_runs_the_code_in_an_expression(program: Path) -> None:
    """If this fails, torch reads programs safely: see ADR 0087."""
    command = f"import torch; torch.export.load({str(program)!r})"
    subprocess.run([sys.executable, "-c", command], capture_output=True, timeout=120)

    assert (program.parent / "ran").exists()


def test_errata_refuses_the_program_without_reading_it(program: Path) -> None:
    with pytest.raises(ModelRefused, match=r"torch\.export program"):
        file.load("program.pt2#resnet18", ModelPolicy(folder=program.parent), imagenet_1k())

    assert not (program.parent / "ran").exists()
