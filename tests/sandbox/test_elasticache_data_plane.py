"""The nodes are real: TLS, AUTH, replicas, endpoints that follow the primary, recovery after a crash."""

import contextlib
import os
import signal
import socket
import stat
import time
from pathlib import Path

import psutil
import pytest
import redis
from elasticache_support import TOKEN, Groups, answers, becomes, wait

from sandbox.processes import start_time

SECOND, THIRD = "second-Token-of-16#", "third-Token-of-16$"


@pytest.fixture(scope="module")
def groups(sandbox):
    groups = Groups(sandbox, "data")
    yield groups
    groups.delete_all()


@pytest.fixture(scope="module")
def secured(groups) -> str:
    return groups.create(TransitEncryptionEnabled=True, AuthToken=TOKEN)


@pytest.fixture(scope="module")
def replicated(groups) -> str:
    highly_available = {"NumCacheClusters": 3, "AutomaticFailoverEnabled": True, "MultiAZEnabled": True}
    return groups.create(**highly_available, TransitEncryptionEnabled=True, AuthToken=TOKEN)


def kill(client: redis.Redis) -> int:
    """Kill the node that the client is connected to and see it dead: it must not answer one more command."""
    pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGKILL)
    wait(lambda: start_time(pid) is None)
    return pid


def test_tls_and_auth(groups, secured):
    client = groups.redis(secured, password=TOKEN)
    assert client.set("key", "value")
    assert client.get("key") == b"value"
    with pytest.raises(redis.AuthenticationError):
        groups.redis(secured, password="wrong-token-of-16").ping()
    with pytest.raises(redis.AuthenticationError):
        groups.redis(secured).ping()
    with pytest.raises(redis.ConnectionError):
        groups.redis(secured, ssl=False, password=TOKEN).ping()
    with pytest.raises(redis.ConnectionError):  # certificate of the sandbox's own authority
        groups.redis(secured, ssl_ca_certs=None, password=TOKEN).ping()


def test_a_large_value_survives_the_forwarder(groups, secured):
    client, value = groups.redis(secured, password=TOKEN), os.urandom(5_000_000)
    client.set("large", value)
    assert client.get("large") == value
    client.delete("large")


def test_clients_are_kept_from_what_elasticache_does_not_allow(groups, secured):
    client = groups.redis(secured, password=TOKEN)
    for command in (
        "CONFIG GET maxmemory",
        "REPLICAOF NO ONE",
        "SHUTDOWN",
        "ACL SETUSER eve on",
        "SAVE",
        "DEBUG SLEEP 0",
    ):
        with pytest.raises(redis.ResponseError):
            client.execute_command(*command.split())


def test_token_is_in_no_argument_and_no_readable_file(groups, secured, sandbox):
    pid = groups.redis(secured, password=TOKEN).info("server")["process_id"]
    assert TOKEN not in Path(f"/proc/{pid}/cmdline").read_text()
    config = sandbox.home / "elasticache" / "us-east-1" / f"{secured}-001" / "redis.conf"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert TOKEN not in config.read_text()
    assert TOKEN not in Path(f"/proc/{pid}/environ").read_text()


def test_defaults_are_those_of_elasticache(groups, secured):
    client = groups.redis(secured, password=TOKEN)
    memory = client.info("memory")
    assert memory["maxmemory"] == 536870912 * 75 // 100  # cache.t3.micro, reserved-memory-percent 25
    assert memory["maxmemory_policy"] == "volatile-lru"
    persistence = client.info("persistence")
    assert persistence["aof_enabled"] == 0


def test_rotate_then_set(groups):
    name = groups.create(TransitEncryptionEnabled=True, AuthToken=TOKEN)
    before = groups.describe(name)["AuthTokenLastModifiedDate"]
    groups.modify(name, AuthToken=SECOND, AuthTokenUpdateStrategy="ROTATE")
    assert answers(groups.redis(name, password=TOKEN))
    assert answers(groups.redis(name, password=SECOND))
    assert groups.describe(name)["AuthTokenLastModifiedDate"] > before
    groups.modify(name, AuthToken=SECOND, AuthTokenUpdateStrategy="SET")
    assert not answers(groups.redis(name, password=TOKEN))
    assert answers(groups.redis(name, password=SECOND))
    groups.modify(name, AuthToken=THIRD)  # ROTATE is the default
    assert answers(groups.redis(name, password=SECOND))
    assert answers(groups.redis(name, password=THIRD))


