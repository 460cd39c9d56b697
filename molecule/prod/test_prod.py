CLUSTER, WORKER, REDIS = "nexus-learn-prod-cluster", "nexus-learn-prod-celery-worker-service", "nexus-learn-prod-redis"


def primary(elasticache):
    group = elasticache.describe_replication_groups(ReplicationGroupId=REDIS)["ReplicationGroups"][0]
    members = group["NodeGroups"][0]["NodeGroupMembers"]
    return next((member["CacheClusterId"] for member in members if member.get("CurrentRole") == "primary"), None)


def test_it_is_what_the_inventory_says(client):
    group = client("elasticache").describe_replication_groups(ReplicationGroupId="nexus-learn-prod-redis")
    group = group["ReplicationGroups"][0]
    assert (group["AutomaticFailover"], group["MultiAZ"], group["SnapshotRetentionLimit"]) == ("enabled", "enabled", 7)
    found = client("ecs").describe_services(
        cluster="nexus-learn-prod-cluster", services=["nexus-learn-prod-celery-worker-service"]
    )
    assert found["services"][0]["runningCount"] == 3


def test_no_task_is_lost_in_a_failover(client, celery, eventually):
    """Ten tasks before it and ten after it, and the workers stay the ones they were."""
    app = celery("nexus-learn-prod")
    app.conf.update(broker_connection_retry_on_startup=True)

    def workers():
        return set(client("ecs").list_tasks(cluster=CLUSTER, serviceName=WORKER)["taskArns"])

    def send(text):
        return app.send_task("config.tasks.embed", args=[[text]], queue="embeddings")

    elasticache = client("elasticache")
    before = workers()
    sent = [send(f"before {number}") for number in range(10)]
    old = primary(elasticache)
    elasticache.test_failover(ReplicationGroupId=REDIS, NodeGroupId="0001")
    eventually(lambda: primary(elasticache) not in (None, old))
    sent += [send(f"after {number}") for number in range(10)]
    eventually(lambda: all(task.state == "SUCCESS" for task in sent), timeout=120)
    assert workers() == before
