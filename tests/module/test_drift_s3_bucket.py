"""Every option of s3_bucket: changed by hand, seen as exactly that field, mended, nothing else moved."""

import json

import pytest
from generated import drift_cases, drifts, every_option_drifts

MODULE = "s3_bucket"
NAME, LOGS = "drift-bucket-123456789012", "drift-logs-123456789012"
LABEL = f"bucket {NAME}"
KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-55555555555{}"
TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}


def policy(effect="Deny", condition="false"):
    statement = {"Effect": effect, "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{NAME}/*"]}
    condition = {"Bool": {"aws:SecureTransport": condition}}
    return {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]}


BLOCKS = {
    "block_public_acls": "BlockPublicAcls",
    "ignore_public_acls": "IgnorePublicAcls",
    "block_public_policy": "BlockPublicPolicy",
    "restrict_public_buckets": "RestrictPublicBuckets",
}
ARGUMENTS = {
    "name": "drift-bucket-{account_id}",
    "versioning": True,
    "encryption": {"sse_algorithm": "aws:kms", "kms_key_id": KEY.format(1), "bucket_key_enabled": True},
    "public_access_block": dict.fromkeys(BLOCKS, True),
    "object_ownership": "BucketOwnerEnforced",
    "policy": policy(),
    "lifecycle_rules": [
        {
            "id": "journal",
            "prefix": "journal/",
            "enabled": True,
            "expiration_days": 365,
            "object_size_greater_than": 1000,
            "object_size_less_than": 9000000,
            "transitions": [
                {"days": 90, "storage_class": "GLACIER"},
                {"days": 30, "storage_class": "STANDARD_IA"},
            ],
        },
        {
            "id": "old",
            "noncurrent_version_expiration_days": 90,
            "newer_noncurrent_versions": 5,
            "noncurrent_version_transitions": [
                {"days": 30, "storage_class": "GLACIER_IR", "newer_noncurrent_versions": 2}
            ],
            "expired_object_delete_marker": True,
            "abort_incomplete_multipart_upload_days": 7,
        },
    ],
    "logging": {"target_bucket": LOGS, "target_prefix": "drift/"},
    "tags": TAGS,
}


def encryption(**changes):
    def change(s3):
        default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY.format(1)}
        rule = {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True, **changes}
        s3.put_bucket_encryption(Bucket=NAME, ServerSideEncryptionConfiguration={"Rules": [rule]})

    return change


def unblocked(field):
    def change(s3):
        block = s3.get_public_access_block(Bucket=NAME)["PublicAccessBlockConfiguration"]
        s3.put_public_access_block(Bucket=NAME, PublicAccessBlockConfiguration={**block, field: False})

    return change


def rules(name, **changes):
    """Rule ``name`` with other fields; without the field for None."""

    def change(s3):
        found = s3.get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"]
        [rule] = [rule for rule in found if rule["ID"] == name]
        rule.update(changes)
        for field in [field for field, value in changes.items() if value is None]:
            del rule[field]
        s3.put_bucket_lifecycle_configuration(Bucket=NAME, LifecycleConfiguration={"Rules": found})

    return change


