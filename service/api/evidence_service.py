"""EvidenceService: versions of evidence, and the analyses that are judged again on them."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar, TypeVarTuple, Unpack

from errata import v1 as pb
from errata.v1 import evidence_service_pb2_grpc

from service import wire
from service.analyses import evidence_versions
from service.analyses.audit import list_events
from service.analyses.ports import Ports
from service.analyses.reanalyze_all import reanalyze_all
from service.api.messages import Context
from service.api.upload_receiver import UploadReceiver
from service.api.upload_stream import UploadStream
from service.bounded_executor import BoundedExecutor
from service.caller import CALLER
from service.concurrency import ConcurrencyLimit
from service.evidence.bundle import Bundle

MAX_BUILDS = 2  # concurrent; a build takes seconds to minutes, and the threads also serve other calls
RETRY_SECONDS = 10.0

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class EvidenceService(evidence_service_pb2_grpc.EvidenceServiceServicer):
    """Implements the RPCs of EvidenceService. Uploads receive encoded messages."""

    def __init__(self, ports: Ports, executor: BoundedExecutor, receiver: UploadReceiver) -> None:
        self._ports = ports
        self._executor = executor
        self._receiver = receiver
        self._builds = ConcurrencyLimit(MAX_BUILDS, "changes of evidence", RETRY_SECONDS)

    async def BuildEvidence(self, request: pb.BuildEvidenceRequest, context: Context) -> pb.Evidence:
        """Build and publish evidence from reviews."""
        dataset = wire.required_dataset(request.parent, "parent")
        base = wire.evidence_of(dataset, request.base)
        build = evidence_versions.build_from_reviews
        bundle = await self._change(
            build, self._ports.stores, dataset, base, request.min_reviews or 1, CALLER.get().name
        )
        return wire.to_evidence(bundle.manifest)

    async def UploadLabels(self, request_iterator: AsyncIterator[bytes], context: Context) -> pb.Evidence:
        """Build and publish evidence from a file of labels."""
        bundle = await self._receiver.receive(request_iterator, pb.UploadLabelsRequest, self._start_labels)
        return wire.to_evidence(bundle.manifest)

    async def UploadEvidence(self, request_iterator: AsyncIterator[bytes], context: Context) -> pb.Evidence:
        """Verify and publish a bundle."""
        bundle = await self._receiver.receive(request_iterator, pb.UploadEvidenceRequest, self._start_bundle)
        return wire.to_evidence(bundle.manifest)

    async def PublishEvidence(self, request: pb.PublishEvidenceRequest, context: Context) -> pb.Evidence:
        """Publish a bundle for all processes."""
        dataset, digest = wire.evidence_ids(request.name)
        publish = evidence_versions.publish
        bundle = await self._change(publish, self._ports.stores, dataset, digest, CALLER.get().name)
        return wire.to_evidence(bundle.manifest)

    async def SetDefaultEvidence(self, request: pb.SetDefaultEvidenceRequest, context: Context) -> pb.Evidence:
        """Make a bundle the default of its data set."""
        dataset, digest = wire.evidence_ids(request.name)
        set_default = evidence_versions.set_default
        return wire.to_evidence(await self._change(set_default, self._ports.stores, dataset, digest, CALLER.get().name))

    async def ReanalyzeAnalyses(
        self, request: pb.ReanalyzeAnalysesRequest, context: Context
    ) -> AsyncIterator[pb.ReanalyzeAnalysesResponse]:
        """Judge all archived analyses of a data set again, and send the outcome for each."""
        dataset = wire.required_dataset(request.dataset, "dataset")
        evidence = wire.evidence_of(dataset, request.evidence)
        with self._builds.slot():
            outcomes = iter(reanalyze_all(self._ports, dataset, evidence, CALLER.get().name))
            while (progress := await self._executor.call_admitted(next, outcomes, None)) is not None:
                yield wire.to_progress(progress)

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest, context: Context) -> pb.ListAuditEventsResponse:
        """Return a page of the audit events, newest first."""
        find = partial(list_events, self._ports.stores, wire.audit_filter(request))

        def page() -> pb.ListAuditEventsResponse:
            events, next_token = wire.page_of_query(find, request)
            return pb.ListAuditEventsResponse(
                audit_events=[wire.to_audit_event(event) for event in events], next_page_token=next_token
            )

        return await self._executor.call(page)

    async def _change(self, function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Result:
        with self._builds.slot():
            return await self._executor.call(function, *arguments)

    def _start_labels(self, header: pb.UploadLabelsHeader) -> Callable[[UploadStream], Bundle]:
        dataset, caller = wire.required_dataset(header.parent, "parent"), CALLER.get().name
        base = wire.evidence_of(dataset, header.base)
        return lambda stream: evidence_versions.upload_labels(self._ports.stores, dataset, stream, caller, base)

    def _start_bundle(self, _: None) -> Callable[[UploadStream], Bundle]:
        return partial(evidence_versions.upload_bundle, self._ports.stores, caller=CALLER.get().name)
