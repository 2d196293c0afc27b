"""The commands of errata-client against a real service: names, folders, output, pipes, and error messages."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from command import Done, run_command
from errata import pb
from errata.cli.folder import write_folder
from errata.tokens import Scope, line_of, new_token
from running_service import MODEL, Running, start_service

from service.bootstrap.build import Inputs, build_evidence
from service.evidence.bundle import Bundle

from .conftest import environment

NOWHERE = "127.0.0.1:1"
POLICY = """version: 1
name: p
min_samples: 1
bounds:
  - {measure: count, types: MODEL_FAILURE, max: 20}
"""


def errata(*arguments: str, server: str = NOWHERE, **settings: str) -> Done:
    return run_command(arguments, environment(Path("/nonexistent"), ERRATA_SERVER=server, **settings))


def upload(service: Running, demo_csv: bytes, name: str, **labels: str) -> str:
    return service.client.upload(io.BytesIO(demo_csv), "demo", display_name=name, labels=labels).name


@pytest.fixture(scope="module")
def name(service: Running, demo_csv: bytes) -> str:
    """An analysis whose display name is unique."""
    return upload(service, demo_csv, "unique.csv", team="vision")


@pytest.fixture(scope="module")
def namesakes(service: Running, demo_csv: bytes) -> list[str]:
    """Two analyses with the same display name."""
    return [upload(service, demo_csv, "namesake.csv") for _ in range(2)]


@pytest.fixture
def folder(service: Running, name: str, tmp_path: Path) -> Path:
    """A folder that --output wrote of the analysis `unique.csv`."""
    (tmp_path / "results").mkdir()
    write_folder(service.client, service.client.get(name), tmp_path / "results")
    return tmp_path / "results"


def test_list_filters_and_limits(service: Running, name: str, namesakes: list[str]) -> None:
    server = service.addresses.grpc

    def listed(*options: str) -> list[str]:
        return [
            item["name"] for item in json.loads(errata("list", "--json", *options, server=server).stdout)["analyses"]
        ]

    assert {name, *namesakes} <= {*listed()}
    assert listed("--label", "team=vision") == [name]
    assert listed("--label", "team=none") == []
    assert listed("--limit", "1", "--dataset", "demo", "--state", "succeeded") == [namesakes[1]]
    table = errata("list", "--limit", "2", server=server)
    assert len(table.stdout.splitlines()) == 3
    for options in ([], ["--json"]):
        assert (
            "Showing 2 analyses. Use --limit to show more."
            in errata("list", "--limit", "2", *options, server=server).stderr
        )
    assert errata("list", "--label", "team", server=server).returncode == 2


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_list_of_an_unknown_data_set_exits_with_2_and_names_the_known_ones(
    service: Running, name: str, options: list[str]
) -> None:
    server = service.addresses.grpc

    unknown = errata("list", "--dataset", "dmeo", *options, server=server)
    without_matches = errata("list", "--dataset", "demo", "--owner", "nobody", *options, server=server)

    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "Data set 'dmeo' not found. Expected one of" in unknown.stderr
    assert " demo" in unknown.stderr
    assert without_matches.returncode == 0


def test_every_command_accepts_short_ids_and_display_names(
    service: Running, name: str, namesakes: list[str], tmp_path: Path
) -> None:
    server = service.addresses.grpc
    rows = errata("list", server=server).stdout.splitlines()
    (short,) = (row.split()[0] for row in rows if "unique.csv" in row)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)

    for text in (short, name, name.removeprefix("analyses/"), "unique.csv"):
        result = errata("show", text, "--json", server=server)
        assert json.loads(result.stdout)["name"] == name
    image = json.loads(errata("show", short, "--errors", "--json", server=server).stdout)["verdicts"][0]["file_name"]
    commands = [
        ("explain", image, "--analysis", "unique.csv"),
        ("report", short, "--output", str(tmp_path)),
        ("compare", "unique.csv", namesakes[0][:-1]),
        ("trend", short, "unique.csv"),
        ("gate", "unique.csv", "--policy", str(policy), "--baseline", short),
        ("wait", "unique.csv"),
        ("cancel", short),
    ]
    for arguments in commands:
        done = errata(*arguments, server=server)
        assert done.returncode == 0, (arguments, done.stderr)
    assert (tmp_path / "report.html").is_file()
    assert errata("retry", "unique.csv", server=server).returncode == 2  # found, and has not failed


@pytest.mark.parametrize("command", ["delete", "cancel"])
def test_an_ambiguous_name_lists_the_candidates(service: Running, namesakes: list[str], command: str) -> None:
    done = errata(command, "namesake.csv", server=service.addresses.grpc)

    assert done.returncode == 2
    for namesake in namesakes:
        assert namesake.removeprefix("analyses/") in done.stderr
        assert service.client.get(namesake).state == pb.Analysis.STATE_SUCCEEDED


def test_the_newest_analysis_with_a_name_is_shown(service: Running, namesakes: list[str]) -> None:
    done = errata("show", "namesake.csv", "--json", server=service.addresses.grpc)

    assert json.loads(done.stdout)["name"] == namesakes[1]
    identifier = namesakes[1].removeprefix("analyses/")
    assert f"'namesake.csv' is the newest of 2 analyses with this name: {identifier}\n" in done.stderr


def test_an_unknown_analysis_is_not_found(service: Running) -> None:
    done = errata("show", "zzz", server=service.addresses.grpc)

    assert done.returncode == 2
    assert "Analysis 'zzz' not found" in done.stderr
    assert "errata list" in done.stderr


def test_class_arguments_accept_names(service: Running, name: str) -> None:
    server = service.addresses.grpc

    result = errata("show", name, "--predicted", "tench", "--json", server=server)
    unknown = errata("show", name, "--target", "tensh", server=server)

    assert json.loads(result.stdout)["total_size"] == 2
    assert unknown.returncode == 2
    assert "Similar names: tench" in unknown.stderr


def test_cancel_of_a_finished_analysis_changes_nothing_and_has_a_message(service: Running, name: str) -> None:
    done = errata("cancel", name, server=service.addresses.grpc)

    assert done.returncode == 0
    assert f"{name} has succeeded. Nothing was canceled." in done.stderr


def test_show_and_explain_read_a_folder_without_a_service(folder: Path, service: Running, name: str) -> None:
    server, text = service.addresses.grpc, str(folder)

    for options in ([], ["--errors"], ["--predicted", "tench"], ["--predicted", "0"], ["--group", "organism"]):
        offline = errata("show", text, "--json", *options)
        online = json.loads(errata("show", name, "--json", *options, server=server).stdout)
        for verdict in online.get("verdicts", []):
            del verdict["evidence"]
        assert json.loads(offline.stdout) == online
    (first, *_) = json.loads(errata("show", text, "--errors", "--json").stdout)["verdicts"]
    explained = errata("explain", first["file_name"], "--analysis", text)
    assert explained.returncode == 0
    assert "predicted as tench" in explained.stdout
    assert "no evidence" in explained.stderr
    assert errata("explain", "none.jpg", "--analysis", text).returncode == 2
    superclass = service.client.breakdown(name, "superclass").rows[0].display_name
    options = ["--superclass", superclass, "--json"]  # the folder names the analysis
    with_folder, with_name = (errata("show", argument, *options, server=server) for argument in (text, name))
    assert json.loads(with_folder.stdout) == json.loads(with_name.stdout) != {}
    for options, missing in (
        (["--by", "class"], "breakdown by class"),
        (["--superclass", "dog"], "superclasses"),
        (["--slice", "night"], "slices"),
        (["--export", "csv"], "verdicts in the format csv"),
    ):
        done = errata("show", text, *options)
        assert done.returncode == 3
        remedy = (
            f"A folder has no {missing}. Use --local, or --server with a service that has the analysis. No service at"
        )
        assert remedy in " ".join(done.stderr.split())
    assert errata("report", text, "--output", "-").stdout == (folder / "report.html").read_text()
    exported = errata("show", text, "--export", "jsonl")
    assert exported.stdout == (folder / "verdicts.jsonl").read_text()


def test_a_file_of_a_folder_can_be_missing_or_damaged(folder: Path) -> None:
    (folder / "verdicts.jsonl").write_text('{"file_name": "a", "error_type": "correct"}\nno JSON\n')
    damaged = errata("show", str(folder), "--errors")
    (folder / "verdicts.jsonl").unlink()
    missing = errata("show", str(folder), "--errors")

    assert (damaged.returncode, missing.returncode) == (2, 2)
    assert "line 2" in damaged.stderr
    assert "Cannot read" in missing.stderr


@pytest.mark.parametrize(
    ("command", "default"),
    [(["report", "A"], "report.html"), (["compare", "A", "A"], "comparison.html"), (["trend", "A"], "trend.html")],
)
def test_output_is_a_file_or_a_folder_or_stdout(
    service: Running, name: str, tmp_path: Path, command: Sequence[str], default: str
) -> None:
    arguments = [name if word == "A" else word for word in command]
    server = service.addresses.grpc

    file = errata(*arguments, "--output", str(tmp_path / "new" / "file.html"), server=server)
    inside = errata(*arguments, "--output", str(tmp_path), server=server)
    piped = errata(*arguments, "--output", "-", server=server)

    assert {file.returncode, inside.returncode, piped.returncode} == {0}
    assert piped.stdout.startswith("<!doctype html>")
    assert piped.stdout.rstrip().endswith("</html>")
    assert (tmp_path / "new" / "file.html").read_text() == (tmp_path / default).read_text() == piped.stdout
    assert f"Written: {tmp_path / default}" in inside.stderr


def test_piped_output_is_not_wrapped(service: Running, demo_csv: bytes) -> None:
    long = "long " * 40 + "end"
    analysis = upload(service, demo_csv, long)

    done = errata("show", analysis, server=service.addresses.grpc, COLUMNS="40")

    assert long in done.stdout.splitlines()[0]
    listed = errata("list", "--limit", "1", server=service.addresses.grpc, COLUMNS="40")
    assert long in listed.stdout


@pytest.mark.parametrize(
    "command", [["show", "unique.csv"], ["list"], ["gate", "unique.csv"], ["--help"], ["list", "-h"]]
)
def test_a_closed_pipe_ends_a_command_by_sigpipe(
    service: Running, name: str, tmp_path: Path, command: list[str]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    arguments = [*command, "--policy", str(policy)] if command[0] == "gate" else command
    read_end, write_end = os.pipe()
    os.close(read_end)

    process = subprocess.Popen(
        [sys.executable, "-m", "errata.cli", *arguments],
        env=environment(tmp_path, ERRATA_SERVER=service.addresses.grpc),
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    _, messages = process.communicate(timeout=60)

    assert process.returncode == -signal.SIGPIPE
    assert messages == ""


def test_a_closed_pipe_ends_a_command_on_systems_without_sigpipe(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    program = "import signal, sys; del signal.SIGPIPE; from errata.cli.main import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", program, "--help"],
        env=environment(tmp_path),
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(write_end)

    assert (done.returncode, done.stderr) == (141, "")


def test_wait_ends_after_its_timeout_and_a_log_shows_the_progress(data_dir: Path, tmp_path: Path) -> None:
    with start_service(data_dir, tmp_path / "archive", open_gate=False) as service:
        server = service.addresses.grpc
        analysis = service.client.analyze(MODEL, "demo").name
        waited = errata("wait", analysis, "--timeout", "1s", server=server)
        assert waited.returncode == 5
        assert re.search(f"{analysis} is still (queued|running) after 1s", waited.stderr)
        assert re.search("^(queued|loading the model)", waited.stderr)
        threading.Timer(1.0, service.gate.set).start()
        finished = errata("wait", analysis, "--timeout", "1m", server=server)
        assert finished.returncode == 0
        assert "loading the model" in finished.stderr
        assert errata("wait", analysis, "--timeout", "soon", server=server).returncode == 2


def test_cancel_ends_a_running_analysis(data_dir: Path, tmp_path: Path) -> None:
    with start_service(data_dir, tmp_path / "archive", open_gate=False) as service:
        analysis = service.client.analyze(MODEL, "demo").name
        done = errata("cancel", analysis, server=service.addresses.grpc)
        again = errata("cancel", analysis, server=service.addresses.grpc)
        service.gate.set()

    assert "cancelled" in done.stdout
    assert "Nothing was canceled" not in done.stderr
    assert "was already canceled. Nothing was canceled." in again.stderr


def test_no_service_at_the_address_has_the_remedy() -> None:
    done = errata("list")

    assert done.returncode == 3
    assert f"No service at {NOWHERE}. Start one with 'errata serve --local'" in done.stderr
    assert "--server or ERRATA_SERVER. With --local, most commands need no service." in done.stderr
    assert "log of the service" not in done.stderr


def test_the_http_port_is_recognized(service: Running) -> None:
    done = errata("list", "--server", service.addresses.http)

    assert done.returncode == 3
    assert "HTTP port" in done.stderr
    assert "log of the service" not in done.stderr


@pytest.mark.parametrize("address", ["foo", "foo:", ":50051", "foo:99999", "http://foo:50051", "a b:1"])
def test_an_invalid_address_has_the_form(address: str) -> None:
    done = errata("list", "--server", address)

    assert done.returncode == 2
    assert "host:port" in done.stderr


def test_a_missing_token_names_its_variable(data_dir: Path, tmp_path: Path) -> None:
    token = new_token()
    (tmp_path / "tokens").write_text(line_of("ci", Scope.READ, token) + "\n")
    with start_service(data_dir, tmp_path / "archive", tokens=tmp_path / "tokens") as service:
        server = service.addresses.grpc
        missing = errata("list", server=server)
        unknown = errata("list", server=server, ERRATA_TOKEN=new_token())
        accepted = errata("list", server=server, ERRATA_TOKEN=token)

    assert (missing.returncode, unknown.returncode, accepted.returncode) == (2, 2, 0)
    assert "Set ERRATA_TOKEN" in missing.stderr
    assert "ERRATA_TOKEN" in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyze", "--predictions", "none.csv"], "'none.csv' not found"),
        (["analyze", "model.onnx"], "onnx:model.onnx"),
        (["analyze", "weights.safetensors"], "file:weights.safetensors#ARCHITECTURE"),
        (["analyze", "missing.csv"], "Use --predictions missing.csv"),
        (["analyze"], "are missing"),
        (["analyze", "x:y", "--output", "-"], "is a folder"),
        (["analyze", "x:y", "--server", "a:1", "--local"], "cannot be used together"),
        (["gate"], "The argument ANALYSIS is missing"),
        (["show", "x", "--limit", "5"], "--limit needs a condition"),
        (["show", "x", "--errors", "--by", "class"], "cannot be used together"),
        (["explain", "x.jpg"], "--predicted"),
    ],
)
def test_an_invalid_command_line_has_a_message_before_any_connection(arguments: list[str], message: str) -> None:
    done = errata(*arguments)

    assert done.returncode == 2
    assert message in done.stderr


def test_a_file_as_model_is_recognized(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text("file_name,top1\n")
    done = errata("analyze", str(tmp_path / "predictions.csv"))

    assert done.returncode == 2
    assert "--predictions" in done.stderr


def test_evidence_at_a_path_is_found_again_by_local_commands(demo: Bundle, demo_csv: bytes, tmp_path: Path) -> None:
    """Analyses of `--local --evidence PATH` can be shown, explained, and reported by later commands."""
    data, bundle = tmp_path / "data", tmp_path / "bundle"
    (tmp_path / "p.csv").write_bytes(demo_csv)
    (tmp_path / "groups.json").write_text(json.dumps({"all": [["entity"]]}))

    def local(*arguments: str) -> Done:
        return errata(*arguments, ERRATA_DATA_DIR=str(data))

    built = local(
        "evidence",
        "build",
        "--dataset",
        "demo",
        "--superclasses",
        str(tmp_path / "groups.json"),
        "--output",
        str(bundle),
    )
    assert built.returncode == 0, built.stderr
    assert built.stderr.splitlines()[-1] == f"Written: {bundle}"
    upload_locally = ("analyze", "--local", "--predictions", str(tmp_path / "p.csv"), "--json")
    analysis = json.loads(local(*upload_locally, "--evidence", str(bundle)).stdout)
    digest = analysis["evidence"].removeprefix("datasets/demo/evidence/")
    assert digest != demo.digest
    image = demo.judged_names[0]

    assert local("show", "p.csv", "--errors", "--local").returncode == 0
    assert local("report", "p.csv", "--local", "--output", str(tmp_path)).returncode == 0
    explained = local("explain", image, "--analysis", "p.csv", "--local", "--json")
    assert explained.returncode == 0, explained.stderr
    default = local(*upload_locally, "--dataset", "demo")
    assert json.loads(default.stdout)["evidence"].endswith(demo.digest), "the default bundle remains the default"
    for text in (digest[:10], analysis["evidence"], str(bundle), str(bundle / "manifest.json")):
        result = local("evidence", "show", text, "--json")
        assert json.loads(result.stdout)["digest"] == digest
        assert local("evidence", "verify", text).returncode == 0
    assert local("evidence", "show", "ffffffff").returncode == 2


def test_implausible_predictions_need_an_option_and_are_marked(data_dir: Path, tmp_path: Path) -> None:
    names = [f"{number:02}.jpg" for number in range(50)]
    labels, predictions = tmp_path / "labels.csv", tmp_path / "shifted.csv"
    labels.write_text("file_name,labels\n" + "".join(f"{name},{row // 5}\n" for row, name in enumerate(names)))
    predictions.write_text("file_name,top1\n" + "".join(f"{name},{row // 5 + 1}\n" for row, name in enumerate(names)))
    bundle = build_evidence("own", Inputs(labels=labels), tmp_path / "bundle")
    with start_service(data_dir, tmp_path / "archive", evidence={"own": [str(bundle.path)]}) as service:
        analyze = ("analyze", "--predictions", str(predictions), "--dataset", "own")
        refused = errata(*analyze, server=service.addresses.grpc)
        accepted = errata(
            *analyze, "--accept-implausible", "--output", str(tmp_path / "out"), server=service.addresses.grpc
        )
        table = errata("list", server=service.addresses.grpc)

    local = run_command(
        ["analyze", "--local", "--predictions", str(predictions), "--evidence", str(bundle.path)], environment(data_dir)
    )
    for result in (refused, local):
        assert result.returncode == 2
    assert "1 too high. Subtract 1" in local.stderr
    assert "1 too high. Subtract 1" in refused.stderr and "--accept-implausible" in refused.stderr
    assert accepted.returncode == 0
    assert "succeeded (implausible)" in accepted.stdout
    assert "succeeded (implausible)" in table.stdout
    trend = errata("trend", str(tmp_path / "out"))
    assert trend.returncode == 2 and "implausible" in trend.stderr
