import pytest
import redis


def test_ping_with_tls_and_token(connect):
    assert connect("nexus-learn").ping()


def test_a_wrong_token_is_refused(connect):
    with pytest.raises(redis.AuthenticationError):
        connect("nexus-learn", token="wrong" * 5).ping()


def test_nothing_is_evicted(connect):
    assert connect("nexus-learn").info("memory")["maxmemory_policy"] == "noeviction"


def test_what_is_written_is_read_from_the_replica(connect, eventually):
    connect("nexus-learn").set("molecule", "was here")
    assert eventually(lambda: connect("nexus-learn", reader=True).get("molecule")) == b"was here"


def test_the_group_is_what_was_asked_for(client):
    group = client("elasticache").describe_replication_groups(ReplicationGroupId="nexus-learn-redis")
    group = group["ReplicationGroups"][0]
    assert len(group["MemberClusters"]) == 2
    assert (group["AutomaticFailover"], group["MultiAZ"]) == ("enabled", "enabled")
    assert (group["SnapshotRetentionLimit"], group["SnapshotWindow"]) == (7, "01:00-02:00")
    assert group["AtRestEncryptionEnabled"]
    assert group["TransitEncryptionEnabled"]
