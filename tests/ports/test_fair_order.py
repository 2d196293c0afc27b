"""The order in which workers take shards, on both stores: owners take turns, and each shard is taken once."""

import random
from collections import Counter, deque
from collections.abc import Sequence

import numpy as np
import pytest
from manual_clock import Clock

from service.domain import AnalysisRequest, Failure, ModelInfo, Predictions
from service.jobs.fair_order import QueuedShard, order_shards
from service.jobs.store import JobStore
from service.jobs.transitions import AnalysisRecord, ClaimOutcome, JobSpec, ShardResult

LEASE_SECONDS = 20.0
INFO = ModelInfo("demo:m", "net", "0" * 64, "none")


class Queue:
    """The messages of the engine, and one worker that finishes each shard at once."""

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.messages: deque[tuple[str, int]] = deque()
        self.owners: dict[str, str] = {}
        self.taken: list[tuple[str, int]] = []

    def submit(self, id: str, owner: str, shards: int, model: str = "demo:m") -> str:
        self.clock.now += 1
        spec = JobSpec(model, "demo", id.ljust(64, "0"), "i" * 64, shards, 1, fresh=True)
        record = AnalysisRecord(id, AnalysisRequest("demo", model), "d", spec.evidence, self.clock.now, owner=owner)
        job = self.store.submit(record, spec, limit=1000).job
        self.messages.extend((job, index) for index in range(shards))
        self.owners[job] = owner
        return job

    def deliver(self, models: Sequence[str] = ("demo:m",)) -> None:
        """Deliver the oldest message, and finish the shard that the worker takes."""
        self.clock.now += 1
        message = self.messages.popleft()
        job, shard = self.store.next_shard(*message, lambda spec: spec.model in models) or message
        claim = self.store.claim_shard(job, shard, "w", LEASE_SECONDS)
        if claim.kind is ClaimOutcome.CLAIMED:
            result = ShardResult(Predictions(np.zeros(1, dtype=np.int16)), INFO)
            self.store.finish_shard(job, shard, claim.fencing_token, result)
            self.taken.append((job, shard))

    def turns(self) -> str:
        """Return the owners of the shards in the order in which they were taken."""
        return "".join(self.owners[job] for job, _ in self.taken)


@pytest.fixture
def queue(store: JobStore, clock: Clock) -> Queue:
    return Queue(store, clock)


def test_the_owner_of_few_shards_does_not_wait_for_those_of_another(queue: Queue) -> None:
    for number in range(10):
        queue.submit(f"a{number}", "A", 2)
    queue.submit("b", "B", 2)

    while queue.messages:
        queue.deliver()

    assert queue.turns() == "ABAB" + 18 * "A"


def test_three_owners_take_turns_from_the_moment_they_have_work(queue: Queue) -> None:
    queue.submit("a", "A", 6)
    queue.deliver()
    queue.deliver()
    queue.submit("b", "B", 3)
    queue.submit("c", "C", 2)

    while queue.messages:
        queue.deliver()

    assert queue.turns() == "AA" + "BCA" + "BCA" + "BA" + "A"


def test_the_oldest_job_of_an_owner_comes_first(queue: Queue) -> None:
    jobs = [queue.submit(f"a{number}", "A", 3) for number in range(2)]
    queue.submit("b", "B", 3)

    while queue.messages:
        queue.deliver()

    assert [job for job, _ in queue.taken if queue.owners[job] == "A"] == 3 * jobs[:1] + 3 * jobs[1:]


def test_shards_without_owners_are_taken_in_the_order_of_their_messages(queue: Queue) -> None:
    jobs = [queue.submit(f"x{number}", "", 12) for number in range(2)]

    while queue.messages:
        queue.deliver()

    assert queue.taken == [(job, shard) for job in jobs for shard in range(12)]


def test_a_worker_takes_only_shards_that_it_can_run(queue: Queue) -> None:
    queue.submit("a", "A", 2, model="demo:other")
    queue.submit("b", "B", 1)

    assert queue.store.next_shard(*queue.messages[0], lambda spec: spec.model == "demo:m") == queue.messages[2]
    assert queue.store.next_shard(*queue.messages[0], lambda _: False) is None


def test_running_and_delayed_shards_are_not_taken(queue: Queue, clock: Clock) -> None:
    job = queue.submit("a", "A", 3)
    queue.store.claim_shard(job, 0, "w", LEASE_SECONDS)

    assert queue.store.next_shard(job, 0, lambda _: True) == (job, 1)

    claim = queue.store.claim_shard(job, 1, "w", LEASE_SECONDS)
    failure = queue.store.retry_shard(job, 1, claim.fencing_token, Failure("OOPS", "it broke"))
    assert failure == 5.0
    assert queue.store.next_shard(job, 0, lambda _: True) == (job, 2)

    queue.store.claim_shard(job, 2, "w", LEASE_SECONDS)
    assert queue.store.next_shard(job, 2, lambda _: True) is None
    clock.now += 5
    assert queue.store.next_shard(job, 2, lambda _: True) == (job, 1)


def test_the_message_of_a_shard_that_crashed_its_worker_runs_this_shard(queue: Queue, clock: Clock) -> None:
    job = queue.submit("a", "A", 2)
    queue.store.claim_shard(job, 1, "w", LEASE_SECONDS)

    clock.now += LEASE_SECONDS + 1

    assert queue.store.next_shard(job, 1, lambda _: True) is None
    assert queue.store.next_shard(job, 0, lambda _: True) == (job, 0)  # and no other message


def test_a_turn_that_is_a_day_old_is_forgotten(queue: Queue, clock: Clock) -> None:
    queue.submit("a", "A", 1)
    queue.submit("b", "B", 2)
    queue.deliver()
    clock.now += 86_401
    queue.deliver()

    assert queue.store._backend.read([("ZRANGE", "errata:turns", 0, -1)]) == [[b"B"]]


@pytest.mark.parametrize("seed", range(5))
def test_every_shard_is_taken_once_for_any_load(queue: Queue, seed: int) -> None:
    choose = random.Random(seed)
    submitted: Counter[str] = Counter()
    for number in range(60):
        if choose.random() < 0.4:
            owner, shards = choose.choice("ABC"), choose.randrange(1, 5)
            queue.submit(f"j{number}", owner, shards)
            submitted[owner] += shards
        elif queue.messages:
            queue.deliver()
    while queue.messages:
        queue.deliver()

    assert len(set(queue.taken)) == len(queue.taken) == submitted.total()
    assert Counter(queue.turns()) == submitted


@pytest.mark.parametrize("seed", range(5))
def test_no_owner_with_work_takes_fewer_shards_than_another(seed: int) -> None:
    """The reference is an owner's share while all owners have work: their counts differ by one at most."""
    choose, turns = random.Random(seed), dict[str, float]()
    owners = {f"j{number}": choose.choice("ABCD") for number in range(40)}
    queued = [QueuedShard(float(number), job, 0) for number, job in enumerate(owners)]
    taken: Counter[str] = Counter()
    for time in range(40):
        shard = order_shards(queued, owners, turns, ("", 0))[0]
        queued.remove(shard)
        turns[owners[shard.job]] = float(time)
        taken[owners[shard.job]] += 1
        left = {owners[shard.job] for shard in queued}
        waiting = [taken[owner] for owner in left]
        assert not waiting or max(waiting) - min(waiting) <= 1
