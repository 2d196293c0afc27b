"""The errata command in processes: output, exit codes, folders, and signals."""

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_predictions import write_predictions
from errata import Client
from redis_server import RedisServer

from service.evidence.bundle import Bundle

from .conftest import Errata, Serving, environment, serving


def children() -> set[str]:
    """Return the process IDs of the child processes of all threads."""
    return {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


@pytest.fixture
def predictions(demo: Bundle, tmp_path: Path) -> Path:
    """A predictions file for the 20 photographs; all predictions but the first are correct."""
    return write_predictions(demo, 1, tmp_path / "predictions.csv")


def test_a_local_service_analyzes_an_upload(errata: Errata, predictions: Path, tmp_path: Path) -> None:
    done = errata(
        "analyze",
        "--local",
        "--predictions",
        str(predictions),
        "--dataset",
        "demo",
        "--output",
        str(tmp_path / "out"),
        "--json",
    )

    analysis = json.loads(done.stdout)  # stdout has nothing else
    lines = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
    assert done.returncode == 0
    assert analysis["state"] == "STATE_SUCCEEDED"
    assert analysis["summary"]["groups"]["all"]["counts"]["correct"] == 19
    assert analysis["summary"]["abstained"] == ["fine_grained_oov", "non_prototypical"]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == analysis
    assert len(lines) == 20
    assert {"file_name", "target", "predicted", "error_type", "problematic"} <= lines[0].keys()
    assert lines[0]["predicted"] == 0  # default values are written
    assert sum(line["error_type"] == "correct" for line in lines) == 19
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")


def test_commands_use_a_service_in_another_process(
    errata: Errata, server: Serving, predictions: Path, tmp_path: Path
) -> None:
    analysis = errata(
        "analyze", "--server", server.grpc, "--predictions", str(predictions), "--dataset", "demo", "--json"
    )
    name = json.loads(analysis.stdout)["name"]
    listed = json.loads(errata("list", "--server", server.grpc, "--json").stdout)
    show = errata("show", name, "--type", "model_failure", "--type", "fine_grained", ERRATA_SERVER=server.grpc)
    report = errata("report", name, "--server", server.grpc, "--output", str(tmp_path / "r.html"))
    explained = errata("explain", "imagenet_00_243.jpg", "--analysis", name, "--server", server.grpc, "--json")
    deleted = errata("delete", name, "--server", server.grpc)

    assert [item["name"] for item in listed["analyses"]] == [name]
    assert "imagenet_00_243.jpg" in show.stdout
    assert report.returncode == 0
    assert "Errata" in (tmp_path / "r.html").read_text()
    assert json.loads(explained.stdout)["predicted"] == 0
    assert deleted.returncode == 0
    assert json.loads(errata("list", "--server", server.grpc, "--json").stdout)["analyses"] == []


def test_resnet50_has_the_same_result_locally_and_through_a_server(
    errata: Errata, server: Serving, reference: Path, tmp_path: Path
) -> None:
    file = str(reference / "predictions" / "imagenet_val_resnet50_cv.csv")
    here = errata(
        "analyze", "--local", "--predictions", file, "--dataset", "imagenet-real", "--output", str(tmp_path / "a")
    )
    there = errata("analyze", "--server", server.grpc, "--predictions", file, "--output", str(tmp_path / "b"))

    first, second = (json.loads((tmp_path / item / "summary.json").read_text()) for item in "ab")
    everything = first["summary"]["groups"]["all"]
    assert here.returncode == there.returncode == 0
    assert first["summary"] == second["summary"]
    assert (tmp_path / "a" / "verdicts.jsonl").read_bytes() == (tmp_path / "b" / "verdicts.jsonl").read_bytes()
    assert everything["num_samples"] == sum(everything["counts"].values()) == 46_837


def test_show_and_report_read_a_folder_without_a_server(errata: Errata, predictions: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    errata("analyze", "--local", "--predictions", str(predictions), "--dataset", "demo", "--output", out)

    show = errata("show", out, "--json")
    written = errata("report", out, "--output", str(tmp_path / "again.html"))

    assert json.loads(show.stdout)["summary"]["groups"]["all"]["num_samples"] == 20
    assert written.returncode == 0
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "out" / "report.html").read_bytes()
    refused = errata("report", out, "--thumbnails", "--output", str(tmp_path / "refused.html"))
    assert refused.returncode == 2
    assert f"The report in {out} is already written." in refused.stderr
    assert not (tmp_path / "refused.html").exists()
    embedded = errata("report", out, "--thumbnails", "--local", "--output", str(tmp_path / "embedded.html"))
    assert embedded.returncode == 0, embedded.stderr
    assert b"data:image/jpeg" in (tmp_path / "embedded.html").read_bytes()
    assert b"data:image/jpeg" not in (tmp_path / "out" / "report.html").read_bytes()


def test_the_table_of_analyze_goes_to_stdout(errata: Errata, predictions: Path) -> None:
    done = errata("analyze", "--local", "--predictions", str(predictions), "--dataset", "demo")

    assert "top-1 accuracy" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyze",),
        ("analyze", "demo:efficientnet_lite0", "--predictions", "x.csv"),
        ("analyze", "--local", "--predictions", "nowhere.csv", "--dataset", "demo"),
        ("analyze", "--local", "demo:nothing", "--dataset", "demo"),
        ("analyze", "--local", "demo:efficientnet_lite0", "--dataset", "nothing"),
        ("analyze", "--no-such-option"),
        ("no-such-command",),
        ("show", "--local", "analyses/none"),
        ("explain", "--local", "imagenet_00_243.jpg", "--dataset", "demo", "--predicted", "no such class"),
        ("evidence", "show", "nowhere"),
        ("taxonomy", "show", "no such class"),
    ],
)
def test_invalid_arguments_and_input_exit_with_2_and_a_message(errata: Errata, arguments: tuple[str, ...]) -> None:
    done = errata(*arguments)

    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_invalid_rows_are_listed_with_their_lines(errata: Errata, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("file_name,top1\nimagenet_00_243.jpg,1000\nnowhere.jpg,1\n")

    done = errata("analyze", "--local", "--predictions", str(file), "--dataset", "demo")

    assert done.returncode == 2
    assert "Line 2" in done.stderr
    assert "line 3" in done.stderr


def test_an_unreachable_service_exits_with_3(errata: Errata) -> None:
    done = errata("list", "--server", "127.0.0.1:1")

    assert done.returncode == 3
    assert "No service at 127.0.0.1:1. Start one with 'errata serve --local'" in done.stderr


def test_health_has_the_reason_for_a_failure(errata: Errata, server: Serving) -> None:
    assert errata("health", "--server", server.grpc).returncode == 0

    for arguments, reason in (
        (("health", "--server", "127.0.0.1:1"), "No service at 127.0.0.1:1"),
        (("health", "--server", server.grpc, "--timeout", "5"), "does not use TLS"),
    ):
        plain = arguments[2] != server.grpc
        done = errata(*arguments, **({} if plain else {"ERRATA_TLS": "true"}))
        assert done.returncode == 3
        assert reason in done.stderr
        assert not [line for line in done.stderr.splitlines() if line.startswith(("E0", "I0", "W0", "E1", "I1"))]


def test_an_unknown_setting_is_rejected_with_a_similar_one(errata: Errata) -> None:
    done = errata("serve", "--local", ERRATA_GRPC_ADRESS="127.0.0.1:0")

    assert done.returncode == 2
    assert "ERRATA_GRPC_ADDRESS" in done.stderr


def test_a_public_address_without_tokens_is_rejected(errata: Errata) -> None:
    done = errata("serve", "--local", ERRATA_GRPC_ADDRESS="0.0.0.0:0")

    assert done.returncode == 2
    assert "ERRATA_ALLOW_INSECURE" in done.stderr


def test_a_worker_without_its_device_does_not_start(data_dir: Path) -> None:
    settings = {"ERRATA_REDIS_URL": "redis://127.0.0.1:1/0", "ERRATA_WORKER_HTTP_ADDRESS": "127.0.0.1:0"}
    worker = subprocess.run(
        [sys.executable, "-m", "service", "work"],
        env=environment(data_dir, ERRATA_DEVICE="cuda:99", **settings),
        capture_output=True,
        text=True,
        timeout=180,
    )

    assert worker.returncode == 2
    (line,) = worker.stderr.splitlines()
    assert line.startswith("errata: ERRATA_DEVICE: device 'cuda:99' is not available to torch")


DEVICE_LOST = """
import asyncio
from types import SimpleNamespace
from service.bootstrap import work
from service.settings import read_settings

work.process_predictor = lambda settings, images, on_device_lost: SimpleNamespace(
    start=on_device_lost, interrupt=None, gpu_memory=dict, close=lambda: None
)
asyncio.run(work.run_worker(read_settings()))
"""


def test_a_worker_whose_device_vanishes_ends(data_dir: Path, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path).start()
    settings = {"ERRATA_REDIS_URL": redis.url, "ERRATA_WORKER_HTTP_ADDRESS": "127.0.0.1:0"}
    try:
        worker = subprocess.run(
            [sys.executable, "-c", DEVICE_LOST],
            env=environment(data_dir, ERRATA_DEVICE="cuda:0", **settings),
            capture_output=True,
            text=True,
            timeout=180,
        )
    finally:
        redis.stop()

    assert worker.returncode == 1
    assert "device lost: the worker stops" in worker.stdout  # the program does not configure the log
    assert worker.stderr == ""


def test_a_service_that_does_not_start_leaves_no_process_and_no_signal_handler(errata: Errata) -> None:
    handlers = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]
    before = children()

    for arguments in (("serve",), ("serve", "--local"), ("work",)):
        done = errata(*arguments, ERRATA_GRPC_ADDRESS="0.0.0.0:0", ERRATA_REDIS_URL="")
        assert done.returncode == 2

    assert children() <= before
    assert [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)] == handlers


