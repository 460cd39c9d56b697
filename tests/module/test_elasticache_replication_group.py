"""Replication groups with real Redis behind them. A group takes a second or two, so tests share one where they can."""

import itertools
import json
import time
import urllib.parse

import pytest
import redis

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
NAME = "elasticache_replication_group"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cache(sandbox):
    return sandbox.client("elasticache")


@pytest.fixture(scope="module")
def manager(sandbox):
    return sandbox.client("secretsmanager")


@pytest.fixture(scope="module")
def network(sandbox):
    """Three subnets in two zones, two security groups, a topic, two KMS keys."""
    ec2 = sandbox.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    kms = sandbox.client("kms")
    return {
        "subnets": [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.7.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")[
                "Subnet"
            ]["SubnetId"]
            for number, zone in enumerate("aba")
        ],
        "groups": [
            ec2.create_security_group(VpcId=vpc, GroupName=f"t-redis-{letter}", Description="test")["GroupId"]
            for letter in "ab"
        ],
        "topics": [sandbox.client("sns").create_topic(Name=f"t-redis-{letter}")["TopicArn"] for letter in "ab"],
        "keys": [kms.create_key()["KeyMetadata"]["Arn"] for _ in "ab"],
    }


@pytest.fixture
def args(network):
    """args(**changes): every option of a group of its own; None takes an option away."""
    name = f"t-mod-{next(_numbers)}"

    def build(**changes):
        full = {
            "name": name,
            "description": "test",
            "engine": "redis",
            "engine_version": "7.0",
            "node_type": "cache.t3.micro",
            "num_nodes": 1,
            "port": 6379,
            "multi_az_enabled": False,
            "automatic_failover_enabled": False,
            "subnet_group": {"name": name, "description": "test", "subnet_ids": network["subnets"][:2]},
            "parameter_group": {
                "name": name,
                "family": "redis7",
                "description": "test",
                "parameters": {"maxmemory-policy": "noeviction", "timeout": 300, "activedefrag": True},
            },
            "security_group_ids": network["groups"],
            "at_rest_encryption_enabled": True,
            "transit_encryption_enabled": True,
            "auth_token_secret": {"name": f"{name}/redis", "description": "test"},
            "snapshot_retention_limit": 1,
            "snapshot_window": "03:00-04:00",
            "preferred_maintenance_window": "Sun:04:30-Sun:05:30",
            "auto_minor_version_upgrade": True,
            "notification_topic_arn": network["topics"][0],
            "tags": TAGS,
            "wait_timeout": 60,
            **changes,
        }
        return {key: value for key, value in full.items() if value is not None}

    return build


def group_of(cache, name):
    return cache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]


def settled(cache, name):
    """Wait until a change made by a test is done."""
    deadline = time.monotonic() + 40
    while group_of(cache, name)["Status"] != "available":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def value_of(manager, name):
    return json.loads(manager.get_secret_value(SecretId=f"{name}/redis")["SecretString"])


def connect(sandbox, manager, name, token=None):
    """A client made from the URL in the secret, as Celery makes its own; with another token, or "" for none."""
    value = value_of(manager, name)
    url = value["url"]
    if token is not None:
        url = url.replace(f":{value['auth_token']}@", f":{token}@" if token else "")
    tls = {"ssl_ca_certs": str(sandbox.home / "ca.pem")} if url.startswith("rediss") else {}
    return redis.Redis.from_url(url, **tls)


def listed(result):
    return [(c["resource"], c["action"], c["path"]) for c in result["changes"]]


def notes(result):
    return {c["path"]: (c["impact"], c["note"]) for c in result["changes"]}


# ---- create ----


