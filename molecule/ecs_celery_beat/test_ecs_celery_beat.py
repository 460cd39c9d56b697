import os
import subprocess
import time

CLUSTER, SERVICE = "nexus-learn-cluster", "nexus-learn-celery-beat-service"


def running(client):
    arns = client("ecs").list_tasks(cluster=CLUSTER, serviceName=SERVICE)["taskArns"]
    tasks = client("ecs").describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"] if arns else []
    return [task for task in tasks if task["lastStatus"] == "RUNNING"]


def playbook(*arguments):
    converge = f"{os.environ['MOLECULE_SCENARIO_DIRECTORY']}/converge.yml"
    command = ["ansible-playbook", converge, "-i", "inventories/dev", "--tags", "ecs_celery_beat", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_there_is_exactly_one_and_it_ticks(client, connect, eventually):
    assert len(running(client)) == 1
    assert eventually(lambda: connect("nexus-learn").llen("embeddings"))


def test_ecs_does_not_move_it_between_zones(client):
    service = client("ecs").describe_services(cluster=CLUSTER, services=[SERVICE])["services"][0]
    assert service["availabilityZoneRebalancing"] == "DISABLED"


def test_there_are_never_two_during_a_deployment(client):
    before = running(client)[0]["taskArn"]
    run, seen = playbook("-e", "ecs_celery_beat_log_level=DEBUG"), []
    while run.poll() is None:
        seen.append(len(running(client)))
        time.sleep(0.05)
    assert run.returncode == 0, run.stdout.read()
    assert max(seen) == 1
    assert running(client)[0]["taskArn"] != before


def test_it_can_be_taken_away(client):
    run = playbook("-e", "enable_celery_beat=false")
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output
    assert running(client) == []
    assert client("ecs").describe_services(cluster=CLUSTER, services=[SERVICE])["services"][0]["status"] == "INACTIVE"
