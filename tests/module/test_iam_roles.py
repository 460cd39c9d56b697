import json

import pytest
from botocore.client import BaseClient

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}],
}
LOGS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["logs:PutLogEvents", "logs:CreateLogStream"], "Resource": "*"}],
}
READ = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}


@pytest.fixture
def iam(sandbox):
    return sandbox.client("iam")


@pytest.fixture(scope="module")
def managed(sandbox):
    """ARNs of two customer managed policies."""
    iam = sandbox.client("iam")
    return [
        iam.create_policy(PolicyName=f"t-managed-{letter}", PolicyDocument=json.dumps(READ))["Policy"]["Arn"]
        for letter in "ab"
    ]


def role_args(name, tags=TAGS, state="present", **fields):
    return {
        "roles": [{"name": name, "assume_role_policy": TRUST, "policies": {"logs": LOGS}, **fields}],
        "tags": tags,
        "state": state,
    }


def test_create_many(quartet, iam, managed):
    full = {
        "name": "t-full",
        "description": "execution role",
        "path": "/nexus/",
        "assume_role_policy": TRUST,
        "managed_policies": managed,
        "policies": {"logs": LOGS, "read.objects": READ},
        "permissions_boundary": managed[0],
        "max_session_duration": 7200,
    }
    args = {"roles": [full, {"name": "t-bare", "assume_role_policy": TRUST}], "tags": TAGS}
    result = quartet("iam_roles", args)
    assert [change["action"] for change in result["changes"]] == ["create", "create"]
    role = iam.get_role(RoleName="t-full")["Role"]
    assert result["roles"]["t-full"]["arn"] == role["Arn"] == "arn:aws:iam::123456789012:role/nexus/t-full"
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == managed[0]
    assert {tag["Key"]: tag["Value"] for tag in role["Tags"]} == TAGS
    assert sorted(iam.list_role_policies(RoleName="t-full")["PolicyNames"]) == ["logs", "read.objects"]
    assert iam.get_role_policy(RoleName="t-full", PolicyName="logs")["PolicyDocument"] == LOGS


def test_arns_are_predicted(module, calls):
    """amazon.aws.iam_role has no ARN for a role that a check would make, and amazon.aws.iam_policy fails then."""
    result = module("iam_roles", role_args("t-not-there", path="/p/"), check=True)
    assert result["roles"]["t-not-there"]["arn"] == "arn:aws:iam::123456789012:role/p/t-not-there"
    assert calls.writes == []


def test_missing_policies_come_back(quartet, iam, managed):
    args = role_args("t-missing", managed_policies=managed)
    quartet("iam_roles", args)
    iam.delete_role_policy(RoleName="t-missing", PolicyName="logs")
    iam.detach_role_policy(RoleName="t-missing", PolicyArn=managed[0])
    assert {change["path"].split(".")[0] for change in quartet("iam_roles", args)["changes"]} == {
        "policies",
        "managed_policies",
    }


def test_documents_are_compared_by_meaning(module, calls):
    module("iam_roles", role_args("t-meaning"))
    reworded = {
        "Version": "2012-10-17",
        "Statement": {"Resource": ["*"], "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Effect": "Allow"},
    }
    calls.clear()
    assert module("iam_roles", role_args("t-meaning", policies={"logs": reworded}))["changes"] == []
    assert calls.writes == []


def test_what_is_left_out_stays(module, iam):
    module("iam_roles", role_args("t-left-out", description="kept", max_session_duration=7200))
    result = module("iam_roles", {"roles": [{"name": "t-left-out"}]})
    assert result["changes"] == []
    # UpdateRole would put the duration back to an hour if it were not sent again
    module("iam_roles", {"roles": [{"name": "t-left-out", "description": "new"}]})
    role = iam.get_role(RoleName="t-left-out")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("new", 7200)


def test_boundary_is_removed_by_an_empty_string(quartet, iam, managed):
    quartet("iam_roles", role_args("t-boundary", permissions_boundary=managed[0]))
    result = quartet("iam_roles", role_args("t-boundary", permissions_boundary=""))
    assert [change["path"] for change in result["changes"]] == ["permissions_boundary"]
    assert "PermissionsBoundary" not in iam.get_role(RoleName="t-boundary")["Role"]


def test_refusals(module, iam, calls):
    module("iam_roles", role_args("t-refuse", path="/a/"))
    calls.clear()
    assert (
        "Set its path back to /a/" in module("iam_roles", role_args("t-refuse", path="/b/"), expect_failure=True)["msg"]
    )
    foreign = module("iam_roles", role_args("t-refuse", tags={**TAGS, "Environment": "prod"}), expect_failure=True)
    assert "Environment=test" in foreign["msg"]
    assert "name_prefix" in foreign["msg"]
    bare = module("iam_roles", {"roles": [{"name": "t-no-trust"}], "tags": TAGS}, expect_failure=True)
    assert "assume_role_policy" in bare["msg"]
    assert calls.writes == []


