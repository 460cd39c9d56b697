"""SimulatePrincipalPolicy of users and roles, decided by evaluate.py as a call is; also where IAM is not enforced.

As on AWS, the simulation of a role knows no policy of a resource. One result for each action, and in it one for each
resource. https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
"""

from collections.abc import Iterator
from typing import Any

from .evaluate import Principal, Request, arn_like, context_of, like, parse, why_denied
from .principals import boundary_of, policies_of

ALLOWED, EXPLICIT, IMPLICIT = "allowed", "explicitDeny", "implicitDeny"
BY_SEVERITY = (ALLOWED, IMPLICIT, EXPLICIT)


def install(sandbox) -> None:
    from moto.core.responses import ActionResult
    from moto.iam.exceptions import NotFoundException
    from moto.iam.responses import IamResponse

    def simulate_principal_policy(self) -> ActionResult:
        source = self._get_param("PolicySourceArn")
        owners = [*self.backend.roles.values(), *self.backend.users.values()]
        owner = next((one for one in owners if one.arn == source), None)
        if owner is None:
            raise NotFoundException(f"The {source.rpartition('/')[2]} entity cannot be found.")
        if self._get_param("ResourcePolicy"):
            raise NotImplementedError("policies of resources in a simulation")
        given = [parse(text) for text in self._get_param("PolicyInputList", [])]
        boundary = [parse(text) for text in self._get_param("PermissionsBoundaryPolicyInputList", [])]
        principal = Principal(
            owner.arn, self.current_account,
            identity=(*policies_of(owner), *given),
            boundary=boundary[0] if boundary else boundary_of(owner, self.backend),
        )  # fmt: skip
        context = {one["ContextKeyName"]: one["ContextKeyValues"] for one in self._get_param("ContextEntries", [])}
        results = [
            simulated(principal, action, self._get_param("ResourceArns", ["*"]), context)
            for action in self._get_param("ActionNames")
        ]
        return ActionResult({"EvaluationResults": results, "IsTruncated": False})

    IamResponse.simulate_principal_policy = simulate_principal_policy  # type: ignore[attr-defined]


def simulated(principal: Principal, action: str, resources: list[str], context: dict[str, list[str]]) -> dict[str, Any]:
    """One EvaluationResult. Pure."""
    single = [_one(principal, Request(action, resource, context_of(context.items()))) for resource in resources]
    result = {
        "EvalActionName": action,
        "EvalResourceName": "*",
        "EvalDecision": max((one["EvalResourceDecision"] for one in single), key=BY_SEVERITY.index),
        "MatchedStatements": [],
        "MissingContextValues": sorted({key for one in single for key in one["MissingContextValues"]}),
    }
    return result if resources == ["*"] else {**result, "ResourceSpecificResults": single}


def _one(principal: Principal, request: Request) -> dict[str, Any]:
    reason = why_denied(request, principal)
    decision = ALLOWED if reason is None else EXPLICIT if reason.startswith("an explicit deny") else IMPLICIT
    found: dict[str, Any] = {
        "EvalResourceName": request.resource,
        "EvalResourceDecision": decision,
        "MatchedStatements": [],
        "MissingContextValues": sorted(set(_asked(principal, request)) - set(request.context)),
    }
    if principal.boundary is not None:
        allowed = decision == ALLOWED or "permissions boundary" not in str(reason)
        found["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": allowed}
    return found


def _asked(principal: Principal, request: Request) -> Iterator[str]:
    """Keys that conditions of the statements for this action and resource ask for."""
    for policy in principal.identity:
        given = policy.get("Statement", [])
        for statement in [given] if isinstance(given, dict) else given:
            actions, resources = (_texts(statement.get(name, "*")) for name in ("Action", "Resource"))
            if any(like(one.lower(), request.action.lower(), None) for one in actions) and any(
                arn_like(one, request.resource, None) for one in resources
            ):
                yield from (key.lower() for keys in statement.get("Condition", {}).values() for key in keys)


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
