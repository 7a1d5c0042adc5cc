import base64
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from harness import BIN, PATIENCE
from origin import Origin, ask, response

KEY = {"Authorization": "Basic " + base64.b64encode(b"worker:worker-secret-01").decode()}
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: workers-1, namespace: shop, labels: {{ kubernetes.io/service-name: workers }} }}
addressType: IPv4
ports: [ {{ name: http, port: {port}, protocol: TCP }} ]
endpoints:
  - addresses: ["127.0.0.1"]
    conditions: {{ ready: true }}
    targetRef: {{ kind: Pod, name: w, uid: 6f1f8a3e-0000-4000-8000-000000000001 }}
"""
CONFIGURATION = """
runtime-directory: {home}/run
state-directory: {home}/state
source: {{ directory: {home}/endpoints }}
pools:
  - {{ name: workers, service: shop/workers, port: http, tenants: {{ ann: {{ weight: 1 }}, bob: {{ weight: 1 }} }} }}
listeners:
  - name: http
    address: 127.0.0.1:0
    trust: {{ from: [127.0.0.0/8], headers: [tenant, affinity] }}
    routes:
      - {{ path: /, pool: workers }}
asset-cache:
  address: 127.0.0.1:0
  directory: {home}/cache
  profiles: {{ leases: true }}
  keys:
    - {{ access-key: worker, secret: worker-secret-01, buckets: {{}}, tenants: {{ "*": read-write }} }}
"""


class LeaseTests(unittest.TestCase):
    """A worker saves its profile under its lease, through the real dispatcher, pool-keeper and asset cache."""

    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="leases-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.worker = Origin()
        self.addCleanup(self.worker.stop)
        (self.home / "endpoints").mkdir()
        (self.home / "endpoints" / "workers.yaml").write_text(SLICE.format(port=self.worker.port))
        (self.home / "c.yaml").write_text(CONFIGURATION.format(home=self.home))
        self.log = open(self.home / "log", "wb")
        self.process = subprocess.Popen(
            [str(BIN / "leasehold"), "up", "--config", str(self.home / "c.yaml"), "--ready-file", str(self.home / "ready")],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        self.addCleanup(self.end)
        deadline = time.monotonic() + PATIENCE
        while not (self.home / "ready").exists():
            self.assertLess(time.monotonic(), deadline, (self.home / "log").read_text())
            os.sched_yield()
        ready = json.loads((self.home / "ready").read_text())
        self.ports = {l["name"]: int(l["address"].rsplit(":", 1)[1]) for l in ready["listeners"]}
        self.processes = ready["processes"]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def put(self, lease, body=b"x", tenant="default"):
        headers = {**KEY, **({"Leasehold-Lease": lease} if lease else {})}
        reply = ask(self.ports["asset-cache"], f"/profiles/{tenant}/p", method="PUT", headers=headers, body=body)
        return reply.status, reply.headers.get("leasehold-reason")

    def job(self):
        """One job; returns its lease and what saving within it was answered with."""
        seen = []

        def work(request, connection):
            seen.append((request.headers["leasehold-lease"], self.put(request.headers["leasehold-lease"])))
            return response(body=b"done")
        self.worker.on["/job"] = work
        self.assertEqual(ask(self.ports["http"], "/job").body, b"done")
        # A lease outlives its response by a moment.
        deadline = time.monotonic() + PATIENCE
        while self.known() > 0:
            self.assertLess(time.monotonic(), deadline, "the lease never ended")
        return seen[0]

    def known(self):
        output = subprocess.run(
            [str(BIN / "leasehold"), "show", "processes", "--json", "--config", str(self.home / "c.yaml")], capture_output=True, timeout=PATIENCE)
        return {row["process"]: row["counters"] for row in json.loads(output.stdout)}["asset-cache"]["leases-known"]

    def test_a_live_lease_writes_and_a_dead_one_does_not(self):
        first, saved = self.job()
        self.assertEqual(saved, (201, None))
        # It ended with its job.
        self.assertEqual(self.put(first), (403, "lease-not-live"))
        second, saved = self.job()
        self.assertEqual(saved, (200, None))
        # The zombie of the first job comes late.
        self.assertEqual(self.put(first), (409, "lease-older"))
        self.assertEqual(self.put("workers/1.1"), (409, "lease-older"))
        self.assertEqual(self.put("others/1.1"), (403, "lease-not-live"))
        self.assertEqual(self.put(None), (403, "no-lease"))
        self.assertEqual(self.put("nonsense"), (403, "no-lease"))

    def test_a_lease_of_another_tenant_does_not_write(self):
        seen = []

        def work(request, connection):
            seen.append(self.put(request.headers["leasehold-lease"], tenant="ann"))
            return response(body=b"done")
        self.worker.on["/job"] = work
        ask(self.ports["http"], "/job")
        self.assertEqual(seen, [(403, "lease-not-live")])

    def test_two_tenants_write_their_own_profiles_under_their_own_leases_and_nobody_elses(self):
        seen = []

        def work(request, connection):
            lease = request.headers["leasehold-lease"]
            seen.append((request.headers.get("x-who"), {tenant: self.put(lease, tenant=tenant, body=lease.encode()) for tenant in ("ann", "bob", "default")}))
            return response(body=b"done")
        self.worker.on["/job"] = work
        for who in ("ann", "bob", "ann"):
            self.assertEqual(ask(self.ports["http"], "/job", headers={"Leasehold-Tenant": who, "X-Who": who}).body, b"done")
        for i, (who, answers) in enumerate(seen):
            for tenant, answer in answers.items():
                self.assertEqual(answer, ((200 if i == 2 else 201), None) if tenant == who else (403, "lease-not-live"), (i, who, tenant))
        # A tenant that nobody configured is the default one, whose profiles are its own.
        ask(self.ports["http"], "/job", headers={"Leasehold-Tenant": "stranger", "X-Who": "default"})
        self.assertEqual({t: a[0] for t, a in seen[-1][1].items()}, {"ann": 403, "bob": 403, "default": 201})

    def test_a_lease_that_outlives_the_pool_keeper_still_writes(self):
        gate, seen = threading.Event(), []

        def work(request, connection):
            os.kill(self.processes["pool-keeper"], signal.SIGKILL)
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                answer = self.put(request.headers["leasehold-lease"])
                if answer[0] in (200, 201):
                    seen.append(answer)
                    break
            return response(body=b"done")
        self.worker.on["/job"] = work
        self.assertEqual(ask(self.ports["http"], "/job").body, b"done")
        self.assertEqual(seen, [(201, None)])

    def test_without_the_pool_keeper_nobody_is_believed(self):
        os.kill(self.processes["pool-keeper"], signal.SIGSTOP)
        try:
            # A lease that it never told of is not live, and one that it told of stays so: it lives, and its link is up.
            self.assertEqual(self.put("workers/1.1")[0], 403)
        finally:
            os.kill(self.processes["pool-keeper"], signal.SIGCONT)


if __name__ == "__main__":
    unittest.main()
