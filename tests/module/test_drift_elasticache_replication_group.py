"""Every option of elasticache_replication_group: changed by hand, seen as exactly that, mended, nothing else moved.

What AWS cannot change back is refused instead, and nothing is touched.
"""

import copy
import time

import pytest
from elasticache_examples import MODULE, TAGS, Network, delivery
from generated import drift_cases, drifts, every_option_drifts

NAME = "t-drift-redis"
GROUP, SUBNETS = f"replication group {NAME}", f"cache subnet group {NAME}"
PARAMETERS, SECRET = f"cache parameter group {NAME}", f"secret {NAME}/redis"
OTHER = "t-drift-other"


@pytest.fixture(scope="module")
def network(sandbox):
    return Network(sandbox, "t-drift")


@pytest.fixture(scope="module")
def arguments(network):
    """Every option that can drift: a group of two nodes that changes as little as AWS allows, which is most."""
    return network.arguments(
        NAME,
        description="test",
        engine="valkey",
        engine_version="9.0",
        num_nodes=2,
        preferred_cache_cluster_azs=["us-east-1b", "us-east-1a"],
        multi_az_enabled=True,
        automatic_failover_enabled=True,
        subnet_group={"name": NAME, "description": "test", "subnet_ids": network.subnets[:2]},
        parameter_group={
            "name": NAME,
            "family": "valkey9",
            "description": "test",
            "parameters": {"maxmemory-policy": "noeviction", "timeout": 300, "activedefrag": True},
        },
        security_group_ids=network.security_groups[::-1],
        kms_key_id=network.keys[0],
        transit_encryption_mode="required",
        auth_token_enabled=True,
        auth_token_secret={"name": f"{NAME}/redis", "description": "test", "kms_key_id": network.keys[0]},
        snapshot_retention_limit=1,
        snapshot_window="03:00-04:00",
        preferred_maintenance_window="Sun:04:30-Sun:05:30",
        auto_minor_version_upgrade=True,
        notification_topic_arn=network.topics[0],
        log_delivery_configurations=[delivery("slow-log", network.log_groups[0])],
        network_type="dual_stack",
        ip_discovery="ipv4",
        data_tiering_enabled=False,
        durability="sync",
    )


USERS = "t-drift-users"


@pytest.fixture(scope="module")
def arguments_with_users(network):
    """The same for a user group, which excludes a token: what is left out is not compared."""
    default = {"id": f"{USERS}-default", "name": "default", "access_string": "off -@all"}
    return network.arguments(
        USERS,
        user_group={
            "name": USERS,
            "engine": "redis",
            "user_name": "celery",
            "users": [
                {**default, "authentication_type": "no-password-required"},
                {"id": f"{USERS}-celery", "name": "celery", "access_string": "on ~* &* +@all"},
            ],
        },
    )


def user(name="celery", **changes):
    def change(network):
        network.cache.modify_user(UserId=f"{USERS}-{name}", **changes)
        network.users_settled(USERS)

    return change


def other_member(network):
    network.cache.create_user(
        UserId=f"{USERS}-more", UserName="more", Engine="redis", AccessString="on +ping", NoPasswordRequired=True
    )
    network.cache.modify_user_group(UserGroupId=USERS, UserIdsToAdd=[f"{USERS}-more"])
    network.users_settled(USERS)


def engine_of_group(network):
    network.cache.modify_user(UserId=f"{USERS}-default", AuthenticationMode=PASSWORD)
    network.users_settled(USERS)
    network.cache.modify_user_group(UserGroupId=USERS, Engine="valkey")
    network.users_settled(USERS)


def modify(**changes):
    return lambda network: network.modify(NAME, **changes)


def by_hand(method, **changes):
    def change(network):
        getattr(network.cache, method)(**changes)
        network.settled(NAME)

    return change


def logs(kind="slow-log", group=0, form="json", **changes):
    def change(network):
        details = {"CloudWatchLogsDetails": {"LogGroup": network.log_groups[group]}}
        entry = {
            "LogType": kind,
            "DestinationType": "cloudwatch-logs",
            "DestinationDetails": details,
            "LogFormat": form,
        }
        network.modify(NAME, LogDeliveryConfigurations=[{**entry, **changes}])

    return change


def parameter(name, value):
    return by_hand(
        "modify_cache_parameter_group",
        CacheParameterGroupName=NAME,
        ParameterNameValues=[{"ParameterName": name, "ParameterValue": value}],
    )


def tag(kind):
    return by_hand(
        "add_tags_to_resource",
        ResourceName=f"arn:aws:elasticache:us-east-1:123456789012:{kind}:{NAME}",
        Tags=[{"Key": "extra", "Value": "yes"}],
    )


