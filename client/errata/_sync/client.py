# Generated from errata/_async/client.py by client/generate_sync.py. Do not edit.
"""The client of a service."""

import builtins
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Unpack

from grpc_health.v1 import health_pb2, health_pb2_grpc

from errata import errors
from errata import v1 as pb
from errata._sync.evidence import EvidenceMethods
from errata._sync.platform import open_channel, sleep
from errata._sync.reviews import ReviewMethods
from errata._sync.verdicts import Verdicts
from errata.channel import (
    ATTEMPTS,
    DEADLINE,
    channel_credentials,
    channel_options,
    check_token,
)
from errata.choices import choice
from errata.connection import ConnectionFailed, check_address
from errata.environment import ConnectionSettings, connection_settings
from errata.names import class_name, dataset_name, evidence_name, verdict_name
from errata.prediction_folder import open_predictions
from errata.requests import (
    PAGE_SIZE,
    AnalysisConditions,
    AnalysisOptions,
    AnalysisRef,
    ClassRef,
    ImageConditions,
    TrendOptions,
    UploadChecks,
    VerdictConditions,
    analysis_filter,
    build,
    class_text,
    create_request,
    image_filter,
    name_of,
    trend_request,
    upload_header,
    verdict_filter,
    verdict_view,
)
from errata.results import Analysis, Comparison, Trend
from errata.status import check_serving
from errata.tracing import method_names
from errata.v1 import (
    analysis_service_pb2_grpc,
    catalog_service_pb2_grpc,
    evidence_service_pb2_grpc,
    review_service_pb2_grpc,
)

RESUME_SECONDS = 60.0  # `watch` retries for this long while the service is unavailable
MIN_DEADLINE = 0.05  # seconds for a call, so that a call with a timeout of 0 can get a response
RESUME_INTERVAL = 0.5  # seconds between these retries
CLEANUP_SECONDS = 5.0  # time without a response after which `analyze_all` ends the cancellation of its analyses


