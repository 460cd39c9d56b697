"""Every option of application_autoscaling: changed by hand, seen as exactly that field, mended, nothing else moved."""

import copy

import pytest
import scaling_services
from generated import drift_cases, drifts, every_option_drifts

MODULE = "application_autoscaling"
TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
CPU, MEMORY = "ECSServiceAverageCPUUtilization", "ECSServiceAverageMemoryUtilization"
LABEL = "app/web/50dc6c495c0c9188/targetgroup/web/943f017f100becff"
RESOURCE_ID = f"service/{scaling_services.CLUSTER}/t-drift"
WHERE = {"ServiceNamespace": "ecs", "ResourceId": RESOURCE_ID, "ScalableDimension": "ecs:service:DesiredCount"}
ROLE = "arn:aws:iam::123456789012:role/{}"


def queries(letter):
    """One query of a metric with every option, and one of an expression."""
    metric = {"namespace": "A", "metric_name": letter, "dimensions": {"Queue": "q"}}
    return [
        {"id": "m", "metric_stat": {"metric": metric, "stat": "Sum", "unit": "Count"}, "return_data": False},
        {"id": "e", "expression": "m / 2", "label": "half"},
    ]


def predictive(name, **metrics):
    return {
        "name": name,
        "policy_type": "PredictiveScaling",
        "predictive_scaling_policy_configuration": {
            "metric_specification": {"target_value": 40, **metrics},
            "mode": "ForecastOnly",
            "scheduling_buffer_time": 300,
            "max_capacity_breach_behavior": "IncreaseMaxCapacity",
            "max_capacity_buffer": 10,
        },
    }


PREDEFINED = {"predefined_metric_type": "ALBRequestCount", "resource_label": LABEL}
POLICIES = [
    {
        "name": "cpu",
        "predefined_metric_type": CPU,
        "target_value": 70,
        "scale_in_cooldown": 300,
        "scale_out_cooldown": 60,
        "disable_scale_in": False,
    },
    {
        "name": "requests",
        "predefined_metric_type": "ALBRequestCountPerTarget",
        "target_value": 9,
        "resource_label": LABEL,
        "disable_scale_in": False,
    },
    {
        "name": "custom",
        "target_value": 5,
        "disable_scale_in": False,
        "customized_metric_specification": {
            "namespace": "A",
            "metric_name": "backlog",
            "dimensions": {"Queue": "q"},
            "statistic": "Average",
            "unit": "Count",
        },
    },
    {
        "name": "math",
        "target_value": 5,
        "disable_scale_in": False,
        "customized_metric_specification": {"metrics": queries("math")},
    },
    {
        "name": "step",
        "policy_type": "StepScaling",
        "step_scaling_policy_configuration": {
            "adjustment_type": "PercentChangeInCapacity",
            "step_adjustments": [
                {"metric_interval_upper_bound": -5, "scaling_adjustment": -20},
                {"metric_interval_lower_bound": -5, "metric_interval_upper_bound": 0, "scaling_adjustment": -10},
            ],
            "min_adjustment_magnitude": 2,
            "cooldown": 60,
            "metric_aggregation_type": "Average",
        },
    },
    predictive("pair", predefined_metric_pair_specification=PREDEFINED),
    predictive(
        "single",
        predefined_scaling_metric_specification=PREDEFINED,
        predefined_load_metric_specification=PREDEFINED,
    ),
    predictive(
        "own",
        customized_scaling_metric_specification={"metric_data_queries": queries("scaling")},
        customized_load_metric_specification={"metric_data_queries": queries("load")},
        customized_capacity_metric_specification={"metric_data_queries": queries("capacity")},
    ),
]
NIGHT = {
    "name": "night",
    "schedule": "cron(0 20 ? * * 2099)",
    "timezone": "Europe/Berlin",
    "start_time": "2098-01-01T00:00:00Z",
    "end_time": "2100-01-01 01:00:00+01:00",
    "min_capacity": 1,
    "max_capacity": 2,
}
ARGUMENTS = {
    "targets": [
        {
            "resource_id": RESOURCE_ID,
            "scalable_dimension": "ecs:service:DesiredCount",
            "min_capacity": 0,
            "max_capacity": 5,
            "role_arn": ROLE.format("scaler"),
            "suspended": {
                "dynamic_scaling_in_suspended": False,
                "dynamic_scaling_out_suspended": False,
                "scheduled_scaling_suspended": False,
            },
            "policies": POLICIES,
            "scheduled_actions": [NIGHT],
        }
    ],
    "service_namespace": "ecs",
    "tags": TAGS,
}


