"""The External Metrics API, asked as the API server's aggregator asks it: mutual TLS, front-proxy headers, and all that can be wrong with them."""
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import unittest
import urllib.parse

from certificates import Authority, replace
from harness import BIN, PATIENCE
from station import Station, free_ports

BASE = "/apis/external.metrics.k8s.io/v1beta1"
DEMAND = f"{BASE}/namespaces/shop/leasehold_demand?labelSelector=pool%3Dbrowsers"
FRONT_PROXY = {"X-Remote-User": "system:kube-aggregator", "X-Remote-Group": "system:masters"}
NAME = "leasehold-external-metrics.leasehold.svc"


class Cluster:
    """The certificates of a cluster, in files, and clients that use them."""

    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="external-"))
        self.serving, self.proxies = Authority("serving-ca"), Authority("front-proxy-ca")
        self.serve()
        (self.home / "request-header-ca.crt").write_bytes(self.proxies.pem)
        self.front_proxy = self.client(self.proxies.issue("front-proxy-client"))

    def serve(self, authority=None):
        """A new serving certificate, from that authority."""
        certificate, key = (authority or self.serving).issue("external-metrics", ["server"], ["127.0.0.1", NAME])
        replace(self.home / "tls.key", key)
        replace(self.home / "tls.crt", certificate)

    def client(self, pair, trust=None):
        """A TLS context that presents that certificate, or none."""
        context = ssl.create_default_context(cadata=(trust or self.serving).pem.decode())
        if pair:
            file = self.home / f"client-{os.urandom(4).hex()}.pem"
            file.write_bytes(pair[0] + pair[1])
            context.load_cert_chain(file)
        return context

    def configuration(self, address="127.0.0.1:0", more=""):
        return (f"  external-metrics:\n    address: {address}\n    certificate: {self.home}/tls.crt\n    key: {self.home}/tls.key\n"
                f"    request-header-ca: {self.home}/request-header-ca.crt\n{more}")

    def remove(self):
        shutil.rmtree(self.home, ignore_errors=True)


class Answer:
    def __init__(self, answer):
        self.status, self.headers, self.text = answer.status, answer.headers, answer.read().decode()
        self.received = datetime.datetime.now(datetime.timezone.utc)

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def values(self):
        return {item["metricLabels"]["pool"]: item["value"] for item in self.json["items"]}

    @property
    def age(self):
        times = [datetime.datetime.fromisoformat(item["timestamp"].replace("Z", "+00:00")) for item in self.json["items"]]
        return (self.received - min(times)).total_seconds()


