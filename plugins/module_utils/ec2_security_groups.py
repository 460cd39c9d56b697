# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Security groups of one VPC, whole: rules that are not given are removed, rules that are missing are added.

A rule is named by what it allows, for example ``tcp 6379 from nexus-learn-celery-worker``; its value is its
description. So a plan has one entry per rule, and the order of rules, ports lists and sources does not matter.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together, wait_until
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    DISRUPTIVE,
    GATHERED,
    Change,
    Exact,
    Refused,
    Say,
    by_resource,
    create,
    delete,
    is_foreign,
    is_unknown,
    leave_foreign,
    predicted,
    refuse_foreign,
    unknown,
    update,
    user_tags,
)

DIRECTIONS = {"ingress": "from", "egress": "to"}
# Their FromPort is the ICMP type and their ToPort the code; -1 is every one.
ICMP = ("icmp", "icmpv6")
PROTOCOLS = ("tcp", "udp", *ICMP)
# What AWS gives to a new group, and what a group gets whose egress is left out.
ALLOW_ALL = [{"protocol": "-1", "cidr_blocks": ["0.0.0.0/0"]}]
# IpPermission's lists, and in each the key that names the other side
_PEERS = {
    "IpRanges": "CidrIp",
    "Ipv6Ranges": "CidrIpv6",
    "PrefixListIds": "PrefixListId",
    "UserIdGroupPairs": "GroupId",
}


@dataclass(frozen=True)
class Rule:
    """One protocol, port range and peer. ``peer_list`` is the list of IpPermission that the peer belongs in."""

    protocol: str
    from_port: int | None
    to_port: int | None
    peer_list: str
    peer: str

    def key(self, direction: str) -> str:
        if self.protocol == "-1":
            what = "all"
        elif self.from_port is None or (self.protocol in ICMP and self.from_port == -1):
            what = self.protocol
        elif self.protocol in ICMP:
            what = f"{self.protocol} type {self.from_port}" + (f" code {self.to_port}" if self.to_port != -1 else "")
        elif self.from_port == self.to_port:
            what = f"{self.protocol} {self.from_port}"
        else:
            what = f"{self.protocol} {self.from_port}-{self.to_port}"
        return f"{what} {DIRECTIONS[direction]} {self.peer}"

    def permission(self, description: str, ids: Mapping[str, str]) -> dict[str, Any]:
        """The rule as an IpPermission; ``ids`` turns names of groups into their ids."""
        peer = {_PEERS[self.peer_list]: ids.get(self.peer, self.peer)}
        if description:
            peer["Description"] = description
        result: dict[str, Any] = {"IpProtocol": self.protocol, self.peer_list: [peer]}
        if self.from_port is not None:
            result.update(FromPort=self.from_port, ToPort=self.to_port)
        return result


def rules_of(permissions: Sequence[Mapping], names: Mapping[str, str]) -> Iterator[tuple[Rule, str, dict]]:
    """Take IpPermissions apart: ``(rule, description, IpPermission of this rule alone)``.

    ``names`` turns ids of groups into names, so that a rule reads the same before the groups exist.
    """
    for permission in permissions:
        protocol = permission["IpProtocol"]
        ports = {key: permission[key] for key in ("FromPort", "ToPort") if permission.get(key) is not None}
        # of any other protocol AWS lets all ports through, whatever is said of them
        first, last = (ports.get("FromPort"), ports.get("ToPort")) if protocol in PROTOCOLS else (None, None)
        for peer_list, id_key in _PEERS.items():
            for peer in permission.get(peer_list, []):
                name = names.get(peer[id_key], peer[id_key])
                rule = Rule(protocol, first, last, peer_list, name)
                own = {"IpProtocol": protocol, **ports, peer_list: [peer]}
                yield rule, peer.get("Description", ""), own


def resource(name: str) -> str:
    return f"security group {name}"