def delete_group(network):
    network.cache.delete_replication_group(ReplicationGroupId=NAME)
    while not network.gone(NAME):
        time.sleep(0.03)


def fields(*paths):
    return {(GROUP, path) for path in paths}


LOG = "log_delivery_configurations.slow-log"
FIREHOSE = {
    "DestinationType": "kinesis-firehose",
    "DestinationDetails": {"KinesisFirehoseDetails": {"DeliveryStream": "s"}},
}
CASES = {
    "description": (modify(ReplicationGroupDescription="by hand"), fields("description")),
    "node_type": (modify(CacheNodeType="cache.t3.small"), fields("node_type")),
    "num_nodes": (
        by_hand("increase_replica_count", ReplicationGroupId=NAME, NewReplicaCount=2, ApplyImmediately=True),
        fields("num_nodes", "preferred_cache_cluster_azs"),
    ),
    "multi_az_enabled": (modify(MultiAZEnabled=False), fields("multi_az_enabled")),
    "automatic_failover_enabled": (
        modify(MultiAZEnabled=False, AutomaticFailoverEnabled=False),
        fields("multi_az_enabled", "automatic_failover_enabled"),
    ),
    "subnet_group.description": (
        by_hand("modify_cache_subnet_group", CacheSubnetGroupName=NAME, CacheSubnetGroupDescription="by hand"),
        {(SUBNETS, "description")},
    ),
    "subnet_group.subnet_ids": (
        lambda network: network.cache.modify_cache_subnet_group(CacheSubnetGroupName=NAME, SubnetIds=network.subnets),
        {(SUBNETS, "subnet_ids")},
    ),
    "parameter_group.name": (modify(CacheParameterGroupName="default.valkey9"), fields("parameter_group")),
    "parameter_group.parameters": (
        parameter("maxmemory-policy", "allkeys-lru"),
        {(PARAMETERS, "parameters.maxmemory-policy")},
    ),
    "parameter_group.parameters added": (
        parameter("slowlog-max-len", "7"),
        {(PARAMETERS, "parameters.slowlog-max-len")},
    ),
    "parameter_group.parameters removed": (
        by_hand(
            "reset_cache_parameter_group",
            CacheParameterGroupName=NAME,
            ParameterNameValues=[{"ParameterName": "timeout", "ParameterValue": ""}],
        ),
        {(PARAMETERS, "parameters.timeout")},
    ),
    "security_group_ids": (
        lambda network: network.modify(NAME, SecurityGroupIds=network.security_groups[:1]),
        fields("security_group_ids"),
    ),
    "transit_encryption_mode": (modify(TransitEncryptionMode="preferred"), fields("transit_encryption_mode")),
    "auth_token_secret.name": (
        lambda network: network.manager.delete_secret(SecretId=f"{NAME}/redis", ForceDeleteWithoutRecovery=True),
        {(SECRET, "create"), (GROUP, "auth_token")},
    ),
    "auth_token_secret.name scheduled for deletion": (
        lambda network: network.manager.delete_secret(SecretId=f"{NAME}/redis", RecoveryWindowInDays=7),
        {(SECRET, "deletion_date")},
    ),
    "auth_token_secret.description": (
        lambda network: network.manager.update_secret(SecretId=f"{NAME}/redis", Description="by hand"),
        {(SECRET, "description")},
    ),
    "auth_token_secret.kms_key_id": (
        lambda network: network.manager.update_secret(SecretId=f"{NAME}/redis", KmsKeyId=network.keys[1]),
        {(SECRET, "kms_key_id")},
    ),
    "snapshot_retention_limit": (modify(SnapshotRetentionLimit=9), fields("snapshot_retention_limit")),
    "snapshot_window": (modify(SnapshotWindow="11:00-12:00"), fields("snapshot_window")),
    "preferred_maintenance_window": (
        modify(PreferredMaintenanceWindow="mon:11:00-mon:12:00"),
        fields("preferred_maintenance_window"),
    ),
    "auto_minor_version_upgrade": (modify(AutoMinorVersionUpgrade=False), fields("auto_minor_version_upgrade")),
    "notification_topic_arn": (
        lambda network: network.modify(NAME, NotificationTopicArn=network.topics[1]),
        fields("notification_topic_arn"),
    ),
    "notification_topic_arn off": (modify(NotificationTopicStatus="inactive"), fields("notification_topic_arn")),
    "log_delivery_configurations.log_type added": (
        logs("engine-log"),
        fields("log_delivery_configurations.engine-log"),
    ),
    "log_delivery_configurations.log_type removed": (
        modify(LogDeliveryConfigurations=[{"LogType": "slow-log", "Enabled": False}]),
        fields(f"{LOG}.destination_type", f"{LOG}.destination", f"{LOG}.log_format"),
    ),
    "log_delivery_configurations.destination": (logs(group=1), fields(f"{LOG}.destination")),
    "log_delivery_configurations.destination_type": (
        logs(**FIREHOSE),
        fields(f"{LOG}.destination_type", f"{LOG}.destination"),
    ),
    "log_delivery_configurations.log_format": (logs(form="text"), fields(f"{LOG}.log_format")),
    "ip_discovery": (modify(IpDiscovery="ipv6"), fields("ip_discovery")),
    "durability": (modify(Durability="async"), fields("durability")),
    "tags": (tag("replicationgroup"), {(GROUP, "tags.extra")}),
    "tags of the subnet group": (tag("subnetgroup"), {(SUBNETS, "tags.extra")}),
    "tags of the parameter group": (tag("parametergroup"), {(PARAMETERS, "tags.extra")}),
    "tags of the secret": (
        lambda network: network.manager.tag_resource(SecretId=f"{NAME}/redis", Tags=[{"Key": "extra", "Value": "yes"}]),
        {(SECRET, "tags.extra")},
    ),
    "name": (delete_group, {(GROUP, "create"), (SECRET, "value.url")}),
}
PASSWORD = {"Type": "password", "Passwords": ["a-Password-of-somebody"]}
CELERY, DEFAULT, MEMBERS = f"cache user {USERS}-celery", f"cache user {USERS}-default", f"user group {USERS}"
USER_CASES = {
    "user_group.name": (
        lambda network: network.modify(USERS, RemoveUserGroups=True),
        {(f"replication group {USERS}", "user_group")},
    ),
    "user_group.engine": (engine_of_group, {(MEMBERS, "engine"), (DEFAULT, "authentication_type")}),
    "user_group.users.id": (other_member, {(MEMBERS, "user_ids")}),
    "user_group.users.access_string": (user(AccessString="on ~* +get"), {(CELERY, "access_string")}),
    "user_group.users.authentication_type": (
        user("default", AuthenticationMode=PASSWORD),
        {(DEFAULT, "authentication_type")},
    ),
    "tags of a user": (
        lambda network: network.cache.add_tags_to_resource(
            ResourceName=f"arn:aws:elasticache:us-east-1:123456789012:user:{USERS}-celery",
            Tags=[{"Key": "extra", "Value": "yes"}],
        ),
        {(CELERY, "tags.extra")},
    ),
}
# What somebody can only change with another group of the same name; what is asked of it is refused.
REFUSED = {
    "engine": ({"engine": "redis", "engine_version": "7.1"}, "the engine from valkey back"),
    "engine_version": ({"engine_version": "7.2"}, "the engine to an older version"),
    "preferred_cache_cluster_azs": ({"preferred_cache_cluster_azs": ["us-east-1b"]}, "the zones of nodes"),
    "subnet_group.name": ({"subnet_group": {"name": NAME}}, "its subnet group"),
    "at_rest_encryption_enabled": ({"at_rest_encryption_enabled": True}, "encryption at rest"),
    "kms_key_id": ({"at_rest_encryption_enabled": True, "kms_key_id": "KEY"}, "encryption at rest"),
    "transit_encryption_enabled": ({"transit_encryption_enabled": False}, "TLS to off while a token is demanded"),
    "auth_token_enabled": ({"auth_token_enabled": False}, "a group that demands a token to none"),
    "network_type": ({"network_type": "dual_stack"}, "its network type"),
    "data_tiering_enabled": ({"data_tiering_enabled": True}, "data tiering"),
    "durability off": ({"durability": "sync"}, "whether writes are durable"),
    "parameter_group.family": ({"parameter_group": {"name": NAME, "family": "valkey8"}}, "has the family 'valkey9'"),
    "parameter_group.description": (
        {"parameter_group": {"name": NAME, "description": "other"}},
        "has the description 'test'",
    ),
}
NO_FIELD = {
    "user_group.user_name": "whom the URL logs in as: part of the secret's value, not of the user group",
    "user_group.users.name": "AWS cannot change it, and one user has it as long as there is one of that id",
    "port": "groups of the sandbox share one address, so it is not compared there; the unit tests do",
    "snapshot_name": "what a group was made from AWS does not say",
    "snapshot_arns": "what a group was made from AWS does not say",
    "auth_token_update_strategy": "how a new token is brought in",
    "auth_token_secret.recovery_window_in_days": "for state absent",
    "state": "says whether there is to be one at all",
    "final_snapshot_identifier": "for state absent",
    "skip_final_snapshot": "for state absent",
    "replace": "a permission",
    "apply_immediately": "when, not what",
    "wait_timeout": "how long, not what",
}
CHOSEN_BY_AWS = {
    "ReplicationGroupCreateTime", "CacheClusterCreateTime", "AuthTokenLastModifiedDate", "LastChangedDate",
    "LastAccessedDate", "CreatedDate", "SecretVersionsToStages", "Port", "SnapshottingClusterId", "ResponseMetadata",
    "CurrentRole",
}  # fmt: skip


