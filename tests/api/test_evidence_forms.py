"""The forms that build evidence, set the default, and judge again, over HTTP."""

import io
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from errata import Client, pb
from errata.errors import InvalidEvidence
from errata.tokens import Scope, line_of, new_token
from http_answer import Answer
from running_service import Running, Start, start_service
from street import build_street

from service.analyses.evidence_changes import EvidenceChanges
from service.analyses.ports import Stores
from service.analyses.reanalyze_all import ReanalysisProgress
from service.bootstrap.build import Inputs, build_evidence
from service.evidence.build import write_bundle
from service.evidence.bundle import open_bundle
from service.evidence.uploaded_labels import relabel_from_file
from service.web import evidence_pages, judging_runs
from service.web.judging_runs import MAX_SKIPPED, JudgingRun

from .test_forms import CROSS_SITE, FormClient
from .test_security import basic

URL = "/datasets/street/evidence"
TOKENS = {scope: new_token() for scope in (Scope.READ, Scope.WRITE, Scope.REVIEW, Scope.ADMIN)}
HOSTILE = "<img src=x onerror=alert(1)>"


@contextmanager
def street_service(start: Start, folder: Path, with_tokens: bool = False) -> Iterator[Running]:
    (folder / "classes.csv").write_text("id,name\ncat,cat\ndog,dog\nowl,owl\n")
    (folder / "labels.csv").write_text("file_name,labels\na.jpg,cat\nb.jpg,dog\nc.jpg,owl\n")
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    bundle = build_evidence("street", inputs, folder / "bundle")
    settings: dict[str, object] = {"evidence": {"street": [str(bundle.path)]}}
    if with_tokens:
        lines = [line_of(scope.value, scope, token) for scope, token in TOKENS.items()]
        (folder / "tokens").write_text("\n".join(lines))
        settings["tokens"] = folder / "tokens"
    with start(**settings) as running:
        yield running


def image_links(browser: FormClient, page: str) -> dict[str, list[str]]:
    """Return the links of each changed image by its name."""
    rows = re.findall(r"<tr>(.*?)</tr>", browser.get(page).text.partition('<h2 id="images">')[2])[1:]
    names = [re.sub("<[^>]*>", "", row.partition("</th>")[0]) for row in rows]
    return {name: re.findall('href="([^"]*)"', row) for name, row in zip(names, rows, strict=True)}


def text_of(answer: Answer) -> str:
    return unescape(answer.text).replace("\N{NO-BREAK SPACE}", " ")


def open_form(browser: FormClient) -> Answer:
    answer = browser.get(URL)
    browser.token = browser.token[:43]  # each form of the page has the same one
    return answer


def test_a_refused_form_has_the_message_of_the_api_and_keeps_its_fields(start: Start, tmp_path: Path) -> None:
    with street_service(start, tmp_path) as running:
        browser = FormClient(running)
        open_form(browser)
        with pytest.raises(InvalidEvidence) as error:
            running.client.build_evidence("street", min_reviews=3)

        answer = browser.post(f"{URL}/build", min_reviews="3", base="")
        assert (answer.status, answer.headers["Cache-Control"]) == (400, "no-store")
        assert error.value.message in text_of(answer) and 'value="3"' in answer.text
        for value in ("0", "", "x", "1e3", "-1", "9" * 10):
            assert browser.post(f"{URL}/build", min_reviews=value).status == 400
        hostile = browser.post(f"{URL}/build", min_reviews=f"%3Cb%3E{'x' * 500}", base="%3Cb%3Ey")
        assert hostile.status == 400 and "<b>" not in hostile.text and "x" * 100 not in text_of(hostile)[:3000]
        assert browser.post(f"{URL}/build", min_reviews="1", base="ffff").status == 404
        for change in ("default", "judge"):
            assert browser.post(f"{URL}/ffff/{change}").status == 404
            assert browser.post(f"/datasets/none/evidence/ffff/{change}").status == 404
        assert [event.action for event in running.client.audit_events()] == []