def test_create(quartet, sandbox, cache, manager, args):
    result = quartet(NAME, args())
    name = args()["name"]
    assert listed(result) == [
        (f"cache subnet group {name}", "create", ""),
        (f"cache parameter group {name}", "create", ""),
        (f"secret {name}/redis", "create", ""),
        (f"replication group {name}", "create", ""),
    ]
    assert result["auth_token_secret_version_id"] == manager.get_secret_value(SecretId=f"{name}/redis")["VersionId"]
    group = result["replication_group"]
    assert (group["status"], group["engine_version"], group["num_nodes"]) == ("available", "7.0.7", 1)
    assert result["auth_token_secret_arn"] == manager.describe_secret(SecretId=f"{name}/redis")["ARN"]

    value = value_of(manager, name)
    url = urllib.parse.urlsplit(value["url"])
    assert (url.scheme, url.password, url.query) == ("rediss", value["auth_token"], "ssl_cert_reqs=required")
    assert {"address": url.hostname, "port": url.port} == group["primary_endpoint"]
    assert len(value["auth_token"]) == 64
    client = connect(sandbox, manager, name)
    assert client.ping()
    assert client.info("memory")["maxmemory_policy"] == "noeviction"
    with pytest.raises(redis.AuthenticationError):
        connect(sandbox, manager, name, token="wrong").ping()
    assert value["auth_token"] not in json.dumps(result)
    assert value["auth_token"] not in json.dumps(quartet(NAME, args(description="other")))

    for kind in ("replicationgroup", "subnetgroup", "parametergroup"):
        arn = f"arn:aws:elasticache:us-east-1:123456789012:{kind}:{name}"
        tags = cache.list_tags_for_resource(ResourceName=arn)["TagList"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == TAGS


def test_create_the_least(quartet, sandbox, manager, network, args):
    name = args()["name"]
    wanted = {"name": name.upper(), "node_type": "cache.t3.micro", "auth_token_secret": {"name": f"{name}/redis"}}
    wanted["subnet_group"] = {"name": name, "subnet_ids": network["subnets"]}
    result = quartet(NAME, wanted)
    assert result["replication_group"]["id"] == name
    assert list(value_of(manager, name)) == ["url"]
    assert value_of(manager, name)["url"].startswith("redis://127.0.0.1:")
    assert connect(sandbox, manager, name).ping()


def test_check_mode_on_an_empty_account(module, calls, args):
    result = module(NAME, args(num_nodes=2), check=True)
    name = args()["name"]
    assert calls.writes == []
    group = result["replication_group"]
    assert group["arn"] == f"arn:aws:elasticache:us-east-1:123456789012:replicationgroup:{name}"
    assert group["primary_endpoint"] == {"address": f"(known after apply: primary endpoint {name})", "port": 6379}
    assert group["member_clusters"] == [f"{name}-001", f"{name}-002"]
    assert group["status"] == "available"
    assert result["auth_token_secret_arn"].startswith(
        f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}/redis-(known after apply: "
    )
    created = {change["resource"]: change["after"] for change in result["changes"]}
    assert created[f"secret {name}/redis"]["value"] == {"auth_token": "(hidden)", "url": "(hidden)"}
    assert created[f"replication group {name}"]["auth_token"] == "(hidden)"


# ---- one group for many; what drifts is in test_drift_elasticache_replication_group.py ----


@pytest.fixture(scope="module")
def kept():
    """The name of the group that tests share, made by the first."""
    return f"t-mod-drift-{next(_numbers)}"


@pytest.fixture
def drifting(kept, args, module, network):
    wanted = args(
        name=kept,
        num_nodes=2,
        automatic_failover_enabled=True,
        multi_az_enabled=True,
        subnet_group={"name": kept, "description": "test", "subnet_ids": network["subnets"][:2]},
        parameter_group={**args()["parameter_group"], "name": kept},
        auth_token_secret={"name": f"{kept}/redis", "description": "test", "kms_key_id": network["keys"][0]},
        transit_encryption_mode="required",
    )
    module(NAME, wanted)
    return wanted


def test_notifications_are_turned_off_and_on(quartet, cache, kept, drifting):
    assert [path for _, _, path in listed(quartet(NAME, {**drifting, "notification_topic_arn": ""}))] == [
        "notification_topic_arn"
    ]
    assert [path for _, _, path in listed(quartet(NAME, drifting))] == ["notification_topic_arn"]


def test_a_parameter_at_its_default_is_no_difference(quartet, cache, kept, drifting):
    """Whether AWS calls a parameter that was set to its default the user's or its own must not matter."""
    options = drifting["parameter_group"]
    same = {**drifting, "parameter_group": {**options, "parameters": {**options["parameters"], "tcp-keepalive": 300}}}
    cache.reset_cache_parameter_group(
        CacheParameterGroupName=kept, ParameterNameValues=[{"ParameterName": "tcp-keepalive", "ParameterValue": ""}]
    )
    assert quartet(NAME, same)["changes"] == []


def test_the_url_is_mended_and_what_others_keep_in_the_secret_stays(quartet, sandbox, manager, kept, drifting):
    value = value_of(manager, kept)
    broken = {**value, "url": "redis://nowhere:6379/0", "note": "mine"}
    manager.put_secret_value(SecretId=f"{kept}/redis", SecretString=json.dumps(broken))
    result = quartet(NAME, drifting)
    assert [(c["path"], c["before"], c["after"]) for c in result["changes"]] == [
        ("value.url", "(hidden)", "(hidden, new)")
    ]
    assert value_of(manager, kept) == {**value, "note": "mine"}
    assert "nowhere" not in json.dumps(result)


def test_what_is_left_out_is_not_touched(quartet, cache, kept, drifting):
    cache.modify_replication_group(ReplicationGroupId=kept, SnapshotRetentionLimit=5, ApplyImmediately=True)
    settled(cache, kept)
    bare = {"name": kept, "tags": TAGS}
    assert quartet(NAME, bare)["changes"] == []
    assert group_of(cache, kept)["SnapshotRetentionLimit"] == 5


# ---- refusals ----


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"at_rest_encryption_enabled": False}, ("encryption at rest", "would be lost", "name_prefix", "destroy.yml")),
        ({"engine_version": "6.2", "parameter_group": None}, ("older version", "'7.0.7'", "would be lost")),
        ({"transit_encryption_enabled": False, "transit_encryption_mode": None}, ("TLS to off", "token")),
        ({"auth_token_enabled": False}, ("demands a token",)),
        ({"num_nodes": 1}, ("redis_num_nodes", "redis_automatic_failover_enabled")),
        ({"automatic_failover_enabled": False}, ("Multi-AZ needs automatic failover", "redis_multi_az_enabled")),
        ({"num_nodes": 7}, ("redis_num_nodes", "1 to 6")),
    ],
)
def test_refusals(module, calls, drifting, changes, words):
    calls.clear()
    wanted = {key: value for key, value in {**drifting, **changes}.items() if value is not None}
    for check in (True, False):
        message = module(NAME, wanted, check=check, expect_failure=True)["msg"]
        assert all(word in message for word in words), message
    assert calls.writes == []


