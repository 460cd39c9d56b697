"""Load balancers: traffic, health, draining, and what the API refuses."""

import http.client
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from sandbox import elbv2

number = count()
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody, and unlike a default context does not take 40 ms to make."""


class Program(ThreadingHTTPServer):
    """A target: answers /health with .code, everything else with its own port and what it received."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self, up=True):
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server_bind()
        self.code, self.hold, self.holding, self.checks = 200, threading.Event(), threading.Event(), 0
        self.hold.set()
        self.serving = False
        if up:
            self.start()

    def start(self):
        """Until now the port refuses connections, but nobody else can have it."""
        self.server_activate()
        self.serving = True
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def stop(self):
        self.hold.set()
        if self.serving:
            self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            self.server.checks += 1
            return self.respond(self.server.code, b"")
        if self.path == "/break":
            self.wfile.write(b"nonsense")
            self.close_connection = True
            return None
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nfirst\r\n")
            self.server.hold.wait(20)
            self.wfile.write(b"4\r\nlast\r\n0\r\n\r\n")
            return None
        if self.path == "/slow":
            self.server.holding.set()
            self.server.hold.wait(20)
        return self.respond(200, json.dumps({"port": self.server.port, "headers": dict(self.headers)}).encode())

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        self.respond(201, str(len(self.rfile.read(size))).encode())

    def respond(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def program():
    """Start targets; all are stopped at the end."""
    started = []

    def start(**options):
        started.append(Program(**options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


class Balancer:
    """A load balancer with one listener (port 80 forwards) and its target group."""

    def __init__(self, sandbox, listener=True, interval=30, **group):
        self.api = sandbox.client("elbv2")
        ec2 = sandbox.client("ec2")
        subnets = ec2.describe_subnets()["Subnets"][:2]
        name = f"balancer-{next(number)}"
        made = self.api.create_load_balancer(Name=name, Subnets=[one["SubnetId"] for one in subnets])["LoadBalancers"][
            0
        ]
        self.arn, self.dns_name = made["LoadBalancerArn"], made["DNSName"]
        self.group = self.api.create_target_group(
            Name=name, Protocol="HTTP", Port=8000, VpcId=subnets[0]["VpcId"], TargetType="ip",
            HealthCheckPath="/health", HealthCheckIntervalSeconds=interval, **group,
        )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
        if listener:
            self.listen()

    def listen(self, port=80, actions=None, **more):
        actions = actions or [{"Type": "forward", "TargetGroupArn": self.group}]
        made = self.api.create_listener(
            LoadBalancerArn=self.arn, Protocol=more.pop("Protocol", "HTTP"), Port=port, DefaultActions=actions, **more
        )
        return made["Listeners"][0]["ListenerArn"]

    def register(self, *programs):
        self.api.register_targets(TargetGroupArn=self.group, Targets=targets(*programs))

    def deregister(self, *programs):
        self.api.deregister_targets(TargetGroupArn=self.group, Targets=targets(*programs))

    def health(self):
        """{port: (state, reason)}"""
        found = self.api.describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        return {
            one["Target"]["Port"]: (one["TargetHealth"]["State"], one["TargetHealth"].get("Reason")) for one in found
        }

    def wait(self, port, state, seconds=30):
        return eventually(lambda: self.health().get(port, ("gone", None)), lambda health: health[0] == state, seconds)

    def get(self, path="/", **headers):
        """(status, body) of a request through the load balancer."""
        return fetch(f"http://{self.dns_name}{path}", **headers)


def targets(*programs):
    return [{"Id": "127.0.0.1", "Port": getattr(one, "port", one)} for one in programs]


def fetch(url, data=None, context=None, **headers):
    tls = urllib.request.HTTPSHandler(context=context or NO_TLS)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls, KeepRedirects)
    try:
        with opener.open(urllib.request.Request(url, data, headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers.get("Location") or refused.read().decode()


class KeepRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def eventually(function, holds, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        value = function()
        if holds(value):
            return value
        assert time.monotonic() < deadline, f"still {value!r}"
        time.sleep(0.05)


def test_requests_go_round_robin_to_healthy_targets_with_forwarded_headers(sandbox, program):
    balancer, one, two = Balancer(sandbox), program(), program()
    balancer.register(one, two)
    for target in (one, two):
        balancer.wait(target.port, "healthy")
    answers = [json.loads(balancer.get("/", **{"X-Forwarded-For": "10.9.8.7"})[1]) for _ in range(6)]
    assert sorted(answer["port"] for answer in answers) == sorted([one.port, two.port] * 3)
    headers = {name.lower(): value for name, value in answers[0]["headers"].items()}
    assert headers["x-forwarded-for"] == "10.9.8.7, 127.0.0.1"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", "80")
    assert headers["host"] == balancer.dns_name


def test_many_clients_at_once(sandbox, program):
    balancer, one = Balancer(sandbox), program()
    balancer.register(one)
    balancer.wait(one.port, "healthy")
    with ThreadPoolExecutor(20) as pool:
        assert {code for code, _ in pool.map(lambda _: balancer.get(), range(100))} == {200}


def test_bodies_stream_in_both_directions(sandbox, program):
    balancer, one = Balancer(sandbox), program()
    balancer.register(one)
    balancer.wait(one.port, "healthy")
    assert fetch(f"http://{balancer.dns_name}/", data=b"x" * 3_000_000) == (201, "3000000")
    one.hold.clear()
    connection = http.client.HTTPConnection(balancer.dns_name, timeout=10)
    connection.request("GET", "/stream")
    answer = connection.getresponse()
    assert answer.read(5) == b"first"  # arrives while the target still holds the rest back
    one.hold.set()
    assert answer.read() == b"last"


def test_503_without_targets_502_when_the_target_breaks_off(sandbox, program):
    balancer, one = Balancer(sandbox), program()
    assert balancer.get()[0] == 503
    balancer.register(one)
    balancer.wait(one.port, "healthy")
    assert balancer.get("/break")[0] == 502
    one.stop()
    assert balancer.get()[0] == 502
    balancer.deregister(one)
    assert balancer.get()[0] == 503


def test_the_dns_name_refuses_connections_until_there_is_a_listener(sandbox):
    balancer = Balancer(sandbox, listener=False)
    connection = http.client.HTTPConnection(balancer.dns_name, timeout=5)
    with pytest.raises(ConnectionRefusedError):
        connection.request("GET", "/")
    for _ in range(2):  # a second time: the port survives its listener
        listener = balancer.listen()
        assert balancer.get()[0] == 503
        balancer.api.delete_listener(ListenerArn=listener)
        with pytest.raises(ConnectionRefusedError):
            http.client.HTTPConnection(balancer.dns_name, timeout=5).request("GET", "/")
    described = balancer.api.describe_load_balancers(LoadBalancerArns=[balancer.arn])["LoadBalancers"][0]
    assert described["DNSName"] == balancer.dns_name


def test_health_follows_the_program(sandbox, program):
    balancer, one = Balancer(sandbox, Matcher={"HttpCode": "200-204,301"}), program()
    balancer.register(one)
    assert balancer.wait(one.port, "healthy") == ("healthy", None)
    one.code = 301
    seen = one.checks
    eventually(lambda: one.checks, lambda checks: checks > seen + 3)
    assert balancer.health()[one.port][0] == "healthy"
    one.code = 500
    assert balancer.wait(one.port, "unhealthy") == ("unhealthy", "Target.ResponseCodeMismatch")
    assert balancer.get()[0] == 200, "with nothing but unhealthy targets ALB fails open"
    one.code = 204
    balancer.wait(one.port, "healthy")


def test_a_target_that_is_not_up_yet_stays_initial_and_one_that_answers_wrongly_does_not(sandbox, program):
    balancer, wrong = Balancer(sandbox), program()
    wrong.code = 404
    late = program(up=False)
    balancer.register(wrong)
    balancer.wait(wrong.port, "unhealthy")
    balancer.register(late)
    eventually(lambda: balancer.health()[late.port], lambda health: health == ("initial", "Elb.InitialHealthChecking"))
    late.start()
    balancer.wait(late.port, "healthy")


def test_target_states_without_a_listener_and_without_a_registration(sandbox, program):
    balancer, one = Balancer(sandbox, listener=False), program()
    balancer.register(one)
    assert balancer.health() == {one.port: ("unused", "Target.NotInUse")}
    balancer.listen()
    balancer.wait(one.port, "healthy")
    asked = balancer.api.describe_target_health(TargetGroupArn=balancer.group, Targets=targets(1))
    assert asked["TargetHealthDescriptions"][0]["TargetHealth"]["Reason"] == "Target.NotRegistered"
    balancer.deregister(1)  # "If the specified target does not exist, the action returns successfully."


def test_a_draining_target_finishes_its_requests(sandbox, program):
    balancer, one = Balancer(sandbox), program()
    balancer.api.modify_target_group_attributes(
        TargetGroupArn=balancer.group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "3000"}]
    )
    balancer.register(one)
    balancer.wait(one.port, "healthy")
    one.hold.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(balancer.get, "/slow")
        assert one.holding.wait(20)
        balancer.deregister(one)
        assert balancer.health()[one.port] == ("draining", "Target.DeregistrationInProgress")
        assert balancer.get()[0] == 503
        one.hold.set()
        assert slow.result(20)[0] == 200
    eventually(balancer.health, lambda health: health == {})


def test_https_listener_redirect_rules_and_status(sandbox, program):
    balancer, one = Balancer(sandbox, listener=False), program()
    certificate = sandbox.client("acm").request_certificate(DomainName="sandbox.example")["CertificateArn"]
    redirect = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    http80 = balancer.listen(80, [{"Type": "redirect", "RedirectConfig": redirect}])
    balancer.listen(443, Protocol="HTTPS", Certificates=[{"CertificateArn": certificate}])
    balancer.api.create_rule(
        ListenerArn=http80,
        Priority=10,
        Conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/fixed/*"]}}],
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "410", "MessageBody": "no more"}}],
    )
    balancer.register(one)
    balancer.wait(one.port, "healthy")
    assert balancer.get("/fixed/x") == (410, "no more")
    code, location = balancer.get("/path?a=b")
    assert code == 301
    assert location.endswith("/path?a=b")
    trusting = ssl.create_default_context(cafile=sandbox.home / "ca.pem")
    code, body = fetch(location, context=trusting)
    assert code == 200
    assert json.loads(body)["port"] == one.port
    row = next(row for row in sandbox.status()["load_balancers"] if row["url"] == f"http://{balancer.dns_name}/")
    assert row["listeners"]["80"] == row["url"]
    assert location.startswith(row["listeners"]["443"])


def test_what_the_api_refuses(sandbox):
    balancer = Balancer(sandbox)
    with pytest.raises(ClientError, match="DuplicateListener"):
        balancer.listen()
    with pytest.raises(ClientError, match="ValidationError"):
        balancer.api.register_targets(TargetGroupArn=balancer.group, Targets=[{"Id": "no-address"}])
    with pytest.raises(ClientError, match="ValidationError"):
        balancer.register(70000)
    protect = [{"Key": "deletion_protection.enabled", "Value": "true"}]
    balancer.api.modify_load_balancer_attributes(LoadBalancerArn=balancer.arn, Attributes=protect)
    with pytest.raises(ClientError, match="OperationNotPermitted"):
        balancer.api.delete_load_balancer(LoadBalancerArn=balancer.arn)
    protect[0]["Value"] = "false"
    balancer.api.modify_load_balancer_attributes(LoadBalancerArn=balancer.arn, Attributes=protect)
    balancer.api.delete_load_balancer(LoadBalancerArn=balancer.arn)
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(balancer.dns_name, timeout=5).request("GET", "/")


def test_a_new_load_balancer_has_what_aws_gives_it(sandbox):
    balancer = Balancer(sandbox)
    [made] = balancer.api.describe_load_balancers(LoadBalancerArns=[balancer.arn])["LoadBalancers"]
    groups = sandbox.client("ec2").describe_security_groups(GroupIds=made["SecurityGroups"])["SecurityGroups"]
    assert (made["Scheme"], [group["GroupName"] for group in groups]) == ("internet-facing", ["default"])
    found = balancer.api.describe_load_balancer_attributes(LoadBalancerArn=balancer.arn)["Attributes"]
    assert {one["Key"]: one["Value"] for one in found} == elbv2.BALANCER_DEFAULTS


def test_one_load_balancer_uses_a_target_group(sandbox):
    first, second = Balancer(sandbox), Balancer(sandbox)

    def users(group):
        [found] = first.api.describe_target_groups(TargetGroupArns=[group])["TargetGroups"]
        return found["LoadBalancerArns"]

    assert users(first.group) == [first.arn]
    stolen = [{"Type": "forward", "TargetGroupArn": first.group}]
    with pytest.raises(ClientError, match="TargetGroupAssociationLimit"):
        second.listen(81, stolen)
    [listener] = second.api.describe_listeners(LoadBalancerArn=second.arn)["Listeners"]
    with pytest.raises(ClientError, match="TargetGroupAssociationLimit"):
        second.api.modify_listener(ListenerArn=listener["ListenerArn"], DefaultActions=stolen)
    [listener] = first.api.describe_listeners(LoadBalancerArn=first.arn)["Listeners"]
    first.api.delete_listener(ListenerArn=listener["ListenerArn"])
    assert users(first.group) == []
    second.listen(81, stolen)
    assert users(first.group) == [second.arn]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("idle_timeout.timeout_seconds", "4001", "between '1-4000'"),
        ("client_keep_alive.seconds", "59", "between '60-604800'"),
        ("routing.http2.enabled", "yes", "must be one of"),
        ("routing.http.desync_mitigation_mode", "none", "must be one of"),
        ("routing.http.no_such_thing", "1", "not valid"),
        ("access_logs.s3.enabled", "true", "Access Denied for bucket"),
    ],
)
def test_attributes_of_a_load_balancer_that_are_refused(sandbox, key, value, reason):
    balancer = Balancer(sandbox)
    with pytest.raises(ClientError, match=reason):
        balancer.api.modify_load_balancer_attributes(
            LoadBalancerArn=balancer.arn, Attributes=[{"Key": key, "Value": value}]
        )


def test_settings_of_a_target_group_that_are_refused(sandbox):
    balancer = Balancer(sandbox)

    def refused(reason, **attributes):
        given = [{"Key": key.replace("__", "."), "Value": value} for key, value in attributes.items()]
        with pytest.raises(ClientError, match=reason):
            balancer.api.modify_target_group_attributes(TargetGroupArn=balancer.group, Attributes=given)

    refused("between '0-900'", slow_start__duration_seconds="901")
    refused("between 30 and 900", slow_start__duration_seconds="29")
    refused(
        "cannot enable slow start", slow_start__duration_seconds="30", load_balancing__algorithm__type="weighted_random"
    )
    refused("must be one of", load_balancing__algorithm__type="random")
    with pytest.raises(ClientError, match="must be smaller than the interval"):
        balancer.api.modify_target_group(TargetGroupArn=balancer.group, HealthCheckTimeoutSeconds=30)


def test_header_fields_as_the_attributes_say(sandbox, program):
    balancer, one = Balancer(sandbox), program()
    balancer.register(one)
    balancer.wait(one.port, "healthy")

    def received(**attributes):
        given = [{"Key": key.replace("__", "."), "Value": value} for key, value in attributes.items()]
        balancer.api.modify_load_balancer_attributes(LoadBalancerArn=balancer.arn, Attributes=given)
        answer = json.loads(balancer.get("/", **{"X-Forwarded-For": "10.9.8.7", "X_Odd": "1"})[1])["headers"]
        headers = {name.lower(): value for name, value in answer.items()}
        return headers.get("x-forwarded-for"), "x_odd" in headers

    assert received() == ("10.9.8.7, 127.0.0.1", True)
    assert received(routing__http__drop_invalid_header_fields__enabled="true") == ("10.9.8.7, 127.0.0.1", False)
    assert received(routing__http__xff_header_processing__mode="preserve") == ("10.9.8.7", False)
    assert received(routing__http__xff_header_processing__mode="remove") == (None, False)
    chain, _ = received(
        routing__http__xff_header_processing__mode="append", routing__http__xff_client_port__enabled="true"
    )
    assert chain.startswith("10.9.8.7, 127.0.0.1:")


def test_the_target_with_the_fewest_requests_gets_the_next(sandbox, program):
    balancer, busy, idle = Balancer(sandbox), program(), program()
    fewest = [{"Key": "load_balancing.algorithm.type", "Value": "least_outstanding_requests"}]
    balancer.api.modify_target_group_attributes(TargetGroupArn=balancer.group, Attributes=fewest)
    balancer.register(busy)
    balancer.wait(busy.port, "healthy")
    busy.hold.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(balancer.get, "/slow")
        assert busy.holding.wait(20)
        balancer.register(idle)
        balancer.wait(idle.port, "healthy")
        assert {json.loads(balancer.get()[1])["port"] for _ in range(4)} == {idle.port}
        busy.hold.set()
        assert slow.result(20)[0] == 200


def test_traffic_and_health_reach_cloudwatch(sandbox, program):
    balancer, one = Balancer(sandbox), program()
    balancer.register(one)
    balancer.wait(one.port, "healthy")
    for _ in range(3):
        balancer.get()
    dimensions = [{"Name": "LoadBalancer", "Value": balancer.arn.partition("loadbalancer/")[2]}]
    group = {"Name": "TargetGroup", "Value": balancer.group.rpartition(":")[2]}

    def total(metric, dimensions, statistic="Sum"):
        found = sandbox.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/ApplicationELB", MetricName=metric, Dimensions=dimensions, Statistics=[statistic],
            StartTime=time.time() - 600, EndTime=time.time() + 600, Period=3600,
        )  # fmt: skip
        return sum(point[statistic] for point in found["Datapoints"])

    eventually(lambda: total("RequestCount", dimensions), lambda value: value == 3)
    eventually(lambda: total("HealthyHostCount", [*dimensions, group], "Maximum"), lambda value: value == 1)
    assert total("HTTPCode_Target_2XX_Count", dimensions) == 3
    assert total("RequestCountPerTarget", [group]) == 3
    assert total("RequestCountPerTarget", [*dimensions, group]) == 3


def test_a_request_is_counted_for_one_minute_as_a_whole():
    published = []
    sandbox = SimpleNamespace(put_metric=lambda _, name, value, *more: published.append(name))
    traffic = elbv2.Traffic(sandbox)
    traffic.backends = list
    connection = SimpleNamespace(traffic=traffic, region="us-east-1", balancer_arn="a:loadbalancer/app/b/1")
    publishing = threading.Thread(target=traffic.publish_metrics)

    async def request():
        elbv2.Connection.count(connection, "RequestCount", "a:targetgroup/t/1")
        publishing.start()
        publishing.join(0.3)  # a minute that ends between the two has to wait
        elbv2.Connection.count(connection, "TargetResponseTime", "a:targetgroup/t/1", 0.5, total=False)

    traffic.start()
    traffic.within(request())
    publishing.join(20)
    assert {"RequestCount", "TargetResponseTime", "RequestCountPerTarget"} == set(published)
    traffic.loop.call_soon_threadsafe(traffic.loop.stop)
    traffic.join(20)
