"""The Application Auto Scaling API for ecs:service:DesiredCount, instead of moto's.

moto keeps policies and alarms of a deregistered target, matches policies by substring, ignores PolicyNames, clamps
nothing, and has neither tags nor activities; so nothing of its backend is used, only its request and answer code.
"""

import itertools
import math
import re
import threading
import zoneinfo
from datetime import UTC

from botocore.exceptions import ClientError
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse, EmptyResult

from ..core import Sandbox
from . import alarms, metrics, schedules
from .scaler import NoService, Scaler
from .state import DIMENSION, NAMESPACE, Policy, State, Target, now

RESOURCE_ID = re.compile(r"^service/[^/]+/[^/]+$")
ALB_LABEL = re.compile(r"^app/[^/]+/[^/]+/targetgroup/[^/]+/[^/]+$")
SERVICE_LINKED_ROLE = (
    "arn:aws:iam::{}:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_ECSService"
)
PAGE = {"policies": 10}
"""Results per page at most, and by default; 50 where nothing else is said (API reference)."""
MAX_TAGS, MAX_POLICIES, MAX_STEPS = 50, 50, 20
ADJUSTMENTS = ("ChangeInCapacity", "PercentChangeInCapacity", "ExactCapacity")


class ApiError(ServiceException):
    """ApiError(code, message). A class of our own: moto looks for the service of its own classes by their module."""


class ValidationError(ApiError):
    code = "ValidationException"


class ObjectNotFoundError(ApiError):
    code = "ObjectNotFoundException"


