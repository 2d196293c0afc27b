"""The server: catalog, health, reflection, metrics, readiness, unknown methods, and addresses."""

import io
import json
import urllib.request

import grpc
import pytest
from errata import Client, error_of, errors, pb
from errata.errors import InvalidRequest
from errata.v1 import catalog_service_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from running_service import Running, Start

from service.authorization import ALLOW_ALL
from service.bootstrap.security import Security, is_loopback
from service.domain import ERROR_TYPES


def fetch(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_catalog_lists_datasets_with_their_evidence(client: Client) -> None:
    result = {dataset.name: dataset for dataset in client.datasets()}

    assert {"datasets/demo", "datasets/imagenet-real"} <= result.keys()
    assert (result["datasets/demo"].num_images, result["datasets/demo"].has_images) == (20, True)
    assert (result["datasets/imagenet-real"].num_images, result["datasets/imagenet-real"].has_images) == (50_000, False)
    assert {result[f"datasets/{name}"].label_space for name in ("demo", "imagenet-real")} == {"imagenet-1k"}
    for name in ("demo", "datasets/demo"):
        assert client.dataset(name) == result["datasets/demo"]
        assert client.evidence_bundles(name)[0] == client.evidence(name)
    assert result["datasets/demo"].default_evidence == client.evidence("demo").name


def test_the_lists_of_the_catalog_have_pages(client: Client) -> None:
    collected, token = [], ""
    while True:
        request = pb.ListErrorTypesRequest(page_size=3, page_token=token)
        page = client._call(client._catalog.ListErrorTypes, request)
        assert len(page.error_types) <= 3
        collected += page.error_types
        token = page.next_page_token
        if not token:
            break
    assert collected == client.error_types()
    for method, request in (
        (client._catalog.ListDatasets, pb.ListDatasetsRequest(page_size=1)),
        (client._catalog.ListEvidence, pb.ListEvidenceRequest(parent="datasets/demo", page_token="x")),
        (client._catalog.ListModels, pb.ListModelsRequest(page_size=-1)),
    ):
        if request.page_size == 1:
            page = client._call(method, request)
            assert [dataset.name for dataset in page.datasets] == [client.datasets()[0].name]
            assert page.next_page_token
        else:
            with pytest.raises(InvalidRequest):
                client._call(method, request)


@pytest.mark.parametrize("name", ["timm:*", "models/timm:*"])
def test_a_model_is_found_by_its_name_and_its_id(client: Client, name: str) -> None:
    offered = client.models()[0]

    assert client._call(client._catalog.GetModel, pb.GetModelRequest(name=offered.model_id)) == offered
    assert client._call(client._catalog.GetModel, pb.GetModelRequest(name=offered.name)) == offered
    with pytest.raises(errors.ModelNotFound):
        client._call(client._catalog.GetModel, pb.GetModelRequest(name=f"{name}x"))


def test_an_unknown_data_set_is_not_found(client: Client) -> None:
    for call in (client.dataset, client.evidence, client.evidence_bundles):
        with pytest.raises(errors.DatasetNotFound):
            call("datasets/none-such")


def test_evidence_has_its_sources_and_the_abstaining_rules(client: Client) -> None:
    evidence = client.evidence("imagenet-real")

    assert list(evidence.abstained) == ["fine_grained_oov", "non_prototypical"]
    assert all(source.origin and source.license for source in evidence.sources)
    assert client.evidence("imagenet-real", evidence.digest[:8]) == evidence


def test_evidence_without_a_data_set_is_an_invalid_request(running) -> None:
    with grpc.insecure_channel(running.addresses.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        catalog_service_pb2_grpc.CatalogServiceStub(channel).GetEvidence(pb.GetEvidenceRequest())

    error = error_of(refused.value, "")
    assert type(error) is InvalidRequest
    assert [violation.field for violation in error.violations] == ["name"]


def test_the_catalog_lists_models_and_error_types(client: Client) -> None:
    types = client.error_types()

    assert "demo:efficientnet_lite0" in [model.model_id for model in client.models()]
    assert [info.error_type for info in types] == [error_type.key for error_type in ERROR_TYPES]
    assert [info.severity for info in types] == [int(error_type.severity) for error_type in ERROR_TYPES]
    assert all(info.title and info.description for info in types)


@pytest.mark.parametrize("service", ["", "errata.v1.AnalysisService", "errata.v1.CatalogService"])
def test_health_is_reported_per_service(running, service: str) -> None:
    with grpc.insecure_channel(running.addresses.grpc) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(running) -> None:
    with grpc.insecure_channel(running.addresses.grpc) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names = {service.name for service in next(answers).list_services_response.service}

    assert {"errata.v1.AnalysisService", "errata.v1.CatalogService", "grpc.health.v1.Health"} <= names


def test_a_malformed_reflection_message_is_no_fault_of_the_service(running) -> None:
    with grpc.insecure_channel(running.addresses.grpc) as channel:
        call = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError) as refused:
            next(call(iter([b"\xff\xff"])))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "can't be parsed" in refused.value.details()


def test_the_http_server_reports_liveness_readiness_and_metrics(running, demo_csv: bytes) -> None:
    running.client.upload(io.BytesIO(demo_csv), "demo")
    with pytest.raises(errors.AnalysisNotFound):
        running.client.get("none")

    status, metrics = fetch(running.addresses.http, "/metrics")

    assert fetch(running.addresses.http, "/livez") == (200, "alive\n")
    assert json.loads(fetch(running.addresses.http, "/readyz")[1]) == {"ready": True}
    assert status == 200
    assert 'errata_rpc_handled_total{code="OK",method="UploadPredictions"}' in metrics
    assert 'errata_rpc_handled_total{code="NOT_FOUND",method="GetAnalysis"}' in metrics
    assert 'errata_rpc_duration_seconds_bucket{le="0.1",method="GetAnalysis"}' in metrics
    assert 'errata_analyses_total{state="succeeded"}' in metrics
    assert fetch(running.addresses.http, "/nothing")[0] == 404


def test_an_unknown_method_is_unimplemented(running) -> None:
    with grpc.insecure_channel(running.addresses.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/errata.v1.AnalysisService/Nothing")(b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


HEADER = pb.UploadPredictionsRequest(header=pb.UploadHeader(analysis=pb.Analysis(dataset="datasets/demo")))


@pytest.mark.parametrize(
    ("method", "before"),
    [
        ("GetAnalysis", []),
        ("WatchAnalysis", []),
        ("UploadPredictions", []),
        ("UploadPredictions", [HEADER.SerializeToString()]),
    ],
)
def test_an_unparsable_message_is_rejected_without_side_effects(running, method: str, before: list[bytes]) -> None:
    garbage, path = b"\xff\xff\xff\xff", f"/errata.v1.AnalysisService/{method}"
    with grpc.insecure_channel(running.addresses.grpc) as channel:
        call = {
            "GetAnalysis": lambda: channel.unary_unary(path)(garbage, timeout=10),
            "WatchAnalysis": lambda: list(channel.unary_stream(path)(garbage, timeout=10)),
            "UploadPredictions": lambda: channel.stream_unary(path)(iter([*before, garbage]), timeout=10),
        }[method]
        with pytest.raises(grpc.RpcError) as refused:
            call()

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "can't be parsed" in refused.value.details()
    assert running.client.error_types()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::]"])
def test_an_address_in_use_is_rejected_without_a_line_of_grpc(
    running: Running, start: Start, capfd: pytest.CaptureFixture[str], host: str
) -> None:
    address = f"{host}:{running.addresses.grpc.rpartition(':')[2]}"

    with pytest.raises(errors.Unavailable, match="in use"), start(grpc_address=address, allow_insecure=True):
        pass

    assert "Failed to add port" not in capfd.readouterr().err


def test_an_invalid_address_is_rejected(start: Start) -> None:
    with pytest.raises(errors.Unavailable, match=r"a\.\.b:1"), start(grpc_address="a..b:1", allow_insecure=True):
        pass


def security(allow_insecure: bool) -> Security:
    return Security(ALLOW_ALL, lambda: None, allow_insecure)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_loopback_needs_no_tokens(host: str) -> None:
    assert is_loopback(host)
    security(allow_insecure=False).check({"ERRATA_GRPC_ADDRESS": host})


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "10.0.0.1", "errata.example"])
def test_a_public_address_without_tokens_is_rejected_unless_allowed(host: str) -> None:
    with pytest.raises(errors.InvalidSetting, match="ERRATA_ALLOW_INSECURE"):
        security(allow_insecure=False).check({"ERRATA_HTTP_ADDRESS": "127.0.0.1", "ERRATA_GRPC_ADDRESS": host})
    security(allow_insecure=True).check({"ERRATA_GRPC_ADDRESS": host})


def test_a_call_to_a_missing_service_raises_an_error() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(errors.Unavailable, match=r"No service at 127\.0\.0\.1:1"):
        client.get("x")
