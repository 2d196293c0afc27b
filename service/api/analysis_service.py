"""AnalysisService: each method decodes the request, calls a use case in a thread, and encodes the response."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from errata import v1 as pb
from errata.errors import InvalidRequest, TooBusy, Unavailable
from errata.v1 import analysis_service_pb2_grpc
from google.protobuf.empty_pb2 import Empty

from service import wire
from service.analyses import (
    breakdown,
    compare,
    export,
    gate,
    images,
    lifecycle,
    queries,
    reanalyze,
    report,
    slices,
    submit,
    trend,
    upload,
    verdicts,
)
from service.analyses.explain import explain_prediction
from service.analyses.judge import JudgedAnalysis
from service.analyses.ports import Ports
from service.analyses.verdicts import find_attributes
from service.api.downloads import RETRY_SECONDS, FileSender
from service.api.messages import Context
from service.api.upload_receiver import UploadReceiver
from service.api.upload_stream import UploadStream
from service.bounded_executor import BoundedExecutor
from service.caller import CALLER
from service.concurrency import ConcurrencyLimit
from service.domain import Analysis
from service.wire.names import check_enum

MAX_IMAGES = 50_000  # fixed images, and as many broken images, in a comparison
POLL_SECONDS = 0.05  # interval between two reads of a watched analysis
MAX_FILES = 32  # concurrent reports with a file of reference models; each occupies about 8 MB while it waits
MAX_WATCHES, FAST_WATCHES = 256, 16  # above FAST_WATCHES, the interval grows with the number of watches
CANCEL_SECONDS = 4.0  # maximum wait of a cancellation for a result that is archived now
CANCEL_POLL_SECONDS = 0.2  # interval between two attempts to cancel
HEARTBEAT_SECONDS = 2.0  # interval between two messages about a watched analysis that does not change


class AnalysisService(analysis_service_pb2_grpc.AnalysisServiceServicer):
    """Implements the RPCs of AnalysisService. Uploads receive encoded messages."""

    def __init__(self, ports: Ports, executor: BoundedExecutor, receiver: UploadReceiver, sender: FileSender) -> None:
        self._ports = ports
        self._executor = executor
        self._receiver = receiver
        self._sender = sender
        self._watches = ConcurrencyLimit(MAX_WATCHES, "watches", HEARTBEAT_SECONDS)
        self._files = ConcurrencyLimit(MAX_FILES, "reports with a file", RETRY_SECONDS)
        self._is_stopping = False

    def stop_watches(self) -> None:
        """End all watches, which would delay the shutdown until their analyses end."""
        self._is_stopping = True

    async def CreateAnalysis(self, request: pb.CreateAnalysisRequest, context: Context) -> pb.Analysis:
        """Queue an analysis of a model."""

        def create() -> pb.Analysis:
            analysis_request = wire.request_from_create(request)
            return wire.to_analysis(submit.submit(self._ports, analysis_request, CALLER.get().name))

        return await self._executor.call(create)

    async def UploadPredictions(self, request_iterator: AsyncIterator[bytes], context: Context) -> pb.Analysis:
        """Judge a predictions file while it is received."""
        return wire.to_analysis(
            await self._receiver.receive(request_iterator, pb.UploadPredictionsRequest, self._start_upload)
        )

    async def GetAnalysis(self, request: pb.GetAnalysisRequest, context: Context) -> pb.Analysis:
        """Return one analysis."""
        return wire.to_analysis(
            await self._executor.call(queries.get, self._ports.stores, wire.analysis_id(request.name))
        )

    async def ListAnalyses(self, request: pb.ListAnalysesRequest, context: Context) -> pb.ListAnalysesResponse:
        """Return a page of analyses."""

        def page() -> pb.ListAnalysesResponse:
            conditions = wire.analysis_filter(request.filter)  # first, because it bounds the size of the request
            order, key = queries.parse_order(request.order_by), wire.query_key(request)
            after, size = wire.token_cursor(request.page_token, key, order), wire.page_size(request.page_size, 50)
            analyses = queries.list_analyses(self._ports.stores, conditions, order, after, size)
            return pb.ListAnalysesResponse(
                analyses=[wire.to_analysis(analysis) for analysis in analyses.analyses],
                next_page_token=wire.cursor_token(analyses.next, key),
                index_incomplete=analyses.is_incomplete,
            )

        return await self._executor.call(page)

    async def DeleteAnalysis(self, request: pb.DeleteAnalysisRequest, context: Context) -> Empty:
        """Delete a finished analysis."""
        await self._executor.call(lifecycle.delete, self._ports.stores, wire.analysis_id(request.name))
        return Empty()

    async def WatchAnalysis(self, request: pb.WatchAnalysisRequest, context: Context) -> AsyncIterator[pb.Analysis]:
        """Send the analysis whenever it changes, until it ends."""
        analysis_id = wire.analysis_id(request.name)
        try:
            release = self._watches.acquire()
        except TooBusy:
            analysis = await self._executor.call(queries.get, self._ports.stores, analysis_id)
            if not analysis.state.is_final:
                raise
            yield wire.to_analysis(analysis)  # needs no slot
            return
        try:
            async for analysis in self._changes(analysis_id):
                yield wire.to_analysis(analysis)
        finally:
            release()

    async def _changes(self, analysis_id: str) -> AsyncIterator[Analysis]:
        """Yield an analysis when it changes, and at least every HEARTBEAT_SECONDS, until it ends."""
        loop = asyncio.get_running_loop()
        sent_status: tuple[Any, ...] = ()
        sent_at = 0.0
        while True:
            analysis = await self._executor.call_admitted(queries.get, self._ports.stores, analysis_id)
            progress = analysis.progress
            status = (
                analysis.state,
                progress.done,
                progress.queue_position,
                progress.live_workers,
                progress.waiting_reason,
            )
            if status != sent_status or loop.time() - sent_at >= HEARTBEAT_SECONDS:
                yield analysis
                sent_status, sent_at = status, loop.time()
            if analysis.state.is_final:
                return
            if self._is_stopping:
                raise Unavailable("The service is shutting down. Start the watch again.", retry_after=HEARTBEAT_SECONDS)
            await asyncio.sleep(POLL_SECONDS * max(1.0, self._watches.in_use / FAST_WATCHES))

    async def CancelAnalysis(self, request: pb.CancelAnalysisRequest, context: Context) -> pb.Analysis:
        """Cancel an analysis. While its result is archived, wait for the result, for a limited time."""
        name = wire.analysis_id(request.name)
        deadline = asyncio.get_running_loop().time() + CANCEL_SECONDS
        while True:
            try:
                return wire.to_analysis(await self._executor.call(lifecycle.cancel, self._ports, name))
            except lifecycle.BeingArchived:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(CANCEL_POLL_SECONDS)

    async def RetryAnalysis(self, request: pb.RetryAnalysisRequest, context: Context) -> pb.Analysis:
        """Queue a failed analysis again."""
        return wire.to_analysis(await self._executor.call(lifecycle.retry, self._ports, wire.analysis_id(request.name)))

    async def ReanalyzeAnalysis(self, request: pb.ReanalyzeAnalysisRequest, context: Context) -> pb.Analysis:
        """Judge stored predictions with another evidence bundle."""
        name = wire.analysis_id(request.name)

        def judge_again() -> Analysis:
            dataset = queries.get(self._ports.stores, name).request.dataset
            evidence = wire.evidence_of(dataset, request.evidence)
            return reanalyze.reanalyze(self._ports, name, evidence, request.request_id, CALLER.get().name)

        return wire.to_analysis(await self._executor.call(judge_again))

    async def GetVerdict(self, request: pb.GetVerdictRequest, context: Context) -> pb.Verdict:
        """Return the verdict on one image."""
        has_evidence = _has_evidence(request.view, default=True)
        return await self._executor.call(self._explain, request.name, "", has_evidence)

    async def ListVerdicts(self, request: pb.ListVerdictsRequest, context: Context) -> pb.ListVerdictsResponse:
        """Return a page of verdicts."""
        analysis_id, has_evidence = wire.analysis_id(request.parent, "parent"), _has_evidence(request.view)

        def page() -> pb.ListVerdictsResponse:
            result = verdicts.load_judged(self._ports.stores, analysis_id)
            label_space = result.bundle.label_space
            rows = verdicts.select_rows(result, wire.verdict_filter(request.filter, label_space))
            selected, next_token = wire.page_of(rows, request)
            records = verdicts.iterate_verdicts(result, selected, has_evidence)
            return pb.ListVerdictsResponse(
                verdicts=[wire.to_verdict(verdict, label_space.names, analysis_id) for verdict in records],
                next_page_token=next_token,
                total_size=len(rows),
            )

        return await self._executor.call(page)

    async def ListImages(self, request: pb.ListImagesRequest, context: Context) -> pb.ListImagesResponse:
        """Return a page of the images of an analysis, with facet counts."""
        analysis_id = wire.analysis_id(request.parent, "parent")

        def page() -> pb.ListImagesResponse:
            stores = self._ports.stores
            label_space = verdicts.find_bundle(stores, queries.get_succeeded(stores, analysis_id)).label_space
            query = wire.image_query(request, label_space)
            selection = images.select_images(stores, query)
            positions, next_token = wire.page_of(range(len(selection.rows)), request)
            rows = selection.sorted_rows[positions.start : positions.stop]
            return pb.ListImagesResponse(
                images=[wire.to_image(image, label_space) for image in images.take_images(selection.images, rows)],
                next_page_token=next_token,
                total_size=len(selection.rows),
                facets=wire.to_facets(selection.facets, label_space),
                num_models=selection.images.num_models,
            )

        return await self._executor.call(page)

    async def ExportVerdicts(self, request: pb.ExportVerdictsRequest, context: Context) -> None:
        """Stream verdicts as a file."""
        analysis_id = wire.analysis_id(request.parent, "parent")
        has_evidence = _has_evidence(request.view)
        check_enum(pb.VerdictFormat, request.format, "format")
        if has_evidence and request.format == pb.VERDICT_FORMAT_CSV:
            raise InvalidRequest(
                "A CSV file cannot contain evidence. Export JSONL, Parquet, or Arrow, or use VERDICT_VIEW_BASIC.",
                field="view",
            )

        def prepare() -> Callable[[], Iterator[bytes]]:
            stores = self._ports.stores
            label_space = verdicts.find_bundle(stores, queries.get_succeeded(stores, analysis_id)).label_space
            content = export.Export(wire.verdict_filter(request.filter, label_space), has_evidence)
            return lambda: _EXPORTS[request.format](verdicts.load_judged(stores, analysis_id), content)

        await self._sender.send(context, prepare)

    async def ExplainVerdict(self, request: pb.ExplainVerdictRequest, context: Context) -> pb.Verdict:
        """Explain the verdict on one image."""
        return await self._executor.call(self._explain, request.name, request.predicted_class)

    async def ExplainPrediction(self, request: pb.ExplainPredictionRequest, context: Context) -> pb.Verdict:
        """Explain the verdict that a prediction would get."""
        dataset, evidence = wire.evidence_ids(request.name)

        def explain() -> pb.Verdict:
            stores = self._ports.stores
            bundle = stores.evidence.find(dataset, evidence)
            predicted = wire.class_named(request.predicted_class, "predicted_class", bundle.label_space)
            attributes = find_attributes(stores, bundle)
            verdict = explain_prediction(bundle, request.file_name, predicted, attributes=attributes)
            return wire.to_verdict(verdict, bundle.label_space.names)

        return await self._executor.call(explain)

    async def ComputeBreakdown(self, request: pb.ComputeBreakdownRequest, context: Context) -> pb.Breakdown:
        """Return the counts of the error types by class or superclass."""
        check_enum(pb.BreakdownBy, request.by, "by")
        analysis_id = wire.analysis_id(request.name)

        def compute() -> pb.Breakdown:
            result = verdicts.load_judged(self._ports.stores, analysis_id)
            rows = breakdown.compute_breakdown(result, request.by == pb.BREAKDOWN_BY_SUPERCLASS)
            return wire.to_breakdown(rows, result.bundle.manifest.abstained)

        return await self._executor.call(compute)

    async def ComputeSlices(self, request: pb.ComputeSlicesRequest, context: Context) -> pb.Slices:
        """Return the error rates of the slices."""
        analysis_id = wire.analysis_id(request.name)

        def compute() -> pb.Slices:
            result = verdicts.load_judged(self._ports.stores, analysis_id)
            table = slices.compute_slices(self._ports.stores, result)
            return wire.to_slices(table, result.bundle.manifest.abstained)

        return await self._executor.call(compute)

    async def CompareAnalyses(self, request: pb.CompareAnalysesRequest, context: Context) -> pb.Comparison:
        """Compare two analyses of the same images."""
        limit = wire.page_size(
            request.max_images, default=compare.MAX_CHANGED_IMAGES, limit=MAX_IMAGES, field="max_images"
        )
        ids = _compared_ids(request)

        def compare_analyses() -> pb.Comparison:
            a, b = (verdicts.load_judged(self._ports.stores, analysis_id) for analysis_id in ids)
            return wire.to_comparison(compare.compare_judged(a, b, limit), a.bundle.label_space.names)

        return await self._executor.call(compare_analyses)

    async def EvaluateGate(self, request: pb.EvaluateGateRequest, context: Context) -> pb.GateResult:
        """Evaluate an analysis against a gate policy."""
        baseline = wire.analysis_id(request.baseline, "baseline") if request.baseline else ""
        name = wire.analysis_id(request.name)
        min_coverage = request.min_coverage if request.HasField("min_coverage") else None
        stores, policy = self._ports.stores, request.policy
        return await self._executor.call(
            lambda: wire.to_gate_result(gate.evaluate_gate(stores, name, policy, baseline, min_coverage))
        )

    async def ComputeTrend(self, request: pb.ComputeTrendRequest, context: Context) -> pb.Trend:
        """Compare analyses with reference models of similar accuracy."""

        def compute() -> pb.Trend:
            return wire.to_trend(trend.trend(self._ports.stores, wire.trend_request(request)))

        return await self._executor.call(compute)

    async def RenderReport(self, request: pb.RenderReportRequest, context: Context) -> None:
        """Stream a report as one HTML file."""
        if request.thumbnails and request.WhichOneof("subject") != "analysis":
            raise InvalidRequest(
                "Only the report of an analysis can have thumbnails. Set `analysis`.", field="thumbnails"
            )
        match request.WhichOneof("subject"):
            case "analysis":
                ids: Sequence[str] = [wire.analysis_id(request.analysis, "analysis")]
                render = partial(report.report, self._ports, ids[0], request.thumbnails)
            case "comparison":
                ids = _compared_ids(request.comparison)
                render = partial(report.comparison_report, self._ports.stores, *ids)
            case "trend":
                trend_request = wire.trend_request(request.trend)
                ids, render = trend_request.names, partial(report.trend_report, self._ports.stores, trend_request)
            case _:
                raise InvalidRequest(
                    "The subject is missing. Set `analysis`, `comparison`, or `trend`.", field="subject"
                )
        has_file = bool(request.trend.reference)
        del request  # it can occupy 56 MiB, and the download may wait

        def prepare() -> Callable[[], Iterator[bytes]]:
            for analysis_id in ids:
                queries.get_succeeded(self._ports.stores, analysis_id)
            return lambda: iter([render().encode()])

        with self._files.slot() if has_file else nullcontext():
            await self._sender.send(context, prepare)

    def _explain(self, name: str, predicted_class: str, has_evidence: bool = True) -> pb.Verdict:
        """Return the stored verdict or, if `predicted_class` is set, the verdict on it, which has no name."""
        analysis_id, file_name = wire.verdict_ids(name)
        judged = verdicts.load_judged(self._ports.stores, analysis_id)
        label_space = judged.bundle.label_space
        predicted = wire.optional_class(predicted_class, "predicted_class", label_space)
        verdict = verdicts.explain_image(judged, file_name, predicted)
        if not has_evidence:
            verdict = replace(verdict, evidence=None)
        return wire.to_verdict(verdict, label_space.names, analysis_id if predicted is None else "")

    def _start_upload(self, header: pb.UploadHeader) -> Callable[[UploadStream], Analysis]:
        request, caller = wire.request_from_header(header), CALLER.get().name
        return lambda stream: upload.upload(self._ports, request, stream, caller, lambda: stream.is_aborted)


def _compared_ids(request: pb.CompareAnalysesRequest) -> tuple[str, str]:
    return wire.analysis_id(request.a, "a"), wire.analysis_id(request.b, "b")


def _has_evidence(view: int, default: bool = False) -> bool:
    check_enum(pb.VerdictView, view, "view")
    return default if view == pb.VERDICT_VIEW_UNSPECIFIED else view == pb.VERDICT_VIEW_FULL


def _jsonl(judged: JudgedAnalysis, content: export.Export) -> Iterator[bytes]:
    names = judged.bundle.label_space.names
    return export.write_jsonl(judged, lambda verdict: wire.verdict_line(verdict, names), content)


_EXPORTS: dict[int, Callable[[JudgedAnalysis, export.Export], Iterator[bytes]]] = {
    pb.VERDICT_FORMAT_UNSPECIFIED: _jsonl,
    pb.VERDICT_FORMAT_JSONL: _jsonl,
    pb.VERDICT_FORMAT_CSV: export.write_csv,
    pb.VERDICT_FORMAT_PARQUET: export.write_parquet,
    pb.VERDICT_FORMAT_ARROW: export.write_arrow,
}
