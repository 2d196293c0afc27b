"""Pages, read-only: the list of analyses, each report, comparisons, trends, single images; the templates are report's.

/                                     the list: state, dataset, search, order, page
/analyses/{id}                        a report, or how far an open analysis has come
/analyses/{id}/report.html            the report as a file on its own
/analyses/{id}/errors/{image}         one image: its evidence, and what each rule said
/analyses/{id}/images/{image}         a picture of it, where the images lie in a plain folder
/compare?a=…&b=…                      leads to /compare/{a}/{b}
/compare/{a}/{b}, …/report.html       what changed
/trend                                dataset, group, by, mark
"""

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any
from urllib.parse import quote, urlencode

import structlog
from errata.errors import AnalysisNotFound, ErrataError, ImageNotFound, InvalidRequest, TooBusy
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from service.analyses import queries, report
from service.analyses.ports import Ports
from service.analyses.trend import TrendRequest
from service.analyses.verdicts import explain_image, find_bundle, load_judged
from service.domain import Group, State
from service.redact import log_fields, public_message, public_text
from service.report.listing_view import image_view, list_view, open_view
from service.report.render import content_security_policy, render
from service.telemetry import Metrics
from service.web.listener import ROUTE, challenge
from service.web.status import STATUS_WORDS, status_of

THREADS = 4  # that make pages
MOST_WAITING = 64  # pages; more are refused
PAGE = 50  # analyses
MADE = 16  # pages that are kept
PICTURE_SIZE = 320  # pixels
MAX_TEXT = 256  # characters of a parameter
HEADERS = {
    "Content-Security-Policy": content_security_policy(site=True) + "; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache, private",
}
_log = structlog.get_logger()
Handler = Callable[[Request], Response]


class _Made:
    """The pages that were made last: what a finished analysis says never changes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._pages: OrderedDict[tuple[str, ...], str] = OrderedDict()

    def get(self, key: tuple[str, ...], make: Callable[[], str]) -> str:
        """Return a page, made now if it isn't at hand."""
        with self._lock:
            result = self._pages.pop(key, None)
        self._metrics.on_cache_lookup("pages", result is not None)
        page = make() if result is None else result
        with self._lock:
            self._pages[key] = page
            while len(self._pages) > MADE:
                self._pages.popitem(last=False)
            held = sum(map(len, self._pages.values()))
        self._metrics.cache_bytes.labels("pages").set(held)
        return page


class Pages:
    """Makes pages in threads of their own, a bounded number at a time."""

    def __init__(self, ports: Ports, metrics: Metrics) -> None:
        self._ports = ports
        self._made = _Made(metrics)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="page")
        self._waiting = 0

    def routes(self) -> list[Route]:
        """Return the pages' routes."""
        handlers: dict[str, Handler] = {
            "/": self._list,
            "/analyses/{id}": self._analysis,
            "/analyses/{id}/report.html": self._report,
            "/analyses/{id}/errors/{image:path}": self._image,
            "/analyses/{id}/images/{image:path}": self._picture,
            "/compare": self._choose,
            "/compare/{a}/{b}": self._comparison,
            "/compare/{a}/{b}/report.html": self._comparison_report,
            "/trend": self._trend,
        }
        return [Route(path, self._served(handler)) for path, handler in handlers.items()]

    def stop(self) -> None:
        """Take no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _served(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            if self._waiting >= MOST_WAITING:
                return _told(TooBusy("too many pages are being made: ask again", retry_after=1))
            self._waiting += 1
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._pool, copy_context().run, _guarded, handler, request
                )
            finally:
                self._waiting -= 1

        return endpoint

    def _list(self, request: Request) -> Response:
        chosen = {name: _parameter(request, name) for name in ("state", "dataset", "search", "order")}
        page = _number(request, "page")
        states = {state.name.lower(): state for state in tuple(State)[1:]}
        if chosen["state"] and chosen["state"] not in states:
            raise InvalidRequest(f"expected a state, got {chosen['state']!r:.40}", field="state")
        wanted = queries.AnalysisFilter(
            frozenset({states[chosen["state"]]} if chosen["state"] else ()), dataset=chosen["dataset"]
        )
        chosen["order"] = chosen["order"] or queries.ORDERS[0]
        result = queries.list_analyses(self._ports, wanted, chosen["order"])
        words = chosen["search"].lower().split()
        kept = [item for item in result if all(word in item.title.lower() for word in words)]
        first = min((page - 1) * PAGE, max(0, len(kept) - 1) // PAGE * PAGE)
        number = first // PAGE + 1
        view = list_view(
            kept[first : first + PAGE],
            len(kept),
            first,
            self._ports.evidence_repository.datasets(),
            chosen,
            earlier=urlencode({**chosen, "page": number - 1}) if first else "",
            later=urlencode({**chosen, "page": number + 1}) if first + PAGE < len(kept) else "",
        )
        return _page(render("analyses.html", site=True, view=view))

    def _analysis(self, request: Request) -> Response:
        name = _id(request, "id")
        analysis = queries.get(self._ports, name)
        if analysis.state is State.SUCCEEDED:
            return self._kept(request, ("report", name), lambda: report.report_page(self._ports, name))
        return _page(render("analysis.html", site=True, view=open_view(analysis)))

    def _report(self, request: Request) -> Response:
        name = _id(request, "id")
        return _download(report.report(self._ports, name), f"errata-{name}.html")

    def _image(self, request: Request) -> Response:
        result = load_judged(self._ports, _id(request, "id"))
        verdict = explain_image(result, request.path_params["image"], None)
        dataset, name = result.analysis.request.dataset, quote(verdict.file_name)
        picture = f"/analyses/{result.analysis.id}/images/{name}" if self._ports.pictures.has(dataset) else ""
        return _page(render("image.html", site=True, view=image_view(result.analysis, verdict, picture)))

    def _picture(self, request: Request) -> Response:
        analysis = queries.get_succeeded(self._ports, _id(request, "id"))
        dataset, name = analysis.request.dataset, request.path_params["image"]
        find_bundle(self._ports, analysis).row(name)  # what isn't judged isn't shown
        picture = self._ports.pictures.thumbnail(dataset, name, PICTURE_SIZE)
        if picture is None:
            raise ImageNotFound(f"expected an image that lies here, got {name!r:.120}", field="image")
        headers = HEADERS | {"Cache-Control": "private, max-age=86400"}
        return Response(picture, media_type="image/jpeg", headers=headers)

    def _choose(self, request: Request) -> Response:
        a, b = _parameter(request, "a"), _parameter(request, "b")
        if not (_is_id(a) and _is_id(b)):
            raise InvalidRequest(
                "expected two analyses to compare: choose one as A and one as B in the list", field="a"
            )
        return RedirectResponse(f"/compare/{a}/{b}", status_code=303, headers=HEADERS)

    def _comparison(self, request: Request) -> Response:
        a, b = _id(request, "a"), _id(request, "b")
        for name in (a, b):  # one that was deleted has no page any more
            queries.get_succeeded(self._ports, name)
        return self._kept(request, ("comparison", a, b), lambda: report.comparison_report(self._ports, a, b, site=True))

    def _comparison_report(self, request: Request) -> Response:
        a, b = _id(request, "a"), _id(request, "b")
        return _download(report.comparison_report(self._ports, a, b), f"errata-{a}-{b}.html")

    def _trend(self, request: Request) -> Response:
        group, marked = _parameter(request, "group") or Group.ALL.value, _parameter(request, "mark")
        if group not in {*Group}:
            raise InvalidRequest(f"expected a group, got {group!r:.40}", field="group")
        dataset = _parameter(request, "dataset")
        if not dataset and _is_id(marked):
            dataset = queries.get(self._ports, marked).request.dataset
        dataset = dataset or self._usual_dataset()
        self._ports.evidence_repository.bundles(dataset)  # one that isn't served has no page
        question = TrendRequest(dataset=dataset, group=Group(group), by=_parameter(request, "by"))
        return _page(report.trend_report(self._ports, question, marked, site=True))

    def _kept(self, request: Request, key: tuple[str, ...], make: Callable[[], str]) -> Response:
        """Return a page that never changes; a browser that has it needn't be sent it again."""
        html = self._made.get(key, make)
        tag = f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"'
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers=HEADERS | {"ETag": tag})
        return HTMLResponse(html, headers=HEADERS | {"ETag": tag})

    def _usual_dataset(self) -> str:
        """Return the data set with the most stored analyses."""
        counts: dict[str, int] = {}
        for item in self._ports.archive.list():
            counts[item.request.dataset] = counts.get(item.request.dataset, 0) + 1
        return max(counts, key=lambda name: (counts[name], name), default="imagenet-real")