def test_what_cannot_be_changed_in_subnet_parameter_group_and_key(module, calls, network, kept, drifting):
    calls.clear()
    for changes, words in (
        ({"subnet_group": {"name": "t-other", "subnet_ids": network["subnets"]}}, ("subnet group", f"'{kept}'")),
        ({"parameter_group": {**drifting["parameter_group"], "family": "redis6.x"}}, ("family 'redis7'", "nothing is")),
        ({"parameter_group": {**drifting["parameter_group"], "description": "x"}}, ("description 'test'",)),
        ({"parameter_group": {"name": "default.redis7", "parameters": {"timeout": 0}}}, ("AWS's own",)),
        ({"kms_key_id": network["keys"][0]}, ("KMS key", "would be lost")),
    ):
        message = module(NAME, {**drifting, **changes}, expect_failure=True)["msg"]
        assert all(word in message for word in words), message
    assert calls.writes == []


def test_a_token_without_tls_is_refused(module, calls, args):
    wanted = args(transit_encryption_enabled=False, auth_token_enabled=True)
    assert "without TLS" in module(NAME, wanted, expect_failure=True)["msg"]
    assert calls.writes == []


@pytest.mark.parametrize("kind", ["replicationgroup", "subnetgroup", "parametergroup", "secret"])
def test_what_belongs_to_others_is_not_touched(module, left_alone, cache, manager, calls, args, network, kind):
    name = args()["name"]
    theirs = [{"Key": "Project", "Value": "nexus-learn"}, {"Key": "Environment", "Value": "prod"}]
    if kind == "subnetgroup":
        cache.create_cache_subnet_group(
            CacheSubnetGroupName=name,
            CacheSubnetGroupDescription="x",
            SubnetIds=network["subnets"],
            Tags=theirs,
        )
    elif kind == "parametergroup":
        cache.create_cache_parameter_group(
            CacheParameterGroupName=name, CacheParameterGroupFamily="redis7", Description="x", Tags=theirs
        )
    elif kind == "secret":
        manager.create_secret(Name=f"{name}/redis", SecretString="{}", Tags=theirs)
    else:
        cache.create_replication_group(
            ReplicationGroupId=name,
            ReplicationGroupDescription="x",
            CacheNodeType="cache.t3.micro",
            CacheSubnetGroupName=_any_subnet_group(cache, network),
            Tags=theirs,
        )
    calls.clear()
    message = module(NAME, args(), expect_failure=True)["msg"]
    assert "Environment=prod" in message
    assert "name_prefix" in message
    assert calls.writes == []
    (warning,) = left_alone(NAME, args())
    assert f"{name} is left alone" in warning or f"{name}/redis is left alone" in warning
    assert "Environment=prod" in warning


