"""The map of errors: its axes against an eigendecomposition, and its bounds."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from errata.errors import InvalidRequest
from mapped_bundle import mapped_predictions, write_mapped_bundle

from service.analyses import error_map
from service.analyses.error_map import ErrorMaps, compute_axes
from service.analyses.upload import upload
from service.domain import AnalysisRequest
from service.evidence.repository import EvidenceRepository

from .conftest import Backend

RANDOM = np.random.default_rng(3)


def test_the_axes_are_the_largest_eigenvectors_of_the_covariance() -> None:
    embeddings = RANDOM.standard_normal((50, 6)) * [1, 5, 1, 3, 1, 1] + 10
    values, vectors = np.linalg.eigh(np.cov(embeddings.T))

    axes = compute_axes(embeddings)

    for direction, expected in zip(axes.directions, (vectors[:, -1], vectors[:, -2]), strict=True):
        assert abs(direction @ expected) == pytest.approx(1)
        assert direction[np.abs(direction).argmax()] > 0
    assert axes.share == pytest.approx(values[-2:].sum() / values.sum())


@pytest.mark.parametrize("shape", [(1, 4), (2, 4), (5, 1)])
def test_few_images_or_dimensions_have_axes(shape: tuple[int, int]) -> None:
    axes = compute_axes(RANDOM.standard_normal(shape))

    assert axes.directions.shape == (2, shape[1])
    assert np.isfinite(axes.directions).all() and 0 <= axes.share <= 1 + 1e-9
    assert compute_axes(np.ones((3, 4))).share == 0


def test_evenly_spaced_indices_are_distinct_and_bounded() -> None:
    for size, limit in ((0, 3), (2, 3), (3, 3), (4, 3), (1000, 7)):
        indices = error_map._spread(size, limit)
        assert len({*indices.tolist()}) == min(size, limit)
        assert all(0 <= index < size for index in indices)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("mapped")
    return {"mapped": write_mapped_bundle(folder), "plain": folder / "plain"}


def upload_to(path: Path, folder: Path, wrong: Sequence[int]) -> tuple[Backend, str]:
    """Return a service with a bundle, and the ID of an analysis with some errors."""
    backend = Backend(EvidenceRepository({"mapped": [path]}, folder))
    return backend, upload(backend.ports, AnalysisRequest("mapped"), io.BytesIO(mapped_predictions(wrong))).id


def test_a_map_of_points_on_a_plane_keeps_their_distances(paths: Mapping[str, Path], tmp_path: Path) -> None:
    wrong = (1, 4, 8, 20)
    backend, analysis = upload_to(paths["mapped"], tmp_path, wrong)

    error_map = ErrorMaps(backend.ports.stores).compute(analysis)

    assert [row.file_name for row in error_map.rows] == [f"{number:03}.jpg" for number in wrong]
    assert error_map.total == 4 and error_map.share == pytest.approx(1)
    points = np.array([(number, number % 2) for number in wrong], dtype=float)
    expected, actual = (
        np.linalg.norm(positions[:, None] - positions[None], axis=2) for positions in (points, error_map.positions)
    )
    assert np.allclose(actual, expected, atol=1e-5)


def test_a_map_has_a_bounded_number_of_dots(
    paths: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, analysis = upload_to(paths["mapped"], tmp_path, range(2, 8))
    maps = ErrorMaps(backend.ports.stores)
    every = maps.compute(analysis)
    monkeypatch.setattr(error_map, "MAX_DOTS", 3)

    some = maps.compute(analysis)

    assert [row.file_name for row in some.rows] == ["002.jpg", "004.jpg", "006.jpg"]
    assert (every.total, some.total) == (6, 6)
    assert np.array_equal(some.positions, every.positions[::2])


def test_no_errors_make_an_empty_map(paths: Mapping[str, Path], tmp_path: Path) -> None:
    backend, analysis = upload_to(paths["mapped"], tmp_path, ())

    error_map = ErrorMaps(backend.ports.stores).compute(analysis)

    assert (len(error_map.rows), error_map.total, error_map.positions.shape) == (0, 0, (0, 2))


def test_evidence_without_embeddings_has_no_map(paths: Mapping[str, Path], tmp_path: Path) -> None:
    backend, analysis = upload_to(paths["plain"], tmp_path, (1,))

    with pytest.raises(InvalidRequest, match="no embeddings of images"):
        ErrorMaps(backend.ports.stores).compute(analysis)
