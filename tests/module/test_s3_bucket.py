"""The bucket of the lock and the journal, and any other."""

import json
import uuid

import pytest
from ansible_collections.nexus_learn.aws.plugins.modules.s3_bucket import SPEC

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
TLS = {
    "Sid": "DenyWithoutTls",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


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
    result = quartet("s3_bucket", args)
    assert [change["action"] for change in result["changes"]] == ["create"]
    assert result["bucket"]["arn"] == f"arn:aws:s3:::{name}"
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    policy = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])
    assert policy["Statement"][0]["Resource"] == [f"arn:aws:s3:::{name}/*"]
    assert all(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
    rules = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert [rule["Expiration"] for rule in rules] == [{"Days": 365}, {"ExpiredObjectDeleteMarker": True}]


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


def put_policy(s3, name):
    statement = {**TLS, "Effect": "Allow", "Resource": [f"arn:aws:s3:::{name}/*"]}
    s3.put_bucket_policy(
        Bucket=name,
        Policy=json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Action": "s3:GetObject"}]}),
    )


def put_rules(s3, name, change):
    rules = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    change({rule["ID"]: rule for rule in rules})
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})


def put_encryption(s3, name, **rule):
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [{**default, **rule}]})


def put_block(s3, name, field):
    block = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration={**block, field: False})


# field -> how somebody changes it by hand
DRIFT = {
    "versioning": lambda s3, name: s3.put_bucket_versioning(
        Bucket=name, VersioningConfiguration={"Status": "Suspended"}
    ),
    "encryption.sse_algorithm": lambda s3, name: put_encryption(
        s3, name, ApplyServerSideEncryptionByDefault={"SSEAlgorithm": "aws:kms:dsse"}
    ),
    "encryption.kms_key_id": lambda s3, name: put_encryption(
        s3,
        name,
        ApplyServerSideEncryptionByDefault={
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": "arn:aws:kms:us-east-1:123456789012:key/x",
        },
    ),
    "encryption.bucket_key_enabled": lambda s3, name: put_encryption(s3, name, BucketKeyEnabled=False),
    "public_access_block.block_public_acls": lambda s3, name: put_block(s3, name, "BlockPublicAcls"),
    "public_access_block.ignore_public_acls": lambda s3, name: put_block(s3, name, "IgnorePublicAcls"),
    "public_access_block.block_public_policy": lambda s3, name: put_block(s3, name, "BlockPublicPolicy"),
    "public_access_block.restrict_public_buckets": lambda s3, name: put_block(s3, name, "RestrictPublicBuckets"),
    "object_ownership": lambda s3, name: s3.put_bucket_ownership_controls(
        Bucket=name, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    ),
    "policy.Statement.Effect": put_policy,
    "lifecycle_rules.journal.prefix": lambda s3, name: put_rules(
        s3, name, lambda rules: rules["journal"].update(Filter={"Prefix": "j/"})
    ),
    "lifecycle_rules.journal.enabled": lambda s3, name: put_rules(
        s3, name, lambda rules: rules["journal"].update(Status="Disabled")
    ),
    "lifecycle_rules.journal.expiration_days": lambda s3, name: put_rules(
        s3, name, lambda rules: rules["journal"].update(Expiration={"Days": 1})
    ),
    "lifecycle_rules.old.noncurrent_version_expiration_days": lambda s3, name: put_rules(
        s3, name, lambda rules: rules["old"].update(NoncurrentVersionExpiration={"NoncurrentDays": 1})
    ),
    "lifecycle_rules.old.expired_object_delete_marker": lambda s3, name: put_rules(
        s3, name, lambda rules: rules["old"].update(Expiration={"ExpiredObjectDeleteMarker": False})
    ),
    "lifecycle_rules.old.abort_incomplete_multipart_upload_days": lambda s3, name: put_rules(
        s3, name, lambda rules: rules["old"].update(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})
    ),
    "lifecycle_rules.old.Transitions": lambda s3, name: put_rules(
        s3, name, lambda rules: rules["old"].update(Transitions=[{"Days": 30, "StorageClass": "GLACIER"}])
    ),
    "tags.extra": lambda s3, name: s3.put_bucket_tagging(
        Bucket=name, Tagging={"TagSet": [{"Key": k, "Value": v} for k, v in {**TAGS, "extra": "1"}.items()]}
    ),
}


@pytest.mark.parametrize("path", DRIFT)
def test_drift_is_seen_and_mended(module, s3, args, name, path):
    module("s3_bucket", args)
    DRIFT[path](s3, name)
    foretold, done, again = (module("s3_bucket", args, check=check)["changes"] for check in (True, False, True))
    assert foretold == done
    assert again == []
    paths = [change["path"] for change in done]
    assert path in paths
    assert {one.partition(".")[0] for one in paths} == {path.partition(".")[0]}


def test_every_option_has_a_drift_case():
    spec = SPEC["argument_spec"]
    fields = [f"{name}.{sub}" for name in ("encryption", "public_access_block") for sub in spec[name]["options"]] + [
        f"lifecycle_rules.{sub}" for sub in spec["lifecycle_rules"]["options"] if sub != "id"
    ]
    fields += [name for name in spec if name not in ("name", "state", "force") and "options" not in spec[name]]
    tried = {path.replace(".journal.", ".").replace(".old.", ".") for path in DRIFT}
    assert [field for field in fields if not any(f"{path}.".startswith(f"{field}.") for path in tried)] == []


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
    assert "not empty" in module("s3_bucket", {**args, "state": "absent"}, expect_failure=True)["msg"]
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