def _any_subnet_group(cache, network):
    name = f"t-mod-any-{next(_numbers)}"
    cache.create_cache_subnet_group(
        CacheSubnetGroupName=name, CacheSubnetGroupDescription="x", SubnetIds=network["subnets"]
    )
    return name


# ---- changes in several steps ----


def test_from_one_node_to_multi_az_and_back(quartet, calls, cache, args):
    quartet(NAME, args())
    high = args(num_nodes=3, automatic_failover_enabled=True, multi_az_enabled=True)
    calls.clear()
    quartet(NAME, high)
    group = group_of(cache, args()["name"])
    assert (len(group["MemberClusters"]), group["MultiAZ"], group["AutomaticFailover"]) == (3, "enabled", "enabled")
    back = quartet(NAME, args())
    assert notes(back)["num_nodes"][0] == "disruptive"
    assert len(group_of(cache, args()["name"])["MemberClusters"]) == 1


def test_data_survives_node_type_engine_and_parameter_group(quartet, sandbox, manager, args):
    name = args()["name"]
    quartet(NAME, args())
    connect(sandbox, manager, name).set("queued", "task")
    group = {"name": f"{name}-valkey8", "family": "valkey8", "parameters": {"maxmemory-policy": "noeviction"}}
    changed = args(engine="valkey", engine_version="8.0", node_type="cache.t3.small", parameter_group=group)
    result = quartet(NAME, changed)
    assert {path for _, _, path in listed(result)} == {"", "engine", "engine_version", "node_type", "parameter_group"}
    assert notes(result)["engine_version"] == (
        "disruptive",
        "nodes are upgraded one after another: Redis is away for some minutes, having no replica",
    )
    assert connect(sandbox, manager, name).get("queued") == b"task"


def test_the_maintenance_window_gets_what_interrupts(quartet, module, cache, args):
    quartet(NAME, args())
    later = args(node_type="cache.t3.small", engine_version="7.1", apply_immediately=False)
    result = quartet(NAME, later)
    assert notes(result)["node_type"][1].endswith("in the maintenance window")
    assert group_of(cache, args()["name"])["CacheNodeType"] == "cache.t3.micro"
    now = {**later, "apply_immediately": True}
    assert {path for _, _, path in listed(quartet(NAME, now))} == {"node_type", "engine_version"}
    assert group_of(cache, args()["name"])["CacheNodeType"] == "cache.t3.small"


def test_tls_and_a_token_for_a_group_without(quartet, sandbox, manager, cache, args):
    name = args()["name"]
    quartet(NAME, args(transit_encryption_enabled=False))
    plain = connect(sandbox, manager, name)
    assert plain.ping()

    result = quartet(NAME, args())
    assert {path for _, _, path in listed(result)} == {
        "value.auth_token",
        "value.url",
        "transit_encryption_enabled",
        "transit_encryption_mode",
        "auth_token",
    }
    assert {notes(result)[path][0] for path in ("transit_encryption_mode", "auth_token")} == {"disruptive"}
    assert connect(sandbox, manager, name).ping()
    token = value_of(manager, name)["auth_token"]
    assert token not in json.dumps(result)
    with pytest.raises(redis.AuthenticationError):  # SET has ended the time without a token
        connect(sandbox, manager, name, token="").ping()
    assert "AWSPENDING" not in json.dumps(manager.describe_secret(SecretId=f"{name}/redis")["VersionIdsToStages"])