class AutoScalingResponse(BaseResponse):
    """One request. `sandbox`, `states` and `scaler` are set by install()."""

    sandbox: Sandbox
    states: dict[str, State]
    scaler: Scaler
    lock = threading.Lock()

    def __init__(self):
        super().__init__(service_name="application-autoscaling")
        self.automated_parameter_parsing = True

    @property
    def state(self) -> State:
        return self.states.setdefault(self.region, State(self.region, self.sandbox.account_id))

    # Scalable targets -----------------------------------------------------------------------------------------------

    def register_scalable_target(self) -> ActionResult:
        given = self._resource()
        suspended = dict(given.get("SuspendedState") or {})
        resource_id, state = given["ResourceId"], self.state
        target = state.targets.get(resource_id)
        minimum, maximum = _limits(given, target)
        if target and given.get("Tags"):
            raise ValidationError(
                "The scalable target that you tried to tag already exists. "
                "To update tags on an existing scalable target, use the TagResource API."
            )
        tags = _tags(given.get("Tags") or {})
        candidate = target or Target(
            resource_id,
            minimum,
            maximum,
            given.get("RoleARN") or SERVICE_LINKED_ROLE.format(state.account_id),
            state.new_target_arn(),
            tags=tags,
        )
        try:
            self.scaler.service(state, candidate)
        except NoService:
            raise ValidationError(f"ECS service doesn't exist: {resource_id}") from None
        except ClientError as error:
            raise ApiError("FailedResourceAccessException", str(error)) from None
        with self.lock:
            candidate.minimum, candidate.maximum = minimum, maximum
            candidate.role_arn = given.get("RoleARN") or candidate.role_arn
            candidate.suspended.update(suspended)
            state.targets[resource_id] = candidate
        self.scaler.clamp(state, candidate)
        return ActionResult({"ScalableTargetARN": candidate.arn})

    def describe_scalable_targets(self) -> ActionResult:
        ids = self.params.get("ResourceIds")
        if len(ids or ()) > 50:
            raise ValidationError("1 validation error detected: ResourceIds must have length less than or equal to 50.")
        targets = [t for t in self.state.targets.values() if self._asked() and (not ids or t.resource_id in ids)]
        return self._page("ScalableTargets", [_target(target) for target in targets])

    def deregister_scalable_target(self) -> ActionResult:
        given, state = self._resource(), self.state
        resource_id = given["ResourceId"]
        with self.lock:
            if state.targets.pop(resource_id, None) is None:
                raise ObjectNotFoundError(f"No scalable target found for {_where(resource_id)}")
            for policy in state.policies_of(resource_id):
                alarms.delete(alarms.backend(state.account_id, state.region), policy)
                del state.policies[resource_id, policy.name]
            for key in [key for key in state.scheduled_actions if key[0] == resource_id]:
                del state.scheduled_actions[key]
        return EmptyResult()

    # Scaling policies -----------------------------------------------------------------------------------------------

    def put_scaling_policy(self) -> ActionResult:
        given, state = self._resource(), self.state
        resource_id, name = given["ResourceId"], given["PolicyName"]
        self._registered(resource_id)
        with self.lock:
            old = state.policies.get((resource_id, name))
            kind = given.get("PolicyType") or (old.type if old else "StepScaling")
            configuration = _configuration(given, kind)
            others = [policy for policy in state.policies_of(resource_id) if policy.name != name]
            if kind == "TargetTrackingScaling" and any(_same_metric(configuration, other) for other in others):
                raise ValidationError(
                    "Only one TargetTrackingScaling policy for a given metric specification is allowed."
                )
            if len(others) >= MAX_POLICIES:
                raise ApiError("LimitExceededException", f"A scalable target can have {MAX_POLICIES} scaling policies.")
            arn = old.arn if old else state.arn("scalingPolicy", resource_id, "policyName", name)
            policy = Policy(resource_id, name, arn, kind, configuration)
            cloudwatch = alarms.backend(state.account_id, state.region)
            if old:
                policy.created = old.created
                if old.type == kind and _same_metric(configuration, old):
                    policy.alarms = dict(old.alarms)
                else:
                    alarms.delete(cloudwatch, old)
            if kind == "TargetTrackingScaling" and not (old and policy.alarms and old.configuration == configuration):
                alarms.put(cloudwatch, policy)
            state.policies[resource_id, name] = policy
        return ActionResult({"PolicyARN": policy.arn, "Alarms": self._alarms(policy)})

    def describe_scaling_policies(self) -> ActionResult:
        names, resource_id = self.params.get("PolicyNames"), self.params.get("ResourceId")
        chosen = [
            self._policy(policy)
            for policy in self.state.policies.values()
            if self._asked() and resource_id in (None, policy.resource_id) and (not names or policy.name in names)
        ]
        return self._page("ScalingPolicies", chosen, PAGE["policies"])

    def delete_scaling_policy(self) -> ActionResult:
        given, state = self._resource(), self.state
        with self.lock:
            policy = state.policies.pop((given["ResourceId"], given["PolicyName"]), None)
            if policy is None:
                where = f"{_where(given['ResourceId'])}, policy name: {given['PolicyName']}"
                raise ObjectNotFoundError(f"No scaling policy found for {where}")
            alarms.delete(alarms.backend(state.account_id, state.region), policy)
        return EmptyResult()

    def describe_scaling_activities(self) -> ActionResult:
        resource_id, everything = self.params.get("ResourceId"), self.params.get("IncludeNotScaledActivities")
        if not self._asked():
            return self._page("ScalingActivities", [])
        self.scaler.settle(self.state, resource_id)
        chosen = [
            activity
            for activity in list(self.state.activities)
            if resource_id in (None, activity["ResourceId"]) and (everything or "NotScaledReasons" not in activity)
        ]
        return self._page("ScalingActivities", chosen)

    # Scheduled actions ----------------------------------------------------------------------------------------------

    def put_scheduled_action(self) -> ActionResult:
        given, state = self._resource(), self.state
        resource_id, name = given["ResourceId"], given["ScheduledActionName"]
        self._registered(resource_id)
        # moto reads times without a zone; they are UTC
        given |= {key: given[key].replace(tzinfo=UTC) for key in ("StartTime", "EndTime") if given.get(key)}
        with self.lock:
            old = state.scheduled_actions.get((resource_id, name))
            _check_action(given, old or {})
            action = old or {
                "ScheduledActionARN": state.arn("scheduledAction", resource_id, "scheduledActionName", name),
                "CreationTime": now(),
            }
            # An update replaces what it names; start and end time are forgotten unless given again (API reference).
            kept = {key: value for key, value in action.items() if key not in ("StartTime", "EndTime")}
            state.scheduled_actions[resource_id, name] = {**kept, **given}
            state.scheduled_since[resource_id, name] = self.sandbox.now()
        return EmptyResult()

    def describe_scheduled_actions(self) -> ActionResult:
        names, resource_id = self.params.get("ScheduledActionNames"), self.params.get("ResourceId")
        chosen = [
            action
            for action in self.state.scheduled_actions.values()
            if self._asked()
            and resource_id in (None, action["ResourceId"])
            and (not names or action["ScheduledActionName"] in names)
        ]
        return self._page("ScheduledActions", chosen)

    def delete_scheduled_action(self) -> ActionResult:
        given = self._resource()
        key = given["ResourceId"], given["ScheduledActionName"]
        if self.state.scheduled_actions.pop(key, None) is None:
            raise ObjectNotFoundError(
                f"No scheduled action found for {_where(key[0])}, scheduled action name: {key[1]}"
            )
        return EmptyResult()

    # Tags -----------------------------------------------------------------------------------------------------------

    def tag_resource(self) -> ActionResult:
        target = self._tagged()
        tags = _tags(self.params.get("Tags") or {})
        if len(target.tags | tags) > MAX_TAGS:
            raise ApiError("TooManyTagsException", f"A scalable target can have {MAX_TAGS} tags.")
        target.tags.update(tags)
        return EmptyResult()

    def untag_resource(self) -> ActionResult:
        target = self._tagged()
        for key in self.params.get("TagKeys") or []:
            target.tags.pop(key, None)
        return EmptyResult()

    def list_tags_for_resource(self) -> ActionResult:
        return ActionResult({"Tags": dict(self._tagged().tags)})

    def _tagged(self) -> Target:
        arn = self.params["ResourceARN"]
        target = self.state.target_by_arn(arn)
        if target is None:
            raise ApiError("ResourceNotFoundException", f"No scalable target found for resource ARN: {arn}")
        return target

    # Shared ---------------------------------------------------------------------------------------------------------

    def _resource(self) -> dict:
        """The request's parameters, its resource known to be an ECS service's desired count."""
        given = _plain(self.params)
        if (given["ServiceNamespace"], given["ScalableDimension"]) != (NAMESPACE, DIMENSION):
            raise ValidationError(
                "Unsupported service namespace, resource type or scalable dimension: "
                f"the sandbox scales {DIMENSION} only."
            )
        if not RESOURCE_ID.match(given["ResourceId"]):
            raise ValidationError("Unsupported service namespace, resource type or scalable dimension")
        return given

    def _asked(self) -> bool:
        """Whether a Describe call asks for what the sandbox has at all."""
        return self.params.get("ServiceNamespace") == NAMESPACE and self.params.get("ScalableDimension") in (
            None,
            DIMENSION,
        )

    def _registered(self, resource_id: str) -> None:
        target = self.state.targets.get(resource_id)
        if target is None or self.sandbox.young(target.seen):
            raise ObjectNotFoundError(f"No scalable target registered for {_where(resource_id)}")

    def _page(self, key: str, items: list[dict], most: int = 50) -> ActionResult:
        """MaxResults items from NextToken on."""
        size, token = self.params.get("MaxResults", most), self.params.get("NextToken", "0")
        if not 1 <= size <= most:
            raise ValidationError(f"MaxResults must be between 1 and {most}.")
        if not token.isdigit() or int(token) > len(items):
            raise ApiError("InvalidNextTokenException", "The next token is not valid.")
        end = int(token) + size
        answer: dict = {key: items[int(token) : end]}
        if end < len(items):
            answer["NextToken"] = str(end)
        return ActionResult(answer)

    def _alarms(self, policy: Policy) -> list[dict]:
        prefix = f"arn:aws:cloudwatch:{self.region}:{self.state.account_id}:alarm:"
        return [{"AlarmName": name, "AlarmARN": prefix + name} for name in policy.alarms.values()]

    def _policy(self, policy: Policy) -> dict:
        return {
            "PolicyARN": policy.arn,
            "PolicyName": policy.name,
            "ServiceNamespace": NAMESPACE,
            "ResourceId": policy.resource_id,
            "ScalableDimension": DIMENSION,
            "PolicyType": policy.type,
            f"{policy.type}PolicyConfiguration": policy.configuration,
            "Alarms": self._alarms(policy),
            "CreationTime": policy.created,
        }


