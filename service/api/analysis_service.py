"""AnalysisService: each method decodes, calls a use case in a thread, and encodes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

import grpc
from errata.errors import InvalidRequest, Unavailable
from errata.v1 import errata_pb2 as pb
from errata.v1 import errata_pb2_grpc
from google.protobuf.empty_pb2 import Empty

from service import wire
from service.analyses import (
    breakdown,
    compare,
    export,
    gate,
    queries,
    reanalyze,
    report,
    retry,
    submit,
    trend,
    upload,
    verdicts,
)
from service.analyses.explain import explain_prediction
from service.analyses.judge import JudgedAnalysis
from service.analyses.ports import Ports
from service.analyses.trend import TrendRequest
from service.api.concurrency import ConcurrencyLimit
from service.api.executors import Executors
from service.api.paced_stream import PacedStream
from service.api.upload_stream import UploadStream
from service.authorization import CALLER
from service.domain import Analysis, Verdict

MAX_CHUNK = 2 << 20  # bytes of an upload's message
SEND_CHUNK = 1 << 20  # bytes of a file's message
MOST_IMAGES = 50_000  # of a comparison, fixed and broken each
BUSY_SECONDS = 2.0  # after which a refused upload may come again
LOOK_SECONDS = 0.05  # between looks at a watched analysis
MOST_WATCHES, FEW_WATCHES = 256, 16  # more than a few look less often
LIFE_SECONDS = 2.0  # between messages of a watched analysis that doesn't change

Context = grpc.aio.ServicerContext[Any, Any]


class AnalysisService(errata_pb2_grpc.AnalysisServiceServicer):
    """Serves analyses."""

    def __init__(self, ports: Ports, readers: Executors, uploaders: ThreadPoolExecutor, max_uploads: int) -> None:
        self._ports = ports
        self._readers = readers
        self._uploaders = uploaders
        self._uploads = ConcurrencyLimit(max_uploads, "uploads", BUSY_SECONDS)
        self._watches = ConcurrencyLimit(MOST_WATCHES, "watches", LIFE_SECONDS)
        self._stopping = False

    def stop_watches(self) -> None:
        """End the watches: the service stops, and they would hold it."""
        self._stopping = True

    async def CreateAnalysis(self, request: pb.CreateAnalysisRequest, context: Context) -> pb.Analysis:
        """Queue a model."""
        asked = wire.request_from_create(request)
        return wire.to_analysis(await self._readers.call(submit.submit, self._ports, asked, CALLER.get()))

    async def UploadPredictions(
        self, request_iterator: AsyncIterator[pb.UploadPredictionsRequest], context: Context
    ) -> pb.Analysis:
        """Judge a file while it streams in."""
        messages = PacedStream(request_iterator, lambda message: len(message.chunk))
        asked = wire.request_from_header(_header(await messages.next()))
        first = await messages.next()  # no slot is taken for a caller that sends a header alone
        return wire.to_analysis(await self._upload(asked, first, messages))

    async def GetAnalysis(self, request: pb.GetAnalysisRequest, context: Context) -> pb.Analysis:
        """Return one analysis."""
        return wire.to_analysis(await self._readers.call(queries.get, self._ports, wire.analysis_id(request.name)))

    async def ListAnalyses(self, request: pb.ListAnalysesRequest, context: Context) -> pb.ListAnalysesResponse:
        """Return a page of analyses."""
        start, size = wire.page_offset(request.page_token, request), wire.page_size(request.page_size, default=50)
        wanted = wire.analysis_filter(request.filter)
        result = await self._readers.call(queries.list_analyses, self._ports, wanted, request.order_by)
        more = wire.page_token(start + size, request) if start + size < len(result) else ""
        page = [wire.to_analysis(item) for item in result[start : start + size]]
        return pb.ListAnalysesResponse(analyses=page, next_page_token=more)

    async def DeleteAnalysis(self, request: pb.DeleteAnalysisRequest, context: Context) -> Empty:
        """Delete a finished analysis."""
        await self._readers.call(queries.delete, self._ports, wire.analysis_id(request.name))
        return Empty()

    async def WatchAnalysis(self, request: pb.WatchAnalysisRequest, context: Context) -> AsyncIterator[pb.Analysis]:
        """Send an analysis whenever it changes, until it ends."""
        analysis_id = wire.analysis_id(request.name)
        with self._watches.taken():
            async for analysis in self._changes(analysis_id):
                yield wire.to_analysis(analysis)

    async def _changes(self, analysis_id: str) -> AsyncIterator[Analysis]:
        """Yield an analysis when it has changed, and now and then so that the connection lives, until it ends."""
        loop = asyncio.get_running_loop()
        sent: tuple[Any, ...] = ()
        sent_at = 0.0
        while True:
            analysis = await self._readers.go_on(queries.get, self._ports, analysis_id)
            at = analysis.progress
            news = (analysis.state, at.done, at.queue_position, at.live_workers)
            if news != sent or loop.time() - sent_at >= LIFE_SECONDS:
                yield analysis
                sent, sent_at = news, loop.time()
            if analysis.state.final:
                return
            if self._stopping:
                raise Unavailable("the service stops: watch again", retry_after=LIFE_SECONDS)
            await asyncio.sleep(LOOK_SECONDS * max(1.0, self._watches.held / FEW_WATCHES))

    async def CancelAnalysis(self, request: pb.CancelAnalysisRequest, context: Context) -> pb.Analysis:
        """Cancel an analysis."""
        return wire.to_analysis(await self._readers.call(queries.cancel, self._ports, wire.analysis_id(request.name)))

    async def RetryAnalysis(self, request: pb.RetryAnalysisRequest, context: Context) -> pb.Analysis:
        """Queue a failed analysis again."""
        return wire.to_analysis(await self._readers.call(retry.retry, self._ports, wire.analysis_id(request.name)))

    async def ReanalyzeAnalysis(self, request: pb.ReanalyzeAnalysisRequest, context: Context) -> pb.Analysis:
        """Judge stored predictions with another bundle."""
        name = wire.analysis_id(request.name)
        again = await self._readers.call(
            reanalyze.reanalyze, self._ports, name, request.evidence, request.request_id, CALLER.get()
        )
        return wire.to_analysis(again)

    async def GetBreakdown(self, request: pb.GetBreakdownRequest, context: Context) -> pb.Breakdown:
        """Return the verdicts by class or superclass."""
        if request.by not in pb.BreakdownBy.values():
            raise InvalidRequest(f"expected a BreakdownBy, got {request.by}", field="by")
        result = await self._readers.call(verdicts.load_judged, self._ports, wire.analysis_id(request.name))
        rows = await self._readers.call(breakdown.compute_breakdown, result, request.by == pb.BREAKDOWN_BY_SUPERCLASS)
        return wire.to_breakdown(rows)

    async def ListVerdicts(self, request: pb.ListVerdictsRequest, context: Context) -> pb.ListVerdictsResponse:
        """Return a page of verdicts."""
        start, size = wire.page_offset(request.page_token, request), wire.page_size(request.page_size, default=100)
        wanted, analysis_id = wire.verdict_filter(request.filter), wire.analysis_id(request.name)

        def page() -> pb.ListVerdictsResponse:
            result = verdicts.load_judged(self._ports, analysis_id)
            rows = verdicts.select_rows(result, wanted)
            chosen = verdicts.iterate_verdicts(result, rows[start : start + size], request.with_evidence)
            more = wire.page_token(start + size, request) if start + size < len(rows) else ""
            return pb.ListVerdictsResponse(
                verdicts=[wire.to_verdict(item) for item in chosen], next_page_token=more, total_size=len(rows)
            )

        return await self._readers.call(page)

    async def ExportVerdicts(self, request: pb.ExportVerdictsRequest, context: Context) -> AsyncIterator[pb.FileChunk]:
        """Stream verdicts as a file."""
        analysis_id = wire.analysis_id(request.name)
        if request.format not in _EXPORTS:
            raise InvalidRequest(f"expected a VerdictFormat, got {request.format}", field="format")
        if request.with_evidence and request.format == pb.VERDICT_FORMAT_CSV:
            raise InvalidRequest(
                "A CSV file cannot contain evidence. Export JSONL, Parquet, or Arrow, or omit with_evidence.",
                field="with_evidence",
            )
        content = export.Export(wire.verdict_filter(request.filter), request.with_evidence)
        result = await self._readers.call(verdicts.load_judged, self._ports, analysis_id)
        async for chunk in self._chunks(_EXPORTS[request.format](result, content)):
            yield chunk

    async def GetReport(self, request: pb.GetReportRequest, context: Context) -> AsyncIterator[pb.FileChunk]:
        """Stream the report."""
        if request.HasField("trend"):
            if request.name or request.compared_with:
                raise InvalidRequest("expected the name of an analysis or a trend, got both", field="trend")
            html = await self._readers.call(report.trend_report, self._ports, _question(request.trend))
        elif request.compared_with:
            names = wire.analysis_id(request.name), wire.analysis_id(request.compared_with)
            html = await self._readers.call(report.comparison_report, self._ports, *names)
        else:
            html = await self._readers.call(report.report, self._ports, wire.analysis_id(request.name))
        async for chunk in self._chunks(iter([html.encode()])):
            yield chunk

    async def CompareAnalyses(self, request: pb.CompareAnalysesRequest, context: Context) -> pb.Comparison:
        """Return what changed between two analyses."""
        most = wire.page_size(
            request.max_images, default=compare.MAX_CHANGED_IMAGES, most=MOST_IMAGES, field="max_images"
        )
        names = wire.analysis_id(request.a, "a"), wire.analysis_id(request.b, "b")
        return wire.to_comparison(await self._readers.call(compare.compare, self._ports, *names, most))

    async def EvaluateGate(self, request: pb.EvaluateGateRequest, context: Context) -> pb.GateResult:
        """Hold an analysis against a policy."""
        baseline = wire.analysis_id(request.baseline, "baseline") if request.baseline else ""
        name = wire.analysis_id(request.name)
        return wire.to_gate_result(
            await self._readers.call(gate.evaluate_gate, self._ports, name, request.policy, baseline)
        )

    async def GetTrend(self, request: pb.GetTrendRequest, context: Context) -> pb.Trend:
        """Return where analyses stand."""
        return wire.to_trend(await self._readers.call(trend.trend, self._ports, _question(request)))

    async def ExplainVerdict(self, request: pb.ExplainVerdictRequest, context: Context) -> pb.Verdict:
        """Explain a prediction."""
        predicted = wire.class_in(request, "predicted", "predicted")
        if bool(request.name) == bool(request.dataset):
            raise InvalidRequest("expected either the name of an analysis or a data set", field="name")

        def explain_image() -> Verdict:
            if request.name:
                result = verdicts.load_judged(self._ports, wire.analysis_id(request.name))
                return verdicts.explain_image(result, request.file_name, predicted)
            if predicted is None:
                raise InvalidRequest(
                    "expected a predicted class, got none: without an analysis it must be given", field="predicted"
                )
            return explain_prediction(
                self._ports.evidence_repository.find(request.dataset, request.evidence), request.file_name, predicted
            )

        return wire.to_verdict(await self._readers.call(explain_image))

    async def _upload(
        self, asked: Any, message: pb.UploadPredictionsRequest | None, messages: PacedStream[Any]
    ) -> Analysis:
        """Feed a thread that judges, from a first message on, and return what it made of the file.

        The slot is the thread's: where the call ends early, it is released when the thread has noticed.
        """
        release = self._uploads.take()
        intake = UploadStream()
        judge = partial(upload.upload, self._ports, asked, intake, CALLER.get(), lambda: intake.aborted)
        run = partial(copy_context().run, judge)
        judged = asyncio.get_running_loop().run_in_executor(self._uploaders, run)

        def ended(future: "asyncio.Future[Analysis]") -> None:
            release()
            intake.abort()  # so that feeding never waits for a reader that has gone
            future.exception()  # retrieved, since asyncio logs an exception that is not

        judged.add_done_callback(ended)
        try:
            while message is not None and not judged.done():
                await intake.feed(_chunk(message))
                message = await messages.next(until=judged)
            intake.close()
            return await asyncio.shield(judged)  # to cancel the future would not end the thread
        except BaseException:
            intake.abort()
            raise

    async def _chunks(self, pieces: Iterator[bytes]) -> AsyncIterator[pb.FileChunk]:
        """Send a file piece by piece; the pieces are made in a thread."""
        while (piece := await self._readers.go_on(next, pieces, None)) is not None:
            for start in range(0, len(piece), SEND_CHUNK):
                yield pb.FileChunk(chunk=piece[start : start + SEND_CHUNK])


def _question(request: pb.GetTrendRequest) -> TrendRequest:
    names = [wire.analysis_id(name) for name in request.names]
    group = wire.group_of(request.group, "group")
    return TrendRequest(names, request.dataset, group, request.by, request.reference)


def _header(message: pb.UploadPredictionsRequest | None) -> pb.UploadHeader:
    if message is None:
        raise InvalidRequest("expected a header first, got the end of the stream", field="header")
    if message.WhichOneof("part") != "header":
        what = message.WhichOneof("part") or "an empty message"
        raise InvalidRequest(f"expected a header first, got {what}", field="header")
    return message.header


def _chunk(message: pb.UploadPredictionsRequest) -> bytes:
    if message.WhichOneof("part") != "chunk":
        raise InvalidRequest(
            f"expected one header and then chunks, got {message.WhichOneof('part') or 'an empty message'}",
            field="header",
        )
    if len(message.chunk) > MAX_CHUNK:
        raise InvalidRequest(f"expected at most {MAX_CHUNK} bytes a chunk, got {len(message.chunk)}", field="chunk")
    return message.chunk


def _jsonl(judged: JudgedAnalysis, content: export.Export) -> Iterator[bytes]:
    return export.write_jsonl(judged, wire.verdict_line, content)


_EXPORTS: dict[int, Callable[[JudgedAnalysis, export.Export], Iterator[bytes]]] = {
    pb.VERDICT_FORMAT_UNSPECIFIED: _jsonl,
    pb.VERDICT_FORMAT_JSONL: _jsonl,
    pb.VERDICT_FORMAT_CSV: export.write_csv,
    pb.VERDICT_FORMAT_PARQUET: export.write_parquet,
    pb.VERDICT_FORMAT_ARROW: export.write_arrow,
}
