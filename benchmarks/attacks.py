"""Hostile uploads to a running service: prints a Markdown table and writes its rows as JSON.

    PYTHONPATH=tests python -m benchmarks.attacks --json ROWS.json --before REVISION

Each row starts a new service. Its process tree is killed above 8 GiB, and a call is canceled after 60 s. With
--before, each case also runs on the service of another revision, and the cells show both values. The cases and the
harness come from `tests/security`.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from pyarrow import parquet
from security.attack import Limits, Result, attack
from security.cases import CASES, Case, written
from security.service_process import running_service
from security.uploads import GoodUpload, good_uploads

from benchmarks.processes import CHECKOUT, checkout_of
from benchmarks.synthetic import predictions_csv
from service.evidence.repository import EvidenceRepository

LIMITS = Limits(seconds=60, good_seconds=20, memory=8 << 30)
COPIES = (1, 8)  # numbers of concurrent copies
TITLES = ("case", "copies", "sent", "answer", "seconds", "peak memory of the tree", "good uploads during", "after")


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    case: str
    copies: int
    sent: int  # bytes of one copy
    answer: str
    seconds: float
    peak: int  # bytes
    during: str
    after: str

    def cells(self) -> list[str]:
        """Return the cells as text."""
        peak = f"{self.peak / 1e6:,.0f} MB"
        return [
            *(self.case, str(self.copies), size_text(self.sent), self.answer),
            *(f"{self.seconds:.1f}", peak, self.during, self.after),
        ]


def main() -> None:
    """Run the attacks, print the table, and write the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="the cases whose names contain this text")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--before", metavar="REVISION", help="a git revision that is attacked too")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("interrupted"))  # stops the service
    lines: list[Sequence[str]] = [TITLES, ("---",) * len(TITLES)]
    rows: list[Row] = []
    with ExitStack() as stack:
        sources = [stack.enter_context(checkout_of(options.before))] if options.before else []
        for versions in measure([*sources, CHECKOUT], options.only):
            rows.append(versions[-1])
            lines.append(merge_cells(versions))
            print(f"| {' | '.join(lines[-1])} |", flush=True)
            if options.json:
                options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print("\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))


def measure(sources: Sequence[Path], only: str = "") -> Iterator[Sequence[Row]]:
    """Yield the rows of all checkouts for each case and each number of concurrent copies."""
    with tempfile.TemporaryDirectory(prefix="errata-attacks-") as folder:
        data = Path(folder) / "data"
        evidence_repository = EvidenceRepository({}, data)
        evidence_repository.find("imagenet-real", "")  # builds the bundle before the first row
        good = good_uploads(evidence_repository.find("demo", ""))
        cases = [case for case in (*references(), *CASES) if only in case.name]
        numbers = count()
        for case in cases:
            with written(case) as file:
                for copies in COPIES:
                    yield [
                        _row(
                            case,
                            copies,
                            _run_attack(Path(folder) / str(next(numbers)), data, source, file, copies, good),
                        )
                        for source in sources
                    ]


def merge_cells(versions: Sequence[Row]) -> Sequence[str]:
    """Return the cells of a row; a cell whose value differs between the checkouts shows all values."""
    columns = zip(*(row.cells() for row in versions), strict=True)
    return [cells[0] if len({*cells}) == 1 else " → ".join(cells) for cells in columns]


def references() -> tuple[Case, ...]:
    """Return valid uploads of 50,000 rows, which show the baseline of memory and time."""
    content = predictions_csv()

    def write_parquet(file: BinaryIO) -> None:
        names, classes = zip(*(line.split(",") for line in content.decode().splitlines()[1:]), strict=True)
        parquet.write_table(pa.table({"file_name": names, "top1": [int(number) for number in classes]}), file)

    def write_csv(file: BinaryIO) -> None:
        file.write(content)

    return (
        Case("reference: a good CSV of 50,000 rows", write_csv, packed=False),
        Case("reference: a good Parquet of 50,000 rows", write_parquet, packed=False),
    )


def size_text(size: int) -> str:
    """Return a number of bytes in a readable unit."""
    for unit, factor in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size} B"


def _run_attack(folder: Path, data: Path, source: Path, file: Path, copies: int, good: Sequence[GoodUpload]) -> Result:
    with running_service(folder, data, source) as service:
        return attack(service, file, copies, good, LIMITS)


def _row(case: Case, copies: int, result: Result) -> Row:
    return Row(
        case=case.name,
        copies=copies,
        sent=result.size,
        answer=result.outcome,
        seconds=round(result.seconds, 2),
        peak=result.peak,
        during=result.during.text,
        after=result.after.text,
    )


if __name__ == "__main__":
    main()
