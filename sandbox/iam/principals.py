"""Who signed a request: users and sessions of roles, with their policies, as moto's IAM and STS keep them."""

import datetime
from dataclasses import dataclass

from .evaluate import Principal, parse

ROOT_KEY = "sandbox"
"""The sandbox's own key, also of the person at the terminal: the account's root user."""


@dataclass(frozen=True)
class Credentials:
    secret: str
    principal: Principal
    token: str = ""
    expired: bool = False


def find(access_key: str, account: str, partition: str) -> Credentials | None:
    """Whose access key it is; None when there is no such key, or it is switched off."""
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends

    if access_key == ROOT_KEY:
        return Credentials(ROOT_KEY, Principal(f"arn:{partition}:iam::{account}:root", account, root=True))
    iam = iam_backends[account][partition]
    for user in list(iam.users.values()):
        for key in user.access_keys:
            if key.access_key_id == access_key and key.status == "Active":
                groups = iam.get_groups_for_user(user.name)
                policies = tuple(policy for owner in (user, *groups) for policy in policies_of(owner))
                return Credentials(key.secret_access_key, Principal(user.arn, account, policies))
    session = sts_backends[account][partition].get_assumed_role_from_access_key(access_key)
    if session is None:
        return None
    expired = session.expiration.replace(tzinfo=datetime.UTC) < datetime.datetime.now(datetime.UTC)
    return Credentials(session.secret_access_key, _of_session(session, iam), session.session_token, expired)


def _of_session(session, iam) -> Principal:
    name = session.role_arn.rpartition("/")[2]
    role = next((role for role in list(iam.roles.values()) if role.name == name), None)
    return Principal(
        arn=session.arn,
        account=session.account_id,
        identity=tuple(policies_of(role)) if role else (),
        boundary=boundary_of(role, iam),
        sessions=(parse(session.policy),) if session.policy else None,
        role_arn=session.role_arn,
    )


def policies_of(owner) -> list[dict]:
    """Inline and attached policies of a user, a group or a role."""
    return [*map(parse, owner.policies.values()), *map(_document, owner.managed_policies.values())]


def boundary_of(owner, iam) -> dict | None:
    arn = getattr(owner, "permissions_boundary_arn", None)
    return _document(iam.managed_policies[arn]) if arn in iam.managed_policies else None


def _document(policy) -> dict:
    return parse(next(version.document for version in policy.versions if version.is_default))
