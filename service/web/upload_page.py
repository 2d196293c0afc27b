"""Uploads from a browser, which waits until the service has processed the file.

POST /upload                                a predictions file, which is judged
POST /datasets/{dataset}/evidence/labels    a labels file, from which evidence is built: base

A file is received into a temporary file before it is used: browsers show no response before they have sent the
whole request. Slow senders are refused as in the gRPC API, which shares the limit on concurrent uploads.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import TypeAlias, TypeVar

import structlog
from errata.errors import AlreadyExists, ErrataError, InvalidEvidence, TruncatedUpload
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.analyses import evidence_versions, upload
from service.analyses.evidence_changes import can_compare
from service.analyses.evidence_versions import MAX_LABELS_BYTES
from service.analyses.ports import Ports
from service.caller import CALLER
from service.concurrency import ConcurrencyLimit, interrupted_upload, upload_seconds
from service.domain import AnalysisRequest
from service.paced_stream import PacedStream
from service.redact import log_fields
from service.report.urls import changes_url, versions_url
from service.storage import upload_too_large
from service.web.application import ROUTE
from service.web.forms import require_form_token, require_same_origin
from service.web.multipart import MAX_OVERHEAD, FileForm
from service.web.responses import HEADERS, closing, error_page, message_page, refused_form
from service.web.upload_form import UploadFields, upload_form

PIECE = 1 << 20  # bytes that are parsed at once
MAX_DRAINED = 64 << 20  # bytes that are read after an error, so that the browser shows the response
_log = structlog.get_logger()
Result = TypeVar("Result")
Refuse: TypeAlias = Callable[[Request, Mapping[str, str], ErrataError], Response]


@dataclass(frozen=True)
class _Target:
    """What the service does with a file."""

    file_kind: str  # for messages
    max_bytes: int
    use: Callable[[FileForm, Callable[[], bool]], str]  # returns the URL of the result; the last argument: is_closed
    refuse: Refuse


class UploadPage:
    """Receives files, and uses them in a thread pool."""

    def __init__(self, ports: Ports, uploads: ConcurrencyLimit, refuse_labels: Refuse) -> None:
        self._ports = ports
        self._refuse_labels = refuse_labels
        self._uploads = uploads
        self._pool = ThreadPoolExecutor(uploads.limit, thread_name_prefix="web-upload")
        self._open: dict[asyncio.Task[Response], asyncio.Timeout] = {}  # uploads, with the timeouts of their requests
        self._is_stopping = False

    def routes(self) -> list[Route]:
        """Return the routes of the targets of forms."""
        return [
            Route("/upload", self._receive_predictions, methods=["POST"]),
            Route("/datasets/{dataset}/evidence/labels", self._receive_labels, methods=["POST"]),
        ]

    async def drain(self, grace: float) -> None:
        """Refuse new uploads, and wait for the end of the open ones.

        Args:
            grace: Seconds of the grace period. Shortly before its end, requests that are still open get a response
                that asks to send the upload again.
        """
        self._is_stopping = True
        if self._open:
            await asyncio.wait(self._open, timeout=upload_seconds(grace))
        if self._open:
            for timeout in self._open.values():
                with suppress(RuntimeError):  # the request was canceled
                    timeout.reschedule(0.0)
            await asyncio.wait(self._open, timeout=grace - upload_seconds(grace))

    def stop(self) -> None:
        """Stop the thread pool."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _receive_predictions(self, request: Request) -> Response:
        def judge(form: FileForm, is_closed: Callable[[], bool]) -> str:
            def send(request: AnalysisRequest) -> str:
                analysis = upload.upload(self._ports, request, form.finish(), CALLER.get().name, is_closed)
                return f"/analyses/{analysis.id}"

            analysis_request = UploadFields.read(form.fields).request(form.file_name)
            try:
                return send(analysis_request)
            except AlreadyExists:  # the reader went back to a form that was sent, and changed its file or its fields
                return send(replace(analysis_request, request_id=""))

        def refuse(request: Request, fields: Mapping[str, str], error: ErrataError) -> Response:
            return upload_form(self._ports, request, UploadFields.read(fields), error)

        return await self._receive(request, _Target("predictions", self._ports.limits.max_upload_bytes, judge, refuse))

    async def _receive_labels(self, request: Request) -> Response:
        dataset, stores = request.path_params["dataset"], self._ports.stores

        def build(form: FileForm, _: Callable[[], bool]) -> str:
            base = stores.evidence.find(dataset, form.fields.get("base", "")).digest
            before = stores.evidence.published.events(dataset)
            bundle = evidence_versions.upload_labels(stores, dataset, form.finish(), CALLER.get().name, base)
            if bundle.digest != base and can_compare(stores, bundle):
                return changes_url(dataset, bundle.digest)
            if bundle.digest not in before and bundle.digest in stores.evidence.published.events(dataset):
                return versions_url(dataset)  # the page lists the event
            raise InvalidEvidence(
                f"The file has the labels of the evidence {bundle.digest[:12]}. Correct labels in the file, or use "
                "this evidence.",
                field="labels",
            )

        return await self._receive(request, _Target("labels", MAX_LABELS_BYTES, build, self._refuse_labels))

    async def _receive(self, request: Request, target: _Target) -> Response:
        limit = target.max_bytes
        try:
            if self._is_stopping:
                raise interrupted_upload()
            require_same_origin(request)
            content_type = request.headers.get("content-type", "")
            form = FileForm(content_type, limit, partial(require_form_token, request), target.file_kind)
            size = request.headers.get("content-length", "")
            if size.isascii() and size.isdigit() and int(size[:20]) > limit + MAX_OVERHEAD:
                raise upload_too_large(limit)
            release = self._uploads.acquire()
        except ErrataError as error:
            return refused_form(request, error)
        processing = asyncio.create_task(self._process(request, target, form, release))
        processing.add_done_callback(self._open.pop)
        try:
            async with asyncio.timeout(None) as timeout:
                self._open[processing] = timeout
                return await asyncio.shield(processing)
        except TimeoutError:
            _log.warning("upload interrupted by the shutdown", path=request.scope.get(ROUTE))
            return error_page(interrupted_upload())  # the listener discards the rest of the body until it stops
        finally:
            processing.cancel()  # it ends once its thread no longer uses the file

    async def _process(
        self, request: Request, target: _Target, form: FileForm, release: Callable[[], None]
    ) -> Response:
        """Read and use the file of a form, and then release its slot."""
        try:
            await self._read_body(request, form)
            url = await self._use(request, form, target)
        except ErrataError as error:
            if details := log_fields(error):
                _log.warning("upload refused", reason=error.reason, **details)
            return closing(await self._run(partial(target.refuse, request, form.fields, error)))
        except Exception:
            _log.exception("upload failed")
            return closing(message_page(500, "The server log contains the details."))
        finally:
            form.close()
            release()
        return RedirectResponse(url, status_code=303, headers=HEADERS)

    async def _read_body(self, request: Request, form: FileForm) -> None:
        """Parse the body. After an error, read up to MAX_DRAINED further bytes, and then raise the error."""
        pieces, buffer = PacedStream(request.stream()), bytearray()
        error: ErrataError | None = None
        num_drained = 0
        try:
            while (piece := await pieces.next()) is not None and num_drained <= MAX_DRAINED:
                if error is not None:
                    num_drained += len(piece)
                    continue
                buffer += piece
                if len(buffer) >= PIECE or not piece:
                    try:
                        await self._run(partial(form.feed, bytes(buffer)))
                    except ErrataError as problem:
                        error = problem
                    buffer.clear()
        except ClientDisconnect as disconnect:
            raise TruncatedUpload(
                "The connection ended before the end of the file. Send the whole file again.", field="file"
            ) from disconnect
        if error is not None:
            raise error

    async def _use(self, request: Request, form: FileForm, target: _Target) -> str:
        """Use the file; parsers of binary formats stop if the browser closes the connection."""
        is_closed = Event()

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            is_closed.set()

        watcher = asyncio.create_task(watch())
        try:
            return await self._run(partial(target.use, form, is_closed.is_set), is_closed)
        finally:
            watcher.cancel()

    async def _run(self, function: Callable[[], Result], is_cancelled: Event | None = None) -> Result:
        """Call a function in a thread. After a cancellation, wait until it ends, since it uses the file."""
        run = partial(copy_context().run, function)
        future = asyncio.get_running_loop().run_in_executor(self._pool, run)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if is_cancelled is not None:
                is_cancelled.set()
            await asyncio.wait([future])
            raise
