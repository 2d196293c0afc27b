"""The commands errata compare, gate, and trend: names, folders, exit codes, and files."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from demo_predictions import write_predictions

from service.evidence.bundle import Bundle

from .conftest import Errata, Serving, environment

POLICY = """version: 1
name: release
min_samples: 10
bounds:
  - name: few failures
    measure: multi_label_error_rate
    max: 0.1
"""
CHANGE = """version: 1
name: release
min_samples: 10
bounds:
  - {measure: multi_label_error_rate, max_increase: 0}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path / "policy.yaml"


@pytest.fixture
def folders(errata: Errata, demo: Bundle, tmp_path: Path) -> tuple[str, str]:
    """The --output folders of a model with 5 errors, and of a model with 2 of these errors."""
    for name, wrong in (("a", 5), ("b", 2)):
        file = write_predictions(demo, wrong, tmp_path / f"{name}.csv")
        done = errata(
            "analyze", "--local", "--predictions", str(file), "--dataset", "demo", "--output", str(tmp_path / name)
        )
        assert done.returncode == 0, done.stderr
    return str(tmp_path / "a"), str(tmp_path / "b")


def test_folders_are_compared_without_a_server_as_a_server_compares_them(
    errata: Errata, folders: tuple[str, str]
) -> None:
    alone = errata("compare", *folders, "--json", ERRATA_SERVER="127.0.0.1:1")
    names = [json.loads((Path(folder) / "summary.json").read_text())["name"] for folder in folders]
    served = errata("compare", *names, "--local", "--json")

    assert (alone.returncode, served.returncode) == (0, 0)
    result, expected = json.loads(alone.stdout), json.loads(served.stdout)
    assert result["headline"] == "fixes 3 images, breaks 0 images; severe errors: no significant change, p = 0.25"
    assert expected["superclasses"] == expected["groups"]["all"]["superclasses"] != []
    for comparison in (result, expected):  # a folder lists superclasses in another order
        for part in (comparison, *comparison["groups"].values()):
            part["superclasses"].sort(key=lambda row: row["display_name"])
    assert result == expected


def test_a_comparison_is_printed_and_written(errata: Errata, folders: tuple[str, str], tmp_path: Path) -> None:
    done = errata("compare", *folders, "--output", str(tmp_path / "c.html"))

    assert done.returncode == 0
    assert "fixes 3 images, breaks 0 images" in done.stdout
    assert done.stdout.count("  fixed  ") == 3
    assert "Written: " in done.stderr
    assert "fixes 3 images, breaks 0 images" in (tmp_path / "c.html").read_text()


@pytest.mark.parametrize(("which", "code", "decision"), [(0, 1, "FAIL"), (1, 0, "PASS")])
def test_a_folder_is_evaluated_against_a_policy_without_a_server(
    errata: Errata, folders: tuple[str, str], policy: Path, tmp_path: Path, which: int, code: int, decision: str
) -> None:
    junit, markdown = tmp_path / "j.xml", tmp_path / "m.md"
    files = ["--junit", str(junit), "--markdown", str(markdown)]
    done = errata("gate", folders[which], "--policy", str(policy), "--json", *files, ERRATA_SERVER="127.0.0.1:1")

    assert done.returncode == code
    result = json.loads(done.stdout)
    assert result["decision"] == f"GATE_DECISION_{decision}"
    assert result["reasons"][1]["bound"] == "few failures"
    assert result["reasons"][1]["value"] == [0.25, 0.1][which]
    assert ElementTree.parse(junit).getroot().get("failures") == str(code)
    assert f"### Errata: release – {decision.lower()}" in markdown.read_text()


def test_a_change_is_evaluated_against_another_folder(errata: Errata, folders: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "change.yaml").write_text(CHANGE)
    gate = ["--policy", str(tmp_path / "change.yaml")]

    assert errata("gate", folders[1], *gate, "--baseline", folders[0]).returncode == 0
    worse = errata("gate", folders[0], *gate, "--baseline", folders[1])
    assert worse.returncode == 1
    assert "p = 0.25" in worse.stdout
    missing = errata("gate", folders[0], *gate)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "there is no baseline" in missing.stderr


def test_a_failed_gate_exits_with_1_and_writes_its_files(
    errata: Errata, demo: Bundle, policy: Path, tmp_path: Path
) -> None:
    file = write_predictions(demo, 5, tmp_path / "a.csv")
    arguments = ["analyze", "--local", "--predictions", str(file), "--dataset", "demo", "--gate", str(policy)]
    done = errata(*arguments, "--output", str(tmp_path / "out"), "--json")

    assert done.returncode == 1
    assert json.loads(done.stdout)["state"] == "STATE_SUCCEEDED"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "summary.json", "verdicts.jsonl", "classes.jsonl", "report.html", "junit.xml",
    }  # fmt: skip
    _, case = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot().iter("testcase")
    assert case.get("name") == "few failures" and case.find("failure") is not None
    result = errata(*arguments)
    assert result.returncode == 1
    assert "FAIL" in result.stdout and "Multi-label error rate is 25.00 %; at most 10.00 % is allowed" in result.stdout


