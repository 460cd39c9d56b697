"""Targets and policies against the sandbox; the services are real ECS services whose tasks sleep."""

import pytest
import scaling_services

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
DIMENSION = "ecs:service:DesiredCount"
CPU, MEMORY = "ECSServiceAverageCPUUtilization", "ECSServiceAverageMemoryUtilization"
ALB = "ALBRequestCountPerTarget"
LABEL = "app/web/50dc6c495c0c9188/targetgroup/web/943f017f100becff"


@pytest.fixture(scope="module")
def scaling(sandbox):
    return sandbox.client("application-autoscaling")


@pytest.fixture(scope="module")
def services(sandbox):
    """service(name, desired=0) -> resource id of a new ECS service in the cluster t-scaling."""
    yield from scaling_services.services(sandbox)


def policy(name="cpu", metric=CPU, value=70, **fields):
    given = {"predefined_metric_type": metric, "target_value": value}
    return {"name": name, **{key: field for key, field in given.items() if field is not None}, **fields}


OWN = {"metric_name": "backlog", "namespace": "A", "statistic": "Average"}
MATH = [
    {
        "id": "m",
        "metric_stat": {"metric": {"metric_name": "m", "namespace": "A"}, "stat": "Sum"},
        "return_data": False,
    },
    {"id": "e", "expression": "m / 2"},
]
PREDEFINED = {"predefined_metric_type": "ECSServiceCPUUtilization"}
PAIR = {"predefined_metric_pair_specification": PREDEFINED}


def own(*metrics, **fields):
    """A customized metric in the place of a predefined one."""
    metric = {key: value for one in metrics for key, value in one.items()} | fields
    given = {key: value for key, value in metric.items() if value is not None}
    return {"customized_metric_specification": given or OWN}


def steps(*ranges, adjustment_type="ChangeInCapacity", **more):
    names = ("metric_interval_lower_bound", "metric_interval_upper_bound", "scaling_adjustment")
    adjustments = [dict(zip(names, one, strict=True)) for one in ranges]
    configuration = {"adjustment_type": adjustment_type, "step_adjustments": adjustments, **more}
    return {"name": "step", "policy_type": "StepScaling", "step_scaling_policy_configuration": configuration}


def forecast(metrics, **more):
    configuration = {"metric_specification": {"target_value": 40, **metrics}, **more}
    return {"name": "f", "policy_type": "PredictiveScaling", "predictive_scaling_policy_configuration": configuration}


def action(**fields):
    return {"name": "night", "schedule": "cron(0 20 ? * * 2099)", "min_capacity": 1, **fields}


def args(*targets, **more):
    return {"targets": list(targets), "tags": TAGS, **more}


def target(resource_id, **fields):
    return {"resource_id": resource_id, "min_capacity": 0, "max_capacity": 5, "policies": [policy()], **fields}


def registered(scaling, resource_id):
    found = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[resource_id])["ScalableTargets"]
    return found[0] if found else None


def policies(scaling, resource_id):
    found = scaling.describe_scaling_policies(ServiceNamespace="ecs", ResourceId=resource_id)["ScalingPolicies"]
    return {
        item["PolicyName"]: {"DisableScaleIn": False, **item["TargetTrackingScalingPolicyConfiguration"]}
        for item in found
    }


def where(resource_id):
    return {"ServiceNamespace": "ecs", "ResourceId": resource_id, "ScalableDimension": DIMENSION}


def test_create_many(quartet, services, scaling):
    one, two = services("t-create-one"), services("t-create-two")
    full = policy(scale_in_cooldown=300, scale_out_cooldown=60, disable_scale_in=True)
    result = quartet(
        "application_autoscaling",
        args(
            target(one, policies=[full, policy("memory", MEMORY, 80)]),
            target(two, policies=[policy("requests", ALB, 100, resource_label=LABEL)]),
        ),
    )
    assert [(change["action"], change["resource"]) for change in result["changes"]] == [
        ("create", f"scalable target {one}"),
        ("create", f"scaling policy cpu of {one}"),
        ("create", f"scaling policy memory of {one}"),
        ("create", f"scalable target {two}"),
        ("create", f"scaling policy requests of {two}"),
    ]
    there = registered(scaling, one)
    assert (there["MinCapacity"], there["MaxCapacity"]) == (0, 5)
    assert result["targets"][one]["arn"] == there["ScalableTargetARN"]
    assert scaling.list_tags_for_resource(ResourceARN=there["ScalableTargetARN"])["Tags"] == TAGS
    assert policies(scaling, one)["cpu"] == {
        "TargetValue": 70.0,
        "ScaleInCooldown": 300,
        "ScaleOutCooldown": 60,
        "DisableScaleIn": True,
        "PredefinedMetricSpecification": {"PredefinedMetricType": CPU},
    }
    assert policies(scaling, two)["requests"]["PredefinedMetricSpecification"]["ResourceLabel"] == LABEL


