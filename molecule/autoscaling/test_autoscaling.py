CLUSTER, SERVICE = "nexus-learn-cluster", "nexus-learn-celery-worker-service"


def test_targets_and_policies_are_as_given(client):
    scaling = client("application-autoscaling")
    target = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"][0]
    assert (target["ResourceId"], target["MinCapacity"], target["MaxCapacity"]) == (
        f"service/{CLUSTER}/{SERVICE}",
        1,
        2,
    )
    policies = scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
    given = {
        policy["PolicyName"]: (
            policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"],
            policy["TargetTrackingScalingPolicyConfiguration"]["ScaleOutCooldown"],
            policy["TargetTrackingScalingPolicyConfiguration"]["ScaleInCooldown"],
        )
        for policy in policies
    }
    assert given == {"nexus-learn-celery-worker-cpu": (60, 30, 120), "nexus-learn-celery-worker-memory": (5, 30, 120)}


def test_scheduled_actions_are_as_given(client):
    [action] = client("application-autoscaling").describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"]
    assert (action["ScheduledActionName"], action["Schedule"], action["Timezone"]) == (
        "nexus-learn-celery-worker-new-year",
        "cron(0 20 31 12 ? 2099)",
        "Europe/Berlin",
    )
    assert action["ScalableTargetAction"] == {"MinCapacity": 0, "MaxCapacity": 2}


def test_the_scaler_acts_up_to_max(client, eventually):
    def desired():
        return client("ecs").describe_services(cluster=CLUSTER, services=[SERVICE])["services"][0]["desiredCount"]

    eventually(lambda: desired() == 2, timeout=120)
    activities = client("application-autoscaling").describe_scaling_activities(ServiceNamespace="ecs")
    assert any(item["StatusCode"] == "Successful" for item in activities["ScalingActivities"])