def ask(address, context, path, headers=FRONT_PROXY, method="GET", body=None):
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPSConnection(host, int(port), timeout=PATIENCE, context=context)
    try:
        connection.request(method, path, body, headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def station(cluster, more=""):
    """A whole Leasehold whose pool is in namespace shop, with two workers of its own."""
    made = Station(most=2, service=True, hold="600s", more=cluster.configuration(more=more))
    made.external = {one["name"]: one["address"] for one in json.loads((made.home / "ready").read_text())["listeners"]}.get("external-metrics")
    if made.external is None:
        shown = subprocess.run(
            [str(BIN / "leasehold"), "show", "listeners", "--json", "--config", str(made.home / "c.yaml")], capture_output=True, text=True)
        made.external = {one["name"]: one["address"] for one in json.loads(shown.stdout)}["external-metrics"]
    return made


@contextlib.contextmanager
def callers(station, count, ms=600_000):
    """That many jobs that last."""
    host, port = station.caller.removeprefix("http://").rsplit(":", 1)
    sockets = []
    try:
        for _ in range(count):
            sockets.append(socket.create_connection((host, int(port)), timeout=PATIENCE))
            sockets[-1].sendall(f"GET /?ms={ms} HTTP/1.1\r\nHost: x\r\nPrefer: wait=600\r\n\r\n".encode())
        yield
    finally:
        for one in sockets:
            # A reset: one that only ends its own side may still want the answer.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()


class ExternalMetrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.remove)
        cls.station = station(cls.cluster)
        cls.addClassCleanup(cls.station.stop)

    def ask(self, path, context=None, **more):
        return ask(self.station.external, context or self.cluster.front_proxy, path, **more)

    def test_the_aggregator_discovers_the_group_and_its_metrics(self):
        # As its availability controller asks: 2xx is Available.
        answer = self.ask(BASE)
        self.assertEqual(answer.status, 200)
        self.assertEqual({r["name"] for r in answer.json["resources"]}, {"leasehold_demand", "leasehold_queue_depth", "leasehold_queue_oldest_seconds"})
        # As its discovery manager asks: the aggregated form first.
        aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
        self.assertEqual(self.ask("/apis", headers={**FRONT_PROXY, "Accept": aggregated}).json["kind"], "APIGroupList")
        self.assertEqual(self.ask("/apis/external.metrics.k8s.io").json["preferredVersion"]["version"], "v1beta1")
        # As its OpenAPI controllers ask.
        swagger = self.ask("/openapi/v2")
        self.assertEqual(swagger.json["swagger"], "2.0")
        self.assertEqual(self.ask("/openapi/v2", headers={**FRONT_PROXY, "If-None-Match": swagger.headers["ETag"]}).status, 304)
        url = self.ask("/openapi/v3").json["paths"]["apis/external.metrics.k8s.io/v1beta1"]["serverRelativeURL"]
        self.assertTrue(self.ask(url).json["openapi"].startswith("3.0"))

    def test_an_hpa_sees_demand_queue_and_oldest_wait(self):
        with callers(self.station, 5):
            self.station.until("the demand is told", lambda: self.ask(DEMAND).values == {"browsers": "5"})
            answer = self.ask(DEMAND)
            self.assertEqual(answer.headers.get_content_type(), "application/json")
            self.assertEqual((answer.json["kind"], answer.json["apiVersion"]), ("ExternalMetricValueList", "external.metrics.k8s.io/v1beta1"))
            self.assertEqual(answer.json["items"][0]["metricName"], "leasehold_demand")
            self.assertLess(answer.age, 5)
            self.assertIsNone(answer.headers["Warning"])
            self.station.until("two have their workers", lambda: self.ask(f"{BASE}/namespaces/shop/leasehold_queue_depth").values == {"browsers": "3"})
            oldest = self.ask(f"{BASE}/namespaces/shop/leasehold_queue_oldest_seconds").values["browsers"]
            seconds = float(oldest[:-1]) / 1000 if oldest.endswith("m") else float(oldest)
            self.assertGreater(seconds, 0)
            # On one connection, as the aggregator keeps it.
            host, port = self.station.external.rsplit(":", 1)
            connection = http.client.HTTPSConnection(host, int(port), timeout=PATIENCE, context=self.cluster.front_proxy)
            for selector, expected in [("pool in (browsers, other)", {"browsers": "5"}), ("pool notin (browsers)", {}), ("!pool", {}), ("pool!=x", {"browsers": "5"})]:
                connection.request("GET", f"{BASE}/namespaces/shop/leasehold_demand?" + urllib.parse.urlencode({"labelSelector": selector}), headers=FRONT_PROXY)
                self.assertEqual(Answer(connection.getresponse()).values, expected, selector)
            connection.close()
            elsewhere = self.ask(f"{BASE}/namespaces/other/leasehold_demand")
            self.assertEqual(elsewhere.values, {})
            self.assertIn("no pool has its Service in this namespace", elsewhere.headers["Warning"])
        self.station.until("they have left", lambda: self.ask(DEMAND).values == {"browsers": "0"})

    def test_errors_are_status_objects(self):
        for path, code, reason in [
            (f"{BASE}/namespaces/shop/leasehold_nothing", 404, "NotFound"), (f"{BASE}/namespaces/shop/leasehold_demand?labelSelector=a%3D%3D%3Db", 400, "BadRequest"),
            ("/apis/apps/v1", 404, "NotFound"), (f"{BASE}/namespaces/shop/leasehold_demand?watch=1", 405, "MethodNotAllowed"),
        ]:
            answer = self.ask(path)
            self.assertEqual((answer.status, answer.json["kind"], answer.json["reason"], answer.json["code"]), (code, "Status", reason, code), path)
        for method in ("POST", "DELETE"):
            answer = self.ask(DEMAND, method=method, body="{}")
            self.assertEqual((answer.status, answer.json["reason"], answer.headers["Allow"]), (405, "MethodNotAllowed", "GET, HEAD"))
        self.assertEqual(self.ask(DEMAND, headers={**FRONT_PROXY, "Accept": "application/vnd.kubernetes.protobuf"}).status, 406)
        head = self.ask(DEMAND, method="HEAD")
        self.assertEqual((head.status, head.text), (200, ""))

    def test_who_is_not_the_front_proxy_is_told_so_and_gets_nothing(self):
        proxies, other = self.cluster.proxies, Authority("front-proxy-ca")
        below = Authority("intermediate", parent=proxies)
        for what, pair, headers, code, text in [
            ("good", proxies.issue("front-proxy-client"), FRONT_PROXY, 200, ""),
            ("good, for whatever use", proxies.issue("front-proxy-client", uses=()), FRONT_PROXY, 200, ""),
            ("good, its use marked critical", proxies.issue("front-proxy-client", critical=True), FRONT_PROXY, 200, ""),
            ("good, below an intermediate", below.issue("front-proxy-client"), FRONT_PROXY, 200, ""),
            ("none", None, FRONT_PROXY, 401, "no client certificate"),
            ("expired", proxies.issue("front-proxy-client", begins=-2, ends=-1), FRONT_PROXY, 401, "refused"),
            ("not yet valid", proxies.issue("front-proxy-client", begins=1, ends=2), FRONT_PROXY, 401, "refused"),
            ("another authority of the same name", other.issue("front-proxy-client"), FRONT_PROXY, 401, "refused"),
            ("signed by itself", Authority("front-proxy-client").issue("front-proxy-client"), FRONT_PROXY, 401, "refused"),
            ("of the serving authority", self.cluster.serving.issue("front-proxy-client"), FRONT_PROXY, 401, "refused"),
            ("for servers", proxies.issue("front-proxy-client", uses=["server"]), FRONT_PROXY, 401, "refused"),
            ("another name", proxies.issue("kubelet"), FRONT_PROXY, 403, "kubelet"),
            ("no name", proxies.issue(""), FRONT_PROXY, 403, "allowed-names"),
            ("nobody behind it", proxies.issue("front-proxy-client"), {}, 401, "X-Remote-User"),
        ]:
            with self.subTest(what):
                context = self.cluster.client(pair)
                answer = self.ask(DEMAND, context, headers=headers)
                self.assertEqual(answer.status, code, answer.text)
                if code != 200:
                    status = answer.json
                    self.assertEqual((status["kind"], status["code"]), ("Status", code))
                    self.assertIn(text, status["message"])
                    self.assertEqual(self.ask("/apis", context, headers=headers).status, code)
                for probe in ("/healthz", "/livez", "/readyz", "/version"):
                    self.assertEqual(self.ask(probe, context, headers={}).status, 200)
        self.assertGreaterEqual(self.station.metric('leasehold_publisher_external_metrics_total{result="refused"}'), 10)
        self.assertIn("refused at the External Metrics API", (self.station.home / "log").read_text())

    def test_plain_http_is_not_spoken_there(self):
        host, port = self.station.external.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                self.assertNotIn(b"HTTP/1.1 200", plain.recv(4096))
            except ConnectionError:
                pass

    def test_who_says_nothing_takes_no_place_from_others(self):
        host, port = self.station.external.rsplit(":", 1)
        idle = []
        try:
            # More than there are places: half of them never speak TLS, the others stop in the middle of a head.
            for i in range(300):
                idle.append(socket.create_connection((host, int(port)), timeout=PATIENCE))
            for i in range(300):
                raw = socket.create_connection((host, int(port)), timeout=PATIENCE)
                secured = self.cluster.client(None).wrap_socket(raw, server_hostname="127.0.0.1")
                secured.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
                idle.append(secured)
            for _ in range(20):
                begin = time.monotonic()
                self.assertEqual(self.ask(DEMAND).status, 200)
                self.assertLess(time.monotonic() - begin, 5)
        finally:
            for one in idle:
                one.close()

    def test_a_new_certificate_is_served_and_a_bad_one_is_not(self):
        other = Authority("next-serving-ca")
        trusting_next = self.cluster.client(self.cluster.proxies.issue("front-proxy-client"), trust=other)
        try:
            def is_next():
                try:
                    return self.ask(DEMAND, trusting_next).status == 200
                except ssl.SSLCertVerificationError:
                    return False

            self.assertFalse(is_next())
            self.cluster.serve(other)
            self.station.until("the new certificate is served", is_next)
            replace(self.cluster.home / "tls.crt", b"nonsense")
            log = self.station.home / "log"
            self.station.until("it is said that it cannot be used", lambda: is_next() and "old one stays in force" in log.read_text())
            self.assertTrue(is_next())
        finally:
            self.cluster.serve()
            self.station.until("the first authority's is served again", self.is_served)

    def is_served(self):
        try:
            return self.ask(DEMAND).status == 200
        except ssl.SSLCertVerificationError:
            return False

    def test_a_new_request_header_authority_counts_for_connections_that_are_open_too(self):
        file = self.cluster.home / "request-header-ca.crt"
        next_authority = Authority("front-proxy-ca")
        next_proxy = self.cluster.client(next_authority.issue("front-proxy-client"))
        host, port = self.station.external.rsplit(":", 1)
        open_one = http.client.HTTPSConnection(host, int(port), timeout=PATIENCE, context=self.cluster.front_proxy)

        def on_open_one():
            open_one.request("GET", DEMAND, headers=FRONT_PROXY)
            return Answer(open_one.getresponse()).status

        try:
            self.assertEqual((on_open_one(), self.ask(DEMAND, next_proxy).status), (200, 401))
            # Both for a while, as a rotation goes.
            replace(file, self.cluster.proxies.pem + next_authority.pem)
            self.station.until("both are believed", lambda: self.ask(DEMAND, next_proxy).status == 200)
            self.assertEqual(on_open_one(), 200)
            replace(file, next_authority.pem)
            self.station.until("the old one is not", lambda: on_open_one() == 401)
            self.assertEqual(self.ask(DEMAND, next_proxy).status, 200)
        finally:
            open_one.close()
            replace(file, self.cluster.proxies.pem)
            self.station.until("as before", lambda: self.ask(DEMAND).status == 200)


