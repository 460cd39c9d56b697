"""The evaluator, on documents alone: what AWS documents, case by case, and laws that hold for any policies."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iam_account import allow, deny

from sandbox.iam.evaluate import Principal, Request, arn_like, context_of, why_denied

ARN = "arn:aws:ecs:us-east-1:123456789012:service/prod/api"
ME = "arn:aws:iam::123456789012:user/me"
ROLE = "arn:aws:iam::123456789012:role/deployer"
SESSION = "arn:aws:sts::123456789012:assumed-role/deployer/s"


def policy(*statements, version="2012-10-17"):
    return {"Version": version, "Statement": list(statements)}


def allowed(*statements, boundary=None, sessions=None, resource=ARN, version="2012-10-17", **context) -> bool:
    """Whether a user with these statements may call ecs:UpdateService; context keys as {"aws:username": ...}."""
    user = Principal(ME, "123456789012", (policy(*statements, version=version),), boundary, sessions)
    keys = context_of(context.get("keys", {}).items())
    return why_denied(Request("ecs:UpdateService", resource, keys), user) is None


def holds(condition, **keys) -> bool:
    context = {key.replace("_", ":", 1): value for key, value in keys.items()}
    return allowed({**allow("*"), "Condition": condition}, keys=context)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*", True),
        (ARN, True),
        ("arn:aws:ecs:*:123456789012:service/prod/*", True),
        ("arn:aws:ecs:us-east-?:*:service/*", True),
        ("arn:aws:ecs:us-east-1:123456789012:*", True),
        ("arn:aws:ecs:*", True),  # the end may stand for all that follows
        ("arn:aws:ecs:eu-*:123456789012:service/prod/api", False),
        ("arn:aws:*:123456789012:service/prod/api", False),  # a wildcard does not reach beyond its colon
        ("arn:aws:ecs:us-east-1:123456789012:service/PROD/api", False),
        ("arn:aws:ecs:us-east-1:123456789012:service/prod", False),
        ("arn:aws:ecs:us-east-1:123456789012:service/prod/a.i", False),
    ],
)
def test_a_resource_is_matched_part_by_part(pattern, fits):
    assert arn_like(pattern, ARN, {}) == fits


@pytest.mark.parametrize(
    ("condition", "keys", "expected"),
    [
        ({"StringEquals": {"aws:x": "a"}}, {"aws_x": "a"}, True),
        ({"StringEquals": {"AWS:X": "a"}}, {"aws_x": "a"}, True),
        ({"StringEquals": {"aws:x": "A"}}, {"aws_x": "a"}, False),
        ({"StringEquals": {"aws:x": ["b", "a"]}}, {"aws_x": "a"}, True),
        ({"StringEquals": {"aws:x": "a*"}}, {"aws_x": "ab"}, False),
        ({"StringLike": {"aws:x": "a*"}}, {"aws_x": "ab"}, True),
        ({"StringEqualsIgnoreCase": {"aws:x": "A"}}, {"aws_x": "a"}, True),
        ({"StringNotEquals": {"aws:x": ["a", "b"]}}, {"aws_x": "b"}, False),
        ({"StringNotEquals": {"aws:x": "a"}}, {}, True),
        ({"StringEquals": {"aws:x": "a"}}, {}, False),
        ({"StringEqualsIfExists": {"aws:x": "a"}}, {}, True),
        ({"StringEqualsIfExists": {"aws:x": "a"}}, {"aws_x": "b"}, False),
        ({"Null": {"aws:x": "true"}}, {}, True),
        ({"Null": {"aws:x": "false"}}, {}, False),
        ({"Null": {"aws:x": False}}, {"aws_x": "a"}, True),
        ({"Bool": {"aws:x": "true"}}, {"aws_x": True}, True),
        ({"NumericLessThanEquals": {"aws:x": "7"}}, {"aws_x": "7"}, True),
        ({"NumericLessThan": {"aws:x": 7}}, {"aws_x": "seven"}, False),
        ({"DateGreaterThan": {"aws:x": "2026-01-01T00:00:00Z"}}, {"aws_x": "2026-01-01T01:00:00+00:00"}, True),
        ({"IpAddress": {"aws:x": "10.0.0.0/8"}}, {"aws_x": "10.1.2.3"}, True),
        ({"NotIpAddress": {"aws:x": "10.0.0.0/8"}}, {"aws_x": "10.1.2.3"}, False),
        ({"ArnLike": {"aws:x": "arn:aws:iam::*:role/a*"}}, {"aws_x": "arn:aws:iam::1:role/ab"}, True),
        ({"ArnEquals": {"aws:x": "arn:aws:iam:*:role/a"}}, {"aws_x": "arn:aws:iam::1:role/a"}, False),
        ({"ForAllValues:StringEquals": {"aws:x": ["a", "b"]}}, {"aws_x": ["a", "b"]}, True),
        ({"ForAllValues:StringEquals": {"aws:x": ["a"]}}, {"aws_x": ["a", "b"]}, False),
        ({"ForAllValues:StringEquals": {"aws:x": ["a"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"aws:x": ["a"]}}, {"aws_x": ["a", "b"]}, True),
        ({"ForAnyValue:StringEquals": {"aws:x": ["a"]}}, {}, False),
        ({"ForAnyValue:StringEqualsIfExists": {"aws:x": ["a"]}}, {}, False),
        ({"ForAnyValue:StringNotEquals": {"aws:x": ["a"]}}, {"aws_x": ["a", "b"]}, True),
        ({"StringEquals": {"aws:x": "a", "aws:y": "b"}}, {"aws_x": "a"}, False),
        ({"StringEquals": {"aws:x": "${aws:y}"}}, {"aws_x": "a", "aws_y": "a"}, True),
        ({"StringEquals": {"aws:x": "${aws:y}"}}, {"aws_x": "a"}, False),
        ({"StringNotEquals": {"aws:x": "${aws:y}"}}, {"aws_x": "a"}, False),  # of what is not known nothing is said
        ({"StringEquals": {"aws:x": "${aws:y, 'a'}"}}, {"aws_x": "a"}, True),
        ({"StringLike": {"aws:x": "${*}b"}}, {"aws_x": "ab"}, False),
    ],
    ids=str,
)
def test_condition_operators(condition, keys, expected):
    assert holds(condition, **keys) == expected


def test_a_variable_stands_for_itself_before_2012():
    on = "arn:aws:ecs:us-east-1:123456789012:service/${aws:username}/api"
    keys = {"aws:username": "prod"}
    assert allowed(allow("ecs:*", on=on), keys=keys)
    assert not allowed(allow("ecs:*", on=on), keys=keys, version="2008-10-17")


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"AWS": ME}, None),
        ("*", None),
        ({"AWS": "123456789012"}, "no identity-based policy allows the s3:GetObject action"),
        ({"AWS": "arn:aws:iam::123456789012:user/other"}, "no identity-based policy allows the s3:GetObject action"),
        ({"Service": "ecs-tasks.amazonaws.com"}, "no identity-based policy allows the s3:GetObject action"),
    ],
)
def test_a_resource_s_policy_grants_to_whom_it_names(named, expected):
    bucket = policy({"Effect": "Allow", "Principal": named, "Action": "s3:*", "Resource": "*"})
    assert why_denied(Request("s3:GetObject", "arn:aws:s3:::b/k"), Principal(ME, "123456789012"), bucket) == expected


@pytest.mark.parametrize(
    ("named", "boundary", "session"),
    [(ROLE, "no permissions boundary", "no session policy"), (SESSION, None, None), ("*", None, None)],
)
def test_what_a_resource_s_policy_grants_to_a_role_its_limits_limit(named, boundary, session):
    """Not a session's: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html"""
    bucket = policy({"Effect": "Allow", "Principal": {"AWS": named}, "Action": "s3:*", "Resource": "*"})
    elsewhere = policy(allow("ecs:*"))

    def reason(**limits):
        caller = Principal(SESSION, "123456789012", role_arn=ROLE, **limits)
        return why_denied(Request("s3:GetObject", "arn:aws:s3:::b/k"), caller, bucket)

    allows = " allows the s3:GetObject action"
    assert reason() is None
    assert reason(boundary=elsewhere) == (boundary and boundary + allows)
    assert reason(sessions=(elsewhere,)) == (session and session + allows)
    assert reason(boundary=policy(allow("s3:*"))) is None


