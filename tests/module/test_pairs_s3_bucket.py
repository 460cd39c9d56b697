"""Pairs of a bucket before and after: what a check says is what a run does."""

import json
from itertools import count

import pytest
from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

OWNER = {"Project": "nexus-learn", "Environment": "test"}
LOGS = "pairs-logs-123456789012"
KEYS = st.sampled_from(["", *(f"arn:aws:kms:us-east-1:123456789012:key/{digit * 8}" for digit in "12")])


def some(required=(), **fields):
    """A dictionary with the required ones of the fields, and any of the others."""
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


ENCRYPTION = st.one_of(
    some(sse_algorithm=st.just("AES256"), bucket_key_enabled=st.booleans()),
    some(["sse_algorithm"], sse_algorithm=st.just("aws:kms"), kms_key_id=KEYS, bucket_key_enabled=st.booleans()),
    some(["sse_algorithm"], sse_algorithm=st.just("aws:kms:dsse"), kms_key_id=KEYS),
)
STATEMENT = some(
    ["Effect", "Principal", "Action", "Resource", "Condition"],
    Sid=st.sampled_from(["a", "b"]),
    Effect=st.just("Deny"),
    Principal=st.just("*"),
    Action=st.one_of(
        st.just("s3:*"), st.lists(st.sampled_from(["s3:GetObject", "s3:PutObject"]), min_size=1, unique=True)
    ),
    Resource=st.sampled_from(["arn:{partition}:s3:::{account_id}-a/*", ["arn:aws:s3:::123456789012-a/*"]]),
    Condition=st.sampled_from([{"Bool": {"aws:SecureTransport": value}} for value in ("false", ["false"], False)]),
)
POLICY = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "Version": st.just("2012-10-17"),
            "Statement": st.one_of(STATEMENT, st.lists(STATEMENT, min_size=1, max_size=2)),
        }
    ),
)
CLASSES = ["STANDARD_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]


def moves(**more):
    """A transition to each storage class once, the later ones later."""
    one = some(["storage_class"], storage_class=st.sampled_from(CLASSES), **more)
    return st.lists(one, max_size=2, unique_by=lambda move: move["storage_class"]).map(
        lambda found: [{"days": 30 + 30 * CLASSES.index(move["storage_class"]), **move} for move in found]
    )


RULE = some(
    ["id"],
    id=st.sampled_from(["a", "ab", "old versions"]),
    prefix=st.sampled_from(["", "journal/"]),
    enabled=st.booleans(),
    expiration_days=st.sampled_from([200, 365]),
    expired_object_delete_marker=st.booleans(),
    noncurrent_version_expiration_days=st.sampled_from([200, 365]),
    newer_noncurrent_versions=st.integers(1, 2),
    abort_incomplete_multipart_upload_days=st.integers(1, 2),
    object_size_greater_than=st.integers(0, 1),
    object_size_less_than=st.integers(1000, 1001),
    transitions=moves(),
    noncurrent_version_transitions=moves(newer_noncurrent_versions=st.integers(1, 2)),
)
ARGUMENTS = some(
    ["tags"],
    tags=st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", "b", ""])).map(
        lambda more: OWNER | more
    ),
    versioning=st.booleans(),
    encryption=ENCRYPTION,
    public_access_block=some(
        block_public_acls=st.booleans(),
        ignore_public_acls=st.booleans(),
        block_public_policy=st.booleans(),
        restrict_public_buckets=st.booleans(),
    ),
    object_ownership=st.sampled_from(["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]),
    policy=POLICY,
    lifecycle_rules=st.lists(RULE, max_size=3, unique_by=lambda rule: rule["id"]),
    logging=some(["target_bucket"], target_bucket=st.sampled_from(["", LOGS]), target_prefix=st.just("a/")),
    force=st.booleans(),
    state=st.sampled_from(["present", "present", "present", "present", "absent"]),
)
EXAMPLE = count()


def possible(arguments, mend):
    """With rules that S3 takes: mostly for what comes after, always for what is there before."""
    if not mend:
        return arguments
    rules = []
    for drawn in arguments.get("lifecycle_rules", []):
        rule = dict(drawn)
        if "expiration_days" in rule:
            rule.pop("expired_object_delete_marker", None)
        if "noncurrent_version_expiration_days" not in rule:
            rule.pop("newer_noncurrent_versions", None)
        acts = rule.get("expired_object_delete_marker") or any(
            rule.get(f"{kind}transitions") for kind in ("", "noncurrent_version_")
        )
        if not acts and not any("days" in field for field in rule):
            rule["abort_incomplete_multipart_upload_days"] = 3
        rules.append(rule)
    return {**arguments, **({"lifecycle_rules": rules} if "lifecycle_rules" in arguments else {})}


@pytest.fixture(scope="module")
def logs(sandbox):
    s3 = sandbox.client("s3")
    s3.create_bucket(Bucket=LOGS)
    statement = {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject"}
    document = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": f"arn:aws:s3:::{LOGS}/*"}]}
    s3.put_bucket_policy(Bucket=LOGS, Policy=json.dumps(document))


@PAIRS
@given(before=ARGUMENTS, after=ARGUMENTS, mend=st.sampled_from([True, True, True, False]))
def test_pairs(module, calls, logs, before, after, mend):
    name = {"name": f"pairs-{next(EXAMPLE)}-{{account_id}}"}
    event(pair(module, calls, "s3_bucket", possible(before, True) | name, possible(after, mend) | name))