@pytest.fixture(scope="module")
def scaling(sandbox):
    made = scaling_services.services(sandbox)
    next(made)("t-drift")
    yield sandbox.client("application-autoscaling")
    for _ in made:
        pass


def described(scaling):
    """Everything about the target but what is new whenever something is put: ARNs and times."""

    def plain(items, *fields):
        return sorted(({key: value for key, value in item.items() if key not in fields} for item in items), key=repr)

    targets = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[RESOURCE_ID])["ScalableTargets"]
    tags = [scaling.list_tags_for_resource(ResourceARN=one["ScalableTargetARN"])["Tags"] for one in targets]
    policies = scaling.describe_scaling_policies(ServiceNamespace="ecs", ResourceId=RESOURCE_ID)["ScalingPolicies"]
    actions = scaling.describe_scheduled_actions(ServiceNamespace="ecs", ResourceId=RESOURCE_ID)["ScheduledActions"]
    return (
        plain(targets, "CreationTime", "ScalableTargetARN"),
        tags,
        plain(policies, "CreationTime", "PolicyARN", "Alarms"),
        plain(actions, "CreationTime", "ScheduledActionARN"),
    )


def put(document, path, value):
    """Change one field of a request, by a path with dots; a number is the place in a list, None takes the field out."""
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in way:
        document = document[step]
    if value is None:
        del document[last]
    else:
        document[last] = value


def policy(name, changes):
    """Put a policy by hand as it is, but for some fields (path -> value) of its configuration."""

    def change(scaling):
        [there] = [
            one
            for one in scaling.describe_scaling_policies(ServiceNamespace="ecs", ResourceId=RESOURCE_ID)[
                "ScalingPolicies"
            ]
            if one["PolicyName"] == name
        ]
        kind = there["PolicyType"]
        configuration = copy.deepcopy(there[f"{kind}PolicyConfiguration"])
        for path, value in changes.items():
            put(configuration, path, value)
        scaling.put_scaling_policy(
            PolicyName=name, PolicyType=kind, **{f"{kind}PolicyConfiguration": configuration}, **WHERE
        )

    return change


def action(**changes):
    def change(scaling):
        [there] = scaling.describe_scheduled_actions(ServiceNamespace="ecs", ResourceId=RESOURCE_ID)["ScheduledActions"]
        kept = {key: there[key] for key in ("ScheduledActionName", "StartTime", "EndTime")}
        scaling.put_scheduled_action(**{**kept, **changes}, **WHERE)

    return change


def register(**changes):
    return lambda scaling: scaling.register_scalable_target(**WHERE, **changes)


def tag(scaling, **change):
    [target] = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[RESOURCE_ID])["ScalableTargets"]
    for method, tags in change.items():
        getattr(scaling, method)(ResourceARN=target["ScalableTargetARN"], **tags)


def of_target(*paths):
    return {(f"scalable target {RESOURCE_ID}", path) for path in paths}


def of_policy(name, *paths):
    return {(f"scaling policy {name} of {RESOURCE_ID}", path) for path in paths}


def of_action(*paths):
    return {(f"scheduled action night of {RESOURCE_ID}", path) for path in paths}