def describe(aws: Aws, params: Mapping) -> dict[str, dict]:
    """Groups by name: ``{id, description, tags, ingress, egress, permissions}``, and ``used_by`` for state absent.

    ``ingress`` and ``egress`` map a rule's key to its description, ``permissions`` the same keys to the IpPermission
    that revokes the rule. ``used_by`` lists the other groups whose rules name this one: AWS will not delete it.
    """
    names = [group["name"] for group in params["security_groups"]]
    if is_unknown(params["vpc_id"]) or not names:
        return {}
    found = _groups(aws, {"vpc-id": [params["vpc_id"]], "group-name": names})
    names_by_id = {group["GroupId"]: group["GroupName"] for group in found}
    current = {group["GroupName"]: _normal(group, names_by_id) for group in found}
    if params["state"] == "absent" and current:
        others = together(
            lambda: _groups(aws, {"ip-permission.group-id": list(names_by_id)}),
            lambda: _groups(aws, {"egress.ip-permission.group-id": list(names_by_id)}),
        )
        for other in [group for groups in others for group in groups if group["GroupId"] not in names_by_id]:
            for direction in _normal(other, names_by_id)["permissions"].values():
                for permission in direction.values():
                    for pair in permission.get("UserIdGroupPairs", []):
                        if pair["GroupId"] in names_by_id:
                            users = current[names_by_id[pair["GroupId"]]].setdefault("used_by", [])
                            users.append(f"{other['GroupName']} ({other['GroupId']})")
    return current


def _groups(aws: Aws, filters: Mapping[str, list[str]]) -> list[dict]:
    return aws.pages(
        "ec2",
        "describe_security_groups",
        "SecurityGroups",
        Filters=[{"Name": name, "Values": values} for name, values in filters.items()],
    )


def _normal(group: Mapping, names_by_id: Mapping[str, str]) -> dict[str, Any]:
    rules: dict[str, dict] = {"ingress": {}, "egress": {}}
    permissions: dict[str, dict] = {"ingress": {}, "egress": {}}
    for direction, key in (("ingress", "IpPermissions"), ("egress", "IpPermissionsEgress")):
        for rule, description, permission in rules_of(group.get(key, []), names_by_id):
            rules[direction][rule.key(direction)] = description
            permissions[direction][rule.key(direction)] = permission
    return {
        "id": group["GroupId"],
        "description": group["Description"],
        "tags": user_tags({tag["Key"]: tag["Value"] for tag in group.get("Tags", [])}),
        **rules,
        "permissions": permissions,
    }


def wanted_rules(params: Mapping, group: Mapping, direction: str) -> dict[str, tuple[Rule, str]]:
    """The rules that the parameters give to one group, by key, each with its description."""
    names = {other["name"] for other in params["security_groups"]}
    groups_option = {"ingress": "source_security_groups", "egress": "destination_security_groups"}[direction]
    given = group[direction]
    if given is None:
        given = ALLOW_ALL if direction == "egress" else []
    rules: dict[str, tuple[Rule, str]] = {}
    for entry in given:
        from_port, to_port = _ports(group["name"], direction, entry)
        peers = [_cidr(group["name"], direction, cidr) for cidr in entry.get("cidr_blocks") or []]
        for peer in entry.get(groups_option) or []:
            if peer not in names and not peer.startswith("sg-") and not is_unknown(peer):
                raise Refused(
                    f"{resource(group['name'])}: {groups_option} names {peer}, which is neither a group of "
                    "security_groups nor an id (sg-...). Correct the name, or add the group to the list."
                )
            peers.append(("UserIdGroupPairs", peer))
        for peer in entry.get("prefix_list_ids") or []:
            if not peer.startswith("pl-"):
                raise Refused(f"{resource(group['name'])}: prefix_list_ids names {peer}, which is no id (pl-...).")
            peers.append(("PrefixListIds", peer))
        if not peers:
            raise Refused(
                f"{resource(group['name'])}: a rule in {direction} needs cidr_blocks, {groups_option} or "
                "prefix_list_ids."
            )
        for peer_list, peer in peers:
            rule = Rule(entry["protocol"], from_port, to_port, peer_list, peer)
            rules[rule.key(direction)] = (rule, entry.get("description") or "")
    return rules


def _ports(name: str, direction: str, entry: Mapping) -> tuple[int | None, int | None]:
    """FromPort and ToPort as AWS stores them; ``Refused`` for what it would not take.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IpPermission.html
    """
    protocol, first, last = entry["protocol"], entry.get("from_port"), entry.get("to_port")
    if protocol == "-1":
        return None, None
    if protocol in ICMP:
        first, last = (-1 if number is None else number for number in (first, last))
        right = (first, last) == (-1, -1) or (0 <= first <= 255 and -1 <= last <= 255)
        needs = "an ICMP type as from_port and a code as to_port, both from 0 to 255, or -1 for every one"
    else:
        right = first is not None and last is not None and 0 <= first <= last <= 65535
        needs = "from_port and to_port, the first and the last of ports from 0 to 65535"
    if not right:
        raise Refused(f"{resource(name)}: a rule for {protocol} in {direction} needs {needs}.")
    return first, last


