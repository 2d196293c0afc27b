"""The owner of an analysis on each page, and in the output of commands."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from command import run_command
from errata import Client
from errata.tokens import Scope, line_of, new_token
from running_service import Running, start_service

from service.evidence.bundle import Bundle

from .test_pages import request

TOKENS = {name: new_token() for name in ("ann", "bob")}


@pytest.fixture(scope="module")
def service(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory, demo: Bundle
) -> Iterator[tuple[Running, dict[str, str]]]:
    """A service, and the ID of an analysis of each owner."""
    folder = tmp_path_factory.mktemp("owners")
    (folder / "tokens").write_text("\n".join(line_of(*item) for item in _lines()))
    rows = "".join(f"{name},0\n" for name in demo.judged_names)
    with start_service(data_dir, folder / "archive", tokens=folder / "tokens") as running:
        ids = {}
        for name, token in TOKENS.items():
            with Client(running.addresses.grpc, token) as client:
                analysis = client.upload(io.BytesIO(f"file_name,top1\n{rows}".encode()), "demo", display_name="net")
                ids[name] = analysis.name.removeprefix("analyses/")
        yield running, ids


def _lines() -> list[tuple[str, Scope, str]]:
    return [(name, Scope.WRITE, token) for name, token in TOKENS.items()]


@pytest.mark.parametrize(
    ("path", "owners"),
    [
        ("/analyses/{bob}", ["owner: bob"]),
        ("/analyses/{bob}/images", ["owner: bob"]),
        ("/datasets/demo/images/{image}?analysis={bob}", ["owner: bob", "owner: ann"]),
        ("/compare?a={ann}&b={bob}", ["analyses/{ann}, owner: ann", "analyses/{bob}, owner: bob"]),
        ("/trend?dataset=demo&mark={ann}&mark={bob}", ["<small>owner: ann</small>", "<small>owner: bob</small>"]),
        ("/review?dataset=demo&analysis={bob}", ["owner: bob"]),
        ("/review/demo/{image}?analysis={bob}", ["owner: bob"]),
    ],
)
def test_pages_show_the_owners(
    service: tuple[Running, dict[str, str]], demo: Bundle, path: str, owners: Sequence[str]
) -> None:
    running, ids = service
    page = request(running, path.format(image=demo.judged_names[0], **ids), token=TOKENS["ann"]).text

    for owner in owners:
        assert owner.format(**ids) in page


def test_a_trend_is_filtered_by_owner(service: tuple[Running, dict[str, str]]) -> None:
    """Both analyses are of the same version of a model, which a trend shows once."""
    running, ids = service
    with Client(running.addresses.grpc, TOKENS["bob"]) as client:
        for owner, name in ids.items():
            result = client.trend(dataset="demo", owner=owner)
            assert ([model.analysis for model in result.models], result.owner) == ([f"analyses/{name}"], owner)
            assert f"stored analyses of the owner {owner}," in client.trend_report(dataset="demo", owner=owner).decode()
        assert len(client.trend(dataset="demo").models) == 1
        assert [*client.trend(dataset="demo", owner="nobody").models] == []


@pytest.mark.parametrize(
    ("query", "shown"), [("owner=ann", {"ann"}), ("owner=bob", {"bob"}), ("owner=nobody&mark={ann}", {"ann"})]
)
def test_the_trend_page_is_filtered_by_owner(
    service: tuple[Running, dict[str, str]], query: str, shown: set[str]
) -> None:
    running, ids = service
    page = request(running, f"/trend?dataset=demo&{query.format(**ids)}", token=TOKENS["ann"]).text

    assert {name for name in ids if f"<small>owner: {name}</small>" in page} == shown
    assert f'name="owner" value="{query.removeprefix("owner=").partition("&")[0]}"' in page


@pytest.mark.parametrize(
    ("arguments", "owner"),
    [
        (["images", "{bob}"], "Owner: bob\n"),
        (["explain", "{image}", "--analysis", "{bob}"], "Owner: bob\n"),
        (["compare", "{ann}", "{bob}"], "Owner of A: ann. Owner of B: bob.\n"),
        (["trend", "--dataset", "demo", "--owner", "bob", "--json"], '"analysis": "analyses/{bob}"'),
        (["trend", "--dataset", "demo", "--owner", "ann", "--json"], '"analysis": "analyses/{ann}"'),
    ],
)
def test_commands_show_the_owners(
    service: tuple[Running, dict[str, str]], demo: Bundle, tmp_path: Path, arguments: Sequence[str], owner: str
) -> None:
    running, ids = service
    environment = {
        "ERRATA_SERVER": running.addresses.grpc,
        "ERRATA_TOKEN": TOKENS["ann"],
        "HOME": str(tmp_path),
    }
    done = run_command([text.format(image=demo.judged_names[0], **ids) for text in arguments], environment)

    assert done.returncode == 0, done.stderr
    assert owner.format(**ids) in done.stdout
