"""CatalogService: what can be judged here."""

from typing import Any

import grpc

from service import wire
from service.analyses.ports import Ports
from service.api.readers import Readers
from service.domain import ERROR_TYPES, SEVERITY
from service.errors import EvidenceDamaged, Unavailable
from service.pb import errata_pb2 as pb
from service.pb import errata_pb2_grpc
from service.report.words import ERROR_TYPE_WORDS

Context = grpc.aio.ServicerContext[Any, Any]


class CatalogService(errata_pb2_grpc.CatalogServiceServicer):
    """Serves the catalog."""

    def __init__(self, ports: Ports, readers: Readers) -> None:
        self._ports = ports
        self._readers = readers

    async def ListDatasets(self, request: pb.ListDatasetsRequest, context: Context) -> pb.ListDatasetsResponse:
        """Return the data sets with their bundles."""
        return await self._readers.call(self._datasets)

    async def GetEvidence(self, request: pb.GetEvidenceRequest, context: Context) -> pb.Evidence:
        """Return one bundle's description."""
        bundle = await self._readers.call(self._ports.shelf.find, request.dataset, request.evidence)
        return wire.to_evidence(bundle.manifest)

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Return what workers offer."""
        offers = sorted(await self._readers.call(self._ports.models), key=lambda offer: offer.model)
        return pb.ListModelsResponse(
            models=[pb.Model(model=each.model, description=each.description) for each in offers]
        )

    async def ListErrorTypes(self, request: pb.ListErrorTypesRequest, context: Context) -> pb.ListErrorTypesResponse:
        """Return the error types."""
        return pb.ListErrorTypesResponse(
            error_types=[
                pb.ErrorTypeInfo(
                    error_type=pb.ErrorType.Name(each),
                    title=ERROR_TYPE_WORDS[each].title,
                    description=ERROR_TYPE_WORDS[each].sentence,
                    severity=pb.Severity.Name(SEVERITY[each]),
                )
                for each in ERROR_TYPES
            ]
        )

    def _datasets(self) -> pb.ListDatasetsResponse:
        found = []
        for name in self._ports.shelf.datasets():
            try:
                bundles = self._ports.shelf.bundles(name)
            except (EvidenceDamaged, Unavailable):
                continue  # the log has it; the other data sets are there all the same
            found.append(
                pb.Dataset(
                    name=name,
                    num_images=bundles[0].manifest.counts["images"],
                    num_judged=bundles[0].manifest.counts["judged"],
                    has_images=self._ports.has_images(name),
                    evidence=[wire.to_evidence(bundle.manifest) for bundle in bundles],
                )
            )
        return pb.ListDatasetsResponse(datasets=found)
