"""Pairs of roles before and after: what a check says is what a run does."""

import json
from itertools import count

import pytest
from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

OWNER = {"Project": "nexus-learn", "Environment": "test"}
MANAGED = [f"arn:aws:iam::123456789012:policy/pairs-{letter}" for letter in "abc"]


def some(required, **fields):
    """A dictionary with the required ones of the fields, and any of the others."""
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


def one_or_list(values):
    return st.one_of(st.sampled_from(values), st.lists(st.sampled_from(values), min_size=1, unique=True))


def documents(**fields):
    """Policies that are now and then the same in other words."""
    statement = some([*fields, "Effect"], Effect=st.just("Allow"), Sid=st.sampled_from(["a", "b"]), **fields)
    return st.fixed_dictionaries(
        {
            "Version": st.just("2012-10-17"),
            "Statement": st.one_of(
                statement, st.lists(statement, min_size=1, max_size=2, unique_by=lambda one: one.get("Sid"))
            ),
        }
    )


SERVICES = ["ecs-tasks.amazonaws.com", "ec2.amazonaws.com"]
TRUST = documents(
    Action=st.just("sts:AssumeRole"),
    Principal=st.one_of(
        st.fixed_dictionaries({"Service": one_or_list(SERVICES)}),
        st.fixed_dictionaries({"AWS": st.sampled_from(["123456789012", "arn:aws:iam::123456789012:root"])}),
    ),
)
POLICY = documents(
    Action=one_or_list(["s3:GetObject", "s3:PutObject", "logs:*"]),
    Resource=one_or_list(["*", "arn:aws:s3:::a/*"]),
)
ROLE = some(
    ["name", "assume_role_policy"],
    name=st.sampled_from(["a", "ab", "b.c"]),
    assume_role_policy=TRUST,
    description=st.sampled_from(["", "what it is for", "für Aufgaben"]),
    path=st.sampled_from(["/", "/", "/", "/pairs/"]),
    managed_policies=st.lists(st.sampled_from(MANAGED), max_size=3),
    policies=st.dictionaries(st.sampled_from(["logs", "read.objects", "x"]), POLICY, max_size=3),
    permissions_boundary=st.sampled_from(["", *MANAGED]),
    max_session_duration=st.sampled_from([3600, 7200, 43200]),
)
ARGUMENTS = some(
    ["roles"],
    roles=st.lists(ROLE, unique_by=lambda role: role["name"], min_size=1),
    tags=st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", "b", ""])).map(
        lambda more: OWNER | more
    ),
    state=st.sampled_from(["present", "present", "present", "absent"]),
)
EXAMPLE = count()


def named(arguments, example):
    roles = [{**role, "name": f"pairs-{example}-{role['name']}"} for role in arguments["roles"]]
    return {**arguments, "roles": roles}


@pytest.fixture(scope="module")
def managed(sandbox):
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    for arn in MANAGED:
        sandbox.client("iam").create_policy(PolicyName=arn.rpartition("/")[2], PolicyDocument=json.dumps(policy))


@PAIRS
@given(before=ARGUMENTS, after=ARGUMENTS)
def test_pairs(module, calls, managed, before, after):
    example = next(EXAMPLE)
    # a role that is made without tags is nobody's afterwards
    before = {"tags": OWNER, **before}
    event(pair(module, calls, "iam_roles", named(before, example), named(after, example)))
