"""A store serves one archive."""

from job_store_calls import call_concurrently

from service.jobs.store import JobStore


def test_a_store_stays_bound_to_the_first_archive(store: JobStore) -> None:
    assert store.bind_archive("first") == "first"

    assert store.bind_archive("second") == "first"
    assert store.bind_archive("first") == "first"


def test_a_store_without_an_archive_is_not_bound_to_an_empty_id(store: JobStore) -> None:
    assert store.bind_archive("") == ""

    assert store.bind_archive("first") == "first"
    assert store.bind_archive("") == "first"


def test_one_of_many_concurrent_archives_is_bound(store: JobStore) -> None:
    answers = call_concurrently(16, lambda number: store.bind_archive(f"archive{number}"))

    assert len(set(answers)) == 1
