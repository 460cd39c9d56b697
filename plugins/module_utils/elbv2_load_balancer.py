# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An Application Load Balancer with its target group and its listeners.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together, wait_until
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    DISRUPTIVE,
    GATHERED,
    Change,
    Exact,
    Failed,
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

# Our fields: AWS's attributes of a load balancer, and what AWS takes when they are left out
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancerAttribute.html
LB_ATTRIBUTES: dict[str, tuple[str, int | bool | str]] = {
    "idle_timeout": ("idle_timeout.timeout_seconds", 60),
    "client_keep_alive": ("client_keep_alive.seconds", 3600),
    "deletion_protection": ("deletion_protection.enabled", False),
    "http2": ("routing.http2.enabled", True),
    "desync_mitigation_mode": ("routing.http.desync_mitigation_mode", "defensive"),
    "drop_invalid_header_fields": ("routing.http.drop_invalid_header_fields.enabled", False),
    "preserve_host_header": ("routing.http.preserve_host_header.enabled", False),
    "x_amzn_tls_version_and_cipher_suite": ("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", False),
    "xff_client_port": ("routing.http.xff_client_port.enabled", False),
    "xff_header_processing_mode": ("routing.http.xff_header_processing.mode", "append"),
    "waf_fail_open": ("waf.fail_open.enabled", False),
    "zonal_shift": ("zonal_shift.config.enabled", False),
}
# Kinds of logs, each with the attributes <kind>.s3.enabled, .bucket and .prefix
LOGS = ("access_logs", "connection_logs", "health_check_logs")
# At most so many attributes in a call
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyLoadBalancerAttributes.html
_ATTRIBUTES_A_CALL = 20
# The same of a target group
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html
TG_ATTRIBUTES: dict[str, tuple[str, int | bool | str]] = {
    "deregistration_delay": ("deregistration_delay.timeout_seconds", 300),
    "slow_start": ("slow_start.duration_seconds", 0),
    "load_balancing_algorithm": ("load_balancing.algorithm.type", "round_robin"),
}
# Fields of our health check: where the API has them, and what AWS takes when they are left out
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html
HEALTH_CHECK: dict[str, tuple[str, int | str]] = {
    "protocol": ("HealthCheckProtocol", "HTTP"),
    "port": ("HealthCheckPort", "traffic-port"),
    "path": ("HealthCheckPath", "/"),
    "interval": ("HealthCheckIntervalSeconds", 30),
    "timeout": ("HealthCheckTimeoutSeconds", 5),
    "healthy_threshold": ("HealthyThresholdCount", 5),
    "unhealthy_threshold": ("UnhealthyThresholdCount", 2),
}
DEFAULT_MATCHER = "200"
# What AWS takes of them, from the same pages
_RANGES = {
    "idle_timeout": (1, 4000),
    "client_keep_alive": (60, 604800),
    "deregistration_delay": (0, 3600),
    "interval": (5, 300),
    "timeout": (2, 120),
    "healthy_threshold": (2, 10),
    "unhealthy_threshold": (2, 10),
}
_SLOW_START = (30, 900)
# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
_NAME = re.compile(r"(?!internal-)[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?")
DEFAULT_PORTS = {"HTTP": 80, "HTTPS": 443}
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
NEW_SSL_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
# A listener whose protocol, certificate, policy or action changes goes on serving; these stop something.
# Names of load balancers live for 60 s:
# https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/how-elastic-load-balancing-works.html
_IMPACTS = {
    "subnets": (DISRUPTIVE, "connections through a zone that goes break; clients find the others within a minute"),
    "security_groups": (DISRUPTIVE, "clients that only the old groups let in are refused from then on"),
    "action": (DISRUPTIVE, "requests are answered differently from one moment to the next"),
}


def _lb_resource(params: Mapping) -> str:
    return f"load balancer {params['name']}"


def _tg_resource(params: Mapping) -> str:
    return f"target group {_tg_name(params)}"


def _tg_name(params: Mapping) -> str | None:
    return params["target_group"] and params["target_group"]["name"]


def _listener_resource(params: Mapping, port: int) -> str:
    return f"listener {params['name']}:{port}"


