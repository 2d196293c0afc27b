"""Owners share real workers and a real Redis: the order in which their shards are claimed, not the time, is checked."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from errata import Client
from errata.tokens import Scope, line_of, new_token

from .cluster import Cluster, cluster, wait_for

MODELS = ["demo:efficientnet_lite0", "demo:efficientnet_lite1"]
SHARDS = 4  # of 5 images, of an analysis of the demo data set
TOKENS = {name: new_token() for name in ("busy", "small")}


@pytest.fixture
def service(data_dir: Path, tmp_path: Path) -> Iterator[Cluster]:
    file = tmp_path / "tokens"
    file.write_text("\n".join(line_of(name, Scope.WRITE, token) for name, token in TOKENS.items()))
    with cluster(data_dir, tmp_path, workers=2, seconds=0.04, ERRATA_TOKENS=str(file)) as running:
        yield running


def claims(service: Cluster) -> list[str]:
    """Return the analyses of all claimed shards, in order."""
    events = sorted(service.events("shard claimed"), key=lambda event: str(event["timestamp"]))
    return [analysis for event in events for analysis in event["analyses"]]  # type: ignore[attr-defined]


def submit(client: Client, count: int) -> list[str]:
    return [
        client.analyze(MODELS[number % 2], "demo", fresh=True).name.removeprefix("analyses/") for number in range(count)
    ]


def test_ten_times_the_load_of_another_owner_delays_an_owner_by_one_turn_per_shard(service: Cluster) -> None:
    with Client(service.grpc, TOKENS["busy"]) as busy, Client(service.grpc, TOKENS["small"]) as small:
        many = submit(busy, 10)
        wait_for(lambda: claims(service), "the first shard is claimed")
        before = len(claims(service))
        (own,) = submit(small, 1)
        small.wait(f"analyses/{own}")

        order = claims(service)
        last = max(index for index, analysis in enumerate(order) if analysis == own)
        claimed = Counter("small" if analysis == own else "busy" for analysis in order[before : last + 1])
        assert claimed["small"] == SHARDS
        # Its turns alternate with those of the other owner. Two workers may each have one shard more in progress, and
        # one while the analysis was submitted. Without turns, there would be nearly 40.
        assert claimed["busy"] <= SHARDS + 4

        for analysis in many:
            busy.wait(f"analyses/{analysis}")
    counts = Counter(claims(service))
    assert counts == Counter(dict.fromkeys((own, *many), SHARDS))  # each shard once, and none is lost