def _guarded(handler: Handler, request: Request) -> Response:
    """Return a handler's page, or one that says what is wrong; an error that nobody foresaw is in the log alone."""
    try:
        return handler(request)
    except ErrataError as error:
        if details := log_fields(error):
            _log.warning("page refused", path=request.scope.get(ROUTE), reason=error.reason, **details)
        return _told(error)
    except Exception:
        _log.exception("a page can't be made", path=request.scope.get(ROUTE))
        return _message(500, "This is a bug of Errata's; the log has it.", ())


def _told(error: ErrataError) -> Response:
    problems = [public_text(error, violation.description) for violation in error.violations]
    response = _message(status_of(error), public_message(error), problems)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return response


def refused(error: ErrataError) -> Response:
    """Return the page for a call that isn't let in: a browser asks its user for the token, as a password."""
    response = _told(error)
    response.headers.update(challenge(error, "Basic"))
    return response


def not_found(path: str) -> Response:
    """Return the page for an address that there isn't."""
    return _told(AnalysisNotFound(f"expected the address of a page, got {path!r:.120}"))


def _message(status: int, message: str, more: Any) -> Response:
    lines = [line for line in more if line != message]
    title = STATUS_WORDS.get(status, "Something is wrong")
    return _page(render("message.html", site=True, title=title, message=message, more=lines), status)


def _page(html: str, status: int = 200) -> Response:
    return HTMLResponse(html, status_code=status, headers=HEADERS)


def _download(html: str, name: str) -> Response:
    headers = HEADERS | {"Content-Security-Policy": content_security_policy(site=False) + "; frame-ancestors 'none'"}
    return HTMLResponse(html, headers=headers | {"Content-Disposition": f'attachment; filename="{name}"'})


def _id(request: Request, name: str) -> str:
    result = str(request.path_params[name])
    if not _is_id(result):
        raise AnalysisNotFound(f"expected the id of an analysis, got {result!r:.80}", field=name)
    return result


def _is_id(text: str) -> bool:
    return text.isascii() and text.isalnum() and len(text) <= 64


def _parameter(request: Request, name: str) -> str:
    result = request.query_params.get(name, "").strip()
    if len(result) > MAX_TEXT:
        raise InvalidRequest(f"expected at most {MAX_TEXT} characters, got {len(result)}", field=name)
    return result


def _number(request: Request, name: str) -> int:
    text = _parameter(request, name) or "1"
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 9):
        raise InvalidRequest(f"expected a number from 1 on, got {text!r:.40}", field=name)
    return int(text)