def test_tls_goes_in_two_steps_both_ways(quartet, sandbox, manager, args):
    """hashicorp/terraform-provider-aws#33403 (replaced the group), #39955 (did not see it turned off), #33906,
    cloudposse/terraform-aws-elasticache-redis#190: the mode was not to be had."""
    name = args()["name"]
    off = args(transit_encryption_enabled=False)
    quartet(NAME, off)
    quartet(NAME, args(transit_encryption_mode="preferred", auth_token_enabled=False))
    assert value_of(manager, name)["url"].startswith("rediss://127.0.0.1:")
    quartet(NAME, args(transit_encryption_mode="required", auth_token_enabled=False))
    quartet(NAME, off)
    assert value_of(manager, name)["url"].startswith("redis://")
    assert connect(sandbox, manager, name).ping()


def test_tls_is_refused_for_old_engines(module, args):
    old = {"engine_version": "6.2", "parameter_group": None}
    module(NAME, args(transit_encryption_enabled=False, **old))
    message = module(NAME, args(**old), expect_failure=True)["msg"]
    assert "7.0.5 and later" in message


def test_a_lost_secret_gets_a_new_token_and_the_old_one_still_works(quartet, sandbox, manager, args):
    """hashicorp/terraform-provider-aws#15561, #11524: to change the token destroyed the group."""
    name = args()["name"]
    quartet(NAME, args())
    running = connect(sandbox, manager, name)
    old = value_of(manager, name)["auth_token"]
    manager.delete_secret(SecretId=f"{name}/redis", ForceDeleteWithoutRecovery=True)
    result = quartet(NAME, args())
    assert listed(result) == [
        (f"secret {name}/redis", "create", ""),
        (f"replication group {name}", "update", "auth_token"),
    ]
    assert notes(result)["auth_token"][0] == "in-place"
    assert value_of(manager, name)["auth_token"] != old
    assert connect(sandbox, manager, name).ping()
    running.connection_pool.disconnect()
    assert running.ping()


# ---- interrupted runs ----


class Stopped(BaseException):
    """Like KeyboardInterrupt: nothing in the module may catch it."""


@pytest.fixture
def stop_at(monkeypatch, module):
    """stop_at(operation, args, after=False, nth=1): run until this AWS call is made, or has been answered."""
    from botocore.client import BaseClient

    def run(operation, wanted, after=False, nth=1):
        original, seen = BaseClient._make_api_call, []

        def call(self, name, arguments):
            seen.append(name)
            stops = name == operation and seen.count(name) == nth
            if stops and not after:
                raise Stopped
            answer = original(self, name, arguments)
            if stops:
                raise Stopped
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(BaseClient, "_make_api_call", call)
            with pytest.raises(Stopped):
                module(NAME, wanted)

    return run


@pytest.mark.parametrize(
    ("operation", "after", "nth"),
    [
        ("CreateSecret", True, 1),
        ("PutSecretValue", True, 1),
        ("CreateCacheParameterGroup", True, 1),
        ("CreateReplicationGroup", False, 1),
        ("CreateReplicationGroup", True, 1),
        ("PutSecretValue", False, 2),
    ],
)
def test_an_interrupted_creation_is_completed(quartet, stop_at, sandbox, manager, args, operation, after, nth):
    stop_at(operation, args(), after, nth)
    name = args()["name"]
    token = None
    if operation == "CreateReplicationGroup":
        token = value_of(manager, name)["auth_token"]
    quartet(NAME, args())
    assert token in (None, value_of(manager, name)["auth_token"])
    assert connect(sandbox, manager, name).ping()


