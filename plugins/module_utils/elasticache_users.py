# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The users and the user group of a replication group: who may log in, and do what, in place of one auth token.

Passwords are made here and kept in the group's secret, and nowhere else: that of the user whom ``url`` logs in as under
``auth_token``, each other one under ``password_<user name>``. ElastiCache tells of a password only that there is one.

https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Clusters.RBAC.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils import elasticache_secret as secret
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together, wait_until
from ansible_collections.nexus_learn.aws.plugins.module_utils.elasticache_groups import mend_tags, tags_at
from ansible_collections.nexus_learn.aws.plugins.module_utils.elasticache_secret import HIDDEN, NEW
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    DISRUPTIVE,
    IN_PLACE,
    Change,
    Exact,
    Refused,
    Say,
    create,
    delete,
    is_foreign,
    leave,
    leave_foreign,
    refuse_foreign,
    update,
)

_AUTHENTICATION = {"password": "password", "no-password": "no-password-required", "iam": "iam"}
# Other names that Redis has for rules. https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
_OTHER_NAMES = {"allkeys": "~*", "allchannels": "&*", "allcommands": "+@all", "nocommands": "-@all"}
_RULE = re.compile(r"\([^)]*\)|\S+")
_LOST = "the password in the secret was lost: clients that hold the old one are refused"


def user_resource(name: str) -> str:
    return f"cache user {name.lower()}"


def group_resource(name: str) -> str:
    return f"user group {name.lower()}"


def wanted_option(params: Mapping) -> Mapping | None:
    """The option when it names a user group; with an empty name none is wanted."""
    option = params["user_group"]
    return option if option and option["name"] else None


def members(option: Mapping) -> list[Mapping]:
    """The users with their ids and names as ElastiCache keeps them."""
    return [{**user, "id": user["id"].lower(), "name": user["name"] or user["id"]} for user in option["users"] or []]


def login(option: Mapping) -> str:
    """The name of the user as whom ``url`` logs in."""
    return option["user_name"] or "default"


def password_key(option: Mapping, name: str) -> str:
    return "auth_token" if name == login(option) else f"password_{name}"


def password_of(value: Mapping, key: str) -> str | None:
    return secret.token_of({"auth_token": value.get(key)})


def password_keys(option: Mapping) -> dict[str, str]:
    """User id -> key of its password in the secret, of the users that have one."""
    return {
        user["id"]: password_key(option, user["name"])
        for user in members(option)
        if user["authentication_type"] == "password"
    }


# ---- describe ----


def describe(aws: Aws, params: Mapping) -> dict[str, Any] | None:
    """``{group, users, in_motion}``: the user group or None, and by id the users that are in it or asked for."""
    option = wanted_option(params)
    if option is None:
        return None
    cache = aws.client("elasticache")
    name = option["name"].lower()

    def find() -> Mapping | None:
        try:
            return cache.describe_user_groups(UserGroupId=name)["UserGroups"][0]
        except cache.exceptions.UserGroupNotFoundFault:
            return None

    group, users = together(find, lambda: aws.pages("elasticache", "describe_users", "Users"))
    ids = {user["id"] for user in members(option)} | set(group["UserIds"] if group else [])
    known = {user["UserId"]: user for user in users if user["UserId"] in ids}
    things = [*([group] if group else []), *known.values()]
    in_motion = any(thing["Status"] != "active" for thing in things)
    tags = (
        together(*(lambda thing=thing: tags_at(aws, thing["ARN"]) for thing in things))
        if not in_motion
        else [{}] * len(things)
    )
    described = [
        {
            "name": user["UserName"],
            "access_string": user["AccessString"],
            "authentication_type": _AUTHENTICATION[user["Authentication"]["Type"]],
            "engine": user["Engine"].lower(),
            "user_groups": sorted(user["UserGroupIds"]),
            "tags": its_tags,
        }
        for user, its_tags in zip(known.values(), tags[len(things) - len(known) :], strict=True)
    ]
    return {
        "group": group
        and {
            "engine": group["Engine"].lower(),
            "user_ids": sorted(group["UserIds"]),
            "replication_groups": sorted(group.get("ReplicationGroups", [])),
            "tags": tags[0],
        },
        "users": dict(zip(known, described, strict=True)),
        "in_motion": in_motion,
    }


