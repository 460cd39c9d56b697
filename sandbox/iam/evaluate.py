"""Decides whether policies allow an action. Pure functions, no I/O.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import datetime
import functools
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

VARIABLE = re.compile(r"\$\{([^}]*)\}")
LITERALS = {"*": "*", "?": "?", "$": "$"}
"""`${*}` in a policy means the character itself."""


@dataclass(frozen=True)
class Request:
    """One action on one resource. Keys of the context are in lower case, each has one value or several."""

    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Principal:
    """Who asks. `arn` of a role's session is that of the session, `role_arn` that of its role.

    boundary: None when there is none; sessions: the policies given when the role was assumed, None when none was.
    """

    arn: str
    account: str
    identity: tuple[dict, ...] = ()
    boundary: dict | None = None
    sessions: tuple[dict, ...] | None = None
    role_arn: str = ""
    root: bool = False
    service: str = ""


@functools.lru_cache(512)
def parse(document: str) -> dict:
    """A policy document; one that is not JSON matches nothing."""
    try:
        return json.loads(document)
    except ValueError:
        return {}


def why_denied(
    request: Request,
    principal: Principal,
    resource_policy: dict | None = None,
    resource_policy_decides: bool = False,
) -> str | None:
    """None if allowed, else the reason in AWS's own words, without "because".

    resource_policy_decides: of a role's trust policy and a KMS key's policy, which must name the principal or its
    account; elsewhere a resource's policy can only add to, or deny, what the principal's own policies say. Boundaries
    and session policies limit what it grants to a role, and not what it grants to a user or a session.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics.html
    """
    if principal.root and not resource_policy:
        return None
    own = {
        "identity-based policy": principal.identity,
        "permissions boundary": (principal.boundary,) if principal.boundary is not None else (),
        "session policy": principal.sessions or (),
    }
    for kind, policies in own.items():
        if any(matches(policy, "Deny", request) for policy in policies):
            return f"an explicit deny in {_article(kind)}"
    named = ""
    if resource_policy is not None:
        if _named(resource_policy, "Deny", request, principal):
            return "an explicit deny in a resource-based policy"
        named = _named(resource_policy, "Allow", request, principal)
    if named == "itself":
        return None
    if resource_policy_decides and not named:
        return f"no resource-based policy allows the {request.action} action"
    if principal.root:
        return None
    granted = named == "role"
    if not granted and not any(matches(policy, "Allow", request) for policy in principal.identity):
        return f"no identity-based policy allows the {request.action} action"
    if principal.boundary is not None and not matches(principal.boundary, "Allow", request):
        return f"no permissions boundary allows the {request.action} action"
    if principal.sessions is not None and not any(matches(policy, "Allow", request) for policy in principal.sessions):
        return f"no session policy allows the {request.action} action"
    return None


def matches(policy: dict, effect: str, request: Request) -> bool:
    """Whether a statement of this effect applies to the request."""
    return any(applies(statement, request, policy.get("Version", "")) for statement in statements(policy, effect))


def statements(policy: dict, effect: str) -> list[dict]:
    found = policy.get("Statement", [])
    return [one for one in ([found] if isinstance(found, dict) else found) if one.get("Effect") == effect]


def applies(statement: dict, request: Request, version: str = "2012-10-17") -> bool:
    """Whether action, resource and conditions of the statement fit. A trust policy's statement has no resource."""
    variables = request.context if version >= "2012-10-17" else None
    if "NotAction" in statement:
        if any(like(one.lower(), request.action.lower(), None) for one in _list(statement["NotAction"])):
            return False
    elif not any(like(one.lower(), request.action.lower(), None) for one in _list(statement.get("Action", []))):
        return False
    if "NotResource" in statement:
        named = _list(statement["NotResource"])
        if not _known(named, variables) or any(arn_like(one, request.resource, variables) for one in named):
            return False
    elif "Resource" in statement and not any(
        arn_like(one, request.resource, variables) for one in _list(statement["Resource"])
    ):
        return False
    return conditions_hold(statement.get("Condition", {}), request.context, variables)


# ---- principals of resource-based policies ----

HOW = ("", "account", "role", "itself")
"""Not at all, by its account, by the role that it is a session of, or itself."""


def _named(policy: dict, effect: str, request: Request, principal: Principal) -> str:
    """How the policy's fitting statements name the principal, most directly: one of HOW."""
    fitting = [
        _names(statement, principal)
        for statement in statements(policy, effect)
        if applies(statement, request, policy.get("Version", ""))
    ]
    return max(fitting, key=HOW.index, default="")


def _names(statement: dict, principal: Principal) -> str:
    if "NotPrincipal" in statement:
        return "" if _names({"Principal": statement["NotPrincipal"]}, principal) in ("role", "itself") else "itself"
    named = statement.get("Principal", {})
    if named == "*":
        return "itself"
    if principal.service:
        return "itself" if principal.service in _list(named.get("Service", [])) else ""
    found = [""]
    for one in _list(named.get("AWS", [])):
        if one in ("*", principal.arn):
            found.append("itself")
        elif one == principal.role_arn:
            found.append("role")
        elif one == principal.account or (one.endswith(":root") and one.split(":")[4] == principal.account):
            found.append("account")
    return max(found, key=HOW.index)


# ---- patterns ----


