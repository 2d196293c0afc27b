"""The pages of versions of evidence: what a version changed, per image and per model."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from indexed_archive import InMemoryIndexedArchive
from playwright.sync_api import Browser
from running_service import start_service

from service.analyses import evidence_versions
from service.analyses.ports import Stores
from service.archive.files import open_files
from service.archive.publications import ArchivePublications
from service.archive.record_log import RecordLog
from service.bootstrap.build import Inputs, build_evidence
from service.domain import Review
from service.evidence.repository import EvidenceRepository
from service.jobs.memory import InMemoryJobStore

from .conftest import HOSTILE, HOSTILE_FILE, SCREENSHOTS, open_page

CLASSES = ("cat", "dog", "owl", HOSTILE.replace('"', "'").replace(";", ""))
NUM_IMAGES = 40


@dataclass(frozen=True)
class Versions:
    """A service with two versions of evidence, and two models judged with both; a third one with the base only."""

    url: str
    base: str
    built: str


def _review(number: int, image: str, **statements: object) -> Review:
    time = datetime(2026, 1, 1, number, tzinfo=UTC)
    return Review(f"{number:032x}", "street", image, "e" * 64, HOSTILE[:40], False, time, **statements)


@pytest.fixture(scope="module")
def versions(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versions]:
    folder = tmp_path_factory.mktemp("versions")
    names = [*(f"image {number:02}.jpg" for number in range(NUM_IMAGES - 1)), HOSTILE_FILE.replace('"', "'")]
    (folder / "classes.csv").write_text("id,name\n" + "\n".join(f'{i},"{name}"' for i, name in enumerate(CLASSES)))
    (folder / "labels.csv").write_text(
        "file_name,labels\n" + "".join(f'"{name}",{number % 3}\n' for number, name in enumerate(names))
    )
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    base = build_evidence("street", inputs, folder / "bundle")
    evidence = {"street": [str(base.path)]}
    with start_service(data_dir, folder / "archive", evidence=evidence) as running:
        for name, shift in (("resnet", 1), (HOSTILE, 2), ("vit", 0)):
            rows = "".join(
                f'"{image}",{(number + (number % 5 == 0) * shift) % 3}\n' for number, image in enumerate(names)
            )
            running.client.upload(io.BytesIO(f"file_name,top1\n{rows}".encode()), "street", display_name=name)
        analyses = InMemoryIndexedArchive()
        stores = Stores(
            EvidenceRepository({"street": [base.path]}, folder / "admin", ArchivePublications(str(folder / "archive"))),
            InMemoryJobStore(lambda: 0.0),
            analyses,
            analyses.index,
            lambda: datetime.now(UTC),
            RecordLog(open_files(str(folder / "archive" / "reviews")), Review),
        )
        for review in (
            _review(1, names[0], added=("1",)),  # a label error of resnet
            _review(2, names[5], rejected=("2",), added=("0",)),  # of resnet; the original label is rejected
            _review(3, names[10], problematic=True, reason=HOSTILE),
            _review(4, names[-1], added=("3",)),
        ):
            stores.reviews.append(review)
        built = evidence_versions.build_from_reviews(stores, "street", "", 1, "root")
        evidence_versions.set_default(stores, "street", built.digest, "")
        for analysis in running.client.list(dataset="street"):
            if analysis.display_name != "vit":
                running.client.reanalyze(analysis.name, built.digest)
        yield Versions(f"http://{running.addresses.http}/datasets/street/evidence", base.digest, built.digest)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1300])
@pytest.mark.parametrize("page", ["versions", "changes"])
def test_pages_are_accessible_and_fit_the_window(
    chromium: Browser, versions: Versions, page: str, width: int, scheme: str
) -> None:
    url = versions.url if page == "versions" else f"{versions.url}/{versions.built}"
    with open_page(chromium, url, viewport={"width": width, "height": 900}, color_scheme=scheme) as view:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        view.page.screenshot(path=SCREENSHOTS / f"evidence-{page}-{width}-{scheme}.png", full_page=True)
        assert view.messages == []
        assert view.violations() == []
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        assert view.page.evaluate("window.hacked") is None


def test_changes_name_the_errors_that_were_label_errors(chromium: Browser, versions: Versions) -> None:
    with open_page(chromium, f"{versions.url}/{versions.built[:12]}", java_script_enabled=False) as view:
        text = view.page.inner_text("main")
        rows = {row.split("\t")[0]: row.split("\t") for row in view.page.inner_text("#models ~ div table").splitlines()}

        assert "4 images differ. 3 labels added, 1 label removed. 1 image set aside" in text
        assert rows["resnet"][4:6] == ["3", "0"]
        assert rows[HOSTILE][4:6] == ["1", "0"]
        assert "--dataset street --evidence" in text
        links = view.page.locator("section:has(#images) a").evaluate_all("links => links.map(link => link.pathname)")
        assert "/datasets/street/images/image%2000.jpg" in links


def test_versions_name_the_default_and_who_built_it(chromium: Browser, versions: Versions) -> None:
    with open_page(chromium, versions.url) as view:
        rows = view.page.locator("tbody tr").all_inner_texts()

        assert versions.built[:12] in rows[0] and "default" in rows[0] and "root" in rows[0] and "4 reviews" in rows[0]
        assert versions.base[:12] in rows[1]
        view.page.get_by_role("link", name=versions.built[:12]).click()
        assert "Changes of evidence" in view.page.inner_text("h1")
        for missing in (
            f"{versions.url}/ffff",
            f"{versions.url}/{versions.base}",
            versions.url.replace("street", "no"),
        ):
            response = view.page.goto(missing)
            assert response is not None and response.status in (400, 404)
