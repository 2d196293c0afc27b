"""errata analyze with a gate: when the gate is evaluated, and the files of its result."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from errata import Client, pb
from errata.cli import analyze_models
from errata.cli.exit_codes import ANALYSIS_FAILED, GATE_FAILED, INTERRUPTED, UNDECIDED
from errata.cli.junit import to_junit
from errata.cli.main import ClosedPipe, errata
from errata.cli.progress import follow
from errata.errors import ErrataError, InvalidInput, InvalidRequest, Unavailable
from rich.console import Console
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
    assert "FAIL" in result.stdout and "not evaluated" not in result.stdout


@pytest.mark.parametrize("models", [[MODEL], [MODEL, "demo:efficientnet_lite1"]], ids=["one", "several"])
def test_a_gate_that_is_not_evaluated_because_the_analysis_has_not_finished_is_undecided(
    start: Start, policy: Path, models: list[str]
) -> None:
    with start() as running:
        running.gate.clear()
        try:
            result = analyze(running, *models, "--gate", policy, "--no-wait")
        finally:
            running.gate.set()
        names = [analysis.name.removeprefix("analyses/") for analysis in running.client.list()]

    assert result.exit_code == UNDECIDED
    assert len(names) == len(models) == result.stderr.count("The gate was not evaluated")
    assert all(f"errata gate {name} --wait" in result.stderr for name in names)


def test_the_results_of_the_gates_of_several_models_are_written(
    start: Start, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a canceled analysis has only the result of its gate."""
    other = "demo:efficientnet_lite1"

    def cancel_other(client: Client, name: str, console: Console) -> pb.Analysis:
        if client.get(name).display_name == other:
            return client.cancel(name)
        running.gate.set()
        return follow(client, name, console)

    monkeypatch.setattr(analyze_models, "follow", cancel_other)
    with start(open_gate=False) as running:
        result = analyze(running, other, MODEL, "--gate", policy, "--output", tmp_path / "results")
        files = {
            running.client.get(f"analyses/{folder.name}").display_name: sorted(file.name for file in folder.iterdir())
            for folder in (tmp_path / "results").iterdir()
        }

    assert result.exit_code == ANALYSIS_FAILED
    assert files == {
        MODEL: ["classes.jsonl", "junit.xml", "report.html", "summary.json", "verdicts.jsonl"],
        other: ["junit.xml"],
    }
    for file in tmp_path.glob("results/*/junit.xml"):
        assert ElementTree.parse(file).getroot().get("name") == "errata"