def test_too_few_samples_are_undecided(errata: Errata, folders: tuple[str, str], policy: Path) -> None:
    policy.write_text(POLICY.replace("min_samples: 10\n", ""))
    done = errata("gate", folders[1], "--policy", str(policy))

    assert done.returncode == 5
    assert "UNDECIDED" in done.stdout and "too few samples" in done.stdout


def test_an_invalid_policy_is_reported_with_its_line(
    errata: Errata, folders: tuple[str, str], policy: Path, demo: Bundle, tmp_path: Path
) -> None:
    policy.write_text(POLICY.replace("max: 0.1", "maximum: 2"))

    done = errata("gate", folders[1], "--policy", str(policy))
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 7" in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"errata: {policy}: Invalid gate policy: bounds[0].maximum: ")
    file = write_predictions(demo, 1, tmp_path / "a.csv")
    refused = errata("analyze", "--local", "--predictions", str(file), "--dataset", "demo", "--gate", str(policy))
    assert refused.returncode == 2
    assert "line 7" in refused.stderr and str(policy) in refused.stderr
    gone = errata("gate", folders[1], "--policy", str(tmp_path / "none.yaml"))
    assert gone.returncode == 2 and "Cannot read" in gone.stderr


def test_the_shipped_policy_schema_is_current(errata: Errata) -> None:
    shipped = Path(__file__).resolve().parents[2] / "deploy" / "gate-policy.schema.json"

    assert json.loads(errata("gate", "--schema").stdout) == json.loads(shipped.read_text())