# What a new one has that is given nothing else
NEW_BALANCER: dict[str, Any] = {
    "status": "active",
    "scheme": "internet-facing",
    "security_groups": [unknown("default security group", "of the VPC")],
    **{field: default for field, (_, default) in LB_ATTRIBUTES.items()},
    **dict.fromkeys(LOGS),
    "tags": {},
}
NEW_GROUP: dict[str, Any] = {
    **{field: default for field, (_, default) in TG_ATTRIBUTES.items()},
    "health_check": {**{field: default for field, (_, default) in HEALTH_CHECK.items()}, "matcher": DEFAULT_MATCHER},
    "tags": {},
}


# --- what there is -----------------------------------------------------------------------------------------------


def describe(aws: Aws, params: Mapping) -> dict[str, Any]:
    """``{load_balancer, target_group, listeners, used_by}``; None for what is not there, listeners by port.

    ``used_by`` are the names of the load balancers, at most one by AWS's rules, that forward to the target group; for a
    moment also of one that has just been deleted.
    """
    elbv2 = aws.client("elbv2")

    def named(operation: str, key: str, name: str | None) -> dict | None:
        if not name:
            return None
        try:
            return getattr(elbv2, operation)(Names=[name])[key][0]
        except elbv2.exceptions.ClientError as error:
            if error_code(error) in ("LoadBalancerNotFound", "TargetGroupNotFound"):
                return None
            raise

    balancer, group = together(
        lambda: named("describe_load_balancers", "LoadBalancers", params["name"]),
        lambda: named("describe_target_groups", "TargetGroups", _tg_name(params)),
    )
    balancer_arn = balancer and balancer["LoadBalancerArn"]
    group_arn = group and group["TargetGroupArn"]

    def attributes(operation: str, **arn: str | None) -> dict[str, str]:
        if not all(arn.values()):
            return {}
        return {item["Key"]: item["Value"] for item in getattr(elbv2, operation)(**arn)["Attributes"]}

    def listeners() -> list[dict]:
        if not balancer_arn:
            return []
        return aws.pages("elbv2", "describe_listeners", "Listeners", LoadBalancerArn=balancer_arn)

    lb_attributes, tg_attributes, found = together(
        lambda: attributes("describe_load_balancer_attributes", LoadBalancerArn=balancer_arn),
        lambda: attributes("describe_target_group_attributes", TargetGroupArn=group_arn),
        listeners,
    )
    arns = [arn for arn in (balancer_arn, group_arn, *(item["ListenerArn"] for item in found)) if arn]
    tags: dict[str, dict] = {}
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html: 20 at a time
    for start in range(0, len(arns), 20):
        for item in elbv2.describe_tags(ResourceArns=arns[start : start + 20])["TagDescriptions"]:
            tags[item["ResourceArn"]] = user_tags({tag["Key"]: tag["Value"] for tag in item["Tags"]})
    return {
        "load_balancer": balancer and _normal_balancer(balancer, lb_attributes, tags[balancer_arn]),
        "target_group": group and _normal_group(group, tg_attributes, tags[group_arn]),
        "listeners": {
            item["Port"]: _normal_listener(item, group_arn, params, tags[item["ListenerArn"]]) for item in found
        },
        # arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/NAME/ID
        "used_by": [arn.split("/")[-2] for arn in (group or {}).get("LoadBalancerArns", [])],
    }


def _attribute(attributes: Mapping[str, str], key: str, default: int | bool | str) -> int | bool | str:
    """An attribute in the type of its default; AWS has only texts."""
    value = attributes.get(key)
    if value is None:
        return default
    return value == "true" if isinstance(default, bool) else type(default)(value)


def _attributes(wanted: Mapping, there: Mapping, table: Mapping[str, tuple[str, Any]]) -> list[dict[str, str]]:
    """The attributes that turn ``there`` into ``wanted``."""
    return [
        {"Key": key, "Value": str(wanted[field]).lower()}
        for field, (key, _) in table.items()
        if field in wanted and wanted[field] != there.get(field)
    ]


def _normal_logs(attributes: Mapping[str, str], kind: str) -> dict[str, str] | None:
    if attributes.get(f"{kind}.s3.enabled") != "true":
        return None
    return {field: attributes.get(f"{kind}.s3.{field}", "") for field in ("bucket", "prefix")}


