"""A cluster of three real nodes: our slot moves to another node, and the node that has it ends."""

import asyncio
import os
import signal

import pytest
import redis
from attributor.errors import StoreUnavailable
from attributor.jobs.state import JobState
from attributor.storage.checkup import check_store
from attributor.storage.connection import RedisStore
from attributor.storage.findings import Level
from attributor.storage.redis_events import RedisJobEvents
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_queue import RedisJobQueue
from contracts.servers import N_NODES, N_SLOTS, cluster, port_of, until


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as clients:
        yield clients


def _move(nodes: list[redis.Redis], slot: int) -> redis.Redis:
    """Moves a slot with all its keys from the node that has it to the next; that one."""
    ids = [node.execute_command("CLUSTER MYID").decode() for node in nodes]
    owner = next(i for i, node in enumerate(nodes) if _has(node, slot))
    to = (owner + 1) % len(nodes)
    nodes[to].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[owner])
    nodes[owner].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[to])
    while keys := nodes[owner].execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
        nodes[owner].execute_command("MIGRATE", "127.0.0.1", port_of(nodes[to]), "", 0, 5000, "KEYS", *keys)
    for node in (nodes[to], nodes[owner], *nodes):
        node.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[to])
    return nodes[to]


def _has(node: redis.Redis, slot: int) -> bool:
    try:
        node.execute_command("GET", f"{{{_NAMESPACE}}}:seq")
    except redis.exceptions.MovedError:
        return False
    return True


_NAMESPACE = f"moving-{os.getpid()}"


async def _again(step, within_s: float = 20.0):
    """A step that meets a store that is busy moving: a client comes back after a 503."""
    end = asyncio.get_running_loop().time() + within_s
    while True:
        try:
            return await step()
        except StoreUnavailable:
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.05)


async def test_our_slot_moves_under_use_and_nothing_is_lost(nodes, make_spec, answer):
    async with RedisStore(f"redis://127.0.0.1:{port_of(nodes[0])}", namespace=_NAMESPACE) as store:
        queue, jobs = RedisJobQueue(store), RedisJobStore(store)
        await queue.enqueue(make_spec())
        slot = nodes[0].execute_command("CLUSTER KEYSLOT", store.keys.prefix)
        over = asyncio.Event()
        ids: list[str] = []

        async def ask() -> None:
            while not over.is_set():
                key = f"key {len(ids)}"
                enqueued = await _again(lambda key=key: queue.enqueue(make_spec(), idempotency_key=key))
                ids.append(enqueued.job_id)

        async def work() -> None:
            while not over.is_set() or await _again(lambda: queue.claim(1)):
                for job in await _again(lambda: queue.claim(9, wait_s=0.1)):
                    assert await _again(lambda job=job: queue.finish(job.lease, answer))

        async with RedisJobEvents(store) as events:
            tasks = [asyncio.create_task(ask()), asyncio.create_task(work())]
            for _ in range(4):
                await asyncio.sleep(0.3)
                await asyncio.to_thread(_move, nodes, slot)
            await asyncio.sleep(0.3)
            over.set()
            await asyncio.wait_for(asyncio.gather(*tasks), 20)
            assert len(set(ids)) == len(ids) > 50
            for _ in range(50):
                await queue.reap()
                if not await queue.claim(1):
                    break
            states = {(await jobs.record(job_id, tenant="default")).state for job_id in ids}
            assert states <= {JobState.SUCCEEDED, JobState.RUNNING}
            # Changes are heard of again.
            job_id = (await queue.enqueue(make_spec())).job_id
            async with asyncio.timeout(10):
                while not events.reading:
                    await asyncio.sleep(0.05)
            async with events.subscribe(job_id) as changes:
                await queue.cancel(job_id, tenant="default")
                assert await changes.wait(5)


async def test_any_node_that_lives_leads_to_the_one_that_has_our_keys(nodes):
    async with RedisStore(f"redis://127.0.0.1:{port_of(nodes[0])}", namespace="any") as store:
        await store.call("SET", store.keys.key("seq"), 7)
        known = {int(url.rpartition(":")[2]) for url in store._nodes._known}
        assert known == {port_of(node) for node in nodes}
        # As if the node spoken to had ended: the next one known says who has the keys.
        store._nodes.try_another()
        await store.close()
        assert await store.call("GET", store.keys.key("seq")) == b"7"


async def test_the_replica_that_takes_the_place_of_a_dead_node_is_found(tmp_path, make_spec, answer):
    with cluster(tmp_path, n_replicas=1) as nodes:
        *_, owner, replica = nodes
        slots_of_owner = (f"failover-{number}" for number in range(100))
        namespace = next(name for name in slots_of_owner if _slot(owner, name) >= 2 * (N_SLOTS // N_NODES + 1))
        async with RedisStore(f"redis://127.0.0.1:{port_of(owner)}", namespace=namespace) as store:
            queue, jobs = RedisJobQueue(store), RedisJobStore(store)
            async with RedisJobEvents(store) as events:
                job_id = (await queue.enqueue(make_spec())).job_id
                assert owner.execute_command("WAIT", 1, 5000) == 1
                os.kill(owner.info("server")["process_id"], signal.SIGKILL)
                [claimed] = await _again(lambda: queue.claim(1))
                assert replica.info("replication")["role"] == "master"
                async with events.subscribe(job_id) as changes:
                    assert await _again(lambda: queue.finish(claimed.lease, answer))
                    assert await changes.wait(10)
            assert (await jobs.record(job_id, tenant="default")).state is JobState.SUCCEEDED


def _slot(node: redis.Redis, namespace: str) -> int:
    return node.execute_command("CLUSTER KEYSLOT", f"{{{namespace}}}:")


def _problems(node: redis.Redis) -> dict[str, str]:
    found = check_store(f"redis://127.0.0.1:{port_of(node)}", _NAMESPACE)
    return {each.about: each.said for each in found if each.level is Level.PROBLEM}


def test_doctor_follows_as_well_and_names_a_cluster_that_does_not_serve(nodes):
    slot = _slot(nodes[0], _NAMESPACE)
    owner = next(node for node in nodes if _has(node, slot))
    for node in nodes:
        assert _problems(node) == {}
        found = {each.about: each.said for each in check_store(f"redis://127.0.0.1:{port_of(node)}", _NAMESPACE)}
        assert ("cluster" in found) is (node is not owner)
        assert str(port_of(owner)) in found["store"]
    owner.execute_command("CLUSTER DELSLOTS", slot)
    assert list(_problems(owner)) == ["writing"]
    owner.execute_command("CLUSTER ADDSLOTS", slot)
    until(lambda: owner.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
    assert _problems(owner) == {}
