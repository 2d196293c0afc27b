"""The pages of reviews.

/review                         the queue: dataset, analysis, reviewer, page; image=… (repeated) reviews these images
/review/{dataset}/{image}       one image: analysis, reviewer, next=…, selection, search
POST /reviews                   creates or undoes a review, and goes on to the next image; search: finds classes
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from errata.errors import AnalysisNotFound, ErrataError, InvalidRequest
from errata.tokens import Scope
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.analyses import queries
from service.analyses.ports import Ports
from service.analyses.review_details import find_details, find_last_review
from service.analyses.review_queue import find_labels, review_queue
from service.analyses.reviews import ReviewRequest, create_review
from service.authorization import may
from service.caller import CALLER
from service.report.render import render
from service.web.analysis_list import parameter
from service.web.forms import form_page, read_form
from service.web.responses import HEADERS, html_page
from service.web.review_form import MAX_NEXT, ReviewForm, check_choices, parse_form, parse_link
from service.web.review_view import PAGE_SIZE, ReviewPageBuilder, form_url, next_url, queue_view
from service.web.status import status_of

Handler = Callable[[Request], Response]
Endpoint = Callable[[Request], Awaitable[Response]]
MAX_DIGITS = 6  # of a page
STALE = "The labels of this image have changed since you opened the page. Check your statements, and save them again."


class ReviewPages:
    """The pages of reviews.

    Args:
        ports: The ports of the use cases.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def routes(self, make_endpoint: Callable[[Handler], Endpoint]) -> list[Route]:
        """Return the routes; `make_endpoint` returns an endpoint that calls a handler in a thread."""
        return [
            Route("/review", make_endpoint(self._queue)),
            Route("/review/{dataset}/{image:path}", make_endpoint(self._image)),
            Route("/reviews", _with_form(make_endpoint(self._create)), methods=["POST"]),
        ]

    def _queue(self, request: Request) -> Response:
        dataset = parameter(request, "dataset") or queries.default_dataset(self._ports.stores)
        images = request.query_params.getlist("image")
        if len(images) > MAX_NEXT:
            raise InvalidRequest(f"{len(images):,} images are selected. Select at most {MAX_NEXT}.", field="image")
        form = parse_link(dataset, images[0] if images else "", request.query_params)
        if images:
            selected = replace(form, is_selection=True, next=tuple(images[1:]))
            return RedirectResponse(form_url(selected), status_code=303, headers=HEADERS)
        page = _page_number(parameter(request, "page"))
        load = partial(review_queue, self._ports.stores, dataset, form.analysis, PAGE_SIZE)
        queue = load((page - 1) * PAGE_SIZE)
        if queue.total and not queue.items:  # others have reviewed the images of this page
            queue = load((queue.total - 1) // PAGE_SIZE * PAGE_SIZE)
        analysis = queries.get(self._ports.stores, queue.analysis_id) if queue.analysis_id else None
        has_thumbnails = self._ports.thumbnails.has(dataset)
        view = queue_view(queue, form, self._ports.stores.evidence.datasets(), analysis, has_thumbnails)
        return html_page(render("review_queue.html", site=True, view=view, is_admin=may(Scope.ADMIN)))

    def _image(self, request: Request) -> Response:
        form = parse_link(str(request.path_params["dataset"]), str(request.path_params["image"]), request.query_params)
        return _without_deleted_analysis(partial(self._respond, request), form)

    def _create(self, request: Request) -> Response:
        fields = request.state.form
        if isinstance(fields, ErrataError):
            raise fields
        return _without_deleted_analysis(partial(self._save, request), parse_form(fields))

    def _save(self, request: Request, form: ReviewForm) -> Response:
        if form.undoes:
            return self._undo(form)
        details = find_details(self._ports.stores, form.dataset, form.analysis, form.image)
        check_choices(form, details.bundle.label_space)
        if form.labels != details.labels_digest:
            return self._respond(request, form, STALE, 409)
        if form.search:
            return self._respond(request, form)
        try:
            self._store(form.to_request(details.bundle, CALLER.get().name))
        except InvalidRequest as error:
            return self._respond(request, form, error.message, status_of(error))
        is_in_queue = details.position.position is not None  # not if another reviewer has reviewed the image meanwhile
        following = details.position.next if is_in_queue else form.following
        return RedirectResponse(next_url(form, following), status_code=303, headers=HEADERS)

    def _undo(self, form: ReviewForm) -> Response:
        """Undo a review, also of an image that is no longer evaluated, and thus has no page."""
        bundle, _ = find_labels(self._ports.stores, form.dataset, form.analysis)
        check_choices(form, bundle.label_space)
        self._store(form.to_request(bundle, CALLER.get().name))
        is_evaluated = form.image in bundle.row_of_name
        target = form_url(form.at(form.image)) if is_evaluated else next_url(form, "")
        return RedirectResponse(target, status_code=303, headers=HEADERS)

    def _store(self, request: ReviewRequest) -> None:
        """Store a review, unless the newest one of the reviewer has the same content, and belongs to the same form."""
        stores, caller = self._ports.stores, CALLER.get().name
        # A reviewer can go back to a form that was sent, and change it: each content has its own request ID.
        request_id = hashlib.sha256(repr(request).encode()).hexdigest()
        review = create_review(stores, replace(request, request_id=request_id), caller)
        reviews = stores.reviews.find((review.dataset, review.image))
        newest = next((other for other in reversed(reviews) if other.voter == review.voter), review)
        if replace(newest, id=review.id, time=review.time) != review:  # the reviewer went back to an earlier content
            repeated_id = hashlib.sha256(f"{request_id} {newest.id}".encode()).hexdigest()  # one for a double click
            create_review(stores, replace(request, request_id=repeated_id), caller)

    def _respond(self, request: Request, form: ReviewForm, problem: str = "", status: int = 200) -> Response:
        """Return the page of an image with the statements of a form."""
        caller = CALLER.get().name
        details = find_details(self._ports.stores, form.dataset, form.analysis, form.image)
        voter = form.voter(caller)
        last = find_last_review(self._ports.stores, form.dataset, voter) if voter[0] else None
        builder = ReviewPageBuilder(details, form, caller, self._ports.thumbnails.has(form.dataset))
        view = builder.build(last, problem)
        return form_page(
            request, "review.html", status, view=view, can_review=may(Scope.REVIEW), is_admin=may(Scope.ADMIN)
        )


def _without_deleted_analysis(respond: Callable[[ReviewForm], Response], form: ReviewForm) -> Response:
    """Respond to a form, without its analysis if this was deleted: a review belongs to an image, not to an analysis."""
    try:
        return respond(form)
    except AnalysisNotFound:
        return respond(replace(form, analysis=""))


def _with_form(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint that first puts the fields of the form, or the error, into `request.state.form`."""

    async def read_and_call(request: Request) -> Response:
        try:
            request.state.form = await read_form(request)
        except ErrataError as error:
            request.state.form = error
        return await endpoint(request)

    return read_and_call


def _page_number(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) > 0):
        raise InvalidRequest(f"Invalid page {text!r:.40}. Expected a number from 1.", field="page")
    return int(text or 1)
