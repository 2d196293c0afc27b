"""Read-only HTML pages. The templates are in service.report.

/                                     the list: state, dataset, search, order, after, before
/analyses/{id}                        the report, or the progress of an unfinished analysis
/analyses/{id}/report.html            the report as a stand-alone file
/analyses/{id}/errors/{image}         one image: its evidence and rule trace
/analyses/{id}/images/{image}         a thumbnail, if the images are in a folder
/compare?a=…&b=…                      a comparison: change, class, superclass
/compare?mark=…&mark=…                redirects to the comparison of the older analysis, A, with the newer one, B
/compare/{a}/{b}                      redirects to /compare?a=…&b=…
/compare/{a}/{b}/report.html          the comparison as a stand-alone file
/trend                                dataset, group, by, x, y, mark (repeated)
"""

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from urllib.parse import quote, urlencode

import structlog
from errata.errors import AnalysisNotFound, ErrataError, ImageNotFound, InvalidRequest, TooBusy
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from service import wire
from service.analyses import queries, report
from service.analyses.ports import Ports
from service.analyses.trend import TrendRequest
from service.analyses.verdicts import explain_image, find_bundle, load_judged
from service.domain import ALL, Axis, ChangeQuery, Observer, State
from service.evidence.agreement import agreement_for
from service.redact import log_fields, public_message, public_text
from service.reference_models.curves import curves_of
from service.report.class_names import display_names
from service.report.listing_view import image_view, pending_view
from service.report.render import content_security_policy, render
from service.telemetry import Metrics
from service.web.analysis_list import AnalysisList, parameter
from service.web.application import ROUTE, challenge
from service.web.status import STATUS_TITLES, status_of

NUM_THREADS = 4
MAX_WAITING = 64  # requests
MAX_CACHED_PAGES = 16
MAX_NAME = 1024  # characters of a class or superclass
MAX_MARKS = 100  # analyses that a trend highlights
THUMBNAIL_SIZE = 320  # pixels
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


class _PageCache:
    """The most recently used pages. Pages of finished analyses never change."""

    def __init__(self, metrics: Metrics, observer: Observer) -> None:
        self._metrics = metrics
        self._observer = observer
        self._lock = threading.Lock()
        self._pages: OrderedDict[tuple[str, ...], str] = OrderedDict()

    def get(self, key: tuple[str, ...], render_page: Callable[[], str]) -> str:
        """Return the cached page, or render and cache it."""
        with self._lock:
            cached = self._pages.pop(key, None)
        self._observer.cache_lookup("pages", cached is not None)
        page = render_page() if cached is None else cached
        with self._lock:
            self._pages[key] = page
            while len(self._pages) > MAX_CACHED_PAGES:
                self._pages.popitem(last=False)
            size = sum(map(len, self._pages.values()))
        self._metrics.cache_bytes.labels("pages").set(size)
        return page


