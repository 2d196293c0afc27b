"""errata analyze with a gate: when the gate is evaluated, and the files of its result."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from errata.cli.exit_codes import GATE_FAILED
from errata.cli.main import errata
from running_service import MODEL, Running, Start

POLICY = "version: 1\nname: p\nmin_samples: 1\nbounds: [{name: exact, measure: top1_accuracy, min: 1}]\n"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy that no model of these tests meets."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


def analyze(running: Running, *arguments: str | Path) -> Result:
    variables = {"ERRATA_SERVER": running.addresses.grpc, "COLUMNS": "200"}
    return CliRunner().invoke(errata, ["analyze", "--dataset", "demo", *map(str, arguments)], env=variables)


@pytest.mark.parametrize("wait", ["--wait", "--no-wait"])
def test_the_gate_of_an_upload_is_evaluated_because_it_has_finished(
    running: Running, policy: Path, demo_csv: bytes, tmp_path: Path, wait: str
) -> None:
    (tmp_path / "p.csv").write_bytes(demo_csv)

    result = analyze(running, "--predictions", tmp_path / "p.csv", "--gate", policy, wait)

    assert result.exit_code == GATE_FAILED
    assert "FAIL" in result.stderr and "not evaluated" not in result.stderr


@pytest.mark.parametrize("models", [[MODEL], [MODEL, "demo:efficientnet_lite1"]], ids=["one", "several"])
def test_the_gate_of_an_analysis_that_has_not_finished_is_not_evaluated(
    start: Start, policy: Path, models: list[str]
) -> None:
    with start() as running:
        running.gate.clear()
        try:
            result = analyze(running, *models, "--gate", policy, "--no-wait")
        finally:
            running.gate.set()
        names = [analysis.name.removeprefix("analyses/") for analysis in running.client.list()]

    assert result.exit_code == 0
    assert len(names) == len(models) == result.stderr.count("The gate was not evaluated")
    assert all(f"errata gate {name} --wait" in result.stderr for name in names)