def query_cases(option, name, api, path):
    """A drift case of each option of a list of queries: option prefix, policy, path in the API and in the plan."""
    metric = f"{api}.0.MetricStat.Metric"
    fields = {
        "expression": (f"{api}.1.Expression", "m / 3", "e.expression"),
        "label": (f"{api}.1.Label", None, "e.label"),
        "metric_stat.metric.metric_name": (f"{metric}.MetricName", "other", "m.metric_stat.metric.metric_name"),
        "metric_stat.metric.namespace": (f"{metric}.Namespace", "B", "m.metric_stat.metric.namespace"),
        "metric_stat.metric.dimensions": (
            f"{metric}.Dimensions",
            [{"Name": "Queue", "Value": "r"}],
            "m.metric_stat.metric.dimensions.Queue",
        ),
        "metric_stat.stat": (f"{api}.0.MetricStat.Stat", "p99", "m.metric_stat.stat"),
        "metric_stat.unit": (f"{api}.0.MetricStat.Unit", None, "m.metric_stat.unit"),
    }
    cases = {
        f"{option}.{field}": (policy(name, {where: value}), of_policy(name, f"{path}.{mended}"))
        for field, (where, value, mended) in fields.items()
    }
    cases[f"{option}.id"] = (
        policy(name, {f"{api}.1.Id": "other"}),
        of_policy(
            name,
            *(f"{path}.e.{field}" for field in ("expression", "label", "return_data")),
            f"{path}.other",
        ),
    )
    cases[f"{option}.return_data"] = (
        policy(name, {f"{api}.0.ReturnData": True, f"{api}.1.ReturnData": False}),
        of_policy(name, f"{path}.m.return_data", f"{path}.e.return_data"),
    )
    return cases


