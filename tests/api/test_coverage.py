"""The coverage of an analysis beside its images: on pages, and in the output of commands."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from command import run_command
from errata import Client
from running_service import Running

from service.evidence.bundle import Bundle

from .test_pages import request

NOTE = "Coverage: 8 of 20 images (40.0 %)."


def _upload(client: Client, demo: Bundle, num_predicted: int) -> str:
    """Upload wrong predictions of some images; return the ID of the analysis."""
    rows = "".join(f"{name},0\n" for name in demo.judged_names[:num_predicted])
    return client.upload(io.BytesIO(f"file_name,top1\n{rows}".encode()), "demo").name.removeprefix("analyses/")


@pytest.fixture(scope="module")
def analyses(running: Running, demo: Bundle) -> tuple[str, str]:
    """The IDs of an analysis of 8 of the 20 images, and of one of all images."""
    return _upload(running.client, demo, 8), _upload(running.client, demo, 20)


@pytest.mark.parametrize(
    "path",
    [
        "/analyses/{id}/images",
        "/analyses/{id}/images?type=model_failure",
        "/datasets/demo/images/{image}?analysis={id}",
        "/review?dataset=demo&analysis={id}",
        "/review/demo/{image}?analysis={id}",
    ],
)
def test_pages_show_a_partial_coverage(running: Running, demo: Bundle, analyses: tuple[str, str], path: str) -> None:
    partial, complete = (
        " ".join(request(running, path.format(id=id, image=demo.judged_names[0])).text.split()) for id in analyses
    )

    assert NOTE in partial
    assert complete and "Coverage" not in complete


@pytest.mark.parametrize(
    "arguments",
    [
        ["images", "{id}"],
        ["explain", "{image}", "--analysis", "{id}"],
        ["show", "{id}", "--by", "class"],
        ["show", "{id}", "--by", "superclass"],
    ],
    ids=" ".join,
)
def test_commands_show_a_partial_coverage(
    running: Running, demo: Bundle, analyses: tuple[str, str], tmp_path: Path, arguments: Sequence[str]
) -> None:
    environment = {"ERRATA_SERVER": running.addresses.grpc, "HOME": str(tmp_path)}
    partial, complete = (
        run_command([text.format(id=id, image=demo.judged_names[0]) for text in arguments], environment)
        for id in analyses
    )

    assert (partial.returncode, complete.returncode) == (0, 0), partial.stderr
    assert partial.stdout.startswith(NOTE + "\n")
    assert "Coverage" not in complete.stdout
