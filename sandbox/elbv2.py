"""Application load balancers that balance: moto keeps the API's state, an asyncio thread moves the traffic.

Addresses. A load balancer's DNSName is `127.0.0.1:PORT`, reserved for its life and refusing connections until there is
a listener, so that `http://<DNSName>/` works. The listener with the lowest port (80 before 443) owns that port; each
further one gets a free port of its own, which `python -m sandbox status` shows. HTTPS listeners present a certificate
of the sandbox's authority.

Targets (target type `ip`; others keep moto's behaviour) are health-checked for real. Only loopback is dialled: any
other address times out, as an address does that nothing routes to. Differences from AWS, on purpose: a new target is
probed every quarter of a second, because nobody should wait 30 seconds for what is up after one, and it is not called
unhealthy for refusing connections in its first 15 seconds, because programs start no faster when time is scaled.

Sources: ELB API reference; "Health checks for Application Load Balancer target groups"; "Troubleshoot your Application
Load Balancers" (status codes); "CloudWatch metrics for your Application Load Balancer".
"""

import asyncio
import contextlib
import fnmatch
import ipaddress
import itertools
import logging
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections import Counter, defaultdict
from http import HTTPStatus

from .core import Sandbox

log = logging.getLogger("sandbox")

INITIAL_PROBE_SECONDS = 0.25
BOOT_SECONDS = 15.0
FASTEST_INTERVAL_SECONDS = 0.5
SHORTEST_TIMEOUT_SECONDS = 5.0
"""However time is scaled, a busy machine gets this long to answer a health check: it is no quicker for that."""
HEAD_LIMIT = 64 * 1024
CHUNK = 64 * 1024
NOT_IN_USE = "Target group is not configured to receive traffic from the load balancer"


VALID_HEADER = re.compile(r"[-A-Za-z0-9]+")
WHOLE_NUMBERS = {
    "idle_timeout.timeout_seconds": (1, 4000),
    "client_keep_alive.seconds": (60, 604800),
    "deregistration_delay.timeout_seconds": (0, 3600),
    "slow_start.duration_seconds": (0, 900),
}
CHOICES = {
    "routing.http.desync_mitigation_mode": ("monitor", "defensive", "strictest"),
    "routing.http.xff_header_processing.mode": ("append", "preserve", "remove"),
    "load_balancing.algorithm.type": ("round_robin", "least_outstanding_requests", "weighted_random"),
}
BALANCER_DEFAULTS = {
    **{f"{kind}.s3.enabled": "false" for kind in ("access_logs", "connection_logs", "health_check_logs")},
    **{
        f"{kind}.s3.{field}": ""
        for kind in ("access_logs", "connection_logs", "health_check_logs")
        for field in ("bucket", "prefix")
    },
    "client_keep_alive.seconds": "3600",
    "deletion_protection.enabled": "false",
    "idle_timeout.timeout_seconds": "60",
    "ipv6.deny_all_igw_traffic": "false",
    "load_balancing.cross_zone.enabled": "true",
    "routing.http.desync_mitigation_mode": "defensive",
    "routing.http.drop_invalid_header_fields.enabled": "false",
    "routing.http.preserve_host_header.enabled": "false",
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled": "false",
    "routing.http.xff_client_port.enabled": "false",
    "routing.http.xff_header_processing.mode": "append",
    "routing.http2.enabled": "true",
    "waf.fail_open.enabled": "false",
    "zonal_shift.config.enabled": "false",
}
"""Attributes of a new application load balancer (API_LoadBalancerAttribute)."""


