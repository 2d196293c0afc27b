"""Reviews in a browser: by mouse, by keyboard, without JavaScript, by two reviewers, and with hostile texts."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from errata.tokens import Scope, line_of, new_token
from playwright.sync_api import Browser, Error, Page, Route, expect
from running_service import Running, start_service

from service.bootstrap.build import Inputs, build_evidence
from service.web.review_view import MAX_OPTIONS

from .conftest import HOSTILE, HOSTILE_FILE, SCREENSHOTS, OpenPage, open_page

CLASSES = ("cat", "dog", "bird", "fish", HOSTILE)
IMAGES = {"a.jpg": "cat", "b.jpg": "dog", "c.jpg": "bird", HOSTILE_FILE: "fish"}
WRONG = {"a.jpg": 1, "b.jpg": 4, HOSTILE_FILE: 0}  # class that three models predict
CONFIDENCE = {"a.jpg": 0.9, "b.jpg": 0.8, "c.jpg": 0.5, HOSTILE_FILE: 0.7}  # the order of the queue
URL = "/review/street/{}"


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("street")
    quoted = HOSTILE.replace('"', '""')
    rows = [f'id-{name[:4]},"{name}"' for name in (*CLASSES[:4], quoted)]
    (folder / "classes.csv").write_text("\n".join(["id,name", *rows]) + "\n")
    file = HOSTILE_FILE.replace('"', '""')
    rows = [f'"{name if name != HOSTILE_FILE else file}",{label}' for name, label in IMAGES.items()]
    (folder / "labels.csv").write_text("file_name,labels\n" + "\n".join(rows) + "\n")
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    return build_evidence("street", inputs, folder / "bundle").path


@contextmanager
def reviewed_service(data_dir: Path, folder: Path, bundle_path: Path, tokens: Path | None = None) -> Iterator[Running]:
    """Run a service with the analyses of three models."""
    folder.mkdir(exist_ok=True)
    evidence = {"street": [str(bundle_path)]}
    with ExitStack() as stack:
        running = stack.enter_context(start_service(data_dir, folder / "archive", evidence=evidence))
        for number in range(3):
            lines = ["file_name,top1,probability"]
            for name, label in IMAGES.items():
                predicted = WRONG.get(name, CLASSES.index(label))
                # Different predictions: the same ones would be one model.
                predicted = number if name == "c.jpg" and number < 2 else predicted
                escaped = name.replace('"', '""')
                lines.append(f'"{escaped}",{predicted},{CONFIDENCE[name]}')
            (folder / "p.csv").write_text("\n".join(lines) + "\n")
            running.client.upload(folder / "p.csv", "street", display_name=f"net {number}", accept_implausible=True)
        if tokens is None:
            yield running
            return
    settings = {"evidence": evidence, "tokens": tokens}
    with start_service(data_dir, folder / "archive", **settings) as running:
        yield running


@pytest.fixture
def service(data_dir: Path, tmp_path: Path, bundle_path: Path) -> Iterator[str]:
    with reviewed_service(data_dir, tmp_path / "service", bundle_path) as running:
        yield f"http://{running.addresses.http}"


def row(page: Page, name: str) -> "object":
    return page.locator("fieldset.choice").filter(has=page.locator("legend", has_text=re.compile(rf"\s{name}\b")))


def choose(page: Page, name: str, choice: str) -> None:
    row(page, name).get_by_label(choice, exact=True).check()  # type: ignore[attr-defined]


def save(page: Page) -> None:
    with page.expect_event("load"):
        page.get_by_role("button", name="Save and next").click()


def press(page: Page, key: str) -> None:
    with page.expect_event("load"):  # `expect_navigation` also ends when the script changes the state of the page
        page.keyboard.press(key)


def reviews(page: Page) -> str:
    return page.locator(".reviews").inner_text()


def test_a_review_by_mouse_is_stored_and_leads_to_the_next_image(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}/review?dataset=street") as view:
        page = view.page
        assert page.locator("tbody a").all_inner_texts() == ["a.jpg", "b.jpg", HOSTILE_FILE]
        page.get_by_role("link", name="net 2").click()
        assert page.inner_text("h1") == "net 2"
        page.go_back()
        page.get_by_role("link", name="Start the review").click()
        assert page.inner_text("h1") == "a.jpg"
        assert "3 of 3 models" in page.locator("fieldset.choice").nth(1).inner_text()
        choose(page, "cat", "confirm")
        choose(page, "dog", "add")
        page.get_by_label("your name").fill("ann")
        page.get_by_label("comment").fill("two animals")
        save(page)
        assert page.inner_text("h1") == "b.jpg"
        assert page.get_by_label("your name").input_value() == "ann"

        page.goto(service + URL.format("a.jpg"))
        assert "In the image: cat and dog." in page.inner_text(".history")
        assert "confirms cat; adds dog" in reviews(page)
        assert "two animals" in reviews(page)
        assert "ann not authenticated" in reviews(page)
        page.goto(f"{service}/review?dataset=street")
        assert page.locator("tbody a").all_inner_texts() == ["b.jpg", HOSTILE_FILE]
        assert view.messages == []


def test_a_review_by_keyboard_needs_no_pointer(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        page.keyboard.press("a")  # confirm the labels
        page.keyboard.press("2")  # add the first suggested class
        page.keyboard.press("p")
        page.keyboard.press("c")
        page.keyboard.type("as 1 2 p n")  # no key acts in a text field
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        page.keyboard.type("bird")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        press(page, "s")
        assert page.inner_text("h1") == "b.jpg"
        press(page, "n")
        assert page.inner_text("h1") == HOSTILE_FILE
        page.goto(f"{service}{URL.format('a.jpg')}?reviewer=ann")
        assert "confirms cat; adds dog and bird; sets the image aside" in reviews(page)
        assert "as 1 2 p n" in reviews(page)
        press(page, "u")
        assert page.locator(".reviews .undone").count() == 1
        assert "The labels stay as they are." in page.inner_text(".history")
        assert view.messages == []


@pytest.mark.parametrize("text", ["id-bird", "ID-Bird", "bird", "Bird"])
def test_enter_adds_a_class_by_its_id_or_name(chromium: Browser, service: str, text: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        page.keyboard.press("/")
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        assert row(page, "bird").get_by_label("add").is_checked()  # type: ignore[attr-defined]
        assert page.get_by_label("add a class by its ID or name").input_value() == ""
        assert page.inner_text("h1") == "a.jpg", "the review is not saved"
        assert view.messages == []


def test_enter_searches_for_a_class_that_the_text_does_not_identify(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        field = page.get_by_label("add a class by its ID or name")
        field.fill("unicorn")
        field.press("Enter")
        page.get_by_text("No class contains “unicorn”.").wait_for()
        assert field.input_value() == "unicorn"
        field.fill("ir")
        field.press("Enter")
        page.get_by_text("Classes that contain “ir”: bird.").wait_for()
        assert row(page, "bird").get_by_label("no statement").is_checked()  # type: ignore[attr-defined]
        assert field.input_value() == "ir"
        choose(page, "bird", "add")
        assert field.input_value() == "", "the statement takes the place of the text"
        assert page.inner_text("h1") == "a.jpg", "the review is not saved"
        assert view.messages == []


@pytest.fixture(scope="module")
def large_service(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with so many classes that the page does not list them."""
    folder = tmp_path_factory.mktemp("large")
    rows = [f"n{index:05},{'crane' if index < 2 else f'thing {index}'}" for index in range(MAX_OPTIONS + 1)]
    (folder / "classes.csv").write_text("\n".join(["id,name", *rows]) + "\n")
    (folder / "labels.csv").write_text("file_name,labels\na.jpg,n00003\nb.jpg,n00004\n")
    inputs = Inputs(classes=folder / "classes.csv", labels=folder / "labels.csv")
    bundle = build_evidence("street", inputs, folder / "bundle")
    with start_service(data_dir, folder / "archive", evidence={"street": [str(bundle.path)]}) as running:
        yield running