def _normal_balancer(balancer: Mapping, attributes: Mapping[str, str], tags: Mapping) -> dict[str, Any]:
    return {
        "arn": balancer["LoadBalancerArn"],
        "dns_name": balancer["DNSName"],
        "canonical_hosted_zone_id": balancer["CanonicalHostedZoneId"],
        "status": balancer["State"]["Code"],
        "scheme": balancer["Scheme"],
        "subnets": sorted(zone["SubnetId"] for zone in balancer["AvailabilityZones"]),
        "security_groups": sorted(balancer.get("SecurityGroups", [])),
        **{field: _attribute(attributes, *attribute) for field, attribute in LB_ATTRIBUTES.items()},
        **{kind: _normal_logs(attributes, kind) for kind in LOGS},
        "tags": tags,
    }


def _normal_group(group: Mapping, attributes: Mapping[str, str], tags: Mapping) -> dict[str, Any]:
    health_check = {ours: group.get(theirs) for ours, (theirs, _) in HEALTH_CHECK.items()}
    health_check["matcher"] = group.get("Matcher", {}).get("HttpCode")
    return {
        "arn": group["TargetGroupArn"],
        "port": group["Port"],
        "protocol": group["Protocol"],
        "vpc_id": group["VpcId"],
        "target_type": group["TargetType"],
        **{field: _attribute(attributes, *attribute) for field, attribute in TG_ATTRIBUTES.items()},
        "health_check": health_check,
        "tags": tags,
    }


def _normal_listener(item: Mapping, group_arn: str | None, params: Mapping, tags: Mapping) -> dict[str, Any]:
    return {
        "arn": item["ListenerArn"],
        "protocol": item["Protocol"],
        "certificate_arn": next((entry["CertificateArn"] for entry in item.get("Certificates", [])), None),
        "ssl_policy": item.get("SslPolicy"),
        "action": _action_in_words(item.get("DefaultActions", []), group_arn, params),
        "tags": tags,
    }


def _action_in_words(actions: Sequence[Mapping], group_arn: str | None, params: Mapping) -> str:
    if len(actions) != 1:
        return f"{len(actions)} actions"
    action = actions[0]
    if action["Type"] == "forward":
        several = action.get("ForwardConfig", {}).get("TargetGroups", [])
        if len(several) > 1:
            return f"forward to {len(several)} target groups"
        arn = action.get("TargetGroupArn") or (several[0]["TargetGroupArn"] if several else None)
        return _forward(params) if arn and arn == group_arn else f"forward to {arn}"
    if action["Type"] == "redirect" and _redirect_to_https(action["RedirectConfig"]):
        return _REDIRECT
    if action["Type"] == "fixed-response":
        config = action["FixedResponseConfig"]
        return _answer(config["StatusCode"], config.get("ContentType"), config.get("MessageBody"))
    return action["Type"]


def _answer(status_code: str, content_type: str | None, message_body: str | None) -> str:
    return f"answer {status_code}" + (f" with {content_type} {message_body}" if message_body else "")


# https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_RedirectActionConfig.html
_REDIRECT = "redirect to https"
_REDIRECT_CONFIG = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
# The other fields, as AWS answers them when they are left out
_SAME_REQUEST = {"Host": "#{host}", "Path": "/#{path}", "Query": "#{query}"}


def _redirect_to_https(config: Mapping) -> bool:
    return {**_SAME_REQUEST, **config} == {**_SAME_REQUEST, **_REDIRECT_CONFIG}


def _forward(params: Mapping) -> str:
    return f"forward to {_tg_resource(params)}"


# --- what there shall be -----------------------------------------------------------------------------------------


def _given(fields: Mapping, *names: str) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields[name] is not None}


