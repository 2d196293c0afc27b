"""The classes of a job: its keys, its stored form, and what its worker passes to the predictor."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from errata.errors import DamagedRecord, NewerRecord, Unavailable

from service.domain import AnalysisRequest, LabelSpace, ModelInfo, Predictions, parse_class_lines
from service.domain.schema_version import check_schema
from service.jobs.memory import InMemoryJobStore
from service.jobs.records import (
    FIRST_SCHEMA,
    JOBS,
    SCHEMA,
    pack_names,
    read_head,
    spec_json,
    unpack_classes,
)
from service.jobs.transitions import AnalysisRecord, JobSpec, JobStatus
from service.jobs.worker import Drain, Worker

IMAGENET = JobSpec("timm:m", "demo", "e" * 64, "i" * 64, total=10, shard_size=4, runtime="timm 1.0")
OWN = JobSpec("timm:m", "demo", "e" * 64, "i" * 64, total=10, shard_size=4, runtime="timm 1.0", classes="c" * 64)
IMAGES = "d" * 64  # the digest of a shard's images
INFO = ModelInfo("timm:m", "net", "0" * 64, "none")
LINES = ['["a","apple"]', '["b","pear"]', '["c","plum"]']
FRUIT = parse_class_lines("fruit", LINES)


def test_the_keys_of_jobs_on_imagenet_stay_those_of_earlier_versions() -> None:
    """The values of the version before label spaces."""
    assert IMAGENET.computation == "a89f3a5e69adc1e56b010fd583ab399aa69517f2466853be0b5fd5e8eb12155e"
    assert IMAGENET.dedupe_key == "c660f1c93c31d841195c1bac40f426175c5e3e1b34cab4bbdbb3795b60c3afa9"


def test_predictions_for_other_classes_have_other_keys() -> None:
    assert OWN.computation != IMAGENET.computation
    assert OWN.shard_result_key(INFO, IMAGES) != IMAGENET.shard_result_key(INFO, IMAGES)


def test_versions_that_know_only_imagenet_refuse_jobs_with_other_classes() -> None:
    schema = json.loads(spec_json(OWN))["schema"]

    assert json.loads(spec_json(IMAGENET))["schema"] == FIRST_SCHEMA == 1
    assert schema == SCHEMA == 2
    with pytest.raises(NewerRecord):
        check_schema("the job", schema, newest=1)  # as those versions call it


@pytest.mark.parametrize("spec", [IMAGENET, OWN])
def test_a_stored_job_is_read_with_its_classes(spec: JobSpec) -> None:
    assert read_spec(spec_json(spec)) == spec


def test_jobs_of_earlier_versions_are_on_imagenet() -> None:
    document = json.loads(spec_json(IMAGENET))
    del document["classes"]

    assert read_spec(json.dumps(document)) == IMAGENET


def read_spec(text: str) -> JobSpec:
    status = JobStatus("j", num_shards=3, num_shards_left=3, dedupe_key="d", created=0.0)
    fields = [value.encode() for value in JOBS.format(status)[1::2]]
    head = read_head("j", [*fields, text.encode()])
    assert head is not None
    return head.spec


@pytest.mark.parametrize("lines", [[], LINES[:1], [*LINES, LINES[0]], [*LINES, "{}"]])
def test_damaged_classes_are_reported(lines: list[str]) -> None:
    with pytest.raises(DamagedRecord, match="the classes cccccccccccc"):
        unpack_classes("c" * 64, pack_names(lines))


class RecordingPredictor:
    """Predicts the last class, and records the label spaces."""

    def __init__(self) -> None:
        self.label_spaces: list[LabelSpace | None] = []

    def load(self, model: str, label_space: LabelSpace | None = None) -> ModelInfo:
        self.label_spaces.append(label_space)
        return INFO

    def images_digest(self, dataset: str, names: Sequence[str]) -> str:
        return IMAGES

    def predict(
        self, model: str, dataset: str, names: Sequence[str], label_space: LabelSpace | None = None
    ) -> Iterator[Predictions]:
        self.label_spaces.append(label_space)
        last = 999 if label_space is None else label_space.num_classes - 1
        yield Predictions(np.full(len(names), last, dtype=np.int16))


def submit(store: InMemoryJobStore, spec: JobSpec) -> str:
    store.store_inputs(spec, [f"{number}.jpg" for number in range(spec.total)], FRUIT)
    record = AnalysisRecord("a", AnalysisRequest(spec.dataset, spec.model), "d", spec.evidence, created=0.0)
    return store.submit(record, spec, limit=10).job


def run(store: InMemoryJobStore, job: str, predictor: RecordingPredictor) -> None:
    def nothing(*_: object) -> None:
        pass

    Worker("w", store, predictor, Drain(), nothing, nothing).run(job, 0)


def test_a_worker_predicts_the_classes_of_its_job() -> None:
    store, predictor = InMemoryJobStore(lambda: 0.0), RecordingPredictor()
    job = submit(store, OWN)

    run(store, job, predictor)

    (first, second) = predictor.label_spaces
    assert first is second
    assert first is not None
    assert first.ids == ("a", "b", "c")
    cached = store.cached_shard_result(OWN.shard_result_key(INFO, IMAGES))
    assert cached is not None
    assert cached.predictions.top1.tolist() == [2] * 4
    assert store.cached_shard_result(IMAGENET.shard_result_key(INFO, IMAGES)) is None


def test_a_job_on_imagenet_has_no_label_space() -> None:
    store, predictor = InMemoryJobStore(lambda: 0.0), RecordingPredictor()

    run(store, submit(store, IMAGENET), predictor)

    assert predictor.label_spaces == [None, None]


def test_missing_classes_and_image_names_are_no_reason_to_predict_others() -> None:
    store = InMemoryJobStore(lambda: 0.0)

    with pytest.raises(Unavailable, match="no classes with digest cccccccccccc"):
        store.label_space(OWN.classes)
    with pytest.raises(Unavailable, match=f"no image names with digest {OWN.images:.12}"):
        store.image_names(OWN.images)