def _limits(given: dict, target: Target | None) -> tuple[int, int]:
    """The new minimum and maximum capacity: what is not given stays."""
    minimum = given.get("MinCapacity", target.minimum if target else None)
    maximum = given.get("MaxCapacity", target.maximum if target else None)
    if minimum is None or maximum is None:
        raise ValidationError("MinCapacity and MaxCapacity are required to register a new scalable target.")
    if minimum < 0 or maximum < 0:
        raise ValidationError("Minimum and maximum capacity must not be negative.")
    if minimum > maximum:
        raise ValidationError("Maximum capacity cannot be less than minimum capacity.")
    return minimum, maximum


def _target(target: Target) -> dict:
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": target.resource_id,
        "ScalableDimension": DIMENSION,
        "MinCapacity": target.minimum,
        "MaxCapacity": target.maximum,
        "RoleARN": target.role_arn,
        "CreationTime": target.created,
        "SuspendedState": target.suspended,
        "ScalableTargetARN": target.arn,
    }


def _where(resource_id: str) -> str:
    return f"service namespace: {NAMESPACE}, resource ID: {resource_id}, scalable dimension: {DIMENSION}"


def _plain(value):
    """moto's parsed parameters as ordinary dicts with the names of the API."""
    if hasattr(value, "original_dict"):
        value = value.original_dict()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _tags(given: dict) -> dict[str, str]:
    if len(given) > MAX_TAGS:
        raise ApiError("TooManyTagsException", f"A scalable target can have {MAX_TAGS} tags.")
    return dict(given)