def desired(params: Mapping, current: Mapping) -> dict[str, Any]:
    """What the parameters ask, in the shape of ``describe``; what they leave out is left out here.

    Except for the TLS policy of a listener that has none yet: AWS's own default still speaks TLS 1.0.
    """
    tags = {} if params["tags"] is None else {"tags": Exact(params["tags"])}
    balancer = {**_given(params, "scheme", *LB_ATTRIBUTES), **tags}
    for field in ("subnets", "security_groups"):
        if params[field] is not None:
            balancer[field] = sorted(set(params[field]))
    for kind in LOGS:
        if params[kind] is not None:
            balancer[kind] = params[kind] if params[kind]["bucket"] else None
    group: dict[str, Any] = {}
    given = params["target_group"]
    if given:
        group = {**_given(given, "port", "protocol", "vpc_id", "target_type", *TG_ATTRIBUTES), **tags}
        if given["health_check"]:
            group["health_check"] = _given(given["health_check"], *HEALTH_CHECK, "matcher")
    listeners = {}
    for listener in params["listeners"] or []:
        fields = {**_given(listener, "protocol", "certificate_arn", "ssl_policy"), **tags}
        there = current["listeners"].get(listener["port"])
        if listener["protocol"] == "HTTPS" and (there is None or there["protocol"] != "HTTPS"):
            fields.setdefault("ssl_policy", NEW_SSL_POLICY)
        fields["action"] = _wanted_action(params, listener)
        listeners[listener["port"]] = fields
    return {"load_balancer": balancer, "target_group": group, "listeners": listeners}


def _wanted_action(params: Mapping, listener: Mapping) -> str:
    if listener["redirect_to_https"]:
        return _REDIRECT
    fixed = listener["fixed_response"]
    if fixed:
        return _answer(str(fixed["status_code"]), fixed["content_type"], fixed["message_body"])
    return _forward(params)


def _refuse_out_of_range(params: Mapping) -> None:
    group = params["target_group"] or {}
    for where, fields in (
        ("", params),
        ("target_group.", group),
        ("target_group.health_check.", group.get("health_check") or {}),
    ):
        for field, (least, most) in _RANGES.items():
            value = fields.get(field)
            if value is not None and not least <= value <= most:
                raise Refused(f"{where}{field} is {value}; AWS allows {least} to {most}.")
    least, most = _SLOW_START
    slow = group.get("slow_start")
    if slow and not least <= slow <= most:
        raise Refused(f"target_group.slow_start is {slow}; AWS allows {least} to {most}, and 0 for none.")


def _refuse_impossible(params: Mapping) -> None:
    """What AWS would refuse only halfway through."""
    _refuse_out_of_range(params)
    for what, name in (("name", params["name"]), ("target_group.name", _tg_name(params))):
        if name and len(name) > 32:
            raise Refused(f"{what} is {name} ({len(name)} characters); AWS allows 32. Shorten name_prefix.")
        if name and not _NAME.fullmatch(name):
            raise Refused(
                f"{what} is {name}; AWS takes letters, digits and hyphens, no hyphen at either end, and nothing that "
                "begins with internal-. Set name_prefix to another name."
            )
    if params["subnets"] is not None and len(set(params["subnets"])) < 2:
        raise Refused(f"{_lb_resource(params)} needs subnets in two zones at least: add one to subnets.")
    if params["security_groups"] == []:
        raise Refused(f"{_lb_resource(params)} needs a security group: add one to security_groups, or leave it out.")
    ports = [listener["port"] for listener in params["listeners"] or []]
    if len(set(ports)) != len(ports):
        raise Refused(f"listeners name a port twice ({sorted(ports)}): one listener per port.")
    for listener in params["listeners"] or []:
        where = f"The listener on port {listener['port']}"
        if listener["protocol"] == "HTTPS" and not listener["certificate_arn"]:
            raise Refused(f"{where} speaks HTTPS: set its certificate_arn, or its protocol to HTTP.")
        if listener["protocol"] == "HTTP" and (listener["certificate_arn"] or listener["ssl_policy"]):
            raise Refused(
                f"{where} speaks HTTP, which has no certificate_arn and ssl_policy: set its protocol to HTTPS."
            )
        if listener["redirect_to_https"] and listener["fixed_response"]:
            raise Refused(f"{where} cannot both redirect_to_https and give a fixed_response: remove one.")
        elsewhere = listener["redirect_to_https"] or listener["fixed_response"]
        if not elsewhere and not params["target_group"]:
            raise Refused(
                f"{where} forwards to a target group: give target_group, or set its redirect_to_https or "
                "fixed_response."
            )
        if listener["protocol"] == "HTTPS" and listener["redirect_to_https"]:
            raise Refused(f"{where} speaks HTTPS already: remove its redirect_to_https.")


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    if params["state"] == "absent":
        return _plan_absent(params, current)
    balancer, group = current["load_balancer"], current["target_group"]
    if balancer:
        refuse_foreign(_lb_resource(params), balancer["tags"], params)
    if group:
        refuse_foreign(_tg_resource(params), group["tags"], params)
    _refuse_impossible(params)
    wanted = desired(params, current)
    others = [name for name in current["used_by"] if name != params["name"]]
    forwards = [port for port, fields in wanted["listeners"].items() if fields["action"] == _forward(params)]
    if others and forwards:
        raise Refused(
            f"{_tg_resource(params)} is used by the load balancer {others[0]} already, and AWS lets a target "
            "group be used by one only. Set target_group.name to a new name."
        )
    changes = _plan_group(params, group, wanted["target_group"]) if params["target_group"] else []
    if balancer is not None:
        if wanted["load_balancer"].get("scheme", balancer["scheme"]) != balancer["scheme"]:
            raise Refused(
                f"{_lb_resource(params)} is {balancer['scheme']}, and AWS cannot change that. Set scheme back to "
                f"{balancer['scheme']}, or delete the load balancer first: its address is lost with it."
            )
        changes += map(_unlogged, update(_lb_resource(params), balancer, wanted["load_balancer"], _IMPACTS))
    elif wanted["load_balancer"].get("subnets"):
        changes.append(create(_lb_resource(params), wanted["load_balancer"]))
    elif changes or params["listeners"]:
        raise Refused(f"{_lb_resource(params)} does not exist yet: give subnets.")
    if params["listeners"] is not None:
        changes += _plan_listeners(params, current["listeners"], wanted["listeners"])
    return changes


