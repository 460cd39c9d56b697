"""Subnet groups and parameter groups, and that parameters reach the running nodes."""

import pytest
from elasticache_support import Groups, code, wait


@pytest.fixture(scope="module")
def groups(sandbox):
    groups = Groups(sandbox, "grp")
    yield groups
    groups.delete_all()


@pytest.fixture(scope="module")
def subnets(sandbox) -> list[str]:
    ec2 = sandbox.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    return [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.8.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"][
            "SubnetId"
        ]
        for n, zone in enumerate("abc")
    ]


def test_subnet_group_life(groups, subnets):
    ec, name = groups.ec, {"CacheSubnetGroupName": "grp-life"}
    made = ec.create_cache_subnet_group(
        CacheSubnetGroupName="Grp-Life", CacheSubnetGroupDescription="d", SubnetIds=subnets[:2]
    )["CacheSubnetGroup"]  # fmt: skip
    assert made["CacheSubnetGroupName"] == "grp-life"
    assert made["VpcId"].startswith("vpc-")
    assert [s["SubnetAvailabilityZone"]["Name"] for s in made["Subnets"]] == ["us-east-1a", "us-east-1b"]
    again = {**name, "CacheSubnetGroupDescription": "d", "SubnetIds": subnets}
    assert code(ec.create_cache_subnet_group, **again) == "CacheSubnetGroupAlreadyExists"
    ec.modify_cache_subnet_group(**name, CacheSubnetGroupDescription="other", SubnetIds=subnets[1:])
    found = ec.describe_cache_subnet_groups(**name)["CacheSubnetGroups"][0]
    assert found["CacheSubnetGroupDescription"] == "other"
    assert [s["SubnetIdentifier"] for s in found["Subnets"]] == subnets[1:]
    assert code(ec.modify_cache_subnet_group, **name, SubnetIds=["subnet-12345678"]) == "InvalidSubnet"
    ec.delete_cache_subnet_group(**name)
    for call in (ec.describe_cache_subnet_groups, ec.modify_cache_subnet_group, ec.delete_cache_subnet_group):
        assert code(call, **name) == "CacheSubnetGroupNotFoundFault"


def test_subnet_group_refusals(groups, subnets):
    ec, ec2 = groups.ec, groups.sandbox.client("ec2")
    new = {"CacheSubnetGroupName": "grp-bad", "CacheSubnetGroupDescription": "d"}
    assert code(ec.create_cache_subnet_group, **new, SubnetIds=["subnet-12345678"]) == "InvalidSubnet"
    other = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    foreign = ec2.create_subnet(VpcId=other, CidrBlock="10.7.0.0/24")["Subnet"]["SubnetId"]
    assert code(ec.create_cache_subnet_group, **new, SubnetIds=[subnets[0], foreign]) == "InvalidSubnet"
    assert code(ec.create_cache_subnet_group, **{**new, "CacheSubnetGroupName": "-x"}, SubnetIds=subnets) == (
        "InvalidParameterValue"
    )


def test_subnet_group_in_use(groups, subnets):
    ec, name = groups.ec, {"CacheSubnetGroupName": "grp-used"}
    ec.create_cache_subnet_group(**name, CacheSubnetGroupDescription="d", SubnetIds=subnets[:1])
    group = groups.create(**name)
    assert code(ec.delete_cache_subnet_group, **name) == "CacheSubnetGroupInUse"
    assert code(ec.modify_cache_subnet_group, **name, SubnetIds=subnets[1:]) == "SubnetInUse"
    wrong = groups.sandbox.client("ec2").describe_security_groups()["SecurityGroups"]
    vpc = ec.describe_cache_subnet_groups(**name)["CacheSubnetGroups"][0]["VpcId"]
    wrong = next(g["GroupId"] for g in wrong if g["VpcId"] != vpc)
    change = {"ReplicationGroupId": group, "SecurityGroupIds": [wrong]}
    assert code(ec.modify_replication_group, **change) == "InvalidParameterCombination"
    ec.delete_replication_group(ReplicationGroupId=group)
    wait(lambda: groups.gone(group))
    ec.delete_cache_subnet_group(**name)


