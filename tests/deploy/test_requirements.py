"""The errors of deploy/requirements.py; test_compose.py tests the packages that it prints."""

import subprocess
import sys

import pytest

from .conftest import ROOT

EXPECTED = "Expected names, with commas and no spaces between: demo, hub, object-store, onnx, photographs, tracing, "


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "deploy" / "requirements.py"), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("extras", "unknown"),
    [("hbu", "hbu"), ("hub, object-store", " object-store"), ("hub,build", "build"), ("all", "all")],
)
def test_an_unknown_extra_is_refused_with_the_known_extras(extras: str, unknown: str) -> None:
    done = run(extras, EXTRAS=extras)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Unknown extra {unknown!r}. {EXPECTED}")
    assert len(done.stderr.splitlines()) == 1


def test_build_is_refused_as_the_extras_of_an_image() -> None:
    """The Dockerfiles request `build` themselves; EXTRAS is an environment variable there."""
    refused = run("build", EXTRAS="build")
    accepted = run("build", EXTRAS="hub,object-store")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Unknown extra 'build'.")
    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert "hatchling==" in accepted.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hub", "--without-troch"], "unrecognized arguments: --without-troch"),
        (["hub", "--without"], "unrecognized arguments: --without"),
        (["hub", "object-store"], "unrecognized arguments: object-store"),
        ([], "expected a list of extras"),
    ],
)
def test_invalid_arguments_are_refused_with_the_usage(arguments: list[str], message: str) -> None:
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "usage: python3 deploy/requirements.py EXTRA,EXTRA" in done.stderr