def settle(aws: Aws, params: Mapping, say: Say) -> None:
    """Wait until users and group are at rest: AWS refuses changes meanwhile."""
    option = wanted_option(params)

    def probe() -> tuple[bool, str]:
        there = describe(aws, params)
        return (False, "modifying") if there and there["in_motion"] else (True, "active")

    wait_until(
        probe,
        timeout=params["wait_timeout"],
        pause=5,
        what=group_resource(option["name"]) if option else "",
        variable="elasticache_wait_timeout",
        say=say,
    )


# ---- plan ----


def _access(text: str) -> str:
    """As ElastiCache writes it: off where neither on nor off is said, and commands that begin with all or none.

    Its guide sends ``~objects:* ~items:*`` and is shown ``off ~objects:* ~items:* -@all``; the other names of rules:
    https://github.com/hashicorp/terraform-provider-aws/issues/20334.
    """
    rules = _rules(text)
    if not {"on", "off"} & set(rules):
        rules = ["off", *rules]
    first = next((place for place, rule in enumerate(rules) if rule[0] in "+-"), len(rules))
    if rules[first : first + 1] not in (["+@all"], ["-@all"]):
        rules.insert(first, "-@all")
    return " ".join(rules)


def _rules(text: str) -> list[str]:
    """The rules of an access string in their order, which has a meaning; a selector, in brackets, is one of them."""
    return [_OTHER_NAMES.get(rule.lower(), rule) for rule in _RULE.findall(text)]


def meaning(text: str) -> tuple[bool, list[str], list[str]]:
    """(may log in, keys and channels, commands): equal for access strings that mean the same."""
    rules = _rules(_access(text))
    commands = [rule for rule in rules if rule[0] in "+-"]
    # what comes before a word on all commands has no effect any more
    last = max(place for place, rule in enumerate(commands) if rule in ("+@all", "-@all"))
    switches = [rule for rule in rules if rule in ("on", "off")]
    return switches[-1] == "on", [rule for rule in rules if rule not in [*switches, *commands]], commands[last:]


