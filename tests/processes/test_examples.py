"""The commands of deploy/examples, run with a service."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from errata import Client

from service.evidence.bundle import Bundle

from .conftest import Serving, environment

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"


def documents(name: str) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all((EXAMPLES / name).read_text()) if item]


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A folder with the command `errata` for PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "errata"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m service "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.fixture
def analyses(server: Serving, demo: Bundle, tmp_path: Path) -> dict[str, str]:
    """Two uploads for the 20 photographs: one without errors, and one with six errors."""
    result = {}
    with Client(server.grpc) as client:
        for name, wrong in (("good", 0), ("bad", 6)):
            file = predictions(demo, wrong, tmp_path / f"{name}.csv")
            result[name] = client.upload(file, "demo").name
    return result


def predictions(demo: Bundle, wrong: int, file: Path) -> Path:
    classes = [*[0] * wrong, *demo.all_targets.tolist()[wrong:]]
    rows = [f"{name},{value}" for name, value in zip(demo.judged_names, classes, strict=True)]
    file.write_text("file_name,predicted_class\n" + "\n".join(rows) + "\n")
    return file


def lower_minimum(policy: str) -> str:
    """A policy with a low minimum of samples."""
    return policy.replace("bounds:", "min_samples: 10\nbounds:", 1)


@pytest.mark.parametrize(("wrong", "expected"), [(0, 0), (6, 1)])
def test_the_steps_of_the_workflow_run(
    server: Serving,
    analyses: dict[str, str],
    demo: Bundle,
    data_dir: Path,
    bin_folder: Path,
    tmp_path: Path,
    wrong: int,
    expected: int,
) -> None:
    (workflow,) = documents("github-actions.yaml")
    job = workflow["jobs"]["gate"]
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    predictions(demo, wrong, checkout / "predictions.csv")
    (checkout / "release.yaml").write_text(lower_minimum((EXAMPLES / "release.yaml").read_text()))
    summary = tmp_path / "summary.md"
    variables = {
        "ERRATA_SERVER": server.grpc,
        "BASELINE": analyses["good"],
        "DATASET": "demo",
        "GITHUB_SHA": "0123abc",
        "GITHUB_STEP_SUMMARY": str(summary),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    assert set(job["env"]) - {"ERRATA_TOKEN", "ERRATA_TLS"} <= set(variables)
    steps = [item["run"] for item in job["steps"] if "errata " in item.get("run", "") and "pip" not in item["run"]]
    done = [
        subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step],
            cwd=checkout,
            env=environment(data_dir, **variables),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        for step in steps
    ]
    assert [item.returncode for item in done] == [expected, expected], [item.stderr for item in done]
    assert "few plain failures" in summary.read_text()
    assert (checkout / "errata" / "junit.xml").exists()
    assert json.loads((checkout / "errata" / "summary.json").read_text())["labels"] == {"commit": "0123abc"}


@pytest.mark.parametrize(("candidate", "expected"), [("good", 0), ("bad", 1)])
@pytest.mark.parametrize("name", ["argo-cd-presync.yaml", "argo-rollouts.yaml"])
def test_the_container_of_a_job_runs(
    server: Serving,
    analyses: dict[str, str],
    data_dir: Path,
    tmp_path: Path,
    name: str,
    candidate: str,
    expected: int,
) -> None:
    config = documents("argo-cd-presync.yaml")[0]
    assert config["kind"] == "ConfigMap"
    policy = tmp_path / "release.yaml"
    policy.write_text(lower_minimum(config["data"]["release.yaml"]))
    values = {
        "$(ANALYSIS)": analyses[candidate],
        "$(BASELINE)": analyses["good"],
        "{{args.analysis}}": analyses[candidate],
        "{{args.baseline}}": analyses["good"],
        "/policy/release.yaml": str(policy),
    }
    pod = job_of(name)["template"]["spec"]
    (container,) = pod["containers"]
    assert job_of(name)["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"
    assert pod["enableServiceLinks"] is False
    arguments = [values.get(item, item) for item in container["args"]]
    assert not any(re.search(r"\$\(|\{\{", argument) for argument in arguments)
    done = subprocess.run(
        [sys.executable, "-m", "service", *arguments],  # the entrypoint of the image is `errata`
        env=environment(data_dir, ERRATA_SERVER=server.grpc),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == expected, done.stderr


def job_of(name: str) -> dict[str, Any]:
    if name == "argo-rollouts.yaml":
        result = {document["metadata"]["name"]: document for document in documents(name)}["errata-job"]
        job: dict[str, Any] = result["spec"]["metrics"][0]["provider"]["job"]["spec"]
    else:
        job = next(document for document in documents(name) if document["kind"] == "Job")["spec"]
    return job


def test_the_address_of_the_web_metric_returns_the_expected_format(server: Serving) -> None:
    (template,) = [
        document for document in documents("argo-rollouts.yaml") if document["metadata"]["name"] == "errata-web"
    ]
    (metric,) = template["spec"]["metrics"]
    web = metric["provider"]["web"]
    assert web["jsonPath"] == "{$.gate.decision}"
    assert (metric["successCondition"], metric["failureCondition"]) == ('result == "pass"', 'result == "fail"')
    names = [item["name"] for item in template["spec"]["args"]]
    url = web["url"].replace("errata-api.errata.svc:8080", server.http)
    for name in names:
        url = url.replace("{{args." + name + "}}", "no-such-one")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=10)
    assert refused.value.code == 404
    assert json.load(refused.value)["gate"]["decision"] == "error"