def _unlogged(change: Change) -> Change:
    """Logs that are turned off: what happens meanwhile can never be looked up."""
    if change.path in LOGS and change.after is None:
        return replace(change, impact=DISRUPTIVE, note="what happens from then on is not logged")
    return change


def _plan_group(params: Mapping, there: Mapping | None, wanted: Mapping) -> list[Change]:
    if there is None:
        missing = [field for field in ("port", "protocol", "vpc_id") if field not in wanted]
        if missing:
            raise Refused(f"{_tg_resource(params)} does not exist yet: give target_group.{missing[0]}.")
        _refuse_mismatch(params, predicted(NEW_GROUP, wanted))
        return [create(_tg_resource(params), wanted)]
    for field in ("port", "protocol", "vpc_id", "target_type"):
        if field in wanted and wanted[field] != there[field]:
            raise Refused(
                f"{_tg_resource(params)} has {field} {there[field]}, wanted is {wanted[field]}; AWS cannot change it. "
                f"Set target_group.{field} back, or target_group.name to a new name: the listeners then move to a new "
                "group, and the old one can be deleted."
            )
    _refuse_mismatch(
        params, {**there, **wanted, "health_check": {**there["health_check"], **wanted.get("health_check", {})}}
    )
    return update(_tg_resource(params), there, wanted)


def _refuse_mismatch(params: Mapping, fields: Mapping) -> None:
    """Fields that are each allowed, and not together. ``fields`` are all of them, also those that are not given."""
    interval, timeout = (fields["health_check"][field] for field in ("interval", "timeout"))
    if timeout >= interval:
        raise Refused(
            f"{_tg_resource(params)}: a health check may take {timeout} s, and the next comes after {interval} s. "
            "Set target_group.health_check.timeout below interval."
        )
    algorithm = fields["load_balancing_algorithm"]
    if fields["slow_start"] and algorithm != "round_robin":
        raise Refused(
            f"{_tg_resource(params)}: AWS has no slow start with {algorithm}. Set target_group.slow_start to 0, or "
            "target_group.load_balancing_algorithm to round_robin."
        )


def _plan_listeners(params: Mapping, there: Mapping[int, Mapping], wanted: Mapping[int, Mapping]) -> list[Change]:
    changes: list[Change] = []
    for port in sorted({*there, *wanted}):
        name = _listener_resource(params, port)
        if port not in wanted:
            changes.append(delete(name, there[port], note="clients of this port are refused"))
        elif port not in there:
            changes.append(create(name, wanted[port]))
        else:
            changes += [_grown(change) for change in update(name, there[port], wanted[port], _IMPACTS)]
    return changes


def _grown(change: Change) -> Change:
    """A change of protocol: clients of the old one fail from that moment on."""
    if change.path == "protocol":
        return replace(change, impact=DISRUPTIVE, note=f"clients that speak {change.before} fail from then on")
    return change


