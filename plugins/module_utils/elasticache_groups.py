# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The subnet group and the parameter groups of a replication group, and how ElastiCache names and tags things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together, wait_until
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    IN_PLACE,
    Change,
    Exact,
    Failed,
    Refused,
    Say,
    create,
    delete,
    is_foreign,
    is_pattern,
    leave,
    leave_foreign,
    tag_changes,
    update,
    user_tags,
)


def subnet_resource(params: Mapping) -> str:
    return f"cache subnet group {lower_name(params['subnet_group'])}"


def parameter_resource(option: Mapping) -> str:
    return f"cache parameter group {lower_name(option)}"


def lower_name(named: Mapping) -> str:
    return named["name"].lower()  # ElastiCache keeps names in lower case


def arn_of(aws: Aws, kind: str, named: Mapping) -> str:
    return aws.arn("elasticache", f"{kind}:{lower_name(named)}")


def is_default(option: Mapping) -> bool:
    """Whether the parameter group is one of AWS's own, which can be used, but neither made, changed nor deleted."""
    return lower_name(option).startswith("default.")


def tags_of(aws: Aws, kind: str, named: Mapping) -> dict[str, str]:
    return tags_at(aws, arn_of(aws, kind, named))


def tags_at(aws: Aws, arn: str) -> dict[str, str]:
    tags = aws.client("elasticache").list_tags_for_resource(ResourceName=arn)["TagList"]
    return user_tags({tag["Key"]: tag["Value"] for tag in tags})


def describe_subnets(aws: Aws, params: Mapping) -> dict[str, Any] | None:
    cache = aws.client("elasticache")
    option = params["subnet_group"]
    try:
        found, tags = together(
            lambda: cache.describe_cache_subnet_groups(CacheSubnetGroupName=lower_name(option))["CacheSubnetGroups"][0],
            lambda: tags_of(aws, "subnetgroup", option),
        )
    except cache.exceptions.CacheSubnetGroupNotFoundFault:
        return None
    return {
        "description": found["CacheSubnetGroupDescription"],
        "subnet_ids": sorted(subnet["SubnetIdentifier"] for subnet in found["Subnets"]),
        "tags": tags,
    }


def describe_parameter_groups(aws: Aws, params: Mapping) -> dict[str, dict]:
    """By name; in state absent with ``used_by``, the ids of the replication groups that use each.

    In state present also those of other families whose place the option's one takes, with ``used_by`` and ``family``.
    """
    options = params["parameter_groups"]
    if params["state"] == "present" and options and _lineage(params):
        return _describe_lineage(aws, params)
    found = together(*(lambda option=option: _describe_parameters(aws, option) for option in options))
    groups = {lower_name(option): group for option, group in zip(options, found, strict=True) if group is not None}
    if groups and params["state"] == "absent":
        _add_users(aws, groups)
    return groups


def _add_users(aws: Aws, groups: Mapping[str, dict]) -> None:
    members = aws.pages("elasticache", "describe_cache_clusters", "CacheClusters")
    for name, group in groups.items():
        group["used_by"] = sorted(
            {
                member.get("ReplicationGroupId", member["CacheClusterId"])
                for member in members
                if member.get("CacheParameterGroup", {}).get("CacheParameterGroupName") == name
            }
        )


def _lineage(params: Mapping) -> str | None:
    """What the names of a parameter group and of those of other families begin with: ``x-`` of ``x-redis7``.

    None when its name does not end in its family, and when there are no tags that say which of them are ours.
    """
    option = params["parameter_group"]
    if is_default(option) or not {"Project", "Environment"} <= set(params["tags"] or {}):
        return None
    ending = _name_of_family(option["family"] or "")
    return lower_name(option).removesuffix(ending) if ending and lower_name(option).endswith(f"-{ending}") else None


def _name_of_family(family: str) -> str:
    return family.replace(".", "-")  # redis6.x


def _describe_lineage(aws: Aws, params: Mapping) -> dict[str, dict]:
    """One call for all parameter groups of the account instead of one for ours: as cheap, and it shows the others."""
    beginning, name = _lineage(params), lower_name(params["parameter_group"])
    groups, found = together(
        lambda: aws.pages("elasticache", "describe_cache_parameter_groups", "CacheParameterGroups"),
        lambda: _describe_parameters(aws, params["parameter_group"], with_group=False),
    )
    known = {group["CacheParameterGroupName"]: group for group in groups}
    others = [
        other
        for other, group in known.items()
        if other != name and other == f"{beginning}{_name_of_family(group['CacheParameterGroupFamily'])}"
    ]
    tags = together(*(lambda other=other: tags_of(aws, "parametergroup", {"name": other}) for other in others))
    former = {
        other: {"family": known[other]["CacheParameterGroupFamily"], "tags": its_tags}
        for other, its_tags in zip(others, tags, strict=True)
        if not is_foreign(its_tags, params["tags"])
    }
    if former:
        _add_users(aws, former)
    ours = {}
    if name in known and found is not None:
        shape = known[name]
        ours = {name: {"family": shape["CacheParameterGroupFamily"], "description": shape["Description"], **found}}
    return {**ours, **former}