def test_the_files_of_a_gate_are_written_although_the_reader_of_stdout_has_ended(
    running: Running, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ClosedPipe

    monkeypatch.setattr("errata.cli.analyze.show_analysis", fail)
    markdown = tmp_path / "gate.md"

    result = analyze(running, MODEL, "--gate", policy, "--output", tmp_path / "results", "--markdown", markdown)

    assert isinstance(result.exception, ClosedPipe)
    assert markdown.exists() and (tmp_path / "results" / "junit.xml").exists()


@pytest.mark.parametrize("models", [[MODEL], [MODEL, "demo:efficientnet_lite1"]], ids=["one", "several"])
def test_the_decision_and_its_reasons_are_on_stderr_if_stdout_has_json(
    running: Running, policy: Path, models: list[str]
) -> None:
    result = analyze(running, *models, "--gate", policy, "--json")

    assert result.exit_code == GATE_FAILED
    start = result.stdout.index("{\n")  # the log of the service is also in this text
    document, _ = json.JSONDecoder().raw_decode(result.stdout, start)
    assert len(document.get("analyses", [document])) == len(models)
    lines = [line.split() for line in result.stderr.splitlines()]
    assert lines.count(["FAIL", "p"]) == len(models)
    assert sum(line[:2] == ["fail", "exact:"] for line in lines) == len(models)


@pytest.mark.parametrize(
    "refused",
    [
        ["--predictions", "bad.csv"],
        ["demo:nosuch"],
        ["--predictions", "none.csv"],
        ["--predictions", "p.csv", "--gate", "none.yaml"],
        ["--predictions", "p.csv", "--label", "a"],
        ["--predictions", "p.csv", "--subset", "none.txt"],
        ["--predictions", "p.csv", "--answers-mapping", "none.csv"],
        [MODEL, "--no-wait"],
        [MODEL, "demo:nosuch"],
        [MODEL, "demo:efficientnet_lite1", "--gate", "none.yaml"],
    ],
    ids=["upload", "model", "predictions", "policy", "label", "subset", "mapping", "wait", "models", "models' policy"],
)
def test_a_refused_call_leaves_no_results_of_an_earlier_one_in_the_folder(
    running: Running, policy: Path, demo_csv: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_bytes(demo_csv)
    Path("bad.csv").write_text("no predictions")
    policy.write_text(POLICY.replace("min: 1}", "min: 0}"))
    options = ["--gate", "policy.yaml", "--output", "results"]
    passed = analyze(running, "--predictions", "p.csv", *options)
    Path("results/notes.txt").write_text("notes")

    result = analyze(running, *options, *refused)

    assert (passed.exit_code, isinstance(result.exception, ErrataError)) == (0, True)
    files = {path.name for path in Path("results").iterdir()}
    assert "notes.txt" in files and not files & {"summary.json", "junit.xml"}


def test_the_results_of_several_models_replace_the_result_of_an_earlier_call_in_the_folder(
    running: Running, policy: Path, tmp_path: Path
) -> None:
    options = ["--gate", policy, "--output", tmp_path / "results"]
    analyze(running, MODEL, *options)

    result = analyze(running, MODEL, "demo:efficientnet_lite1", *options)

    assert result.exit_code == GATE_FAILED
    assert not (tmp_path / "results" / "summary.json").exists() and not (tmp_path / "results" / "junit.xml").exists()
    assert len([*(tmp_path / "results").glob("*/summary.json")]) == 2


def test_an_option_without_a_valid_value_changes_no_folder(running: Running, tmp_path: Path) -> None:
    analyze(running, MODEL, "--output", tmp_path)

    result = analyze(running, MODEL, "--output", tmp_path, "--min-coverage", "none")

    assert "Usage:" in result.stderr
    assert (tmp_path / "summary.json").exists()


def test_an_interrupted_call_leaves_no_results_of_an_earlier_one_in_the_folder(
    running: Running, demo_csv: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(client: Client, name: str, console: Console) -> pb.Analysis:
        raise KeyboardInterrupt

    (tmp_path / "p.csv").write_bytes(demo_csv)
    analyze(running, "--predictions", tmp_path / "p.csv", "--output", tmp_path / "results")
    monkeypatch.setattr("errata.cli.analyze.follow", interrupt)

    result = analyze(running, MODEL, "--output", tmp_path / "results")

    assert result.exit_code == INTERRUPTED
    assert not (tmp_path / "results" / "summary.json").exists()


def test_a_file_cannot_be_the_folder_of_the_results(running: Running, demo_csv: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(demo_csv)

    result = analyze(running, "--predictions", tmp_path / "p.csv", "--output", tmp_path / "p.csv")

    assert isinstance(result.exception, InvalidInput)
    assert result.exception.message.startswith("Cannot create the folder")


def test_the_baseline_can_be_the_folder_whose_results_are_replaced(
    running: Running, policy: Path, demo_csv: bytes, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_bytes(demo_csv)
    policy.write_text(POLICY.replace("min: 1}", "max_decrease: 0}"))
    arguments = ["--predictions", tmp_path / "p.csv", "--output", tmp_path / "results"]
    analyze(running, *arguments)

    result = analyze(running, *arguments, "--gate", policy, "--baseline", tmp_path / "results")

    assert result.exit_code == 0
    assert "baseline: " in (tmp_path / "results" / "junit.xml").read_text()


@pytest.mark.parametrize(
    "refused",
    [
        ["--predictions", "bad.csv", "--gate", "policy.yaml", "--baseline", "results"],
        ["--predictions", "results/bad.csv"],
    ],
    ids=["baseline", "predictions"],
)
def test_a_refused_call_removes_only_the_result_of_the_gate_from_a_folder_that_it_reads(
    running: Running, policy: Path, demo_csv: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.csv").write_bytes(demo_csv)
    policy.write_text(POLICY.replace("min: 1}", "max_decrease: 0}"))
    analyze(running, "--predictions", "p.csv", "--output", "results")
    Path("results/junit.xml").write_bytes(to_junit(pb.GateResult(), "the result of an earlier gate"))
    for file in (Path("bad.csv"), Path("results/bad.csv")):
        file.write_text("no predictions")

    result = analyze(running, *refused, "--output", "results")

    assert isinstance(result.exception, ErrataError)
    assert Path("results/summary.json").exists()
    assert not Path("results/junit.xml").exists(), "it would be taken for the decision on the refused call"


def test_the_error_of_a_call_is_reported_even_if_its_folder_cannot_be_changed(running: Running, tmp_path: Path) -> None:
    (tmp_path / "junit.xml").mkdir()

    result = analyze(running, "demo:nosuch", "--output", tmp_path)
    too_long = analyze(running, MODEL, "demo:nosuch", "--name", "x", "--output", tmp_path / ("x" * 300))

    assert isinstance(result.exception, ErrataError) and isinstance(too_long.exception, ErrataError)
    assert "demo:nosuch" in result.exception.message
    assert "--name cannot name 2 models" in too_long.exception.message


def test_a_failed_analysis_does_not_change_its_baseline(
    start: Start, policy: Path, demo_csv: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("errata.cli.analyze.follow", lambda client, name, _: client.cancel(name))
    (tmp_path / "p.csv").write_bytes(demo_csv)
    folder = tmp_path / "results"
    with start(open_gate=False) as running:
        analyze(running, "--predictions", tmp_path / "p.csv", "--output", folder)
        files = {file: file.read_bytes() for file in folder.iterdir()}

        result = analyze(running, MODEL, "--gate", policy, "--baseline", folder, "--output", folder)
        newest = next(iter(running.client.list())).name
        running.gate.set()

    assert result.exit_code == ANALYSIS_FAILED
    assert len(files) == 4
    assert {file: file.read_bytes() for file in files} == files
    assert newest in (folder / "junit.xml").read_text(), "the result of the gate is that of the failed analysis"


def test_a_folder_of_results_is_refused_as_predictions_and_not_changed(
    running: Running, demo_csv: bytes, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_bytes(demo_csv)
    analyze(running, "--predictions", tmp_path / "p.csv", "--output", tmp_path / "results")

    result = analyze(running, "--predictions", tmp_path / "results", "--output", tmp_path / "results")

    assert isinstance(result.exception, InvalidInput)
    assert (tmp_path / "results" / "summary.json").exists()


def test_markdown_of_several_models_is_refused(running: Running, policy: Path, tmp_path: Path) -> None:
    result = analyze(running, MODEL, "demo:efficientnet_lite1", "--gate", policy, "--markdown", tmp_path / "gate.md")

    assert isinstance(result.exception, InvalidRequest)
    assert "--markdown cannot describe 2 models" in result.exception.message


@pytest.mark.parametrize("models", [[MODEL], [MODEL, "demo:efficientnet_lite1"]], ids=["one", "several"])
def test_the_ids_of_queued_analyses_are_printed_if_the_service_cannot_be_reached_afterwards(
    start: Start, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(client: Client, name: str, console: Console) -> pb.Analysis:
        raise Unavailable("The service is shutting down.")

    monkeypatch.setattr("errata.cli.analyze.follow", fail)
    monkeypatch.setattr(analyze_models, "follow", fail)
    with start() as running:
        result = analyze(running, *models)
        names = {analysis.name.removeprefix("analyses/") for analysis in running.client.list()}

    assert isinstance(result.exception, Unavailable)
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("Queued: "))
    identifiers, remedy = line.removeprefix("Queued: ").split(". ", 1)
    assert {*identifiers.split()} == names and len(names) == len(models)
    assert remedy == "'errata wait ID' shows the progress of an analysis."
