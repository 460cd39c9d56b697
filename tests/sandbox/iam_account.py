"""An account with users and roles to try IAM enforcement with."""

import json

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
ALLOWED = "allowed"


def allow(*actions: str, on="*", **conditions) -> dict:
    """An Allow statement; conditions: StringEquals={"key": value}."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, "Condition": conditions}


def deny(*actions: str, on="*", **conditions) -> dict:
    return {**allow(*actions, on=on, **conditions), "Effect": "Deny"}


def document(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(principal, **conditions) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return document({**statement, **({"Condition": conditions} if conditions else {})})


class Caller:
    """Clients with one set of credentials, which never retry."""

    def __init__(self, endpoint: str, key: str, secret: str, token: str | None = None):
        self.endpoint, self.keys = endpoint, (key, secret, token)

    def __call__(self, service: str, region: str = "us-east-1", **config):
        key, secret, token = self.keys
        return boto3.client(
            service, region_name=region, endpoint_url=self.endpoint, aws_access_key_id=key,
            aws_secret_access_key=secret, aws_session_token=token,
            config=Config(proxies={}, retries={"total_max_attempts": 1}, **config),
        )  # fmt: skip


class Account:
    """The sandbox's account: `root` makes clients of its root user."""

    def __init__(self, sandbox):
        self.sandbox, self.root = sandbox, sandbox.client
        self.count = 0

    def user(self, *statements: dict) -> Caller:
        """A new user with these statements as its inline policy."""
        name = self.name("user")
        self.root("iam").create_user(UserName=name)
        if statements:
            self.root("iam").put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(*statements))
        return self.keys_of(name)

    def keys_of(self, user: str) -> Caller:
        key = self.root("iam").create_access_key(UserName=user)["AccessKey"]
        return Caller(self.sandbox.endpoint, key["AccessKeyId"], key["SecretAccessKey"])

    def role(self, *statements: dict, trusts=None, boundary: str | None = None, conditions: dict | None = None) -> str:
        """ARN of a new role; it trusts the account unless another principal is given."""
        name = self.name("role")
        extra = {"PermissionsBoundary": boundary} if boundary else {}
        trusts = trusts or {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        made = self.root("iam").create_role(
            RoleName=name, AssumeRolePolicyDocument=trust(trusts, **(conditions or {})), **extra
        )
        if statements:
            self.root("iam").put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=document(*statements))
        return made["Role"]["Arn"]

    def session(self, role: str, caller: Caller | None = None, **arguments) -> Caller:
        sts = (caller or self.user(allow("sts:AssumeRole")))("sts")
        found = sts.assume_role(RoleArn=role, RoleSessionName="session", **arguments)["Credentials"]
        return Caller(self.sandbox.endpoint, found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])

    def policy(self, *statements: dict) -> str:
        """ARN of a new managed policy."""
        made = self.root("iam").create_policy(PolicyName=self.name("policy"), PolicyDocument=document(*statements))
        return made["Policy"]["Arn"]

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}-{self.count}"


def outcome(call) -> str:
    """ALLOWED, or the code of the error. What the service itself refuses was allowed; a failure (5xx) was not."""
    try:
        call()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        refusals = (
            "Access",
            "Authoriz",
            "Unauthorized",
            "AuthFailure",
            "Signature",
            "Token",
            "Unrecognized",
            "Missing",
        )
        failed = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        refused = any(word in code for word in refusals) and "NotFound" not in code
        return code if failed or refused else ALLOWED
    return ALLOWED
