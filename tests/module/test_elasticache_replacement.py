"""A group that is restored, replaced, or moves to another family: its data stays, and nothing is left behind."""

import time

import pytest
from elasticache_examples import MODULE, Network, delivery, listed


@pytest.fixture(scope="module")
def network(sandbox):
    return Network(sandbox, "t-new")


@pytest.fixture
def name(network):
    return network.name()


def test_replaced_only_when_the_variable_names_it(module, quartet, calls, network, name):
    """fleetdm/fleet#4798: to turn encryption at rest on threw the group and its data away."""
    before = network.arguments(name, at_rest_encryption_enabled=False, snapshot_window="03:00-04:00")
    quartet(MODULE, before)
    network.connect(name).lpush("celery", "task")
    after = network.arguments(name, kms_key_id=network.keys[0])
    calls.clear()
    for allowed in (None, f"{name}-other"):
        message = module(MODULE, {**after, "replace": allowed}, expect_failure=True)["msg"]
        assert all(word in message for word in ("encryption at rest", f"elasticache_replace={name}", "would be lost"))
    assert calls.writes == []

    result = quartet(MODULE, {**after, "replace": name.upper()})
    group = {entry for entry in listed(result) if entry[0].startswith("replication")}
    fields = ("at_rest_encryption_enabled", "kms_key_id")
    assert group == {(f"replication group {name}", "replace", field) for field in fields}
    assert {change["impact"] for change in result["changes"] if change["action"] == "replace"} == {"replacement"}
    assert f"the snapshot {name}-replacement" in result["changes"][-1]["note"]
    assert network.group(name)["KmsKeyId"] == network.keys[0]
    assert network.group(name)["SnapshotWindow"] == "03:00-04:00", "what is left out stays as it was"
    assert network.connect(name).lrange("celery", 0, -1) == [b"task"]
    assert f"{name}-replacement" not in network.snapshots()


@pytest.mark.parametrize("operation", ["DeleteReplicationGroup", "CreateReplicationGroup", "DeleteSnapshot"])
def test_a_replacement_that_was_interrupted_is_completed(module, quartet, stop_at, network, name, operation):
    module(MODULE, network.arguments(name, at_rest_encryption_enabled=False))
    network.connect(name).set("kept", "yes")
    wanted = network.arguments(name)
    stop_at(MODULE, operation, {**wanted, "replace": name})
    if operation == "DeleteReplicationGroup":
        (created,) = [c for c in module(MODULE, wanted, check=True)["changes"] if c["action"] == "create"]
        assert created["after"]["snapshot_name"] == f"{name}-replacement"
        assert f"filled from the snapshot {name}-replacement" in created["note"]
        quartet(MODULE, wanted)  # without the variable: the data must not be lost over that
    else:
        quartet(MODULE, {**wanted, "replace": name})
    assert network.group(name)["AtRestEncryptionEnabled"] is True
    assert network.connect(name).get("kept") == b"yes"
    assert f"{name}-replacement" not in network.snapshots()


def test_what_is_left_of_an_interrupted_replacement_is_not_thrown_away(module, stop_at, network, name):
    module(MODULE, network.arguments(name, at_rest_encryption_enabled=False))
    stop_at(MODULE, "DeleteReplicationGroup", {**network.arguments(name), "replace": name})
    warnings = module(MODULE, network.arguments(name, state="absent", skip_final_snapshot=True))["warnings"]
    assert warnings == [
        f"snapshot {name}-replacement is left alone: a replacement was interrupted, and it holds the data; "
        "a run with state present restores it"
    ]
    assert f"{name}-replacement" in network.snapshots()


def test_an_older_engine_starts_empty_and_the_snapshot_stays(module, quartet, network, name):
    module(MODULE, network.arguments(name, engine_version="7.1"))
    network.connect(name).set("kept", "no")
    result = quartet(MODULE, network.arguments(name, engine_version="7.0", replace=name))
    (change,) = [change for change in result["changes"] if change["action"] == "replace"]
    assert change["path"] == "engine_version"
    assert "every queued task and every result is lost" in change["note"]
    assert network.connect(name).get("kept") is None
    (snapshot,) = [one for one in network.snapshots() if one.startswith(f"{name}-replaced-")]
    assert snapshot in change["note"]


def test_a_new_group_is_filled_from_a_snapshot_and_that_is_no_drift(module, quartet, calls, network, name):
    """hashicorp/terraform-provider-aws#28984: to find and restore the final snapshot of a group that was destroyed."""
    module(MODULE, network.arguments(name))
    network.connect(name).set("kept", "yes")
    module(MODULE, network.arguments(name, state="absent", final_snapshot_identifier=f"{name}-final"))
    calls.clear()
    message = module(MODULE, network.arguments(name, snapshot_name="t-nowhere"), expect_failure=True)["msg"]
    assert "there is none of that name" in message
    older = network.arguments(name, snapshot_name=f"{name}-final", engine_version="6.2", parameter_group=None)
    assert "cannot read" in module(MODULE, older, expect_failure=True)["msg"]
    assert calls.writes == []
    quartet(MODULE, network.arguments(name, snapshot_name=f"{name}-FINAL"))
    assert network.connect(name).get("kept") == b"yes"
    for origin in ({"snapshot_name": "another"}, {"snapshot_arns": ["arn:aws:s3:::b/k.rdb"]}):
        assert quartet(MODULE, network.arguments(name, **origin))["changes"] == []