def test_a_labels_file_becomes_a_version_or_has_the_messages_of_the_api(start: Start, tmp_path: Path) -> None:
    with street_service(start, tmp_path) as running:
        browser = FormClient(running)
        open_form(browser)
        bad = b"file_name,labels\na.jpg,cat\nb.jpg,horse\nc.jpg,sheep\n"
        with pytest.raises(InvalidEvidence) as error:
            running.client.upload_labels(io.BytesIO(bad), "street")
        digest = running.client.evidence("street").digest
        refused = browser.upload(bad, path=f"{URL}/labels", base=digest)
        assert (refused.status, refused.headers["Cache-Control"]) == (400, "no-store")
        for text in (error.value.message, *(violation.description for violation in error.value.violations)):
            assert text in text_of(refused)
        assert "Line 4: unknown class 'sheep'" in text_of(refused)
        form = refused.text.partition(f'action="{URL}/labels"')[2].partition("</form>")[0]
        assert '<input type="file" name="file" required>' in form and f'<option value="{digest}" selected>' in form
        empty = browser.upload(b"", path=f"{URL}/labels")
        assert (empty.status, "Select a labels file that is not empty." in text_of(empty)) == (400, True)
        good = b"file_name,labels\na.jpg,cat;dog\nb.jpg,dog\nc.jpg,owl\n"
        assert browser.upload(good, path=f"{URL}/labels", headers=CROSS_SITE).status == 403
        assert browser.upload(good, path=f"{URL}/labels", form_token="").status == 403
        assert browser.upload(good, path=f"{URL}/labels", base="ffff").status == 404
        assert browser.upload(good, path="/datasets/none/evidence/labels").status == 404
        assert [*running.client.audit_events()] == []

        built = browser.upload(good, path=f"{URL}/labels")

        assert built.status == 303
        (event,) = running.client.audit_events()
        assert built.headers["Location"] == f"{URL}/{event.evidence.rpartition('/')[2]}"
        assert "1 image differs. 1 label added, 0 labels removed." in text_of(browser.get(built.headers["Location"]))


def test_an_upload_of_the_labels_of_a_version_changes_nothing(start: Start, tmp_path: Path) -> None:
    same = b"file_name,labels\na.jpg,cat\nb.jpg,dog\nc.jpg,owl\n"
    with street_service(start, tmp_path) as running:
        browser = FormClient(running)
        open_form(browser)
        configured = running.client.evidence("street").digest
        assert running.client.upload_labels(io.BytesIO(same), "street").digest == configured

        refused = browser.upload(same, path=f"{URL}/labels")

        assert refused.status == 400
        assert f"Nothing was changed. The file has the labels of the evidence {configured[:12]}." in re.sub(
            "<[^>]*>", "", text_of(refused)
        )
        assert "configured or in the data folder" in refused.text
        assert [*running.client.audit_events()] == []

        corrected = same.replace(b"cat", b"cat;dog")
        location = browser.upload(corrected, path=f"{URL}/labels").headers["Location"]
        uploaded = location.rpartition("/")[2]
        sent_again = browser.upload(corrected, path=f"{URL}/labels")
        assert (sent_again.status, sent_again.headers["Location"]) == (303, location)
        for content, base in ((same, uploaded), (corrected, uploaded), (same, "")):
            assert browser.upload(content, path=f"{URL}/labels", base=base).status == 400
        assert [event.evidence.rpartition("/")[2] for event in running.client.audit_events()] == [uploaded]


def test_labels_of_a_bundle_in_the_data_folder_change_nothing_or_publish_it(tmp_path: Path) -> None:
    own = build_street(tmp_path)
    shutil.copytree(own.path, tmp_path / "data" / "evidence" / "street" / "own")
    same = (tmp_path / "labels.csv").read_bytes()
    with start_service(tmp_path / "data", tmp_path / "archive") as running:
        browser = FormClient(running)
        open_form(browser)

        refused = browser.upload(same, path=f"{URL}/labels")

        assert refused.status == 400 and "Nothing was changed." in refused.text
        assert "configured or in the data folder" in refused.text
        assert [*running.client.audit_events()] == []

        uploaded = browser.upload(same.replace(b"a,cat", b"a,cat;dog"), path=f"{URL}/labels").headers["Location"]
        base = uploaded.rpartition("/")[2]
        published = browser.upload(same, path=f"{URL}/labels", base=base)
        sent_again = browser.upload(same, path=f"{URL}/labels", base=base)
        assert (published.status, published.headers["Location"], sent_again.status) == (303, URL, 400)
        assert [event.evidence.rpartition("/")[2] for event in running.client.audit_events()] == [own.digest, base]
        assert f'"{URL}/{own.digest}"' not in browser.get(URL).text, "it still has no base"


def test_forms_whose_result_is_a_version_without_an_available_base_lead_to_a_page(tmp_path: Path) -> None:
    first = build_street(tmp_path)
    labels = (tmp_path / "labels.csv").read_bytes().replace(b"a,cat", b"a,cat;owl")
    (tmp_path / "corrected.csv").write_bytes(labels)
    write_bundle(replace(relabel_from_file(first, tmp_path / "corrected.csv"), base="f" * 64), tmp_path / "second")
    second = open_bundle(tmp_path / "second")
    evidence = {"street": [str(second.path), str(first.path)]}
    with start_service(tmp_path / "data", tmp_path / "archive", evidence=evidence) as running:
        browser = FormClient(running)
        open_form(browser)

        refused = browser.upload(labels, path=f"{URL}/labels", base=first.digest)
        judged = browser.post(f"{URL}/{second.digest}/judge")
        running.client.create_review("street", "a", "ann", rejected=["owl"])
        built = browser.post(f"{URL}/build", min_reviews="1")

        assert refused.status == 400
        assert f"The file has the labels of the evidence {second.digest[:12]}." in text_of(refused)
        assert (judged.status, judged.headers["Location"]) == (303, URL)
        assert (built.status, built.headers["Location"]) == (303, URL)
        assert {event.action for event in running.client.audit_events()} == {pb.AuditEvent.ACTION_REVIEW}


