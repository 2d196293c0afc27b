"""CatalogService: data sets, evidence bundles, models, and error types."""

from typing import Any

import grpc
from errata.errors import EvidenceDamaged, InvalidRequest, Unavailable
from errata.v1 import errata_pb2 as pb
from errata.v1 import errata_pb2_grpc

from service import wire
from service.analyses.ports import Ports
from service.api.executors import BoundedExecutor
from service.domain import ERROR_TYPES

Context = grpc.aio.ServicerContext[Any, Any]


class CatalogService(errata_pb2_grpc.CatalogServiceServicer):
    """Implements the RPCs of CatalogService."""

    def __init__(self, ports: Ports, executor: BoundedExecutor) -> None:
        self._ports = ports
        self._executor = executor

    async def ListDatasets(self, request: pb.ListDatasetsRequest, context: Context) -> pb.ListDatasetsResponse:
        """Return the data sets with their evidence bundles."""
        return await self._executor.call(self._datasets)

    async def GetEvidence(self, request: pb.GetEvidenceRequest, context: Context) -> pb.Evidence:
        """Return the manifest of an evidence bundle."""
        if not request.dataset:
            raise InvalidRequest("No data set. Set `dataset`; ListDatasets returns the names.", field="dataset")
        bundle = await self._executor.call(self._ports.evidence.find, request.dataset, request.evidence)
        return wire.to_evidence(bundle.manifest)

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Return the models that live workers can load."""
        offers = sorted(await self._executor.call(self._ports.models), key=lambda offer: offer.model)
        return pb.ListModelsResponse(
            models=[pb.Model(model=offer.model, description=offer.description) for offer in offers]
        )

    async def ListErrorTypes(self, request: pb.ListErrorTypesRequest, context: Context) -> pb.ListErrorTypesResponse:
        """Return the error types in the order of the rules."""
        return pb.ListErrorTypesResponse(
            error_types=[
                pb.ErrorTypeInfo(
                    error_type=error_type.key,
                    title=error_type.title,
                    description=error_type.row.description,
                    severity=pb.Severity.Name(error_type.severity),
                )
                for error_type in ERROR_TYPES
            ]
        )

    def _datasets(self) -> pb.ListDatasetsResponse:
        datasets = []
        for name in self._ports.evidence.datasets():
            try:
                bundles = self._ports.evidence.bundles(name)
            except (EvidenceDamaged, Unavailable):
                continue  # the repository logs the error; the other data sets remain usable
            datasets.append(
                pb.Dataset(
                    name=name,
                    num_images=bundles[0].manifest.counts["images"],
                    num_judged=bundles[0].manifest.counts["judged"],
                    has_images=self._ports.has_images(name),
                    evidence=[wire.to_evidence(bundle.manifest) for bundle in bundles],
                )
            )
        return pb.ListDatasetsResponse(datasets=datasets)
