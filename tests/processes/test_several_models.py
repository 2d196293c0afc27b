"""errata analyze with several models: an analysis for each, one table, and one exit code."""

import json
from pathlib import Path

import pytest
from command import Done, run_command
from errata import pb
from running_service import MODEL, Running

from .conftest import environment

pytestmark = pytest.mark.processes
OTHER = "demo:efficientnet_lite1"
MISSING = "timm:resnet50"  # the predictor of the tests has no such model
POLICY = "version: 1\nname: p\nmin_samples: 1\nbounds:\n  - {measure: top1_accuracy, min: %s}\n"


def analyze(service: Running, *arguments: str) -> Done:
    settings = environment(Path("/nonexistent"), ERRATA_SERVER=service.addresses.grpc)
    return run_command(("analyze", "--dataset", "demo", *arguments), settings)


def analyses_of(done: Done) -> list[dict[str, str]]:
    """Return the analyses in the output, which also has the log of the service in this process."""
    document, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index('{\n  "analyses"') :])
    return document["analyses"]


def test_the_results_are_one_table_in_the_order_of_the_models(service: Running) -> None:
    done = analyze(service, OTHER, MODEL)

    rows = [line for line in done.stdout.splitlines() if "succeeded" in line]
    assert done.returncode == 0
    assert [row.split()[0] for row in rows] == [OTHER, MODEL]
    names = {analysis.name.removeprefix("analyses/") for analysis in service.client.list(model=MODEL)}
    assert rows[1].split()[-1] in names
    lines = done.stderr.splitlines()
    assert lines.index(f"{OTHER}:") < lines.index(f"{MODEL}:")
    assert "multi-label accuracy (images)" in done.stdout


def test_the_json_has_all_analyses(service: Running) -> None:
    done = analyze(service, MODEL, OTHER, "--json")

    analyses = analyses_of(done)
    assert [analysis["display_name"] for analysis in analyses] == [MODEL, OTHER]
    assert {analysis["state"] for analysis in analyses} == {"STATE_SUCCEEDED"}


def test_a_failed_analysis_has_the_exit_code_4_and_the_others_have_results(service: Running) -> None:
    done = analyze(service, MODEL, MISSING)

    assert done.returncode == 4
    assert f"{MISSING}: MODEL_NOT_FOUND" in done.stdout
    assert "succeeded" in done.stdout


@pytest.mark.parametrize(("minimum", "code", "decision"), [("0", 0, "pass"), ("0.99", 1, "fail")])
def test_a_gate_that_fails_for_one_model_fails(
    service: Running, tmp_path: Path, minimum: str, code: int, decision: str
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY % minimum)

    done = analyze(service, MODEL, OTHER, "--gate", str(policy))

    assert done.returncode == code
    assert done.stdout.count(f" {decision} ") == 2


def test_the_output_has_a_folder_for_each_analysis(service: Running, tmp_path: Path) -> None:
    done = analyze(service, MODEL, OTHER, "--output", str(tmp_path), "--json")

    names = {analysis["name"].removeprefix("analyses/") for analysis in analyses_of(done)}
    assert {folder.name for folder in tmp_path.iterdir()} == names
    assert all((tmp_path / name / "verdicts.jsonl").is_file() for name in names)


def test_a_refused_model_id_is_reported_and_no_model_is_analyzed(service: Running) -> None:
    done = analyze(service, MODEL, "file:../x.pth", "--fresh")

    assert done.returncode == 2
    assert "Invalid path" in done.stderr
    (newest, *_) = service.client.list(model=MODEL)
    assert newest.state in (pb.Analysis.STATE_CANCELLED, pb.Analysis.STATE_SUCCEEDED)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MODEL, OTHER, "--name", "x"), "--name cannot name 2 models"),
        ((MODEL, "model.onnx"), "is a file name"),
        ((), "MODEL and --predictions are missing"),
    ],
)
def test_options_that_do_not_fit_several_models_are_refused(
    service: Running, arguments: tuple[str, ...], message: str
) -> None:
    done = analyze(service, *arguments)

    assert done.returncode == 2
    assert message in done.stderr
