"""A ninth error type in the middle of the order: one row of the table, and one module with its rule.

The commands run on a copy of the packages, in which nothing else changes. The new type has the next free ID, so that
the order of IDs is not the order of the rules.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service.evidence.bundle import Bundle

from .conftest import Errata, environment

ROOT = Path(__file__).resolve().parents[2]
ROW = """    BLURRED = Row(
        id=9,
        severity=Severity.MINOR,
        title="blurred image",
        plural="blurred images",
        description="The image is too blurred for a decision.",
        colors=Colors("#123456", "#abcdef", "#654321"),
        since=2,
    )
"""
NEXT = "    SPURIOUS_CORRELATION = Row("
RULE = '''"""Blurred: the prediction is a class of the second half."""

import numpy as np

from service.domain import Classes, Evidence, Mask


def hits(evidence: Evidence, predicted: Classes) -> Mask:
    """Return the predictions for which the rule holds, shape (N, K)."""
    return np.broadcast_to(predicted >= evidence.num_classes // 2, (len(evidence), predicted.shape[1]))
'''
TYPES = ["correct", "class_overlap", "multi_label", "fine_grained", "fine_grained_oov", "blurred"]
TYPES += ["spurious_correlation", "non_prototypical", "model_failure"]
POLICY = """version: 1
name: release
min_samples: 10
bounds:
  - {name: few blurred, measure: count, types: BLURRED, max: 0}
"""
LISTS = """
import json, runpy
from docs_site import error_types_page
from service.analyses.policy import policy_schema
dashboard = runpy.run_path("deploy/grafana/make_dashboard.py")["text"]()
print(json.dumps([error_types_page.render(), dashboard, policy_schema()]))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with the new row and the new rule."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("client/errata", "service", "docs_site", "deploy/grafana"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    table = folder / "client" / "errata" / "error_types.py"
    before, after = table.read_text().split(NEXT)
    table.write_text(f"{before}{ROW}{NEXT}{after}")
    (folder / "service" / "rules" / "blurred.py").write_text(RULE)
    return folder


@pytest.fixture(scope="module")
def new_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("new-data")


@pytest.fixture
def new_errata(copy: Path, new_data_dir: Path, tmp_path: Path) -> Errata:
    """Return a function that runs a command of the copy."""

    def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        defaults = {"ERRATA_ARCHIVE": str(tmp_path / "archive"), "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'client'}"}
        return subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            cwd=copy,
            env=environment(new_data_dir, **(defaults | settings)),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def predictions(demo: Bundle, tmp_path: Path) -> Callable[[str, list[int]], Path]:
    """Return a function that writes predictions for the 20 photographs: correct, except for the first ones."""

    def write(name: str, first: list[int]) -> Path:
        classes = [*first, *demo.all_targets.tolist()[len(first) :]]
        rows = [f"{file},{predicted}\n" for file, predicted in zip(demo.judged_names, classes, strict=True)]
        (tmp_path / name).write_text("file_name,top1\n" + "".join(rows))
        return tmp_path / name

    return write


