"""The client for asyncio: the same calls as the blocking one's, as far as pipelines need them."""

import asyncio
import builtins
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from errata import errors
from errata.channel import ATTEMPTS, DEADLINE, check_address, credentials, id_of, metadata, options
from errata.requests import CHUNK, create_request, upload_header
from errata.status import check_serving, error_of
from errata.sync import RESUME_SECONDS, RESUME_WAIT
from errata.v1 import errata_pb2 as pb
from errata.v1 import errata_pb2_grpc


class AsyncClient:
    """A connection to a service. Close it, or use it in an `async with` block. Arguments as the blocking client's."""

    def __init__(
        self,
        server: str,
        token: str | None = None,
        deadline: float = DEADLINE,
        *,
        tls: bool = False,
        ca_file: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._server = server
        self._deadline = deadline
        self._token = token
        check_address(server)
        secured = credentials(tls, ca_file, certificate, key)
        self._channel = (
            grpc.aio.insecure_channel(server, options=options(attempts))
            if secured is None
            else grpc.aio.secure_channel(server, secured, options=options(attempts))
        )
        self._analyses: Any = errata_pb2_grpc.AnalysisServiceStub(self._channel)
        self._catalog: Any = errata_pb2_grpc.CatalogServiceStub(self._channel)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close()

    async def is_serving(self, timeout: float = 2.0) -> bool:
        """Say whether the service answers and takes calls; False too where it can't be reached in time."""
        try:
            await self.check(timeout)
        except errors.ErrataError:
            return False
        return True

    async def check(self, timeout: float = 2.0) -> None:
        """Raise Unavailable, with the reason, unless the service answers and takes calls."""
        try:
            stub = health_pb2_grpc.HealthStub(self._channel)
            said = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            raise error_of(error, self._server) from error
        check_serving(said, self._server)

    async def analyze(
        self,
        model: str,
        dataset: str = "imagenet-real",
        *,
        evidence: str = "",
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        request_id: str = "",
        fresh: bool = False,
        gate_policy: str = "",
        gate_baseline: str = "",
    ) -> pb.Analysis:
        """Ask for a model to be run and judged; return the queued analysis."""
        request = create_request(
            model, dataset, evidence, display_name, labels, request_id, fresh, gate_policy, gate_baseline
        )
        return await self._call(self._analyses.CreateAnalysis, request)

    async def upload(
        self,
        predictions: str | Path | BinaryIO,
        dataset: str = "imagenet-real",
        *,
        evidence: str = "",
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        request_id: str = "",
        row_order: "pb.RowOrder" = pb.ROW_ORDER_UNSPECIFIED,
        fresh: bool = False,
        gate_policy: str = "",
        gate_baseline: str = "",
    ) -> pb.Analysis:
        """Send a predictions file, read in a thread; return the finished analysis."""
        header = upload_header(
            predictions,
            dataset,
            evidence,
            display_name,
            labels,
            request_id,
            row_order,
            fresh,
            gate_policy,
            gate_baseline,
        )
        if not isinstance(predictions, str | Path):
            return await self._call(self._analyses.UploadPredictions, _messages(header, predictions), deadline=None)
        file = await asyncio.to_thread(Path(predictions).open, "rb")
        try:
            return await self._call(self._analyses.UploadPredictions, _messages(header, file), deadline=None)
        finally:
            file.close()

    async def get(self, name: str) -> pb.Analysis:
        """Return one analysis."""
        return await self._call(self._analyses.GetAnalysis, pb.GetAnalysisRequest(name=name))

    async def list(self, filter: pb.AnalysisFilter | None = None, order_by: str = "") -> AsyncIterator[pb.Analysis]:
        """Yield all analyses that a filter lets through, page by page."""
        token = ""
        while True:
            request = pb.ListAnalysesRequest(filter=filter, order_by=order_by, page_token=token, page_size=1000)
            page = await self._call(self._analyses.ListAnalyses, request)
            for analysis in page.analyses:
                yield analysis
            token = page.next_page_token
            if not token:
                return

    async def watch(self, name: str) -> AsyncIterator[pb.Analysis]:
        """Yield an analysis whenever it changes, until it ends; go on where a service that restarts broke it off.

        Raise Unavailable where the service has been away for RESUME_SECONDS.
        """
        heard = time.monotonic()
        while True:
            try:
                async for analysis in self._stream(self._analyses.WatchAnalysis, pb.WatchAnalysisRequest(name=name)):
                    heard = time.monotonic()
                    yield analysis
                return
            except errors.Unavailable:
                if time.monotonic() - heard > RESUME_SECONDS:
                    raise
                await asyncio.sleep(RESUME_WAIT)

    async def wait(self, name: str) -> pb.Analysis:
        """Return an analysis once it has ended."""
        ended: pb.Analysis | None = None
        async for analysis in self.watch(name):
            ended = analysis
        return ended if ended is not None else await self.get(name)

    async def cancel(self, name: str) -> pb.Analysis:
        """Cancel an analysis."""
        return await self._call(self._analyses.CancelAnalysis, pb.CancelAnalysisRequest(name=name))

    async def retry(self, name: str) -> pb.Analysis:
        """Queue a failed analysis again."""
        return await self._call(self._analyses.RetryAnalysis, pb.RetryAnalysisRequest(name=name))

    async def delete(self, name: str) -> None:
        """Delete a finished analysis."""
        await self._call(self._analyses.DeleteAnalysis, pb.DeleteAnalysisRequest(name=name))

    async def verdicts(
        self, name: str, filter: pb.VerdictFilter | None = None, with_evidence: bool = False
    ) -> AsyncIterator[pb.Verdict]:
        """Yield verdicts that a filter lets through, page by page."""
        token = ""
        while True:
            request = pb.ListVerdictsRequest(
                name=name, filter=filter, with_evidence=with_evidence, page_token=token, page_size=1000
            )
            page = await self._call(self._analyses.ListVerdicts, request)
            for verdict in page.verdicts:
                yield verdict
            token = page.next_page_token
            if not token:
                return

    async def export(self, name: str, format: "pb.VerdictFormat" = pb.VERDICT_FORMAT_JSONL) -> AsyncIterator[bytes]:
        """Yield all verdicts as a file, piece by piece."""
        request = pb.ExportVerdictsRequest(name=name, format=format)
        async for chunk in self._stream(self._analyses.ExportVerdicts, request):
            yield chunk.chunk

    async def report(self, name: str) -> bytes:
        """Return the report, one HTML file."""
        pieces: builtins.list[bytes] = []
        async for chunk in self._stream(self._analyses.GetReport, pb.GetReportRequest(name=name)):
            pieces.append(chunk.chunk)
        return b"".join(pieces)

    async def compare(self, a: str, b: str, max_images: int = 0) -> pb.Comparison:
        """Return what changed from A to B, with at most so many fixed and broken images (0: 1000)."""
        request = pb.CompareAnalysesRequest(a=a, b=b, max_images=max_images)
        return await self._call(self._analyses.CompareAnalyses, request)

    async def gate(self, name: str, policy: str = "", baseline: str = "") -> pb.GateResult:
        """Hold an analysis against a policy (YAML); without one: against that which it was asked for with."""
        request = pb.EvaluateGateRequest(name=name, policy=policy, baseline=baseline)
        return await self._call(self._analyses.EvaluateGate, request)

    async def trend(self, request: pb.GetTrendRequest) -> pb.Trend:
        """Return where analyses stand among stored and published models of their accuracy."""
        return await self._call(self._analyses.GetTrend, request)

    async def datasets(self) -> pb.ListDatasetsResponse:
        """Return the data sets that the service judges."""
        return await self._call(self._catalog.ListDatasets, pb.ListDatasetsRequest())

    async def models(self) -> pb.ListModelsResponse:
        """Return the models that workers offer."""
        return await self._call(self._catalog.ListModels, pb.ListModelsRequest())

    async def _call(self, method: Callable[..., Awaitable[Any]], request: object, deadline: float | None = -1.0) -> Any:
        timeout = self._deadline if deadline == -1.0 else deadline
        with self._calling() as carried:
            return await method(request, timeout=timeout, metadata=carried)

    async def _stream(self, method: Callable[..., Any], request: object) -> AsyncIterator[Any]:
        with self._calling() as carried:
            async for message in method(request, metadata=carried):
                yield message

    @contextmanager
    def _calling(self) -> Iterator[tuple[tuple[str, str], ...]]:
        """Give what a call carries; what gRPC raises in the block is raised as the service's error."""
        carried = metadata(self._token)
        try:
            yield carried
        except grpc.RpcError as error:
            raise error_of(error, self._server, id_of(carried)) from error


async def _messages(header: pb.UploadHeader, content: BinaryIO) -> AsyncIterator[pb.UploadPredictionsRequest]:
    yield pb.UploadPredictionsRequest(header=header)
    while chunk := await asyncio.to_thread(content.read, CHUNK):
        yield pb.UploadPredictionsRequest(chunk=chunk)
