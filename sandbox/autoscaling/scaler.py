"""Acts on what the evaluator decides: reads metrics, sets desired counts, records activities.

Once per AWS minute (`Sandbox.minutes(1)`); without policies, alarms and scheduled actions it does nothing, and it asks
ECS only when an alarm is in state ALARM or a schedule is due. As on AWS a deleted service keeps its scalable target:
scaling it then fails, with the reason in the activity, until somebody deregisters it.

Predictive scaling policies are kept only: a forecast needs days of metrics.
"""

import logging
import time

from botocore.exceptions import BotoCoreError, ClientError

from ..core import Sandbox
from . import alarms, evaluator, metrics, schedules
from .state import Policy, State, Target

log = logging.getLogger("sandbox")

WINDOW = evaluator.PERIODS_LOW + evaluator.SLACK
DEFAULT_COOLDOWN = 300
"""Seconds, for ECS services (API reference, TargetTrackingScalingPolicyConfiguration)."""


class NoService(Exception):
    """The ECS service of a scalable target is not there (any more)."""


class Scaler:
    """Sets desired counts of ECS services, through the ECS API."""

    def __init__(self, sandbox: Sandbox, states: dict[str, State]):
        self.sandbox = sandbox
        self.states = states
        self.looked = sandbox.now()
        """The sandbox's time of the last look at the schedules."""

    # ECS ----------------------------------------------------------------------------------------------------------

    def service(self, state: State, target: Target) -> dict:
        """DescribeServices of a target's service; NoService unless it is active."""
        try:
            answer = self.sandbox.client("ecs", state.region).describe_services(
                cluster=target.cluster, services=[target.service]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in ("ClusterNotFoundException", "ServiceNotFoundException"):
                raise NoService(target.resource_id) from None
            raise
        active = [service for service in answer["services"] if service["status"] == "ACTIVE"]
        if not active:
            raise NoService(target.resource_id)
        return active[0]

    def set_capacity(self, state: State, target: Target, desired: int, cause: str) -> bool:
        """UpdateService(desiredCount) as a scaling activity; False when ECS refused."""
        self.settle(state, target.resource_id)
        activity = state.record(target.resource_id, f"Setting desired count to {desired}.", cause, "InProgress")
        for older, _ in state.awaiting(target.resource_id):
            state.end(older, "Overridden", f"Desired count is being set to {desired} meanwhile.")
        try:
            self.sandbox.client("ecs", state.region).update_service(
                cluster=target.cluster, service=target.service, desiredCount=desired
            )
        except (ClientError, BotoCoreError) as error:
            state.end(activity, "Failed", f"Failed to set desired count to {desired}. Reason: {error}")
            return False
        activity["StatusMessage"] = (
            f"Successfully set desired count to {desired}. Waiting for change to be fulfilled by ecs."
        )
        state.await_capacity(activity, desired)
        return True

    def clamp(self, state: State, target: Target) -> None:
        """Bring the desired count into min..max, which AWS does as soon as these are registered."""
        current = self.service(state, target)["desiredCount"]
        if current < target.minimum:
            self.set_capacity(state, target, target.minimum, f"minimum capacity was set to {target.minimum}")
        elif current > target.maximum:
            self.set_capacity(state, target, target.maximum, f"maximum capacity was set to {target.maximum}")

    def settle(self, state: State, resource_id: str | None = None) -> None:
        """End the activities whose tasks run by now (AWS: "Change successfully fulfilled by ecs")."""
        for activity, desired in state.awaiting(resource_id):
            target = state.targets.get(activity["ResourceId"])
            try:
                service = self.service(state, target) if target else None
            except NoService:
                service = None
            if service is None:
                state.end(activity, "Failed", f"Failed to set desired count to {desired}. Reason: the service is gone.")
            elif service["desiredCount"] != desired:
                state.end(activity, "Overridden", f"Desired count was set to {service['desiredCount']} meanwhile.")
            elif service["runningCount"] == desired:
                state.end(
                    activity,
                    "Successful",
                    f"Successfully set desired count to {desired}. Change successfully fulfilled by ecs.",
                )

    # Target tracking ------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        after, self.looked = self.looked, self.sandbox.now()
        for state in list(self.states.values()):
            for key, action in list(state.scheduled_actions.items()):
                target = state.targets.get(key[0])
                since = state.scheduled_since.get(key, self.looked)
                if target and schedules.fires(action, since, max(after, since), self.looked):
                    self.run_action(state, target, action)
            tracking = [policy for policy in list(state.policies.values()) if policy.type == "TargetTrackingScaling"]
            if tracking:
                self.evaluate(state, tracking)

    def run_action(self, state: State, target: Target, action: dict) -> None:
        """A scheduled action: new limits, and the service between them at once."""
        if target.suspended["ScheduledScalingSuspended"]:
            return
        limits = action["ScalableTargetAction"]
        least, most = limits.get("MinCapacity", target.minimum), limits.get("MaxCapacity", target.maximum)
        words = [f"minimum capacity to {least}"] * ("MinCapacity" in limits)
        words += [f"maximum capacity to {most}"] * ("MaxCapacity" in limits)
        what = " and ".join(words)
        cause = f"scheduled action name {action['ScheduledActionName']} was triggered"
        activity = state.record(target.resource_id, f"Setting {what}", cause, "InProgress")
        if least > most:
            state.end(activity, "Failed", "Maximum capacity cannot be less than minimum capacity.")
            return
        target.minimum, target.maximum = least, most
        state.end(activity, "Successful", f"Successfully set {what}")
        try:
            self.clamp(state, target)
        except (NoService, ClientError, BotoCoreError):
            log.exception("scheduled action of %s", target.resource_id)

    def step(self, state: State, policy: Policy, alarm_name: str, distance: float, above: bool) -> None:
        """What a step scaling policy does when an alarm that names it is in state ALARM, and each minute that it is."""
        target = state.targets.get(policy.resource_id)
        if target is None:
            return
        try:
            situation = self.situation(target, self.service(state, target))
        except NoService:
            return
        seconds = self.sandbox.minutes(policy.configuration.get("Cooldown", DEFAULT_COOLDOWN) / 60)

        def capacity(current: int) -> int | None:
            return evaluator.step_capacity(policy.configuration, current, distance, above)

        decision = evaluator.decide_step(situation, policy.name, capacity, seconds, target.cooldown, time.monotonic())
        self.carry_out(state, target, decision, situation.current, alarm_name)

    def evaluate(self, state: State, policies: list[Policy]) -> None:
        """One AWS minute of all target tracking policies of a region."""
        cloudwatch = alarms.backend(state.account_id, state.region)
        queries = {policy.arn: metrics.queries_of(policy.configuration, policy.resource_id) for policy in policies}
        wanted = {query["metric"] for some in queries.values() for query in some if "metric" in query}
        values = metrics.read(cloudwatch.metric_data, wanted, self.sandbox.minutes(1), time.time(), WINDOW)
        readings: dict[str, list[evaluator.Reading]] = {}
        for policy in policies:
            try:
                points = metrics.series_of(queries[policy.arn], values, WINDOW)
            except metrics.ExpressionError:
                points = [None] * WINDOW  # as on AWS: no data, and the alarm says so
            readings.setdefault(policy.resource_id, []).append(self.reading(cloudwatch, policy, points))
        for resource_id, some in readings.items():
            target = state.targets.get(resource_id)
            if target and any(evaluator.ALARM in (reading.high, reading.low) for reading in some):
                try:
                    self.act(state, target, some)
                except (ClientError, BotoCoreError):  # one service's trouble must not stop the others
                    log.exception("auto scaling of %s", resource_id)

    def reading(self, cloudwatch, policy: Policy, points: metrics.Series) -> evaluator.Reading:
        configuration = policy.configuration
        present = [value for value in points if value is not None]
        return evaluator.Reading(
            policy=policy.name,
            target=configuration["TargetValue"],
            high=alarms.judge(cloudwatch, policy, "High", points),
            low=alarms.judge(cloudwatch, policy, "Low", points),
            value=present[-1] if present else 0.0,
            peak=max(present[-evaluator.PERIODS_LOW :], default=0.0),
            scale_in=not configuration.get("DisableScaleIn", False),
            out_cooldown=self.sandbox.minutes(configuration.get("ScaleOutCooldown", DEFAULT_COOLDOWN) / 60),
            in_cooldown=self.sandbox.minutes(configuration.get("ScaleInCooldown", DEFAULT_COOLDOWN) / 60),
        )

    def act(self, state: State, target: Target, readings: list[evaluator.Reading]) -> None:
        """Do what the alarms of one target ask for, if anything."""
        try:
            service = self.service(state, target)
        except NoService:
            # Nobody knows the current capacity; min capacity lets the decision, and so the failure, show up.
            service = {"desiredCount": 0, "deployments": []}
            if not any(reading.high == evaluator.ALARM for reading in readings):
                return
        situation = self.situation(target, service)
        decision = evaluator.decide(situation, readings, target.cooldown, time.monotonic())
        if decision is None:
            return
        side = "High" if decision.direction == "out" else "Low"
        policy = state.policies.get((target.resource_id, decision.policy))
        if policy is not None:  # else deleted while we looked
            self.carry_out(state, target, decision, situation.current, policy.alarms.get(side))

    def situation(self, target: Target, service: dict) -> evaluator.Situation:
        return evaluator.Situation(
            current=service["desiredCount"],
            minimum=target.minimum,
            maximum=target.maximum,
            deploying=any(d.get("rolloutState") == "IN_PROGRESS" for d in service["deployments"]),
            out_suspended=target.suspended["DynamicScalingOutSuspended"],
            in_suspended=target.suspended["DynamicScalingInSuspended"],
        )

    def carry_out(
        self, state: State, target: Target, decision: evaluator.Decision | None, current: int, alarm: str | None
    ) -> None:
        if decision is None:
            return
        cause = f"monitor alarm {alarm} in state ALARM triggered policy {decision.policy}"
        if decision.desired is None:
            state.record_not_scaled(target.resource_id, cause, _not_scaled(decision.reason, target, current))
        elif self.set_capacity(state, target, decision.desired, cause):
            target.cooldown = decision.cooldown


def _not_scaled(reason: str | None, target: Target, current: int) -> dict:
    more: dict[str | None, dict] = {
        "AlreadyAtMaxCapacity": {"MaxCapacity": target.maximum},
        "AlreadyAtMinCapacity": {"MinCapacity": target.minimum},
        "AlreadyAtDesiredCapacity": {"CurrentCapacity": current},
    }
    return {"Code": reason, **more[reason]}
