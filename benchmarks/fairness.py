"""Two owners in one queue: the waiting time of the analyses of one while another has ten times as many open.

The reference is the waiting time of the same owner alone. One worker runs the demo model on the 20 photographs, in
shards of five. The waiting time is the time from submit to the end of the analysis. Without turns, it would grow with
the number of shards of the other owner.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from errata import Client
from errata.tokens import Scope, line_of, new_token

from benchmarks.caller import MODEL, analyze
from benchmarks.harness import Case, Result, at_most
from benchmarks.processes import redis_server, running

TIMES, LOAD = 9, 10
FAIR = Case(
    "fairness",
    f"an analysis of an owner, while another owner has {LOAD} open",
    "the analysis of the owner alone",
    "ms",
    at_most(3),
)


def measure() -> Iterator[Result]:
    """Yield the ratio of the median waiting times."""
    with redis_server() as (url, folder):
        tokens = {name: new_token() for name in ("busy", "small")}
        file = Path(folder) / "tokens"
        file.write_text("\n".join(line_of(name, Scope.WRITE, token) for name, token in tokens.items()))
        settings = {"ERRATA_TOKENS": str(file), "ERRATA_SHARD_SIZE": "5"}
        with (
            running(url, folder, 1, **settings) as address,
            Client(address, tokens["small"]) as small,
            Client(address, tokens["busy"]) as busy,
        ):
            analyze(small)  # loads the model
            alone, contended = [], []
            for _ in range(TIMES):  # alternately, as the load of the machine can change
                alone.append(_seconds(small))
                contended.append(_seconds_under_load(small, busy))
            yield FAIR.measured(median(contended), median(alone))


def _seconds(client: Client) -> float:
    """Return the time from the submit of an analysis to its end."""
    analysis = analyze(client)
    return float((analysis.end_time.ToNanoseconds() - analysis.create_time.ToNanoseconds()) / 1e9)


def _seconds_under_load(small: Client, busy: Client) -> float:
    """Return the waiting time of an analysis that is submitted after ten of another owner."""
    names = [busy.analyze(MODEL, "demo", fresh=True).name for _ in range(LOAD)]
    seconds = _seconds(small)
    for name in names:
        busy.cancel(name)
    return seconds