class WhenThePoolKeeperIsAway(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.remove)

    def ask(self, path=DEMAND):
        return ask(self.station.external, self.cluster.front_proxy, path)

    def answered(self):
        """None while nobody answers."""
        try:
            return self.ask()
        except (OSError, http.client.HTTPException):
            return None

    def watch(self, what, done, patience=PATIENCE):
        """Asks until `done`; every answer with a value has that of five jobs, and none is older than it may be."""
        end, seen = time.monotonic() + patience, []
        while True:
            answer = self.ask()
            self.assertIn(answer.status, (200, 503), answer.text)
            if answer.status == 200:
                self.assertEqual(answer.values, {"browsers": "5"}, f"{answer.text}\n{answer.headers}\n{(self.station.home / 'log').read_text()[-3000:]}")
                self.assertLess(answer.age, self.most_age + 2)
            seen.append(answer)
            if done(answer):
                return seen
            self.assertLess(time.monotonic(), end, f"it did not come to this: {what}\n{(self.station.home / 'log').read_text()[-3000:]}")
            time.sleep(0.02)

    def test_its_last_word_stays_with_its_age_and_is_never_0(self):
        self.most_age = 8
        self.station = station(self.cluster, more=f"    max-age: {self.most_age}s\n")
        self.addCleanup(self.station.stop)
        with callers(self.station, 5):
            self.station.until("the demand is told", lambda: self.ask().values == {"browsers": "5"})
            for _ in range(3):
                # Killed: the next one begins with nothing, and is told of the jobs by the dispatcher.
                former = self.station.pid("pool-keeper")
                os.kill(former, signal.SIGKILL)
                end = time.monotonic() + 2
                self.watch("two seconds of it", lambda _: time.monotonic() > end)
                self.watch("it is current again", lambda answer: answer.status == 200 and answer.headers["Warning"] is None)
                self.assertNotEqual(self.station.pid("pool-keeper"), former)
            # Hung: nothing ends, and it has not spoken since.
            hung = self.station.pid("pool-keeper")
            os.kill(hung, signal.SIGSTOP)
            seen = self.watch("it is noticed", lambda answer: answer.headers["Warning"] is not None)
            self.assertGreater(seen[-1].age, 2)
            self.watch("its watchdog has replaced it", lambda answer: answer.status == 200 and answer.headers["Warning"] is None, 60)
            # Away: whoever could start it again is stopped.
            keeper = self.station.pid("pool-keeper")
            os.kill(self.station.process.pid, signal.SIGSTOP)
            try:
                os.kill(keeper, signal.SIGKILL)
                seen = self.watch("it is too old", lambda answer: answer.status == 503)
                stale = [answer.age for answer in seen if answer.status == 200 and answer.headers["Warning"]]
                self.assertGreater(max(stale) - min(stale), self.most_age - 3)
                self.assertEqual(stale, sorted(stale), "it does not grow")
                self.assertIn("old", seen[-1].json["message"])
                self.assertEqual(seen[-1].json["reason"], "ServiceUnavailable")
                # Now: `up` takes all of its children for hung when it goes on, and starts them again.
                counted = {
                    result: self.station.metric(f'leasehold_publisher_external_metrics_total{{result="{result}"}}') for result in ("current", "stale", "blind")}
                self.assertTrue(all(count > 0 for count in counted.values()), counted)
            finally:
                os.kill(self.station.process.pid, signal.SIGCONT)
            # Everybody at once, dispatcher and pool-keeper too: of that the jobs need not come back, and what is told then is only to be current.
            self.station.until("it is current again", lambda: (answer := self.answered()) and answer.status == 200 and answer.headers["Warning"] is None, 60)

    def test_a_publisher_that_has_heard_nothing_says_so(self):
        port = free_ports(2)
        home = self.cluster.home
        (home / "c.yaml").write_text(
            f"runtime-directory: {home}/run\nstate-directory: {home}/state\nsource: {{ directory: {home} }}\npools:\n  - {{ name: browsers, service: shop/browsers }}\n"
            f"publisher:\n  address: 127.0.0.1:{port}\n" + self.cluster.configuration(f"127.0.0.1:{port + 1}"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(home / "log", "wb") as log:
            notify.bind(str(home / "notify"))
            notify.settimeout(PATIENCE)
            process = subprocess.Popen(
                [str(BIN / "leasehold-publisher"), "--config", str(home / "c.yaml")], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": str(home / "notify")})
            try:
                while "READY=1" not in notify.recv(4096).decode():
                    pass
                address = f"127.0.0.1:{port + 1}"
                answer = ask(address, self.cluster.front_proxy, DEMAND)
                self.assertEqual((answer.status, answer.json["kind"], answer.json["reason"]), (503, "Status", "ServiceUnavailable"))
                self.assertIsNone(answer.headers["Retry-After"])
                self.assertEqual(ask(address, self.cluster.front_proxy, "/readyz").status, 503)
                self.assertEqual(ask(address, self.cluster.front_proxy, BASE).status, 200)
                # A certificate that cannot be read is a wrong configuration, said at the start.
                process.terminate()
                self.assertEqual(process.wait(PATIENCE), 0)
                (home / "request-header-ca.crt").write_text("nonsense")
                process = subprocess.Popen([str(BIN / "leasehold-publisher"), "--config", str(home / "c.yaml")], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                self.assertEqual(process.wait(PATIENCE), 78)
                self.assertIn("request-header-ca", (home / "log").read_text())
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()


class NamesThatLeadHere(unittest.TestCase):
    """A page that a worker renders on this machine may make its own name lead to loopback (DNS rebinding)."""

    def test_a_name_that_is_not_ours_is_refused(self):
        made = Station(most=2, more="  hosts: [metrics.example.org]\n")
        self.addCleanup(made.stop)
        port = int(made.publisher.rsplit(":", 1)[1])

        def status(host, path="/metrics", version="HTTP/1.1"):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
                line = f"Host: {host}\r\n" if host is not None else ""
                connection.sendall(f"GET {path} {version}\r\n{line}Connection: close\r\n\r\n".encode())
                data = b""
                while piece := connection.recv(65536):
                    data += piece
            return int(data.split(b" ")[1])

        for host in ("127.0.0.1", f"127.0.0.1:{port}", "[::1]:80", "localhost", f"LOCALHOST:{port}", "metrics.example.org", "metrics.example.org:443"):
            self.assertEqual(status(host), 200, host)
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "example.org", "localhost.evil.example"):
            for path in ("/", "/metrics", "/statusz", "/events", "/healthz", "/nothing"):
                self.assertEqual(status(host, path), 421, (host, path))
        self.assertEqual(status(None, version="HTTP/1.0"), 200)


if __name__ == "__main__":
    unittest.main()