def _describe_parameters(aws: Aws, option: Mapping, with_group: bool = True) -> dict[str, Any] | None:
    """``parameters`` are those that a user set, and those that have the wanted value anyway."""
    cache = aws.client("elasticache")
    if is_default(option):
        return None
    wanted = _parameters(option)
    try:
        found, values, tags = together(
            lambda: (
                with_group
                and cache.describe_cache_parameter_groups(CacheParameterGroupName=lower_name(option))[
                    "CacheParameterGroups"
                ][0]
            ),
            lambda: aws.pages(
                "elasticache", "describe_cache_parameters", "Parameters", CacheParameterGroupName=lower_name(option)
            ),
            lambda: tags_of(aws, "parametergroup", option),
        )
    except cache.exceptions.CacheParameterGroupNotFoundFault:
        return None
    return {
        **({"family": found["CacheParameterGroupFamily"], "description": found["Description"]} if found else {}),
        "parameters": {
            item["ParameterName"]: item.get("ParameterValue", "")
            for item in values
            if item["Source"] == "user" or item.get("ParameterValue", "") == wanted.get(item["ParameterName"])
        },
        "tags": tags,
    }


def _parameters(option: Mapping) -> dict[str, str]:
    """Parameters as ElastiCache writes them: text, and yes or no for what YAML made a boolean of."""
    values = option["parameters"] or {}
    return {
        name: ("yes" if value else "no") if isinstance(value, bool) else str(value) for name, value in values.items()
    }


def subnet_fields(params: Mapping) -> dict[str, Any]:
    option = params["subnet_group"]
    fields: dict[str, Any] = {}
    if option["description"] is not None:
        fields["description"] = option["description"]
    if option["subnet_ids"] is not None:
        fields["subnet_ids"] = sorted(set(option["subnet_ids"]))
    return with_tags(params, fields)


def parameter_fields(params: Mapping) -> dict[str, Any]:
    option = params["parameter_group"]
    fields = {field: option[field] for field in ("family", "description") if option[field] is not None}
    if option["parameters"] is not None:
        fields["parameters"] = Exact(_parameters(option))
    return with_tags(params, fields)


def with_tags(params: Mapping, fields: dict[str, Any]) -> dict[str, Any]:
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def parameter_group(params: Mapping, current: Mapping) -> dict[str, Any] | None:
    option = params["parameter_group"]
    return current["parameter_groups"].get(lower_name(option)) if option else None


def plan_subnets(params: Mapping, there: Mapping | None) -> list[Change]:
    if params["subnet_group"] is None:
        return []
    wanted = subnet_fields(params)
    if there is not None:
        return update(subnet_resource(params), there, wanted)
    if not wanted.get("subnet_ids"):
        raise Refused(f"{subnet_resource(params)} does not exist yet. Give its subnet_ids.")
    return [create(subnet_resource(params), wanted)]


def plan_parameters(params: Mapping, there: Mapping | None) -> list[Change]:
    if params["parameter_group"] is None:
        return []
    resource, wanted = parameter_resource(params["parameter_group"]), parameter_fields(params)
    if is_default(params["parameter_group"]):
        if wanted.get("parameters"):
            raise Refused(f"{resource} is AWS's own and cannot be changed. Give parameter_group another name.")
        return []
    if there is None:
        if "family" not in wanted:
            raise Refused(f"{resource} does not exist yet. Give its family, for example redis7.")
        return [create(resource, wanted)]
    for field in ("family", "description"):
        if wanted.get(field, there[field]) != there[field]:
            raise Refused(
                f"{resource} has the {field} {there[field]!r}, which AWS cannot change to {wanted[field]!r}. "
                f"Nothing was changed. Set its {field} back, or give parameter_group another name: the replication "
                "group then moves to the new one, and nothing is lost."
            )
    return update(resource, there, wanted)


def plan_former_parameter_groups(params: Mapping, current: Mapping) -> list[Change]:
    """Parameter groups of earlier families go when nothing uses them any more, this group least of all."""
    option, there = params["parameter_group"], current["replication_group"]
    if option is None:
        return []
    name = lower_name(option)
    moves = there is not None and there["parameter_group"] != name and params["apply_immediately"]
    changes = []
    for former, group in current["parameter_groups"].items():
        if former != name and not [user for user in group["used_by"] if not (moves and user == lower_name(params))]:
            before = {"family": group["family"], "tags": group["tags"]}
            resource = parameter_resource({"name": former})
            changes.append(delete(resource, before, IN_PLACE, f"{name} has taken its place"))
    return changes