def test_the_parameter_group_of_the_family_before_goes_with_the_engine(module, quartet, stop_at, network, name):
    """umotif-public/terraform-aws-elasticache-redis#49, cloudposse/terraform-aws-elasticache-redis#201,
    hashicorp/terraform-provider-aws#41181: the family has to change in the same call as the engine."""

    def arguments(version, family, **changes):
        group = {"name": f"{name}-{family.replace('.', '-')}", "family": family}
        engine = "valkey" if family.startswith("valkey") else "redis"
        return network.arguments(name, engine=engine, engine_version=version, parameter_group=group, **changes)

    def families():
        found = network.cache.describe_cache_parameter_groups()["CacheParameterGroups"]
        names = [group["CacheParameterGroupName"] for group in found]
        return [one.removeprefix(f"{name}-") for one in names if one.startswith(f"{name}-")]

    quartet(MODULE, arguments("6.2", "redis6.x"))
    network.connect(name).set("kept", "yes")
    result = quartet(MODULE, arguments("7.1", "redis7"))
    assert listed(result)[-1] == (f"cache parameter group {name}-redis6-x", "delete", "")
    assert families() == ["redis7"]
    # others' groups of such names stay, and so does one that another replication group uses
    network.cache.create_cache_parameter_group(
        CacheParameterGroupName=f"{name}-valkey7", CacheParameterGroupFamily="valkey7", Description="x"
    )
    stop_at(MODULE, "ModifyReplicationGroup", arguments("9.0", "valkey9"))
    assert families() == ["redis7", "valkey7", "valkey9"]
    assert listed(quartet(MODULE, arguments("9.0", "valkey9"))) == [
        (f"cache parameter group {name}-redis7", "delete", "")
    ]
    assert families() == ["valkey7", "valkey9"]
    assert network.connect(name).get("kept") == b"yes"


def test_the_parameter_group_before_stays_while_the_engine_waits_for_its_window(module, quartet, network, name):
    module(MODULE, network.arguments(name))
    group = {"name": f"{name}-valkey8", "family": "valkey8"}
    later = network.arguments(
        name, engine="valkey", engine_version="8.0", parameter_group=group, apply_immediately=False
    )
    assert not [one for one in listed(quartet(MODULE, later)) if one[1] == "delete"]
    assert listed(quartet(MODULE, {**later, "apply_immediately": True}))[-1][1] == "delete"


def test_replicas_follow_their_zones(module, quartet, network, name):
    def zones(*letters, **changes):
        return network.arguments(
            name, num_nodes=len(letters), preferred_cache_cluster_azs=[f"us-east-1{one}" for one in letters], **changes
        )

    def deployed():
        nodes = network.group(name)["NodeGroups"][0]["NodeGroupMembers"]
        return sorted((node["CurrentRole"], node["PreferredAvailabilityZone"][-1]) for node in nodes)

    quartet(MODULE, zones("b"))
    quartet(MODULE, zones("b", "b", "a"))
    assert deployed() == [("primary", "b"), ("replica", "a"), ("replica", "b")]
    assert "zones of nodes" in module(MODULE, zones("b", "a", "a"), expect_failure=True)["msg"]
    quartet(MODULE, zones("a", "b"))
    assert deployed() == [("primary", "b"), ("replica", "a")]
    assert "zones of nodes" in module(MODULE, zones("a"), expect_failure=True)["msg"], "the primary is in b"
    assert "2 zones for 3 nodes" in module(MODULE, {**zones("a", "b"), "num_nodes": 3}, expect_failure=True)["msg"]


def test_a_token_that_is_added_beside_open_doors(quartet, module, network, name):
    """hashicorp/terraform-provider-aws#33439: after ROTATE one may still come in without a token."""
    quartet(MODULE, network.arguments(name, auth_token_enabled=False))
    rotated = network.arguments(name, auth_token_update_strategy="ROTATE")
    (change,) = [change for change in quartet(MODULE, rotated)["changes"] if change["path"] == "auth_token"]
    assert (change["impact"], change["note"]) == (
        "in-place",
        "demanded of nobody: connections without it stay possible",
    )
    client = network.connect(name)
    assert client.ping()
    client.connection_pool.reset()
    client.connection_pool.connection_kwargs["password"] = None
    assert client.ping()


def test_logs_of_real_commands(module, network, name):
    logs = [delivery("slow-log", network.log_groups[0])]
    group = {"name": name, "family": "redis7", "parameters": {"slowlog-log-slower-than": 0}}
    module(MODULE, network.arguments(name, log_delivery_configurations=logs, parameter_group=group))
    network.connect(name).set("kept", "yes")
    deadline = time.monotonic() + 30
    while not network.logs.filter_log_events(logGroupName=network.log_groups[0], filterPattern="SET")["events"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    missing = network.arguments(name, log_delivery_configurations=[delivery("slow-log", "/t-nowhere")])
    assert "/t-nowhere" in module(MODULE, missing, expect_failure=True)["msg"]