def _plan_absent(params: Mapping, current: Mapping) -> list[Change]:
    balancer, group, changes = current["load_balancer"], current["target_group"], []
    if balancer and is_foreign(balancer["tags"], params["tags"]):
        changes.append(leave_foreign(_lb_resource(params), balancer["tags"]))
        balancer = None
    if group and is_foreign(group["tags"], params["tags"]):
        changes.append(leave_foreign(_tg_resource(params), group["tags"]))
        group = None
    if balancer and balancer["deletion_protection"]:
        raise Refused(
            f"{_lb_resource(params)} is protected from deletion. Nothing was deleted. "
            "Set deletion_protection to false and run with state present first."
        )
    left = current["load_balancer"] is not None and balancer is None
    users = [name for name in current["used_by"] if left or name != params["name"]]
    if group and users:
        raise Refused(
            f"{_tg_resource(params)} is used by the load balancer {users[0]}, which is not deleted. "
            "Nothing was deleted. Take the target group out of its listeners and rules and run again."
        )
    if balancer:
        changes += [
            delete(_listener_resource(params, port), fields, note="clients of this port are refused")
            for port, fields in sorted(current["listeners"].items())
        ]
        changes.append(delete(_lb_resource(params), balancer, note="its address is lost with it"))
    if group:
        changes.append(delete(_tg_resource(params), group))
    return changes


# --- apply -------------------------------------------------------------------------------------------------------


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    planned = by_resource(changes)
    if params["state"] == "absent":
        _delete(aws, params, current, planned, say)
        return
    wanted = desired(params, current)
    arns: dict[str, str] = {}

    def balancer() -> None:
        arns["load_balancer"] = _apply_balancer(aws, params, current["load_balancer"], wanted["load_balancer"])

    def group() -> None:
        if params["target_group"]:
            arns["target_group"] = _apply_group(aws, params, current["target_group"], wanted["target_group"])

    together(balancer, group)
    fixed = {listener["port"]: listener["fixed_response"] for listener in params["listeners"] or []}
    together(
        *(
            lambda port=port: _apply_listener(
                aws, arns, port, current["listeners"].get(port), wanted["listeners"].get(port), fixed.get(port)
            )
            for port in {*current["listeners"], *wanted["listeners"]}
            if _listener_resource(params, port) in planned
        )
    )


def _tag_argument(wanted: Mapping) -> dict[str, Any]:
    """Tags of a create call: nothing of ours is ever there without them. AWS takes no empty list."""
    return {"Tags": ansible_dict_to_boto3_tag_list(wanted["tags"])} if wanted.get("tags") else {}


def _mend_tags(aws: Aws, arn: str, there: Mapping, wanted: Mapping) -> None:
    if "tags" not in wanted:
        return
    elbv2 = aws.client("elbv2")
    new = {key: value for key, value in wanted["tags"].items() if there["tags"].get(key) != value}
    gone = [key for key in there["tags"] if key not in wanted["tags"]]
    if new:
        elbv2.add_tags(ResourceArns=[arn], Tags=ansible_dict_to_boto3_tag_list(new))
    if gone:
        elbv2.remove_tags(ResourceArns=[arn], TagKeys=gone)


def _apply_balancer(aws: Aws, params: Mapping, there: Mapping | None, wanted: Mapping) -> str:
    elbv2 = aws.client("elbv2")
    if there is None:
        arguments: dict[str, Any] = {"Name": params["name"], "Type": "application", "Subnets": wanted["subnets"]}
        if wanted.get("scheme"):
            arguments["Scheme"] = wanted["scheme"]
        if wanted.get("security_groups"):
            arguments["SecurityGroups"] = wanted["security_groups"]
        answer = elbv2.create_load_balancer(**arguments, **_tag_argument(wanted))
        arn = answer["LoadBalancers"][0]["LoadBalancerArn"]
        there = {**wanted, **{field: NEW_BALANCER[field] for field in (*LB_ATTRIBUTES, *LOGS)}}
    arn = there.get("arn") or arn
    if wanted.get("subnets", there["subnets"]) != there["subnets"]:
        elbv2.set_subnets(LoadBalancerArn=arn, Subnets=wanted["subnets"])
    if "security_groups" in wanted and wanted["security_groups"] != there["security_groups"]:
        elbv2.set_security_groups(LoadBalancerArn=arn, SecurityGroups=wanted["security_groups"])
    attributes = _attributes(wanted, there, LB_ATTRIBUTES)
    for kind in LOGS:
        if kind in wanted and wanted[kind] != there[kind]:
            logs = {"enabled": wanted[kind] is not None, **(wanted[kind] or {})}
            attributes += [
                {"Key": f"{kind}.s3.{field}", "Value": str(value).lower() if field == "enabled" else value}
                for field, value in logs.items()
            ]
    for start in range(0, len(attributes), _ATTRIBUTES_A_CALL):
        some = attributes[start : start + _ATTRIBUTES_A_CALL]
        elbv2.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=some)
    _mend_tags(aws, arn, there, wanted)
    return arn


