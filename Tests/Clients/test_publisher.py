"""What the publisher tells, as its users ask: promtool, Prometheus, curl, and callers who do not care."""
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

from harness import BIN, PATIENCE, ROOT
from station import Station, free_ports

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")


class PublisherTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.station = Station()
        cls.addClassCleanup(cls.station.stop)

    def jobs(self, count, ms=0, spread=8):
        with concurrent.futures.ThreadPoolExecutor(spread) as pool:
            return list(pool.map(lambda _: self.station.get(f"/?ms={ms}", base=self.station.caller)[0], range(count)))

    def test_jobs_are_counted(self):
        before = self.station.metric('leasehold_leases_total{pool="browsers",outcome="served"}') or 0
        self.assertEqual(self.jobs(40), [200] * 40)
        self.station.until("the jobs are counted", lambda: self.station.metric('leasehold_leases_total{pool="browsers",outcome="served"}') >= before + 40)
        held = self.station.metric('leasehold_hold_seconds_count{pool="browsers",outcome="granted"}')
        self.assertGreaterEqual(held, 40)
        self.station.until("nobody has a worker any more", lambda: self.station.metric('leasehold_demand{pool="browsers"}') == 0)

    def test_both_formats_are_negotiated(self):
        for accept, kind in [(None, "text/plain"), ("*/*", "text/plain"), (OPEN_METRICS, "application/openmetrics-text"),
                             ("text/plain;q=0.9, application/openmetrics-text;version=1.0.0;q=0.5", "text/plain"), ("application/json", "text/plain")]:
            status, headers, text = self.station.get("/metrics", accept)
            self.assertEqual((status, headers.get_content_type()), (200, kind), accept)
            self.assertEqual(text.endswith("# EOF\n"), kind != "text/plain")

    @unittest.skipUnless(PROMTOOL, "no promtool (scripts/bootstrap test installs it)")
    def test_promtool_finds_nothing_to_complain_of(self):
        self.jobs(3)
        text = self.station.get("/metrics")[2]
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, text=True, capture_output=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    @unittest.skipUnless(PROMETHEUS and PROMTOOL, "no prometheus (scripts/bootstrap test installs it)")
    def test_a_prometheus_scrapes_it_with_the_sample_configuration_and_alerts(self):
        home = self.station.home / "prometheus"
        home.mkdir()
        port = free_ports(1)
        target = self.station.publisher.removeprefix("http://")
        sample = (ROOT / "deploy/prometheus/scrape.yaml").read_text()
        (home / "p.yaml").write_text(
            "global: { scrape_interval: 1s, evaluation_interval: 1s }\nrule_files: [alerts.yaml]\n" + sample.replace("127.0.0.1:9808", target))
        shutil.copy(ROOT / "deploy/prometheus/alerts.yaml", home / "alerts.yaml")
        for check in (["check", "config", home / "p.yaml"], ["check", "rules", home / "alerts.yaml"]):
            done = subprocess.run([PROMTOOL, *map(str, check)], text=True, capture_output=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        server = subprocess.Popen(
            [PROMETHEUS, f"--config.file={home}/p.yaml", f"--storage.tsdb.path={home}/data", f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=open(home / "log", "wb"), stderr=subprocess.STDOUT)
        base = f"http://127.0.0.1:{port}"

        def ask(query):
            try:
                answer = json.loads(self.station.get("/api/v1/query?query=" + query, base=base)[2])
            except (OSError, ValueError):  # not up yet, or still reading its own state
                return None
            return answer["data"]["result"][0]["value"][1] if answer["data"]["result"] else None

        try:
            self.station.until("Prometheus has scraped", lambda: ask("up") == "1", 60)
            # A minute at one scrape a second, jobs all the while.
            seconds = int(os.environ.get("LEASEHOLD_SCRAPE_SECONDS", "60"))
            for _ in range(seconds):
                self.jobs(2, ms=20)
                time.sleep(1)
            self.assertEqual(ask("min_over_time(up[1m])"), "1")
            self.assertGreater(int(ask("count_over_time(leasehold_demand[2m])")), seconds * 0.7)
            self.assertGreater(float(ask("leasehold_leases_total{outcome=%22served%22}")), 0)
            self.assertIsNotNone(ask("histogram_quantile(0.99,rate(leasehold_hold_seconds_bucket{outcome=%22granted%22}[1m]))"))
            targets = json.loads(self.station.get("/api/v1/targets", base=base)[2])["data"]["activeTargets"]
            self.assertEqual([(t["health"], t["lastError"]) for t in targets], [("up", "")])
            self.assertLess(targets[0]["lastScrapeDuration"], 0.5)
            self.assertGreater(self.station.metric('leasehold_publisher_scrapes_total{format="openmetrics"}'), 10)
        finally:
            server.terminate()
            server.wait()

    def test_health_status_and_the_shapes_that_others_expect(self):
        self.assertEqual(self.station.get("/healthz")[0], 200)
        self.assertEqual(self.station.get("/livez")[0], 200)
        status, headers, text = self.station.get("/readyz")
        self.assertEqual(status, 200)
        self.assertIn("[+]state is current\n", text)
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        document = json.loads(self.station.get("/statusz")[2])
        pool = document["pools"][0]
        self.assertLessEqual({"total", "ready", "free", "leased", "queued", "quarantined", "draining", "demand", "oldestWaitMs"}, set(pool))
        self.assertEqual(pool["pool"], "browsers")
        self.assertEqual(document["stateAgeMs"], 0)
        pressure = json.loads(self.station.get("/pressure")[2])["pressure"]
        self.assertTrue(pressure["isAvailable"])
        self.assertEqual(json.loads(self.station.get("/pressure?pool=browsers")[2])["pressure"]["maxQueued"], pressure["maxQueued"])
        self.assertEqual(self.station.get("/pressure?pool=nothing")[0], 404)
        selenoid = json.loads(self.station.get("/status")[2])
        self.assertEqual(set(selenoid), {"total", "used", "queued", "pending", "browsers"})
        self.assertEqual(self.station.get("/nothing")[0], 404)

    def test_a_killed_pool_keeper_leaves_numbers_with_their_age_and_counts_as_a_restart(self):
        before = self.station.metric('leasehold_process_restarts_total{process="pool-keeper"}')
        os.kill(self.station.pid("pool-keeper"), signal.SIGSTOP)  # so that it is not back before we look
        self.assertIsNotNone(self.station.metric('leasehold_demand{pool="browsers"}'))
        os.kill(self.station.pid("pool-keeper") or self.station.processes["pool-keeper"], signal.SIGKILL)
        self.station.until(
            "the restart is counted", lambda: self.station.metric('leasehold_process_restarts_total{process="pool-keeper"}') == before + 1)
        self.assertIsNotNone(self.station.metric('leasehold_demand{pool="browsers"}'))
        self.station.until("it is ready again", lambda: self.station.get("/readyz")[0] == 200)


class NobodyWaitsForThePublisher(unittest.TestCase):
    def test_killed_hung_and_slow_it_costs_no_job(self):
        station = Station()
        self.addCleanup(station.stop)
        failed, done = [], []
        stop = time.monotonic() + 15

        def call():
            while time.monotonic() < stop:
                status = station.get("/?ms=5", base=station.caller)[0]
                (done if status == 200 else failed).append(status)

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            callers = [pool.submit(call) for _ in range(4)]
            for _ in range(3):
                os.kill(station.pid("publisher"), signal.SIGKILL)
                time.sleep(0.8)
            # Stopped for longer than its watchdog would like: everybody's vitals wait in front of it.
            hung = station.pid("publisher")
            os.kill(hung, signal.SIGSTOP)
            time.sleep(4)
            os.kill(hung, signal.SIGCONT)
            # Slow: it is let go on for a twentieth of the time.
            for _ in range(10):
                slow = station.pid("publisher")
                os.kill(slow, signal.SIGSTOP)
                time.sleep(0.19)
                os.kill(slow, signal.SIGCONT)
                time.sleep(0.01)
            for caller in callers:
                caller.result()
        self.assertEqual(failed, [])
        self.assertGreater(len(done), 100)
        station.until("it is ready again", lambda: station.get("/readyz")[0] == 200)


@unittest.skipUnless(shutil.which("openssl"), "no openssl (scripts/bootstrap test installs it)")
class OverTLS(unittest.TestCase):
    def certificate(self, home, name):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", home / "new.key", "-out", home / "new.crt"], check=True, capture_output=True)
        (home / "new.key").rename(home / "tls.key")
        (home / "new.crt").rename(home / "tls.crt")

    def test_a_certificate_is_served_and_read_again_when_it_changes(self):
        home = pathlib.Path(tempfile.mkdtemp(prefix="tls-"))
        self.addCleanup(shutil.rmtree, home)
        self.certificate(home, "first")
        station = Station(more=f"  tls: {{ certificate: {home}/tls.crt, key: {home}/tls.key }}\n", scheme="https")
        self.addCleanup(station.stop)
        port = int(station.publisher.rsplit(":", 1)[1])

        def subject():
            context = ssl.create_default_context(cafile=str(home / "tls.crt"))
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as raw, context.wrap_socket(raw, server_hostname="127.0.0.1") as secured:
                return secured.getpeercert()["subject"][0][0][1]

        self.assertEqual(subject(), "first")
        status, _, text = station.get("/metrics")
        self.assertEqual(status, 200)
        self.assertIn("leasehold_process_up", text)

        def is_new():
            try:
                return subject() == "second"
            except ssl.SSLError:
                return False

        self.certificate(home, "second")
        station.until("the new certificate is served", is_new)
        # One that cannot be read leaves the old one in force.
        (home / "tls.crt").write_text("nonsense")
        station.until("it was noticed", lambda: "old one stays in force" in (station.home / "log").read_text() or not station.get("/healthz"))
        self.assertEqual(station.get("/healthz")[0], 200)


if __name__ == "__main__":
    unittest.main()