def test_check_mode_on_an_empty_account(module, calls):
    resource_id = "service/t-nowhere/t-nothing"
    result = module("application_autoscaling", args(target(resource_id)), check=True)
    assert [change["action"] for change in result["changes"]] == ["create", "create"]
    assert result["targets"][resource_id]["policies"]["cpu"]["target_value"] == 70
    assert result["targets"][resource_id]["arn"].startswith(
        "arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/(known after apply: "
    )
    assert calls.writes == []


def test_a_service_that_does_not_exist(module):
    result = module("application_autoscaling", args(target("service/t-nowhere/t-nothing")), expect_failure=True)
    assert "the service t-nothing does not exist in the cluster t-nowhere" in result["msg"]
    assert "run site.yml without --tags autoscaling" in result["msg"]


def test_a_step_policy_in_the_place_of_ours(quartet, services, scaling):
    wanted = args(target(services("t-step")))
    quartet("application_autoscaling", wanted)
    resource_id = wanted["targets"][0]["resource_id"]
    scaling.delete_scaling_policy(PolicyName="cpu", **where(resource_id))
    scaling.put_scaling_policy(
        PolicyName="cpu",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
        **where(resource_id),
    )
    paths = {change["path"] for change in quartet("application_autoscaling", wanted)["changes"]}
    assert paths == {
        "policy_type",
        "target_value",
        "predefined_metric_type",
        "step_scaling_policy_configuration",
    }
    assert policies(scaling, resource_id)["cpu"]["TargetValue"] == 70


def test_what_is_left_out_stays(quartet, services, scaling):
    resource_id = services("t-left-out")
    quartet("application_autoscaling", args(target(resource_id, policies=[policy(scale_in_cooldown=77)])))
    quartet("application_autoscaling", args(target(resource_id, policies=[policy(value=60)])))
    assert policies(scaling, resource_id)["cpu"]["ScaleInCooldown"] == 77
    quartet("application_autoscaling", {"targets": [{"resource_id": resource_id, "max_capacity": 8}]})
    assert (registered(scaling, resource_id)["MinCapacity"], list(policies(scaling, resource_id))) == (0, ["cpu"])


def test_a_policy_of_others_is_removed(quartet, services, scaling):
    wanted = args(target(services("t-fight")))
    quartet("application_autoscaling", wanted)
    resource_id = wanted["targets"][0]["resource_id"]
    scaling.put_scaling_policy(
        PolicyName="by-hand",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5,
            "PredefinedMetricSpecification": {"PredefinedMetricType": MEMORY},
        },
        **where(resource_id),
    )
    changes = quartet("application_autoscaling", wanted)["changes"]
    assert [(c["resource"], c["action"]) for c in changes] == [(f"scaling policy by-hand of {resource_id}", "delete")]
    assert list(policies(scaling, resource_id)) == ["cpu"]


def test_policies_swap_names(quartet, services, scaling):
    """AWS takes one policy a metric: neither could be written while the other is there."""
    resource_id = services("t-swap")
    quartet("application_autoscaling", args(target(resource_id, policies=[policy("a", CPU), policy("b", MEMORY)])))
    quartet("application_autoscaling", args(target(resource_id, policies=[policy("a", MEMORY), policy("b", CPU)])))
    quartet("application_autoscaling", args(target(resource_id, policies=[policy("c", MEMORY)])))
    assert list(policies(scaling, resource_id)) == ["c"]


