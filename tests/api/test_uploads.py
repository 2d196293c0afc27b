"""UploadPredictions: accepted and refused files."""

import gzip
import io
import threading
from collections.abc import Iterator

import grpc
import numpy as np
import pyarrow as pa
import pytest
from errata import Client, errors, pb
from errata.v1 import analysis_service_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pyarrow import parquet

from service.evidence.bundle import Bundle


def header(**fields: object) -> pb.UploadPredictionsRequest:
    return pb.UploadPredictionsRequest(header=pb.UploadHeader(analysis=pb.Analysis(**({"dataset": "demo"} | fields))))


def chunk(content: bytes) -> pb.UploadPredictionsRequest:
    return pb.UploadPredictionsRequest(chunk=content)


@pytest.fixture
def stub(running) -> Iterator[analysis_service_pb2_grpc.AnalysisServiceStub]:
    with grpc.insecure_channel(running.addresses.grpc) as channel:
        yield analysis_service_pb2_grpc.AnalysisServiceStub(channel)


def details(error: grpc.RpcError) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest]:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in rpc_status.from_call(error).details:
        detail.Unpack(info) if detail.Is(info.DESCRIPTOR) else None
        detail.Unpack(bad) if detail.Is(bad.DESCRIPTOR) else None
    return info, bad


def test_an_upload_returns_the_finished_analysis(client: Client, demo_csv: bytes, demo: Bundle) -> None:
    analysis = client.upload(io.BytesIO(demo_csv), "demo", display_name="mine", labels={"version": "3"})

    everything = analysis.summary.groups["all"]
    assert analysis.state == pb.Analysis.STATE_SUCCEEDED
    assert (everything.num_samples, everything.counts["correct"], everything.top1_errors) == (20, 18, 2)
    assert sum(everything.counts.values()) == 20
    assert everything.top1_accuracy == pytest.approx(0.9)
    assert (analysis.dataset, analysis.evidence) == ("datasets/demo", f"datasets/demo/evidence/{demo.digest}")
    assert (analysis.display_name, dict(analysis.labels)) == ("mine", {"version": "3"})


def test_chunks_of_any_size_give_the_same_analysis(stub, demo_csv: bytes) -> None:
    whole = stub.UploadPredictions(iter([header(), chunk(demo_csv)]))
    single_bytes = [chunk(demo_csv[place : place + 1]) for place in range(len(demo_csv))]

    split = stub.UploadPredictions(iter([header(), *single_bytes]))

    assert split.predictions_digest == whole.predictions_digest