@pytest.mark.parametrize("nth", range(1, 6))
def test_an_interrupted_change_is_completed(quartet, stop_at, cache, args, nth):
    """Five calls of ModifyReplicationGroup: settings, engine, node type, failover, Multi-AZ."""
    quartet(NAME, args())
    wanted = args(
        description="new",
        engine_version="7.1",
        node_type="cache.t3.small",
        num_nodes=2,
        automatic_failover_enabled=True,
        multi_az_enabled=True,
    )
    stop_at("ModifyReplicationGroup", wanted, after=True, nth=nth)
    quartet(NAME, wanted)
    group = group_of(cache, args()["name"])
    assert (group["Description"], group["CacheNodeType"], group["MultiAZ"]) == ("new", "cache.t3.small", "enabled")


@pytest.mark.parametrize(
    ("operation", "after", "nth"),
    [
        ("PutSecretValue", True, 1),
        ("ModifyReplicationGroup", True, 3),
        ("UpdateSecretVersionStage", False, 1),
        ("UpdateSecretVersionStage", True, 1),
        ("ModifyReplicationGroup", True, 4),
        ("UpdateSecretVersionStage", True, 2),
    ],
)
def test_an_interrupted_token_is_completed(quartet, stop_at, sandbox, manager, args, operation, after, nth):
    """Calls three and four of ModifyReplicationGroup are ROTATE and SET; one and two turn TLS on."""
    name = args()["name"]
    quartet(NAME, args(transit_encryption_enabled=False))
    stop_at(operation, args(), after, nth)
    quartet(NAME, args())
    assert connect(sandbox, manager, name).ping()
    with pytest.raises(redis.AuthenticationError):
        connect(sandbox, manager, name, token="").ping()
    assert "AWSPENDING" not in json.dumps(manager.describe_secret(SecretId=f"{name}/redis")["VersionIdsToStages"])


def test_a_failed_creation_is_explained(module, sandbox, cache, calls, args):
    """ElastiCache tells no tags of such a group, so that nothing says whose it is."""
    s3, name = sandbox.client("s3"), args()["name"]
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="broken.rdb", Body=b"no snapshot of Redis")
    broken = {"snapshot_arns": [f"arn:aws:s3:::{name}/broken.rdb"]}
    assert "could not be created" in module(NAME, args(**broken), expect_failure=True)["msg"]
    calls.clear()
    for again in (args(**broken), args(state="absent", skip_final_snapshot=True)):
        message = module(NAME, again, expect_failure=True)["msg"]
        assert "create-failed" in message
        assert f"delete-replication-group --replication-group-id {name}" in message
    assert calls.writes == []


def test_tls_of_an_old_engine(quartet, args):
    """Its one mode, the default of later ones, has no name: TransitEncryptionMode is from Redis 7.0.5 on."""
    old = {"engine_version": "6.2", "parameter_group": None, "transit_encryption_mode": "required"}
    quartet(NAME, args(**old))


# ---- absent ----


def test_absent(quartet, module, cache, manager, calls, args):
    """hashicorp/terraform-provider-aws#15483 and cloudposse/terraform-aws-elasticache-redis#120 (no last snapshot),
    cloudposse/terraform-aws-rds-cluster#129 (the second destruction found the name of the snapshot taken)."""
    name = args()["name"]
    quartet(NAME, args())
    token = value_of(manager, name)["auth_token"]
    calls.clear()
    message = module(NAME, args(state="absent"), expect_failure=True)["msg"]
    assert "final_snapshot_identifier" in message
    assert "skip_final_snapshot" in message
    assert calls.writes == []

    result = quartet(NAME, args(state="absent", final_snapshot_identifier=f"{name}-final"))
    assert [resource for resource, _, _ in listed(result)] == [
        f"replication group {name}",
        f"cache subnet group {name}",
        f"cache parameter group {name}",
        f"secret {name}/redis",
    ]
    assert result["changes"][0]["note"] == f"its data stays in the snapshot {name}-final"
    assert cache.describe_snapshots(SnapshotName=f"{name}-final")["Snapshots"][0]["SnapshotStatus"] == "available"
    assert manager.describe_secret(SecretId=f"{name}/redis")["DeletedDate"]

    again = quartet(NAME, args())
    assert (f"secret {name}/redis", "update", "deletion_date") in listed(again)
    assert value_of(manager, name)["auth_token"] == token

    message = module(NAME, args(state="absent", final_snapshot_identifier=f"{name}-final"), expect_failure=True)["msg"]
    assert "There is a snapshot" in message
    now = {**args()["auth_token_secret"], "recovery_window_in_days": 0}
    quartet(NAME, args(state="absent", skip_final_snapshot=True, auth_token_secret=now))
    with pytest.raises(manager.exceptions.ResourceNotFoundException):
        manager.describe_secret(SecretId=f"{name}/redis")


