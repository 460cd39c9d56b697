import os
import subprocess

CLUSTER = "nexus-learn-cluster"


def service(client, name):
    found = client("ecs").describe_services(cluster=CLUSTER, services=[f"nexus-learn-{name}-service"])
    return found["services"][0]


def log(client, group):
    events = client("logs").filter_log_events(logGroupName=f"/ecs/nexus-learn/{group}")["events"]
    return "\n".join(event["message"] for event in events)


def test_each_queue_is_worked_by_its_own_service(client, celery, eventually):
    app = celery("nexus-learn")
    task = app.send_task("config.tasks.embed", args=[["molecule"]], queue="embeddings")
    assert task.get(timeout=60)
    assert eventually(lambda: task.id in log(client, "celery-embeddings"))
    assert task.id not in log(client, "celery-langgraph")


def test_a_count_set_by_the_scaler_survives(client):
    assert service(client, "celery-embeddings")["desiredCount"] == 2


def test_a_crashing_worker_fails_the_play_and_the_old_one_serves_on(client, celery):
    before = service(client, "celery-langgraph")["taskDefinition"]
    converge = f"{os.environ['MOLECULE_SCENARIO_DIRECTORY']}/converge.yml"
    crash = ["--tags", "ecs_celery_worker", "-e", "ecs_celery_worker_app=nonsense.app"]
    done = subprocess.run(
        ["ansible-playbook", converge, "-i", "inventories/dev", *crash],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    text = " ".join((done.stdout + done.stderr).split())
    assert "exit code 2" in text
    assert "nonsense" in text.split("fatal:")[-1]
    assert service(client, "celery-langgraph")["taskDefinition"] == before
    assert celery("nexus-learn").send_task("config.tasks.embed", args=[["again"]], queue="embeddings").get(timeout=60)