def test_a_compressed_upload_gives_the_same_analysis(client: Client, demo_csv: bytes) -> None:
    plain = client.upload(io.BytesIO(demo_csv), "demo")

    packed = client.upload(io.BytesIO(gzip.compress(demo_csv)), "demo")

    assert packed.predictions_digest == plain.predictions_digest


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "header"),
        ([chunk(b"file_name,top1\n")], "header"),
        ([header(), header()], "header"),
        ([pb.UploadPredictionsRequest()], "header"),
        ([header(), chunk(b"x" * ((2 << 20) + 1))], "chunk"),
    ],
    ids=["no message", "no header", "two headers", "an empty message", "a chunk over the limit"],
)
def test_a_stream_that_breaks_the_protocol_is_rejected(stub, messages: list, field: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.UploadPredictions(iter(messages))

    info, bad = details(caught.value)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (info.domain, info.reason) == ("errata", "INVALID_REQUEST")
    assert bad.field_violations[0].field == field


def parquet_of(names: list[str], classes: list[str]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table({"file_name": names, "top1": classes}), file)
    return file.getvalue()


BAD_FILES = {
    "empty": (b"", "INVALID_UPLOAD", None),
    "header alone": (b"file_name,top1\n", "INVALID_UPLOAD", None),
    "no header": (b"name of an image,243 or so\n", "INVALID_UPLOAD", 1),
    "bars": (b"file_name|top1\nimagenet_00_243.jpg|243\n", "INVALID_UPLOAD", 1),
    "class 1000": (b"file_name,top1\nimagenet_00_243.jpg,1000\n", "INVALID_ROW", 2),
    "class -1": (b"file_name,top1\nimagenet_00_243.jpg,-1\n", "INVALID_ROW", 2),
    "NaN": (b"file_name,top1\nimagenet_00_243.jpg,NaN\n", "INVALID_ROW", 2),
    "a fraction": (b"file_name,top1\nimagenet_00_243.jpg,3.0\n", "INVALID_ROW", 2),
    "an unknown image": (b"file_name,top1\nimagenet_00_243.jpg,1\nother.jpg,2\n", "INVALID_ROW", 3),
    "an image twice": (b"file_name,top1\nimagenet_00_243.jpg,1\nimagenet_00_243.jpg,1\n", "INVALID_ROW", 3),
    "gzip cut short": (gzip.compress(b"file_name,top1\nimagenet_00_243.jpg,1\n" * 50)[:-9], "TRUNCATED_UPLOAD", None),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_an_invalid_file_is_rejected_with_the_reason_and_line(stub, client: Client, case: str, demo_csv: bytes) -> None:
    content, reason, line = BAD_FILES[case]

    with pytest.raises(grpc.RpcError) as caught:
        stub.UploadPredictions(iter([header(), chunk(content)]))

    info, bad = details(caught.value)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info.reason == reason
    if line is not None:
        assert f"[line {line}]" in bad.field_violations[0].field
        assert info.metadata["lines"].split(",")[0] == str(line)
    assert client.upload(io.BytesIO(demo_csv), "demo").state == pb.Analysis.STATE_SUCCEEDED  # the server still works


@pytest.mark.parametrize(
    ("content", "places"),
    [
        (b"file_name,top1\nimagenet_00_243.jpg,x\nimagenet_00_243.jpg,y\n", ["line 2", "line 3"]),
        (b'{"imagenet_00_243.jpg": "x", "imagenet_01_559.jpg": "y"}', ["entry 1", "entry 2"]),
        (parquet_of(["imagenet_00_243.jpg", "imagenet_01_559.jpg"], ["x", "y"]), ["row 1", "row 2"]),
    ],
    ids=["CSV", "JSON", "Parquet"],
)
def test_an_invalid_file_is_rejected_with_places_in_the_unit_of_its_format(
    client: Client, content: bytes, places: list[str]
) -> None:
    with pytest.raises(errors.InvalidRow) as caught:
        client.upload(io.BytesIO(content), "demo")

    assert [violation.place for violation in caught.value.violations] == places


def test_a_pickle_is_rejected_without_being_loaded(client: Client, tmp_path) -> None:
    target = tmp_path / "it-ran"

    class Payload:
        def __reduce__(self) -> tuple:
            return (open, (str(target), "w"))

    content = io.BytesIO()
    np.save(content, np.array([Payload()], dtype=object), allow_pickle=True)

    with pytest.raises(errors.UnsupportedFormat):
        client.upload(io.BytesIO(content.getvalue()), "demo")

    assert not target.exists()


def test_an_upload_over_the_limit_is_rejected(start) -> None:
    with start(max_upload_bytes=4096) as service, pytest.raises(errors.TooLarge):
        service.client.upload(io.BytesIO(b"file_name,top1\n" + b"imagenet_00_243.jpg,1\n" * 1000), "demo")


def test_a_gzip_bomb_is_rejected(client: Client) -> None:
    bomb = gzip.compress(b"file_name,top1\n" + b"imagenet_00_243.jpg,243\n" * 3_000_000)

    with pytest.raises(errors.TooLarge):
        client.upload(io.BytesIO(bomb), "demo")


def test_an_interrupted_upload_leaves_no_analysis(start, demo_csv: bytes) -> None:
    with start() as service, grpc.insecure_channel(service.addresses.grpc) as channel:
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        hold = threading.Event()

        def send_half() -> Iterator[pb.UploadPredictionsRequest]:
            yield header()
            yield chunk(demo_csv[:200])
            hold.wait(10)

        call = stub.UploadPredictions.future(send_half())
        call.add_done_callback(lambda _: hold.set())
        call.cancel()

        assert list(service.client.list()) == []
        assert service.client.upload(io.BytesIO(demo_csv), "demo").state == pb.Analysis.STATE_SUCCEEDED


def test_a_request_id_makes_an_upload_idempotent(client: Client, demo_csv: bytes) -> None:
    first = client.upload(io.BytesIO(demo_csv), "demo", request_id="upload-1")

    again = client.upload(io.BytesIO(demo_csv), "demo", request_id="upload-1")

    assert again == first


def test_a_request_id_with_another_body_is_rejected(client: Client, demo_csv: bytes) -> None:
    client.upload(io.BytesIO(demo_csv), "demo", request_id="upload-2")

    with pytest.raises(errors.AlreadyExists):
        client.upload(io.BytesIO(demo_csv.replace(b",0\n", b",1\n")), "demo", request_id="upload-2")
    with pytest.raises(errors.AlreadyExists):
        client.upload(io.BytesIO(demo_csv), "demo", request_id="upload-2", display_name="another")


def test_a_request_id_survives_a_restart(start, demo_csv: bytes) -> None:
    with start() as service:
        first = service.client.upload(io.BytesIO(demo_csv), "demo", request_id="r")

    with start() as service:
        assert service.client.upload(io.BytesIO(demo_csv), "demo", request_id="r").name == first.name
        with pytest.raises(errors.AlreadyExists):
            service.client.upload(io.BytesIO(demo_csv), "demo", request_id="r", display_name="another")


def test_uploads_above_the_limit_are_rejected_with_a_retry_delay(start, demo_csv: bytes) -> None:
    with start(max_uploads=1) as service, grpc.insecure_channel(service.addresses.grpc) as channel:
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        begun, hold = threading.Event(), threading.Event()

        def send_slowly() -> Iterator[pb.UploadPredictionsRequest]:
            yield header()
            yield chunk(demo_csv[:100])
            begun.set()
            hold.wait(10)
            yield chunk(demo_csv[100:])

        call = stub.UploadPredictions.future(send_slowly())
        assert begun.wait(10)
        refused = None
        for _ in range(100):  # until the server has received the first header
            try:
                service.client.upload(io.BytesIO(demo_csv), "demo")
            except errors.TooBusy as error:
                refused = error
                break
        hold.set()

        assert refused is not None
        assert refused.retry_after == 2.0
        assert call.result().state == pb.Analysis.STATE_SUCCEEDED


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"dataset": ""}, errors.InvalidRequest),
        ({"dataset": "../../etc"}, errors.DatasetNotFound),
        ({"dataset": "demo", "evidence": "ffff"}, errors.EvidenceNotFound),
        ({"dataset": "demo", "request_id": "x" * 300}, errors.InvalidRequest),
        ({"dataset": "demo", "labels": {str(i): "" for i in range(65)}}, errors.InvalidRequest),
    ],
)
def test_an_invalid_header_is_rejected(client: Client, fields: dict, error: type, demo_csv: bytes) -> None:
    with pytest.raises(error):
        client.upload(io.BytesIO(demo_csv), **fields)


def test_the_real_resnet50_is_judged_on_all_images_with_real_labels(
    client: Client, reference, imagenet_real: Bundle
) -> None:
    analysis = client.upload(reference / "predictions" / "imagenet_val_resnet50_cv.csv", "imagenet-real")

    everything = analysis.summary.groups["all"]
    assert everything.num_samples == len(imagenet_real.rows)
    assert sum(everything.counts.values()) == everything.num_samples
    assert analysis.summary.num_rejected_targets == 4_673  # spec/label-space
    assert everything.accuracy_against_labels == pytest.approx(36_352 / 46_837)
    assert everything.counts["correct"] + everything.top1_errors < everything.num_samples
    assert analysis.summary.num_predicted == 50_000
    assert analysis.summary.top1_accuracy_all_images == pytest.approx(0.727, abs=5e-4)  # the source reports 72.7 %