def test_a_resource_s_policy_denies_also_the_root_user():
    bucket = policy({"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"})
    root = Principal("arn:aws:iam::123456789012:root", "123456789012", root=True)
    assert why_denied(Request("s3:GetObject", "b"), root) is None
    assert why_denied(Request("s3:GetObject", "b"), root, bucket) == "an explicit deny in a resource-based policy"


@pytest.mark.parametrize(
    ("trusts", "statements", "expected"),
    [
        ({"AWS": SESSION}, [], None),
        ({"AWS": ROLE}, [], None),
        ({"AWS": "arn:aws:iam::123456789012:root"}, [allow("sts:AssumeRole")], None),
        ({"AWS": "arn:aws:iam::123456789012:root"}, [], "no identity-based policy allows the sts:AssumeRole action"),
        ({"AWS": ME}, [allow("*")], "no resource-based policy allows the sts:AssumeRole action"),
        ({"AWS": ROLE}, [deny("sts:*")], "an explicit deny in an identity-based policy"),
    ],
)
def test_a_role_must_trust_who_assumes_it(trusts, statements, expected):
    trust = policy({"Effect": "Allow", "Principal": trusts, "Action": "sts:AssumeRole"})
    caller = Principal(SESSION, "123456789012", (policy(*statements),), role_arn=ROLE)
    assert why_denied(Request("sts:AssumeRole", ROLE), caller, trust, True) == expected