def test_enter_adds_a_class_that_the_page_does_not_list(chromium: Browser, large_service: Running) -> None:
    url = f"http://{large_service.addresses.http}{URL.format('a.jpg')}?reviewer=ann"
    with open_page(chromium, url) as view:
        page = view.page
        field = page.get_by_label("add a class by its ID or name")
        choose(page, "n00003", "reject")
        for text in ("n00007", "THING 299"):
            field.fill(text)
            field.press("Enter")
            expect(field).to_have_value("")
        field.press("Escape")
        press(page, "s")
        (review,) = large_service.client.list_reviews("street", "a.jpg")
        assert (review.added_classes, review.rejected_classes) == (["n00007", "n00299"], ["n00003"])
        assert view.messages == []


def test_enter_keeps_a_text_that_several_classes_match(chromium: Browser, large_service: Running) -> None:
    url = f"http://{large_service.addresses.http}{URL.format('b.jpg')}?reviewer=bob"
    with open_page(chromium, url) as view:
        page = view.page
        field = page.get_by_label("add a class by its ID or name")
        field.fill("crane")
        field.press("Enter")
        page.get_by_text("Classes that contain “crane”").wait_for()
        assert page.locator("fieldset[data-match] input[value='yes']:checked").count() == 0
        assert field.input_value() == "crane"
        save(page)
        assert "2 classes match 'crane'" in page.get_by_role("alert").inner_text()
        field.press("Enter")
        page.get_by_text("Classes that contain “crane”").wait_for()
        field.press("Escape")
        page.keyboard.press("3")  # the second class; the first row is the label
        assert field.input_value() == ""
        press(page, "s")
        (review,) = large_service.client.list_reviews("street", "b.jpg")
        assert review.added_classes == ["n00001"]


