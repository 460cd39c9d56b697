import json
import urllib.request


def test_a_question_is_answered(client, eventually):
    url = "http://" + client("elbv2").describe_load_balancers(Names=["nexus-learn-alb"])["LoadBalancers"][0]["DNSName"]
    body = json.dumps({"student_id": "molecule", "question": "What is an index good for?"}).encode()
    request = urllib.request.Request(
        f"{url}/api/ai/ask-async/", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 202
        task_id = json.load(response)["task_id"]

    def done():
        with urllib.request.urlopen(f"{url}/api/ai/tasks/{task_id}/", timeout=10) as response:
            task = json.load(response)
        return task if task["state"] in ("SUCCESS", "FAILURE") else None

    task = eventually(done)
    assert task["state"] == "SUCCESS"
    assert task["result"]


def test_redis_takes_the_stack_and_nobody_else(client, connect):
    assert connect("nexus-learn").ping()
    group = client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": ["nexus-learn-redis"]}])
    rules = group["SecurityGroups"][0]["IpPermissions"]
    assert [rule["FromPort"] for rule in rules] == [6379]
    assert rules[0]["IpRanges"] == []
    assert len(rules[0]["UserIdGroupPairs"]) == 3


def test_the_containers_get_their_connection_by_secret(client):
    for family in ("backend", "celery-worker", "celery-beat"):
        definition = client("ecs").describe_task_definition(taskDefinition=f"nexus-learn-{family}")["taskDefinition"]
        container = definition["containerDefinitions"][0]
        assert {item["name"] for item in container["secrets"]} == {"CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"}
        assert {"REDIS_HOST", "REDIS_PORT"} <= {item["name"] for item in container["environment"]}
        assert container["readonlyRootFilesystem"]
