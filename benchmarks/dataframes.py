"""Data frames: verdicts of imagenet-real through the client, compared with reads of a local Parquet file."""

import csv
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from errata import Client

from benchmarks.result import Figure
from benchmarks.serving import serving
from benchmarks.synthetic import annotation_csv, predictions_csv
from service.bootstrap.build import Inputs, build_evidence

TIMES, WARM = 15, 3
AIM = 3.0  # times reading the rows from a local file
EVIDENCE_AIM = 4.0  # times the data frame without evidence


def measure() -> Iterator[Figure]:
    """Yield the medians of `to_pandas` without and with evidence; the service runs in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = build_evidence("imagenet-real", _inputs(Path(folder)), Path(folder) / "bundle")
        evidence = f'{{"imagenet-real": "{bundle.path}"}}'
        with (
            serving(["service", "serve", "--local"], folder, ERRATA_EVIDENCE=evidence) as address,
            Client(address) as client,
        ):
            analysis = client.upload(io.BytesIO(_predictions()), "imagenet-real")
            file = Path(folder) / "verdicts.parquet"
            file.write_bytes(b"".join(client.export(analysis, "parquet")))
            local, plain, full = _medians(
                [
                    lambda: pd.read_parquet(file),
                    lambda: client.verdicts(analysis).to_pandas(),
                    lambda: client.verdicts(analysis, with_evidence=True).to_pandas(),
                ]
            )
            rows = len(client.verdicts(analysis, with_evidence=True).to_pandas())
    yield Figure(
        f"verdicts of {rows:,} images as a data frame (reference: pandas.read_parquet of the rows)",
        value=plain * 1000,
        unit="ms",
        reference=local * 1000,
        ratio=plain / local,
        aim=f"at most {AIM:g} times the reference",
        holds=plain <= AIM * local,
    )
    yield Figure(
        "… with evidence (reference: without)",
        value=full * 1000,
        unit="ms",
        reference=plain * 1000,
        ratio=full / plain,
        aim=f"at most {EVIDENCE_AIM:g} times the reference",
        holds=full <= EVIDENCE_AIM * plain,
    )


def _medians(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Return the median seconds of several calls, run alternately so that other load affects all of them."""
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(WARM + TIMES):
        for call, measured in zip(calls, seconds, strict=True):
            started = time.perf_counter()
            call()
            if turn >= WARM:
                measured.append(time.perf_counter() - started)
    return [statistics.median(measured) for measured in seconds]


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