def install(sandbox: Sandbox) -> None:
    """Put our request class in front of moto's elbv2 and start the forwarder."""
    import moto.elb.urls
    from moto.core.responses import ActionResult, EmptyResult
    from moto.elbv2.exceptions import DuplicateListenerError, ELBClientError, TargetGroupNotFoundError
    from moto.elbv2.models import FakeLoadBalancer
    from moto.elbv2.responses import ELBV2Response

    traffic = Traffic(sandbox)
    FakeLoadBalancer.VALID_ATTRS = FakeLoadBalancer.VALID_ATTRS | BALANCER_DEFAULTS.keys()

    def refuse_values(attributes: list[dict]) -> None:
        for attribute in attributes:
            key, value = attribute["Key"], attribute["Value"]
            least, most = WHOLE_NUMBERS.get(key, (None, None))
            if least is not None and not (value.isdigit() and least <= int(value) <= most):
                raise ELBClientError("ValidationError", f"'{key}' value '{value}' must be between '{least}-{most}'")
            choices = ("true", "false") if key.endswith(".enabled") else CHOICES.get(key)
            if choices and value not in choices:
                raise ELBClientError("ValidationError", f"'{key}' value '{value}' must be one of {list(choices)}")

    def refuse_logs(attributes: dict, region: str) -> None:
        for kind in ("access_logs", "connection_logs", "health_check_logs"):
            bucket = attributes.get(f"{kind}.s3.bucket")
            if attributes.get(f"{kind}.s3.enabled") != "true":
                continue
            try:
                sandbox.client("s3", region).head_bucket(Bucket=bucket)
            except Exception as error:
                reason = f"Access Denied for bucket: {bucket}. Please check S3bucket permission"
                raise ELBClientError("InvalidConfigurationRequest", reason) from error

    class Response(ELBV2Response):
        def call_action(self):
            answer = super().call_action()
            if not self._get_action().startswith("Describe"):
                traffic.sync()  # before the caller hears of it: what was created can be used at once
            return answer

        def group(self):
            found = self.elbv2_backend.target_groups.get(self._get_param("TargetGroupArn"))
            if found is None:
                raise TargetGroupNotFoundError()
            return found

        def create_load_balancer(self):
            answer = super().create_load_balancer()
            [balancer] = answer.result["LoadBalancers"]
            balancer.scheme = balancer.scheme or "internet-facing"
            if balancer.type == "application":
                balancer.attrs = dict(BALANCER_DEFAULTS)
            if not balancer.security_groups:
                groups = self.elbv2_backend.ec2_backend.groups[balancer.vpc_id].values()
                balancer.security_groups = [group.id for group in groups if group.name == "default"]
            traffic.sync()  # fills in the DNSName before the answer is written
            return answer

        def modify_load_balancer_attributes(self):
            balancer = self.elbv2_backend.load_balancers.get(self._get_param("LoadBalancerArn"))
            attributes = self._get_param("Attributes", [])
            if len(attributes) > 20:
                raise ELBClientError("ValidationError", "Member must have length less than or equal to 20")
            refuse_values(attributes)
            if balancer is not None:
                refuse_logs(balancer.attrs | {one["Key"]: one["Value"] for one in attributes}, self.region)
            return super().modify_load_balancer_attributes()

        def modify_target_group_attributes(self):
            group, attributes = self.group(), self._get_param("Attributes", [])
            refuse_values(attributes)
            wanted = group.attributes | {one["Key"]: one["Value"] for one in attributes}
            algorithm, slow = wanted["load_balancing.algorithm.type"], int(wanted["slow_start.duration_seconds"])
            if 0 < slow < 30:
                raise ELBClientError(
                    "ValidationError", f"Slow start duration '{slow}' must be 0, or between 30 and 900"
                )
            if slow and algorithm != "round_robin":
                reason = f"You cannot enable slow start with the load balancing algorithm {algorithm}"
                raise ELBClientError("InvalidConfigurationRequest", reason)
            return super().modify_target_group_attributes()

        def modify_target_group(self):
            group = self.group()
            interval = self._get_int_param("HealthCheckIntervalSeconds") or int(group.health_check_interval_seconds)
            timeout = self._get_int_param("HealthCheckTimeoutSeconds") or int(group.health_check_timeout_seconds)
            if timeout >= interval:
                reason = f"Health check timeout '{timeout}' must be smaller than the interval '{interval}'"
                raise ELBClientError("ValidationError", reason)
            return super().modify_target_group()

        def describe_target_groups(self):
            users = defaultdict(list)
            for balancer in self.elbv2_backend.load_balancers.values():
                for arn in sorted(traffic.used_by(balancer)):
                    users[arn].append(balancer.arn)
            for group in self.elbv2_backend.target_groups.values():
                group.load_balancer_arns = users[group.arn]
            return super().describe_target_groups()

        def delete_load_balancer(self):
            balancer = self.elbv2_backend.load_balancers.get(self._get_param("LoadBalancerArn"))
            if balancer and str(balancer.attrs.get("deletion_protection.enabled")).lower() == "true":
                reason = f"Load balancer '{balancer.arn}' cannot be deleted because deletion protection is enabled"
                raise ELBClientError("OperationNotPermitted", reason)
            return super().delete_load_balancer()

        def create_listener(self):
            balancer = self.elbv2_backend.load_balancers.get(self._get_param("LoadBalancerArn"))
            ports = {int(listener.port) for listener in balancer.listeners.values()} if balancer else set()
            if self._get_param("Port") in ports:  # moto looks for the port among the ARNs
                raise DuplicateListenerError()
            self.refuse_second_balancer(balancer)
            return super().create_listener()

        def modify_listener(self):
            arn = self._get_param("ListenerArn")
            balancers = self.elbv2_backend.load_balancers.values()
            self.refuse_second_balancer(next((one for one in balancers if arn in one.listeners), None))
            return super().modify_listener()

        def refuse_second_balancer(self, balancer):
            wanted = {arn for action in self._get_param("DefaultActions", []) for arn, _ in forwards(action)}
            for other in self.elbv2_backend.load_balancers.values():
                for arn in wanted & traffic.used_by(other):
                    if other is not balancer:
                        reason = f"Target group '{arn}' cannot be associated with more than one load balancer"
                        raise ELBClientError("TargetGroupAssociationLimit", reason)

        def register_targets(self):
            group = self.group()
            if group.target_type != "ip":
                return super().register_targets()
            for target in self._get_param("Targets", []):
                if not 1 <= int(target.get("Port") or group.port) <= 65535:
                    raise ELBClientError("ValidationError", f"Port '{target['Port']}' must be between 1 and 65535")
                try:
                    ipaddress.ip_address(target["Id"])
                except ValueError:
                    raise ELBClientError(
                        "ValidationError", f"The IP address '{target['Id']}' is not a valid IPv4 address"
                    ) from None
                traffic.register(group.arn, target["Id"], int(target.get("Port") or group.port))
            return EmptyResult()

        def deregister_targets(self):
            group = self.group()
            if group.target_type != "ip":
                return super().deregister_targets()
            for target in self._get_param("Targets", []):
                traffic.deregister(group, target["Id"], target.get("Port"))
            return EmptyResult()

        def describe_target_health(self):
            group = self.group()
            if group.target_type != "ip":
                return super().describe_target_health()
            return ActionResult({"TargetHealthDescriptions": traffic.health(group, self._get_param("Targets", []))})

    moto.elb.urls.ELBV2Response = Response
    sandbox.load_balancers = traffic
    sandbox.on_reset(traffic.clear)
    sandbox.on_stop(traffic.clear)
    sandbox.every(sandbox.minutes(1), traffic.publish_metrics)
    traffic.start()