def test_the_demo_analyzes_a_real_model_and_ends_with_the_path_of_the_report(errata: Errata, tmp_path: Path) -> None:
    done = errata("demo", "--output", str(tmp_path / "out"))

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    everything = summary["summary"]["groups"]["all"]
    assert done.returncode == 0
    assert (everything["num_samples"], everything["counts"]["correct"]) == (20, 18)
    assert "jeep predicted as convertible" in done.stderr
    assert done.stderr.splitlines()[-1] == f"Report: {tmp_path / 'out' / 'report.html'}"


def test_a_failed_analysis_exits_with_4(errata: Errata, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights.pth").write_bytes(b"no weights at all")

    done = errata(
        "analyze", "file:weights.pth#resnet18", "--local", "--dataset", "demo", ERRATA_MODELS=str(tmp_path / "models")
    )

    assert done.returncode == 4
    assert "MODEL_REFUSED" in done.stdout


def test_ctrl_c_cancels_the_analysis(data_dir: Path, server: Serving, errata: Errata) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "service",
            "analyze",
            "demo:efficientnet_lite1",
            "--dataset",
            "demo",
            "--server",
            server.grpc,
        ],
        env=environment(data_dir),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore it
    )
    deadline = time.monotonic() + 30
    with Client(server.grpc) as client:  # a command would start more slowly than the model runs
        while not any(client.list()):
            assert time.monotonic() < deadline, "timeout: an analysis is queued"
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)

    state = json.loads(errata("list", "--server", server.grpc, "--json").stdout)["analyses"][0]["state"]
    assert process.returncode == 130
    assert "Canceled analyses/" in messages
    assert state == "STATE_CANCELLED"