def test_a_gate_waits_for_an_analysis_up_to_its_timeout(
    data_dir: Path, errata: Errata, server: Serving, policy: Path, tmp_path: Path
) -> None:
    policy.write_text(POLICY.replace("max: 0.1", "max: 1"))
    queued = errata(
        "analyze", "demo:efficientnet_lite0", "--dataset", "demo", "--server", server.grpc, "--no-wait", "--json"
    )
    name = json.loads(queued.stdout)["name"]
    arguments = ["gate", name, "--policy", str(policy), "--server", server.grpc]
    at_once = errata(*arguments)
    assert at_once.returncode in (0, 5)  # the model may already have finished
    waited = subprocess.run(
        [sys.executable, "-m", "service", *arguments, "--wait", "2m"],
        env=environment(data_dir), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert waited.returncode == 0, waited.stderr
    assert "PASS" in waited.stdout
    odd = errata(*arguments, "--wait", "soon")
    assert odd.returncode == 2 and "30m" in odd.stderr


def test_a_trend_of_folders_and_stored_analyses_is_printed(
    errata: Errata, folders: tuple[str, str], tmp_path: Path
) -> None:
    alone = errata("trend", *folders, "--json", ERRATA_SERVER="127.0.0.1:1")
    stored = errata("trend", "--local", "--output", str(tmp_path / "t.html"))

    assert (alone.returncode, stored.returncode) == (0, 0)
    assert [model["top1_accuracy"] for model in json.loads(alone.stdout)["models"]] == [0.75, 0.9]
    of_owner = errata("trend", *folders, "--owner", "ann")
    assert of_owner.returncode == 2 and "--owner selects stored analyses" in of_owner.stderr
    nothing = errata("trend", "--local", "--dataset", "demo", "--owner", "nobody")
    assert nothing.returncode == 0 and "No analyses of data set 'demo' and owner 'nobody'." in nothing.stderr
    assert "a.csv" in stored.stdout and "b.csv" in stored.stdout
    assert "Data set: demo" in stored.stderr and "No published models" in stored.stderr
    assert "2 stored analyses" in (tmp_path / "t.html").read_text()


def test_a_trend_with_published_models(
    errata: Errata, folders: tuple[str, str], reference: Path, tmp_path: Path
) -> None:
    file = reference / "published" / "stats-imagenet" / "non_problematic_stats_all.csv"
    done = errata("trend", *folders, "--reference", str(file), "--by", "architecture", "--json")

    result = json.loads(done.stdout)
    assert len(result["models"]) == 964
    assert {"ResNet", "ViT", "ConvNeXt"} <= {fit["label"] for fit in result["fits"]}
    broken = tmp_path / "broken.csv"
    broken.write_text(file.read_text().replace("num_not_classified", "other", 1))
    refused = errata("trend", *folders, "--reference", str(broken))
    assert refused.returncode == 2 and "num_not_classified" in refused.stderr


def test_a_folder_of_another_program_is_invalid_input(errata: Errata, folders: tuple[str, str], policy: Path) -> None:
    verdicts = Path(folders[0]) / "verdicts.jsonl"
    lines = verdicts.read_text().splitlines()
    verdicts.write_text("\n".join([*lines[:3], "{", *lines[4:]]) + "\n")
    torn = errata("compare", *folders)
    assert torn.returncode == 2 and "line 4" in torn.stderr

    summary = Path(folders[1]) / "summary.json"
    summary.write_text('{"name": "analyses/1", "state": "STATE_SUCCEEDED", "summary": {"groups": {}}}')
    empty = errata("gate", folders[1], "--policy", str(policy))
    assert empty.returncode == 2 and "The summary has no group" in empty.stderr


def test_the_policy_of_the_guide_passes_and_blocks(errata: Errata, imagenet_real: Bundle, tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "gates.md").read_text()
    text = next(block.split("```")[0] for block in guide.split("```yaml\n")[1:] if "bounds:" in block)
    policy = tmp_path / "release.yaml"
    policy.write_text(text)
    for name, every in (("good", 20), ("bad", 4)):
        classes = imagenet_real.all_targets.tolist()
        for place in range(0, len(classes), every):
            classes[place] = (classes[place] + 500) % 1000
        rows = zip(imagenet_real.image_names, classes, strict=True)
        (tmp_path / f"{name}.csv").write_text("file_name,top1\n" + "".join(f"{n},{c}\n" for n, c in rows))
        file = str(tmp_path / f"{name}.csv")
        done = errata("analyze", "--local", "--predictions", file, "--output", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
    gate = ["--policy", str(policy)]

    good = errata("gate", str(tmp_path / "good"), *gate, "--baseline", str(tmp_path / "good"))
    bad = errata("gate", str(tmp_path / "bad"), *gate, "--baseline", str(tmp_path / "good"))

    assert (good.returncode, bad.returncode) == (0, 1), good.stdout + bad.stdout
    assert re.search("undecided  few model failures: .*The value is an upper bound", bad.stdout)
    assert "fail  no new model failures: " in bad.stdout


def test_special_files_are_written_to_but_not_replaced(
    errata: Errata, folders: tuple[str, str], policy: Path, tmp_path: Path
) -> None:
    gate = ["gate", folders[1], "--policy", str(policy)]
    target, link = tmp_path / "target.md", tmp_path / "link.md"
    target.write_text("before")
    link.symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE, text=True)
    try:
        done = errata(*gate, "--junit", str(tmp_path / "pipe"), "--markdown", str(link))
        output, _ = reader.communicate(timeout=30)
    finally:
        reader.kill()

    assert done.returncode == 0, done.stderr
    assert "<testsuites" in output and (tmp_path / "pipe").is_fifo()
    assert link.is_symlink() and "### Errata" in target.read_text()


@pytest.mark.parametrize(
    "summary",
    ["[" * 100_000, "null", "1", '{"\\ud800": 1}', '{"state": "\\ud800"}', '{"name": "analyses/1", "state": 99}'],
)
def test_an_invalid_summary_is_rejected(errata: Errata, folders: tuple[str, str], policy: Path, summary: str) -> None:
    (Path(folders[1]) / "summary.json").write_text(summary)
    done = errata("gate", folders[1], "--policy", str(policy))

    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("accuracy", ['"NaN"', '"Infinity"', "7", "-1"])
def test_impossible_numbers_pass_no_gate(errata: Errata, folders: tuple[str, str], policy: Path, accuracy: str) -> None:
    file = Path(folders[1]) / "summary.json"
    summary = json.loads(file.read_text())
    summary["summary"]["groups"]["all"]["top1_accuracy"] = json.loads(accuracy)
    file.write_text(json.dumps(summary))
    policy.write_text("version: 1\nmin_samples: 1\nbounds: [{measure: top1_accuracy, min: 0.1}]\n")

    done = errata("gate", folders[1], "--policy", str(policy))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Invalid top1_accuracy" in done.stderr


def test_endless_files_and_invalid_arguments_are_rejected(
    errata: Errata, folders: tuple[str, str], policy: Path
) -> None:
    verdicts = Path(folders[0]) / "verdicts.jsonl"
    verdicts.unlink()
    verdicts.symlink_to("/dev/zero")
    assert errata("compare", *folders).returncode == 2
    assert errata("trend", folders[1], "--reference", "/dev/zero").returncode == 2
    assert errata("gate", "x" * 300, "--policy", str(policy), ERRATA_SERVER="127.0.0.1:1").returncode == 3
    assert errata("gate", folders[1], "--policy", str(policy), "--wait", "9" * 400 + "h").returncode == 2
    assert errata("gate", "\udce4", "--policy", str(policy)).returncode == 2
    policy.write_bytes(POLICY.encode("utf-16"))
    assert errata("gate", folders[1], "--policy", str(policy)).returncode == 0


def test_control_characters_in_names_are_not_printed(errata: Errata, demo: Bundle, tmp_path: Path) -> None:
    file = write_predictions(demo, 1, tmp_path / "a.csv")
    name = "red \x1b[31m \x1b]0;title\x07 [bold]"
    done = errata("analyze", "--local", "--predictions", str(file), "--dataset", "demo", "--name", name)

    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr and "[bold]" in done.stdout
