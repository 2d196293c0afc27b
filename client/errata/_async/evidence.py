"""Methods of the client about versions of evidence. They require a token with the scope `admin`."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO, Unpack

from errata import v1 as pb
from errata._async.calls import AsyncCalls
from errata.names import dataset_name, evidence_name
from errata.requests import AuditConditions, audit_request, build


class AsyncEvidenceMethods(AsyncCalls):
    """Build, upload, and publish evidence, and reanalyze stored predictions with it."""

    _evidence: Any

    async def build_evidence(self, dataset: str, base: str = "", min_reviews: int = 1) -> pb.Evidence:
        """Build evidence from a bundle and the reviews of its data set, and publish it.

        Args:
            dataset: The data set.
            base: Name or digest prefix of the bundle. Default: the data set's default bundle.
            min_reviews: Minimum number of reviewers per class. If fewer reviewers voted on a class, their votes are
                ignored.

        Raises:
            InvalidEvidence: If no review changes the bundle.
        """
        request = build(pb.BuildEvidenceRequest, parent=dataset_name(dataset), base=base, min_reviews=min_reviews)
        return await self._call(self._evidence.BuildEvidence, request, deadline=None)

    async def upload_labels(self, labels: str | Path | BinaryIO, dataset: str, base: str = "") -> pb.Evidence:
        """Build evidence from a file of labels, and publish it.

        If a version already has these labels, it is returned.

        Args:
            labels: Path of the file, or its content as a binary stream: CSV, JSON, or JSON lines.
            dataset: The data set.
            base: Name or digest prefix of the bundle whose classes the labels use. Default: the data set's default
                bundle.

        Raises:
            InvalidInput: If the content cannot be read, or is not bytes.
            InvalidEvidence: If the file is invalid; `violations` has the lines.
        """
        header = build(pb.UploadLabelsHeader, parent=dataset_name(dataset), base=base)
        return await self._send_file(self._evidence.UploadLabels, pb.UploadLabelsRequest, header, labels)

    async def upload_evidence(self, bundle: str | Path | BinaryIO) -> pb.Evidence:
        """Verify and publish a bundle.

        Args:
            bundle: Path of an uncompressed tar of the bundle's files, or its content as a binary stream.

        Raises:
            InvalidInput: If the content cannot be read, or is not bytes.
            InvalidEvidence: If the file is not a valid bundle.
        """
        return await self._send_file(self._evidence.UploadEvidence, pb.UploadEvidenceRequest, None, bundle)

    async def publish_evidence(self, dataset: str, evidence: str) -> pb.Evidence:
        """Publish a bundle, so that all processes of the service have it.

        Args:
            dataset: The data set.
            evidence: Name or digest prefix of the bundle.
        """
        request = build(pb.PublishEvidenceRequest, name=evidence_name(dataset, evidence))
        return await self._call(self._evidence.PublishEvidence, request, deadline=None)

    async def set_default_evidence(self, dataset: str, evidence: str) -> pb.Evidence:
        """Make a bundle the default of its data set.

        Args:
            dataset: The data set.
            evidence: Name or digest prefix of the bundle.
        """
        request = build(pb.SetDefaultEvidenceRequest, name=evidence_name(dataset, evidence))
        return await self._call(self._evidence.SetDefaultEvidence, request, deadline=None)

    async def reanalyze_all(self, dataset: str, evidence: str = "") -> AsyncIterator[pb.ReanalyzeAnalysesResponse]:
        """Reanalyze all archived analyses of a data set with a bundle, and yield the outcome for each.

        Args:
            dataset: The data set.
            evidence: Name or digest prefix of the bundle. Default: the data set's default bundle.
        """
        request = build(pb.ReanalyzeAnalysesRequest, dataset=dataset_name(dataset), evidence=evidence)
        async for outcome in self._stream(self._evidence.ReanalyzeAnalyses, request):
            yield outcome

    async def audit_events(
        self, dataset: str = "", action: str | int = "", **conditions: Unpack[AuditConditions]
    ) -> AsyncIterator[pb.AuditEvent]:
        """Yield the audit events, newest first.

        Args:
            dataset: The data set. Default: all data sets.
            action: An action, such as `set-default`. Default: all actions.
            **conditions: Further conditions, see `AuditConditions`.
        """
        request = audit_request(dataset, action, conditions)
        async for event in self._each(self._evidence.ListAuditEvents, request, "audit_events"):
            yield event