def _cidr(name: str, direction: str, cidr: str) -> tuple[str, str]:
    try:
        # AWS stores 10.0.0.1/16 as 10.0.0.0/16
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError as error:
        raise Refused(f"{resource(name)}: cidr_blocks in {direction} holds {cidr}: {error}.") from error
    return ("IpRanges" if network.version == 4 else "Ipv6Ranges"), str(network)


def desired(params: Mapping, group: Mapping, there: Mapping | None) -> dict[str, Any]:
    """What the parameters ask of one group; ``there`` is the group as described, None when it does not exist."""
    fields: dict[str, Any] = {}
    if group["description"] is not None or there is None:
        # AWS wants a description, and never lets it be changed
        fields["description"] = group["description"] or group["name"]
    for direction in DIRECTIONS:
        rules = wanted_rules(params, group, direction)
        fields[direction] = Exact({key: description for key, (_, description) in rules.items()})
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    changes: list[Change] = []
    for group in params["security_groups"]:
        name = group["name"]
        there = current.get(name)
        if params["state"] == "absent":
            if there is not None and is_foreign(there["tags"], params["tags"]):
                changes.append(leave_foreign(resource(name), there["tags"]))
            elif there is not None:
                if there.get("used_by"):
                    raise Refused(
                        f"{resource(name)} cannot be deleted: rules of {', '.join(sorted(set(there['used_by'])))} "
                        "name it. Nothing was deleted. Remove those rules, or delete those groups first."
                    )
                changes.append(delete(resource(name), _visible(there)))
            continue
        if there is not None:
            refuse_foreign(resource(name), there["tags"], params)
        wanted = desired(params, group, there)
        if there is None:
            changes.append(create(resource(name), wanted))
            continue
        if wanted.get("description", there["description"]) != there["description"]:
            raise Refused(
                f"{resource(name)} has the description {there['description']!r}, and AWS cannot change the description "
                "of a security group. Set its description back to that, or give the group another name."
            )
        changes += [_marked(change) for change in update(resource(name), there, wanted)]
    return changes


def _visible(there: Mapping) -> dict[str, Any]:
    return {key: value for key, value in there.items() if key not in ("permissions", "used_by")}


def _marked(change: Change) -> Change:
    if change.path.startswith(("ingress.", "egress.")) and change.after is None:
        note = "new connections that only this rule allows are refused from then on"
        return replace(change, impact=DISRUPTIVE, note=note)
    return change


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    planned = by_resource(changes)
    groups = [group for group in params["security_groups"] if resource(group["name"]) in planned]
    if params["state"] == "absent":
        _delete(aws, params, {group["name"]: current[group["name"]] for group in groups}, say)
        return
    missing = [group for group in groups if group["name"] not in current]
    if missing:
        # all groups before any rule: rules name groups of the same list
        together(*(lambda group=group: _create(aws, params, group) for group in missing))
        current = _describe_all(aws, params, say)
    ids = {name: there["id"] for name, there in current.items()}
    together(*(lambda group=group: _mend(aws, params, group, current[group["name"]], ids) for group in groups))


def _create(aws: Aws, params: Mapping, group: Mapping) -> None:
    arguments: dict[str, Any] = {
        "GroupName": group["name"],
        "Description": group["description"] or group["name"],
        "VpcId": params["vpc_id"],
    }
    if params["tags"]:
        tags = ansible_dict_to_boto3_tag_list(params["tags"])
        arguments["TagSpecifications"] = [{"ResourceType": "security-group", "Tags": tags}]
    aws.client("ec2").create_security_group(**arguments)


def _describe_all(aws: Aws, params: Mapping, say: Say) -> dict[str, dict]:
    """``describe`` once every group is in it: EC2 is eventually consistent.

    https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
    """
    current: dict[str, dict] = {}

    def there() -> tuple[bool, str]:
        current.update(describe(aws, params))
        missing = [group["name"] for group in params["security_groups"] if group["name"] not in current]
        return not missing, f"not readable yet: {', '.join(missing)}" if missing else "readable"

    what = "security groups"
    wait_until(there, timeout=params["wait_timeout"], pause=2, what=what, variable="wait_timeout", say=say)
    return current


