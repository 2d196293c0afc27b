"""All files have the same version, and a release has its tag and its section of the changelog."""

import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from scripts.check_versions import find_problems

from .release_workflow import ROOT, TRACKED, VERSION


def test_all_files_have_the_same_version() -> None:
    assert list(find_problems(ROOT, TRACKED)) == []


@pytest.mark.parametrize(
    ("file", "text", "other"),
    [
        ("client/pyproject.toml", f'version = "{VERSION}"', 'version = "9.9.9"'),
        ("deploy/api.Dockerfile", f"ARG VERSION={VERSION}", "ARG VERSION=9.9.9"),
        ("deploy/kubernetes/overlays/gpu/kustomization.yaml", f"newTag: {VERSION}-cuda", "newTag: 9.9.9-cuda"),
        ("deploy/examples/argo-rollouts.yaml", f"errata-api:{VERSION}", "errata-api:9.9.9"),
        ("deploy/kubernetes/README.md", f"errata-worker:{VERSION}-cuda", "errata-worker:9.9.9-cuda"),
        ("CITATION.cff", f"version: {VERSION}", "version: 9.9.9"),
    ],
)
def test_another_version_is_found(tmp_path: Path, file: str, text: str, other: str) -> None:
    for name in {"pyproject.toml", "client/pyproject.toml", file}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    content = (ROOT / file).read_text()
    assert text in content
    (tmp_path / file).write_text(content.replace(text, other))

    problems = list(find_problems(tmp_path, [file]))

    assert problems
    assert all(item.startswith(file) and "9.9.9" in item for item in problems)


@pytest.mark.parametrize(("tag", "accepted"), [(f"v{VERSION}", True), ("v9.9.9", False), (VERSION, False)])
def test_a_release_needs_the_tag_of_its_version(tmp_path: Path, tag: str, accepted: bool) -> None:
    for name in ("pyproject.toml", "client/pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {VERSION}\n")

    assert (list(find_problems(tmp_path, [], tag)) == []) is accepted


def test_a_release_needs_a_section_of_the_changelog(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "client/pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")

    assert list(find_problems(tmp_path, [], f"v{VERSION}")) == [f"CHANGELOG.md: Expected a section '## {VERSION}'"]


def test_the_citation_file_has_what_its_format_requires() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == VERSION
    assert citation["license"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    for work in (citation, citation["preferred-citation"]):
        assert work["title"]
        assert all("name" in author or "family-names" in author for author in work["authors"])
    assert citation["preferred-citation"]["url"] in (ROOT / "README.md").read_text()
