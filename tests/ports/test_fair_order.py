"""The order in which workers take shards, on both stores: owners take turns, and each shard is taken once."""

import random
from collections import Counter, deque
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from manual_clock import Clock

from service.domain import AnalysisRequest, Failure, ModelInfo, Predictions
from service.jobs import transitions
from service.jobs.fair_order import order_shards
from service.jobs.store import JobStore
from service.jobs.transitions import AnalysisRecord, Claim, ClaimOutcome, Job, JobSpec, ShardResult
from service.key_value.commands import PREFIX, Command

LEASE_SECONDS = 20.0
INFO = ModelInfo("demo:m", "net", "0" * 64, "none")


class Queue:
    """The messages of the engine, and one worker that finishes each shard at once."""

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.messages: deque[tuple[str, int]] = deque()
        self.owners: dict[str, str] = {}
        self.claimed: list[tuple[str, int]] = []

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
        claim, job, shard = self.claim(self.messages.popleft(), models)
        if job is not None:
            result = ShardResult(Predictions(np.zeros(1, dtype=np.int16)), INFO)
            self.store.change_shard(transitions.finish, job.id, shard, claim.fencing_token, result)
            self.claimed.append((job.id, shard))

    def claim(self, message: tuple[str, int], models: Sequence[str] = ("demo:m",)) -> tuple[Claim, Job | None, int]:
        """Claim the shard whose turn it is when the message is delivered."""
        return self.store.claim_next(message, "w", lambda spec: spec.model in models)

    def turns(self) -> str:
        """Return the owners of the shards in the order in which they were taken."""
        return "".join(self.owners[job] for job, _ in self.claimed)


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

    assert [job for job, _ in queue.claimed if queue.owners[job] == "A"] == 3 * jobs[:1] + 3 * jobs[1:]


def test_shards_without_owners_are_taken_in_the_order_of_their_messages(queue: Queue) -> None:
    jobs = [queue.submit(f"x{number}", "", 12) for number in range(2)]

    while queue.messages:
        queue.deliver()

    assert queue.claimed == [(job, shard) for job in jobs for shard in range(12)]


def test_a_worker_takes_only_shards_that_it_can_run(queue: Queue) -> None:
    queue.submit("a", "A", 2, model="demo:other")
    job = queue.submit("b", "B", 1)

    assert queue.claim(queue.messages[0], []) == (Claim(ClaimOutcome.WAIT, delay=5.0), None, 0)
    claim, claimed_job, _ = queue.claim(queue.messages[0])
    assert claim.kind is ClaimOutcome.CLAIMED
    assert claimed_job is not None
    assert claimed_job.id == job


@pytest.mark.parametrize("models", [["demo:m30"], []], ids=["one job", "no job"])
def test_a_worker_that_cannot_run_most_jobs_reads_them_in_one_round_trip(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, models: list[str]
) -> None:
    for number in range(40):
        queue.submit(f"a{number}", "A", 1, model=f"demo:m{number}")
    backend, reads = queue.store._backend, list[object]()
    read = backend.read
    monkeypatch.setattr(backend, "read", lambda commands: reads.append(commands) or read(commands))

    assert (queue.claim(queue.messages[0], models)[1] is None) == (models == [])
    assert len(reads) <= 5


