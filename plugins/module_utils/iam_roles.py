# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""IAM roles with everything that hangs on them: trust, managed and inline policies, permissions boundary, tags.

Policy documents are compared by what they mean, not by how they are written: a string and a list of that one string,
another order of actions, or the ways to name an account are the same to IAM and no difference here.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.policy import compare_policies
from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, patiently, together, wait_until
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    Change,
    Exact,
    Refused,
    Say,
    by_resource,
    create,
    delete,
    is_foreign,
    leave_foreign,
    predicted,
    refuse_foreign,
    update,
    user_tags,
)

# What a role has that is given nothing else, and what AWS takes
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
DEFAULTS: dict[str, Any] = {
    "description": "",
    "path": "/",
    "permissions_boundary": "",
    "max_session_duration": 3600,
    "managed_policies": [],
    "policies": {},
    "tags": {},
}
_SESSION_SECONDS = (3600, 43200)
_NAME_LENGTH = 64
# What a role may do, and who may be it, is known everywhere some seconds after it was answered, and nothing tells when.
# Tasks that ECS cannot start until then count for its circuit breaker.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
SPREAD_SECONDS = 10
_SPREADS = ("assume_role_policy", "managed_policies", "permissions_boundary", "policies")
# Each costs calls of its own: looked up only where they are given, or about to be deleted.
_EXTRA = ("managed_policies", "policies")


def resource(name: str) -> str:
    return f"IAM role {name}"


def describe(aws: Aws, params: Mapping) -> dict[str, dict]:
    """Roles by name, each with the fields of the module's option ``roles`` and ``tags``.

    Of ``managed_policies`` and ``policies`` those that are given. For state absent both, and the ``instance_profiles``
    that a role is in.
    """
    absent = params["state"] == "absent"
    found = together(
        *(
            lambda role=role: _describe_one(aws, role["name"], _EXTRA if absent else _given(role), absent)
            for role in params["roles"]
        )
    )
    return {role["name"]: there for role, there in zip(params["roles"], found, strict=True) if there is not None}


def _given(role: Mapping) -> list[str]:
    return [field for field in _EXTRA if role[field] is not None]


def _describe_one(aws: Aws, name: str, extra: Sequence[str], absent: bool) -> dict | None:
    iam = aws.client("iam")

    def attached() -> list[str]:
        policies = aws.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=name)
        return sorted(policy["PolicyArn"] for policy in policies)

    def policy(policy_name: str) -> dict:
        return iam.get_role_policy(RoleName=name, PolicyName=policy_name)["PolicyDocument"]

    def inline() -> dict[str, dict]:
        names = aws.pages("iam", "list_role_policies", "PolicyNames", RoleName=name)
        documents = together(*(lambda policy_name=policy_name: policy(policy_name) for policy_name in names))
        return dict(zip(names, documents, strict=True))

    def profiles() -> list[str]:
        found = aws.pages("iam", "list_instance_profiles_for_role", "InstanceProfiles", RoleName=name)
        return sorted(profile["InstanceProfileName"] for profile in found)

    reads = {"managed_policies": attached, "policies": inline, "instance_profiles": profiles}
    fields = [*extra, *(["instance_profiles"] if absent else [])]
    try:
        role, *values = together(
            lambda: iam.get_role(RoleName=name)["Role"],
            *(reads[field] for field in fields),
        )
    except iam.exceptions.NoSuchEntityException:
        return None
    return {
        "arn": role["Arn"],
        "description": role.get("Description", ""),
        "path": role["Path"],
        "assume_role_policy": role["AssumeRolePolicyDocument"],
        "permissions_boundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""),
        "max_session_duration": role["MaxSessionDuration"],
        "tags": user_tags({tag["Key"]: tag["Value"] for tag in role.get("Tags", [])}),
        **dict(zip(fields, values, strict=True)),
    }


def _document(wanted: Mapping, current: Mapping | None) -> Exact:
    """The wanted policy document, in the wording of the current one where both mean the same."""
    same = current is not None and not compare_policies(current, wanted)
    return Exact(current if same else wanted)  # type: ignore[arg-type]