def test_clamping_is_foretold(module, sandbox, services):
    resource_id = services("t-clamp", desired=3)

    def desired():
        found = sandbox.client("ecs").describe_services(cluster="t-scaling", services=["t-clamp"])["services"]
        return found[0]["desiredCount"]

    first = module("application_autoscaling", args(target(resource_id, max_capacity=2)), check=True)["changes"][0]
    assert "runs 3 tasks: AWS stops 1 of them" in first["note"]
    assert (first["impact"], desired()) == ("disruptive", 3)
    module("application_autoscaling", args(target(resource_id, max_capacity=2)))
    assert desired() == 2
    change = module("application_autoscaling", args(target(resource_id, min_capacity=4, max_capacity=6)))["changes"]
    assert [(c["path"], c["note"]) for c in change] == [
        ("min_capacity", "the service runs 2 tasks: AWS starts 2 more at once"),
        ("max_capacity", ""),
    ]
    assert desired() == 4
    quiet = module("application_autoscaling", args(target(resource_id, min_capacity=1, max_capacity=9)))["changes"]
    assert [c["note"] for c in quiet] == ["", ""]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"min_capacity": 6}, ("min_capacity (celery_min_count) is 6", "(celery_max_count) 5")),
        ({"min_capacity": None}, ("not registered yet", "min_capacity and max_capacity")),
        ({"policies": [policy(), policy("b")]}, ("one policy a metric", "cpu and b")),
        ({"policies": [policy(), policy(metric=MEMORY)]}, ("the same name",)),
        ({"policies": [policy(metric=ALB)]}, ("resource_label", "targetgroup")),
        ({"policies": [policy(resource_label=LABEL)]}, ("resource_label", "to it alone")),
        ({"policies": [policy(value=None)]}, ("policy cpu", "target_value is missing")),
        ({"policies": [policy(metric=None)]}, ("predefined_metric_type or customized", "not both")),
        ({"policies": [policy(**own({}))]}, ("predefined_metric_type or customized", "not both")),
        ({"policies": [policy(metric=None, **own(OWN, statistic=None))]}, ("namespace and statistic, or metrics",)),
        ({"policies": [policy(metric=None, **own(OWN, metrics=MATH))]}, ("has metrics, and so nothing else",)),
        ({"policies": [policy(metric=None, **own(metrics=MATH[1:] * 2))]}, ("two queries have the id e",)),
        (
            {"policies": [policy(metric=None, **own(metrics=MATH * 1 + [{**MATH[1], "id": "f"}]))]},
            ("return_data true",),
        ),
        ({"policies": [policy(metric=None, **own(metrics=[{"id": "e"}]))]}, ("an expression or a metric_stat",)),
        ({"policies": [policy(metric=None, **own(metrics=[{**MATH[1], "id": "E"}]))]}, ("a lower-case letter",)),
        ({"policies": [policy(policy_type="StepScaling")]}, ("does not belong to policy_type StepScaling",)),
        ({"policies": [{"name": "s", "policy_type": "StepScaling"}]}, ("needs step_scaling_policy_configuration",)),
        ({"policies": [steps((0, 1, 1), (2, None, 2))]}, ("overlap or leave a gap",)),
        ({"policies": [steps((0, 2, 1), (1, None, 2))]}, ("overlap or leave a gap",)),
        ({"policies": [steps((0, 1, 1))]}, ("no upper bound",)),
        ({"policies": [steps((-1, 0, 1))]}, ("no lower bound",)),
        ({"policies": [steps((None, None, 1))]}, ("neither a lower nor an upper bound",)),
        ({"policies": [steps((1, 1, 1))]}, ("not below its upper bound",)),
        ({"policies": [steps()]}, ("has 0 steps",)),
        ({"policies": [steps((0, None, -1), adjustment_type="ExactCapacity")]}, ("not negative",)),
        ({"policies": [steps((0, None, 1), min_adjustment_magnitude=1)]}, ("PercentChangeInCapacity",)),
        ({"policies": [forecast({})]}, ("needs a metric pair",)),
        (
            {"policies": [forecast({"predefined_load_metric_specification": PREDEFINED})]},
            ("one metric of scaling and one of load",),
        ),
        ({"policies": [forecast(PAIR, max_capacity_buffer=1)]}, ("max_capacity_buffer belongs to",)),
        ({"scheduled_actions": [action(schedule="0 20 * * *")]}, ("schedule is 0 20 * * *", "rate(5 minutes)")),
        ({"scheduled_actions": [action(min_capacity=None)]}, ("needs min_capacity or max_capacity",)),
        ({"scheduled_actions": [action(max_capacity=0)]}, ("cannot be more than the most",)),
        ({"scheduled_actions": [action(end_time="tomorrow")]}, ("end_time is tomorrow",)),
        ({"scheduled_actions": [action(start_time="2099-02-01", end_time="2099-01-01")]}, ("is not after start_time",)),
        ({"scheduled_actions": [action(), action()]}, ("two scheduled actions have the same name",)),
    ],
)
def test_refusals(module, calls, wrong, words):
    result = module(
        "application_autoscaling", args(target("service/t-scaling/t-refused", **wrong)), expect_failure=True
    )
    assert all(word in result["msg"] for word in words), result["msg"]
    assert calls.writes == []