def test_a_later_claim_reads_the_owners_of_new_jobs_only(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        queue.submit(f"a{number}", "AB"[number % 2], 1)
    queue.deliver()
    new_job = queue.submit("c", "C", 1)
    backend, commands = queue.store._backend, list[Command]()
    read = backend.read
    monkeypatch.setattr(backend, "read", lambda new: commands.extend(new) or read(new))

    queue.deliver()

    assert [command[1] for command in commands if command[2:] == ("owner",)] == [f"{PREFIX}job:{new_job}"]
    while queue.messages:
        queue.deliver()
    assert queue.turns() == "ABC" + 9 * "AB"


@pytest.mark.parametrize("message", [0, 1, 2])
def test_claims_of_different_shards_of_dead_workers_do_not_conflict(
    queue: Queue, clock: Clock, change_before_commit: Callable[[Callable[[], object]], list[bool]], message: int
) -> None:
    job = queue.submit("a", "A", 3)
    for index in range(3):
        queue.claim((job, index))
    clock.now += LEASE_SECONDS + 1
    other, others = (message + 1) % 3, list[Claim]()
    change = queue.store.change_shard
    commits = change_before_commit(lambda: others.append(change(transitions.claim, job, other, "w2", LEASE_SECONDS)))

    assert queue.claim((job, message))[2] == message

    assert [claim.fencing_token for claim in others] == [2]
    assert commits == [True, True]


def test_running_and_delayed_shards_are_not_taken(queue: Queue, clock: Clock) -> None:
    """Each claim is made for a message of the first shard."""
    job = queue.submit("a", "A", 3)
    assert queue.claim((job, 0))[2] == 0
    claim, _, index = queue.claim((job, 0))
    assert index == 1
    assert queue.store.change_shard(transitions.retry, job, 1, claim.fencing_token, Failure("OOPS", "it broke")) == 5.0
    assert queue.claim((job, 0))[2] == 2

    assert queue.claim((job, 0)) == (Claim(ClaimOutcome.WAIT, delay=LEASE_SECONDS), None, 0)
    assert queue.claim((job, 1)) == (Claim(ClaimOutcome.WAIT, delay=5.0), None, 1)
    clock.now += 5
    assert queue.claim((job, 2))[2] == 1


def test_a_shard_that_is_missing_in_the_index_is_found_by_its_message(queue: Queue) -> None:
    job = queue.submit("a", "A", 2)
    queue.store.run(lambda tx: tx.write("DEL", "errata:open:models"))

    claim, claimed_job, index = queue.claim((job, 1))

    assert (claim.kind, index) == (ClaimOutcome.CLAIMED, 1)
    assert claimed_job is not None
    assert claimed_job.id == job


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_a_message_of_an_ended_job_leads_to_another_shard_if_one_is_available(queue: Queue, end: str) -> None:
    ended = queue.submit("a", "A", 2)
    if end == "cancelled":
        queue.store.cancel("a", "")
    else:
        claim, _, index = queue.claim((ended, 1))
        queue.store.change_shard(transitions.fail, ended, index, claim.fencing_token, Failure("OOPS", "it broke"))
    assert queue.claim((ended, 0)) == (Claim(ClaimOutcome.SKIP), None, 0)
    other = queue.submit("b", "B", 1)

    claim, claimed_job, _ = queue.claim((ended, 0))

    assert claimed_job is not None
    assert (claim.kind, claimed_job.id) == (ClaimOutcome.CLAIMED, other)


def test_a_message_of_an_ended_shard_waits_for_a_worker_that_can_run_another(queue: Queue, clock: Clock) -> None:
    job = queue.submit("a", "A", 2)
    queue.claim(queue.messages.popleft())  # by a worker that dies
    clock.now += LEASE_SECONDS + 1
    queue.deliver()
    assert queue.claimed == [(job, 0)]  # with the message of the other shard

    assert queue.claim((job, 0), models=[]) == (Claim(ClaimOutcome.WAIT, delay=5.0), None, 0)
    assert queue.claim((job, 0))[2] == 1
    assert queue.claim((job, 0), models=[]) == (Claim(ClaimOutcome.SKIP), None, 0)


def test_one_message_of_a_canceled_job_waits_for_a_shard_that_no_worker_can_run(queue: Queue, clock: Clock) -> None:
    waiting = queue.submit("a", "A", 1)
    canceled = queue.submit("b", "B", 50)
    queue.messages.remove((waiting, 0))  # lost
    queue.store.cancel("b", "")
    for _ in range(3):
        clock.now += 5
        queue.messages = deque(
            message for message in queue.messages if queue.claim(message, [])[0].kind is ClaimOutcome.WAIT
        )
        assert len(queue.messages) == 1

    claim, job, _ = queue.claim((canceled, 0))
    assert job is not None
    assert (claim.kind, job.id) == (ClaimOutcome.CLAIMED, waiting)


def test_a_job_that_ends_while_a_worker_finds_its_shard_is_not_claimed(queue: Queue) -> None:
    """The worker cannot run the first job, so it reads the other two before the second one ends."""
    jobs = [queue.submit(id, "A", 1, model=f"demo:{id}") for id in "abc"]

    def can_run(spec: JobSpec) -> bool:
        if spec.model == "demo:b":
            queue.store.cancel("b", "")
        return spec.model != "demo:a"

    claim, job, _ = queue.store.claim_next((jobs[0], 0), "w", can_run)

    assert job is not None
    assert (claim.kind, job.id) == (ClaimOutcome.CLAIMED, jobs[2])


@pytest.mark.parametrize("message", [0, 1])
def test_any_message_runs_the_shard_of_a_dead_worker_first(queue: Queue, clock: Clock, message: int) -> None:
    job = queue.submit("a", "A", 2)
    queue.claim((job, 1))
    queue.submit("b", "B", 1)  # it is the turn of B
    clock.now += LEASE_SECONDS + 1

    claim, claimed_job, index = queue.claim((job, message))

    assert claimed_job is not None
    assert (claimed_job.id, index, claim.fencing_token) == (job, 1, 2)


def test_a_turn_that_is_a_day_old_is_forgotten(queue: Queue, clock: Clock) -> None:
    queue.submit("a", "A", 1)
    queue.submit("b", "B", 2)
    queue.deliver()
    clock.now += 86_401
    queue.deliver()

    assert queue.store._backend.read([("ZRANGE", "errata:turns", 0, -1)]) == [[b"B"]]


@pytest.mark.parametrize("job", ["a", "another"])
def test_workers_with_different_messages_do_not_compete_for_one_shard(job: str) -> None:
    """The messages are of the job whose turn it is, or of another one."""
    queued = {("a", index): 0.0 for index in range(3)}

    orders = [order_shards(queued, [], {"a": "A"}, {}, (job, index)) for index in range(3)]

    assert [[index for _, index in order] for order in orders] == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]


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

    assert len(set(queue.claimed)) == len(queue.claimed) == submitted.total()
    assert Counter(queue.turns()) == submitted


@pytest.mark.parametrize("seed", range(5))
def test_no_owner_with_work_takes_fewer_shards_than_another(seed: int) -> None:
    """The reference is an owner's share while all owners have work: their counts differ by one at most."""
    choose, turns = random.Random(seed), dict[str, float]()
    owners = {f"j{number}": choose.choice("ABCD") for number in range(40)}
    queued = {(job, 0): float(number) for number, job in enumerate(owners)}
    counts: Counter[str] = Counter()
    for time in range(40):
        job, _ = shard = order_shards(queued, [], owners, turns, ("", 0))[0]
        del queued[shard]
        turns[owners[job]] = float(time)
        counts[owners[job]] += 1
        waiting = [counts[owner] for owner in {owners[job] for job, _ in queued}]
        assert not waiting or max(waiting) - min(waiting) <= 1