T, P = "targets", "targets.policies"
CUSTOM, STEPS, FORECAST = (
    "customized_metric_specification",
    "step_scaling_policy_configuration",
    "predictive_scaling_policy_configuration",
)
SPECIFICATION = f"{FORECAST}.metric_specification"
SUSPENDED = {
    "dynamic_scaling_in_suspended": "DynamicScalingInSuspended",
    "dynamic_scaling_out_suspended": "DynamicScalingOutSuspended",
    "scheduled_scaling_suspended": "ScheduledScalingSuspended",
}
# option -> (what somebody does by hand, what a check says of it)
CASES = {
    f"{T}.min_capacity": (register(MinCapacity=1), of_target("min_capacity")),
    f"{T}.max_capacity": (register(MaxCapacity=9), of_target("max_capacity")),
    f"{T}.role_arn": (register(RoleARN=ROLE.format("other")), of_target("role_arn")),
    **{
        f"{T}.suspended.{field}": (register(SuspendedState={key: True}), of_target(f"suspended.{field}"))
        for field, key in SUSPENDED.items()
    },
    "tags": (lambda s: tag(s, tag_resource={"Tags": {"extra": "yes"}}), of_target("tags.extra")),
    "tags removed": (lambda s: tag(s, untag_resource={"TagKeys": ["ManagedBy"]}), of_target("tags.ManagedBy")),
    f"{T}.resource_id": (
        lambda s: s.deregister_scalable_target(**WHERE),
        {
            *of_target("create"),
            *of_action("create"),
            *(change for one in POLICIES for change in of_policy(one["name"], "create")),
        },
    ),
    f"{P}.name": (
        lambda s: s.delete_scaling_policy(PolicyName="cpu", **WHERE),
        of_policy("cpu", "create"),
    ),
    f"{P}.name another": (
        lambda s: s.put_scaling_policy(
            PolicyName="by-hand",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": 5,
                "PredefinedMetricSpecification": {"PredefinedMetricType": MEMORY},
            },
            **WHERE,
        ),
        of_policy("by-hand", "delete"),
    ),
    f"{P}.policy_type": (
        lambda s: (
            s.delete_scaling_policy(PolicyName="step", **WHERE),
            s.put_scaling_policy(
                PolicyName="step",
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration={
                    "TargetValue": 5,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": MEMORY},
                },
                **WHERE,
            ),
        ),
        of_policy(
            "step",
            "policy_type",
            "target_value",
            "predefined_metric_type",
            "disable_scale_in",
            *(f"{STEPS}.{field}" for field in POLICIES[4][STEPS]),
        ),
    ),
    f"{P}.target_value": (policy("cpu", {"TargetValue": 50.0}), of_policy("cpu", "target_value")),
    f"{P}.scale_in_cooldown": (policy("cpu", {"ScaleInCooldown": 1}), of_policy("cpu", "scale_in_cooldown")),
    f"{P}.scale_out_cooldown": (policy("cpu", {"ScaleOutCooldown": None}), of_policy("cpu", "scale_out_cooldown")),
    f"{P}.disable_scale_in": (policy("cpu", {"DisableScaleIn": True}), of_policy("cpu", "disable_scale_in")),
    f"{P}.predefined_metric_type": (
        policy("cpu", {"PredefinedMetricSpecification.PredefinedMetricType": MEMORY}),
        of_policy("cpu", "predefined_metric_type"),
    ),
    f"{P}.resource_label": (
        policy("requests", {"PredefinedMetricSpecification.ResourceLabel": LABEL + "0"}),
        of_policy("requests", "resource_label"),
    ),
    **{
        f"{P}.{CUSTOM}.{field}": (
            policy("custom", {f"CustomizedMetricSpecification.{key}": value}),
            of_policy("custom", f"{CUSTOM}.{field}{more}"),
        )
        for field, key, value, more in (
            ("metric_name", "MetricName", "other", ""),
            ("namespace", "Namespace", "B", ""),
            ("dimensions", "Dimensions", [{"Name": "Queue", "Value": "r"}], ".Queue"),
            ("statistic", "Statistic", "Sum", ""),
            ("unit", "Unit", None, ""),
        )
    },
    **query_cases(f"{P}.{CUSTOM}.metrics", "math", "CustomizedMetricSpecification.Metrics", f"{CUSTOM}.metrics"),
    f"{P}.{STEPS}.adjustment_type": (
        policy("step", {"AdjustmentType": "ChangeInCapacity", "MinAdjustmentMagnitude": None}),
        of_policy("step", f"{STEPS}.adjustment_type", f"{STEPS}.min_adjustment_magnitude"),
    ),
    **{
        f"{P}.{STEPS}.step_adjustments.{field}": (
            policy("step", change),
            of_policy("step", f"{STEPS}.step_adjustments"),
        )
        for field, change in (
            ("scaling_adjustment", {"StepAdjustments.0.ScalingAdjustment": -50}),
            (
                "metric_interval_lower_bound",
                {
                    "StepAdjustments.1.MetricIntervalLowerBound": -6.0,
                    "StepAdjustments.0.MetricIntervalUpperBound": -6.0,
                },
            ),
            ("metric_interval_upper_bound", {"StepAdjustments.1.MetricIntervalUpperBound": -1.0}),
        )
    },
    **{
        f"{P}.{STEPS}.{field}": (policy("step", {key: value}), of_policy("step", f"{STEPS}.{field}"))
        for field, key, value in (
            ("min_adjustment_magnitude", "MinAdjustmentMagnitude", 3),
            ("cooldown", "Cooldown", None),
            ("metric_aggregation_type", "MetricAggregationType", "Maximum"),
        )
    },
    f"{P}.{SPECIFICATION}.target_value": (
        policy("pair", {"MetricSpecifications.0.TargetValue": 41.0}),
        of_policy("pair", f"{SPECIFICATION}.target_value"),
    ),
    **{
        f"{P}.{SPECIFICATION}.{kind}.{field}": (
            policy(name, {f"MetricSpecifications.0.{api}.{key}": value}),
            of_policy(name, f"{SPECIFICATION}.{kind}.{field}"),
        )
        for name, kind, api in (
            ("pair", "predefined_metric_pair_specification", "PredefinedMetricPairSpecification"),
            ("single", "predefined_scaling_metric_specification", "PredefinedScalingMetricSpecification"),
            ("single", "predefined_load_metric_specification", "PredefinedLoadMetricSpecification"),
        )
        for field, key, value in (
            ("predefined_metric_type", "PredefinedMetricType", "ECSServiceCPUUtilization"),
            ("resource_label", "ResourceLabel", None),
        )
    },
    **{
        option: case
        for kind in ("scaling", "load", "capacity")
        for option, case in query_cases(
            f"{P}.{SPECIFICATION}.customized_{kind}_metric_specification.metric_data_queries",
            "own",
            f"MetricSpecifications.0.Customized{kind.capitalize()}MetricSpecification.MetricDataQueries",
            f"{SPECIFICATION}.customized_{kind}_metric_specification.metric_data_queries",
        ).items()
    },
    f"{P}.{FORECAST}.mode": (policy("pair", {"Mode": "ForecastAndScale"}), of_policy("pair", f"{FORECAST}.mode")),
    f"{P}.{FORECAST}.scheduling_buffer_time": (
        policy("pair", {"SchedulingBufferTime": 60}),
        of_policy("pair", f"{FORECAST}.scheduling_buffer_time"),
    ),
    f"{P}.{FORECAST}.max_capacity_breach_behavior": (
        policy("pair", {"MaxCapacityBreachBehavior": "HonorMaxCapacity", "MaxCapacityBuffer": None}),
        of_policy("pair", f"{FORECAST}.max_capacity_breach_behavior", f"{FORECAST}.max_capacity_buffer"),
    ),
    f"{P}.{FORECAST}.max_capacity_buffer": (
        policy("pair", {"MaxCapacityBuffer": 20}),
        of_policy("pair", f"{FORECAST}.max_capacity_buffer"),
    ),
    f"{T}.scheduled_actions.name": (
        lambda s: s.delete_scheduled_action(ScheduledActionName="night", **WHERE),
        of_action("create"),
    ),
    f"{T}.scheduled_actions.name another": (
        action(ScheduledActionName="day", Schedule="rate(900 days)", ScalableTargetAction={"MinCapacity": 1}),
        {(f"scheduled action day of {RESOURCE_ID}", "delete")},
    ),
    f"{T}.scheduled_actions.schedule": (action(Schedule="rate(900 days)"), of_action("schedule")),
    f"{T}.scheduled_actions.timezone": (action(Timezone="UTC"), of_action("timezone")),
    f"{T}.scheduled_actions.start_time": (action(StartTime="2098-02-01T00:00:00Z"), of_action("start_time")),
    f"{T}.scheduled_actions.end_time": (action(EndTime="2100-02-01T00:00:00Z"), of_action("end_time")),
    f"{T}.scheduled_actions.min_capacity": (
        action(ScalableTargetAction={"MinCapacity": 0, "MaxCapacity": 2}),
        of_action("min_capacity"),
    ),
    f"{T}.scheduled_actions.max_capacity": (
        action(ScalableTargetAction={"MinCapacity": 1}),
        of_action("max_capacity"),
    ),
}
NO_FIELD = {
    "state": "says whether there is to be one at all",
    "service_namespace": "part of a target's identity: one of another namespace is another target",
    "targets.scalable_dimension": "part of a target's identity: a service of ECS has but this one",
}


@pytest.mark.parametrize(("change", "expected"), drift_cases(CASES))
def test_drift(module, scaling, change, expected):
    if not scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[RESOURCE_ID])["ScalableTargets"]:
        module(MODULE, ARGUMENTS)
    drifts(module, MODULE, ARGUMENTS, lambda: described(scaling), lambda: change(scaling), expected)


def test_every_option_has_a_case():
    every_option_drifts(MODULE, CASES, NO_FIELD, ARGUMENTS)