def _mend(aws: Aws, params: Mapping, group: Mapping, there: Mapping, ids: Mapping[str, str]) -> None:
    ec2 = aws.client("ec2")
    calls: dict[str, tuple[Callable, Callable, Callable]] = {
        "ingress": (
            ec2.authorize_security_group_ingress,
            ec2.update_security_group_rule_descriptions_ingress,
            ec2.revoke_security_group_ingress,
        ),
        "egress": (
            ec2.authorize_security_group_egress,
            ec2.update_security_group_rule_descriptions_egress,
            ec2.revoke_security_group_egress,
        ),
    }
    for direction, (authorize, describe_rules, revoke) in calls.items():
        before, wanted = there[direction], wanted_rules(params, group, direction)
        new = [rule.permission(text, ids) for key, (rule, text) in wanted.items() if key not in before]
        renamed = [rule.permission(text, ids) for key, (rule, text) in wanted.items() if before.get(key, text) != text]
        gone = [permission for key, permission in there["permissions"][direction].items() if key not in wanted]
        # add before taking away, so that nothing that stays allowed is refused in between
        for call, permissions in ((authorize, new), (describe_rules, renamed), (revoke, gone)):
            if permissions:
                call(GroupId=there["id"], IpPermissions=permissions)
    if params["tags"] is not None:
        mend_tags(aws, there["id"], there["tags"], params["tags"])


def mend_tags(aws: Aws, resource_id: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Bring the tags of any EC2 resource from ``before`` to exactly ``after``."""
    ec2 = aws.client("ec2")
    new = {key: value for key, value in after.items() if before.get(key) != value}
    gone = [{"Key": key} for key in before if key not in after]
    if new:
        ec2.create_tags(Resources=[resource_id], Tags=ansible_dict_to_boto3_tag_list(new))
    if gone:
        ec2.delete_tags(Resources=[resource_id], Tags=gone)


def _delete(aws: Aws, params: Mapping, groups: Mapping[str, Mapping], say: Say) -> None:
    """Delete the groups once nothing uses them any more.

    AWS deletes no group that another's rule names, so the rules between them go first. The network interfaces of a
    task, node or load balancer that was just deleted linger for a minute or more.
    """
    ec2 = aws.client("ec2")
    ids = {there["id"] for there in groups.values()}

    def among_us(permission: Mapping) -> bool:
        return any(pair["GroupId"] in ids for pair in permission.get("UserIdGroupPairs", []))

    def untie(there: Mapping) -> None:
        for direction, revoke in (
            ("ingress", ec2.revoke_security_group_ingress),
            ("egress", ec2.revoke_security_group_egress),
        ):
            ties = [permission for permission in there["permissions"][direction].values() if among_us(permission)]
            if ties:
                revoke(GroupId=there["id"], IpPermissions=ties)

    together(*(lambda there=there: untie(there) for there in groups.values()))
    left = {name: there["id"] for name, there in groups.items()}

    def gone() -> tuple[bool, str]:
        for name, group_id in list(left.items()):
            try:
                ec2.delete_security_group(GroupId=group_id)
            except ec2.exceptions.ClientError as error:
                if error_code(error) == "DependencyViolation":
                    continue
                if error_code(error) != "InvalidGroup.NotFound":
                    raise
            del left[name]
        return not left, f"in use ({', '.join(left)}): {_users(aws, list(left.values()))}" if left else "deleted"

    what = "security groups"
    wait_until(gone, timeout=params["wait_timeout"], pause=10, what=what, variable="wait_timeout", say=say)


def _users(aws: Aws, ids: list[str]) -> str:
    """Who keeps the groups from being deleted, in words."""
    interfaces = aws.pages(
        "ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=[{"Name": "group-id", "Values": ids}]
    )
    if not interfaces:
        return "AWS has not let go of it yet"
    return ", ".join(
        f"{interface['NetworkInterfaceId']} ({interface.get('Description') or interface.get('InterfaceType', '?')})"
        for interface in interfaces
    )


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Groups and rules are there when the calls return."""


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    if params["state"] == GATHERED:
        return {"security_groups": {name: _visible(there) for name, there in current.items()}}

    def one(group: Mapping) -> dict[str, Any]:
        there = current.get(group["name"])
        known = _visible(there) if there else {"id": unknown("security group", group["name"]), "tags": {}}
        return predicted(known, desired(params, group, there))

    return {"security_groups": {group["name"]: one(group) for group in params["security_groups"]}}


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    return [resource(group["name"]) for group in params["security_groups"]]
