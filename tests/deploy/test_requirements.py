"""The errors of deploy/requirements.py; test_compose.py tests the packages that it prints."""

import subprocess
import sys

import pytest

from .conftest import ROOT

EXPECTED = "Expected names, with commas and no spaces between: demo, hub, object-store, onnx, photographs, tracing, "


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "deploy" / "requirements.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("extras", "unknown"),
    [("hbu", "hbu"), ("hub, object-store", " object-store"), ("build", "build"), ("all", "all")],
)
def test_an_unknown_extra_is_refused_with_the_known_extras(extras: str, unknown: str) -> None:
    done = run(extras)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Unknown extra {unknown!r}. {EXPECTED}")
    assert len(done.stderr.splitlines()) == 1


def test_the_packages_of_builds_are_those_of_an_option() -> None:
    done = run("--build")

    assert (done.returncode, done.stderr) == (0, "")
    assert "hatchling==" in done.stdout
    assert "redis==" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hub", "--without-troch"], "unrecognized arguments: --without-troch"),
        (["hub", "--without"], "unrecognized arguments: --without"),
        (["hub", "object-store"], "unrecognized arguments: object-store"),
        ([], "expected a list of extras"),
        (["hub", "--build"], "expected a list of extras"),
    ],
)
def test_invalid_arguments_are_refused_with_the_usage(arguments: list[str], message: str) -> None:
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "usage: python3 deploy/requirements.py EXTRA,EXTRA" in done.stderr
