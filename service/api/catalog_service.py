"""CatalogService: what can be judged here."""

from typing import Any

import grpc
from errata.errors import EvidenceDamaged, Unavailable
from errata.messages import ERROR_TYPE_DESCRIPTIONS, ERROR_TYPE_TITLES
from errata.v1 import errata_pb2 as pb
from errata.v1 import errata_pb2_grpc

from service import wire
from service.analyses.ports import Ports
from service.api.executors import Executors
from service.domain import ERROR_TYPES, SEVERITY

Context = grpc.aio.ServicerContext[Any, Any]


class CatalogService(errata_pb2_grpc.CatalogServiceServicer):
    """Serves the catalog."""

    def __init__(self, ports: Ports, readers: Executors) -> None:
        self._ports = ports
        self._readers = readers

    async def ListDatasets(self, request: pb.ListDatasetsRequest, context: Context) -> pb.ListDatasetsResponse:
        """Return the data sets with their bundles."""
        return await self._readers.call(self._datasets)

    async def GetEvidence(self, request: pb.GetEvidenceRequest, context: Context) -> pb.Evidence:
        """Return one bundle's description."""
        bundle = await self._readers.call(self._ports.evidence_repository.find, request.dataset, request.evidence)
        return wire.to_evidence(bundle.manifest)

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Return what workers offer."""
        offers = sorted(await self._readers.call(self._ports.models), key=lambda offer: offer.model)
        return pb.ListModelsResponse(
            models=[pb.Model(model=offer.model, description=offer.description) for offer in offers]
        )

    async def ListErrorTypes(self, request: pb.ListErrorTypesRequest, context: Context) -> pb.ListErrorTypesResponse:
        """Return the error types."""
        return pb.ListErrorTypesResponse(
            error_types=[
                pb.ErrorTypeInfo(
                    error_type=pb.ErrorType.Name(error_type_),
                    title=ERROR_TYPE_TITLES[error_type_],
                    description=ERROR_TYPE_DESCRIPTIONS[error_type_],
                    severity=pb.Severity.Name(SEVERITY[error_type_]),
                )
                for error_type_ in ERROR_TYPES
            ]
        )

    def _datasets(self) -> pb.ListDatasetsResponse:
        result = []
        for name in self._ports.evidence_repository.datasets():
            try:
                bundles = self._ports.evidence_repository.bundles(name)
            except (EvidenceDamaged, Unavailable):
                continue  # the log has it; the other data sets are there all the same
            result.append(
                pb.Dataset(
                    name=name,
                    num_images=bundles[0].manifest.counts["images"],
                    num_judged=bundles[0].manifest.counts["judged"],
                    has_images=self._ports.has_images(name),
                    evidence=[wire.to_evidence(bundle.manifest) for bundle in bundles],
                )
            )
        return pb.ListDatasetsResponse(datasets=result)