def test_the_same_target_twice(module):
    twice = target("service/t-scaling/t-refused")
    result = module("application_autoscaling", args(twice, twice), expect_failure=True)
    assert "twice in targets" in result["msg"]


def test_somebody_elses_target_is_not_touched(module, left_alone, services, scaling):
    resource_id = services("t-foreign")
    scaling.register_scalable_target(
        **where(resource_id), MinCapacity=0, MaxCapacity=1, Tags={"Project": "nexus-learn", "Environment": "prod"}
    )
    result = module("application_autoscaling", args(target(resource_id)), expect_failure=True)
    assert "Environment=prod" in result["msg"]
    (warning,) = left_alone("application_autoscaling", args(target(resource_id)))
    assert warning.startswith(f"scalable target {resource_id} is left alone")
    assert registered(scaling, resource_id)["MaxCapacity"] == 1


def test_an_interrupted_run_is_completed(module, services, scaling, monkeypatch):
    from ansible_collections.nexus_learn.aws.plugins.module_utils import application_autoscaling

    resource_id = services("t-interrupted")
    wanted = args(target(resource_id, policies=[policy("a", CPU), policy("b", MEMORY)]))
    original, count = application_autoscaling._put_policy, []

    def dies(*arguments):
        count.append(1)
        if len(count) == 2:
            raise KeyboardInterrupt
        original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(application_autoscaling, "_put_policy", dies)
        with pytest.raises(KeyboardInterrupt):
            module("application_autoscaling", wanted)
    changes = module("application_autoscaling", wanted)["changes"]
    assert [(c["resource"], c["action"]) for c in changes] == [(f"scaling policy b of {resource_id}", "create")]
    assert list(policies(scaling, resource_id)) == ["a", "b"]


def test_absent(quartet, services, scaling):
    wanted = args(target(services("t-absent")))
    resource_id = wanted["targets"][0]["resource_id"]
    quartet("application_autoscaling", wanted)
    changes = quartet("application_autoscaling", {**wanted, "state": "absent"})["changes"]
    assert [(c["resource"], c["action"]) for c in changes] == [(f"scalable target {resource_id}", "delete")]
    assert registered(scaling, resource_id) is None
    assert policies(scaling, resource_id) == {}