def test_a_search_that_fails_names_the_problem_or_a_remedy(chromium: Browser, large_service: Running) -> None:
    with open_page(chromium, f"http://{large_service.addresses.http}{URL.format('a.jpg')}") as view:
        page = view.page
        field, status = page.get_by_label("add a class by its ID or name"), page.locator("[data-found]")
        field.fill("n00007")
        answers: tuple[Callable[[Route], None], ...] = (
            lambda route: route.abort(),
            lambda route: route.fulfill(body="<form>Log in</form>"),  # of a proxy
            lambda route: route.fulfill(status=502, body="Bad gateway"),
        )
        for answer in answers:
            page.route("**/*search=*", answer)
            field.press("Enter")
            expect(status).to_have_text(re.compile("^The search failed. Open this service in another tab "))
            status.evaluate("element => element.textContent = ''")
            page.unroute("**/*search=*")
        without_image = large_service.client.upload_labels(io.BytesIO(b"file_name,labels\nb.jpg,n00004\n"), "street")
        large_service.client.set_default_evidence("street", without_image.digest)
        field.press("Enter")
        expect(status).to_have_text(re.compile("^Image 'a.jpg'"))
        assert field.input_value() == "n00007"


def test_added_classes_are_restored_if_the_reader_goes_back_after_a_save_that_failed(
    chromium: Browser, service: str
) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        field = page.get_by_label("add a class by its ID or name")
        page.keyboard.press("a")
        field.fill("bird")
        field.press("Enter")
        field.fill("is")
        field.press("Enter")
        choose(page, "fish", "reject")
        page.route("**/reviews", lambda route: route.abort())
        with suppress(Error):
            save(page)
        page.unroute("**/reviews")
        page.go_back()
        assert row(page, "bird").get_by_label("add").is_checked()  # type: ignore[attr-defined]
        assert row(page, "fish").get_by_label("reject").is_checked()  # type: ignore[attr-defined]
        save(page)
        page.goto(f"{service}{URL.format('a.jpg')}?reviewer=ann")
        assert "confirms cat; adds bird; rejects fish" in reviews(page)