class Client(ReviewMethods, EvidenceMethods):
    """A connection to a service. Close it, or use it in a `with` block.

    Methods that take an analysis accept its name (`analyses/ID`), its ID, or an `Analysis`; other resources also have
    a name and an ID, such as `datasets/imagenet-real` and `imagenet-real`. Pass an enumeration value as a value of
    `errata.pb` or as its name, such as `"parquet"`.

    Example:
        ```python
        with Client("127.0.0.1:50051") as client:
            analysis = client.upload("predictions.csv", dataset="imagenet-real")
            print(analysis.summary.groups["all"].top1_accuracy)
            failures = client.verdicts(analysis, error_types=["model_failure"])
            frame = failures.to_pandas()
        ```
    """

    def __init__(
        self,
        server: str | None = None,
        token: str | None = None,
        deadline: float = DEADLINE,
        *,
        tls: bool | None = None,
        ca_file: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Create a client. It connects on the first call.

        Without `server`, the address and the other connection arguments that you omit are read from `ERRATA_SERVER`,
        `ERRATA_TOKEN`, `ERRATA_TLS`, `ERRATA_CA_FILE`, `ERRATA_CLIENT_CERTIFICATE`, and `ERRATA_CLIENT_KEY`. With
        `server`, no variable is read, so that a token is never sent to another server.

        Args:
            server: Address of the service, host:port.
            token: Bearer token.
            deadline: Timeout of a call in seconds. Uploads and streamed results have no timeout.
            tls: Whether to use TLS with the system's certificate authorities.
            ca_file: File of the certificate authorities (PEM), instead of the system's. Enables TLS.
            certificate: File of the client certificate (PEM). Enables TLS.
            key: File of the key (PEM) of `certificate`.
            attempts: Maximum number of attempts of an idempotent call while the service is unavailable, 1 to 5.

        Raises:
            InvalidRequest: If the address, the token, `attempts`, or a file is invalid.
            InvalidSetting: If a variable is invalid.
        """
        settings = connection_settings() if server is None else ConnectionSettings(server)
        options: dict[str, Any] = {
            "token": token,
            "tls": tls,
            "ca_file": None if ca_file is None else Path(ca_file),
            "certificate": None if certificate is None else Path(certificate),
            "key": None if key is None else Path(key),
        }
        settings = replace(settings, **{name: value for name, value in options.items() if value is not None})
        check_address(settings.server)
        check_token(settings.token)
        self._server = settings.server
        self._token = settings.token
        self._deadline = deadline
        credentials = channel_credentials(settings)
        self._tls = credentials is not None
        self._channel = open_channel(settings.server, credentials, channel_options(settings.server, attempts))
        self._analyses: Any = analysis_service_pb2_grpc.AnalysisServiceStub(self._channel)
        self._catalog: Any = catalog_service_pb2_grpc.CatalogServiceStub(self._channel)
        self._reviews = review_service_pb2_grpc.ReviewServiceStub(self._channel)
        self._evidence = evidence_service_pb2_grpc.EvidenceServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)  # not later: gRPC crashes if the channel is closed
        self._method_names = method_names(self._analyses, self._catalog, self._reviews, self._evidence)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._is_closed = True
        self._channel.close()

    def is_serving(self, timeout: float = 2.0) -> bool:
        """Return whether the service accepts calls.

        Args:
            timeout: Seconds to wait for the response.
        """
        try:
            self.check(timeout)
        except errors.ErrataError:
            return False
        return True

    def check(self, timeout: float = 2.0) -> None:
        """Check that the service accepts calls.

        Args:
            timeout: Seconds to wait for the response.

        Raises:
            Unavailable: If the service does not accept calls.
            ConnectionFailed: If the client cannot connect to the service.
        """
        with self._converted_call_errors():
            response = self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        check_serving(response, self._server)

    def analyze(self, model: str, dataset: str = "imagenet-real", **options: Unpack[AnalysisOptions]) -> Analysis:
        """Queue an analysis of a model. A worker runs the model.

        Args:
            model: Model ID, such as `timm:resnet50.a1_in1k`.
            dataset: The data set.
            **options: See `AnalysisOptions`.

        Returns:
            The queued analysis. `wait` returns it when it has finished.
        """
        return Analysis(self._call(self._analyses.CreateAnalysis, create_request(model, dataset, options)))

    def analyze_all(
        self, models: str | Iterable[str], dataset: str = "imagenet-real", **options: Unpack[AnalysisOptions]
    ) -> builtins.list[Analysis]:
        """Queue an analysis of each model. After an error or an interruption, cancel the analyses of this call.

        The cancellation ends if the service does not respond for 5 seconds. Analyses that the service refuses to
        cancel, for example because of a limit of the token, continue. If the client is closed meanwhile, all continue.

        Args:
            models: One or several model IDs.
            dataset: The data set.
            **options: See `AnalysisOptions`. The position of each model is appended to the request ID.

        Returns:
            The queued analyses, in the order of the models.
        """
        request_id = options.get("request_id") or uuid.uuid4().hex
        requests = [
            create_request(model, dataset, {**options, "request_id": f"{request_id}-{position}"})
            for position, model in enumerate([models] if isinstance(models, str) else models)
        ]
        queued: builtins.list[Analysis] = []
        try:
            for request in requests:
                queued.append(Analysis(self._call(self._analyses.CreateAnalysis, request)))
        except BaseException as error:
            if self._is_closed:
                raise
            end = time.monotonic() + CLEANUP_SECONDS
            for analysis in queued:
                with suppress(errors.ErrataError):  # the first error is reported
                    self._cancel(analysis, end - time.monotonic())
                    end = time.monotonic() + CLEANUP_SECONDS
            if len(queued) < len(requests) and _may_be_queued(error):
                create, request = self._analyses.CreateAnalysis, requests[len(queued)]
                with suppress(errors.ErrataError):  # the request ID makes this call return the same analysis
                    analysis = self._call(create, request, end - time.monotonic())
                    self._cancel(analysis, CLEANUP_SECONDS)
            raise
        return queued

    def upload(
        self,
        predictions: str | Path | BinaryIO,
        dataset: str = "imagenet-real",
        *,
        row_order: str | int = "",
        accept_implausible: bool = False,
        min_coverage: float = 0.0,
        subset: Iterable[str] = (),
        answers_mapping: str = "",
        **options: Unpack[AnalysisOptions],
    ) -> Analysis:
        """Upload a predictions file and analyze it. Images without a prediction are not counted.

        Args:
            predictions: Path of the file, or its content as a binary stream: CSV, JSON, JSONL, Parquet, npz, or npy.
                The path can also name a folder with a JSON file for each image. Text files can contain free-text
                answers instead of classes.
            dataset: The data set.
            row_order: The order of the rows of a file without file names, such as npz or npy: `path` or `file-name`.
            accept_implausible: Accept predictions whose row order or class numbering looks wrong. The analysis is
                then marked as `implausible`, and no trend uses it.
            min_coverage: Minimum share of the evaluated images that have a prediction, from 0 to 1.
            subset: Names of the images that the file should cover, if these are not all images of the data set.
                Predictions of other images are ignored.
            answers_mapping: The content of a CSV file `answer,class` for free-text answers. This mapping has priority
                over names of classes.
            **options: See `AnalysisOptions`.

        Returns:
            The finished analysis.

        Raises:
            InvalidInput: If the content cannot be read, or is not bytes.
            InvalidUpload: If the file is invalid, or covers fewer images than required; `violations` has the lines.
            ImplausibleUpload: If the row order or the class numbering looks wrong.
        """
        checks = UploadChecks(
            accept_implausible=accept_implausible,
            min_coverage=min_coverage,
            subset=subset,
            answers_mapping=answers_mapping,
        )
        header = upload_header(predictions, dataset, row_order, options, **checks)
        method = self._analyses.UploadPredictions
        with open_predictions(predictions) as content:
            return Analysis(self._send_file(method, pb.UploadPredictionsRequest, header, content))

    def get(self, analysis: AnalysisRef) -> Analysis:
        """Return an analysis.

        Raises:
            AnalysisNotFound: If there is no such analysis.
        """
        return Analysis(self._call(self._analyses.GetAnalysis, build(pb.GetAnalysisRequest, name=name_of(analysis))))

    def list(
        self,
        filter: pb.AnalysisFilter | None = None,
        order_by: str = "",
        on_incomplete: Callable[[], None] | None = None,
        **conditions: Unpack[AnalysisConditions],
    ) -> Iterator[Analysis]:
        """Yield the analyses that meet the conditions, and fetch them page by page.

        Even if analyses are created during the iteration, each analysis that existed before occurs exactly once.

        Args:
            filter: The conditions as a message.
            order_by: `create_time`, `display_name`, `top1_accuracy`, or `model_failures`, each also with ` desc`.
                Default: newest first.
            on_incomplete: Called before the first analysis of a page that can lack analyses, because the service is
                building its index, or cannot read the archive or the job store.
            **conditions: The conditions as keywords, see `AnalysisConditions`.
        """
        request = build(
            pb.ListAnalysesRequest, filter=analysis_filter(filter, conditions), order_by=order_by, page_size=PAGE_SIZE
        )
        while True:
            page = self._call(self._analyses.ListAnalyses, request)
            if page.index_incomplete and on_incomplete is not None:
                on_incomplete()
            for analysis in page.analyses:
                yield Analysis(analysis)
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    def watch(self, analysis: AnalysisRef, timeout: float | None = None) -> Iterator[Analysis]:
        """Yield an analysis whenever it changes, until it has finished.

        Continues after a restart of the service. If a limit of the service refuses the watch, tries again.

        Args:
            analysis: The analysis.
            timeout: Seconds after which the iteration ends, even if the analysis has not finished. Default: no limit.

        Raises:
            Unavailable: If the service has been unavailable for 60 seconds.
        """
        request = build(pb.WatchAnalysisRequest, name=name_of(analysis))
        last_response = time.monotonic()
        end = None if timeout is None else last_response + timeout
        while True:
            remaining = None if end is None else max(end - time.monotonic(), MIN_DEADLINE)
            try:
                for message in self._stream(self._analyses.WatchAnalysis, request, remaining):
                    last_response = time.monotonic()
                    yield Analysis(message)
                return
            except (errors.Unavailable, errors.TooBusy) as error:
                now = time.monotonic()
                if end is not None and now >= end:
                    return
                delay = RESUME_INTERVAL
                if isinstance(error, errors.TooBusy):
                    last_response = now
                    delay = error.retry_after or RESUME_INTERVAL
                elif now - last_response > RESUME_SECONDS:
                    raise
                sleep(delay if end is None else min(delay, end - now))

    def wait(self, analysis: AnalysisRef) -> Analysis:
        """Wait until an analysis has finished, failed, or been canceled.

        Returns:
            The analysis; its `state` is `STATE_SUCCEEDED`, `STATE_FAILED`, or `STATE_CANCELLED`.
        """
        latest: Analysis | None = None
        for change in self.watch(analysis):
            latest = change
        return latest if latest is not None else self.get(analysis)

    def cancel(self, analysis: AnalysisRef) -> Analysis:
        """Cancel an analysis. A finished analysis is returned unchanged."""
        return Analysis(self._cancel(analysis))

    def retry(self, analysis: AnalysisRef) -> Analysis:
        """Queue a failed analysis again.

        Raises:
            NotReady: If the analysis has not failed.
        """
        request = build(pb.RetryAnalysisRequest, name=name_of(analysis))
        return Analysis(self._call(self._analyses.RetryAnalysis, request))

    def delete(self, analysis: AnalysisRef) -> None:
        """Delete a finished analysis and its predictions.

        Raises:
            NotReady: If the analysis has not finished.
        """
        self._call(self._analyses.DeleteAnalysis, build(pb.DeleteAnalysisRequest, name=name_of(analysis)))

    def reanalyze(self, analysis: AnalysisRef, evidence: str = "", request_id: str = "") -> Analysis:
        """Analyze the stored predictions of an analysis with another evidence bundle.

        Args:
            analysis: The analysis with the predictions.
            evidence: Name or digest prefix of the bundle. Default: the data set's default bundle.
            request_id: An ID that makes the call safe to repeat.

        Returns:
            The new analysis.
        """
        request = build(pb.ReanalyzeAnalysisRequest, name=name_of(analysis), evidence=evidence, request_id=request_id)
        return Analysis(self._call(self._analyses.ReanalyzeAnalysis, request))

    def breakdown(self, analysis: AnalysisRef, by: str | int = "class") -> pb.Breakdown:
        """Return the error types of an analysis for each class or superclass.

        Args:
            analysis: The analysis.
            by: `class` or `superclass`. With `class`, each class under which statistics count images has a row.
        """
        request = build(pb.ComputeBreakdownRequest, name=name_of(analysis), by=choice(pb.BreakdownBy, by, "by"))
        return self._call(self._analyses.ComputeBreakdown, request)

    def slices(self, analysis: AnalysisRef) -> pb.Slices:
        """Return the error rates of the slices of an analysis.

        A slice consists of the images that have the same value of an attribute, such as `time=night`.

        Raises:
            NotFound: If the data set has no attributes.
            InvalidEvidence: If the file of attributes is invalid.
        """
        return self._call(self._analyses.ComputeSlices, build(pb.ComputeSlicesRequest, name=name_of(analysis)))

    def verdicts(
        self,
        analysis: AnalysisRef,
        filter: pb.VerdictFilter | None = None,
        with_evidence: bool = False,
        most: int | None = None,
        **conditions: Unpack[VerdictConditions],
    ) -> Verdicts:
        """Return the verdicts that meet the conditions. Iterate over the result, or convert it with `to_pandas`.

        Args:
            analysis: The analysis.
            filter: The conditions as a message.
            with_evidence: Whether to include the evidence.
            most: The maximum number of verdicts.
            **conditions: The conditions as keywords, see `VerdictConditions`.
        """
        query = build(
            pb.ListVerdictsRequest,
            parent=name_of(analysis),
            filter=verdict_filter(filter, conditions),
            view=verdict_view(with_evidence),
        )
        return Verdicts(query, most, self._list_verdicts, self._export)

    def some_verdicts(
        self,
        analysis: AnalysisRef,
        filter: pb.VerdictFilter | None = None,
        most: int | None = None,
        **conditions: Unpack[VerdictConditions],
    ) -> pb.ListVerdictsResponse:
        """Return verdicts with evidence, and the number of verdicts that meet the conditions (`total_size`).

        Args:
            analysis: The analysis.
            filter: The conditions as a message.
            most: The maximum number of verdicts.
            **conditions: The conditions as keywords, see `VerdictConditions`.
        """
        request = build(
            pb.ListVerdictsRequest,
            parent=name_of(analysis),
            filter=verdict_filter(filter, conditions),
            view=verdict_view(True),
        )
        return self._first(self._analyses.ListVerdicts, request, "verdicts", most)

    def list_images(
        self,
        analysis: AnalysisRef,
        most: int | None = 100,
        order_by: str = "",
        filter: pb.ImageFilter | None = None,
        **conditions: Unpack[ImageConditions],
    ) -> pb.ListImagesResponse:
        """Return images, the number of matches (`total_size`), and the numbers of images by facet value (`facets`).

        Args:
            analysis: The analysis.
            most: The maximum number of images. None: no limit.
            order_by: `severity`, `confidence`, `class`, or `models`, each also with ` desc`. Default: the most severe
                errors first.
            filter: The conditions as a message.
            **conditions: The conditions as keywords, see `ImageConditions`.
        """
        request = build(
            pb.ListImagesRequest, parent=name_of(analysis), filter=image_filter(filter, conditions), order_by=order_by
        )
        return self._first(self._analyses.ListImages, request, "images", most)

    def export(
        self,
        analysis: AnalysisRef,
        format: str | int = "jsonl",
        with_evidence: bool = False,
        filter: pb.VerdictFilter | None = None,
        **conditions: Unpack[VerdictConditions],
    ) -> Iterator[bytes]:
        """Yield a file of verdicts in chunks.

        Args:
            analysis: The analysis.
            format: `jsonl`, `csv`, `parquet`, or `arrow` (an Arrow IPC stream).
            with_evidence: Whether to include the evidence; not available for `csv`.
            filter: The conditions as a message.
            **conditions: The conditions as keywords, see `VerdictConditions`.
        """
        request = build(
            pb.ExportVerdictsRequest,
            parent=name_of(analysis),
            format=choice(pb.VerdictFormat, format, "format"),
            filter=verdict_filter(filter, conditions),
            view=verdict_view(with_evidence),
        )
        yield from self._export(request)

    def report(self, analysis: AnalysisRef, thumbnails: bool = False) -> bytes:
        """Return the report of an analysis as one HTML file.

        Args:
            analysis: The analysis.
            thumbnails: Whether to embed thumbnails of the worst 200 errors, at most 5 MB. A reader of the file then
                sees these images.
        """
        return self._report(build(pb.RenderReportRequest, analysis=name_of(analysis), thumbnails=thumbnails))

    def compare(self, a: AnalysisRef, b: AnalysisRef, max_images: int = 0) -> Comparison:
        """Compare two analyses of the same data set and evidence.

        Args:
            a: The analysis to compare from.
            b: The analysis to compare to.
            max_images: The maximum number of fixed images, and of broken images. Default: 1000.

        Raises:
            NotComparable: If the data sets or the evidence differ.
        """
        request = build(pb.CompareAnalysesRequest, a=name_of(a), b=name_of(b), max_images=max_images)
        return Comparison(self._call(self._analyses.CompareAnalyses, request))

    def comparison_report(self, a: AnalysisRef, b: AnalysisRef) -> bytes:
        """Return the comparison of two analyses as one HTML file."""
        comparison = build(pb.CompareAnalysesRequest, a=name_of(a), b=name_of(b))
        return self._report(pb.RenderReportRequest(comparison=comparison))

    def gate(
        self,
        analysis: AnalysisRef,
        policy: str = "",
        baseline: AnalysisRef = "",
        min_coverage: float | None = None,
    ) -> pb.GateResult:
        """Evaluate an analysis against a gate policy.

        Args:
            analysis: The analysis.
            policy: The policy (YAML). Default: the policy that the analysis was created with.
            baseline: The analysis from which the policy measures changes. Default: the baseline that the analysis was
                created with.
            min_coverage: The minimum coverage, from 0 to 1. Default: the minimum in the policy, or 0.99.

        Raises:
            InvalidPolicy: If the policy is invalid; `violations` has the fields and lines.
        """
        request = build(
            pb.EvaluateGateRequest,
            name=name_of(analysis),
            policy=policy,
            baseline=name_of(baseline),
            min_coverage=min_coverage,
        )
        return self._call(self._analyses.EvaluateGate, request)

    def trend(self, request: pb.ComputeTrendRequest | None = None, **options: Unpack[TrendOptions]) -> Trend:
        """Compare the error types of analyses with those of stored and published models of the same accuracy.

        Args:
            request: The options as a message.
            **options: The options as keywords, see `TrendOptions`.
        """
        return Trend(self._call(self._analyses.ComputeTrend, trend_request(request, options)))

    def trend_report(self, request: pb.ComputeTrendRequest | None = None, **options: Unpack[TrendOptions]) -> bytes:
        """Return a trend as one HTML file.

        Args:
            request: The options as a message.
            **options: The options as keywords, see `TrendOptions`.
        """
        return self._report(pb.RenderReportRequest(trend=trend_request(request, options)))

    def verdict(self, analysis: AnalysisRef, file_name: str, with_evidence: bool = True) -> pb.Verdict:
        """Return the verdict of an analysis on an image.

        Args:
            analysis: The analysis.
            file_name: The image.
            with_evidence: Whether to include the evidence.

        Raises:
            ImageNotFound: If the evidence does not cover the image.
        """
        request = build(
            pb.GetVerdictRequest, name=verdict_name(name_of(analysis), file_name), view=verdict_view(with_evidence)
        )
        return self._call(self._analyses.GetVerdict, request)

    def explain(self, analysis: AnalysisRef, file_name: str, predicted: ClassRef | None = None) -> pb.Verdict:
        """Return the verdict on a prediction for an image, with its evidence and the outcome of each rule.

        Args:
            analysis: The analysis; its data set and evidence are used.
            file_name: The image.
            predicted: The predicted class: an index, an ID, or a unique name. Default: the model's prediction.

        Raises:
            ImageNotFound: If the evidence does not cover the image.
        """
        request = build(
            pb.ExplainVerdictRequest,
            name=verdict_name(name_of(analysis), file_name),
            predicted_class=class_text(predicted),
        )
        return self._call(self._analyses.ExplainVerdict, request)

    def explain_prediction(self, dataset: str, file_name: str, predicted: ClassRef, evidence: str = "") -> pb.Verdict:
        """Return the verdict on a prediction for an image. No analysis is needed.

        Args:
            dataset: The data set.
            file_name: The image.
            predicted: The predicted class: an index, an ID, or a unique name.
            evidence: Name or digest prefix of the evidence bundle. Default: the data set's default bundle.

        Raises:
            ImageNotFound: If the evidence does not cover the image.
        """
        request = build(
            pb.ExplainPredictionRequest,
            name=evidence_name(dataset, evidence),
            file_name=file_name,
            predicted_class=class_text(predicted),
        )
        return self._call(self._analyses.ExplainPrediction, request)

    def datasets(self) -> builtins.list[pb.Dataset]:
        """Return the data sets."""
        return self._all(self._catalog.ListDatasets, pb.ListDatasetsRequest(), "datasets")

    def dataset(self, dataset: str) -> pb.Dataset:
        """Return the description of a data set.

        Raises:
            DatasetNotFound: If there is no such data set.
        """
        return self._call(self._catalog.GetDataset, build(pb.GetDatasetRequest, name=dataset_name(dataset)))

    def evidence(self, dataset: str, evidence: str = "") -> pb.Evidence:
        """Return the description of an evidence bundle.

        Args:
            dataset: The data set.
            evidence: Name or digest prefix of the bundle. Default: the data set's default bundle.
        """
        request = build(pb.GetEvidenceRequest, name=evidence_name(dataset, evidence))
        return self._call(self._catalog.GetEvidence, request)

    def evidence_bundles(self, dataset: str) -> builtins.list[pb.Evidence]:
        """Return the evidence bundles of a data set, the default first."""
        request = build(pb.ListEvidenceRequest, parent=dataset_name(dataset))
        return self._all(self._catalog.ListEvidence, request, "evidence")

    def find_class(self, dataset: str, text: ClassRef, evidence: str = "") -> pb.Class:
        """Return a class.

        Args:
            dataset: The data set.
            text: ID of the class, a name that only one class has, or the index.
            evidence: Name or digest prefix of the evidence bundle. Default: the data set's default bundle.

        Raises:
            InvalidRequest: If no class, or more than one, matches.
        """
        request = build(pb.GetClassRequest, name=class_name(evidence_name(dataset, evidence), text))
        return self._call(self._catalog.GetClass, request)

    def classes(self, dataset: str, evidence: str = "") -> builtins.list[pb.Class]:
        """Return the classes of a data set, in the order of their indices.

        Args:
            dataset: The data set.
            evidence: Name or digest prefix of the evidence bundle. Default: the data set's default bundle.
        """
        request = build(pb.ListClassesRequest, parent=evidence_name(dataset, evidence))
        return self._all(self._catalog.ListClasses, request, "classes")

    def models(self) -> builtins.list[pb.Model]:
        """Return the models that the workers offer."""
        return self._all(self._catalog.ListModels, pb.ListModelsRequest(), "models")

    def error_types(self) -> builtins.list[pb.ErrorTypeInfo]:
        """Return the error types with their descriptions and severities, in the order of the rules."""
        return self._all(self._catalog.ListErrorTypes, pb.ListErrorTypesRequest(), "error_types")

    def _cancel(self, analysis: AnalysisRef, deadline: float = -1.0) -> pb.Analysis:
        """Cancel an analysis; see `_call` for the deadline."""
        request = build(pb.CancelAnalysisRequest, name=name_of(analysis))
        return self._call(self._analyses.CancelAnalysis, request, deadline)

    def _list_verdicts(self, request: pb.ListVerdictsRequest) -> pb.ListVerdictsResponse:
        return self._call(self._analyses.ListVerdicts, request)

    def _export(self, request: pb.ExportVerdictsRequest) -> Iterator[bytes]:
        for chunk in self._stream(self._analyses.ExportVerdicts, request):
            yield chunk.chunk

    def _report(self, request: pb.RenderReportRequest) -> bytes:
        chunks: builtins.list[bytes] = []
        for chunk in self._stream(self._analyses.RenderReport, request):
            chunks.append(chunk.chunk)
        return b"".join(chunks)


def _may_be_queued(error: BaseException) -> bool:
    """Return whether the service may have queued the analysis of a call that ended with an error."""
    if isinstance(error, Exception):
        return isinstance(error, errors.Unavailable) and not isinstance(error, ConnectionFailed)
    return True  # Ctrl-C, or a cancellation of asyncio
