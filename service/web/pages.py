"""HTML pages. The templates are in service.report.

/                                     the list: search, dataset, model, label, state, owner, order, after, before
/analyses/{id}                        the report, or the progress of an unfinished analysis
/analyses/{id}/report.html            the report as a stand-alone file: thumbnails=1
/analyses/{id}/map                    the errors as dots, if the evidence has embeddings of images
/analyses/{id}/delete                 asks for confirmation; the form deletes the analysis
/upload                               the form; service.web.upload_page receives it
/analyses/{id}/images/{image}         redirects to the thumbnail (service.web.pictures)
/compare?a=…&b=…                      a comparison: change, class, superclass
/compare?mark=…&mark=…                redirects to the comparison with the older analysis as a
/compare/{a}/{b}                      redirects to /compare
/compare/{a}/{b}/report.html          the comparison as a stand-alone file
/trend                                dataset, group, by, owner, x, y, mark (repeated)

service.web.image_pages has the pages of images, service.web.review_pages those of reviews, and
service.web.evidence_pages those of versions of evidence.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from errata.errors import AnalysisNotFound, ErrataError, InvalidRequest, TooBusy
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from service import wire
from service.analyses import lifecycle, queries, report
from service.analyses.error_map import ErrorMaps
from service.analyses.ports import Ports
from service.analyses.trend import TrendRequest, published_models_of
from service.analyses.verdicts import find_bundle
from service.bounded_executor import BoundedExecutor
from service.caller import CALLER
from service.concurrency import ConcurrencyLimit
from service.domain import ALL, NEWEST_FIRST, Analysis, Axis, ChangeQuery, Observer, State
from service.report.class_names import display_names
from service.report.error_map_view import MapData, error_map_view
from service.report.listing_view import pending_view, refused_list_view
from service.report.render import render
from service.report.urls import comparison_url, thumbnail_url
from service.telemetry import Metrics
from service.web.analysis_list import AnalysisList, parameter, read_selection
from service.web.evidence_pages import EvidencePages
from service.web.forms import form_page, read_form
from service.web.image_pages import ImagePages
from service.web.responses import HEADERS, download, error_page, handle, html_page, path_id, refused_form
from service.web.review_pages import ReviewPages
from service.web.upload_form import UploadFields, upload_form

NUM_THREADS = 4
MAX_REQUESTS, RETRY_SECONDS = 128, 1.0  # running and waiting
MAX_CACHED_PAGES = 16
MAX_NAME = 1024  # characters of a class or superclass
MAX_MARKS = 100  # analyses that a trend highlights
Handler = Callable[[Request], Response]
FormHandler = Callable[[Request, "ImmutableMultiDict[str, str]"], Response]


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
        requests = ConcurrencyLimit(MAX_REQUESTS, "requests for pages", RETRY_SECONDS)
        self._executor = BoundedExecutor(NUM_THREADS, "page", requests)
        self.evidence = EvidencePages(ports)
        self._maps = ErrorMaps(ports.stores)

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        handlers: dict[str, Handler] = {
            "/": self._list,
            "/analyses/{id}": self._analysis,
            "/analyses/{id}/report.html": self._report,
            "/analyses/{id}/delete": self._confirm_deletion,
            "/analyses/{id}/images/{image:path}": self._redirect_to_thumbnail,
            "/analyses/{id}/map": self._map,
            "/compare": self._comparison,
            "/compare/{a}/{b}": self._redirect_to_comparison,
            "/compare/{a}/{b}/report.html": self._comparison_report,
            "/trend": self._trend,
            "/upload": self._upload,
            **ImagePages(self._ports).handlers(),
            **self.evidence.handlers(),
        }
        routes = [Route(path, self._endpoint(handler)) for path, handler in handlers.items()]
        forms = {"/analyses/{id}/delete": self._delete, **self.evidence.form_handlers()}
        routes += [Route(path, self._form_endpoint(handler), methods=["POST"]) for path, handler in forms.items()]
        return [*routes, *ReviewPages(self._ports).routes(self._endpoint)]

    def stop(self) -> None:
        """Stop the thread pools."""
        self.evidence.stop()
        self._executor.stop()

    def _endpoint(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return await self._executor.call(handle, handler, request)
            except TooBusy as error:  # of the executor: `handle` returns the errors of the handler as pages
                return error_page(error)

        return endpoint

    def _form_endpoint(self, handler: FormHandler) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that accepts only forms of this service."""

        async def endpoint(request: Request) -> Response:
            try:
                form = await read_form(request)
            except ErrataError as error:
                return refused_form(request, error)
            return await self._endpoint(lambda request: handler(request, form))(request)

        return endpoint

    def _list(self, request: Request) -> Response:
        selection, status = read_selection(request), 200
        try:
            view = AnalysisList(self._ports.stores, selection).view(request)
        except InvalidRequest as error:
            view, status = refused_list_view(error.message, self._ports.stores.evidence.datasets(), selection), 400
        return html_page(render("analyses.html", site=True, view=view), status)

    def _analysis(self, request: Request) -> Response:
        analysis_id = path_id(request, "id")
        analysis = queries.get(self._ports.stores, analysis_id)
        if analysis.state is State.SUCCEEDED:
            key: tuple[str, ...] = ("report", analysis_id)
            manifest = find_bundle(self._ports.stores, analysis).manifest
            if published_models_of(manifest) is None:  # the report compares the model with other analyzed models
                key = (*key, str(self._ports.stores.index.version))
            return self._respond_cached(request, key, lambda: report.report_page(self._ports, analysis_id))
        return html_page(render("analysis.html", site=True, view=pending_view(analysis)))

    def _report(self, request: Request) -> Response:
        analysis_id = path_id(request, "id")
        thumbnails = parameter(request, "thumbnails")
        if thumbnails not in ("", "0", "1"):
            raise InvalidRequest(
                f"Unknown value {thumbnails!r:.40} of 'thumbnails'. Expected 0 or 1.", field="thumbnails"
            )
        return download(report.report(self._ports, analysis_id, thumbnails == "1"), f"errata-{analysis_id}.html")

    def _map(self, request: Request) -> Response:
        analysis = queries.get_succeeded(self._ports.stores, path_id(request, "id"))
        return self._respond_cached(request, ("map", analysis.id), lambda: self._render_map(analysis))

    def _render_map(self, analysis: Analysis) -> str:
        error_map = self._maps.compute(analysis.id)
        label_space = find_bundle(self._ports.stores, analysis).label_space
        data = MapData(
            analysis=analysis.id,
            title=analysis.title,
            dataset=analysis.request.dataset,
            class_ids=label_space.ids,
            names=display_names(label_space),
            rows=error_map.rows,
            positions=error_map.positions,
            total=error_map.total,
            share=error_map.share,
        )
        return render("error_map.html", site=True, view=error_map_view(data))

    def _confirm_deletion(self, request: Request) -> Response:
        view = pending_view(queries.get(self._ports.stores, path_id(request, "id")))
        return form_page(request, "delete.html", view=view)

    def _delete(self, request: Request, _: "ImmutableMultiDict[str, str]") -> Response:
        lifecycle.delete(self._ports.stores, path_id(request, "id"))
        return RedirectResponse("/", status_code=303, headers=HEADERS)

    def _upload(self, request: Request) -> Response:
        return upload_form(self._ports, request, UploadFields(dataset=parameter(request, "dataset")))

    def _redirect_to_thumbnail(self, request: Request) -> Response:
        analysis = queries.get_succeeded(self._ports.stores, path_id(request, "id"))
        url = thumbnail_url(analysis.request.dataset, request.path_params["image"])
        return RedirectResponse(url, status_code=308, headers=HEADERS)

    def _redirect_to_comparison(self, request: Request) -> Response:
        url = comparison_url(path_id(request, "a"), path_id(request, "b"))
        return RedirectResponse(url, status_code=301, headers=HEADERS)

    def _comparison(self, request: Request) -> Response:
        marks = request.query_params.getlist("mark")
        if len(marks) == 2 and all(map(wire.is_id, marks)):
            older, newer = sorted((queries.get(self._ports.stores, mark) for mark in marks), key=NEWEST_FIRST.key)
            return RedirectResponse(comparison_url(older.id, newer.id), status_code=303, headers=HEADERS)
        a, b = parameter(request, "a"), parameter(request, "b")
        if not (wire.is_id(a) and wire.is_id(b)):
            num_selected = len(marks) or sum(map(wire.is_id, (a, b)))
            raise InvalidRequest(f"Select exactly two analyses to compare them, not {num_selected}.", field="mark")
        for analysis_id in (a, b):  # the cache can contain the page of a deleted analysis
            queries.get_succeeded(self._ports.stores, analysis_id)
        query = ChangeQuery(*(parameter(request, name, MAX_NAME) for name in ("change", "class", "superclass")))
        return self._respond_cached(
            request,
            ("comparison", a, b, query.change, query.class_id, query.superclass),
            lambda: report.comparison_page(self._ports, a, b, query),
        )

    def _comparison_report(self, request: Request) -> Response:
        a, b = path_id(request, "a"), path_id(request, "b")
        return download(report.comparison_report(self._ports.stores, a, b), f"errata-{a}-{b}.html")

    def _trend(self, request: Request) -> Response:
        owner = parameter(request, "owner")
        dataset, marks = self._marked(request, owner)
        self._ports.stores.evidence.find(dataset, "")  # raises an error for an unknown data set
        trend_request = TrendRequest(
            names=marks,
            dataset=dataset,
            group=parameter(request, "group") or ALL,
            by=parameter(request, "by"),
            x=_axis(parameter(request, "x")),
            owner=owner,
        )
        return html_page(report.trend_page(self._ports.stores, trend_request, parameter(request, "y")))

    def _marked(self, request: Request, owner: str) -> tuple[str, list[str]]:
        """Return the data set, and the IDs of its analyses to highlight; analyses of other data sets are ignored."""
        dataset, names = parameter(request, "dataset"), [*dict.fromkeys(request.query_params.getlist("mark"))]
        names = [name for name in names if name]
        if len(names) > MAX_MARKS:
            raise InvalidRequest(f"{len(names)} analyses are too many. Mark at most {MAX_MARKS}.", field="mark")
        datasets = {}
        for name in names:
            if not wire.is_id(name):
                raise AnalysisNotFound(f"Analysis {name!r:.80} not found.", field="mark")
            datasets[name] = queries.get(self._ports.stores, name).request.dataset
        dataset = dataset or next(iter(datasets.values()), "") or queries.default_dataset(self._ports.stores, owner)
        return dataset, [name for name in names if datasets[name] == dataset]

    def _respond_cached(self, request: Request, key: tuple[str, ...], render_page: Callable[[], str]) -> Response:
        """Return a page that never changes, or 304 if the browser has it."""
        caller = CALLER.get()  # owners see different analyses, and callers without the scope write fewer links
        html = self._cache.get((caller.visible_owner or "", str(caller.can_write), *key), render_page)
        tag = f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"'
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers=HEADERS | {"ETag": tag})
        return HTMLResponse(html, headers=HEADERS | {"ETag": tag})


def _axis(name: str) -> Axis | None:
    if name and name not in [*Axis]:
        raise InvalidRequest(f"Unknown accuracy {name!r:.80}. Expected one of: {', '.join(Axis)}.", field="x")
    return Axis(name) if name else None