def _health_check_arguments(health_check: Mapping) -> dict[str, Any]:
    arguments = {HEALTH_CHECK[field][0]: value for field, value in health_check.items() if field in HEALTH_CHECK}
    if "matcher" in health_check:
        arguments["Matcher"] = {"HttpCode": health_check["matcher"]}
    return arguments


def _apply_group(aws: Aws, params: Mapping, there: Mapping | None, wanted: Mapping) -> str:
    elbv2 = aws.client("elbv2")
    health_check = wanted.get("health_check", {})
    if there is None:
        answer = elbv2.create_target_group(
            Name=params["target_group"]["name"],
            Port=wanted["port"],
            Protocol=wanted["protocol"],
            VpcId=wanted["vpc_id"],
            TargetType=wanted["target_type"],
            **_health_check_arguments(health_check),
            **_tag_argument(wanted),
        )
        arn = answer["TargetGroups"][0]["TargetGroupArn"]
        there = {**wanted, **{field: NEW_GROUP[field] for field in TG_ATTRIBUTES}, "health_check": health_check}
    arn = there.get("arn") or arn
    different = {field: value for field, value in health_check.items() if there["health_check"].get(field) != value}
    if different:
        elbv2.modify_target_group(TargetGroupArn=arn, **_health_check_arguments(different))
    attributes = _attributes(wanted, there, TG_ATTRIBUTES)
    if attributes:
        elbv2.modify_target_group_attributes(TargetGroupArn=arn, Attributes=attributes)
    _mend_tags(aws, arn, there, wanted)
    return arn


def _apply_listener(
    aws: Aws,
    arns: Mapping[str, str],
    port: int,
    there: Mapping | None,
    wanted: Mapping | None,
    fixed: Mapping | None,
) -> None:
    elbv2 = aws.client("elbv2")
    if wanted is None:
        elbv2.delete_listener(ListenerArn=there["arn"])  # type: ignore[index]
        return
    arguments: dict[str, Any] = {"Protocol": wanted["protocol"], "DefaultActions": [_action(wanted, arns, fixed)]}
    if "certificate_arn" in wanted:
        arguments["Certificates"] = [{"CertificateArn": wanted["certificate_arn"]}]
    if "ssl_policy" in wanted:
        arguments["SslPolicy"] = wanted["ssl_policy"]
    if there is None:
        elbv2.create_listener(LoadBalancerArn=arns["load_balancer"], Port=port, **arguments, **_tag_argument(wanted))
        return
    if any(there[field] != value for field, value in wanted.items() if field != "tags"):
        elbv2.modify_listener(ListenerArn=there["arn"], **arguments)
    _mend_tags(aws, there["arn"], there, wanted)


def _action(wanted: Mapping, arns: Mapping[str, str], fixed: Mapping | None) -> dict[str, Any]:
    if wanted["action"] == _REDIRECT:
        return {"Type": "redirect", "RedirectConfig": _REDIRECT_CONFIG}
    if fixed:
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_FixedResponseActionConfig.html
        config = {"StatusCode": str(fixed["status_code"])}
        if fixed["message_body"]:
            config |= {"ContentType": fixed["content_type"], "MessageBody": fixed["message_body"]}
        return {"Type": "fixed-response", "FixedResponseConfig": config}
    return {"Type": "forward", "TargetGroupArn": arns["target_group"]}