@pytest.fixture
def without_nohup() -> Iterator[None]:
    """Let new processes not ignore SIGHUP, also if the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("without_nohup")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_service_cleanly(data_dir: Path, tmp_path: Path, number: signal.Signals) -> None:
    with serving(data_dir, tmp_path / "archive") as service:
        service.process.send_signal(number)
        service.process.wait(30)

    events = [json.loads(line)["event"] for line in service.log]
    assert service.process.returncode == 0
    assert events[-1] == "stopped"


def test_finished_analyses_survive_a_kill(data_dir: Path, tmp_path: Path, errata: Errata, predictions: Path) -> None:
    with serving(data_dir, tmp_path / "archive") as service:
        analysis = errata(
            "analyze", "--server", service.grpc, "--predictions", str(predictions), "--dataset", "demo", "--json"
        )
        service.process.kill()
        service.process.wait(30)

    with serving(data_dir, tmp_path / "archive") as service:
        listed = json.loads(errata("list", "--server", service.grpc, "--json").stdout)["analyses"]

    assert listed == [json.loads(analysis.stdout)]


def test_a_bundle_is_built_and_shown_and_verified(errata: Errata, tmp_path: Path, demo: Bundle) -> None:
    bundle = str(tmp_path / "bundle")

    built = errata("evidence", "build", "--dataset", "demo", "--output", bundle, "--json")
    show = errata("evidence", "show", bundle, "--json")
    verified = errata("evidence", "verify", bundle)

    assert json.loads(built.stdout)["digest"] == demo.digest
    assert json.loads(show.stdout) == json.loads(built.stdout)
    assert verified.returncode == 0
    with (tmp_path / "bundle" / "verdicts.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    assert errata("evidence", "verify", bundle).returncode == 2


def test_a_local_service_uses_a_bundle_at_a_path(errata: Errata, tmp_path: Path, predictions: Path) -> None:
    bundle = str(tmp_path / "bundle")
    errata("evidence", "build", "--dataset", "demo", "--output", bundle)

    done = errata(
        "analyze", "--local", "--predictions", str(predictions), "--dataset", "demo", "--evidence", bundle, "--json"
    )

    assert json.loads(done.stdout)["state"] == "STATE_SUCCEEDED"


def test_taxonomy_pairs_are_a_json_list_of_ascending_pairs(errata: Errata) -> None:
    pairs = json.loads(errata("taxonomy", "pairs", "--json").stdout)

    assert pairs == sorted(pairs)
    assert all(0 <= first < second < 1000 for first, second in pairs)


def test_wait_shows_the_finished_analysis_and_exits_with_its_outcome(server: Serving, errata: Errata) -> None:
    queued = json.loads(
        errata(
            "analyze", "demo:efficientnet_lite0", "--dataset", "demo", "--no-wait", "--json", "--server", server.grpc
        ).stdout
    )

    done = errata("wait", queued["name"], "--json", "--server", server.grpc)

    assert done.returncode == 0
    assert json.loads(done.stdout)["state"] == "STATE_SUCCEEDED"
    assert errata("wait", "nosuch", "--server", server.grpc).returncode == 2


def test_retry_queues_a_failed_analysis(server: Serving, errata: Errata) -> None:
    failing = errata("analyze", "timm:no_such_model", "--dataset", "demo", "--json", "--server", server.grpc)
    assert failing.returncode == 4
    name = json.loads(failing.stdout)["name"]

    again = errata("retry", name, "--json", "--server", server.grpc)

    assert again.returncode == 0
    assert json.loads(again.stdout)["name"] == name
    assert errata("wait", name, "--server", server.grpc).returncode == 4
    listed = json.loads(errata("list", "--state", "failed", "--json", "--server", server.grpc).stdout)
    assert [item["name"] for item in listed["analyses"]] == [name]


def test_an_upload_on_a_full_disk_is_rejected_without_remains(
    data_dir: Path, demo: Bundle, tmp_path: Path, errata: Errata
) -> None:
    """The caller gets an error, no file remains, and the call succeeds once there is space."""
    rows = "".join(f"{name},{target}\n" for name, target in zip(demo.judged_names, demo.all_targets, strict=True))
    (tmp_path / "p.csv").write_text(f"file_name,top1\n{rows}")
    upload = ("analyze", "--predictions", str(tmp_path / "p.csv"), "--dataset", "demo", "--json", "--server")

    with serving(data_dir, tmp_path / "full") as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        refused = errata(*upload, server.grpc)
        left = [path.name for path in (tmp_path / "full").rglob("*") if path.is_file()]
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        accepted = errata(*upload, server.grpc)

    assert refused.returncode == 3
    assert "archive could not be written" in refused.stderr
    assert left == []
    assert accepted.returncode == 0


def test_a_new_token_is_accepted_by_a_service_with_its_line(errata: Errata, data_dir: Path, tmp_path: Path) -> None:
    created = errata("token", "ci", "--scope", "write")
    assert created.returncode == 0
    (token,) = created.stdout.split()
    (tmp_path / "tokens").write_text(created.stderr)
    assert token not in created.stderr

    with serving(data_dir, tmp_path / "archive", ERRATA_TOKENS=str(tmp_path / "tokens")) as service:
        listed = errata("list", "--json", "--server", service.grpc, ERRATA_TOKEN=token)
        refused = errata("list", "--json", "--server", service.grpc)
        health = errata("health", "--server", service.grpc)

    assert (listed.returncode, json.loads(listed.stdout)["analyses"]) == (0, [])
    assert refused.returncode == 2
    assert "Set ERRATA_TOKEN" in refused.stderr
    assert health.returncode == 0
    assert errata("health", "--server", service.grpc, "--timeout", "1").returncode == 3


@pytest.mark.parametrize("arguments", [["a b"], ["ci", "--scope", "owner"], []])
def test_an_invalid_token_name_or_scope_is_rejected(errata: Errata, arguments: list[str]) -> None:
    assert errata("token", *arguments).returncode == 2


def test_verify_rejects_a_bundle_with_another_digest(errata: Errata, demo: Bundle) -> None:
    path = str(demo.path)

    assert errata("evidence", "verify", path, "--digest", demo.digest).returncode == 0
    assert errata("evidence", "verify", path, "--digest", demo.digest[:12]).returncode == 0
    wrong = errata("evidence", "verify", path, "--digest", "0" * 64)
    assert wrong.returncode == 2
    assert demo.digest in wrong.stderr