def like(pattern: str, value: str, variables: Mapping | None) -> bool:
    """`*` stands for any characters, `?` for one; `${key}` is replaced unless variables is None."""
    if variables is None or "${" not in pattern:
        return _compiled(pattern).fullmatch(value) is not None
    expression, end = "", 0
    for variable in VARIABLE.finditer(pattern):
        text = _variable(variable.group(1), variables)
        if text is None:
            return False
        expression += _expression(pattern[end : variable.start()]) + re.escape(text)
        end = variable.end()
    return re.fullmatch(expression + _expression(pattern[end:]), value, re.DOTALL) is not None


def _variable(text: str, context: Mapping[str, tuple[str, ...]]) -> str | None:
    """The value of `key` or `key, 'default'`; None when there is none, or more than one."""
    if text in LITERALS:
        return LITERALS[text]
    key, _, default = text.partition(",")
    values = context.get(key.strip().lower())
    if values and len(values) == 1:
        return values[0]
    return default.strip().strip("'") if default else None


def _known(texts: list[str], variables: Mapping | None) -> bool:
    """Whether every variable in the texts has a value. A "not" of what is not known does not hold."""
    return variables is None or all(
        _variable(found.group(1), variables) is not None for text in texts for found in VARIABLE.finditer(text)
    )


def arn_like(pattern: str, value: str, variables: Mapping | None) -> bool:
    """As `like`, part by part: a wildcard does not reach beyond its colon, except in the last part."""
    if pattern == "*":
        return True
    wanted, given = _parts(pattern), _parts(value)
    if len(wanted) < 6 and pattern.endswith("*"):
        return like(pattern, value, variables)
    return len(wanted) == len(given) and all(
        like(one, other, variables) for one, other in zip(wanted, given, strict=True)
    )


def _parts(arn: str) -> list[str]:
    """At most six parts; the colons of a `${aws:key}` separate nothing."""
    hidden = VARIABLE.sub(lambda variable: variable.group().replace(":", "\0"), arn)
    return [part.replace("\0", ":") for part in hidden.split(":", 5)]


@functools.lru_cache(4096)
def _compiled(pattern: str) -> re.Pattern:
    return re.compile(_expression(pattern), re.DOTALL)


def _expression(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")


# ---- conditions ----
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html


def conditions_hold(conditions: dict, context: Mapping, variables: Mapping | None) -> bool:
    return all(
        _holds(operator, key.lower(), [_text(value) for value in _list(wanted)], context, variables)
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _holds(operator: str, key: str, wanted: list[str], context: Mapping, variables: Mapping | None) -> bool:
    values = context.get(key)
    quantifier, _, name = operator.lower().rpartition(":")
    name, if_exists = name.removesuffix("ifexists"), name.endswith("ifexists")
    if name == "null":
        return any((one.lower() == "true") == (not values) for one in wanted)
    negated = "not" in name
    compare = COMPARE[name.replace("not", "")]

    def fits(value: str) -> bool:
        return any(compare(value, one, variables) for one in wanted) != negated

    if not values:
        # ForAnyValue is false also with IfExists, as measured on AWS, against what it documents of IfExists:
        # https://repost.aws/questions/QU9HFmDzP0QGuU-fd7rS6B7w/foranyvalue-stringequalsifexists-behaving-unexpectedly
        return quantifier == "forallvalues" or (not quantifier and (if_exists or negated))
    if negated and not _known(wanted, variables):
        return False
    if quantifier == "forallvalues" or (negated and not quantifier):
        return all(map(fits, values))
    return any(map(fits, values))


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _moment(value: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 date, or of just such a number."""
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        return _number(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _ordered(convert, compare):
    def fits(value: str, wanted: str, _) -> bool:
        left, right = convert(value), convert(wanted)
        return left is not None and right is not None and compare(left, right)

    return fits


def _in_network(value: str, wanted: str, _) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def _equal(value: str, wanted: str, variables: Mapping | None) -> bool:
    """Equal to a text in which variables are replaced; `*` and `?` mean themselves."""
    if variables is None:
        return value == wanted
    parts = VARIABLE.split(wanted)  # every second one is a variable
    replaced = [_variable(part, variables) if index % 2 else part for index, part in enumerate(parts)]
    return None not in replaced and value == "".join(map(str, replaced))


COMPARE = {
    "stringequals": _equal,
    "stringequalsignorecase": lambda value, wanted, variables: _equal(value.lower(), wanted.lower(), variables),
    "stringlike": lambda value, wanted, variables: like(wanted, value, variables),
    "bool": lambda value, wanted, _: value.lower() == wanted.lower(),
    "binaryequals": lambda value, wanted, _: value == wanted,
    "ipaddress": _in_network,
    "arnequals": lambda value, wanted, variables: arn_like(wanted, value, variables),
    "arnlike": lambda value, wanted, variables: arn_like(wanted, value, variables),
    **{
        f"{kind}{name}": _ordered(convert, compare)
        for kind, convert in (("numeric", _number), ("date", _moment))
        for name, compare in (
            ("equals", float.__eq__),
            ("lessthan", float.__lt__),
            ("lessthanequals", float.__le__),
            ("greaterthan", float.__gt__),
            ("greaterthanequals", float.__ge__),
        )
    },
}


def _text(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _list(value) -> list:
    return [value] if isinstance(value, (str, int, float)) else list(value)


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def context_of(pairs: Iterable[tuple[str, object]]) -> dict[str, tuple[str, ...]]:
    """A context from (key, value) pairs: values are texts, truths or lists of them; what is None is not there."""
    return {
        key.lower(): tuple(map(_text, _list(value))) if isinstance(value, (list, tuple)) else (_text(value),)
        for key, value in pairs
        if value is not None and value != []
    }