def _configuration(given: dict, kind: str) -> dict:
    """The checked policy configuration of a PutScalingPolicy request."""
    if kind not in ("TargetTrackingScaling", "StepScaling", "PredictiveScaling"):
        raise ValidationError(f"PolicyType {kind} is none of TargetTrackingScaling, StepScaling, PredictiveScaling.")
    configuration = given.get(f"{kind}PolicyConfiguration")
    if not configuration:
        raise ValidationError(f"{kind}PolicyConfiguration is required for a policy of type {kind}.")
    checks = {"StepScaling": _check_steps, "PredictiveScaling": _check_predictive}
    checks.get(kind, _check_tracking)(configuration)
    return configuration


def _check_tracking(configuration: dict) -> None:
    predefined = configuration.get("PredefinedMetricSpecification")
    custom = configuration.get("CustomizedMetricSpecification") or {}
    if bool(predefined) == bool(custom):
        raise ValidationError("Specify exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification.")
    if configuration["TargetValue"] <= 0:
        raise ValidationError("TargetValue must be greater than 0.")
    for cooldown in ("ScaleOutCooldown", "ScaleInCooldown"):
        if configuration.get(cooldown, 0) < 0:
            raise ValidationError(f"{cooldown} must not be negative.")
    if predefined:
        _check_predefined(predefined)
    elif custom.get("Metrics"):
        _check_queries(custom["Metrics"])
    elif not all(custom.get(key) for key in ("MetricName", "Namespace", "Statistic")):
        raise ValidationError("CustomizedMetricSpecification needs MetricName, Namespace and Statistic, or Metrics.")


def _check_predefined(predefined: dict) -> None:
    kind, label = predefined["PredefinedMetricType"], predefined.get("ResourceLabel")
    allowed = [*metrics.ECS_METRICS, metrics.ALB_METRIC]
    if kind not in allowed:
        raise ValidationError(
            f"PredefinedMetricType {kind} does not apply to {DIMENSION}: use one of {', '.join(allowed)}."
        )
    if kind == metrics.ALB_METRIC and not ALB_LABEL.match(label or ""):
        raise ValidationError(
            "ResourceLabel is required for ALBRequestCountPerTarget: app/<name>/<id>/targetgroup/<name>/<id>."
        )
    if kind != metrics.ALB_METRIC and label:
        raise ValidationError(f"ResourceLabel must not be given for {kind}.")


