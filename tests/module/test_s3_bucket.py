"""The bucket of the lock and the journal, and any other."""

import json
import uuid

import pytest

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
TLS = {
    "Sid": "DenyWithoutTls",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"


@pytest.fixture
def s3(sandbox):
    return sandbox.client("s3")


@pytest.fixture
def name():
    return f"b-{uuid.uuid4().hex[:8]}-123456789012-us-east-1"


@pytest.fixture
def args(name):
    given = name.replace("123456789012", "{account_id}").replace("us-east-1", "{region}")
    return {
        "name": given,
        "versioning": True,
        "encryption": {"sse_algorithm": "aws:kms", "bucket_key_enabled": True},
        "public_access_block": {},
        "object_ownership": "BucketOwnerEnforced",
        "policy": {"Version": "2012-10-17", "Statement": [{**TLS, "Resource": [f"arn:{{partition}}:s3:::{given}/*"]}]},
        "lifecycle_rules": [
            {"id": "journal", "prefix": "journal/", "expiration_days": 365},
            {
                "id": "old",
                "noncurrent_version_expiration_days": 30,
                "expired_object_delete_marker": True,
                "abort_incomplete_multipart_upload_days": 7,
            },
        ],
        "tags": TAGS,
    }


def test_create(quartet, s3, args, name):
    """ansible/ansible#27232: amazon.aws.s3_bucket has no check mode; ansible-collections/amazon.aws#2139: it is changed
    in every run."""
    result = quartet("s3_bucket", args)
    assert [change["action"] for change in result["changes"]] == ["create"]
    assert result["bucket"]["arn"] == f"arn:aws:s3:::{name}"
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    policy = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])
    assert policy["Statement"][0]["Resource"] == [f"arn:aws:s3:::{name}/*"]
    assert all(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
    rules = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert [rule["Expiration"] for rule in rules] == [{"Days": 365}, {"ExpiredObjectDeleteMarker": True}]


def test_a_check_returns_what_a_run_returns_of_a_new_one(module, args):
    for asked in ({"name": args["name"]}, args):
        foretold = module("s3_bucket", asked, check=True)["bucket"]
        assert foretold == module("s3_bucket", asked)["bucket"]
        module("s3_bucket", {"name": args["name"], "state": "absent"})


def test_another_region(quartet, s3, sandbox, args, name):
    elsewhere = name.replace("us-east-1", "eu-west-1")
    quartet("s3_bucket", {**args, "region": "eu-west-1"})
    assert s3.get_bucket_location(Bucket=elsewhere)["LocationConstraint"] == "eu-west-1"


def test_it_is_never_nobodys(module, calls, s3, args, name):
    """Stopped right after CreateBucket, the next run finds its own bucket and goes on."""
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": [{"Key": k, "Value": v} for k, v in TAGS.items()]})
    calls.clear()
    done = module("s3_bucket", args)
    assert {change["action"] for change in done["changes"]} == {"update"}
    assert ("s3", "PutBucketTagging") not in calls
    assert module("s3_bucket", args)["changes"] == []


def test_one_that_somebody_else_is_making_right_now(module, monkeypatch, s3, args, name):
    """Two first runs at once: both find none, both create it, and both end with the same."""
    from ansible_collections.nexus_learn.aws.plugins.module_utils import s3_bucket

    monkeypatch.setattr(s3_bucket, "describe", lambda aws, params: None)
    for region in ("us-east-1", "eu-west-1"):  # which answer differently
        module("s3_bucket", {**args, "region": region})
        module("s3_bucket", {**args, "region": region})
    monkeypatch.undo()


def test_what_is_left_out_is_not_touched(quartet, module, args):
    quartet("s3_bucket", args)
    assert module("s3_bucket", {"name": args["name"]})["changes"] == []


@pytest.mark.parametrize(
    ("option", "delete"),
    [("policy", "delete_bucket_policy"), ("lifecycle_rules", "delete_bucket_lifecycle")],
)
def test_all_of_it_gone_is_mended_and_an_empty_one_is_none(quartet, s3, args, name, option, delete):
    quartet("s3_bucket", args)
    getattr(s3, delete)(Bucket=name)
    assert {c["path"].partition(".")[0] for c in quartet("s3_bucket", args)["changes"]} == {option}
    empty = type(args[option])()
    assert {c["path"].partition(".")[0] for c in quartet("s3_bucket", {**args, option: empty})["changes"]} == {option}


def test_somebody_elses_is_refused_and_left(module, left_alone, s3, args, name, calls):
    s3.create_bucket(Bucket=name)
    calls.clear()
    message = module("s3_bucket", args, expect_failure=True)["msg"]
    assert "belongs to somebody else" in message
    assert calls.writes == []
    (warning,) = left_alone("s3_bucket", args)
    assert warning.startswith(f"bucket {name} is left alone")


def test_a_bucket_that_is_not_empty(quartet, module, s3, args, name):
    quartet("s3_bucket", args)
    for key in ("a", "a", "b"):
        s3.put_object(Bucket=name, Key=key, Body=b"x")
    s3.delete_object(Bucket=name, Key="b")
    for check in (True, False):
        assert "not empty" in module("s3_bucket", {**args, "state": "absent"}, check=check, expect_failure=True)["msg"]
    assert len(s3.list_object_versions(Bucket=name)["Versions"]) == 3
    gone = module("s3_bucket", {**args, "state": "absent", "force": True})
    assert [change["action"] for change in gone["changes"]] == ["delete"]
    assert module("s3_bucket", {**args, "state": "absent"})["changes"] == []
    assert name not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def test_gathered(module, args, name, calls):
    assert module("s3_bucket", {"name": args["name"], "state": "gathered"})["bucket"] is None
    module("s3_bucket", args)
    calls.clear()
    assert module("s3_bucket", {"name": args["name"], "state": "gathered"})["bucket"]["tags"] == TAGS
    assert calls.writes == []


def test_what_is_not_asked_for_is_not_looked_up(module, args, calls):
    module("s3_bucket", args)

    def made(arguments):
        calls.clear()
        module("s3_bucket", {"name": args["name"], "tags": TAGS, **arguments}, check=True)
        return sorted(operation for service, operation in calls if service == "s3")

    assert made({}) == ["GetBucketTagging"]
    assert made({"versioning": True}) == ["GetBucketTagging", "GetBucketVersioning"]
    assert made({"state": "absent"}) == ["GetBucketTagging", "ListObjectVersions"]
    assert made({"state": "absent", "force": True}) == ["GetBucketTagging"]


def test_a_policy_in_other_words_is_the_same(module, args, name):
    def policy(actions, resource):
        statement = {**TLS, "Action": actions, "Resource": resource}
        return {**args, "policy": {"Version": "2012-10-17", "Statement": statement}}

    module("s3_bucket", policy(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{name}/*"))
    same = module("s3_bucket", policy(["s3:PutObject", "s3:GetObject"], [f"arn:aws:s3:::{name}/*"]), check=True)
    assert same["changes"] == []
    assert module("s3_bucket", policy(["s3:PutObject"], f"arn:aws:s3:::{name}/*"), check=True)["changes"] != []


def test_rules_in_another_order_and_what_s3_does_not_repeat_are_no_change(module, args, s3, name):
    """hashicorp/terraform-provider-aws#15138 and #41460, ansible-collections/community.aws#1624 and #2372: rules that
    were as asked for changed in every run, without a prefix above all."""
    rule = {
        "id": "a",
        "expired_object_delete_marker": False,
        "abort_incomplete_multipart_upload_days": 7,
        "transitions": [{"days": 90, "storage_class": "GLACIER"}, {"days": 30, "storage_class": "STANDARD_IA"}],
    }
    asked = {**args, "lifecycle_rules": [rule, {"id": "b", "expiration_days": 30}]}
    module("s3_bucket", asked)
    assert module("s3_bucket", asked)["changes"] == []
    rules = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    for one in rules:
        one.get("Transitions", []).reverse()
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules[::-1]})
    assert module("s3_bucket", asked)["changes"] == []


def test_it_is_said_what_a_rule_will_delete(module, args):
    def notes(**days):
        return _notes(module, args, **days)

    module("s3_bucket", {**args, "lifecycle_rules": []})
    assert notes(expiration_days=30) == {
        "expiration_days": "objects that are older than 30 days are deleted; with versioning, a version of each stays"
    }
    assert notes(expiration_days=60) == {}
    assert notes(expiration_days=60, noncurrent_version_expiration_days=5) == {
        "noncurrent_version_expiration_days": "versions that have been replaced for 5 days are deleted for good"
    }
    assert notes() == {}


def _notes(module, args, **rule):
    """The notes, by option, of the changes that make this rule the only one."""
    rules = [{"id": "a.b", "abort_incomplete_multipart_upload_days": 7, **rule}]
    changes = module("s3_bucket", {**args, "lifecycle_rules": rules})["changes"]
    return {change["path"].rpartition(".")[2]: change["note"] for change in changes if change["impact"] != "in-place"}


OLD = {"noncurrent_version_expiration_days": 5}


@pytest.mark.parametrize(
    ("before", "after", "marked"),
    [
        ({"expiration_days": 1, "enabled": False}, {"expiration_days": 1}, {"enabled"}),
        ({"expiration_days": 1}, {"expiration_days": 1, "enabled": False}, set()),
        ({}, {"expiration_days": 1, "enabled": False}, set()),
        ({"expiration_days": 9, "enabled": False}, {"expiration_days": 1, "enabled": False}, set()),
        ({"expiration_days": 1, "prefix": "logs/"}, {"expiration_days": 1}, {"prefix"}),
        ({"expiration_days": 1, "prefix": "logs/"}, {"expiration_days": 1, "prefix": "data/"}, {"prefix"}),
        ({"expiration_days": 1}, {"expiration_days": 1, "prefix": "logs/"}, set()),
        ({"prefix": "logs/"}, {}, set()),
        (
            {**OLD, "newer_noncurrent_versions": 50},
            {**OLD, "newer_noncurrent_versions": 1},
            {"newer_noncurrent_versions"},
        ),
        ({**OLD, "newer_noncurrent_versions": 50}, OLD, {"newer_noncurrent_versions"}),
        (OLD, {**OLD, "newer_noncurrent_versions": 50}, set()),
        ({**OLD, "object_size_greater_than": 9}, OLD, {"object_size_greater_than"}),
        ({**OLD, "object_size_greater_than": 9}, {**OLD, "object_size_greater_than": 8}, {"object_size_greater_than"}),
        (OLD, {**OLD, "object_size_greater_than": 9}, set()),
        ({**OLD, "object_size_less_than": 9}, OLD, {"object_size_less_than"}),
        ({**OLD, "object_size_less_than": 9}, {**OLD, "object_size_less_than": 10}, {"object_size_less_than"}),
        (OLD, {**OLD, "object_size_less_than": 9}, set()),
    ],
)
def test_a_rule_that_begins_to_delete_or_deletes_more_is_said_to(module, args, before, after, marked):
    module("s3_bucket", {**args, "lifecycle_rules": []})
    _notes(module, args, **before)
    notes = _notes(module, args, **after)
    assert set(notes) == marked
    words = "for good" if after.keys() & OLD.keys() else "older than 1 days"
    assert all(words in note for note in notes.values())


def test_a_rule_that_loses_a_filter_by_tags_deletes_more(module, args, s3, name):
    _notes(module, args, expiration_days=1)
    rules = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    rules[0]["Filter"] = {"Tag": {"Key": "a", "Value": "b"}}
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
    assert set(_notes(module, args, expiration_days=1)) == {"Filter"}


def test_what_calls_that_write_all_anew_would_lose_is_carried_over(module, args, s3, name):
    logs = f"logs-{name}"
    s3.create_bucket(Bucket=logs)
    s3.put_bucket_acl(
        Bucket=logs,
        AccessControlPolicy={
            "Owner": s3.get_bucket_acl(Bucket=logs)["Owner"],
            "Grants": [
                {"Grantee": {"Type": "Group", "URI": LOG_DELIVERY}, "Permission": permission}
                for permission in ("WRITE", "READ_ACP")
            ],
        },
    )
    wanted = {**args, "logging": {"target_bucket": logs, "target_prefix": "a/"}}
    module("s3_bucket", wanted)
    rules = {"Rules": s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]}
    size = {"TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration=rules, **size)
    status = s3.get_bucket_logging(Bucket=name)["LoggingEnabled"]
    theirs = {
        "TargetGrants": [{"Grantee": {"Type": "Group", "URI": LOG_DELIVERY}, "Permission": "READ"}],
        "TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "DeliveryTime"}},
    }
    s3.put_bucket_logging(Bucket=name, BucketLoggingStatus={"LoggingEnabled": {**status, **theirs}})
    assert module("s3_bucket", wanted)["changes"] == []

    changed = {**wanted, "lifecycle_rules": args["lifecycle_rules"][:1], "logging": {"target_bucket": logs}}
    assert module("s3_bucket", changed)["changes"]
    assert s3.get_bucket_lifecycle_configuration(Bucket=name).items() >= size.items()
    logged = s3.get_bucket_logging(Bucket=name)["LoggingEnabled"]
    assert (logged["TargetPrefix"], logged["TargetObjectKeyFormat"]) == ("", theirs["TargetObjectKeyFormat"])
    assert [grant["Permission"] for grant in logged["TargetGrants"]] == ["READ"]


WRONG_RULES = [
    ({}, "it does nothing"),
    ({"expired_object_delete_marker": False}, "it does nothing"),
    ({"expired_object_delete_marker": True, "expiration_days": 3}, "goes not with expiration_days"),
    ({"newer_noncurrent_versions": 3}, "needs noncurrent_version_expiration_days"),
    ({"expiration_days": 0}, "1 is the least"),
    ({"transitions": [{"days": 7, "storage_class": "STANDARD_IA"}]}, "30 days at the earliest"),
    ({"transitions": [{"days": 40, "storage_class": "GLACIER"}], "expiration_days": 40}, "not later than the last"),
    (
        {
            "noncurrent_version_transitions": [{"days": 40, "storage_class": "GLACIER"}],
            "noncurrent_version_expiration_days": 30,
        },
        "not later than the last",
    ),
]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        *(({"lifecycle_rules": [{"id": "a", **rule}]}, said) for rule, said in WRONG_RULES),
        ({"lifecycle_rules": [{"id": "a", "expiration_days": 3}] * 2}, "an id of its own"),
        ({"encryption": {"kms_key_id": "alias/a"}}, "AES256 has no kms_key_id"),
        ({"encryption": {"sse_algorithm": "aws:kms:dsse", "bucket_key_enabled": True}}, "takes no bucket key"),
    ],
)
def test_what_s3_would_refuse_is_refused_before_anything_is_done(module, args, calls, wrong, said):
    for check in (True, False):
        assert said in module("s3_bucket", {**args, **wrong}, check=check, expect_failure=True)["msg"]
    assert calls.writes == []


def test_adopt_takes_over_exactly_what_differs(module, left_alone, s3, args, name, calls):
    s3.create_bucket(Bucket=name)
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "Owner", "Value": "other"}]})
    s3.put_bucket_cors(
        Bucket=name, CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
    )
    s3.put_object(Bucket=name, Key="kept", Body=b"x")
    wanted = {"name": args["name"], "versioning": True, "object_ownership": "ObjectWriter", "tags": TAGS}
    calls.clear()
    assert "adopt" in module("s3_bucket", wanted, expect_failure=True)["msg"]
    assert calls.writes == []
    adopting = {**wanted, "adopt": [f"bucket {name}"]}
    assert len(left_alone("s3_bucket", adopting)) == 1
    foretold = module("s3_bucket", adopting, check=True)["changes"]
    assert {(change["action"], change["path"]) for change in foretold} == {
        ("update", path) for path in ("versioning", "tags.Owner", *(f"tags.{key}" for key in TAGS))
    }
    assert module("s3_bucket", adopting)["changes"] == foretold
    assert module("s3_bucket", wanted, check=True)["changes"] == []
    assert s3.get_object(Bucket=name, Key="kept")["Body"].read() == b"x"
    assert s3.get_bucket_cors(Bucket=name)["CORSRules"], "what is not asked for stays"
