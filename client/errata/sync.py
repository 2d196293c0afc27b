"""The blocking client."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from errata import errors
from errata.channel import ATTEMPTS, DEADLINE, check_address, credentials, id_of, metadata, options
from errata.requests import create_request, messages, predicted_class, upload_header
from errata.status import check_serving, error_of
from errata.v1 import errata_pb2 as pb
from errata.v1 import errata_pb2_grpc

RESUME_SECONDS = 60.0  # that a watched service may be away
RESUME_WAIT = 0.5  # seconds between two tries


class Client:
    """A connection to a service. Close it, or use it in a `with` block.

    `deadline`: seconds of a call that doesn't stream; `tls` with the system's certificates, or `ca_file` with one's
    own; `certificate` and `key` are what this side shows; `attempts` of a call that is safe to repeat,
    where the service is away.
    """

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
            grpc.insecure_channel(server, options=options(attempts))
            if secured is None
            else grpc.secure_channel(server, secured, options=options(attempts))
        )
        self._analyses = errata_pb2_grpc.AnalysisServiceStub(self._channel)
        self._catalog = errata_pb2_grpc.CatalogServiceStub(self._channel)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def is_serving(self, timeout: float = 2.0) -> bool:
        """Say whether the service answers and takes calls; False too where it can't be reached in time."""
        try:
            self.check(timeout)
        except errors.ErrataError:
            return False
        return True

    def check(self, timeout: float = 2.0) -> None:
        """Raise Unavailable, with the reason, unless the service answers and takes calls."""
        try:
            said = health_pb2_grpc.HealthStub(self._channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            raise error_of(error, self._server) from error
        check_serving(said, self._server)

    def analyze(
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
        return self._call(self._analyses.CreateAnalysis, request)

    def upload(
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
        """Send a predictions file; return the finished analysis. Without a name it is called by its file's."""
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
        if isinstance(predictions, str | Path):
            with Path(predictions).open("rb") as file:
                return self._call(self._analyses.UploadPredictions, messages(header, file), deadline=None)
        return self._call(self._analyses.UploadPredictions, messages(header, predictions), deadline=None)

    def get(self, name: str) -> pb.Analysis:
        """Return one analysis."""
        return self._call(self._analyses.GetAnalysis, pb.GetAnalysisRequest(name=name))

    def list(self, filter: pb.AnalysisFilter | None = None, order_by: str = "") -> Iterator[pb.Analysis]:
        """Yield all analyses that a filter lets through, page by page."""
        token = ""
        while True:
            request = pb.ListAnalysesRequest(filter=filter, order_by=order_by, page_token=token, page_size=1000)
            page: pb.ListAnalysesResponse = self._call(self._analyses.ListAnalyses, request)
            yield from page.analyses
            token = page.next_page_token
            if not token:
                return

    def watch(self, name: str) -> Iterator[pb.Analysis]:
        """Yield an analysis whenever it changes, until it ends; go on where a service that restarts broke it off.

        Raise Unavailable where the service has been away for RESUME_SECONDS.
        """
        heard = time.monotonic()
        while True:
            try:
                for analysis in self._stream(self._analyses.WatchAnalysis, pb.WatchAnalysisRequest(name=name)):
                    heard = time.monotonic()
                    yield analysis
                return
            except errors.Unavailable:
                if time.monotonic() - heard > RESUME_SECONDS:
                    raise
                time.sleep(RESUME_WAIT)

    def cancel(self, name: str) -> pb.Analysis:
        """Cancel an analysis."""
        return self._call(self._analyses.CancelAnalysis, pb.CancelAnalysisRequest(name=name))

    def retry(self, name: str) -> pb.Analysis:
        """Queue a failed analysis again."""
        return self._call(self._analyses.RetryAnalysis, pb.RetryAnalysisRequest(name=name))

    def delete(self, name: str) -> None:
        """Delete a finished analysis."""
        self._call(self._analyses.DeleteAnalysis, pb.DeleteAnalysisRequest(name=name))

    def reanalyze(self, name: str, evidence: str = "", request_id: str = "") -> pb.Analysis:
        """Judge an analysis' predictions with another bundle; return the new analysis."""
        request = pb.ReanalyzeAnalysisRequest(name=name, evidence=evidence, request_id=request_id)
        return self._call(self._analyses.ReanalyzeAnalysis, request)

    def breakdown(self, name: str, by: "pb.BreakdownBy" = pb.BREAKDOWN_BY_CLASS) -> pb.Breakdown:
        """Return the verdicts by target class or by superclass of the target."""
        return self._call(self._analyses.GetBreakdown, pb.GetBreakdownRequest(name=name, by=by))

    def verdicts(
        self, name: str, filter: pb.VerdictFilter | None = None, with_evidence: bool = False, most: int | None = None
    ) -> Iterator[pb.Verdict]:
        """Yield verdicts that a filter lets through, page by page, `most` of them at most."""
        token, left = "", most
        while left is None or left > 0:
            size = 1000 if left is None else min(left, 1000)
            request = pb.ListVerdictsRequest(
                name=name, filter=filter, with_evidence=with_evidence, page_token=token, page_size=size
            )
            page: pb.ListVerdictsResponse = self._call(self._analyses.ListVerdicts, request)
            yield from page.verdicts
            left = None if left is None else left - len(page.verdicts)
            token = page.next_page_token
            if not token:
                return

    def some_verdicts(self, name: str, filter: pb.VerdictFilter, most: int | None = None) -> pb.ListVerdictsResponse:
        """Return verdicts that a filter lets through, with evidence, `most` of them at most, and how many there are."""
        list_verdicts_response = pb.ListVerdictsResponse()
        while most is None or len(list_verdicts_response.verdicts) < most:
            size = 1000 if most is None else min(most - len(list_verdicts_response.verdicts), 1000)
            page: pb.ListVerdictsResponse = self._call(
                self._analyses.ListVerdicts,
                pb.ListVerdictsRequest(
                    name=name,
                    filter=filter,
                    with_evidence=True,
                    page_token=list_verdicts_response.next_page_token,
                    page_size=size,
                ),
            )
            list_verdicts_response.verdicts.extend(page.verdicts)
            list_verdicts_response.total_size, list_verdicts_response.next_page_token = (
                page.total_size,
                page.next_page_token,
            )
            if not list_verdicts_response.next_page_token:
                break
        return list_verdicts_response

    def export(self, name: str, format: "pb.VerdictFormat" = pb.VERDICT_FORMAT_JSONL) -> Iterator[bytes]:
        """Yield all verdicts as a file, piece by piece."""
        request = pb.ExportVerdictsRequest(name=name, format=format)
        for chunk in self._stream(self._analyses.ExportVerdicts, request):
            yield chunk.chunk

    def report(self, name: str) -> bytes:
        """Return the report, one HTML file."""
        return self._file(pb.GetReportRequest(name=name))

    def compare(self, a: str, b: str, max_images: int = 0) -> pb.Comparison:
        """Return what changed from A to B, with at most so many fixed and broken images (0: 1000)."""
        return self._call(self._analyses.CompareAnalyses, pb.CompareAnalysesRequest(a=a, b=b, max_images=max_images))

    def comparison_report(self, a: str, b: str) -> bytes:
        """Return the comparison as one HTML file."""
        return self._file(pb.GetReportRequest(name=a, compared_with=b))

    def gate(self, name: str, policy: str = "", baseline: str = "") -> pb.GateResult:
        """Hold an analysis against a policy (YAML); without one: against that which it was asked for with."""
        request = pb.EvaluateGateRequest(name=name, policy=policy, baseline=baseline)
        return self._call(self._analyses.EvaluateGate, request)

    def trend(self, request: pb.GetTrendRequest) -> pb.Trend:
        """Return where analyses stand among stored and published models of their accuracy."""
        return self._call(self._analyses.GetTrend, request)

    def trend_report(self, request: pb.GetTrendRequest) -> bytes:
        """Return the trend as one HTML file."""
        return self._file(pb.GetReportRequest(trend=request))

    def explain(self, name: str, file_name: str, predicted: int | str | None = None) -> pb.Verdict:
        """Return what a prediction for an image means: any class, or what the analysis' model predicted."""
        request = pb.ExplainVerdictRequest(name=name, file_name=file_name, **predicted_class(predicted))
        return self._call(self._analyses.ExplainVerdict, request)

    def explain_any(self, dataset: str, file_name: str, predicted: int | str, evidence: str = "") -> pb.Verdict:
        """Return what a prediction for an image means, without an analysis."""
        request = pb.ExplainVerdictRequest(
            dataset=dataset, evidence=evidence, file_name=file_name, **predicted_class(predicted)
        )
        return self._call(self._analyses.ExplainVerdict, request)

    def datasets(self) -> pb.ListDatasetsResponse:
        """Return the data sets that the service judges."""
        return self._call(self._catalog.ListDatasets, pb.ListDatasetsRequest())

    def evidence(self, dataset: str, evidence: str = "") -> pb.Evidence:
        """Return one bundle's description."""
        return self._call(self._catalog.GetEvidence, pb.GetEvidenceRequest(dataset=dataset, evidence=evidence))

    def models(self) -> pb.ListModelsResponse:
        """Return the models that workers offer."""
        return self._call(self._catalog.ListModels, pb.ListModelsRequest())

    def error_types(self) -> pb.ListErrorTypesResponse:
        """Return the error types."""
        return self._call(self._catalog.ListErrorTypes, pb.ListErrorTypesRequest())

    def _file(self, request: pb.GetReportRequest) -> bytes:
        return b"".join(chunk.chunk for chunk in self._stream(self._analyses.GetReport, request))

    def _call(self, method: Callable[..., Any], request: object, deadline: float | None = -1.0) -> Any:
        timeout = self._deadline if deadline == -1.0 else deadline
        with self._calling() as carried:
            return method(request, timeout=timeout, metadata=carried)

    def _stream(self, method: Callable[..., Any], request: object) -> Iterator[Any]:
        with self._calling() as carried:
            yield from method(request, metadata=carried)

    @contextmanager
    def _calling(self) -> Iterator[tuple[tuple[str, str], ...]]:
        """Give what a call carries; what gRPC raises in the block is raised as the service's error."""
        carried = metadata(self._token)
        try:
            yield carried
        except grpc.RpcError as error:
            raise error_of(error, self._server, id_of(carried)) from error