def parameters(groups, name: str, **arguments) -> dict[str, dict]:
    pages = groups.ec.get_paginator("describe_cache_parameters").paginate(CacheParameterGroupName=name, **arguments)
    return {p["ParameterName"]: p for page in pages for p in page["Parameters"]}


def test_parameter_group_life(groups):
    ec, name = groups.ec, {"CacheParameterGroupName": "grp-params"}
    ec.create_cache_parameter_group(**name, CacheParameterGroupFamily="redis7", Description="d")
    assert code(
        ec.create_cache_parameter_group, **name, CacheParameterGroupFamily="redis7", Description="d"
    ) == "CacheParameterGroupAlreadyExists"  # fmt: skip
    unknown = {"CacheParameterGroupName": "grp-x", "CacheParameterGroupFamily": "redis9", "Description": "d"}
    assert code(ec.create_cache_parameter_group, **unknown) == "InvalidParameterValue"
    assert parameters(groups, "grp-params", Source="user") == {}
    policy = parameters(groups, "grp-params")["maxmemory-policy"]
    assert (policy["ParameterValue"], policy["Source"], policy["IsModifiable"]) == ("volatile-lru", "system", True)
    assert "noeviction" in policy["AllowedValues"]
    values = [{"ParameterName": "maxmemory-policy", "ParameterValue": "noeviction"},
              {"ParameterName": "timeout", "ParameterValue": "300"}]  # fmt: skip
    ec.modify_cache_parameter_group(**name, ParameterNameValues=values)
    user = parameters(groups, "grp-params", Source="user")
    assert {key: p["ParameterValue"] for key, p in user.items()} == {"maxmemory-policy": "noeviction", "timeout": "300"}
    assert "timeout" not in parameters(groups, "grp-params", Source="system")
    ec.reset_cache_parameter_group(**name, ParameterNameValues=[{"ParameterName": "timeout"}])
    assert list(parameters(groups, "grp-params", Source="user")) == ["maxmemory-policy"]
    ec.reset_cache_parameter_group(**name, ResetAllParameters=True)
    assert parameters(groups, "grp-params", Source="user") == {}
    events = groups.messages("cache-parameter-group", "grp-params")
    assert events[0] == "Updated parameter maxmemory-policy to noeviction"
    ec.delete_cache_parameter_group(**name)
    assert code(ec.describe_cache_parameter_groups, **name) == "CacheParameterGroupNotFound"
    assert code(ec.describe_cache_parameters, **name) == "CacheParameterGroupNotFound"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxmemory-policy", "banana"),
        ("timeout", "5"),
        ("timeout", "soon"),
        ("maxmemory-samples", "65"),
        ("activedefrag", "maybe"),
        ("notify-keyspace-events", "KEQ"),
        ("reserved-memory-percent", "101"),
        ("appendonly", "yes"),
        ("maxmemory", "1"),
        ("no-such-parameter", "1"),
    ],
)
def test_bad_parameter_values_are_refused(groups, name, value):
    ec = groups.ec
    if "grp-bad" not in {
        g["CacheParameterGroupName"] for g in ec.describe_cache_parameter_groups()["CacheParameterGroups"]
    }:
        ec.create_cache_parameter_group(
            CacheParameterGroupName="grp-bad", CacheParameterGroupFamily="redis7", Description="d"
        )
    values = [{"ParameterName": name, "ParameterValue": value}]
    refused = code(ec.modify_cache_parameter_group, CacheParameterGroupName="grp-bad", ParameterNameValues=values)
    assert refused == "InvalidParameterValue"
    assert parameters(groups, "grp-bad", Source="user") == {}


