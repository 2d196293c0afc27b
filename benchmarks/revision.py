"""An upload and a model analysis, compared with another revision of the service and of its client.

Each revision has its own Redis, API, worker, and client process. The calls to the two alternate.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.harness import Case, Result, at_most, medians
from benchmarks.processes import CHECKOUT, environment, redis_server, running
from benchmarks.synthetic import predictions_csv

BEFORE = "the revision of --before"
AIM = at_most(1.1)
CALLS = {  # the call in benchmarks/caller.py, and its number of repetitions
    Case("revision.upload", "upload of 50,000 predictions (CSV), whole call", BEFORE, "ms", AIM): ("upload", 100),
    Case("revision.analysis", "an analysis of 20 photographs, whole call", BEFORE, "ms", AIM): ("analysis", 9),
    Case("revision.start", "from submit to the start of work", BEFORE, "ms", AIM): ("start", 9),
    Case("revision.cached", "the same request again", BEFORE, "ms", AIM): ("cached", 100),
}


def measure(before: Path) -> Iterator[Result]:
    """Yield the results of this checkout, compared with those of another one."""
    with ExitStack() as stack:
        here, there = (stack.enter_context(_calling(checkout)) for checkout in (CHECKOUT, before))
        for case, (call, times) in CALLS.items():
            yield case.measured(*medians(partial(here, call), partial(there, call), times=times))


@contextmanager
def _calling(checkout: Path) -> Iterator[Callable[[str], float]]:
    """Run a service of a checkout with a worker; yield a function that makes a call and returns its seconds."""
    with redis_server() as (url, folder), running(url, folder, 1, checkout) as address:
        predictions = folder / "predictions.csv"
        predictions.write_bytes(predictions_csv())
        program = Path(__file__).with_name("caller.py")
        process = subprocess.Popen(
            [sys.executable, "-P", str(program), address, str(predictions)],
            cwd=checkout,
            env=environment(checkout),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        requests, replies = process.stdin, process.stdout
        assert requests is not None
        assert replies is not None

        def call(name: str) -> float:
            print(name, file=requests, flush=True)
            return float(replies.readline())

        with process:
            try:
                yield call
            finally:
                requests.close()
