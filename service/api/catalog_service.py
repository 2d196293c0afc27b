"""CatalogService: data sets, evidence bundles, classes, models, and error types."""

from errata import v1 as pb
from errata.errors import EvidenceDamaged, ModelNotFound, Unavailable
from errata.names import evidence_name, model_id
from errata.v1 import catalog_service_pb2_grpc

from service import wire
from service.analyses.ports import Ports
from service.api.messages import Context
from service.bounded_executor import BoundedExecutor
from service.domain import ERROR_TYPES


class CatalogService(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Implements the RPCs of CatalogService."""

    def __init__(self, ports: Ports, executor: BoundedExecutor) -> None:
        self._ports = ports
        self._executor = executor

    async def GetDataset(self, request: pb.GetDatasetRequest, context: Context) -> pb.Dataset:
        """Return a data set."""
        dataset = wire.required_dataset(request.name)
        bundle = await self._executor.call(self._ports.stores.evidence.find, dataset, "")
        workers = await self._executor.call(self._ports.models.workers)
        return wire.to_dataset(bundle.manifest, workers.has_images(bundle.dataset))

    async def ListDatasets(self, request: pb.ListDatasetsRequest, context: Context) -> pb.ListDatasetsResponse:
        """Return a page of data sets."""
        page, next_token = wire.page_of(await self._executor.call(self._datasets), request)
        return pb.ListDatasetsResponse(datasets=page, next_page_token=next_token)

    async def GetEvidence(self, request: pb.GetEvidenceRequest, context: Context) -> pb.Evidence:
        """Return the manifest of an evidence bundle."""
        bundle = await self._executor.call(self._ports.stores.evidence.find, *wire.evidence_ids(request.name))
        return wire.to_evidence(bundle.manifest)

    async def ListEvidence(self, request: pb.ListEvidenceRequest, context: Context) -> pb.ListEvidenceResponse:
        """Return a page of the evidence bundles of a data set."""
        dataset = wire.required_dataset(request.parent, "parent")
        manifests = await self._executor.call(self._ports.stores.evidence.versions, dataset)
        page, next_token = wire.page_of(manifests, request)
        return pb.ListEvidenceResponse(evidence=map(wire.to_evidence, page), next_page_token=next_token)

    async def GetClass(self, request: pb.GetClassRequest, context: Context) -> pb.Class:
        """Return a class."""
        dataset, digest, text = wire.class_ids(request.name)
        bundle = await self._executor.call(self._ports.stores.evidence.find, dataset, digest)
        index = await self._executor.call(wire.class_named, text, "name", bundle.label_space)
        evidence = evidence_name(bundle.dataset, bundle.digest)
        return wire.to_classes(bundle.label_space, range(index, index + 1), evidence)[0]

    async def ListClasses(self, request: pb.ListClassesRequest, context: Context) -> pb.ListClassesResponse:
        """Return a page of the classes of an evidence bundle."""
        bundle = await self._executor.call(
            self._ports.stores.evidence.find, *wire.evidence_ids(request.parent, "parent")
        )
        page, next_token = wire.page_of(range(bundle.label_space.num_classes), request)
        evidence = evidence_name(bundle.dataset, bundle.digest)
        classes = await self._executor.call(wire.to_classes, bundle.label_space, page, evidence)
        return pb.ListClassesResponse(classes=classes, next_page_token=next_token)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        """Return a model, or a pattern of models, that live workers can load."""
        name = model_id(request.name)
        for offer in (await self._executor.call(self._ports.models.workers)).models:
            if offer.model == name:
                return wire.to_model(offer)
        raise ModelNotFound(f"No live worker offers {name!r:.120}. ListModels returns the models.", field="name")

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        """Return a page of the models that live workers can load."""
        workers = await self._executor.call(self._ports.models.workers)
        page, next_token = wire.page_of(sorted(workers.models, key=lambda offer: offer.model), request)
        return pb.ListModelsResponse(models=map(wire.to_model, page), next_page_token=next_token)

    async def ListErrorTypes(self, request: pb.ListErrorTypesRequest, context: Context) -> pb.ListErrorTypesResponse:
        """Return a page of the error types, in the order of the rules."""
        page, next_token = wire.page_of(ERROR_TYPES, request)
        return pb.ListErrorTypesResponse(error_types=map(wire.to_error_type, page), next_page_token=next_token)

    def _datasets(self) -> list[pb.Dataset]:
        datasets, workers = [], self._ports.models.workers()
        for name in self._ports.stores.evidence.datasets():
            try:
                default = self._ports.stores.evidence.find(name, "").manifest
            except (EvidenceDamaged, Unavailable):
                continue  # the repository logs the error; the other data sets remain usable
            datasets.append(wire.to_dataset(default, workers.has_images(default.dataset)))
        return datasets