def test_a_run_without_changes_reads_each_thing_once(module, services, scaling, calls):
    """However many targets: one call for 50 targets, 10 policies, 50 scheduled actions and the tags of one."""
    wanted = args(*(target(services(f"t-many-{number}")) for number in range(6)))
    module("application_autoscaling", wanted)
    calls.clear()
    assert module("application_autoscaling", wanted)["changes"] == []
    operations = [operation for _, operation in calls]
    policies = scaling.get_paginator("describe_scaling_policies").paginate(ServiceNamespace="ecs")
    pages = -(-len(policies.build_full_result()["ScalingPolicies"]) // 10)
    assert sorted(operations) == [
        "DescribeScalableTargets",
        *["DescribeScalingPolicies"] * pages,
        *["ListTagsForResource"] * 6,
    ]
    scheduled = args(*({**one, "scheduled_actions": []} for one in wanted["targets"]))
    calls.clear()
    assert module("application_autoscaling", scheduled)["changes"] == []
    assert [operation for _, operation in calls].count("DescribeScheduledActions") == len(calls) - len(operations) == 1


def test_a_tag_that_is_changed_by_hand_is_seen_at_once(module, services, scaling, calls):
    """Not from the Resource Groups Tagging API, which may for minutes say what was there before."""
    wanted = args(*(target(services(f"t-late-{number}")) for number in range(3)))
    module("application_autoscaling", wanted)
    changed = registered(scaling, wanted["targets"][1]["resource_id"])["ScalableTargetARN"]
    scaling.untag_resource(ResourceARN=changed, TagKeys=["ManagedBy"])
    calls.clear()
    assert [change["path"] for change in module("application_autoscaling", wanted, check=True)["changes"]] == [
        "tags.ManagedBy"
    ]
    assert {service for service, _ in calls} <= {"application-autoscaling", "ecs", "sts"}


def test_absent_finds_targets_by_their_beginning_and_tags(quartet, module, services, scaling):
    mine, other = [services(f"t-star-{letter}") for letter in "ab"], services("t-stars")
    module("application_autoscaling", args(*(target(resource_id) for resource_id in (*mine, other))))
    theirs = services("t-star-theirs")
    scaling.register_scalable_target(**where(theirs), MinCapacity=0, MaxCapacity=1)
    changes = quartet("application_autoscaling", args({"resource_id": "service/t-scaling/t-star-*"}, state="absent"))[
        "changes"
    ]
    assert [c["resource"] for c in changes] == [f"scalable target {resource_id}" for resource_id in mine]
    assert [bool(registered(scaling, resource_id)) for resource_id in (*mine, other, theirs)] == [0, 0, 1, 1]


def test_policies_of_all_kinds_and_their_arns(quartet, services, scaling):
    resource_id = services("t-kinds")
    kinds = [policy(), policy("own", None, **own(metrics=MATH)), steps((0, None, 1)), forecast(PAIR)]
    result = quartet("application_autoscaling", args(target(resource_id, policies=kinds)))
    there = scaling.describe_scaling_policies(ServiceNamespace="ecs", ResourceId=resource_id)["ScalingPolicies"]
    arns = {name: fields["arn"] for name, fields in result["targets"][resource_id]["policies"].items()}
    assert arns == {one["PolicyName"]: one["PolicyARN"] for one in there}


def test_what_a_schedule_has_set_is_no_drift(quartet, module, services, scaling):
    """Between evening and morning a run must not undo what the schedule did."""
    resource_id = services("t-night")
    actions = [action(min_capacity=0, max_capacity=0), action(name="day", min_capacity=0, max_capacity=5)]
    wanted = args(target(resource_id, scheduled_actions=actions))
    quartet("application_autoscaling", wanted)
    scaling.register_scalable_target(**where(resource_id), MinCapacity=0, MaxCapacity=0)  # as the schedule does
    result = module("application_autoscaling", wanted)
    assert result["changes"] == []
    assert result["targets"][resource_id]["max_capacity"] == 0
    # neither what is no schedule's doing, nor what a schedule did that nobody wants any more, stays
    scaling.register_scalable_target(**where(resource_id), MinCapacity=0, MaxCapacity=1)
    assert [c["path"] for c in quartet("application_autoscaling", wanted)["changes"]] == ["max_capacity"]
    scaling.register_scalable_target(**where(resource_id), MinCapacity=0, MaxCapacity=0)
    without = args(target(resource_id, scheduled_actions=actions[1:]))
    changes = quartet("application_autoscaling", without)["changes"]
    assert [(c["action"], c["path"]) for c in changes] == [("update", "max_capacity"), ("delete", "")]


def test_adopt_takes_over_exactly_what_differs(module, left_alone, services, scaling, calls):
    """A target that somebody else registered, with policies and a schedule of theirs."""
    resource_id = services("t-adopt")
    theirs = {"Project": "nexus-learn", "Environment": "prod", "Theirs": "1"}
    scaling.register_scalable_target(**where(resource_id), MinCapacity=0, MaxCapacity=1, Tags=theirs)
    scaling.put_scheduled_action(
        **where(resource_id),
        ScheduledActionName="theirs",
        Schedule="rate(900 days)",
        ScalableTargetAction={"MinCapacity": 0},
    )
    arn = registered(scaling, resource_id)["ScalableTargetARN"]
    wanted = args(target(resource_id, policies=[policy()], scheduled_actions=[action()]))
    calls.clear()
    assert "adopt" in module("application_autoscaling", wanted, expect_failure=True)["msg"]
    assert calls.writes == []
    adopting = {**wanted, "adopt": [f"scalable target {resource_id}"]}
    assert len(left_alone("application_autoscaling", adopting)) == 1
    foretold = module("application_autoscaling", adopting, check=True)["changes"]
    assert {(c["action"], c["resource"].partition(" of ")[0], c["path"]) for c in foretold} == {
        ("update", f"scalable target {resource_id}", "max_capacity"),
        ("update", f"scalable target {resource_id}", "tags.Environment"),
        ("update", f"scalable target {resource_id}", "tags.ManagedBy"),
        ("update", f"scalable target {resource_id}", "tags.Theirs"),
        ("create", "scaling policy cpu", ""),
        ("create", "scheduled action night", ""),
        ("delete", "scheduled action theirs", ""),
    }
    assert module("application_autoscaling", adopting)["changes"] == foretold
    assert module("application_autoscaling", wanted, check=True)["changes"] == []
    assert registered(scaling, resource_id)["ScalableTargetARN"] == arn