def desired(params: Mapping, role: Mapping, current: Mapping) -> dict[str, Any]:
    """What the parameters ask of one role; what they leave out is left out here."""
    fields: dict[str, Any] = {
        key: role[key]
        for key in ("description", "path", "permissions_boundary", "max_session_duration")
        if role[key] is not None
    }
    if role["assume_role_policy"] is not None:
        fields["assume_role_policy"] = _document(role["assume_role_policy"], current.get("assume_role_policy"))
    if role["managed_policies"] is not None:
        fields["managed_policies"] = sorted(set(role["managed_policies"]))
    if role["policies"] is not None:
        there = current.get("policies", {})
        fields["policies"] = Exact(
            {name: _document(document, there.get(name)) for name, document in role["policies"].items()}
        )
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def _refuse_impossible(roles: Sequence[Mapping]) -> None:
    """What AWS would refuse when other roles of the list are made already."""
    names = [role["name"] for role in roles]
    for role in roles:
        name, path, seconds = role["name"], role["path"], role["max_session_duration"]
        least, most = _SESSION_SECONDS
        if len(name) > _NAME_LENGTH:
            raise Refused(
                f"{resource(name)} has a name of {len(name)} characters; AWS allows {_NAME_LENGTH}. "
                "Shorten name_prefix."
            )
        if names.count(name) > 1:
            raise Refused(f"roles name {name} twice: one entry per role.")
        if path is not None and not (path.startswith("/") and path.endswith("/")):
            raise Refused(f"{resource(name)} has the path {path}: a path begins and ends with /.")
        if seconds is not None and not least <= seconds <= most:
            raise Refused(
                f"{resource(name)} has a max_session_duration of {seconds} seconds; AWS allows {least} to {most}."
            )


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    if params["state"] == "absent":
        return _plan_absent(params, current)
    _refuse_impossible(params["roles"])
    changes: list[Change] = []
    for role in params["roles"]:
        name = role["name"]
        there = current.get(name)
        if there is not None:
            refuse_foreign(resource(name), there["tags"], params)
        wanted = desired(params, role, there or {})
        if there is None:
            if "assume_role_policy" not in wanted:
                raise Refused(
                    f"{resource(name)} does not exist yet; its assume_role_policy says who may use it. Add it."
                )
            changes.append(create(resource(name), wanted))
            continue
        if wanted.get("path", there["path"]) != there["path"]:
            raise Refused(
                f"{resource(name)} has the path {there['path']}, and AWS cannot change the path of a role. "
                f"Set its path back to {there['path']}, or give the role another name."
            )
        changes += update(resource(name), there, wanted)
    return changes


def _plan_absent(params: Mapping, current: Mapping) -> list[Change]:
    changes = []
    for name, there in current.items():
        if is_foreign(there["tags"], params["tags"]):
            changes.append(leave_foreign(resource(name), there["tags"]))
            continue
        if there["instance_profiles"]:
            # before the first policy is gone: AWS would refuse only the last step
            raise Refused(
                f"{resource(name)} is used by the instance profile {there['instance_profiles'][0]}, which this module "
                "does not manage. Nothing was deleted. Take the role out of it "
                "(aws iam remove-role-from-instance-profile) and run again."
            )
        changes.append(delete(resource(name), there, note="what runs with this role loses its permissions"))
    return changes


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    planned = by_resource(changes)

    def one(role: Mapping) -> None:
        name = role["name"]
        there = current.get(name, {})
        if params["state"] == "absent":
            _delete(aws, name, there, say)
            return
        wanted = desired(params, role, there)
        if not there:
            _create(aws, name, wanted)
            _wait_readable(aws, name, params["wait_timeout"], say)
            there = {**wanted, **{field: DEFAULTS[field] for field in _EXTRA}}
        _update(aws, name, there, wanted)

    together(*(lambda role=role: one(role) for role in params["roles"] if resource(role["name"]) in planned))
    spreads = any(change.action == "create" or change.path.split(".")[0] in _SPREADS for change in changes)
    if params["state"] == "present" and spreads and not aws.emulated:
        say(f"IAM roles: {SPREAD_SECONDS} s until they are known everywhere")
        time.sleep(SPREAD_SECONDS)