def test_links_of_an_image_that_is_no_longer_evaluated_lead_to_the_analysis_on_the_base(
    start: Start, tmp_path: Path
) -> None:
    with street_service(start, tmp_path) as running:
        browser = FormClient(running)
        open_form(browser)
        labels = b"file_name,labels\na.jpg,cat;dog\nb.jpg,dog\n"  # without c.jpg
        page = browser.upload(labels, path=f"{URL}/labels").headers["Location"]
        url = "/datasets/street/images"
        assert image_links(browser, page)["c.jpg"] == [], "no analysis evaluates the image"
        text = text_of(browser.get(page))
        assert "1 image differs. 1 label added, 0 labels removed. 0 images set aside, 0 no longer set aside." in text
        assert "1 image is no longer evaluated." in text and "Listed images: 2 of 2." in text
        assert '<td class="text">owl</td><td class="text">no longer evaluated</td>' in text

        predictions = b"file_name,label\na.jpg,cat\nb.jpg,dog\nc.jpg,dog\n"
        before = running.client.upload(io.BytesIO(predictions), "street").name.removeprefix("analyses/")
        assert image_links(browser, page)["c.jpg"] == [f"{url}/c.jpg?analysis={before}"]

        evidence = page.rpartition("/")[2]
        after = running.client.reanalyze(f"analyses/{before}", evidence).name.removeprefix("analyses/")
        links = image_links(browser, page)
        assert links == {
            "a.jpg": [f"{url}/a.jpg?analysis={after}", "/review/street/a.jpg"],
            "c.jpg": [f"{url}/c.jpg?analysis={before}"],
        }
        urls = [link for row in links.values() for link in row]
        assert [browser.get(link).status for link in urls] == [200] * 3
        open_form(browser)
        assert browser.post(f"{page}/default").status == 303
        assert image_links(browser, page) == links
        assert [browser.get(link).status for link in urls] == [200] * 3


def test_forms_of_other_sites_change_nothing(start: Start, tmp_path: Path) -> None:
    with street_service(start, tmp_path) as running:
        browser = FormClient(running)
        open_form(browser)
        digest = running.client.evidence("street").digest
        for path in (f"{URL}/build", f"{URL}/{digest}/default", f"{URL}/{digest}/judge"):
            assert browser.post(path, CROSS_SITE, min_reviews="1").status == 403
            assert browser.post(path, form_token="", min_reviews="1").status == 403
        assert [*running.client.audit_events()] == []
        assert browser.post(f"{URL}/{digest}/default").status == 303
        assert [event.actor for event in running.client.audit_events()] == ["unauthenticated"] * 2  # publish, default


def test_only_the_scope_admin_sees_and_sends_the_forms(start: Start, tmp_path: Path) -> None:
    with street_service(start, tmp_path, with_tokens=True) as running:
        for scope, token in TOKENS.items():
            browser = FormClient(running, basic(token))
            queue, page = browser.get("/review?dataset=street").text, open_form(browser).text
            is_admin = scope is Scope.ADMIN
            assert ("Build evidence from reviews" in page) == ("Build evidence from reviews" in queue) == is_admin
            assert ("The newest changes" in page) == is_admin
            assert ("Changes need a token" in page) == (not is_admin)
            digest = page.partition("<code>")[2].partition("</code>")[0]
            assert browser.post(f"{URL}/{digest}/default").status == (303 if is_admin else 403)
        assert "admin" in FormClient(running, basic(TOKENS[Scope.ADMIN])).get(URL).text


def test_only_the_scope_admin_sees_the_command_that_judges_again(start: Start, tmp_path: Path) -> None:
    with street_service(start, tmp_path, with_tokens=True) as running:
        admin = FormClient(running, basic(TOKENS[Scope.ADMIN]))
        open_form(admin)
        page = admin.upload(b"file_name,labels\na.jpg,cat;dog\nb.jpg,dog\nc.jpg,owl\n", path=f"{URL}/labels")
        with Client(running.addresses.grpc, token=TOKENS[Scope.ADMIN]) as client:
            client.upload(io.BytesIO(b"file_name,label\na.jpg,cat\nb.jpg,dog\nc.jpg,dog\n"), "street")
        for scope, token in TOKENS.items():
            text = text_of(FormClient(running, basic(token)).get(page.headers["Location"]))
            is_admin = scope is Scope.ADMIN
            assert "Models judged with the base only: 1." in text
            assert ("errata reanalyze --all" in text) == ("To judge them again, run:" in text) == is_admin
            assert ("An administrator can judge them again." in text) == (not is_admin)


