"""Data frames: verdicts of imagenet-real and exports through the client, compared with local reads and writes."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from errata import Client

from benchmarks.harness import Case, Result, at_most, minima, timed
from benchmarks.processes import LOCAL, serving
from benchmarks.synthetic import annotation_csv, predictions_csv
from service.bootstrap.build import Inputs, build_evidence

TIMES, WARM = 15, 3
PLAIN = Case(
    "dataframes.plain",
    "verdicts of all images of imagenet-real as a data frame",
    "pandas.read_parquet of the rows",
    "ms",
    at_most(3),
)
EVIDENCE = Case("dataframes.evidence", "the same with evidence", "without evidence", "ms", at_most(4))
LINES = Case("dataframes.lines", "their export as JSON Lines", "json.dumps of the rows", "ms", at_most(6))


def measure() -> Iterator[Result]:
    """Yield the minima of data frames without and with evidence, and of an export; the service is another process."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = build_evidence("imagenet-real", _inputs(Path(folder)), Path(folder) / "bundle")
        evidence = f'{{"imagenet-real": "{bundle.path}"}}'
        with serving(LOCAL, folder, ERRATA_EVIDENCE=evidence) as address, Client(address) as client:
            analysis = client.upload(io.BytesIO(_predictions()), "imagenet-real")
            file = Path(folder) / "verdicts.parquet"
            file.write_bytes(b"".join(client.export(analysis, "parquet")))
            local, plain, full = minima(
                timed(lambda: pd.read_parquet(file)),
                timed(lambda: client.verdicts(analysis).to_pandas()),
                timed(lambda: client.verdicts(analysis, with_evidence=True).to_pandas()),
                times=TIMES,
                warm=WARM,
            )
            rows = [json.loads(line) for line in b"".join(client.export(analysis, with_evidence=True)).splitlines()]
            lines, dumped = minima(
                timed(lambda: list(client.export(analysis, with_evidence=True))),
                timed(lambda: [json.dumps(row) for row in rows]),
                times=WARM,
            )
    yield PLAIN.measured(plain, local)
    yield EVIDENCE.measured(full, plain)
    yield LINES.measured(lines, dumped)


def _inputs(folder: Path) -> Inputs:
    """Return the official annotation and mistakes from ERRATA_REFERENCE_DIR, or a synthetic annotation."""
    if reference := os.environ.get("ERRATA_REFERENCE_DIR"):
        return Inputs(
            annotations=Path(reference) / "imagenet-multilabel" / "human_accuracy_v3.0.0.json",
            mistakes=Path(reference) / "imagenet-mistakes" / "metadata",
        )
    annotations = folder / "annotations.csv"
    annotations.write_text(annotation_csv())
    return Inputs(annotations=annotations)


def _predictions() -> bytes:
    """Return a ResNet-50's predictions from ERRATA_REFERENCE_DIR, or synthetic ones."""
    if reference := os.environ.get("ERRATA_REFERENCE_DIR"):
        with (Path(reference) / "predictions" / "imagenet_val_resnet50_cv.csv").open(newline="") as file:
            rows = [f"{row['file_name']},{row['top1']}" for row in csv.DictReader(file)]
        return ("file_name,top1\n" + "\n".join(rows) + "\n").encode()
    return predictions_csv()