def kept(value):
    if isinstance(value, dict):
        return {key: kept(inner) for key, inner in value.items() if key not in CHOSEN_BY_AWS}
    if isinstance(value, list):
        return sorted((kept(inner) for inner in value), key=str)
    return value


@pytest.fixture(scope="module")
def snapshot(network):
    def read():
        cache = network.cache
        tags = {
            kind: cache.list_tags_for_resource(ResourceName=f"arn:aws:elasticache:us-east-1:123456789012:{kind}:{NAME}")
            for kind in ("subnetgroup", "parametergroup")
        }
        group, members = {}, []
        if not network.gone(NAME):
            group = network.group(NAME)
            members = cache.describe_cache_clusters()["CacheClusters"]
            members = [member for member in members if member.get("ReplicationGroupId") == NAME]
            for member in members:
                del member["SnapshotRetentionLimit"]  # of the node that AWS chooses to take it from
            tags["group"] = cache.list_tags_for_resource(ResourceName=group["ARN"])
        subnets = cache.describe_cache_subnet_groups(CacheSubnetGroupName=NAME)["CacheSubnetGroups"]
        values = cache.describe_cache_parameters(CacheParameterGroupName=NAME, Source="user")["Parameters"]
        secrets = network.manager.list_secrets(IncludePlannedDeletion=True)["SecretList"]
        secret = [{**one, "ARN": ""} for one in secrets if one["Name"] == f"{NAME}/redis"]
        return kept([group, members, tags, subnets, values, secret])

    return read