def _check_action(given: dict, old: dict) -> None:
    try:
        schedules.check(given.get("Schedule") or old.get("Schedule", ""))
    except ValueError as error:
        raise ValidationError(str(error)) from None
    if given.get("Timezone", "UTC") not in zoneinfo.available_timezones():
        raise ValidationError(f"Timezone {given['Timezone']} is not a time zone of the IANA.")
    limits = given.get("ScalableTargetAction") or {}
    if not old and not limits:
        raise ValidationError("ScalableTargetAction is required for a new scheduled action.")
    if limits.get("MinCapacity", 0) > limits.get("MaxCapacity", limits.get("MinCapacity", 0)):
        raise ValidationError("Maximum capacity cannot be less than minimum capacity.")
    start, end = given.get("StartTime"), given.get("EndTime")
    if start and end and start >= end:
        raise ValidationError("EndTime must be later than StartTime.")


def _check_predictive(configuration: dict) -> None:
    specifications = configuration.get("MetricSpecifications") or []
    if len(specifications) != 1:
        raise ValidationError("MetricSpecifications must have exactly one metric specification.")
    given = specifications[0].keys()
    pair = "PredefinedMetricPairSpecification" in given
    single = [
        len({f"Predefined{kind}MetricSpecification", f"Customized{kind}MetricSpecification"} & given)
        for kind in ("Scaling", "Load")
    ]
    if (pair and any(single)) or (not pair and single != [1, 1]):
        raise ValidationError("Specify a metric pair, or a load metric and a scaling metric.")
    for name, metric in specifications[0].items():
        if name.startswith("Customized"):
            _check_queries(metric["MetricDataQueries"])
    increase = configuration.get("MaxCapacityBreachBehavior") == "IncreaseMaxCapacity"
    if increase != ("MaxCapacityBuffer" in configuration):
        raise ValidationError("MaxCapacityBuffer is required with IncreaseMaxCapacity, and cannot be used otherwise.")


def _check_queries(queries: list[dict]) -> None:
    if sum(query.get("ReturnData", True) for query in queries) != 1:
        raise ValidationError("Exactly one query of Metrics must have ReturnData true.")
    if any(bool(query.get("Expression")) == bool(query.get("MetricStat")) for query in queries):
        raise ValidationError("Each query needs either Expression or MetricStat.")


def _check_steps(configuration: dict) -> None:
    steps = configuration.get("StepAdjustments") or []
    if configuration.get("AdjustmentType") not in ADJUSTMENTS:
        raise ValidationError(f"AdjustmentType must be one of {', '.join(ADJUSTMENTS)}.")
    if not 1 <= len(steps) <= MAX_STEPS:
        raise ValidationError(f"StepAdjustments must have between 1 and {MAX_STEPS} steps.")
    bounds = sorted(
        (step.get("MetricIntervalLowerBound", -math.inf), step.get("MetricIntervalUpperBound", math.inf))
        for step in steps
    )
    if any(low >= high or (low, high) == (-math.inf, math.inf) for low, high in bounds):
        raise ValidationError("A step's upper bound must be greater than its lower bound, and one of them given.")
    if any(one[1] != other[0] for one, other in itertools.pairwise(bounds)):
        raise ValidationError("The ranges of the step adjustments must not overlap or have a gap.")
    if -math.inf < bounds[0][0] < 0 or 0 < bounds[-1][1] < math.inf:
        raise ValidationError("There must be a step without a lower, or an upper, bound.")
    if "MinAdjustmentMagnitude" in configuration and configuration["AdjustmentType"] != ADJUSTMENTS[1]:
        raise ValidationError("MinAdjustmentMagnitude is for PercentChangeInCapacity only.")


def _same_metric(configuration: dict, policy: Policy) -> bool:
    keys = ("PredefinedMetricSpecification", "CustomizedMetricSpecification")
    return policy.type == "TargetTrackingScaling" and all(
        configuration.get(k) == policy.configuration.get(k) for k in keys
    )