def test_transit_encryption_is_enabled_in_steps(groups):
    name = groups.create()
    plain, tls = groups.redis(name), {"ssl": True, "ssl_ca_certs": str(groups.sandbox.home / "ca.pem")}
    assert answers(plain)
    assert not answers(groups.redis(name, **tls, socket_timeout=1))  # Redis does not answer a handshake at all
    groups.modify(name, TransitEncryptionEnabled=True, TransitEncryptionMode="preferred")
    assert answers(plain)
    assert answers(groups.redis(name, **tls))
    groups.modify(name, TransitEncryptionMode="required")
    assert not answers(plain)
    assert answers(groups.redis(name, **tls))
    groups.modify(name, AuthToken=TOKEN, AuthTokenUpdateStrategy="ROTATE")  # a first token: none is still accepted
    assert answers(groups.redis(name))
    assert answers(groups.redis(name, password=TOKEN))
    groups.modify(name, AuthToken=TOKEN, AuthTokenUpdateStrategy="SET")
    assert not answers(groups.redis(name))
    assert answers(groups.redis(name, password=TOKEN))


def test_a_silent_client_does_not_block_a_preferred_endpoint(groups):
    name = groups.create(TransitEncryptionEnabled=True, TransitEncryptionMode="preferred")
    port = groups.describe(name)["NodeGroups"][0]["PrimaryEndpoint"]["Port"]
    with socket.create_connection(("127.0.0.1", port)):
        assert answers(groups.redis(name))


def test_replicas_serve_the_reader_endpoint(groups, replicated):
    groups.redis(replicated, password=TOKEN).set("read", "me")
    ports = set()
    for _ in range(4):
        reader = groups.redis(replicated, "ReaderEndpoint", password=TOKEN)
        assert reader.role()[0] == b"slave"
        assert wait(lambda reader=reader: reader.get("read")) == b"me"
        ports.add(reader.info("server")["tcp_port"])
        with pytest.raises(redis.ReadOnlyError):
            reader.set("read", "only")
    assert len(ports) == 2
    for node, role in groups.roles(replicated).items():
        expected = b"master" if role == "primary" else b"slave"
        assert groups.redis(replicated, node, password=TOKEN).role()[0] == expected


def test_failover_moves_the_primary_and_a_writer_recovers(groups, replicated):
    client = groups.redis(replicated, password=TOKEN)
    client.set("counter", 7)
    client.wait(2, 5000)
    endpoints = groups.describe(replicated)["NodeGroups"][0]
    old = next(node for node, role in groups.roles(replicated).items() if role == "primary")
    groups.ec.test_failover(ReplicationGroupId=replicated, NodeGroupId="0001")
    # what the old primary acknowledges in its last moment is lost, as on AWS: replication is asynchronous
    wait(lambda: groups.roles(replicated)[old] == "replica")
    assert becomes(client, lambda c: c.incr("counter")) == 8
    groups.available(replicated)
    roles = groups.roles(replicated)
    new = next(node for node, role in roles.items() if role == "primary")
    assert new != old
    assert len(roles) == 3
    after = groups.describe(replicated)["NodeGroups"][0]
    for name in ("PrimaryEndpoint", "ReaderEndpoint"):
        assert after[name] == endpoints[name]
    returned = groups.redis(replicated, old, password=TOKEN)
    assert returned.role()[0] == b"slave"
    assert wait(lambda: returned.get("counter") == b"8")  # replication is asynchronous, also after the failover
    completed = f"Failover from primary node {old} to replica node {new} completed"
    events = groups.messages("replication-group", replicated)
    assert events[-2:] == ["Test Failover API called for node group 0001", completed]
    assert groups.messages("cache-cluster", old)[-3:] == [
        completed,
        "Recovering cache nodes 0001",
        "Finished recovery for cache nodes 0001",
    ]


def test_killed_primary_is_replaced_by_a_replica(groups, replicated):
    client = groups.redis(replicated, password=TOKEN)
    client.set("kept", "yes")
    client.wait(2, 5000)
    old = next(node for node, role in groups.roles(replicated).items() if role == "primary")
    kill(client)
    assert becomes(client, lambda c: c.set("after", "crash"))
    assert client.get("kept") == b"yes"
    wait(lambda: groups.describe(replicated)["Status"] == "available" and groups.roles(replicated)[old] == "replica")
    assert wait(lambda: groups.redis(replicated, old, password=TOKEN).get("after")) == b"crash"


def test_killed_replica_comes_back(groups, replicated):
    replica = next(node for node, role in groups.roles(replicated).items() if role == "replica")
    client = groups.redis(replicated, replica, password=TOKEN)
    pid = kill(client)
    assert becomes(client, lambda c: c.info("server"))["process_id"] != pid
    groups.available(replicated)
    assert groups.roles(replicated)[replica] == "replica"


