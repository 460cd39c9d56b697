"""Users and user groups, log delivery and restoring, each with what it does to real Redis processes."""

import json

import pytest
import redis
from elasticache_support import TOKEN, Groups, answers, code, wait

PASSWORD = "first-Password-of-16"
COMBINATION, VALUE = "InvalidParameterCombination", "InvalidParameterValue"


@pytest.fixture(scope="module")
def groups(sandbox):
    groups = Groups(sandbox, "access")
    yield groups
    groups.delete_all()


def active(ec, name):
    wait(lambda: ec.describe_user_groups(UserGroupId=name)["UserGroups"][0]["Status"] == "active")


@pytest.fixture(scope="module")
def users(groups):
    """A user group: nobody logs in as `default`, and `celery` may do everything to keys that begin with its name."""
    ec = groups.ec
    ec.create_user(
        UserId="access-default", UserName="default", Engine="redis", AccessString="off -@all", NoPasswordRequired=True
    )
    user = ec.create_user(
        UserId="Access-Celery", UserName="celery", Engine="redis", AccessString="on ~celery* &* +@all",
        AuthenticationMode={"Type": "password", "Passwords": [PASSWORD]}, Tags=[{"Key": "a", "Value": "b"}],
    )  # fmt: skip
    assert (user["UserId"], user["Status"]) == ("access-celery", "active")
    assert user["Authentication"] == {"Type": "password", "PasswordCount": 1}
    ec.create_user_group(UserGroupId="access", Engine="redis", UserIds=["access-default", "access-celery"])
    active(ec, "access")
    return ec


def test_from_a_token_to_users_and_back(groups, users):
    name = groups.create(TransitEncryptionEnabled=True, AuthToken=TOKEN)
    with_token = groups.redis(name, password=TOKEN)
    assert with_token.set("celery-task", "1")
    assert code(users.modify_replication_group, ReplicationGroupId=name, UserGroupIdsToAdd=["access"]) == COMBINATION
    groups.modify(name, UserGroupIdsToAdd=["access"], AuthTokenUpdateStrategy="DELETE")
    group = groups.describe(name)
    assert (group["UserGroupIds"], group["AuthTokenEnabled"]) == (["access"], False)
    assert users.describe_user_groups(UserGroupId="access")["UserGroups"][0]["ReplicationGroups"] == [name]
    assert not answers(with_token)
    celery = groups.redis(name, username="celery", password=PASSWORD)
    assert celery.get("celery-task") == b"1"
    with pytest.raises(redis.exceptions.NoPermissionError):
        celery.get("other")

    other = "another-Password-16"
    users.modify_user(UserId="access-celery", AccessString="on ~* &* +@all -flushall", Passwords=[other])
    wait(lambda: users.describe_users(UserId="access-celery")["Users"][0]["Status"] == "active")
    assert not answers(celery), "a new connection needs the new password"
    celery = groups.redis(name, username="celery", password=other)
    assert celery.get("other") is None
    with pytest.raises(redis.exceptions.NoPermissionError):
        celery.flushall()
    with pytest.raises(redis.exceptions.NoPermissionError):
        celery.config_get("*")

    active(users, "access")
    assert code(users.delete_user_group, UserGroupId="access") == "InvalidUserGroupState"
    groups.modify(name, RemoveUserGroups=True, AuthToken=TOKEN, AuthTokenUpdateStrategy="SET")
    assert groups.describe(name)["UserGroupIds"] == []
    assert answers(with_token)
    assert not answers(celery)


def test_user_group_rules(users):
    create = {"UserGroupId": "access-b", "Engine": "redis"}
    assert code(users.create_user_group, **create, UserIds=["access-celery"]) == "DefaultUserRequired"
    assert code(users.create_user_group, **create, UserIds=["default", "access-default"]) == "DuplicateUserName"
    assert code(users.create_user_group, **create, UserIds=["default", "nobody"]) == "UserNotFound"
    valkey = {"UserGroupId": "access-v", "Engine": "valkey"}
    assert code(users.create_user_group, **valkey, UserIds=["access-default"]) == COMBINATION
    assert code(users.delete_user, UserId="default") == VALUE
    assert code(users.delete_user, UserId="access-default") == "DefaultUserAssociatedToUserGroup"
    user = {"UserId": "access-x", "UserName": "x", "Engine": "redis", "AccessString": "on ~* +@all"}
    assert code(users.create_user, **user) == COMBINATION
    assert code(users.create_user, **user, AuthenticationMode={"Type": "iam"}) == COMBINATION
    assert code(users.create_user, **user, Passwords=["short"]) == VALUE
    assert code(users.create_user, **{**user, "AccessString": "on >secret"}, NoPasswordRequired=True) == VALUE
    arn = users.describe_users(UserId="access-celery")["Users"][0]["ARN"]
    assert users.list_tags_for_resource(ResourceName=arn)["TagList"] == [{"Key": "a", "Value": "b"}]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("~objects:* ~items:* ~public:*", "off ~objects:* ~items:* ~public:* -@all"),  # of AWS's guide
        ("on ~app:* +@read", "on ~app:* -@all +@read"),
        ("on allkeys allcommands", "on ~* +@all"),
        ("on  ~* &* +@all -@dangerous", "on ~* &* +@all -@dangerous"),
        ("off nocommands", "off -@all"),
        ("on +get ~* (~a:* +@all)", "on -@all +get ~* (~a:* +@all)"),
    ],
)
def test_access_strings_are_written_anew(users, given, shown):
    """go-to-k/cdk-real-drift#488, hashicorp/terraform-provider-aws#20334"""
    user = {"UserId": "access-shown", "UserName": "shown", "Engine": "redis", "AccessString": given}
    try:
        assert users.create_user(**user, NoPasswordRequired=True)["AccessString"] == shown
        assert users.describe_users(UserId="access-shown")["Users"][0]["AccessString"] == shown
    finally:
        users.delete_user(UserId="access-shown")


