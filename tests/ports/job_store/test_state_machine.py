"""Only legal transitions happen, for any order of calls."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from job_store_calls import LATE_WRITES, LEASE_SECONDS, OOPS, claim_judging, make_store, shard_result, spec, submit
from manual_clock import Clock

from service.domain import Failure, State
from service.jobs import transitions
from service.jobs.store import JobStore, Outcome
from service.jobs.transitions import CRASH_DELAYS, ClaimOutcome, Job

MACHINE_LIMIT = 6


class JobStoreMachine(RuleBasedStateMachine):
    """Makes random calls with current and outdated fencing tokens, and checks invariants after each."""

    def __init__(self, make: Callable[[Clock], JobStore]) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = make(self.clock)
        self.count = 0
        self.jobs: dict[str, Job] = {}  # after the last call
        self.fences: list[tuple[str, int, int]] = []  # all fencing tokens so far
        self.current_tokens: dict[tuple[str, int], int] = {}  # the current fencing tokens
        self.finished: set[tuple[str, int, int]] = set()  # job, shard, and fencing token of accepted results
        self.judges: list[tuple[str, int]] = []
        self.judge: dict[str, int] = {}
        self.states: dict[str, State] = {}  # of each analysis after the last call; deleted: succeeded
        self.deleted: set[str] = set()

    def is_available(self, job: Job) -> bool:
        """Return whether a worker can claim a shard of a job."""
        delays = (*CRASH_DELAYS, 0.0)
        times = {State.QUEUED: lambda at: at.retry_at, State.RUNNING: lambda at: at.lease + delays[at.crashes]}
        is_open = not job.state.is_final
        now = round(self.clock.now, 6)  # the store has times in microseconds
        return is_open and any(times[at.state](at) <= now for at in job.shards if at.state in times)

    def count_open(self) -> int:
        return sum(not snapshot.record.state.is_final for snapshot in self.store.snapshots())

    @rule(key=st.sampled_from("kl"), fresh=st.booleans(), shards=st.integers(1, 3))
    def submit(self, key: str, fresh: bool, shards: int) -> None:
        self.count += 1
        self.clock.advance(0.001)  # the order of claims depends on random IDs for jobs of the same time
        before = self.count_open()
        submission = submit(
            self.store,
            f"a{self.count}",
            key=f"{key}{shards}",
            fresh=fresh,
            of=spec(total=4 * shards - 1, shard_size=4),
            limit=MACHINE_LIMIT,
        )
        assert (submission.outcome is Outcome.FULL) == (before >= MACHINE_LIMIT)
        if submission.outcome is not Outcome.FULL:
            assert self.count_open() == before + 1
            self.states[submission.analysis] = State.QUEUED

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), takes_turn=st.booleans())
    def claim(self, data: st.DataObject, takes_turn: bool) -> None:
        id = data.draw(st.sampled_from(list(self.jobs)))
        shard = data.draw(st.integers(0, self.jobs[id].spec.num_shards - 1))
        if takes_turn:
            claim, job, shard = self.store.claim_next((id, shard), "w")
            assert (job is not None) == any(map(self.is_available, self.jobs.values()))
            id = id if job is None else job.id
        else:
            claim = self.store.change_shard(transitions.claim, id, shard, "w", LEASE_SECONDS)
        if claim.kind is ClaimOutcome.CLAIMED:
            assert claim.fencing_token == self.jobs[id].shards[shard].fencing_token + 1
            self.fences.append((id, shard, claim.fencing_token))
            self.current_tokens[id, shard] = claim.fencing_token
        elif claim.kind is ClaimOutcome.WAIT:
            assert claim.delay > 0

    @precondition(lambda self: self.fences)
    @rule(data=st.data(), call=st.sampled_from([*sorted(LATE_WRITES), "finish_shard", "finish_shard"]))
    def report(self, data: st.DataObject, call: str) -> None:
        id, shard, fencing_token = data.draw(st.sampled_from(self.fences))
        is_current = self.current_tokens.get((id, shard)) == fencing_token and not self.jobs[id].state.is_final
        before = self.store.job(id)
        start, stop = self.jobs[id].spec.bounds(shard)
        match call:
            case "renew_lease":
                accepted = self.store.change_shard(transitions.renew, id, shard, fencing_token, LEASE_SECONDS) is True
            case "progress":
                accepted = (
                    self.store.change_shard(
                        transitions.progress, id, shard, fencing_token, data.draw(st.integers(0, stop - start))
                    )
                    is True
                )
            case "finish_shard":
                left = self.store.change_shard(transitions.finish, id, shard, fencing_token, shard_result(stop - start))
                if (id, shard, fencing_token) in self.finished and not self.jobs[id].state.is_final:
                    assert before is not None
                    assert (left, self.store.job(id)) == (before.num_shards_left, before)
                    return
                accepted = left is not None
                if accepted:
                    assert before is not None
                    assert left == before.num_shards_left - 1
                    self.finished.add((id, shard, fencing_token))
            case "release":
                accepted = self.store.change_shard(transitions.release, id, shard, fencing_token)
            case "retry":
                accepted = self.store.change_shard(transitions.retry, id, shard, fencing_token, OOPS) is not None
            case _:
                accepted = self.store.change_shard(transitions.fail, id, shard, fencing_token, OOPS)
        assert accepted == is_current
        if not accepted:
            assert self.store.job(id) == before
        elif call not in ("renew_lease", "progress"):
            del self.current_tokens[id, shard]

    @precondition(lambda self: self.states)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        analysis = data.draw(st.sampled_from(sorted(self.states)))
        was_open = not self.states[analysis].is_final and analysis not in self.deleted
        assert self.store.cancel(analysis, "") == was_open

    @precondition(lambda self: any(state.is_final for state in self.states.values()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        analysis = data.draw(st.sampled_from(sorted(id for id, state in self.states.items() if state.is_final)))
        if self.store.delete(analysis):
            assert analysis not in self.deleted
            self.deleted.add(analysis)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def claim_judging(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(list(self.jobs)))
        fencing_token = claim_judging(self.store, id)
        job = self.jobs[id]
        assert (fencing_token is not None) == (not job.state.is_final and job.num_shards_left == 0)
        if fencing_token is not None:
            assert fencing_token > self.judge.get(id, 0)
            self.judge[id] = fencing_token
            self.judges.append((id, fencing_token))

    @precondition(lambda self: self.judges)
    @rule(data=st.data(), failure=st.sampled_from([None, None, OOPS]))
    def finish(self, data: st.DataObject, failure: Failure | None) -> None:
        id, fencing_token = data.draw(st.sampled_from(self.judges))
        is_current = self.judge[id] == fencing_token and not self.jobs[id].state.is_final
        assert (self.store.change_job(transitions.finish_judging, id, fencing_token, failure) is not None) == is_current
        if is_current and failure is None:
            self.jobs[id] = replace(self.jobs[id], state=State.SUCCEEDED)

    @rule(seconds=st.sampled_from([1.0, 6.0, LEASE_SECONDS + 1]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def final_states_never_change(self) -> None:
        states = {snapshot.record.id: snapshot.record.state for snapshot in self.store.snapshots()}
        for analysis, before in self.states.items():
            if analysis in self.deleted:
                assert analysis not in states
                continue
            now = states.get(analysis, State.SUCCEEDED)
            assert now == before or not before.is_final
            assert not (before is State.RUNNING and now is State.QUEUED)
            self.states[analysis] = now
        assert states.keys() <= self.states.keys()

    @invariant()
    def transitions_are_legal_and_progress_is_at_most_the_total(self) -> None:
        for snapshot in self.store.snapshots():
            if snapshot.job is not None:
                self.jobs.setdefault(snapshot.job.id, snapshot.job)
        for id, before in list(self.jobs.items()):
            now = self.store.job(id)
            if now is None:
                assert before.state.is_final
                continue
            assert now.state == before.state or not before.state.is_final
            assert 0 <= now.done <= now.spec.total
            assert now.num_shards_left == sum(shard.state is not State.SUCCEEDED for shard in now.shards)
            for old, new in zip(before.shards, now.shards, strict=True):
                transition = (old.state.name, new.state.name)
                assert transition in {
                    ("QUEUED", "QUEUED"),
                    ("QUEUED", "RUNNING"),
                    ("RUNNING", "RUNNING"),
                    ("RUNNING", "QUEUED"),
                    ("RUNNING", "SUCCEEDED"),
                    ("SUCCEEDED", "SUCCEEDED"),
                }
                num_claims = new.fencing_token - old.fencing_token
                assert num_claims == (1 if transition == ("QUEUED", "RUNNING") else new.crashes - old.crashes)
                assert 0 <= new.retries - old.retries <= (transition == ("RUNNING", "QUEUED"))
                assert new.crashes < 3
                assert new.retries <= 3
            self.jobs[id] = now

    @invariant()
    def waiting_analyses_are_the_open_ones(
        self,
    ) -> None:  # invariants run in alphabetical order: this one needs self.jobs
        snapshots = self.store.snapshots()
        open_analyses = {snapshot.record.id for snapshot in snapshots if not snapshot.record.state.is_final}
        assert len(open_analyses) <= MACHINE_LIMIT
        open_jobs = {id: job for id in self.jobs if (job := self.store.job(id)) and not job.state.is_final}
        waiting = [analysis for job in open_jobs.values() for analysis in job.analyses]
        assert sorted(waiting) == sorted(open_analyses)
        assert all(job.analyses for job in open_jobs.values())


@pytest.mark.slow
@pytest.mark.parametrize(("implementation", "examples"), [("memory", 150), ("redis", 50)])
def test_only_legal_transitions_happen_for_any_order_of_calls(
    implementation: str, examples: int, request: pytest.FixtureRequest
) -> None:
    run_state_machine_as_test(
        lambda: JobStoreMachine(lambda clock: make_store(request, implementation, clock)),
        settings=settings(max_examples=examples, stateful_step_count=40),
    )