def test_the_enter_key_of_an_input_method_does_not_add_a_class(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        field = view.page.get_by_label("add a class by its ID or name")
        field.fill("bird")
        press_enter = """(field, isComposing) => field.dispatchEvent(
            new KeyboardEvent("keydown", { key: "Enter", isComposing, bubbles: true, cancelable: true }))"""
        assert field.evaluate(press_enter, True), "the browser handles the key"
        assert field.input_value() == "bird"
        field.evaluate(press_enter, False)
        assert field.input_value() == ""
        assert row(view.page, "bird").get_by_label("add").is_checked()  # type: ignore[attr-defined]


@pytest.mark.parametrize("keys", [("u",), ("1", "s"), ("Enter",)])
def test_nothing_else_is_sent_until_the_next_page_is_open(
    chromium: Browser, service: str, keys: tuple[str, ...]
) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        page.keyboard.press("a")
        press(page, "s")
        page.keyboard.press("a")
        sent: list[Route] = []  # to a server that is slow to respond
        page.route("**/reviews", lambda route: sent.append(route))
        page.get_by_role("button", name="Undo your last review").focus()
        for key in ("s", *keys):
            page.keyboard.press(key)
        page.wait_for_timeout(300)

        assert ["class-1=yes" in (route.request.post_data or "") for route in sent] == [True]
        with page.expect_event("load"):
            sent[0].continue_()
        page.unroute("**/reviews")
        assert page.inner_text("h1") == HOSTILE_FILE
        press(page, "u")
        assert page.inner_text("h1") == "b.jpg"
        assert view.messages == []


@pytest.mark.parametrize("key", ["s", "n", "u"])
def test_a_key_that_is_held_down_acts_once(chromium: Browser, service: str, key: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        for _ in range(2 if key == "u" else 0):
            page.keyboard.press("a")
            press(page, "s")
        page.keyboard.press("a")
        with page.expect_event("load"):
            page.keyboard.down(key)
        for _ in range(5):
            page.keyboard.down(key)  # the next events of a key that is held down have `repeat`
            page.wait_for_timeout(50)
        assert page.inner_text("h1") == "b.jpg"
        assert view.messages == []


def test_single_keys_do_not_depend_on_caps_lock(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        view.page.keyboard.press("A")
        assert row(view.page, "cat").get_by_label("confirm").is_checked()  # type: ignore[attr-defined]


def test_single_keys_can_be_turned_off(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        page.get_by_label("single keys are active").uncheck()
        page.reload()
        page.keyboard.press("a")
        assert not page.get_by_label("single keys are active").is_checked()
        assert not row(page, "cat").get_by_label("confirm").is_checked()  # type: ignore[attr-defined]


def test_a_review_without_javascript_is_complete(chromium: Browser, service: str) -> None:
    with open_page(chromium, service + URL.format("a.jpg"), java_script_enabled=False) as view:
        page = view.page
        page.get_by_text("Search of classes").click()
        page.get_by_label("part of an ID").fill("IRD")
        page.get_by_role("button", name="Search classes").click()
        choose(page, "bird", "add")
        page.get_by_label("add a class by its ID or name").fill("fish")
        choose(page, "cat", "reject")
        page.get_by_label("set aside", exact=True).check()
        page.get_by_label("reason to set it aside").fill("blurred")
        page.get_by_label("your name").fill("ann")
        save(page)
        page.goto(f"{service}{URL.format('a.jpg')}?reviewer=ann")
        assert "adds bird and fish; rejects cat; sets the image aside: blurred" in reviews(page)
        with page.expect_event("load"):
            page.locator(".reviews").get_by_role("button", name="Undo").click()
        assert page.locator(".reviews .undone").count() == 1


def test_an_invalid_review_is_shown_again_with_its_statements(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        choose(page, "cat", "confirm")
        page.get_by_label("add a class by its ID or name").fill("unicorn")
        page.get_by_label("comment").fill("not sure")
        save(page)
        assert "Unknown class 'unicorn'" in page.get_by_role("alert").inner_text()
        assert row(page, "cat").get_by_label("confirm").is_checked()  # type: ignore[attr-defined]
        assert page.get_by_label("comment").input_value() == "not sure"
        assert page.get_by_label("add a class by its ID or name").input_value() == "unicorn"


def test_a_page_with_labels_that_have_changed_is_not_stored(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        choose(page, "cat", "confirm")
        page.evaluate("document.querySelector('[name=labels]').value = 'f'.repeat(64)")
        save(page)
        assert "have changed" in page.get_by_role("alert").inner_text()
        assert row(page, "cat").get_by_label("confirm").is_checked()  # type: ignore[attr-defined]
        assert "No reviews." in page.inner_text(".history")
        save(page)
        assert page.inner_text("h1") == "b.jpg"


def test_a_form_that_is_sent_twice_is_one_review(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        choose(page, "cat", "confirm")
        fields = page.evaluate("Object.fromEntries(new FormData(document.querySelector('[data-review]')))")
        for _ in range(2):
            headers = {"Origin": service, "Sec-Fetch-Site": "same-origin"}
            assert page.request.post(f"{service}/reviews", form=fields, headers=headers).ok
        page.reload()
        assert page.locator(".reviews li").count() == 1


def test_a_selection_is_reviewed_in_its_order(chromium: Browser, service: str) -> None:
    query = f"dataset=street&image=c.jpg&image={quote(HOSTILE_FILE, safe='')}&reviewer=ann"
    with open_page(chromium, f"{service}/review?{query}") as view:
        page = view.page
        assert page.inner_text("h1") == "c.jpg"
        assert page.get_by_text("1 more image selected", exact=True).is_visible()
        choose(page, "bird", "confirm")
        save(page)
        assert page.inner_text("h1") == HOSTILE_FILE
        assert page.get_by_text("Last of the selected images", exact=True).is_visible()
        page.get_by_role("link", name="Skip", exact=True).click()
        assert page.inner_text("h1") == "Review"


@pytest.mark.parametrize("by_key", [True, False])
def test_skip_takes_the_entered_name_to_the_next_image(chromium: Browser, service: str, by_key: bool) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}") as view:
        page = view.page
        page.get_by_label("your name").fill("Ann & Bo")
        page.keyboard.press("Escape")
        if by_key:
            press(page, "n")
        else:
            page.get_by_role("link", name="Skip", exact=True).click()
        assert page.inner_text("h1") == "b.jpg"
        assert page.get_by_label("your name").input_value() == "Ann & Bo"


def test_the_grid_of_an_analysis_leads_to_reviews(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}/") as view:
        page = view.page
        page.get_by_role("link", name="net 2", exact=True).click()
        grid = f"{page.url}/images?type=model_failure"
        page.goto(grid)
        with page.expect_event("load"):
            page.locator(".image-grid a").first.click()
        page.locator("main").get_by_role("link", name="Review", exact=True).last.click()
        assert page.inner_text("h1") == "a.jpg"
        page.get_by_role("link", name="Image details").click()
        assert page.inner_text("h1") == "a.jpg"
        page.goto(grid)
        for box in page.get_by_role("checkbox").all()[1:]:
            box.check()
        page.get_by_role("button", name="Review selected images").click()
        page.get_by_label("your name").fill("ann")
        for name, label in (("b.jpg", "dog"), (HOSTILE_FILE, "fish")):
            assert page.inner_text("h1") == name
            choose(page, label, "confirm")
            save(page)
        assert page.inner_text("h1") == "Review"
        page.wait_for_load_state()
        assert page.locator("tbody a").all_inner_texts() == ["a.jpg"]


def test_two_reviewers_with_tokens_conflict_and_a_third_one_decides(
    chromium: Browser, data_dir: Path, tmp_path: Path, bundle_path: Path
) -> None:
    tokens = {name: new_token() for name in ("ann", "bob", "eve", "guest")}
    scopes = {"guest": Scope.READ}
    file = tmp_path / "tokens"
    lines = [line_of(name, scopes.get(name, Scope.REVIEW), token) for name, token in tokens.items()]
    file.write_text("".join(f"{line}\n" for line in lines))
    with reviewed_service(data_dir, tmp_path / "service", bundle_path, file) as running:
        url = f"http://{running.addresses.http}{URL.format('a.jpg')}"
        for name, choice in (("ann", "add"), ("bob", "reject"), ("eve", "reject")):
            with open_page(chromium, url, http_credentials={"username": "", "password": tokens[name]}) as view:
                page = view.page
                assert f"Reviewer: {name}" in page.inner_text("form[data-review]")
                if name == "eve":
                    assert "dog: yes by ann, no by bob." in page.inner_text(".conflict")
                    assert page.locator(".reviews button").count() == 0  # only own reviews can be undone
                choose(page, "dog", choice)
                save(page)
        with open_page(chromium, url, http_credentials={"username": "", "password": tokens["ann"]}) as view:
            assert view.page.locator(".conflict").count() == 0
            assert "Not in the image: dog." in view.page.inner_text(".history")
            assert "not authenticated" not in reviews(view.page)
        with open_page(chromium, url, http_credentials={"username": "", "password": tokens["guest"]}) as view:
            assert "Log in with a token of the scope review" in view.page.inner_text("form[data-review]")
            assert view.page.get_by_role("button", name="Save and next").count() == 0


def test_a_form_of_another_site_is_refused(chromium: Browser, service: str) -> None:
    form = (
        f"<form method=post action='{service}/reviews'><input name=dataset value=street><input name=image value=a.jpg>"
        "<input name=reviewer value=mallory><input name=class-0 value=no></form>"
    )
    with open_page(chromium, "data:text/html,<p>evil</p>") as view:
        page = view.page
        page.set_content(form)
        with page.expect_event("load"):
            page.evaluate("document.forms[0].submit()")
        assert "sent by another site" in page.inner_text("main")
        page.goto(service + URL.format("a.jpg"))
        assert "No reviews." in page.inner_text(".history")


def test_search_of_classes_keeps_unsaved_statements(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann") as view:
        page = view.page
        choose(page, "dog", "reject")
        page.get_by_label("comment").fill("Not a dog")
        page.get_by_text("Search of classes").click()
        search = page.get_by_label("part of an ID, name, or synonym")
        search.fill("zebra")
        search.press("Enter")
        page.get_by_text("No class contains “zebra”.").wait_for()
        search.fill("ish")
        for _ in range(2):  # a class that is found again is not added again
            with page.expect_response(lambda response: "search=ish" in response.url):
                page.get_by_role("button", name="Search classes").click()
            page.get_by_text("No class contains “zebra”.").wait_for(state="detached")
        choose(page, "fish", "add")
        save(page)
        page.goto(f"{service}{URL.format('a.jpg')}?reviewer=ann")
        assert "Not a dog" in reviews(page)
        assert re.search(r"fish.*dog|dog.*fish", reviews(page), re.DOTALL)
        assert view.messages == []


def test_hostile_texts_are_escaped(chromium: Browser, service: str) -> None:
    target = f"{service}{URL.format(quote(HOSTILE_FILE, safe=''))}?reviewer={quote(HOSTILE[:99], safe='')}"
    with open_page(chromium, target) as view:
        page = view.page
        assert page.inner_text("h1") == HOSTILE_FILE
        page.get_by_label("comment").fill(HOSTILE)
        page.get_by_label("set aside", exact=True).check()
        page.get_by_label("reason to set it aside").fill(HOSTILE)
        page.get_by_label("add a class by its ID or name").fill(HOSTILE)
        page.get_by_label("add a class by its ID or name").press("Enter")
        save(page)
        page.goto(target)
        assert reviews(page).count("onerror") >= 3
        page.goto(f"{service}/review?dataset=street&reviewer={quote(HOSTILE[:99], safe='')}")
        page.goto(f"{service}{URL.format('b.jpg')}?search={quote(HOSTILE[:150], safe='')}")
        assert page.evaluate("window.hacked") is None
        assert view.messages == []


def test_titles_of_the_queue_break_between_words_only(chromium: Browser, service: str) -> None:
    with open_page(chromium, f"{service}/review?dataset=street", viewport={"width": 420, "height": 900}) as view:
        for word in ("image", "reason"):
            title = view.page.locator("thead th", has_text=re.compile(f"^{word}$"))
            lines = title.evaluate(
                "e => { const r = document.createRange(); r.selectNodeContents(e); return r.getClientRects().length }"
            )
            assert lines == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1300])
def test_pages_of_reviews_are_accessible_and_fit(chromium: Browser, service: str, scheme: str, width: int) -> None:
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with open_page(chromium, f"{service}{URL.format('a.jpg')}?reviewer=ann", **options) as view:
        page = view.page
        choose(page, "dog", "reject")
        save(page)
        page.goto(f"{service}{URL.format('a.jpg')}?reviewer=bob")
        choose(page, "dog", "add")
        save(page)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for name, path in (("image", f"{URL.format('a.jpg')}?reviewer=bob"), ("queue", "/review?dataset=street")):
            page.goto(service + path)
            page.screenshot(path=SCREENSHOTS / f"review-{name}-{width}-{scheme}.png", full_page=True)
            check_page(view, width)
            assert page.evaluate("[...document.querySelectorAll('.wide')].every(b => b.scrollWidth <= b.clientWidth)")


def check_page(view: OpenPage, width: int) -> None:
    assert view.violations() == []
    assert view.page.evaluate("document.documentElement.scrollWidth") <= width
    assert view.messages == []