def test_too_many_runs_are_refused_and_a_running_one_is_not_started_twice(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    is_released = False

    def judge_slowly(_: object, dataset: str, digest: str, caller: str) -> Iterator[ReanalysisProgress]:
        calls.append(digest)
        yield ReanalysisProgress(1, 2, "a" * 21, reason=HOSTILE)
        while not is_released:
            time.sleep(0.01)
        yield ReanalysisProgress(2, 2, "b" * 21, "c" * 21, is_new=True)

    monkeypatch.setattr(judging_runs, "reanalyze_all", judge_slowly)
    monkeypatch.setattr(judging_runs, "MAX_CHANGES", 1)
    with street_service(start, tmp_path) as running:
        browser = FormClient(running)
        open_form(browser)
        digest = running.client.evidence("street").digest
        try:
            for _ in range(2):
                answer = browser.post(f"{URL}/{digest[:8]}/judge")
                assert (answer.status, answer.headers["Location"]) == (303, URL)
            busy = browser.post(f"{URL}/build", min_reviews="1")
            assert busy.status == 503 and "at most 1 at once" in busy.text and busy.headers["Retry-After"] == "10"
            assert 'http-equiv="refresh"' not in busy.text, "the URL of a form has no page"
            page = wait_for(browser, "1 of 2 analyses judged: 0 new, 1 skipped")
            assert "data-live" in page and 'http-equiv="refresh"' in page
            assert HOSTILE in unescape(page) and HOSTILE not in page
        finally:
            is_released = True
        page = wait_for(browser, "2 of 2 analyses judged: 1 new, 1 skipped")
        wait_for(browser, 'id="ended"')
        assert calls == [digest]
        assert browser.post(f"{URL}/build", min_reviews="1").status == 400, "the slot is free again"


def test_changes_that_are_computed_while_a_run_ends_are_shown_as_of_a_running_one(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_released, compute = threading.Event(), evidence_pages.compute_changes

    def judge(_: object, dataset: str, digest: str, caller: str) -> Iterator[ReanalysisProgress]:
        is_released.wait(30)
        yield ReanalysisProgress(1, 1, "a" * 21, "b" * 21, is_new=True)

    monkeypatch.setattr(judging_runs, "reanalyze_all", judge)
    with street_service(start, tmp_path) as running:
        browser = FormClient(running)
        open_form(browser)
        labels = b"file_name,labels\na.jpg,cat;dog\nb.jpg,dog\nc.jpg,owl\n"
        url = browser.upload(labels, path=f"{URL}/labels").headers["Location"]
        assert browser.post(f"{url}/judge").status == 303

        def compute_then_end_run(stores: Stores, dataset: str, digest: str) -> EvidenceChanges:
            changes = compute(stores, dataset, digest)
            is_released.set()
            wait_for(browser, 'id="ended"')
            return changes

        monkeypatch.setattr(evidence_pages, "compute_changes", compute_then_end_run)
        page = browser.get(url).text
        assert 'id="running"' in page and 'http-equiv="refresh"' in page
        page = browser.get(url).text
        assert 'id="ended"' in page and 'http-equiv="refresh"' not in page


def test_a_failed_run_shows_why_and_frees_its_slot(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Iterator[ReanalysisProgress]:
        raise RuntimeError("secret of the server")

    monkeypatch.setattr(judging_runs, "reanalyze_all", fail)
    monkeypatch.setattr(judging_runs, "MAX_CHANGES", 1)
    with street_service(start, tmp_path) as running:
        browser = FormClient(running)
        open_form(browser)
        digest = running.client.evidence("street").digest
        for _ in range(2):
            assert browser.post(f"{URL}/{digest}/judge").status == 303
            page = wait_for(browser, "The server log contains the details.")
            assert "secret" not in page


def test_a_run_names_a_bounded_number_of_skipped_analyses() -> None:
    run = JudgingRun()
    for number in range(1, 101):
        run = run.add(ReanalysisProgress(number, 100, f"{number}", reason="deleted"))

    assert (run.num_done, run.num_skipped, len(run.skipped)) == (100, 100, MAX_SKIPPED)


def wait_for(browser: FormClient, text: str) -> str:
    """Return the page once it contains a text."""
    for _ in range(600):
        page = browser.send("GET", URL).text
        if text in page:
            return page
        time.sleep(0.05)
    raise AssertionError(page)