@pytest.mark.parametrize("operation", ["CreateRole", "PutRolePolicy", "AttachRolePolicy"])
def test_interrupted_run_converges(operation, module, quartet, iam, managed, monkeypatch):
    name = f"t-crash-{operation}"
    args = role_args(name, managed_policies=managed)
    original = BaseClient._make_api_call

    def crash_after(self, called, arguments):
        answer = original(self, called, arguments)
        if called == operation:
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", crash_after)
        with pytest.raises(KeyboardInterrupt):
            module("iam_roles", args)
    assert iam.get_role(RoleName=name)["Role"]["Tags"], "a role is never there without its tags"
    assert quartet("iam_roles", args)["changes"] or operation == "AttachRolePolicy"
    assert len(iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]) == 2
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["logs"]


def test_absent_twice(quartet, module, iam, managed):
    """ansible-collections/community.aws#1054: iam_role could not delete a role with inline policies."""
    quartet("iam_roles", role_args("t-gone", managed_policies=managed))
    result = quartet("iam_roles", {"roles": [{"name": "t-gone"}], "tags": TAGS, "state": "absent"})
    assert [(change["action"], change["impact"]) for change in result["changes"]] == [("delete", "disruptive")]
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="t-gone")


def test_a_role_in_an_instance_profile_is_not_torn_out_of_it(module, iam):
    module("iam_roles", role_args("t-profile"))
    iam.create_instance_profile(InstanceProfileName="t-profile")
    iam.add_role_to_instance_profile(InstanceProfileName="t-profile", RoleName="t-profile")
    for check in (True, False):
        result = module("iam_roles", role_args("t-profile", state="absent"), check=check, expect_failure=True)
        assert "instance profile t-profile" in result["msg"]
    assert iam.list_role_policies(RoleName="t-profile")["PolicyNames"] == ["logs"], "nothing was deleted"


def test_absent_leaves_somebody_elses_role_alone(left_alone, module, iam):
    module("iam_roles", role_args("t-theirs", tags={**TAGS, "Environment": "prod"}))
    (warning,) = left_alone("iam_roles", {"roles": [{"name": "t-theirs"}], "tags": TAGS})
    assert warning.startswith("IAM role t-theirs is left alone")
    assert iam.list_role_policies(RoleName="t-theirs")["PolicyNames"] == ["logs"]


def test_adopt_takes_over_exactly_what_differs(module, left_alone, iam, managed, calls):
    theirs = [{"Key": "Project", "Value": "other"}]
    iam.create_role(
        RoleName="t-adopt", AssumeRolePolicyDocument=json.dumps(TRUST), Tags=theirs, MaxSessionDuration=7200
    )
    iam.attach_role_policy(RoleName="t-adopt", PolicyArn=managed[0])
    made = iam.get_role(RoleName="t-adopt")["Role"]
    wanted = role_args("t-adopt", max_session_duration=3600)
    calls.clear()
    assert "adopt" in module("iam_roles", wanted, expect_failure=True)["msg"]
    assert calls.writes == []
    adopting = {**wanted, "adopt": ["IAM role t-adopt"]}
    assert len(left_alone("iam_roles", adopting)) == 1
    foretold = module("iam_roles", adopting, check=True)["changes"]
    assert {(change["action"], change["path"]) for change in foretold} == {
        ("update", path) for path in ("max_session_duration", "policies.logs.Version", "policies.logs.Statement")
    } | {("update", f"tags.{key}") for key in TAGS}
    assert module("iam_roles", adopting)["changes"] == foretold
    assert module("iam_roles", wanted, check=True)["changes"] == []
    assert iam.get_role(RoleName="t-adopt")["Role"]["RoleId"] == made["RoleId"], "nothing was replaced"
    assert iam.list_attached_role_policies(RoleName="t-adopt")["AttachedPolicies"], "what is not asked for stays"


def test_what_aws_would_refuse_is_refused_before_the_first_role_is_made(module, iam, calls):
    for wrong, said in (
        ({"name": "t" * 65}, "Shorten name_prefix"),
        ({"name": "t-wrong-a"}, "twice"),
        ({"name": "t-wrong-b", "path": "/nexus"}, "begins and ends with /"),
        ({"name": "t-wrong-b", "max_session_duration": 1800}, "3600 to 43200"),
    ):
        args = role_args("t-wrong-a")
        args["roles"].append({"assume_role_policy": TRUST, **wrong})
        for check in (True, False):
            assert said in module("iam_roles", args, check=check, expect_failure=True)["msg"]
    assert calls.writes == []


def test_a_permission_that_moves_from_one_policy_to_another_is_never_missing(module, managed, calls):
    module("iam_roles", role_args("t-move", managed_policies=[managed[0]]))
    for fields in (
        {"policies": {}, "managed_policies": [managed[1]]},
        {"policies": {"logs": LOGS}, "managed_policies": []},
    ):
        calls.clear()
        module("iam_roles", role_args("t-move", **fields))
        operations = [operation for _, operation in calls.writes]
        gives = [one.startswith(("Put", "Attach")) for one in operations]
        assert gives == sorted(gives, reverse=True), operations


def test_what_is_not_asked_for_is_not_looked_up(module, calls):
    module("iam_roles", role_args("t-few"))
    calls.clear()
    found = module("iam_roles", {"roles": [{"name": "t-few"}], "tags": TAGS})
    assert calls.count(("iam", "GetRole")) == len(calls) == 1
    assert "policies" not in found["roles"]["t-few"]
    calls.clear()
    module("iam_roles", role_args("t-few"))
    assert sorted(operation for _, operation in calls) == ["GetRole", "GetRolePolicy", "ListRolePolicies"]