def _create(aws: Aws, name: str, wanted: Mapping) -> None:
    arguments: dict[str, Any] = {
        "RoleName": name,
        "Path": wanted.get("path", DEFAULTS["path"]),
        "AssumeRolePolicyDocument": json.dumps(wanted["assume_role_policy"]),
        # A role is never there without its tags: nobody would know afterwards whose it is.
        "Tags": ansible_dict_to_boto3_tag_list(wanted.get("tags", {})),
    }
    for field, argument in (
        ("description", "Description"),
        ("permissions_boundary", "PermissionsBoundary"),
        ("max_session_duration", "MaxSessionDuration"),
    ):
        if wanted.get(field):
            arguments[argument] = wanted[field]
    aws.client("iam").create_role(**arguments)


def _wait_readable(aws: Aws, name: str, timeout: float, say: Say) -> None:
    """IAM is eventually consistent: what was created may not be found yet by the next call.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
    """
    iam = aws.client("iam")

    def readable() -> tuple[bool, str]:
        try:
            iam.get_role(RoleName=name)
        except iam.exceptions.NoSuchEntityException:
            return False, "not readable"
        return True, "readable"

    wait_until(readable, timeout=timeout, pause=2, what=resource(name), variable="wait_timeout", say=say)


def _update(aws: Aws, name: str, there: Mapping, wanted: Mapping) -> None:
    iam = aws.client("iam")

    def differs(*fields: str) -> bool:
        return any(field in wanted and wanted[field] != there[field] for field in fields)

    if differs("assume_role_policy"):
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(wanted["assume_role_policy"]))
    if differs("description", "max_session_duration"):
        # Both, always: UpdateRole puts the session duration back to an hour when it is left out.
        full = {**there, **wanted}
        iam.update_role(RoleName=name, Description=full["description"], MaxSessionDuration=full["max_session_duration"])
    if differs("permissions_boundary"):
        if wanted["permissions_boundary"]:
            iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=wanted["permissions_boundary"])
        else:
            iam.delete_role_permissions_boundary(RoleName=name)
    # What is to be allowed comes before what is no longer, whichever way it is allowed: a role that works is never
    # without its permissions.
    before = {field: there.get(field, DEFAULTS[field]) for field in _EXTRA}
    after = {field: wanted.get(field, before[field]) for field in _EXTRA}
    for policy, document in after["policies"].items():
        if document != before["policies"].get(policy):
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
    for arn in sorted(set(after["managed_policies"]) - set(before["managed_policies"])):
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    for policy in sorted(set(before["policies"]) - set(after["policies"])):
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for arn in sorted(set(before["managed_policies"]) - set(after["managed_policies"])):
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    if differs("tags"):
        gone = sorted(there["tags"].keys() - wanted["tags"].keys())
        if gone:
            iam.untag_role(RoleName=name, TagKeys=gone)
        new = {key: value for key, value in wanted["tags"].items() if there["tags"].get(key) != value}
        if new:
            iam.tag_role(RoleName=name, Tags=ansible_dict_to_boto3_tag_list(new))


def _delete(aws: Aws, name: str, there: Mapping, say: Say) -> None:
    iam = aws.client("iam")
    for arn in there["managed_policies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    for policy in there["policies"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    # IAM may not have noticed yet that the policies are gone
    patiently(lambda: iam.delete_role(RoleName=name), ("DeleteConflict",), say)


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Roles are as wanted when the calls return; ``apply`` has waited for the new ones to be readable."""


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    def one(role: Mapping) -> dict[str, Any]:
        new = {field: value for field, value in DEFAULTS.items() if field not in _EXTRA or role[field] is not None}
        there = current.get(role["name"], new)
        fields = predicted(there, desired(params, role, there))
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns
        arn = there.get("arn") or aws.arn("iam", f"role{fields['path']}{role['name']}", region=False)
        return {**fields, "arn": arn}

    return {"roles": {role["name"]: one(role) for role in params["roles"]}}


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    return [resource(role["name"]) for role in params["roles"]]
