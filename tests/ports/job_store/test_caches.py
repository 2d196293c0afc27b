"""Cached predictions and results."""

import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
from job_store_calls import shard_result, spec
from redis_job_store import RedisJobStore
from redis_server import RedisServer

from service.domain import ModelInfo
from service.jobs.store import JobStore
from service.key_value.redis_backend import connect


def test_damaged_cached_predictions_are_ignored(server: RedisServer) -> None:
    store = RedisJobStore(connect(server.url, 2.0))
    store.store_shard_result("k", shard_result(4))
    assert store.cached_shard_result("k") is not None
    whole = server.client().get("errata:predictions:k")
    objects = io.BytesIO()
    np.savez(objects, top1=np.array([Path()], dtype=object), allow_pickle=True)
    arrays = {
        "floats": {"top1": np.zeros(4)},
        "a class that isn't": {"top1": np.full(4, 32_767, dtype=np.int16)},
        "two axes": {"top1": np.zeros((4, 1), dtype=np.int16)},
        "chances that are text": {"top1": np.zeros(4, dtype=np.int16), "probability": np.full(4, "x")},
    }
    bad = [b"", b"junk", pickle.dumps({}), whole[:-30], objects.getvalue()]
    for values in arrays.values():
        file = io.BytesIO()
        np.savez(file, info=np.frombuffer(b"{}", dtype=np.uint8), **values)
        bad.append(file.getvalue())
    packed = io.BytesIO()
    np.savez_compressed(packed, top1=np.zeros(1 << 20, dtype=np.int16))

    for content in (*bad, packed.getvalue()):
        server.client().set("errata:predictions:k", content)
        assert store.cached_shard_result("k") is None


def test_shard_results_are_cached_by_key(store: JobStore) -> None:
    info = ModelInfo("demo:m", "net", "0" * 64, "t")
    key = spec().shard_result_key(info, "d" * 64)
    assert store.cached_shard_result(key) is None

    store.store_shard_result(key, shard_result(4, first=4))

    cached = store.cached_shard_result(key)
    assert cached is not None
    assert cached.predictions.top1.tolist() == [4, 5, 6, 7]
    assert cached.model_info == info


def test_different_weights_transforms_or_images_have_different_keys() -> None:
    info, images = ModelInfo("demo:m", "net", "0" * 64, "t"), "d" * 64
    keys = [
        spec().shard_result_key(info, images),
        spec().shard_result_key(info, "e" * 64),
        spec().shard_result_key(replace(info, weights_sha256="1" * 64), images),
        spec().shard_result_key(replace(info, transform="u"), images),
        spec().shard_result_key(replace(info, settings_sha256="2" * 64), images),
    ]

    assert len(set(keys)) == len(keys)
    assert replace(spec(), model="demo:same_weights_by_another_name").shard_result_key(info, images) == keys[0]


def test_the_analysis_of_a_result_is_cached(store: JobStore) -> None:
    assert store.cached_result("k" * 64) is None

    store.store_result("k" * 64, "a1")
    store.store_result("k" * 64, "a2")

    assert store.cached_result("k" * 64) == "a2"
    assert store.cached_result("l" * 64) is None