class Target:
    """One registered address. State and reason are those of DescribeTargetHealth."""

    def __init__(self, address: str, port: int):
        self.address, self.port = address, port
        self.set("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
        self.registered = time.monotonic()
        self.streak = 0
        """Consecutive checks that speak against the present state."""
        self.requests: set[asyncio.Task] = set()
        self.checker: asyncio.Task | None = None

    def set(self, state: str, reason: str | None = None, description: str | None = None) -> None:
        self.state, self.reason, self.description = state, reason, description

    def judge(self, fault: tuple[str, str] | None, group, started: bool, interval: float) -> None:
        """Take in the result of one check: None when it passed, else (reason, description)."""
        if self.state == "draining":
            return
        if fault is None:
            self.streak = self.streak + 1 if self.state == "unhealthy" else 0
            # a new target needs one success, one that was unhealthy HealthyThresholdCount of them
            if self.state == "initial" or self.streak >= int(group.healthy_threshold_count):
                self.streak = 0
                self.set("healthy")
        elif self.state == "unhealthy":
            self.streak = 0
            self.set("unhealthy", *fault)
        elif self.state == "healthy":
            self.streak += 1
            if self.streak >= int(group.unhealthy_threshold_count):
                self.streak = 0
                self.set("unhealthy", *fault)
        else:
            patience = interval * int(group.unhealthy_threshold_count)
            if time.monotonic() - self.registered > (patience if started else max(patience, BOOT_SECONDS)):
                self.set("unhealthy", *fault)
            else:
                self.set("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")


class Traffic(threading.Thread):
    """Listening sockets, targets and requests; all but the public methods runs in the loop of this thread."""

    def __init__(self, sandbox: Sandbox):
        super().__init__(name="elbv2", daemon=True)
        self.sandbox = sandbox
        self.loop = asyncio.new_event_loop()
        self.targets: dict[str, dict[tuple[str, int], Target]] = defaultdict(dict)
        self.reserved: dict[tuple[str, int], socket.socket] = {}
        """(load balancer, 0 or listener port) -> bound socket; 0 is the port in the DNSName."""
        self.servers: dict[tuple[str, int], tuple[tuple, asyncio.Server]] = {}
        """(load balancer, listener port) -> (what it was opened for, server)."""
        self.syncing = asyncio.Lock()
        self.turn: dict[str, itertools.count] = defaultdict(itertools.count)
        self.counts: Counter = Counter()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def within(self, coroutine):
        """Run a coroutine in the loop from another thread and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    # What the API calls

    def sync(self) -> None:
        """Open and close listening sockets, and forget targets, until they match moto's state."""
        self.within(self._sync())

    def clear(self) -> None:
        """Close everything."""
        self.within(self._clear())

    def register(self, group_arn: str, address: str, port: int) -> None:
        self.within(self._register(group_arn, address, port))

    def deregister(self, group, address: str, port: int | None) -> None:
        """Without a port: the target group's, or whatever port this address is registered with."""
        keys = [key for key in self.targets[group.arn] if key[0] == address and port in (None, key[1])]
        for key in keys:
            self.within(self._drain(group, key))

    def health(self, group, asked: list[dict]) -> list[dict]:
        """TargetHealthDescriptions of the targets that were asked for, of all when none were."""
        targets = self.targets[group.arn]
        keys = [(one["Id"], int(one.get("Port") or group.port)) for one in asked] or list(targets)
        in_use = self.in_use(group.arn)
        answer = []
        for key in keys:
            target = targets.get(key)
            if target is None:
                health = ("unused", "Target.NotRegistered", "Target is not registered to the target group")
            elif not in_use and target.state != "draining":
                health = ("unused", "Target.NotInUse", NOT_IN_USE)
            else:
                health = (target.state, target.reason, target.description)
            named = zip(("State", "Reason", "Description"), health, strict=True)
            answer.append(
                {
                    "Target": {"Id": key[0], "Port": key[1]},
                    "HealthCheckPort": str(self.check_port(group, key[1])),
                    "TargetHealth": {name: text for name, text in named if text},
                }
            )
        return answer

    def urls(self, balancer_arn: str) -> dict[int, str]:
        """{listener port: URL on this machine} of a load balancer."""
        return {
            port: f"{opened_for[1].lower()}://127.0.0.1:{opened_for[2]}/"
            for (arn, port), (opened_for, _) in sorted(self.servers.items())
            if arn == balancer_arn
        }

    def publish_metrics(self) -> None:
        """AWS/ApplicationELB, once per AWS minute. Traffic metrics exist only for minutes with traffic, as on AWS."""
        counts = self.within(self._take_counts())

        def put(region: str, name: str, value: float, unit: str = "Count", **dimensions: str) -> None:
            self.sandbox.put_metric("AWS/ApplicationELB", name, value, dimensions, unit, region)

        healthy: Counter = Counter()
        for region, balancer, arn in self.pairs():
            states = Counter(target.state for target in list(self.targets[arn].values()))
            healthy[short(arn)] = states["healthy"]
            for name, state in (("HealthyHostCount", "healthy"), ("UnHealthyHostCount", "unhealthy")):
                put(region, name, states[state], LoadBalancer=short(balancer), TargetGroup=short(arn))
        for (region, name, balancer, group), value in counts.items():
            if group is None:
                put(region, name, value, LoadBalancer=balancer)
            elif name == "TargetResponseTime":
                mean = value / counts[region, "RequestCount", balancer, group]
                put(region, name, mean, "Seconds", LoadBalancer=balancer, TargetGroup=group)
            else:
                put(region, name, value, LoadBalancer=balancer, TargetGroup=group)
            if group and name == "RequestCount":
                per_target = value / (healthy[group] or 1)
                put(region, "RequestCountPerTarget", per_target, TargetGroup=group)
                put(region, "RequestCountPerTarget", per_target, LoadBalancer=balancer, TargetGroup=group)

    async def _take_counts(self) -> Counter:
        """In the loop: a request is counted for one minute as a whole."""
        counts, self.counts = self.counts, Counter()
        return counts

    # moto's state

    def backends(self):
        from moto.elbv2.models import elbv2_backends

        return list(elbv2_backends[self.sandbox.account_id].items())

    def balancers(self):
        """(region, load balancer) of all regions."""
        return [(region, one) for region, backend in self.backends() for one in list(backend.load_balancers.values())]

    def pairs(self) -> set[tuple[str, str, str]]:
        """(region, load balancer ARN, target group ARN) of all forward actions."""
        return {(region, balancer.arn, arn) for region, balancer in self.balancers() for arn in self.used_by(balancer)}

    def used_by(self, balancer) -> set[str]:
        """ARNs of the target groups that a load balancer forwards to."""
        return {
            arn
            for listener in list(balancer.listeners.values())
            for rule in list(listener.rules.values())
            for action in [*rule.actions, *listener.default_actions]
            for arn, _ in forwards(action.data)
        }

    def in_use(self, group_arn: str) -> bool:
        return any(arn == group_arn for _, _, arn in self.pairs())

    def group(self, arn: str):
        return next((b.target_groups[arn] for _, b in self.backends() if arn in b.target_groups), None)

    # Sockets

    async def _sync(self) -> None:
        async with self.syncing:
            await self._match_listeners()

    async def _match_listeners(self) -> None:
        wanted = {}
        for region, balancer in self.balancers():
            if (balancer.arn, 0) not in self.reserved:
                self.reserved[balancer.arn, 0] = reserve()
                balancer.dns_name = f"127.0.0.1:{self.reserved[balancer.arn, 0].getsockname()[1]}"
            listeners = sorted(balancer.listeners.values(), key=lambda listener: int(listener.port))
            for index, listener in enumerate(listeners):
                port = int(listener.port)
                key = (balancer.arn, 0 if index == 0 else port)
                if key not in self.reserved:
                    self.reserved[key] = reserve()
                address = self.reserved[key].getsockname()[1]
                wanted[balancer.arn, port] = (key, listener.protocol, address, listener.arn, region)
        for key, (opened_for, server) in list(self.servers.items()):
            if wanted.get(key) != opened_for:
                server.close()
                del self.servers[key]
                self.reserved[opened_for[0]] = reserve(opened_for[2])
        for key, opened_for in wanted.items():
            if key not in self.servers:
                self.servers[key] = (opened_for, await self._open(key, *opened_for))
        arns = {balancer.arn for _, balancer in self.balancers()}
        for key in [key for key in self.reserved if key[0] not in arns]:
            self.reserved.pop(key).close()
        for arn in [arn for arn in self.targets if self.group(arn) is None]:
            for target in self.targets.pop(arn).values():
                target.checker.cancel()

    async def _open(self, key, reserved_key, protocol: str, address: int, listener_arn: str, region: str):
        context = None
        if protocol == "HTTPS":
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*self.sandbox.authority.certificate())

        async def connected(reader, writer):
            await Connection(self, region, key[0], listener_arn, protocol.lower(), reader, writer).serve()

        log.info("load balancer %s: port %d is %s://127.0.0.1:%d", short(key[0]), key[1], protocol.lower(), address)
        return await asyncio.start_server(connected, sock=self.reserved[reserved_key], ssl=context, limit=HEAD_LIMIT)

    async def _clear(self) -> None:
        for _, server in self.servers.values():
            server.close()
        for bound in self.reserved.values():
            bound.close()
        for group in self.targets.values():
            for target in group.values():
                for task in (target.checker, *target.requests):
                    task.cancel()
        for collection in (self.servers, self.reserved, self.targets, self.turn, self.counts):
            collection.clear()

    # Targets

    async def _register(self, group_arn: str, address: str, port: int) -> None:
        known = self.targets[group_arn].get((address, port))
        if known and known.state != "draining":
            return
        target = self.targets[group_arn][address, port] = Target(address, port)
        target.checker = self.loop.create_task(self._check(group_arn, target))

    async def _drain(self, group, key: tuple[str, int]) -> None:
        """AWS completes deregistration at once when no request is in flight, else after the delay at the latest."""
        target = self.targets[group.arn].get(key)
        if target is None:
            return
        target.checker.cancel()
        target.set("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
        if target.requests:
            delay = float(group.attributes["deregistration_delay.timeout_seconds"]) / self.sandbox.time_scale
            self.loop.call_later(delay, self._gone, group.arn, target)
        else:
            self._gone(group.arn, target)

    def _gone(self, group_arn: str, target: Target) -> None:
        for task in target.requests:
            task.cancel()
        key = (target.address, target.port)
        if self.targets[group_arn].get(key) is target:
            del self.targets[group_arn][key]

    def check_port(self, group, port: int) -> int:
        return port if str(group.health_check_port) == "traffic-port" else int(group.health_check_port)

    async def _check(self, group_arn: str, target: Target) -> None:
        while (group := self.group(group_arn)) is not None:
            interval = max(FASTEST_INTERVAL_SECONDS, int(group.health_check_interval_seconds) / self.sandbox.time_scale)
            if self.in_use(group_arn):
                timeout = max(
                    SHORTEST_TIMEOUT_SECONDS, int(group.health_check_timeout_seconds) / self.sandbox.time_scale
                )
                fault, started = await self._probe(group, target, timeout)
                target.judge(fault, group, started, interval)
            else:  # checks begin when a listener uses the group
                target.registered = time.monotonic()
            await asyncio.sleep(INITIAL_PROBE_SECONDS if target.state == "initial" else interval)

    async def _probe(self, group, target: Target, timeout: float) -> tuple[tuple[str, str] | None, bool]:
        """((reason, description) or None when healthy, whether somebody answered at all)."""
        port = self.check_port(group, target.port)
        started = False
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await dial(target.address, port, group.health_check_protocol == "HTTPS")
                started = True
                try:
                    request = (
                        f"GET {group.health_check_path or '/'} HTTP/1.1\r\nHost: {target.address}:{port}\r\n"
                        "User-Agent: ELB-HealthChecker/2.0\r\nConnection: close\r\n\r\n"
                    )
                    writer.write(request.encode())
                    code = int((await reader.readline()).split()[1])
                finally:
                    writer.close()
        except TimeoutError:
            return ("Target.Timeout", "Request timed out"), started
        except (OSError, ValueError, IndexError, ssl.SSLError):
            return ("Target.FailedHealthChecks", "Health checks failed"), started
        if matches(group.matcher.get("HttpCode") or "200", code):
            return None, True
        return ("Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{code}]"), True


class Connection:
    """One client connection, one request: we close after the response, which every HTTP client copes with."""

    def __init__(self, traffic: Traffic, region, balancer_arn, listener_arn, scheme, reader, writer):
        self.traffic, self.region, self.balancer_arn, self.listener_arn = traffic, region, balancer_arn, listener_arn
        self.scheme, self.reader, self.writer = scheme, reader, writer

    async def serve(self) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.request()
        except (asyncio.LimitOverrunError, ValueError):
            await self.answer(400)
        except Exception:
            log.exception("load balancer %s", self.balancer_arn)
            await self.answer(500)
        finally:
            self.writer.close()

    async def request(self) -> None:
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, version = line.split(" ")
        headers = [(name, value.strip()) for name, _, value in (one.partition(":") for one in lines)]
        action = self.action(method, target, headers)
        if action is None:
            await self.answer(503)
        elif action["Type"] == "fixed-response":
            config = action["FixedResponseConfig"]
            body = config.get("MessageBody", "").encode()
            await self.answer(int(config["StatusCode"]), body, config.get("ContentType", "text/plain"))
        elif action["Type"] == "redirect":
            code = int(action["RedirectConfig"]["StatusCode"].removeprefix("HTTP_"))
            await self.answer(code, extra=[("Location", self.location(action["RedirectConfig"], target, headers))])
        elif action["Type"] == "forward":
            await self.forward(action, f"{method} {target} {version}", headers)
        else:
            log.warning("load balancer %s: action %s is not implemented", self.balancer_arn, action["Type"])
            await self.answer(500)

    def listeners(self):
        return next((b.listeners for _, b in self.traffic.balancers() if b.arn == self.balancer_arn), {})

    def action(self, method: str, target: str, headers) -> dict | None:
        """The last action of the first rule that matches, by priority; the default action otherwise."""
        listener = self.listeners().get(self.listener_arn)
        if listener is None:
            return None
        rules = [rule for rule in listener.rules.values() if rule.priority != "default"]
        for rule in sorted(rules, key=lambda rule: int(rule.priority)):
            if all(condition_holds(condition, method, target, headers) for condition in rule.conditions):
                return rule.actions[-1].data
        return listener.default_actions[-1].data

    def location(self, config: dict, target: str, headers) -> str:
        """#{...} placeholders as on AWS; a port that is one of our listeners becomes its port on this machine."""
        url = urllib.parse.urlsplit(target)
        host = next((value for name, value in headers if name.lower() == "host"), "127.0.0.1").partition(":")[0]
        values = {
            "protocol": self.scheme.upper(),
            "host": host,
            "port": str(self.listeners()[self.listener_arn].port),
            "path": url.path.lstrip("/"),
            "query": url.query,
        }

        def fill(name: str, default: str) -> str:
            text = config.get(name) or default
            for key, value in values.items():
                text = text.replace(f"#{{{key}}}", value)
            return text

        port = int(fill("Port", "#{port}"))
        local = self.traffic.urls(self.balancer_arn).get(port)
        port = urllib.parse.urlsplit(local).port if local else port
        query = fill("Query", "#{query}")
        scheme, host, path = fill("Protocol", "#{protocol}").lower(), fill("Host", "#{host}"), fill("Path", "/#{path}")
        address = f"{scheme}://{host}:{port}{path}"
        return address + (f"?{query}" if query else "")

    def pick(self, action: dict) -> tuple[str | None, Target | None]:
        """(target group, target): round robin over the weights, then over the healthy targets.

        When every target is unhealthy all of them get requests ("fail open", as on AWS); 503 is for none at all.
        """
        groups = [arn for arn, weight in forwards(action) for _ in range(weight)]
        if not groups:
            return None, None
        arn = groups[next(self.traffic.turn[self.listener_arn]) % len(groups)]
        targets = list(self.traffic.targets[arn].values())
        group = self.traffic.group(arn)
        least = group and group.attributes["load_balancing.algorithm.type"] == "least_outstanding_requests"
        for state in ("healthy", "unhealthy"):
            candidates = [target for target in targets if target.state == state]
            if candidates and least:
                fewest = min(len(target.requests) for target in candidates)
                candidates = [target for target in candidates if len(target.requests) == fewest]
            if candidates:
                return arn, candidates[next(self.traffic.turn[arn]) % len(candidates)]
        return arn, None

    async def forward(self, action: dict, line: str, headers) -> None:
        group_arn, target = self.pick(action)
        if target is None:
            await self.answer(503)
            return
        task = asyncio.current_task()
        target.requests.add(task)
        started = time.monotonic()
        try:
            code = await self.exchange(self.traffic.group(group_arn), target, line, headers)
            if code:
                self.count("RequestCount", group_arn)
                self.count(f"HTTPCode_Target_{code // 100}XX_Count", group_arn)
                self.count("TargetResponseTime", group_arn, time.monotonic() - started, total=False)
        finally:
            target.requests.discard(task)
            if target.state == "draining" and not target.requests:
                self.traffic._gone(group_arn, target)

    async def exchange(self, group, target: Target, line: str, headers) -> int | None:
        """Send the request, stream the response back; returns its status code, None when we had to answer ourselves."""
        upgrade = any(name.lower() == "upgrade" for name, _ in headers)
        try:
            async with asyncio.timeout(10):
                reader, writer = await dial(target.address, target.port, group.protocol == "HTTPS")
        except TimeoutError:
            await self.answer(504)
            return None
        except OSError:
            await self.answer(502)
            return None
        upload = None
        try:
            writer.write(encode(line, self.forwarded(headers, upgrade)))
            upload = asyncio.create_task(copy(self.reader, writer))
            try:
                code, head, length = await self.response_head(reader, upgrade)
            except TimeoutError:
                await self.answer(504)
                return None
            except (OSError, ValueError, IndexError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self.answer(502)
                return None
            self.writer.write(head)
            await copy(reader, self.writer, None if code == 101 else length)
            return code
        finally:
            if upload:
                upload.cancel()
            writer.close()

    async def response_head(self, reader, upgrade: bool) -> tuple[int, bytes, int | None]:
        """(status code, head to send, length of the body when it is known); interim 1xx responses are passed on."""
        while True:
            async with asyncio.timeout(self.idle_timeout()):
                head = await reader.readuntil(b"\r\n\r\n")
            line, *lines = head[:-4].decode("latin-1").split("\r\n")
            code = int(line.split(" ")[1])
            if code == 101:
                return code, head, None
            if code >= 200:
                break
            self.writer.write(head)
        headers = [(name, value.strip()) for name, _, value in (one.partition(":") for one in lines)]
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), None)
        kept = [(name, value) for name, value in headers if name.lower() not in ("connection", "keep-alive")]
        return code, encode(line, [*kept, ("Connection", "close")]), length

    def attributes(self) -> dict[str, str]:
        balancer = next((b for _, b in self.traffic.balancers() if b.arn == self.balancer_arn), None)
        return {**BALANCER_DEFAULTS, **(balancer.attrs if balancer else {})}

    def idle_timeout(self) -> float:
        return float(self.attributes()["idle_timeout.timeout_seconds"])

    def forwarded(self, headers, upgrade: bool):
        """The request's headers with the X-Forwarded ones that ALB adds."""
        attributes = self.attributes()
        client, port = self.writer.get_extra_info("peername")[:2]
        client += f":{port}" if attributes["routing.http.xff_client_port.enabled"] == "true" else ""
        if attributes["routing.http.drop_invalid_header_fields.enabled"] == "true":
            headers = [(name, value) for name, value in headers if VALID_HEADER.fullmatch(name)]
        listener = self.listeners().get(self.listener_arn)
        before = [value for name, value in headers if name.lower() == "x-forwarded-for"]
        chains = {"append": [", ".join([*before, client])], "preserve": before, "remove": []}
        dropped = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"} | (set() if upgrade else {"connection"})
        return [
            *((name, value) for name, value in headers if name.lower() not in dropped),
            *(("X-Forwarded-For", chain) for chain in chains[attributes["routing.http.xff_header_processing.mode"]]),
            ("X-Forwarded-Proto", self.scheme),
            ("X-Forwarded-Port", str(listener.port if listener else 0)),
            *([] if upgrade else [("Connection", "close")]),
        ]

    async def answer(self, code: int, body: bytes | None = None, content_type: str = "text/html", extra=()) -> None:
        """A response of the load balancer's own."""
        if code >= 500:
            self.count(f"HTTPCode_ELB_{code // 100}XX_Count", None)
        phrase = HTTPStatus(code).phrase
        if body is None:
            title = f"{code} {phrase}"
            body = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>".encode()
        headers = [("Server", "awselb/2.0"), ("Content-Type", content_type), ("Content-Length", str(len(body))), *extra]
        with contextlib.suppress(ConnectionError):
            self.writer.write(encode(f"HTTP/1.1 {code} {phrase}", [*headers, ("Connection", "close")]) + body)
            await self.writer.drain()

    def count(self, name: str, group_arn: str | None, value: float = 1, total: bool = True) -> None:
        """Count for the target group's minute and, with `total`, for the load balancer's."""
        balancer = short(self.balancer_arn)
        if group_arn:
            self.traffic.counts[self.region, name, balancer, short(group_arn)] += value
        if total:
            self.traffic.counts[self.region, name, balancer, None] += value