@pytest.mark.parametrize(("change", "expected"), drift_cases(CASES))
def test_drift(module, network, arguments, snapshot, change, expected):
    module(MODULE, arguments)
    drifts(module, MODULE, arguments, snapshot, lambda: change(network), expected)


@pytest.mark.parametrize(("change", "expected"), drift_cases(USER_CASES))
def test_drift_of_users(module, network, arguments_with_users, change, expected):
    module(MODULE, arguments_with_users)

    def read():
        cache = network.cache
        users = [one for one in cache.describe_users()["Users"] if one["UserId"] in MINE]
        tags = [cache.list_tags_for_resource(ResourceName=one["ARN"]) for one in users]
        return kept([users, tags, cache.describe_user_groups(UserGroupId=USERS), network.group(USERS)])

    drifts(module, MODULE, arguments_with_users, read, lambda: change(network), expected)


MINE = {f"{USERS}-default", f"{USERS}-celery"}


@pytest.fixture(scope="module")
def by_others(network):
    """A group that somebody made anew by hand, with everything that cannot be changed otherwise than asked for."""
    network.cache.create_cache_subnet_group(
        CacheSubnetGroupName=OTHER, CacheSubnetGroupDescription="x", SubnetIds=network.subnets[:2]
    )
    network.cache.create_replication_group(
        ReplicationGroupId=OTHER,
        ReplicationGroupDescription="x",
        Engine="valkey",
        EngineVersion="8.0",
        CacheNodeType="cache.t3.micro",
        CacheSubnetGroupName=OTHER,
        PreferredCacheClusterAZs=["us-east-1a"],
        AtRestEncryptionEnabled=False,
        TransitEncryptionEnabled=True,
        AuthToken="a-Token-of-somebody-1",
        Tags=[{"Key": key, "Value": value} for key, value in TAGS.items()],
    )
    network.settled(OTHER)


@pytest.mark.parametrize(("asked", "words"), drift_cases(REFUSED))
def test_refused(module, calls, network, arguments, by_others, asked, words):
    module(MODULE, arguments)
    calls.clear()
    asked = copy.deepcopy(asked)
    if "kms_key_id" in asked:
        asked["kms_key_id"] = network.keys[0]
    secret = {"name": f"{OTHER}/redis"} if "auth_token_enabled" in asked else None
    wanted = {"name": OTHER, "tags": TAGS, "auth_token_secret": secret, **asked}
    for check in (True, False):
        assert words in module(MODULE, wanted, check=check, expect_failure=True)["msg"]
    assert calls.writes == []


def test_every_option_has_a_case(arguments, arguments_with_users):
    every_option_drifts(MODULE, CASES | REFUSED | USER_CASES, NO_FIELD, arguments, arguments_with_users)
