"""The commands of deploy/examples, run with a service."""

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from demo_predictions import write_predictions
from errata import Client, pb
from errata.cli.junit import to_junit

from service.evidence.bundle import Bundle

from .conftest import Serving, environment

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "deploy" / "examples"


def documents(name: str) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all((EXAMPLES / name).read_text()) if item]


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A folder with the commands `errata` and `python3` for PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, arguments in (("errata", "-m service "), ("python3", "")):
        (folder / name).write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {arguments}"$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def run_script(data_dir: Path, bin_folder: Path, checkout: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in the checkout, as a CI system does."""

    def run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        search_path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=checkout,
            env=environment(data_dir, PATH=search_path, **variables),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the policy."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "release.yaml").write_text(lower_minimum((EXAMPLES / "release.yaml").read_text()))
    return folder


@pytest.fixture
def analyses(server: Serving, demo: Bundle, tmp_path: Path) -> dict[str, str]:
    """Two uploads for the 20 photographs: one without errors, and one with six errors."""
    result = {}
    with Client(server.grpc) as client:
        for name, wrong in (("good", 0), ("bad", 6)):
            file = write_predictions(demo, wrong, tmp_path / f"{name}.csv")
            result[name] = client.upload(file, "demo").name
    return result


def lower_minimum(policy: str) -> str:
    """A policy with a low minimum of samples."""
    return policy.replace("bounds:", "min_samples: 10\nbounds:", 1)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill in the expressions of GitHub or GitLab."""
    return re.sub(r"\$(?:\{\{ (.+?) \}\}|\[\[ (.+?) \]\])", lambda match: values[match[1] or match[2]], template)


@pytest.mark.parametrize(("wrong", "expected"), [(0, 0), (6, 1)])
def test_the_steps_of_the_github_action_run(
    server: Serving,
    analyses: dict[str, str],
    demo: Bundle,
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    checkout: Path,
    wrong: int,
    expected: int,
) -> None:
    (workflow,) = documents("github-actions.yaml")
    (step,) = [item for item in workflow["jobs"]["gate"]["steps"] if "deploy/actions/errata@" in item["uses"]]
    action = yaml.safe_load((EXAMPLES.parent / "actions" / "errata" / "action.yml").read_text())
    assert step["with"].keys() <= action["inputs"].keys()
    caller = {
        "vars.ERRATA_SERVER": server.grpc,
        "vars.PRODUCTION_ANALYSIS": analyses["good"],
        "secrets.ERRATA_TOKEN": "",
    }
    inputs = {name: item.get("default", "") for name, item in action["inputs"].items()}
    inputs |= {name: fill(value, caller) for name, value in step["with"].items()} | {"dataset": "demo", "tls": "false"}
    write_predictions(demo, wrong, checkout / inputs["predictions"])
    files = {name: checkout / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    install, analyze = action["runs"]["steps"]
    variables = {
        name: fill(value, {f"inputs.{key}": text for key, text in inputs.items()})
        for name, value in analyze["env"].items()
    }
    variables |= {name: str(path) for name, path in files.items()}
    variables |= {"GITHUB_SHA": "0123abc", "RUNNER_TEMP": str(checkout / "temporary")}
    for module in ("types", "typing", "pip", "json"):  # no step imports modules of the repository
        (checkout / f"{module}.py").write_text("raise ImportError")
    version = f" @ {(ROOT / 'client').as_uri()}"  # the client of the checkout instead of that of a package index
    installed = run_script(install["run"], VERSION=version, **variables)
    assert installed.returncode == 0, installed.stderr

    done = run_script(analyze["run"], **variables)

    assert done.returncode == expected, done.stderr
    assert "few plain failures" in files["GITHUB_STEP_SUMMARY"].read_text()
    assert (checkout / "errata" / "junit.xml").exists()
    summary = json.loads((checkout / "errata" / "summary.json").read_text())
    assert summary["labels"] == {"commit": "0123abc"}
    assert files["GITHUB_OUTPUT"].read_text() == f"exit-code={expected}\nanalysis={summary['name']}\n"


@pytest.mark.parametrize(
    ("policy", "code", "writes", "is_named"),
    [("p", 4, True, True), ("p", 4, False, False), ("", 4, True, False), ("p", 2, True, False), ("p", 3, True, False)],
)
def test_the_github_action_names_an_analysis_that_failed_and_not_the_baseline(
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    checkout: Path,
    policy: str,
    code: int,
    writes: bool,
    is_named: bool,
) -> None:
    action = yaml.safe_load((EXAMPLES.parent / "actions" / "errata" / "action.yml").read_text())
    analyze = action["runs"]["steps"][1]
    result = pb.GateResult(decision=pb.GATE_DECISION_ERROR, analysis="analyses/1m8tvbbb7sc3jtazjymry", policy="p")
    (checkout / "junit").write_bytes(to_junit(result, "resnet50"))
    command = checkout / "errata-client" / "bin" / "errata"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\n{"cp" if writes else "true"} junit "$OUTPUT/junit.xml"; exit {code}\n')
    command.chmod(0o755)
    (checkout / "result").mkdir()
    (checkout / "result" / "summary.json").write_text('{"name": "analyses/baseline"}')
    (checkout / "result" / "junit.xml").write_bytes((checkout / "junit").read_bytes().replace(b"1m8t", b"1m7t"))
    (checkout / "json.py").write_text("raise ImportError")  # a module of the repository is not imported
    variables = dict.fromkeys(analyze["env"], "") | {"OUTPUT": "result", "BASELINE": "result", "POLICY": policy}
    variables |= {"DATASET": "demo", "MODEL": "demo:m", "GITHUB_OUTPUT": "outputs", "GITHUB_STEP_SUMMARY": "summary"}
    variables |= {"GITHUB_SHA": "0123abc", "RUNNER_TEMP": str(checkout)}

    done = run_script(analyze["run"], **variables)

    assert done.returncode == code, done.stderr
    name = f"analysis={result.analysis}\n" if is_named else ""
    assert (checkout / "outputs").read_text() == f"exit-code={code}\n{name}"


def test_no_script_of_the_github_action_contains_an_expression() -> None:
    action = yaml.safe_load((EXAMPLES.parent / "actions" / "errata" / "action.yml").read_text())
    assert all("${{" not in step["run"] for step in action["runs"]["steps"])


@pytest.mark.parametrize(("wrong", "expected"), [(0, 0), (6, 1)])
def test_the_script_of_the_gitlab_job_runs(
    server: Serving,
    analyses: dict[str, str],
    demo: Bundle,
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    checkout: Path,
    wrong: int,
    expected: int,
) -> None:
    header, pipeline = documents("gitlab-ci.yaml")
    inputs = {name: item.get("default", "") for name, item in header["spec"]["inputs"].items()}
    inputs |= {"predictions": "predictions.csv", "policy": "release.yaml", "baseline": analyses["good"]}
    write_predictions(demo, wrong, checkout / inputs["predictions"])
    values = {f"inputs.{name}": text for name, text in (inputs | {"dataset": "demo"}).items()}
    job = pipeline["errata"]
    variables = {name: fill(value, values) for name, value in job["variables"].items()}
    assert job["before_script"] == ['pip install --quiet "$CLIENT"'] and variables["CLIENT"] == "errata-client"

    done = run_script("\n".join(job["script"]), ERRATA_SERVER=server.grpc, CI_COMMIT_SHA="0123abc", **variables)

    assert done.returncode == expected, done.stderr
    assert (checkout / job["artifacts"]["reports"]["junit"]).exists()


@pytest.mark.parametrize(("wrong", "expected"), [(0, 0), (6, 1)])
@pytest.mark.parametrize("name", ["argo-workflows.yaml", "kubeflow-component.yaml"])
def test_the_container_of_a_pipeline_runs(
    server: Serving,
    analyses: dict[str, str],
    demo: Bundle,
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    checkout: Path,
    name: str,
    wrong: int,
    expected: int,
) -> None:
    write_predictions(demo, wrong, checkout / "predictions.csv")
    results = checkout / "results"
    values = {
        "predictions": str(checkout / "predictions.csv"),
        "policy": str(checkout / "release.yaml"),
        "baseline": analyses["good"],
        "dataset": "demo",
        "name": "candidate",
        "results": str(results),
    }
    document = documents(name)[0]
    if name == "argo-workflows.yaml":
        (template,) = document["spec"]["templates"]
        paths = {
            template["inputs"]["artifacts"][0]["path"]: values["predictions"],
            "/policy/release.yaml": values["policy"],
            template["outputs"]["artifacts"][0]["path"]: values["results"],
        }
        container = template["container"]
        parameters = {item["name"] for item in template["inputs"]["parameters"]}
        arguments = [paths.get(item, item) for item in container["args"]]
        arguments = [
            re.sub(r"\{\{inputs\.parameters\.(\w+)\}\}", lambda match: values[({match[1]} & parameters).pop()], item)
            for item in arguments
        ]
    else:
        container = document["implementation"]["container"]
        declared = {item["name"] for item in document["inputs"] + document["outputs"]}
        arguments = []
        for item in container["args"]:
            if isinstance(item, dict):
                (reference,) = item.values()
                assert reference in declared
                item = values[reference]
            arguments.append(item)

    done = run_script(shlex.join([*container["command"], *arguments]), ERRATA_SERVER=server.grpc)

    assert done.returncode == expected, done.stderr
    assert (results / "junit.xml").exists()


def test_the_operator_of_airflow_returns_the_analysis_or_fails(
    server: Serving, analyses: dict[str, str], demo: Bundle, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With replacements of the two classes of Airflow, which needs other versions of many packages."""

    class BaseOperator:
        def __init__(self, task_id: str) -> None:
            self.task_id = task_id

    class AirflowFailException(Exception):
        pass

    sdk, exceptions = ModuleType("airflow.sdk"), ModuleType("airflow.sdk.exceptions")
    vars(sdk)["BaseOperator"], vars(exceptions)["AirflowFailException"] = BaseOperator, AirflowFailException
    modules = {"airflow": ModuleType("airflow"), "airflow.sdk": sdk, "airflow.sdk.exceptions": exceptions}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("ERRATA_SERVER", server.grpc)
    operator = runpy.run_path(str(EXAMPLES / "errata_airflow.py"))["ErrataGateOperator"]
    arguments = {"task_id": "gate", "policy": str(checkout / "release.yaml"), "dataset": "demo"}
    good, bad = write_predictions(demo, 0, checkout / "good.csv"), write_predictions(demo, 6, checkout / "bad.csv")

    name = operator(predictions=str(good), baseline=analyses["good"], **arguments).execute({})
    with Client(server.grpc) as client:
        assert client.get(name).dataset == "datasets/demo"
    with pytest.raises(AirflowFailException, match=r"Gate of analyses/\w+: fail\. .*30"):
        operator(predictions=str(bad), baseline=analyses["good"], **arguments).execute({})
    with Client(server.grpc) as client:
        before = {analysis.name for analysis in client.list()}
        with pytest.raises(AirflowFailException, match="not found"):
            operator(predictions=str(good), baseline="analyses/none", **arguments).execute({})
        assert {analysis.name for analysis in client.list()} == before


@pytest.mark.parametrize(("candidate", "expected"), [("good", 0), ("bad", 1)])
@pytest.mark.parametrize("name", ["argo-cd-presync.yaml", "argo-rollouts.yaml", "kserve-promotion.yaml"])
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
        "analyses/CANDIDATE": analyses[candidate],
        "analyses/PRODUCTION": analyses["good"],
        "/policy/release.yaml": str(policy),
    }
    pod = job_of(name)["template"]["spec"]
    (container,) = pod.get("initContainers", pod["containers"])
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