def test_killed_single_node_is_restarted_empty(groups):
    name = groups.create()
    client = groups.redis(name)
    client.set("lost", "yes")
    kill(client)
    assert becomes(client, lambda c: c.ping())
    assert client.get("lost") is None
    groups.available(name)
    assert groups.messages("cache-cluster", f"{name}-001")[-1] == "Finished recovery for cache nodes 0001"


def test_without_failover_the_same_primary_returns_with_a_replicas_data(groups):
    name = groups.create(NumCacheClusters=2)
    client = groups.redis(name)
    client.set("kept", "yes")
    client.wait(1, 5000)
    kill(client)
    assert becomes(client, lambda c: c.set("new", "value"))
    assert client.get("kept") == b"yes"
    groups.available(name)
    assert groups.roles(name) == {f"{name}-001": "primary", f"{name}-002": "replica"}


def test_failover_without_a_replica_that_has_the_data_is_refused(groups):
    name = groups.create(NumCacheClusters=2, AutomaticFailoverEnabled=True)
    client = groups.redis(name)
    client.set("kept", "yes")
    replica = groups.redis(name, f"{name}-002")
    for _ in range(3):  # accepted or refused: that depends on how far the recovery has come; the data does not
        kill(replica)
        with contextlib.suppress(groups.ec.exceptions.InvalidReplicationGroupStateFault):
            groups.ec.test_failover(ReplicationGroupId=name, NodeGroupId="0001")
        assert becomes(client, lambda c: c.get("kept")) == b"yes"
        wait(lambda: groups.describe(name)["Status"] == "available" and client.info("replication")["connected_slaves"])
        replica = groups.redis(name, next(node for node, role in groups.roles(name).items() if role == "replica"))


def test_a_replica_that_dies_in_its_first_synchronisation_is_recovered(groups, sandbox):
    name = groups.create()
    client = groups.redis(name)
    primary = client.info("server")["process_id"]
    folder = str(sandbox.home / "elasticache" / "us-east-1" / f"{name}-002")

    def node() -> psutil.Process | None:
        found = (psutil.Process(int(entry.name)) for entry in (sandbox.home / "processes").iterdir())
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            return next((one for one in found if one.cwd() == folder), None)

    os.kill(primary, signal.SIGSTOP)  # the synchronisation cannot end
    try:
        groups.ec.increase_replica_count(ReplicationGroupId=name, ApplyImmediately=True, NewReplicaCount=1)
        log = Path(folder, "redis.log")
        wait(lambda: log.exists() and "Connecting to MASTER" in log.read_text())
        time.sleep(0.5)
        replica = wait(node)
        replica.suspend()  # the sandbox waits for its answer,
        time.sleep(0.2)
        replica.kill()  # which never comes
    finally:
        os.kill(primary, signal.SIGCONT)

    def recovered() -> bool:
        members = groups.describe(name)["NodeGroups"][0]["NodeGroupMembers"]
        cluster = groups.ec.describe_cache_clusters(CacheClusterId=f"{name}-002")["CacheClusters"][0]
        return cluster["CacheClusterStatus"] == "available" and all("ReadEndpoint" in member for member in members)

    wait(recovered, 60)
    assert client.info("replication")["connected_slaves"] == 1
    assert groups.messages("cache-cluster", f"{name}-002").count("Cache cluster created") == 1


def test_promotion_by_hand(groups):
    name = groups.create(NumCacheClusters=2)
    client = groups.redis(name)
    client.set("kept", "yes")
    groups.modify(name, PrimaryClusterId=f"{name}-002")
    assert groups.roles(name) == {f"{name}-001": "replica", f"{name}-002": "primary"}
    assert becomes(client, lambda c: c.set("new", "value"))
    assert client.get("kept") == b"yes"


def test_final_snapshot_is_a_real_rdb_file(groups, sandbox):
    name = groups.create(NumCacheClusters=2)
    groups.redis(name).set("in-the-snapshot", "yes")
    deleted = groups.ec.delete_replication_group(ReplicationGroupId=name, FinalSnapshotIdentifier=f"{name}-final")
    assert deleted["ReplicationGroup"]["Status"] == "deleting"
    wait(lambda: groups.gone(name))
    snapshot = groups.ec.describe_snapshots(SnapshotName=f"{name}-final")["Snapshots"][0]
    assert snapshot["SnapshotStatus"] == "available"
    assert snapshot["ReplicationGroupId"] == name
    assert snapshot["EngineVersion"] == "7.0.7"
    data = (sandbox.home / "elasticache" / "us-east-1" / "snapshots" / f"{name}-final.rdb").read_bytes()
    assert data.startswith(b"REDIS")
    assert b"in-the-snapshot" in data
    groups.ec.delete_snapshot(SnapshotName=f"{name}-final")
    assert groups.ec.describe_snapshots(ReplicationGroupId=name)["Snapshots"] == []