def plan_parameter_groups_absent(params: Mapping, current: Mapping, going: bool) -> list[Change]:
    changes = []
    for name, there in current["parameter_groups"].items():
        resource = parameter_resource({"name": name})
        users = [user for user in there["used_by"] if not going or user != lower_name(params)]
        if is_foreign(there["tags"], params["tags"]):
            # a beginning is not a name: nexus-learn-* begins those of nexus-learn-prod, too
            if not is_pattern(params["parameter_group"]["name"]):
                changes.append(leave_foreign(resource, there["tags"]))
        elif users:
            changes.append(leave(resource, f"{', '.join(users)} uses it"))
        else:
            before = {field: value for field, value in there.items() if field != "used_by"}
            changes.append(delete(resource, before, IN_PLACE))
    return changes


def delete_parameter_groups(aws: Aws, params: Mapping, current: Mapping, planned: Mapping, say: Say) -> None:
    cache = aws.client("elasticache")
    for name in current["parameter_groups"]:
        resource = parameter_resource({"name": name})
        if resource in planned and planned[resource][0].action == "delete":
            delete_unused(
                aws,
                lambda name=name: cache.delete_cache_parameter_group(CacheParameterGroupName=name),
                resource,
                say,
            )


def apply_subnets(aws: Aws, params: Mapping, changes: Sequence[Change]) -> None:
    cache = aws.client("elasticache")
    option, wanted = params["subnet_group"], subnet_fields(params)
    if changes[0].action == "create":
        cache.create_cache_subnet_group(
            CacheSubnetGroupName=lower_name(option),
            CacheSubnetGroupDescription=wanted.get("description", lower_name(option)),
            SubnetIds=wanted["subnet_ids"],
            Tags=ansible_dict_to_boto3_tag_list(wanted.get("tags", {})),
        )
        return
    paths = {change.path for change in changes}
    arguments = {
        argument: wanted[field]
        for field, argument in (("description", "CacheSubnetGroupDescription"), ("subnet_ids", "SubnetIds"))
        if field in paths
    }
    if arguments:
        cache.modify_cache_subnet_group(CacheSubnetGroupName=lower_name(option), **arguments)
    mend_tags(aws, arn_of(aws, "subnetgroup", option), changes)


def apply_parameters(aws: Aws, params: Mapping, changes: Sequence[Change]) -> None:
    cache = aws.client("elasticache")
    option, wanted = params["parameter_group"], parameter_fields(params)
    name = lower_name(option)
    if changes[0].action == "create":
        cache.create_cache_parameter_group(
            CacheParameterGroupName=name,
            CacheParameterGroupFamily=wanted["family"],
            Description=wanted.get("description", name),
            Tags=ansible_dict_to_boto3_tag_list(wanted.get("tags", {})),
        )
        new, gone = wanted.get("parameters", {}), []
    else:
        values = {
            change.path.removeprefix("parameters."): change.after for change in changes if "parameters." in change.path
        }
        new = {key: value for key, value in values.items() if value is not None}
        gone = [key for key, value in values.items() if value is None]
    # 20 parameters a call: https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_ModifyCacheParameterGroup.html
    for part in _parts(sorted(new.items())):
        pairs = [{"ParameterName": key, "ParameterValue": value} for key, value in part]
        cache.modify_cache_parameter_group(CacheParameterGroupName=name, ParameterNameValues=pairs)
    for part in _parts(gone):
        # the value of a parameter that is reset does not count, but has to be there
        pairs = [{"ParameterName": key, "ParameterValue": ""} for key in part]
        cache.reset_cache_parameter_group(CacheParameterGroupName=name, ParameterNameValues=pairs)
    if changes[0].action != "create":
        mend_tags(aws, arn_of(aws, "parametergroup", option), changes)


def _parts(items: Sequence, size: int = 20) -> list[Sequence]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def mend_tags(aws: Aws, arn: str, changes: Sequence[Change]) -> None:
    new, gone = tag_changes(changes)
    if gone:
        aws.client("elasticache").remove_tags_from_resource(ResourceName=arn, TagKeys=gone)
    if new:
        aws.client("elasticache").add_tags_to_resource(ResourceName=arn, Tags=ansible_dict_to_boto3_tag_list(new))


def delete_unused(aws: Aws, call: Callable[[], Any], what: str, say: Say) -> None:
    """Delete what the replication group used; ElastiCache may hold on to it for a while after the group is gone."""
    last = ""

    def probe() -> tuple[bool, str]:
        nonlocal last
        try:
            call()
        except aws.client("elasticache").exceptions.ClientError as error:
            if not error_code(error).startswith(("CacheSubnetGroupInUse", "InvalidCacheParameterGroupState")):
                raise
            last = str(error)
            return False, "in use"
        return True, "deleted"

    try:
        wait_until(probe, timeout=120, pause=5, what=what, variable="", say=say)
    except Failed:
        raise Failed(f"{what} was not deleted, for something else uses it: {last}. Free it and run again.") from None
