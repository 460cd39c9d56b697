"""What AWS refuses, by error code."""

import pytest
from elasticache_support import TOKEN, Groups, code

COMBINATION, VALUE = "InvalidParameterCombination", "InvalidParameterValue"
SLOW_LOG = {
    "LogType": "slow-log",
    "DestinationType": "cloudwatch-logs",
    "DestinationDetails": {"CloudWatchLogsDetails": {"LogGroup": "/no/such/group"}},
    "LogFormat": "json",
}


@pytest.fixture(scope="module")
def groups(sandbox):
    groups = Groups(sandbox, "refused")
    yield groups
    groups.delete_all()


@pytest.fixture(scope="module")
def one(groups) -> str:
    return groups.create()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"ReplicationGroupId": "1abc"}, VALUE),
        ({"ReplicationGroupId": "a--b"}, VALUE),
        ({"ReplicationGroupId": "ends-"}, VALUE),
        ({"ReplicationGroupId": "x" * 41}, VALUE),
        ({"CacheNodeType": "cache.t9.nano"}, VALUE),
        ({"CacheNodeType": "cache.t1.micro"}, COMBINATION),
        ({"CacheNodeType": "cache.m3.large"}, COMBINATION),
        ({"Engine": "memcached"}, VALUE),
        ({"EngineVersion": "9.9"}, COMBINATION),
        ({"Engine": "valkey", "EngineVersion": "7.0"}, COMBINATION),
        ({"NumCacheClusters": 7}, VALUE),
        ({"NumCacheClusters": 2, "ReplicasPerNodeGroup": 1}, COMBINATION),
        ({"NumNodeGroups": 2}, COMBINATION),
        ({"AutomaticFailoverEnabled": True}, COMBINATION),
        ({"MultiAZEnabled": True, "NumCacheClusters": 2}, COMBINATION),
        ({"AuthToken": TOKEN}, COMBINATION),
        ({"AuthToken": "short", "TransitEncryptionEnabled": True}, VALUE),
        ({"AuthToken": "x" * 129, "TransitEncryptionEnabled": True}, VALUE),
        ({"AuthToken": "with-an-@-and-a-/-in-it", "TransitEncryptionEnabled": True}, VALUE),
        ({"TransitEncryptionMode": "preferred"}, COMBINATION),
        ({"TransitEncryptionEnabled": True, "TransitEncryptionMode": "perhaps"}, VALUE),
        ({"CacheSubnetGroupName": "nobody"}, "CacheSubnetGroupNotFoundFault"),
        ({"CacheParameterGroupName": "nobody"}, "CacheParameterGroupNotFound"),
        ({"CacheParameterGroupName": "default.redis6.x"}, COMBINATION),
        ({"CacheParameterGroupName": "default.redis7.cluster.on"}, COMBINATION),
        ({"SecurityGroupIds": ["sg-12345678"]}, VALUE),
        ({"SnapshotRetentionLimit": 36}, VALUE),
        ({"SnapshotWindow": "25:00-26:00"}, VALUE),
        ({"PreferredMaintenanceWindow": "someday"}, VALUE),
        ({"KmsKeyId": "00000000-0000-0000-0000-000000000000"}, COMBINATION),
        ({"KmsKeyId": "00000000-0000-0000-0000-000000000000", "AtRestEncryptionEnabled": True}, "InvalidKMSKeyFault"),
        ({"DataTieringEnabled": True}, COMBINATION),
        ({"CacheNodeType": "cache.r6gd.xlarge"}, COMBINATION),
        ({"PreferredCacheClusterAZs": ["us-east-1a", "us-east-1b"]}, COMBINATION),
        ({"PreferredCacheClusterAZs": ["eu-west-1a"]}, VALUE),
        ({"SnapshotName": "nobody"}, "SnapshotNotFoundFault"),
        ({"SnapshotArns": ["arn:aws:s3:::bucket/redis.rdb"]}, VALUE),
        ({"SnapshotArns": ["arn:aws:s3:::a/b", "arn:aws:s3:::c/d"]}, COMBINATION),
        ({"UserGroupIds": ["nobody"], "TransitEncryptionEnabled": True}, "UserGroupNotFound"),
        ({"NetworkType": "ipv6"}, COMBINATION),
        ({"NetworkType": "ipv6", "IpDiscovery": "ipv6"}, COMBINATION),
        ({"Durability": "sync"}, COMBINATION),
        ({"LogDeliveryConfigurations": [SLOW_LOG]}, VALUE),
        ({"Tags": [{"Key": "aws:mine", "Value": "x"}]}, VALUE),
    ],
)
def test_create_is_refused(groups, arguments, expected):
    given = {
        "ReplicationGroupId": "refused-create",
        "ReplicationGroupDescription": "d",
        "CacheNodeType": "cache.t3.micro",
        "EngineVersion": "7.0",
        **arguments,
    }
    assert code(groups.ec.create_replication_group, **given) == expected
    assert groups.gone(given["ReplicationGroupId"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"AutomaticFailoverEnabled": True}, COMBINATION),
        ({"MultiAZEnabled": True}, COMBINATION),
        ({"AuthToken": TOKEN}, COMBINATION),
        ({"AuthTokenUpdateStrategy": "ROTATE"}, COMBINATION),
        ({"AuthTokenUpdateStrategy": "BANANA", "AuthToken": TOKEN}, VALUE),
        ({"AuthTokenUpdateStrategy": "DELETE"}, COMBINATION),
        ({"AuthTokenUpdateStrategy": "DELETE", "AuthToken": TOKEN}, COMBINATION),
        ({"TransitEncryptionEnabled": True}, COMBINATION),
        ({"TransitEncryptionEnabled": True, "TransitEncryptionMode": "required"}, COMBINATION),
        ({"TransitEncryptionMode": "preferred"}, COMBINATION),
        ({"CacheNodeType": "cache.none"}, VALUE),
        ({"EngineVersion": "6.2"}, COMBINATION),
        ({"CacheParameterGroupName": "nobody"}, "CacheParameterGroupNotFound"),
        ({"CacheParameterGroupName": "default.valkey8"}, COMBINATION),
        ({"SecurityGroupIds": ["sg-12345678"]}, VALUE),
        ({"PrimaryClusterId": "nobody"}, "CacheClusterNotFound"),
        ({"SnapshotRetentionLimit": -1}, VALUE),
        ({"NotificationTopicStatus": "loud"}, VALUE),
        ({"UserGroupIdsToAdd": ["g"]}, "UserGroupNotFound"),
        ({"UserGroupIdsToRemove": ["g"]}, VALUE),
        ({"Durability": "async"}, COMBINATION),
        ({"IpDiscovery": "ipv6"}, COMBINATION),
    ],
)
def test_modify_is_refused(groups, one, arguments, expected):
    refused = code(groups.ec.modify_replication_group, ReplicationGroupId=one, ApplyImmediately=True, **arguments)
    assert refused == expected
    group = groups.describe(one)
    assert (group["Status"], group["PendingModifiedValues"]) == ("available", {})