def _user_fields(params: Mapping, user: Mapping, engine: str, there: Mapping | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": user["name"], "authentication_type": user["authentication_type"]}
    if user["access_string"] is not None:
        wanted, known = _access(user["access_string"]), (there or {}).get("access_string")
        # in the wording of what is there when both mean the same
        fields["access_string"] = known if known and meaning(known) == meaning(wanted) else wanted
    if params["user_group"]["engine"] or there is None:
        fields["engine"] = engine
    return {**fields, **({"tags": Exact(params["tags"])} if params["tags"] is not None else {})}


def _group_fields(params: Mapping, engine: str, there: Mapping | None) -> dict[str, Any]:
    option = params["user_group"]
    fields: dict[str, Any] = {}
    if option["users"] is not None:
        fields["user_ids"] = sorted(user["id"] for user in members(option))
    if option["engine"] or there is None:
        fields["engine"] = engine
    return {**fields, **({"tags": Exact(params["tags"])} if params["tags"] is not None else {})}


def _refuse_contradictions(params: Mapping, engine: str, there: Mapping | None) -> None:
    """Refuse what AWS would refuse in the middle of the work."""
    option = params["user_group"]
    resource, users = group_resource(option["name"]), members(option)
    names = [user["name"] for user in users]
    if there is None and not users:
        raise Refused(f"{resource} does not exist yet. Give its users (elasticache_users).")
    if len(set(names)) < len(names):
        raise Refused(f"{resource}: two users have the same name. Give each another name (elasticache_users).")
    if users and engine == "redis" and "default" not in names:
        raise Refused(
            f"{resource}: a user group of engine redis needs a user whose name is default. Add one to "
            "user_group.users (elasticache_users); with the access_string 'off -@all' and the authentication_type "
            "no-password-required nobody can log in as it."
        )
    for user in users:
        if user["authentication_type"] == "iam" and user["name"] != user["id"]:
            raise Refused(
                f"{user_resource(user['id'])} authenticates by IAM, for which its name has to be its id. Leave the "
                "name out (elasticache_users)."
            )
        if user["authentication_type"] == "no-password-required" and engine == "valkey":
            raise Refused(
                f"{user_resource(user['id'])} needs a password: {resource} is of engine valkey. Set its "
                "authentication_type (elasticache_users) to password or iam."
            )
    if users and login(option) not in names:
        raise Refused(
            f"{resource}: user_name (elasticache_user_name) is {login(option)}, and no user has that name. Add one to "
            "user_group.users (elasticache_users), or name another."
        )
    if password_keys(option) and params["auth_token_secret"] is None:
        raise Refused(f"{resource}: users with passwords need auth_token_secret, the place where those are kept.")


def plan(params: Mapping, current: Mapping, default_engine: str) -> list[Change]:
    """Users before their group; those that leave it after it, in ``plan_leaving``."""
    option, there = wanted_option(params), current["users"]
    if option is None:
        return []
    group = there["group"]
    engine = option["engine"] or (group or {}).get("engine") or default_engine
    if group is not None:
        refuse_foreign(group_resource(option["name"]), group["tags"], params)
    _refuse_contradictions(params, engine, group)
    changes = []
    for user in members(option):
        changes += _plan_user(params, current, user, engine)
    fields = _group_fields(params, engine, group)
    resource = group_resource(option["name"])
    return [*changes, *([create(resource, fields)] if group is None else update(resource, group, fields))]


def _plan_user(params: Mapping, current: Mapping, user: Mapping, engine: str) -> list[Change]:
    resource, there = user_resource(user["id"]), current["users"]["users"].get(user["id"])
    fields = _user_fields(params, user, engine, there)
    key = password_keys(params["user_group"]).get(user["id"])
    if there is None:
        if "access_string" not in fields:
            raise Refused(
                f"{resource} does not exist yet. Give its access_string (elasticache_users), for example "
                "'on ~* &* +@all'."
            )
        return [create(resource, {**fields, **({"password": HIDDEN} if key else {})})]
    refuse_foreign(resource, there["tags"], params)
    if there["name"] != user["name"]:
        raise Refused(
            f"{resource} has the name {there['name']!r}, which AWS cannot change to {user['name']!r}. Nothing was "
            "changed. Set it back (elasticache_users), or give the user another id."
        )
    impacts = {"authentication_type": (DISRUPTIVE, "clients have to log in in another way")}
    changes = update(resource, there, fields, impacts)
    auth = current["secret"] or {}
    lost = not auth.get("deletion_date") and password_of(auth.get("value", {}), key or "") is None
    if key and (lost or there["authentication_type"] != "password"):
        had = there["authentication_type"] == "password"
        note = (DISRUPTIVE, _LOST) if had else (IN_PLACE, "")
        changes.append(Change(resource, "update", "password", HIDDEN if had else None, NEW, *note))
    return changes


def _leavers(params: Mapping, there: Mapping, wanted: Sequence[str]) -> list[str]:
    """The members that shall not be any longer, as far as they are ours and in no other group."""
    if there["group"] is None or not {"Project", "Environment"} <= set(params["tags"] or {}):
        return []
    name = params["user_group"]["name"].lower()
    return [
        user
        for user in there["group"]["user_ids"]
        if user not in wanted
        and user != "default"  # ElastiCache's own
        and there["users"][user]["user_groups"] == [name]
        and not is_foreign(there["users"][user]["tags"], params["tags"])
    ]


def _gone(there: Mapping, user: str, note: str) -> Change:
    before = {key: value for key, value in there["users"][user].items() if key != "user_groups"}
    return delete(user_resource(user), before, DISRUPTIVE, note)


def plan_leaving(params: Mapping, current: Mapping) -> list[Change]:
    option, there = wanted_option(params), current["users"]
    if option is None or option["users"] is None:
        return []
    wanted = [user["id"] for user in members(option)]
    note = "it is in no user group any more: whoever is logged in as it is cut off"
    return [_gone(there, user, note) for user in _leavers(params, there, wanted)]


def plan_absent(params: Mapping, current: Mapping, replication_group: str | None) -> list[Change]:
    """The user group and its users, unless something else than ``replication_group``, which goes, uses it."""
    option, there = wanted_option(params), current["users"]
    if option is None or there["group"] is None:
        return []
    resource, group = group_resource(option["name"]), there["group"]
    if is_foreign(group["tags"], params["tags"]):
        return [leave_foreign(resource, group["tags"])]
    others = [name for name in group["replication_groups"] if name != replication_group]
    if others:
        return [leave(resource, f"{', '.join(others)} uses it")]
    before = {key: value for key, value in group.items() if key != "replication_groups"}
    users = _leavers(params, there, [])
    return [delete(resource, before, IN_PLACE), *(_gone(there, user, "") for user in users)]


def resources(params: Mapping) -> list[str]:
    option = wanted_option(params)
    if option is None:
        return []
    return [*(user_resource(user["id"]) for user in members(option)), group_resource(option["name"])]


def output(aws: Aws, params: Mapping, current: Mapping, default_engine: str) -> dict[str, Any] | None:
    """The user group with its users by id, as they are or will be."""
    option, there = wanted_option(params), current["users"]
    if option is None:
        return None
    group, name = there["group"], option["name"].lower()
    engine = option["engine"] or (group or {}).get("engine") or default_engine
    present = params["state"] == "present"
    fields = _group_fields(params, engine, group) if present else {}
    shown = {key: value for key, value in (group or {}).items() if key != "replication_groups"}
    known = {
        user: {key: value for key, value in described.items() if key != "user_groups"}
        for user, described in there["users"].items()
    }
    for user in members(option) if present else []:
        wanted = _user_fields(params, user, engine, there["users"].get(user["id"]))
        known[user["id"]] = {"tags": {}, **known.get(user["id"], {}), **wanted}
    ids = fields.get("user_ids", shown.get("user_ids", []))
    return {
        "name": name,
        "arn": aws.arn("elasticache", f"usergroup:{name}"),
        "tags": {},
        **shown,
        **fields,
        "users": {user: known[user] for user in sorted(known) if user in ids},
    }


# ---- apply ----


def apply(aws: Aws, params: Mapping, current: Mapping, planned: Mapping[str, Sequence[Change]], say: Say) -> None:
    """Users, their passwords and their group as they shall be. The passwords are in the secret before a user has them.

    A password that was lost is the exception: as long as it is not in the secret, the next run sees that it is lost.
    """
    option, there = wanted_option(params), current["users"]
    if option is None:
        return
    engine = option["engine"] or (there["group"] or {}).get("engine") or _default_engine(params, current)
    passwords = _passwords(aws, params, current, planned)
    cache = aws.client("elasticache")
    calls: list[Callable[[], Any]] = []
    for user in members(option):
        changes = planned.get(user_resource(user["id"]), [])
        if changes:
            fields = _user_fields(params, user, engine, there["users"].get(user["id"]))
            calls.append(
                lambda user=user, changes=changes, fields=fields: _apply_user(
                    aws, user, fields, changes, passwords.get(user["id"])
                )
            )
    together(*calls)
    if calls:
        settle(aws, params, say)
    changes = planned.get(group_resource(option["name"]), [])
    if not changes:
        return
    name, fields = option["name"].lower(), _group_fields(params, engine, there["group"])
    if changes[0].action == "create":
        cache.create_user_group(
            UserGroupId=name,
            Engine=engine,
            UserIds=fields["user_ids"],
            Tags=ansible_dict_to_boto3_tag_list(fields.get("tags", {})),
        )
    else:
        arguments: dict[str, Any] = {}
        if "user_ids" in {change.path for change in changes}:
            before, after = set(there["group"]["user_ids"]), set(fields["user_ids"])
            parts = {"UserIdsToAdd": sorted(after - before), "UserIdsToRemove": sorted(before - after)}
            arguments |= {key: value for key, value in parts.items() if value}
        if "engine" in {change.path for change in changes}:
            arguments["Engine"] = engine
        if arguments:
            cache.modify_user_group(UserGroupId=name, **arguments)
        mend_tags(aws, aws.arn("elasticache", f"usergroup:{name}"), changes)
    settle(aws, params, say)


def _default_engine(params: Mapping, current: Mapping) -> str:
    return params["engine"] or (current["replication_group"] or {}).get("engine") or "redis"


def _passwords(aws: Aws, params: Mapping, current: Mapping, planned: Mapping[str, Sequence[Change]]) -> dict[str, str]:
    """By user id. Missing ones are made: of users that are there already they are set here, then all are written."""
    keys = password_keys(params["user_group"])
    if not keys:
        return {}
    name = params["auth_token_secret"]["name"]
    there = secret.describe(aws, name)
    if there["pending"]:  # of a change of the token that was interrupted
        secret.promote(aws, name, there)
        secret.finish(aws, name, there)
        there = secret.describe(aws, name)
    value = dict(there["value"])
    new = {key: secret.new_token() for key in keys.values() if password_of(value, key) is None}
    for user, key in keys.items():
        if key in new and user in current["users"]["users"]:
            mode = {"Type": "password", "Passwords": [new[key]]}
            aws.client("elasticache").modify_user(UserId=user, AuthenticationMode=mode)
    if new:
        secret.write(aws, name, {**value, **new})
    if {*new} & {key for user, key in keys.items() if user in current["users"]["users"]}:
        settle(aws, params, lambda line: None)
    return {user: {**value, **new}[key] for user, key in keys.items()}


def _apply_user(aws: Aws, user: Mapping, fields: Mapping, changes: Sequence[Change], password: str | None) -> None:
    cache = aws.client("elasticache")
    mode = {"Type": fields["authentication_type"], **({"Passwords": [password]} if password else {})}
    if changes[0].action == "create":
        cache.create_user(
            UserId=user["id"],
            UserName=user["name"],
            Engine=fields["engine"],
            AccessString=fields["access_string"],
            AuthenticationMode=mode,
            Tags=ansible_dict_to_boto3_tag_list(fields.get("tags", {})),
        )
        return
    paths = {change.path for change in changes}
    # the tags first: AWS takes none while it is busy with the rest
    mend_tags(aws, aws.arn("elasticache", f"user:{user['id']}"), changes)
    arguments: dict[str, Any] = {}
    if "access_string" in paths:
        arguments["AccessString"] = fields["access_string"]
    if "authentication_type" in paths:
        arguments["AuthenticationMode"] = mode
    if "engine" in paths:
        arguments["Engine"] = fields["engine"]
    if arguments:
        cache.modify_user(UserId=user["id"], **arguments)


def apply_leaving(aws: Aws, params: Mapping, planned: Mapping[str, Sequence[Change]], say: Say) -> None:
    """Delete the users, and with state absent the group before them, that the plan says."""
    option = wanted_option(params)
    if option is None:
        return
    cache = aws.client("elasticache")
    gone = group_resource(option["name"]) in planned and params["state"] == "absent"
    if gone:
        cache.delete_user_group(UserGroupId=option["name"].lower())
        wait_until(
            lambda: (describe(aws, params)["group"] is None, "deleting"),  # type: ignore[index]
            timeout=params["wait_timeout"],
            pause=5,
            what=group_resource(option["name"]),
            variable="elasticache_wait_timeout",
            say=say,
        )
    leaving = [
        resource.removeprefix(user_resource(""))
        for resource, changes in planned.items()
        if resource.startswith(user_resource("")) and changes[0].action == "delete"
    ]
    for user in leaving:
        cache.delete_user(UserId=user)
    if leaving and not gone:
        settle(aws, params, say)
