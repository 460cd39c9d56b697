"""Every option of iam_roles: changed by hand, seen as exactly that field, mended, nothing else moved."""

import json

import pytest
from generated import drift_cases, drifts, every_option_drifts

MODULE = "iam_roles"
NAME = "drift-role"
LABEL = f"IAM role {NAME}"


def document(action="s3:GetObject", **more):
    statement = {"Effect": "Allow", "Action": action, "Resource": "*", **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def trust(service):
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": f"{service}.amazonaws.com"}}
    return {"Version": "2012-10-17", "Statement": [statement]}


MANAGED = [f"arn:aws:iam::123456789012:policy/drift-{letter}" for letter in "abc"]
ARGUMENTS = {
    "roles": [
        {
            "name": NAME,
            "description": "as wanted",
            "path": "/drift/",
            "assume_role_policy": trust("ecs-tasks"),
            "managed_policies": MANAGED[:2],
            "policies": {"logs": document("logs:PutLogEvents"), "read.objects": document()},
            "permissions_boundary": MANAGED[0],
            "max_session_duration": 7200,
        }
    ],
    "tags": {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"},
}


def role(method, **arguments):
    return lambda iam: getattr(iam, method)(RoleName=NAME, **arguments)


def inline(name, policy):
    return role("put_role_policy", PolicyName=name, PolicyDocument=json.dumps(policy))


def gone(iam):
    for arn in MANAGED[:2]:
        iam.detach_role_policy(RoleName=NAME, PolicyArn=arn)
    for name in ARGUMENTS["roles"][0]["policies"]:
        iam.delete_role_policy(RoleName=NAME, PolicyName=name)
    iam.delete_role(RoleName=NAME)


# option -> (what somebody does by hand, which fields a check names)
CASES = {
    "roles.description": (role("update_role", Description="other", MaxSessionDuration=7200), {"description"}),
    "roles.description removed": (role("update_role", Description="", MaxSessionDuration=7200), {"description"}),
    "roles.max_session_duration": (
        role("update_role", Description="as wanted", MaxSessionDuration=3600),
        {"max_session_duration"},
    ),
    "roles.assume_role_policy": (
        role("update_assume_role_policy", PolicyDocument=json.dumps(trust("ec2"))),
        {"assume_role_policy.Statement"},
    ),
    "roles.managed_policies": (role("attach_role_policy", PolicyArn=MANAGED[2]), {"managed_policies"}),
    "roles.managed_policies removed": (role("detach_role_policy", PolicyArn=MANAGED[1]), {"managed_policies"}),
    "roles.policies": (inline("logs", document("logs:*")), {"policies.logs.Statement"}),
    "roles.policies condition": (
        inline("read.objects", document(Condition={"Bool": {"aws:SecureTransport": "true"}})),
        {"policies.read.objects.Statement"},
    ),
    "roles.policies added": (inline("by.hand", document()), {"policies.by.hand"}),
    "roles.policies removed": (
        role("delete_role_policy", PolicyName="logs"),
        {"policies.logs.Version", "policies.logs.Statement"},
    ),
    "roles.permissions_boundary": (
        role("put_role_permissions_boundary", PermissionsBoundary=MANAGED[1]),
        {"permissions_boundary"},
    ),
    "roles.permissions_boundary removed": (role("delete_role_permissions_boundary"), {"permissions_boundary"}),
    "tags": (role("tag_role", Tags=[{"Key": "more", "Value": "yes"}]), {"tags.more"}),
    "tags changed": (role("tag_role", Tags=[{"Key": "ManagedBy", "Value": "me"}]), {"tags.ManagedBy"}),
    "roles.name": (gone, {"create"}),
}
NO_FIELD = {
    "state": "says whether there is to be one at all",
    "wait_timeout": "how long this module waits",
    "roles.path": "AWS never changes it: another one is refused, in test_iam_roles.py",
}


@pytest.fixture(scope="module")
def iam(sandbox):
    client = sandbox.client("iam")
    for arn in MANAGED:
        client.create_policy(PolicyName=arn.rpartition("/")[2], PolicyDocument=json.dumps(document()))
    return client


@pytest.mark.parametrize(("change", "fields"), drift_cases(CASES))
def test_drift(module, iam, change, fields):
    module(MODULE, ARGUMENTS)

    def snapshot():
        if NAME not in [one["RoleName"] for one in iam.list_roles(PathPrefix="/drift/")["Roles"]]:
            return None
        found = iam.get_role(RoleName=NAME)["Role"]
        tags = {tag["Key"]: tag["Value"] for tag in found.pop("Tags")}
        attached = iam.list_attached_role_policies(RoleName=NAME)["AttachedPolicies"]
        policies = {
            name: iam.get_role_policy(RoleName=NAME, PolicyName=name)["PolicyDocument"]
            for name in iam.list_role_policies(RoleName=NAME)["PolicyNames"]
        }
        fields = {key: found[key] for key in found.keys() - {"RoleId", "CreateDate", "RoleLastUsed"}}
        return fields, tags, sorted(policy["PolicyArn"] for policy in attached), policies

    drifts(module, MODULE, ARGUMENTS, snapshot, lambda: change(iam), {(LABEL, field) for field in fields})


def test_every_option_has_a_case():
    every_option_drifts(MODULE, CASES, NO_FIELD, ARGUMENTS)