def test_default_groups(groups):
    ec = groups.ec
    found = {g["CacheParameterGroupName"] for g in ec.describe_cache_parameter_groups()["CacheParameterGroups"]}
    assert {"default.redis6.x", "default.redis7", "default.valkey7", "default.valkey8"} <= found
    values = [{"ParameterName": "timeout", "ParameterValue": "0"}]
    for name in ("default.redis7",):
        refused = code(ec.modify_cache_parameter_group, CacheParameterGroupName=name, ParameterNameValues=values)
        assert refused == "InvalidCacheParameterGroupState"
        assert code(ec.delete_cache_parameter_group, CacheParameterGroupName=name) == "InvalidCacheParameterGroupState"
    defaults = ec.describe_engine_default_parameters(CacheParameterGroupFamily="valkey8")["EngineDefaults"]
    assert defaults["CacheParameterGroupFamily"] == "valkey8"
    assert len(defaults["Parameters"]) > 40


def test_parameters_are_paged(groups):
    first = groups.ec.describe_cache_parameters(CacheParameterGroupName="default.redis7", MaxRecords=20)
    assert len(first["Parameters"]) == 20
    assert first["Marker"]
    assert len(parameters(groups, "default.redis7", PaginationConfig={"PageSize": 20})) == len(
        parameters(groups, "default.redis7")
    )


def test_parameters_reach_running_nodes(groups):
    ec, name = groups.ec, "grp-applied"
    ec.create_cache_parameter_group(CacheParameterGroupName=name, CacheParameterGroupFamily="redis7", Description="d")

    def change(**values):
        ec.modify_cache_parameter_group(
            CacheParameterGroupName=name,
            ParameterNameValues=[
                {"ParameterName": k.replace("_", "-"), "ParameterValue": v} for k, v in values.items()
            ],
        )

    change(maxmemory_policy="noeviction", databases="3")
    group = groups.create(CacheParameterGroupName=name, NumCacheClusters=2)
    nodes = [groups.redis(group), groups.redis(group, f"{group}-002")]
    for node in nodes:
        assert node.info("memory")["maxmemory_policy"] == "noeviction"
    with pytest.raises(Exception, match="out of range"):
        nodes[0].execute_command("SELECT", 3)
    change(maxmemory_policy="allkeys-lfu", reserved_memory_percent="50")
    for node in nodes:
        assert node.info("memory")["maxmemory_policy"] == "allkeys-lfu"
        assert node.info("memory")["maxmemory"] == 536870912 // 2
    fixed = {
        "CacheParameterGroupName": name,
        "ParameterNameValues": [{"ParameterName": "databases", "ParameterValue": "4"}],
    }
    assert code(ec.modify_cache_parameter_group, **fixed) == "InvalidParameterValue"  # only while nobody uses the group
    assert code(ec.delete_cache_parameter_group, CacheParameterGroupName=name) == "InvalidCacheParameterGroupState"
    groups.modify(group, CacheParameterGroupName="default.redis7")
    assert nodes[1].info("memory")["maxmemory_policy"] == "volatile-lru"
    ec.delete_cache_parameter_group(CacheParameterGroupName=name)


def test_keyspace_notifications_parameter_works(groups):
    name = "grp-notify"
    groups.ec.create_cache_parameter_group(
        CacheParameterGroupName=name, CacheParameterGroupFamily="valkey8", Description="d"
    )
    values = [{"ParameterName": "notify-keyspace-events", "ParameterValue": "KEA"}]
    groups.ec.modify_cache_parameter_group(CacheParameterGroupName=name, ParameterNameValues=values)
    group = groups.create(Engine="valkey", EngineVersion="8.0", CacheParameterGroupName=name)
    listener = groups.redis(group).pubsub(ignore_subscribe_messages=True)
    listener.psubscribe("__keyevent@0__:set")
    listener.get_message(timeout=5)
    groups.redis(group).set("watched", 1)
    assert wait(lambda: listener.get_message(timeout=1))["data"] == b"watched"
