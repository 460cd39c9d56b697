"""SimulatePrincipalPolicy decides as the same call would be decided, and tells why as IAM does."""

import uuid

import pytest
from botocore.exceptions import ClientError
from iam_account import ACCOUNT, allow, deny, document, trust

SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:one-AbCdEf"
OTHER = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:two-AbCdEf"
READ = "secretsmanager:GetSecretValue"


@pytest.fixture
def role(sandbox):
    """role(*statements, boundary=[statements]) -> the ARN of a new role."""
    iam = sandbox.client("iam")

    def make(*statements, boundary=()):
        name = f"role-{uuid.uuid4().hex[:8]}"
        given = {}
        if boundary:
            policy = iam.create_policy(PolicyName=f"{name}-boundary", PolicyDocument=document(*boundary))["Policy"]
            given["PermissionsBoundary"] = policy["Arn"]
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"Service": "x"}), **given)["Role"]
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
        return made["Arn"]

    return make


@pytest.fixture
def simulate(sandbox):
    def ask(arn, *resources, action=READ, **context):
        entries = [
            {"ContextKeyName": key.replace("__", ":"), "ContextKeyValues": [value], "ContextKeyType": "string"}
            for key, value in context.items()
        ]
        given = {"ResourceArns": list(resources)} if resources else {}
        (found,) = sandbox.client("iam").simulate_principal_policy(
            PolicySourceArn=arn, ActionNames=[action], ContextEntries=entries, **given
        )["EvaluationResults"]
        return found

    return ask


def decisions(result):
    return [one["EvalResourceDecision"] for one in result["ResourceSpecificResults"]]


def test_each_resource_has_its_own_decision_and_the_whole_the_strictest(role, simulate):
    found = simulate(role(allow(READ, on=SECRET)), SECRET, OTHER)
    assert decisions(found) == ["allowed", "implicitDeny"]
    assert found["EvalDecision"] == "implicitDeny"
    denied = simulate(role(allow(READ), deny(READ, on=OTHER)), SECRET, OTHER)
    assert decisions(denied) == ["allowed", "explicitDeny"]
    assert denied["EvalDecision"] == "explicitDeny"


def test_without_a_resource_there_is_one_decision(role, simulate):
    found = simulate(role(allow("ecr:GetAuthorizationToken")), action="ecr:GetAuthorizationToken")
    assert found["EvalDecision"] == "allowed"
    assert "ResourceSpecificResults" not in found


def test_the_boundary_counts_and_is_told_apart(role, simulate):
    (one,) = simulate(role(allow(READ), boundary=[allow("logs:*")]), SECRET)["ResourceSpecificResults"]
    assert one["EvalResourceDecision"] == "implicitDeny"
    assert one["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    (one,) = simulate(role(allow(READ), boundary=[allow("*")]), SECRET)["ResourceSpecificResults"]
    assert one["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": True}


def test_conditions_hold_with_the_given_keys_and_others_are_named(role, simulate):
    arn = role(allow("kms:Decrypt", StringLike={"kms:ViaService": "secretsmanager.*"}))
    given = simulate(arn, SECRET, action="kms:Decrypt", kms__ViaService="secretsmanager.us-east-1.amazonaws.com")
    assert decisions(given) == ["allowed"]
    missing = simulate(arn, SECRET, action="kms:Decrypt")
    assert decisions(missing) == ["implicitDeny"]
    assert missing["MissingContextValues"] == ["kms:viaservice"]


def test_a_role_that_is_not_there(simulate):
    with pytest.raises(ClientError, match="NoSuchEntity"):
        simulate(f"arn:aws:iam::{ACCOUNT}:role/gone", SECRET)