def test_valkey_without_a_default_user_shuts_it_out(groups):
    ec = groups.ec
    ec.create_user(
        UserId="access-only", UserName="only", Engine="valkey", AccessString="on ~* &* +@all", Passwords=[PASSWORD]
    )
    ec.create_user_group(UserGroupId="access-only", Engine="valkey", UserIds=["access-only"])
    active(ec, "access-only")
    name = groups.create(
        Engine="valkey", EngineVersion="8.2", TransitEncryptionEnabled=True, UserGroupIds=["access-only"]
    )
    assert groups.redis(name, username="only", password=PASSWORD).ping()
    assert not answers(groups.redis(name))
    ec.delete_user(UserId="access-only")
    wait(lambda: not answers(groups.redis(name, username="only", password=PASSWORD)))


def test_logs_are_delivered(groups, sandbox):
    logs = sandbox.client("logs")
    ec = groups.ec
    ec.create_cache_parameter_group(
        CacheParameterGroupName="access-slow", CacheParameterGroupFamily="redis7", Description="d"
    )
    ec.modify_cache_parameter_group(
        CacheParameterGroupName="access-slow",
        ParameterNameValues=[{"ParameterName": "slowlog-log-slower-than", "ParameterValue": "0"}],
    )

    def delivery(kind, form):
        logs.create_log_group(logGroupName=f"/access/{kind}")
        return {
            "LogType": kind,
            "DestinationType": "cloudwatch-logs",
            "DestinationDetails": {"CloudWatchLogsDetails": {"LogGroup": f"/access/{kind}"}},
            "LogFormat": form,
        }

    name = groups.create(
        CacheParameterGroupName="access-slow", LogDeliveryConfigurations=[delivery("slow-log", "json")]
    )
    later = {"ReplicationGroupId": name, "LogDeliveryConfigurations": [delivery("engine-log", "text")]}
    assert code(ec.modify_replication_group, **later) == COMBINATION, "only with ApplyImmediately"
    ec.modify_replication_group(**later, ApplyImmediately=True)
    types = {entry["LogType"] for entry in groups.available(name)["LogDeliveryConfigurations"]}
    assert types == {"slow-log", "engine-log"}
    groups.redis(name, client_name="worker").lpush("celery", "a secret of the customer's")

    def messages(kind):
        found = logs.filter_log_events(logGroupName=f"/access/{kind}")["events"]
        return [event["message"] for event in found if event["logStreamName"].endswith(f"{name}-001/0001/{kind}")]

    push = wait(lambda: [json.loads(text) for text in messages("slow-log") if "lpush" in text.lower()])[0]
    assert (push["CacheClusterId"], push["ClientName"]) == (f"{name}-001", "worker")
    assert push["Command"] == "LPUSH (2 more arguments)"
    wait(lambda: any("Server initialized" in text for text in messages("engine-log")))
    assert not any("secret of the customer" in text for text in messages("slow-log"))


def test_a_group_is_restored_from_a_snapshot_and_from_a_file(groups, sandbox):
    ec = groups.ec
    name = groups.create(EngineVersion="7.1")
    groups.redis(name).set("kept", "yes")
    made = ec.create_snapshot(SnapshotName=f"{name}-s", ReplicationGroupId=name, Tags=[{"Key": "a", "Value": "b"}])
    assert groups.describe(name)["Status"] == "snapshotting"
    groups.available(name)
    snapshot = ec.describe_snapshots(SnapshotName=f"{name}-s")["Snapshots"][0]
    assert (snapshot["SnapshotStatus"], snapshot["SnapshotSource"]) == ("available", "manual")
    assert ec.list_tags_for_resource(ResourceName=made["Snapshot"]["ARN"])["TagList"] == [{"Key": "a", "Value": "b"}]

    restored = groups.create(SnapshotName=f"{name}-s", EngineVersion="7.1", NumCacheClusters=2)
    assert groups.redis(restored, "ReaderEndpoint").get("kept") == b"yes"
    older = {"ReplicationGroupId": "access-older", "ReplicationGroupDescription": "x", "EngineVersion": "7.0"}
    assert code(ec.create_replication_group, **older, SnapshotName=f"{name}-s") == COMBINATION

    s3 = sandbox.client("s3")
    s3.create_bucket(Bucket="access-rdb")
    data = (sandbox.home / "elasticache" / "us-east-1" / "snapshots" / f"{name}-s.rdb").read_bytes()
    s3.put_object(Bucket="access-rdb", Key="a/b.rdb", Body=data)
    assert groups.redis(groups.create(SnapshotArns=["arn:aws:s3:::access-rdb/a/b.rdb"])).get("kept") == b"yes"