def test_the_reason_names_the_policy_that_says_no():
    wide = (policy(allow("*")),)

    def reason(**limits):
        user = Principal(ME, "123456789012", **{"identity": wide, **limits})
        return why_denied(Request("ecs:UpdateService", ARN), user)

    assert reason(identity=()) == "no identity-based policy allows the ecs:UpdateService action"
    assert reason(boundary=policy(allow("s3:*"))) == "no permissions boundary allows the ecs:UpdateService action"
    assert reason(boundary=policy(deny("ecs:*"))) == "an explicit deny in a permissions boundary"
    assert reason(sessions=(policy(allow("s3:*")),)) == "no session policy allows the ecs:UpdateService action"


# ---- laws ----

PATTERNS = st.sampled_from(["*", ARN, "arn:aws:ecs:*:*:service/*", "arn:aws:ecs:us-east-1:123456789012:cluster/*"])
CONDITIONS = st.sampled_from(
    [{}, {"StringEquals": {"aws:x": "a"}}, {"StringNotEquals": {"aws:x": "a"}}, {"Null": {"aws:x": "true"}}]
)
STATEMENTS = st.builds(
    lambda effect, action, on, condition: {"Effect": effect, **action, **on, "Condition": condition},
    st.sampled_from(["Allow", "Deny"]),
    st.sampled_from([{"Action": "*"}, {"Action": ["ecs:Update*"]}, {"NotAction": "ecs:*"}, {"Action": "s3:*"}]),
    st.one_of(PATTERNS.map(lambda one: {"Resource": one}), PATTERNS.map(lambda one: {"NotResource": [one]})),
    CONDITIONS,
)
LISTS = st.lists(STATEMENTS, max_size=4)
KEYS = st.sampled_from([{}, {"aws:x": "a"}, {"aws:x": "b"}])


@settings(max_examples=300, deadline=None)
@given(LISTS, STATEMENTS, KEYS)
def test_one_more_allow_never_takes_away_and_one_more_deny_never_gives(statements, more, keys):
    before, after = allowed(*statements, keys=keys), allowed(*statements, more, keys=keys)
    assert after >= before if more["Effect"] == "Allow" else after <= before


@settings(max_examples=300, deadline=None)
@given(LISTS, LISTS, KEYS, st.randoms())
def test_a_boundary_is_an_intersection_and_order_is_nothing(statements, limits, keys, random):
    both = allowed(*statements, keys=keys) and allowed(*limits, keys=keys)
    assert allowed(*statements, boundary=policy(*limits), keys=keys) == both
    assert allowed(*statements, sessions=(policy(*limits),), keys=keys) == both
    shuffled = random.sample(statements, len(statements))
    assert allowed(*shuffled, keys=keys) == allowed(*statements, keys=keys)


@settings(max_examples=200, deadline=None)
@given(STATEMENTS, KEYS)
def test_an_action_and_its_negation_part_the_world(statement, keys):
    """What a statement's resource pattern leaves out, the same pattern under NotResource takes in."""
    one = {**statement, "Effect": "Allow"}
    name, other = ("Resource", "NotResource") if "Resource" in one else ("NotResource", "Resource")
    turned = {key: value for key, value in one.items() if key != name} | {other: one[name]}
    free = {key: value for key, value in one.items() if key != name} | {"Resource": "*"}
    assert allowed(free, keys=keys) == (allowed(one, keys=keys) != allowed(turned, keys=keys) or False)


def test_documents_survive_json():
    assert allowed(json.loads(json.dumps(allow("ecs:UpdateService", on=[ARN]))))