def reserve(port: int = 0) -> socket.socket:
    """A bound socket that refuses connections until it listens; a port given is taken over from a closed listener."""
    bound = socket.socket()
    if port:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))  # a new one without the option: nobody may be given the same port
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections inherit it and do not block a later bind
    bound.setblocking(False)
    return bound


def short(arn: str) -> str:
    """How CloudWatch dimensions name a load balancer (app/NAME/ID) or target group (targetgroup/NAME/ID)."""
    return arn.rpartition(":")[2].removeprefix("loadbalancer/")


def forwards(action: dict) -> list[tuple[str, int]]:
    """[(target group ARN, weight)] of an action."""
    if action.get("Type") != "forward":
        return []
    groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    if groups:
        return [(group["TargetGroupArn"], int(group.get("Weight", 1))) for group in groups]
    return [(action["TargetGroupArn"], 1)]


def matches(matcher: str, code: int) -> bool:
    """Whether an HttpCode matcher (`200`, `200,202`, `200-299`) holds for a status code."""
    for part in matcher.split(","):
        low, _, high = part.partition("-")
        if int(low) <= code <= int(high or low):
            return True
    return False


def condition_holds(condition: dict, method: str, target: str, headers) -> bool:
    """One rule condition; kinds that are not implemented never hold and say so in the log."""
    kind = condition["Field"]
    host = next((value for name, value in headers if name.lower() == "host"), "").partition(":")[0]
    subjects = {"path-pattern": target.partition("?")[0], "host-header": host.lower(), "http-request-method": method}
    subject = subjects.get(kind)
    if subject is None:
        log.warning("listener rule condition %s is not implemented", kind)
        return False
    config = next((condition[key] for key in condition if key.endswith("Config")), {})
    patterns = config.get("Values") or condition.get("Values") or []
    return any(fnmatch.fnmatchcase(subject, pattern) for pattern in patterns)


def encode(line: str, headers) -> bytes:
    return "\r\n".join([line, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1")


async def dial(address: str, port: int, tls: bool):
    """Connect to a target. ALB does not check a target's certificate. An address off this machine times out."""
    if not ipaddress.ip_address(address).is_loopback:
        raise TimeoutError
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection(address, port, ssl=context, limit=HEAD_LIMIT)


async def copy(reader, writer, length: int | None = None) -> None:
    """Stream until the end, or `length` bytes."""
    with contextlib.suppress(ConnectionError):
        while length is None or length > 0:
            data = await reader.read(CHUNK if length is None else min(CHUNK, length))
            if not data:
                break
            writer.write(data)
            await writer.drain()
            length = None if length is None else length - len(data)
