"""Users and user groups (RBAC): who may do what on the nodes, as real users of Redis.

https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Clusters.RBAC.html
"""

import re

from moto.core.responses import ActionResult

from .base import Base, Fault, by_name, checked_tags, combination, identifier, invalid
from .service import User, UserGroup

PASSWORD = re.compile(r"[^\s,\"/@]{16,128}")
RULE = re.compile(r"\([^)]*\)|\S+")
SHORT = {"allkeys": "~*", "allchannels": "&*", "allcommands": "+@all", "nocommands": "-@all"}
FORBIDDEN_RULE = re.compile(r"[><#!].*|nopass|resetpass|reset|sanitize-payload|skip-sanitize-payload")


class Users(Base):
    def create_user(self) -> ActionResult:
        p = self.params
        name = identifier(p["UserId"], "UserId", 40)
        kind, passwords = self._authentication(p)
        if kind is None:
            raise combination("No password was provided. If you want to create a user without password, say so.")
        if kind == "iam" and p["UserName"] != name:
            raise combination("User Id and User name must be same for authentication type: iam")
        arn = self.service.arn(self.region, "user", name)
        with self.service.lock:
            if name in self.state.users:
                raise Fault("UserAlreadyExists", f"User {name} already exists.")
            user = User(name, p["UserName"], _engine(p["Engine"]), _access(p["AccessString"]), kind, passwords, arn)
            self.state.users[name] = user
            self.state.tags[arn] = checked_tags(p.get("Tags", []))
        return ActionResult(self._user_shape(user))

    def describe_users(self) -> ActionResult:
        p = self.params
        users = [self._user(p["UserId"])] if p.get("UserId") else by_name(self.state.users)
        users = [user for user in users if p.get("Engine") in (None, user.engine)]
        for item in p.get("Filters") or []:
            if item["Name"] != "user-id":
                raise invalid(f"Invalid filter: {item['Name']}.")
            users = [user for user in users if user.id in item["Values"]]
        users, marker = self._page(users, lambda user: user.id)
        return ActionResult({"Users": [self._user_shape(user) for user in users], **marker})

    def modify_user(self) -> ActionResult:
        p = self.params
        with self.service.lock:
            user = self._own_user(p["UserId"])
            kind, passwords = self._authentication(p)
            if kind == "iam" and user.name != user.id:
                raise combination("User Id and User name must be same for authentication type: iam")
            access = _access(p["AccessString"]) if "AccessString" in p else user.access
            if "AppendAccessString" in p:
                access = _access(f"{access} {p['AppendAccessString']}")
            user.access, user.engine = access, _engine(p.get("Engine", user.engine))
            if kind is not None:
                user.kind, user.passwords = kind, passwords
            self.service.spread(self.state, user, self._groups_of(user))
            return ActionResult(self._user_shape(user))

    def delete_user(self) -> ActionResult:
        with self.service.lock:
            user = self._own_user(self.params["UserId"])
            groups = self._groups_of(user)
            if user.name == "default" and groups:
                raise Fault("DefaultUserAssociatedToUserGroup", f"User {user.id} is the default of {groups[0].id}.")
            for group in groups:
                group.users.remove(user.id)
            user.status = "deleting"
            shape = self._user_shape(user)
            del self.state.users[user.id]
            self.state.tags.pop(user.arn, None)
            self.service.spread(self.state, user, groups)
            return ActionResult(shape)

    def create_user_group(self) -> ActionResult:
        p = self.params
        name = identifier(p["UserGroupId"], "UserGroupId", 40)
        arn = self.service.arn(self.region, "usergroup", name)
        with self.service.lock:
            if name in self.state.user_groups:
                raise Fault("UserGroupAlreadyExists", f"User group {name} already exists.")
            group = UserGroup(name, _engine(p["Engine"]), [user.lower() for user in p.get("UserIds", [])], arn)
            self._check_members(group.engine, group.users)
            self.state.user_groups[name] = group
            self.state.tags[arn] = checked_tags(p.get("Tags", []))
            self.service.spread(self.state, group, [], "creating")
            return ActionResult(self._user_group_shape(group))

    def describe_user_groups(self) -> ActionResult:
        wanted = self.params.get("UserGroupId")
        groups = [self._user_group(wanted)] if wanted else by_name(self.state.user_groups)
        groups, marker = self._page(groups, lambda group: group.id)
        return ActionResult({"UserGroups": [self._user_group_shape(group) for group in groups], **marker})

    def modify_user_group(self) -> ActionResult:
        p = self.params
        with self.service.lock:
            group = self._active_user_group(p["UserGroupId"])
            add = [user.lower() for user in p.get("UserIdsToAdd", [])]
            remove = [user.lower() for user in p.get("UserIdsToRemove", [])]
            if not {*add, *remove} and "Engine" not in p:
                raise combination("UserIdsToAdd, UserIdsToRemove or Engine is required.")
            if set(add) & set(group.users) or not set(remove) <= set(group.users):
                raise invalid("A user that is added is a member already, or one that is removed is none.")
            users = [user for user in group.users if user not in remove] + add
            engine = _engine(p.get("Engine", group.engine))
            self._check_members(engine, users)
            group.users, group.engine = users, engine
            self.service.spread(self.state, group, [group])
            return ActionResult(self._user_group_shape(group))

    def delete_user_group(self) -> ActionResult:
        with self.service.lock:
            group = self._active_user_group(self.params["UserGroupId"])
            users = self._replication_groups_of(group)
            if users:
                raise Fault("InvalidUserGroupState", f"User group {group.id} is associated with {', '.join(users)}.")
            group.status = "deleting"
            del self.state.user_groups[group.id]
            self.state.tags.pop(group.arn, None)
            return ActionResult(self._user_group_shape(group))

    # ---- checks ----

    def _authentication(self, p: dict) -> tuple[str | None, list[str]]:
        """(type, passwords) of a request; None as type when it says nothing of either."""
        mode = p.get("AuthenticationMode") or {}
        passwords = mode.get("Passwords") or p.get("Passwords") or []
        kind = mode.get("Type") or ("no-password-required" if p.get("NoPasswordRequired") else None)
        kind = kind or ("password" if passwords else None)
        if kind not in (None, "password", "no-password-required", "iam"):
            raise invalid(f"Invalid authentication type: {kind}.")
        if (kind == "password") != bool(passwords):
            raise combination("Passwords are for the authentication type password, and required for it.")
        if len(passwords) > 2 or not all(PASSWORD.fullmatch(password) for password in passwords):
            raise invalid("One or two passwords of 16 to 128 printable characters each.")
        return kind, passwords

    def _check_members(self, engine: str, names: list[str]) -> None:
        members = [self._user(name) for name in names]
        if len({member.name for member in members}) < len(members):
            raise Fault("DuplicateUserName", "A user group cannot contain two users of the same name.")
        if engine == "redis" and "default" not in {member.name for member in members}:
            raise Fault("DefaultUserRequired", "User group needs to contain a user with the user name default.")
        open_ones = [member.id for member in members if member.kind == "no-password-required"]
        if engine == "valkey" and open_ones:
            raise combination(f"A user group of engine valkey takes no users without password: {', '.join(open_ones)}.")
        if engine == "redis" and any(member.engine == "valkey" for member in members):
            raise combination("A user group of engine redis takes users of engine redis only.")

    def _check_user_group(self, name: str, engine: str, encrypted: bool) -> str:
        group = self._active_user_group(name)
        if not encrypted:
            raise combination("User groups are only supported when encryption-in-transit is enabled.")
        if engine == "redis" and group.engine != "redis":
            raise combination(f"User group {name} is of engine {group.engine}; {engine} takes user groups of redis.")
        return group.id

    def _user(self, name: str) -> User:
        user = self.state.users.get(name.lower())
        if user is None:
            raise Fault("UserNotFound", f"User {name} not found.")
        return user

    def _own_user(self, name: str) -> User:
        user = self._user(name)
        if user.id == "default":
            raise invalid("The default user of ElastiCache cannot be modified or deleted.")
        if user.status != "active":
            raise Fault("InvalidUserState", f"User {name} is not in active state; it is {user.status}.")
        return user

    def _user_group(self, name: str) -> UserGroup:
        group = self.state.user_groups.get(name.lower())
        if group is None:
            raise Fault("UserGroupNotFound", f"User group {name} not found.")
        return group

    def _active_user_group(self, name: str) -> UserGroup:
        group = self._user_group(name)
        if group.status != "active":
            raise Fault("InvalidUserGroupState", f"User group {name} is not in active state; it is {group.status}.")
        return group

    def _groups_of(self, user: User) -> list[UserGroup]:
        return [group for group in by_name(self.state.user_groups) if user.id in group.users]

    def _replication_groups_of(self, group: UserGroup) -> list[str]:
        return [other.id for other in by_name(self.state.groups) if group.id in other.settings["UserGroupIds"]]

    # ---- shapes ----

    def _user_shape(self, user: User) -> dict:
        count = {"PasswordCount": len(user.passwords)} if user.passwords else {}
        return {
            "UserId": user.id,
            "UserName": user.name,
            "Status": user.status,
            "Engine": user.engine,
            "MinimumEngineVersion": "7.2" if user.engine == "valkey" else "6.0",
            "AccessString": user.access,
            "UserGroupIds": [group.id for group in self._groups_of(user)],
            "Authentication": {"Type": user.kind.removesuffix("-required"), **count},
            "ARN": user.arn,
        }

    def _user_group_shape(self, group: UserGroup) -> dict:
        return {
            "UserGroupId": group.id,
            "Status": group.status,
            "Engine": group.engine,
            "UserIds": group.users,
            "MinimumEngineVersion": "7.2" if group.engine == "valkey" else "6.0",
            "ReplicationGroups": self._replication_groups_of(group),
            "ARN": group.arn,
        }


def _engine(name: str) -> str:
    if name.lower() not in ("redis", "valkey"):
        raise invalid(f"Invalid engine: {name}; use redis or valkey.")
    return name.lower()


def _access(text: str) -> str:
    """An access string: passwords are no part of it.

    ElastiCache writes ``off`` where it says neither on nor off, ``-@all`` before commands that begin with neither all
    nor none, and the short names of rules: https://github.com/go-to-k/cdk-real-drift/pull/488 and
    https://github.com/hashicorp/terraform-provider-aws/issues/20334.
    """
    rules = [SHORT.get(rule.lower(), rule) for rule in RULE.findall(text)]
    wrong = [rule for rule in rules if FORBIDDEN_RULE.fullmatch(rule)]
    if wrong or not rules:
        raise invalid(f"Invalid access string: {' '.join(wrong) or 'it is empty'}.")
    if not {"on", "off"} & set(rules):
        rules.insert(0, "off")
    commands = [place for place, rule in enumerate(rules) if rule.startswith(("+", "-"))]
    first = commands[0] if commands else len(rules)
    if not commands or rules[first] not in ("+@all", "-@all"):
        rules.insert(first, "-@all")
    return " ".join(rules)
