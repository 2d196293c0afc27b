"""Paths of evidence bundles that commands have used."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from errata.errors import EvidenceNotFound

from service.cli.bundle_paths import FILE, BundlePaths
from service.cli.serve import serve
from service.evidence.bundle import Bundle
from service.settings import Settings


@pytest.fixture
def copy(demo: Bundle, tmp_path: Path) -> Path:
    """A bundle outside the data folder."""
    return shutil.copytree(demo.path, tmp_path / "elsewhere")


@pytest.fixture
def paths(tmp_path: Path) -> BundlePaths:
    (tmp_path / "data").mkdir()
    return BundlePaths(tmp_path / "data")


def test_a_bundle_is_found_by_its_digest_and_by_its_paths(paths: BundlePaths, copy: Path, demo: Bundle) -> None:
    paths.remember(copy, used=False)

    assert paths.find(demo.digest, {}) == paths.find(demo.digest[:6], {}) == copy
    assert paths.find(str(copy), {}) == paths.find(str(copy / "manifest.json"), {}) == copy


def test_a_configured_bundle_is_found_by_its_digest(paths: BundlePaths, copy: Path, demo: Bundle) -> None:
    assert paths.find(demo.digest[:6], {"demo": [copy]}) == copy


def test_an_unknown_digest_is_not_found(paths: BundlePaths, copy: Path) -> None:
    paths.remember(copy, used=True)

    with pytest.raises(EvidenceNotFound):
        paths.find("ffffffff", {})


def test_a_used_bundle_is_listed_after_the_configured_ones(paths: BundlePaths, copy: Path, tmp_path: Path) -> None:
    other = shutil.copytree(copy, tmp_path / "other")
    paths.remember(copy, used=True)

    assert paths.add_used_bundles({"demo": [other]}) == {"demo": [other, copy]}
    assert paths.add_used_bundles({"demo": [copy]}) == {"demo": [copy]}


def test_a_used_bundle_is_listed_after_the_default(paths: BundlePaths, copy: Path, tmp_path: Path) -> None:
    paths.remember(copy, used=True)

    default, used = paths.add_used_bundles({})["demo"]

    assert used == copy
    assert default.is_relative_to(tmp_path / "data" / "evidence")


def test_a_used_bundle_does_not_replace_a_damaged_default(paths: BundlePaths, copy: Path) -> None:
    paths.remember(copy, used=True)
    default, _ = paths.add_used_bundles({})["demo"]
    (default / "manifest.json").write_text("{}")

    assert paths.add_used_bundles({}) == {}


def test_a_bundle_that_was_only_built_is_not_served(paths: BundlePaths, copy: Path) -> None:
    paths.remember(copy, used=False)
    assert paths.add_used_bundles({}) == {}

    paths.remember(copy, used=True)
    paths.remember(copy, used=False)  # built again: analyses still need it
    assert copy in paths.add_used_bundles({})["demo"]


@pytest.mark.parametrize(("options", "is_served"), [(["--local"], True), ([], False)])
def test_only_a_local_service_serves_used_bundles(
    paths: BundlePaths, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], is_served: bool
) -> None:
    served: list[Settings] = []

    async def run(settings: Settings) -> None:
        served.append(settings)

    for function in ("service.bootstrap.local.run_local_until_signal", "service.bootstrap.serve.run_service"):
        monkeypatch.setattr(function, run)
    paths.remember(copy, used=True)
    configured = shutil.copytree(copy, tmp_path / "configured")
    variables = {"ERRATA_DATA_DIR": str(tmp_path / "data"), "ERRATA_EVIDENCE": json.dumps({"demo": [str(configured)]})}

    result = CliRunner().invoke(serve, options, env=variables)

    assert result.exception is None
    assert served[0].evidence == {"demo": [configured, copy] if is_served else [configured]}


@pytest.mark.parametrize("change", ["moved", "damaged"])
def test_a_moved_or_damaged_bundle_is_left_out(paths: BundlePaths, copy: Path, change: str) -> None:
    paths.remember(copy, used=True)
    if change == "moved":
        copy.rename(copy.with_name("moved"))
    else:
        (copy / "manifest.json").write_text("{}")

    assert paths.add_used_bundles({}) == {}


@pytest.mark.parametrize("content", ["", "[]", "no JSON", '{"a": 1}', '{"a": {"path": 1}}'])
def test_a_damaged_file_of_paths_is_ignored(paths: BundlePaths, tmp_path: Path, copy: Path, content: str) -> None:
    (tmp_path / "data" / FILE).write_text(content)

    assert paths.add_used_bundles({}) == {}
    paths.remember(copy, used=True)
    assert copy in paths.add_used_bundles({})["demo"]
