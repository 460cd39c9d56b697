"""Replication groups through the API: what they look like, how they change, their tags and events."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from elasticache_support import TOKEN, Groups, code, wait

from sandbox.processes import start_time


@pytest.fixture(scope="module")
def groups(sandbox):
    groups = Groups(sandbox, "api")
    yield groups
    groups.delete_all()


@pytest.fixture(scope="module")
def network(sandbox) -> dict:
    """A VPC with a subnet in each of two zones, a security group and a cache subnet group over both subnets."""
    ec2, ec = sandbox.client("ec2"), sandbox.client("elasticache")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{n}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for n, zone in enumerate(("us-east-1b", "us-east-1d"))
    ]
    group = ec2.create_security_group(GroupName="redis", Description="redis", VpcId=vpc)["GroupId"]
    name = "api-subnets"
    ec.create_cache_subnet_group(CacheSubnetGroupName=name, CacheSubnetGroupDescription="two", SubnetIds=subnets)
    return {"vpc": vpc, "subnets": subnets, "security_group": group, "subnet_group": name}


@pytest.fixture(scope="module")
def rich(groups, network) -> str:
    """A group with every setting given."""
    groups.ec.create_cache_parameter_group(
        CacheParameterGroupName="api-rich", CacheParameterGroupFamily="redis7", Description="d"
    )
    key = groups.sandbox.client("kms").create_key()["KeyMetadata"]["Arn"]
    groups.sandbox.client("logs").create_log_group(logGroupName="/redis/slow")
    return groups.create(
        NumCacheClusters=2,
        AutomaticFailoverEnabled=True,
        MultiAZEnabled=True,
        CacheNodeType="cache.t3.medium",
        EngineVersion="7.1",
        CacheParameterGroupName="api-rich",
        CacheSubnetGroupName=network["subnet_group"],
        SecurityGroupIds=[network["security_group"]],
        SnapshotRetentionLimit=7,
        SnapshotWindow="03:00-05:00",
        PreferredMaintenanceWindow="Sun:05:00-Sun:07:00",
        NotificationTopicArn="arn:aws:sns:us-east-1:123456789012:topic",
        AutoMinorVersionUpgrade=False,
        AuthToken=TOKEN,
        TransitEncryptionEnabled=True,
        AtRestEncryptionEnabled=True,
        KmsKeyId=key,
        LogDeliveryConfigurations=[
            {
                "LogType": "slow-log",
                "DestinationType": "cloudwatch-logs",
                "DestinationDetails": {"CloudWatchLogsDetails": {"LogGroup": "/redis/slow"}},
                "LogFormat": "json",
            }
        ],
        Tags=[{"Key": "Project", "Value": "nexus-learn"}],
    )


def test_a_new_group_is_creating_and_then_available(groups):
    name = "api-new"
    created = groups.ec.create_replication_group(
        ReplicationGroupId=name, ReplicationGroupDescription="d", CacheNodeType="cache.t3.micro"
    )["ReplicationGroup"]
    assert created["Status"] == "creating"
    assert "NodeGroups" not in created
    groups.available(name)
    assert groups.messages("replication-group", name) == [f"Replication group {name} created"]
    assert groups.messages("cache-cluster", f"{name}-001")[-1] == "Cache cluster created"


def test_only_an_available_group_can_be_changed(groups):
    name = groups.create()
    pid = groups.redis(name).info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)  # the change cannot end before its node answers again
    try:
        change = {"ReplicationGroupId": name, "ApplyImmediately": True, "CacheNodeType": "cache.t3.small"}
        changing = groups.ec.modify_replication_group(**change)["ReplicationGroup"]
        assert changing["Status"] == groups.describe(name)["Status"] == "modifying"
        assert code(groups.ec.modify_replication_group, **change) == "InvalidReplicationGroupState"
        assert code(groups.ec.delete_replication_group, ReplicationGroupId=name) == "InvalidReplicationGroupState"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert groups.available(name)["CacheNodeType"] == "cache.t3.small"


def test_of_concurrent_changes_exactly_one_is_accepted(groups):
    name = groups.create()
    pid = groups.redis(name).info("server")["process_id"]
    start = threading.Barrier(8)

    def change(number: int) -> str:
        start.wait(20)
        try:
            groups.ec.modify_replication_group(
                ReplicationGroupId=name, ApplyImmediately=True, CacheNodeType="cache.t3.small",
                ReplicationGroupDescription=f"change {number}",
            )  # fmt: skip
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "accepted"

    os.kill(pid, signal.SIGSTOP)  # the one that is accepted does not end before the others have asked
    try:
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(change, range(8)))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert sorted(outcomes) == ["InvalidReplicationGroupState"] * 7 + ["accepted"]
    assert groups.available(name)["Description"] == f"change {outcomes.index('accepted')}"


def test_every_setting_is_described(groups, rich, network):
    group = groups.describe(rich)
    expected = {
        "Status": "available",
        "MemberClusters": [f"{rich}-001", f"{rich}-002"],
        "AutomaticFailover": "enabled",
        "MultiAZ": "enabled",
        "CacheNodeType": "cache.t3.medium",
        "SnapshotRetentionLimit": 7,
        "SnapshotWindow": "03:00-05:00",
        "SnapshottingClusterId": f"{rich}-002",
        "AuthTokenEnabled": True,
        "TransitEncryptionEnabled": True,
        "TransitEncryptionMode": "required",
        "AtRestEncryptionEnabled": True,
        "AutoMinorVersionUpgrade": False,
        "ClusterEnabled": False,
        "ClusterMode": "disabled",
        "DataTiering": "disabled",
        "NetworkType": "ipv4",
        "IpDiscovery": "ipv4",
        "Engine": "redis",
        "PendingModifiedValues": {},
        "ARN": f"arn:aws:elasticache:us-east-1:123456789012:replicationgroup:{rich}",
    }
    assert {name: group[name] for name in expected} == expected
    assert group["KmsKeyId"].startswith("arn:aws:kms:")
    assert group["LogDeliveryConfigurations"][0]["Status"] == "active"
    node_group = group["NodeGroups"][0]
    assert node_group["NodeGroupId"] == "0001"
    ports = {node_group["PrimaryEndpoint"]["Port"], node_group["ReaderEndpoint"]["Port"]}
    ports |= {member["ReadEndpoint"]["Port"] for member in node_group["NodeGroupMembers"]}
    assert len(ports) == 4
    zones = [member["PreferredAvailabilityZone"] for member in node_group["NodeGroupMembers"]]
    assert zones == ["us-east-1b", "us-east-1d"]
    assert [member["CurrentRole"] for member in node_group["NodeGroupMembers"]] == ["primary", "replica"]

    clusters = groups.ec.describe_cache_clusters(ShowCacheNodeInfo=True)["CacheClusters"]
    member = next(cluster for cluster in clusters if cluster["CacheClusterId"] == f"{rich}-001")
    expected = {
        "CacheClusterStatus": "available",
        "Engine": "redis",
        "EngineVersion": "7.1.0",
        "CacheSubnetGroupName": network["subnet_group"],
        "SecurityGroups": [{"SecurityGroupId": network["security_group"], "Status": "active"}],
        "ReplicationGroupId": rich,
        "NumCacheNodes": 1,
        "PreferredMaintenanceWindow": "sun:05:00-sun:07:00",
        "AtRestEncryptionEnabled": True,
        "ARN": f"arn:aws:elasticache:us-east-1:123456789012:cluster:{rich}-001",
    }
    assert {name: member[name] for name in expected} == expected
    assert member["CacheParameterGroup"]["CacheParameterGroupName"] == "api-rich"
    assert member["NotificationConfiguration"]["TopicArn"].endswith(":topic")
    primary = next(m for m in node_group["NodeGroupMembers"] if m["CurrentRole"] == "primary")
    assert member["CacheNodes"][0]["Endpoint"] == primary["ReadEndpoint"]
    assert "CacheNodes" not in groups.ec.describe_cache_clusters(CacheClusterId=f"{rich}-002")["CacheClusters"][0]


@pytest.mark.parametrize(
    ("engine", "asked", "reported"),
    [("redis", "6.0", "6.0.5"), ("redis", "6.2", "6.2.6"), ("redis", "7.0", "7.0.7"), ("redis", "7.1", "7.1.0"),
     ("valkey", "7.2", "7.2.6"), ("valkey", "8.0", "8.0.1"), ("valkey", "9.1", "9.1.0")],
)  # fmt: skip
def test_engine_versions_are_reported_as_aws_does(groups, engine, asked, reported):
    versions = groups.ec.describe_cache_engine_versions(Engine=engine, EngineVersion=asked)["CacheEngineVersions"]
    assert len(versions) == 1
    name = f"api-{engine}-{asked.replace('.', '-')}"
    groups.ec.create_replication_group(
        ReplicationGroupId=name,
        ReplicationGroupDescription="d",
        CacheNodeType="cache.t3.micro",
        Engine=engine,
        EngineVersion=asked,
    )
    cluster = groups.ec.describe_cache_clusters(CacheClusterId=f"{name}-001")["CacheClusters"][0]
    assert cluster["EngineVersion"] == reported
    family = versions[0]["CacheParameterGroupFamily"]
    assert cluster["CacheParameterGroup"]["CacheParameterGroupName"] == f"default.{family}"
    groups.available(name)
    groups.ec.delete_replication_group(ReplicationGroupId=name)


def test_settings_without_effect_on_nodes_are_modified(groups, rich, network):
    group = groups.modify(
        rich,
        ReplicationGroupDescription="other",
        SnapshotRetentionLimit=3,
        SnapshotWindow="01:00-02:00",
        PreferredMaintenanceWindow="mon:05:00-mon:07:00",
        AutoMinorVersionUpgrade=True,
        NotificationTopicStatus="inactive",
        SecurityGroupIds=[groups.sandbox.client("ec2").create_security_group(
            GroupName="other", Description="d", VpcId=network["vpc"])["GroupId"]],
        LogDeliveryConfigurations=[{"LogType": "slow-log", "Enabled": False}],
    )  # fmt: skip
    assert (group["Description"], group["SnapshotRetentionLimit"], group["SnapshotWindow"]) == (
        "other",
        3,
        "01:00-02:00",
    )
    assert group["AutoMinorVersionUpgrade"] is True
    assert group["LogDeliveryConfigurations"] == []
    cluster = groups.ec.describe_cache_clusters(CacheClusterId=f"{rich}-001")["CacheClusters"][0]
    assert cluster["PreferredMaintenanceWindow"] == "mon:05:00-mon:07:00"
    assert cluster["NotificationConfiguration"]["TopicStatus"] == "inactive"
    assert cluster["SecurityGroups"][0]["SecurityGroupId"] != network["security_group"]


def test_asking_for_what_is_there_changes_nothing(groups, rich):
    group = groups.ec.modify_replication_group(
        ReplicationGroupId=rich, ApplyImmediately=True, CacheNodeType="cache.t3.medium", EngineVersion="7.1"
    )["ReplicationGroup"]
    assert group["Status"] == "available"


def test_changes_of_nodes_wait_unless_applied_immediately(groups):
    name = groups.create()
    client = groups.redis(name)
    memory = client.info("memory")["maxmemory"]
    groups.ec.modify_replication_group(ReplicationGroupId=name, CacheNodeType="cache.t3.small", EngineVersion="7.1")
    group = groups.available(name)
    cluster = groups.ec.describe_cache_clusters(CacheClusterId=f"{name}-001")["CacheClusters"][0]
    assert group["CacheNodeType"] == "cache.t3.micro"
    assert (cluster["EngineVersion"], cluster["CacheNodeType"]) == ("7.0.7", "cache.t3.micro")
    assert cluster["PendingModifiedValues"] == {"EngineVersion": "7.1.0", "CacheNodeType": "cache.t3.small"}
    assert client.info("memory")["maxmemory"] == memory
    groups.modify(name)
    cluster = groups.ec.describe_cache_clusters(CacheClusterId=f"{name}-001")["CacheClusters"][0]
    assert (cluster["EngineVersion"], cluster["CacheNodeType"]) == ("7.1.0", "cache.t3.small")
    assert cluster["PendingModifiedValues"] == {}
    assert groups.redis(name).info("memory")["maxmemory"] == 1471026299 * 75 // 100


def test_pending_change_can_be_called_off(groups):
    name = groups.create(TransitEncryptionEnabled=True, AuthToken=TOKEN)
    groups.ec.modify_replication_group(ReplicationGroupId=name, AuthToken=TOKEN.replace("first", "second"))
    assert groups.describe(name)["PendingModifiedValues"] == {"AuthTokenStatus": "ROTATING"}
    groups.ec.modify_replication_group(ReplicationGroupId=name, AuthToken=TOKEN, AuthTokenUpdateStrategy="SET")
    assert groups.describe(name)["PendingModifiedValues"] == {}


def test_engine_upgrade_takes_a_parameter_group_of_the_new_family(groups):
    name = groups.create(EngineVersion="6.2")
    downgrade = {"ReplicationGroupId": name, "EngineVersion": "6.0", "ApplyImmediately": True}
    assert code(groups.ec.modify_replication_group, **downgrade) == "InvalidParameterCombination"
    groups.modify(name, EngineVersion="7.0")
    cluster = groups.ec.describe_cache_clusters(CacheClusterId=f"{name}-001")["CacheClusters"][0]
    assert cluster["EngineVersion"] == "7.0.7"
    assert cluster["CacheParameterGroup"]["CacheParameterGroupName"] == "default.redis7"
    groups.modify(name, Engine="valkey", EngineVersion="8.0")
    assert groups.describe(name)["Engine"] == "valkey"


def test_custom_parameter_group_must_be_replaced_in_an_upgrade(groups):
    groups.ec.create_cache_parameter_group(
        CacheParameterGroupName="api-six", CacheParameterGroupFamily="redis6.x", Description="d"
    )
    name = groups.create(EngineVersion="6.2", CacheParameterGroupName="api-six")
    upgrade = {"ReplicationGroupId": name, "EngineVersion": "7.0", "ApplyImmediately": True}
    assert code(groups.ec.modify_replication_group, **upgrade) == "InvalidParameterCombination"
    groups.modify(name, EngineVersion="7.0", CacheParameterGroupName="default.redis7")


def test_replica_count_and_failover_go_up_and_down(groups):
    name = groups.create()
    change = {"ReplicationGroupId": name, "ApplyImmediately": True}
    assert code(groups.ec.increase_replica_count, **change, NewReplicaCount=0) == "NoOperationFault"
    group = groups.ec.increase_replica_count(**change, NewReplicaCount=2)["ReplicationGroup"]
    assert group["Status"] == "modifying"
    assert groups.available(name)["MemberClusters"] == [f"{name}-001", f"{name}-002", f"{name}-003"]
    assert groups.redis(name).info("replication")["connected_slaves"] == 2
    enabling = groups.ec.modify_replication_group(
        **change, AutomaticFailoverEnabled=True, MultiAZEnabled=True
    )["ReplicationGroup"]  # fmt: skip
    assert enabling["AutomaticFailover"] == "enabling"
    group = groups.available(name)
    assert (group["AutomaticFailover"], group["MultiAZ"]) == ("enabled", "enabled")
    assert code(groups.ec.decrease_replica_count, **change, NewReplicaCount=0) == "InvalidParameterValue"
    groups.ec.decrease_replica_count(**change, ReplicasToRemove=[f"{name}-002"])
    assert groups.available(name)["MemberClusters"] == [f"{name}-001", f"{name}-003"]
    assert code(groups.ec.describe_cache_clusters, CacheClusterId=f"{name}-002") == "CacheClusterNotFound"
    off = {**change, "AutomaticFailoverEnabled": False}
    assert code(groups.ec.modify_replication_group, **off) == "InvalidParameterCombination"  # Multi-AZ still on
    groups.modify(name, AutomaticFailoverEnabled=False, MultiAZEnabled=False)
    groups.ec.decrease_replica_count(**change, NewReplicaCount=0)
    assert groups.available(name)["MemberClusters"] == [f"{name}-001"]


def test_after_deleting_everything_is_gone(groups):
    name = groups.create()
    pid = groups.redis(name).info("server")["process_id"]
    group = groups.ec.delete_replication_group(ReplicationGroupId=name)["ReplicationGroup"]
    assert group["Status"] == "deleting"
    waiter = groups.ec.get_waiter("replication_group_deleted")
    waiter.wait(ReplicationGroupId=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert code(groups.ec.describe_replication_groups, ReplicationGroupId=name) == "ReplicationGroupNotFoundFault"
    assert code(groups.ec.describe_cache_clusters, CacheClusterId=f"{name}-001") == "CacheClusterNotFound"
    assert not Path(f"/proc/{pid}").exists()


def test_tags(groups, rich, network):
    ec, arn = groups.ec, groups.describe(rich)["ARN"]
    assert ec.list_tags_for_resource(ResourceName=arn)["TagList"] == [{"Key": "Project", "Value": "nexus-learn"}]
    ec.add_tags_to_resource(ResourceName=arn, Tags=[{"Key": "Environment", "Value": "dev"}])
    member = arn.replace("replicationgroup:", "cluster:") + "-001"
    assert len(ec.list_tags_for_resource(ResourceName=member)["TagList"]) == 2
    tagging = groups.sandbox.client("resourcegroupstaggingapi")
    found = tagging.get_resources(
        ResourceTypeFilters=["elasticache"], TagFilters=[{"Key": "Environment", "Values": ["dev"]}]
    )["ResourceTagMappingList"]  # fmt: skip
    assert [resource["ResourceARN"] for resource in found] == [arn]
    ec.remove_tags_from_resource(ResourceName=arn, TagKeys=["Environment"])
    assert code(ec.remove_tags_from_resource, ResourceName=arn, TagKeys=["Environment"]) == "TagNotFound"
    assert code(ec.list_tags_for_resource, ResourceName=arn + "x") == "ReplicationGroupNotFoundFault"
    assert code(ec.list_tags_for_resource, ResourceName="nonsense") == "InvalidARN"
    subnets = ec.describe_cache_subnet_groups(CacheSubnetGroupName=network["subnet_group"])["CacheSubnetGroups"][0]
    ec.add_tags_to_resource(ResourceName=subnets["ARN"], Tags=[{"Key": "a", "Value": "b"}])
    assert ec.list_tags_for_resource(ResourceName=subnets["ARN"])["TagList"] == [{"Key": "a", "Value": "b"}]


def test_allowed_node_types(groups, rich):
    allowed = groups.ec.list_allowed_node_type_modifications(ReplicationGroupId=rich)
    assert "cache.m5.large" in allowed["ScaleUpModifications"]
    assert "cache.t3.micro" in allowed["ScaleDownModifications"]
    assert "cache.t3.medium" not in allowed["ScaleUpModifications"] + allowed["ScaleDownModifications"]


def test_what_is_not_offered_answers_an_aws_error(groups):
    assert code(groups.ec.describe_serverless_caches)
    assert code(groups.ec.create_snapshot, SnapshotName="s")


def test_regions_are_apart(groups, sandbox):
    assert sandbox.client("elasticache", "eu-west-1").describe_replication_groups()["ReplicationGroups"] == []


def test_reset_stops_the_nodes_and_forgets(start_sandbox):
    own = start_sandbox()
    groups = Groups(own, "reset")
    name = groups.create(NumCacheClusters=2)
    pid = groups.redis(name).info("server")["process_id"]
    groups.ec.create_replication_group(
        ReplicationGroupId="reset-in-creation", ReplicationGroupDescription="d", CacheNodeType="cache.t3.micro"
    )
    own.run("reset")
    assert groups.ec.describe_replication_groups()["ReplicationGroups"] == []
    assert groups.ec.describe_events()["Events"] == []
    wait(lambda: not list((own.home / "processes").glob("*")))
    assert not Path(f"/proc/{pid}").exists()
    assert groups.redis(groups.create()).ping()


@pytest.mark.parametrize("end", ["down", "kill -9"])
def test_no_node_outlives_the_daemon(start_sandbox, end):
    own = start_sandbox()
    groups = Groups(own, "end")
    name = groups.create(NumCacheClusters=2)
    pids = [groups.redis(name, node).info("server")["process_id"] for node in (f"{name}-001", f"{name}-002")]
    assert len(set(pids)) == 2
    if end == "down":
        own.down()
        assert [start_time(pid) for pid in pids] == [None, None]
    else:
        os.kill(own.status()["pid"], signal.SIGKILL)
        wait(lambda: [start_time(pid) for pid in pids] == [None, None])