def test_absent_takes_the_parameter_groups_of_earlier_versions_along(quartet, module, cache, args):
    name = args()["name"]
    module(NAME, args(parameter_group={"name": f"{name}-redis7", "family": "redis7"}))
    ours = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    theirs = [{"Key": "Project", "Value": "nexus-learn"}, {"Key": "Environment", "Value": "prod"}]
    # an upgrade takes that of the version before along; this is one that an earlier release left behind
    for other, tags in (("redis6-x", ours), ("theirs", theirs), ("nobodys", [])):
        cache.create_cache_parameter_group(
            CacheParameterGroupName=f"{name}-{other}", CacheParameterGroupFamily="redis7", Description="x", Tags=tags
        )
    absent = {"state": "absent", "skip_final_snapshot": True}
    result = quartet(NAME, args(parameter_group={"name": f"{name.upper()}-*"}, **absent))
    assert [what for what, _, _ in listed(result) if "parameter" in what] == [
        f"cache parameter group {name}-redis6-x",
        f"cache parameter group {name}-redis7",
    ]
    assert result["warnings"] == []
    left = [
        group["CacheParameterGroupName"] for group in cache.describe_cache_parameter_groups()["CacheParameterGroups"]
    ]
    assert [group for group in left if group.startswith(name)] == [f"{name}-nobodys", f"{name}-theirs"]


def test_absent_leaves_a_parameter_group_that_another_group_uses(module, cache, network, args):
    name = args()["name"]
    module(NAME, args())
    cache.create_replication_group(
        ReplicationGroupId=f"{name}-b",
        ReplicationGroupDescription="x",
        CacheNodeType="cache.t3.micro",
        CacheSubnetGroupName=_any_subnet_group(cache, network),
        CacheParameterGroupName=name,
    )
    absent = args(state="absent", skip_final_snapshot=True)
    foretold = module(NAME, absent, check=True)
    result = module(NAME, absent)
    assert listed(foretold) == listed(result)
    assert f"cache parameter group {name}" not in [what for what, _, _ in listed(result)]
    assert result["warnings"] == [f"cache parameter group {name} is left alone: {name}-b uses it"]
    assert cache.describe_cache_parameter_groups(CacheParameterGroupName=name)


def test_an_interrupted_deletion_is_completed(quartet, stop_at, cache, args):
    quartet(NAME, args())
    gone = args(state="absent", final_snapshot_identifier=f"{args()['name']}-final")
    stop_at("DeleteReplicationGroup", gone, after=True)
    result = quartet(NAME, gone)
    assert len(result["changes"]) == 3, "the group itself was on its way out"


def test_a_group_on_its_way_out_is_created_again(quartet, module, cache, args):
    quartet(NAME, args())
    cache.delete_replication_group(ReplicationGroupId=args()["name"])
    result = module(NAME, args())
    assert (f"replication group {args()['name']}", "create", "") in listed(result)
    assert module(NAME, args())["changes"] == []


def test_a_run_without_changes_reads_each_thing_once(module, calls, drifting):
    """hashicorp/terraform-provider-aws#34609, #34589: an upgrade of the provider set tokens again, unasked.
    community.aws.elasticache_parameter_group calls ModifyCacheParameterGroup whether something differs or not."""
    module(NAME, drifting)
    calls.clear()
    module(NAME, drifting)
    assert sorted(operation for _, operation in calls) == [
        "DescribeCacheClusters",
        "DescribeCacheParameterGroups",
        "DescribeCacheParameters",
        "DescribeCacheSubnetGroups",
        "DescribeReplicationGroups",
        "DescribeSecret",
        "GetCallerIdentity",
        "GetSecretValue",
        "ListTagsForResource",
        "ListTagsForResource",
        "ListTagsForResource",
    ]