def _delete(aws: Aws, params: Mapping, current: Mapping, planned: Mapping, say: Say) -> None:
    elbv2 = aws.client("elbv2")
    group = current["target_group"]
    if _lb_resource(params) in planned:
        # its listeners go with it
        elbv2.delete_load_balancer(LoadBalancerArn=current["load_balancer"]["arn"])
    if _tg_resource(params) not in planned:
        return

    def gone() -> tuple[bool, str]:
        try:
            elbv2.delete_target_group(TargetGroupArn=group["arn"])
        except elbv2.exceptions.ResourceInUseException:
            # for some seconds after the load balancer has gone, or for ever when another one uses it
            return False, "in use by a listener"
        return True, "deleted"

    _wait(gone, params, _tg_resource(params), say)


# --- wait and output ---------------------------------------------------------------------------------------------


def _wait(probe: Any, params: Mapping, what: str, say: Say) -> None:
    wait_until(probe, timeout=params["wait_timeout"], pause=5, what=what, variable="wait_timeout", say=say)


def settled(params: Mapping, current: Mapping) -> bool:
    balancer = current["load_balancer"]
    return balancer["status"] == "active" if balancer else not params["subnets"]


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Wait until the load balancer takes requests: AWS needs two or three minutes to make one."""
    if params["state"] == "absent":
        return
    elbv2 = aws.client("elbv2")

    def active() -> tuple[bool, str]:
        try:
            state = elbv2.describe_load_balancers(Names=[params["name"]])["LoadBalancers"][0]["State"]
        except elbv2.exceptions.LoadBalancerNotFoundException:
            return not params["subnets"], "not there"
        if state["Code"] == "failed":
            raise Failed(f"{_lb_resource(params)} could not be set up: {state.get('Reason', 'AWS gives no reason')}.")
        # active_impaired: it serves, and AWS has not been able to scale it
        return state["Code"] in ("active", "active_impaired"), state["Code"]

    _wait(active, params, _lb_resource(params), say)


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    if params["state"] == GATHERED and not current["load_balancer"]:
        return {"load_balancer": None, "target_group": current["target_group"], "url": None}
    name, group_name = params["name"], _tg_name(params)
    balancer = current["load_balancer"] or {
        **(NEW_BALANCER if params["subnets"] else {}),
        "arn": unknown("load balancer", name),
        "dns_name": unknown("address of load balancer", name),
        "canonical_hosted_zone_id": unknown("hosted zone of load balancer", name),
    }
    group = current["target_group"] or {
        **(NEW_GROUP if group_name else {}),
        "arn": group_name and unknown("target group", group_name),
    }
    wanted = desired(params, current)
    return {
        "load_balancer": {"name": name, **predicted(balancer, wanted["load_balancer"])},
        "target_group": {"name": group_name, **predicted(group, wanted["target_group"])},
        "url": address(balancer["dns_name"], _served(params, current)),
    }


def _served(params: Mapping, current: Mapping) -> list[tuple[str, int]]:
    """Protocol and port of every listener; of those that are there when the parameters do not say."""
    if params["listeners"] is None:
        return [(listener["protocol"], port) for port, listener in current["listeners"].items()]
    return [(listener["protocol"], listener["port"]) for listener in params["listeners"]]


def address(dns_name: str, served: Sequence[tuple[str, int]]) -> str:
    """Where to reach it: by HTTPS when there is such a listener; the default port is left out."""
    if is_unknown(dns_name):
        return dns_name
    protocol, port = min(
        served or [("HTTP", 80)], key=lambda item: (item[0] != "HTTPS", item[1] != DEFAULT_PORTS[item[0]], item[1])
    )
    return f"{protocol.lower()}://{dns_name}" + ("" if port == DEFAULT_PORTS[protocol] else f":{port}")


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    balancer = [_lb_resource(params)] if current["load_balancer"] or params["subnets"] else []
    group = [_tg_resource(params)] if params["target_group"] else []
    listeners = [_listener_resource(params, listener["port"]) for listener in params["listeners"] or []]
    return [*balancer, *group, *listeners]


def billed(aws: Aws, params: Mapping, current: Mapping, wanted: bool) -> list[dict[str, Any]]:
    fields = current["load_balancer"] or {}
    if wanted:
        fields = predicted(fields, desired(params, current)["load_balancer"])
    if not fields.get("subnets"):
        return []
    public = fields.get("scheme", "internet-facing") == "internet-facing"
    balancer = {"kind": "load_balancer", "resource": _lb_resource(params), "zones": len(fields["subnets"])}
    return [{**balancer, "public": public}]