def analyze(errata: Errata, predictions: Path) -> tuple[dict[str, Any], Path]:
    """Analyze predictions, and return the analysis and its folder."""
    folder = predictions.with_suffix("")
    done = errata(
        *("analyze", "--local", "--predictions", str(predictions), "--dataset", "demo"),
        *("--output", str(folder), "--json"),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


def test_the_new_type_reaches_every_output(
    new_errata: Errata, predictions: Callable[[str, list[int]], Path], tmp_path: Path
) -> None:
    a, folder_a = analyze(new_errata, predictions("a.csv", [999, 0]))
    _, folder_b = analyze(new_errata, predictions("b.csv", []))
    everything = a["summary"]["groups"]["all"]

    # rules, verdicts, and aggregates
    assert set(everything["counts"]) == set(TYPES)
    assert (everything["counts"]["correct"], everything["counts"]["blurred"], everything["top1_errors"]) == (18, 1, 2)
    assert everything["portions_of_top1_errors"]["blurred"] == everything["portions_of_multi_label_errors"]["blurred"]
    assert everything["portions_of_top1_errors"]["blurred"] == 0.5
    assert everything["gain_if_fixed_top1"]["blurred"] == 0.05
    gains = everything["gain_if_fixed_multi_label"]
    forgiven = everything["multi_label_accuracy_forgiving_minor"] - everything["multi_label_accuracy"]
    assert gains["blurred"] > 0
    assert forgiven == pytest.approx(gains["blurred"] + gains["fine_grained"] + gains["fine_grained_oov"])

    # storage
    name = a["name"].removeprefix("analyses/")
    document = json.loads((tmp_path / "archive" / f"{name}.json").read_text())
    assert document["summary"]["groups"]["all"]["counts"]["BLURRED"] == 1
    listed = json.loads(new_errata("list", "--local", "--json").stdout)["analyses"]
    assert [item["summary"] for item in listed if item["name"] == a["name"]] == [a["summary"]]

    # verdicts, their evidence, and the command line
    lines = [json.loads(line) for line in (folder_a / "verdicts.jsonl").read_text().splitlines()]
    (line,) = [line for line in lines if line["error_type"] == "blurred"]
    assert line["predicted"] == 999
    explained = new_errata("explain", line["file_name"], "--analysis", name, "--local", "--json")
    trace = {step["error_type"]: step["outcome"] for step in json.loads(explained.stdout)["evidence"]["trace"]}
    assert list(trace) == TYPES
    assert (trace["blurred"], trace["spurious_correlation"]) == ("OUTCOME_HIT", "OUTCOME_NOT_REACHED")
    selected = new_errata("show", name, "--type", "blurred", "--local")
    assert f"blurred image  {line['file_name']}" in selected.stdout
    table = new_errata("show", str(folder_a)).stdout.splitlines()
    titles = [text.strip() for text in table]
    positions = [
        next(row for row, text in enumerate(titles) if text.startswith(title))
        for title in ("fine-grained, out", "blurred image", "spurious")
    ]
    assert positions == sorted(positions)

    # comparison
    compared = json.loads(new_errata("compare", str(folder_a), str(folder_b), "--json").stdout)
    changes = compared["groups"]["all"]
    assert [row["error_type"] for row in changes["transitions"]] == TYPES
    assert {kind for kind, count in changes["transitions"][5]["counts"].items() if count} == {"correct"}
    assert changes["fixed_by_type"]["blurred"] == 1
    assert changes["types"]["blurred"]["a"] == 0.05
    assert {image["error_type_a"] for image in compared["fixed"]} > {"blurred"}

    # gate and trend
    (tmp_path / "policy.yaml").write_text(POLICY)
    gate = new_errata("gate", str(folder_a), "--policy", str(tmp_path / "policy.yaml"), "--json")
    (_, reason) = json.loads(gate.stdout)["reasons"]
    assert reason["undecided_reasons"] == ["UNDECIDED_REASON_INEXACT_VALUE"], gate.stderr  # an earlier rule abstains
    assert "Number of blurred images is 1; at most 0 is allowed." in gate.stdout
    trend = json.loads(new_errata("trend", str(folder_a), str(folder_b), "--json").stdout)
    (values,) = [model["values"] for model in trend["models"] if model["analysis"] == a["name"]]
    assert values["blurred"] == 0.5

    # report
    report = (folder_a / "report.html").read_text()
    assert "--t9: #123456;" in report
    assert "--t9: #abcdef;" in report
    assert ".bar .type-9 { fill: var(--t9); }" in report
    assert "The image is too blurred for a decision." in report
    assert 'fill="var(--t9)"' in report
    assert '"value":9,"key":"blurred","title":"blurred image","severity":"minor"' in report


def test_the_new_type_reaches_the_documentation_the_dashboard_and_the_schema(copy: Path) -> None:
    path = os.pathsep.join([str(copy), str(copy / "client")])
    done = subprocess.run(
        [sys.executable, "-c", LISTS],
        cwd=copy,
        env=environment(copy, PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    page, dashboard, schema = json.loads(done.stdout)

    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert rows == TYPES
    assert "BLURRED" in schema["$defs"]["BoundDocument"]["properties"]["types"]["anyOf"][0]["enum"]
    assert '"fixedColor": "#654321"' in dashboard
    assert 'error_type=\\"BLURRED\\"' in dashboard
    assert runpy.run_path(str(ROOT / "deploy" / "grafana" / "make_dashboard.py"))["text"]() != dashboard


def test_analyses_of_the_previous_version_are_read(
    errata: Errata, new_errata: Errata, predictions: Callable[[str, list[int]], Path]
) -> None:
    before, _ = analyze(errata, predictions("before.csv", [999, 0]))

    (after,) = json.loads(new_errata("list", "--local", "--json").stdout)["analyses"]

    counts, counts_before = (item["summary"]["groups"]["all"]["counts"] for item in (after, before))
    assert counts == counts_before | {"blurred": 0}


def test_after_an_upgrade_that_is_undone_the_previous_version_lists_what_it_can_read(
    errata: Errata, new_errata: Errata, predictions: Callable[[str, list[int]], Path], new_data_dir: Path
) -> None:
    previous = partial(errata, ERRATA_DATA_DIR=str(new_data_dir))  # both versions use the same file for the index
    before, _ = analyze(previous, predictions("before.csv", [999, 0]))
    analyze(new_errata, predictions("new.csv", [999, 0]))

    (listed,) = json.loads(previous("list", "--local", "--json").stdout)["analyses"]

    assert listed["name"] == before["name"]


def test_a_client_of_the_previous_version_shows_the_new_type(
    errata: Errata, new_errata: Errata, predictions: Callable[[str, list[int]], Path]
) -> None:
    _, folder = analyze(new_errata, predictions("new.csv", [999, 0]))
    lines = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
    (image,) = [line["file_name"] for line in lines if line["error_type"] == "blurred"]

    shown = errata("show", str(folder)).stdout
    errors = errata("show", str(folder), "--target", str(lines[0]["target"])).stdout

    assert any(line.split()[0] == "blurred" and "50.0 %" in line for line in shown.splitlines() if line.strip())
    assert f"blurred  {image}" in errors