def test_unknown_names(groups):
    ec, name = groups.ec, {"ReplicationGroupId": "refused-nobody"}
    unknown = "ReplicationGroupNotFoundFault"
    assert code(ec.describe_replication_groups, **name) == unknown
    assert code(ec.modify_replication_group, **name) == unknown
    assert code(ec.delete_replication_group, **name) == unknown
    assert code(ec.test_failover, **name, NodeGroupId="0001") == unknown
    assert code(ec.increase_replica_count, **name, NewReplicaCount=1, ApplyImmediately=True) == unknown
    assert code(ec.describe_snapshots, SnapshotName="nobody") == "SnapshotNotFoundFault"


def test_duplicate(groups, one):
    again = {"ReplicationGroupId": one.upper(), "ReplicationGroupDescription": "d", "CacheNodeType": "cache.t3.micro"}
    assert code(groups.ec.create_replication_group, **again) == "ReplicationGroupAlreadyExists"


def test_failover_and_replica_counts(groups, one):
    ec = groups.ec
    assert code(ec.test_failover, ReplicationGroupId=one, NodeGroupId="0001") == "InvalidReplicationGroupState"
    assert code(ec.test_failover, ReplicationGroupId=one, NodeGroupId="0002") == "NodeGroupNotFoundFault"
    change = {"ReplicationGroupId": one, "ApplyImmediately": True}
    assert code(ec.increase_replica_count, **change, NewReplicaCount=6) == VALUE
    assert code(ec.increase_replica_count, **{**change, "ApplyImmediately": False}, NewReplicaCount=1) == VALUE
    assert code(ec.decrease_replica_count, **change, ReplicasToRemove=[f"{one}-001"]) == VALUE
    assert code(ec.decrease_replica_count, **change, NewReplicaCount=0) == "NoOperationFault"


def test_name_of_the_final_snapshot_is_taken(groups, one):
    other = groups.create()
    groups.ec.delete_replication_group(ReplicationGroupId=other, FinalSnapshotIdentifier="refused-final")
    deletion = {"ReplicationGroupId": one, "FinalSnapshotIdentifier": "refused-final"}
    assert code(groups.ec.delete_replication_group, **deletion) == "SnapshotAlreadyExistsFault"
    assert groups.describe(one)["Status"] == "available"


def test_paging_is_checked(groups):
    assert code(groups.ec.describe_replication_groups, MaxRecords=5) == VALUE
    assert code(groups.ec.describe_replication_groups, Marker="nowhere") == VALUE
    assert code(groups.ec.describe_events, SourceIdentifier="x") == COMBINATION