def rule_added(s3):
    found = s3.get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"]
    more = {"ID": "more", "Filter": {}, "Status": "Enabled", "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket=NAME, LifecycleConfiguration={"Rules": [*found, more]})


def where(**changes):
    both = {"Prefix": "journal/", "ObjectSizeGreaterThan": 1000, "ObjectSizeLessThan": 9000000, **changes}
    return rules("journal", Filter={"And": {key: value for key, value in both.items() if value is not None}})


def put(method, **arguments):
    return lambda s3: getattr(s3, method)(Bucket=NAME, **arguments)


def moves(*transitions, of="noncurrent"):
    return [
        {("NoncurrentDays" if of == "noncurrent" else "Days"): days, "StorageClass": kind, **more}
        for days, kind, more in transitions
    ]


RULES, OLD = "lifecycle_rules", "lifecycle_rules.old"
JOURNAL = f"{RULES}.journal"
# A rule that comes or goes is named by each field that it is to have.
BOTH = ("prefix", "enabled", "transitions", "noncurrent_version_transitions")
JOURNAL_FIELDS = {
    f"{JOURNAL}.{field}" for field in (*BOTH, "expiration_days", "object_size_greater_than", "object_size_less_than")
}
OLD_FIELDS = {
    f"{OLD}.{field}"
    for field in (
        *BOTH,
        "noncurrent_version_expiration_days",
        "newer_noncurrent_versions",
        "expired_object_delete_marker",
        "abort_incomplete_multipart_upload_days",
    )
}
IA, GLACIER = (30, "STANDARD_IA", {}), (90, "GLACIER", {})

# option -> (what somebody does by hand, which fields a check names)
CASES = {
    "versioning": (
        put("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"}),
        {"versioning"},
    ),
    "encryption.sse_algorithm": (
        encryption(
            ApplyServerSideEncryptionByDefault={"SSEAlgorithm": "aws:kms:dsse", "KMSMasterKeyID": KEY.format(1)}
        ),
        {"encryption.sse_algorithm"},
    ),
    "encryption.kms_key_id": (
        encryption(ApplyServerSideEncryptionByDefault={"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY.format(2)}),
        {"encryption.kms_key_id"},
    ),
    "encryption.kms_key_id removed": (
        encryption(ApplyServerSideEncryptionByDefault={"SSEAlgorithm": "aws:kms"}),
        {"encryption.kms_key_id"},
    ),
    "encryption.bucket_key_enabled": (encryption(BucketKeyEnabled=False), {"encryption.bucket_key_enabled"}),
    **{
        f"public_access_block.{option}": (unblocked(field), {f"public_access_block.{option}"})
        for option, field in BLOCKS.items()
    },
    "public_access_block.block_public_acls removed": (
        put("delete_public_access_block"),
        {f"public_access_block.{option}" for option in BLOCKS},
    ),
    "object_ownership": (
        put("put_bucket_ownership_controls", OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}),
        {"object_ownership"},
    ),
    "policy": (
        put("put_bucket_policy", Policy=json.dumps(policy(condition="true"))),
        {"policy.Statement.Condition.Bool.aws:SecureTransport"},
    ),
    "policy removed": (
        put("delete_bucket_policy"),
        {
            "policy.Version",
            *(
                f"policy.Statement.{path}"
                for path in ("Effect", "Principal", "Action", "Resource", "Condition.Bool.aws:SecureTransport")
            ),
        },
    ),
    f"{RULES}.id": (rules("journal", ID="other"), {*JOURNAL_FIELDS, f"{RULES}.other"}),
    f"{RULES}.id added": (rule_added, {f"{RULES}.more"}),
    f"{RULES}.id removed": (put("delete_bucket_lifecycle"), {*JOURNAL_FIELDS, *OLD_FIELDS}),
    f"{RULES}.prefix": (where(Prefix="j/"), {f"{JOURNAL}.prefix"}),
    f"{RULES}.prefix and a tag": (where(Tags=[{"Key": "a", "Value": "b"}]), {f"{JOURNAL}.Filter"}),
    f"{RULES}.enabled": (rules("journal", Status="Disabled"), {f"{JOURNAL}.enabled"}),
    f"{RULES}.expiration_days": (rules("journal", Expiration={"Days": 400}), {f"{JOURNAL}.expiration_days"}),
    f"{RULES}.object_size_greater_than": (
        where(ObjectSizeGreaterThan=None),
        {f"{JOURNAL}.object_size_greater_than"},
    ),
    f"{RULES}.object_size_less_than": (where(ObjectSizeLessThan=5000), {f"{JOURNAL}.object_size_less_than"}),
    f"{RULES}.transitions.days": (
        rules("journal", Transitions=moves((40, "STANDARD_IA", {}), GLACIER, of="current")),
        {f"{JOURNAL}.transitions"},
    ),
    f"{RULES}.transitions.storage_class": (
        rules("journal", Transitions=moves(IA, (90, "DEEP_ARCHIVE", {}), of="current")),
        {f"{JOURNAL}.transitions"},
    ),
    f"{RULES}.transitions.days removed": (rules("journal", Transitions=None), {f"{JOURNAL}.transitions"}),
    f"{RULES}.noncurrent_version_expiration_days": (
        rules("old", NoncurrentVersionExpiration={"NoncurrentDays": 60, "NewerNoncurrentVersions": 5}),
        {f"{OLD}.noncurrent_version_expiration_days"},
    ),
    f"{RULES}.newer_noncurrent_versions": (
        rules("old", NoncurrentVersionExpiration={"NoncurrentDays": 90}),
        {f"{OLD}.newer_noncurrent_versions"},
    ),
    f"{RULES}.noncurrent_version_transitions.days": (
        rules("old", NoncurrentVersionTransitions=moves((31, "GLACIER_IR", {"NewerNoncurrentVersions": 2}))),
        {f"{OLD}.noncurrent_version_transitions"},
    ),
    f"{RULES}.noncurrent_version_transitions.storage_class": (
        rules("old", NoncurrentVersionTransitions=moves((30, "GLACIER", {"NewerNoncurrentVersions": 2}))),
        {f"{OLD}.noncurrent_version_transitions"},
    ),
    f"{RULES}.noncurrent_version_transitions.newer_noncurrent_versions": (
        rules("old", NoncurrentVersionTransitions=moves((30, "GLACIER_IR", {}))),
        {f"{OLD}.noncurrent_version_transitions"},
    ),
    f"{RULES}.expired_object_delete_marker": (
        rules("old", Expiration={"ExpiredObjectDeleteMarker": False}),
        {f"{OLD}.expired_object_delete_marker"},
    ),
    f"{RULES}.abort_incomplete_multipart_upload_days": (
        rules("old", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}),
        {f"{OLD}.abort_incomplete_multipart_upload_days"},
    ),
    "logging.target_bucket": (
        put(
            "put_bucket_logging",
            BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": f"{LOGS}-2", "TargetPrefix": "drift/"}},
        ),
        {"logging.target_bucket"},
    ),
    "logging.target_bucket removed": (
        put("put_bucket_logging", BucketLoggingStatus={}),
        {"logging.target_bucket", "logging.target_prefix"},
    ),
    "logging.target_prefix": (
        put("put_bucket_logging", BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": LOGS, "TargetPrefix": ""}}),
        {"logging.target_prefix"},
    ),
    "tags": (
        put("put_bucket_tagging", Tagging={"TagSet": [{"Key": k, "Value": v} for k, v in (TAGS | {"a": "b"}).items()]}),
        {"tags.a"},
    ),
    "name": (put("delete_bucket"), {"create"}),
}
NO_FIELD = {
    "state": "says whether there is to be one at all",
    "force": "what state absent may delete",
}


@pytest.fixture(scope="module")
def s3(sandbox):
    client = sandbox.client("s3")
    for name in (LOGS, f"{LOGS}-2"):
        client.create_bucket(Bucket=name)
        statement = {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject"}
        document = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": f"arn:aws:s3:::{name}/*"}]}
        client.put_bucket_policy(Bucket=name, Policy=json.dumps(document))
    return client


READS = [
    "get_bucket_versioning", "get_bucket_encryption", "get_public_access_block", "get_bucket_ownership_controls",
    "get_bucket_policy", "get_bucket_lifecycle_configuration", "get_bucket_logging", "get_bucket_tagging",
]  # fmt: skip


@pytest.mark.parametrize(("change", "fields"), drift_cases(CASES))
def test_drift(module, s3, change, fields):
    module(MODULE, ARGUMENTS)

    def read(operation):
        try:
            answer = getattr(s3, operation)(Bucket=NAME)
        except s3.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
        del answer["ResponseMetadata"]
        for unordered in ("Rules", "TagSet"):
            answer.get(unordered, []).sort(key=str)
        return answer

    drifts(
        module,
        MODULE,
        ARGUMENTS,
        lambda: {operation: read(operation) for operation in READS},
        lambda: change(s3),
        {(LABEL, field) for field in fields},
    )


def test_every_option_has_a_case():
    every_option_drifts(MODULE, CASES, NO_FIELD, ARGUMENTS)