class Pages:
    """Renders pages in a thread pool, with a bound on waiting requests."""

    def __init__(self, ports: Ports, metrics: Metrics) -> None:
        self._ports = ports
        self._cache = _PageCache(metrics, ports.observer)
        self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="page")
        self._num_waiting = 0

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        handlers: dict[str, Handler] = {
            "/": self._list,
            "/analyses/{id}": self._analysis,
            "/analyses/{id}/report.html": self._report,
            "/analyses/{id}/errors/{image:path}": self._image,
            "/analyses/{id}/images/{image:path}": self._thumbnail,
            "/compare": self._comparison,
            "/compare/{a}/{b}": self._redirect_to_comparison,
            "/compare/{a}/{b}/report.html": self._comparison_report,
            "/trend": self._trend,
        }
        return [Route(path, self._endpoint(handler)) for path, handler in handlers.items()]

    def stop(self) -> None:
        """Stop the thread pool."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _endpoint(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            if self._num_waiting >= MAX_WAITING:
                return _error_page(TooBusy("Too many requests for pages. Try again later.", retry_after=1))
            self._num_waiting += 1
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._pool, copy_context().run, _handle, handler, request
                )
            finally:
                self._num_waiting -= 1

        return endpoint

    def _list(self, request: Request) -> Response:
        selection = {name: parameter(request, name) for name in ("state", "dataset", "search", "order")}
        return _page(render("analyses.html", site=True, view=AnalysisList(self._ports.stores, selection).view(request)))

    def _analysis(self, request: Request) -> Response:
        analysis_id = _id(request, "id")
        analysis = queries.get(self._ports.stores, analysis_id)
        if analysis.state is State.SUCCEEDED:
            key: tuple[str, ...] = ("report", analysis_id)
            if curves_of(analysis.request.dataset) is None:  # the report compares the model with the other own models
                key = (*key, str(self._ports.stores.index.version))
            return self._respond_cached(request, key, lambda: report.report_page(self._ports, analysis_id))
        return _page(render("analysis.html", site=True, view=pending_view(analysis)))

    def _report(self, request: Request) -> Response:
        analysis_id = _id(request, "id")
        return _download(report.report(self._ports, analysis_id), f"errata-{analysis_id}.html")

    def _image(self, request: Request) -> Response:
        result = load_judged(self._ports.stores, _id(request, "id"))
        verdict = explain_image(result, request.path_params["image"], None)
        dataset, name = result.analysis.request.dataset, quote(verdict.file_name)
        image_url = f"/analyses/{result.analysis.id}/images/{name}" if self._ports.thumbnails.has(dataset) else ""
        names = display_names(result.bundle.label_space)
        view = image_view(result.analysis, verdict, names, image_url, agreement_for(dataset))
        return _page(render("image.html", site=True, view=view))

    def _thumbnail(self, request: Request) -> Response:
        analysis = queries.get_succeeded(self._ports.stores, _id(request, "id"))
        dataset, name = analysis.request.dataset, request.path_params["image"]
        find_bundle(self._ports.stores, analysis).row(name)  # raises ImageNotFound for images of other data sets
        thumbnail = self._ports.thumbnails.thumbnail(dataset, name, THUMBNAIL_SIZE)
        if thumbnail is None:
            raise ImageNotFound(f"Image {name!r:.120} is not available.", field="image")
        headers = HEADERS | {"Cache-Control": "private, max-age=86400"}
        return Response(thumbnail, media_type="image/jpeg", headers=headers)

    def _redirect_to_comparison(self, request: Request) -> Response:
        return _redirect_to_comparison(_id(request, "a"), _id(request, "b"), status=301)

    def _comparison(self, request: Request) -> Response:
        marks = request.query_params.getlist("mark")
        a, b = sorted(marks) if len(marks) == 2 else (parameter(request, "a"), parameter(request, "b"))
        if not (wire.is_id(a) and wire.is_id(b)):
            raise InvalidRequest("Select two analyses in the list: one as A and one as B.", field="a")
        if marks:
            return _redirect_to_comparison(a, b, status=303)
        for analysis_id in (a, b):  # the cache can contain the page of a deleted analysis
            queries.get_succeeded(self._ports.stores, analysis_id)
        query = ChangeQuery(*(parameter(request, name, MAX_NAME) for name in ("change", "class", "superclass")))
        return self._respond_cached(
            request,
            ("comparison", a, b, query.change, query.class_id, query.superclass),
            lambda: report.comparison_page(self._ports, a, b, query),
        )

    def _comparison_report(self, request: Request) -> Response:
        a, b = _id(request, "a"), _id(request, "b")
        return _download(report.comparison_report(self._ports.stores, a, b), f"errata-{a}-{b}.html")

    def _trend(self, request: Request) -> Response:
        dataset, marks = self._marked(request)
        self._ports.stores.evidence.bundles(dataset)  # raises an error for an unknown data set
        trend_request = TrendRequest(
            names=marks,
            dataset=dataset,
            group=parameter(request, "group") or ALL,
            by=parameter(request, "by"),
            x=_axis(parameter(request, "x")),
        )
        return _page(report.trend_page(self._ports.stores, trend_request, parameter(request, "y")))

    def _marked(self, request: Request) -> tuple[str, list[str]]:
        """Return the data set, and the IDs of the analyses to highlight; those of other data sets are ignored."""
        dataset, names = parameter(request, "dataset"), [*dict.fromkeys(request.query_params.getlist("mark"))]
        names = [name for name in names if name]
        if len(names) > MAX_MARKS:
            raise InvalidRequest(f"{len(names)} analyses are too many. Mark at most {MAX_MARKS}.", field="mark")
        datasets = {}
        for name in names:
            if not wire.is_id(name):
                raise AnalysisNotFound(f"Analysis {name!r:.80} not found.", field="mark")
            datasets[name] = queries.get(self._ports.stores, name).request.dataset
        dataset = dataset or next(iter(datasets.values()), "") or self._default_dataset()
        return dataset, [name for name in names if datasets[name] == dataset]

    def _respond_cached(self, request: Request, key: tuple[str, ...], render_page: Callable[[], str]) -> Response:
        """Return a page that never changes, or 304 if the browser has it."""
        html = self._cache.get(key, render_page)
        tag = f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"'
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers=HEADERS | {"ETag": tag})
        return HTMLResponse(html, headers=HEADERS | {"ETag": tag})

    def _default_dataset(self) -> str:
        """Return the data set with the most stored analyses."""
        counts = self._ports.stores.index.num_by_dataset()
        return max(counts, key=lambda name: (counts[name], name), default="imagenet-real")


def refusal(error: ErrataError) -> Response:
    """Return the page for a request that is not authorized; a browser asks the user for the token as a password."""
    response = _error_page(error)
    response.headers.update(challenge(error, "Basic"))
    return response


def http_error(status: int, method: str, path: str) -> Response:
    """Return the page for a request without a route.

    Args:
        status: 404 or 405.
        method: The HTTP method.
        path: The path of the URL.

    Returns:
        The error page.
    """
    message = f"Method {method} is not permitted for this page." if status == 405 else f"No page at {path!r:.120}."
    return _message_page(status, message)


def _handle(handler: Handler, request: Request) -> Response:
    """Return the page of a handler, or an error page. Only the log has the details of unexpected errors."""
    try:
        return handler(request)
    except ErrataError as error:
        if details := log_fields(error):
            _log.warning("page refused", path=request.scope.get(ROUTE), reason=error.reason, **details)
        return _error_page(error)
    except Exception:
        _log.exception("page failed", path=request.scope.get(ROUTE))
        return _message_page(500, "The server log contains the details.")


def _error_page(error: ErrataError) -> Response:
    details = [public_text(error, violation.description) for violation in error.violations]
    response = _message_page(status_of(error), public_message(error), details)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return response


def _message_page(status: int, message: str, details: Sequence[str] = ()) -> Response:
    lines = [line for line in details if line != message]
    html = render("message.html", site=True, title=STATUS_TITLES[status], message=message, details=lines)
    return _page(html, status)


def _page(html: str, status: int = 200) -> Response:
    return HTMLResponse(html, status_code=status, headers=HEADERS)


def _download(html: str, name: str) -> Response:
    headers = HEADERS | {"Content-Security-Policy": content_security_policy(site=False) + "; frame-ancestors 'none'"}
    return HTMLResponse(html, headers=headers | {"Content-Disposition": f'attachment; filename="{name}"'})


def _redirect_to_comparison(a: str, b: str, status: int) -> Response:
    return RedirectResponse(f"/compare?{urlencode({'a': a, 'b': b})}", status_code=status, headers=HEADERS)


def _axis(name: str) -> Axis | None:
    if name and name not in [*Axis]:
        raise InvalidRequest(f"Unknown accuracy {name!r:.80}. Expected one of: {', '.join(Axis)}.", field="x")
    return Axis(name) if name else None


def _id(request: Request, name: str) -> str:
    value = str(request.path_params[name])
    if not wire.is_id(value):
        raise AnalysisNotFound(f"Analysis {value!r:.80} not found.", field=name)
    return value
