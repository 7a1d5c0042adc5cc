"""Workers that come and go, and callers who write down what became of each of their jobs."""
import asyncio
import collections
import dataclasses
import json
import os
import re
import socket
import struct
import subprocess
import time

from harness import BIN
from station import Station

OUTCOMES = ("served", "refused", "gone")


class Floor(Station):
    """A station whose workers are listed by hand: `open(n)` and `shut(n)` write and remove EndpointSlices, as a cluster would."""

    def __init__(self, workers, pool="", listener="", top=""):
        super().__init__(whole=f"""log-jobs: all
{top}
pools: [{{ name: pods, service: shop/pods, port: http{pool and ', ' + pool} }}]
listeners:
  - name: http
    address: 127.0.0.1:0
    pool: pods
    expose: [lease, timing, endpoint]
    trust: {{ from: [127.0.0.0/8] }}
    {listener}
""")
        self.workers, self.listed = [], set()
        try:
            self.put("service.json", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pods", "namespace": "shop"},
                                      "spec": {"ports": [{"name": "http", "port": 1, "protocol": "TCP"}]}})
            for number in range(workers):
                self.workers.append(subprocess.Popen(
                    [str(BIN / "leasehold-example-worker"), "--port", "0", "--ready-file", str(self.home / f"w{number}"), "--violations",
                     str(self.home / "violations")], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log))
            self.ports = [int(self.until("a worker listens", lambda: self.read(f"w{n}").endswith("\n") and self.read(f"w{n}")).split()[1])
                          for n in range(workers)]
            self.open(*range(workers))
        except BaseException:
            self.stop()
            raise

    def read(self, name):
        path = self.home / name
        return path.read_text() if path.exists() else ""

    def put(self, name, document):
        (self.home / name).write_text(json.dumps(document))
        (self.home / name).rename(self.home / "endpoints.d" / name)

    def uid(self, number):
        return f"00000000-0000-4000-8000-{number:012d}"

    def open(self, *numbers, wait=True):
        for n in numbers:
            self.put(f"w{n}.json", {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": f"pods-{n}", "namespace": "shop", "labels": {"kubernetes.io/service-name": "pods"}},
                "ports": [{"name": "http", "port": self.ports[n], "protocol": "TCP"}],
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True},
                               "targetRef": {"kind": "Pod", "name": f"worker-{n}", "uid": self.uid(n)}}]})
        self.listed.update(numbers)
        if wait:
            self.until("the workers are known", lambda: self.pool()["total"] >= len(self.listed) and not self.pool()["waitsForRecovery"])

    def shut(self, *numbers):
        for n in numbers:
            (self.home / "endpoints.d" / f"w{n}.json").unlink()
        self.listed.difference_update(numbers)

    def pool(self):
        done = self.leasehold("show", "pools", "--json", check=False)
        return json.loads(done.stdout)[0] if done.returncode == 0 else collections.defaultdict(int, waitsForRecovery=True)

    def counts(self):
        """What the publisher was told last: accepted, the outcomes, and the reasons of refusals."""
        text = self.get("/metrics")[2]
        found = collections.Counter()
        for name, label, value in re.findall(r'^leasehold_(jobs|refused)_total\{pool="pods",(?:outcome|reason)="([^"]+)"\} (\S+)', text, re.M):
            if float(value):
                found[label if name == "jobs" else "refused " + label] = int(float(value))
        found["accepted"] = int(self.metric('leasehold_jobs_accepted_total{pool="pods"}') or 0)
        return found

    def lines(self):
        """The job-end lines, each as its facts."""
        text = (self.home / "log").read_text(errors="replace")
        return [dict(re.findall(r"([a-z-]+)=(\S+)", line)) for line in text.splitlines() if "A job ended" in line]

    def stop(self):
        for worker in self.workers:
            worker.kill()
            worker.wait()
        super().stop()


@dataclasses.dataclass
class Job:
    tenant: str
    urgency: int
    ms: int = 20
    prefer: str = ""
    affinity: str = ""
    leaves: float = 0  # seconds after which its caller leaves; 0 for one that stays
    # What became of it:
    began: float = 0
    ended: float = 0
    outcome: str = ""
    reason: str = ""
    status: int = 0
    lease: str = ""
    endpoint: str = ""
    pid: int = 0
    hold: float = 0  # milliseconds, as the answer says
    problem: dict = dataclasses.field(default_factory=dict)

    @property
    def wall(self):
        return (self.ended - self.began) * 1000


async def call(station, job):
    """One job on a connection of its own. One whose caller leaves asks for more than it waits for, so that it is never served before."""
    host, port = station.caller.removeprefix("http://").split(":")
    ms = 600_000 if job.leaves else job.ms
    lines = [f"GET /?ms={ms}&linger=0 HTTP/1.1", "Host: crowd", f"Leasehold-Tenant: {job.tenant}", f"Priority: u={job.urgency}", "Connection: close"]
    if job.prefer:
        lines.append(f"Prefer: {job.prefer}")
    if job.affinity:
        lines.append(f"Leasehold-Affinity: {job.affinity}")
    job.began = time.monotonic()
    writer = None
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("\r\n".join(lines + ["", ""]).encode())
        answer = await asyncio.wait_for(reader.read(), job.leaves or 90)
        job.ended = time.monotonic()
        read(job, answer)
    except (asyncio.TimeoutError, TimeoutError):
        job.ended = time.monotonic()
        job.outcome = "gone" if job.leaves else "never answered"
    except OSError as error:
        job.ended = time.monotonic()
        job.outcome, job.reason = "cut", type(error).__name__
    finally:
        if writer:
            # A reset: one that only closes might still want to read, for all that HTTP knows.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
    return job


def read(job, answer):
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        job.outcome, job.reason = "cut", f"after {len(answer)} bytes"
        return
    first, *fields = head.decode().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in fields)}
    job.status = int(first.split()[1])
    job.lease, job.endpoint = fields.get("leasehold-lease", ""), fields.get("leasehold-endpoint", "")
    job.pid = int(fields.get("worker-pid", 0))
    found = re.search(r"hold;dur=([\d.]+)", fields.get("server-timing", ""))
    job.hold = float(found.group(1)) if found else 0
    if job.status == 200:
        job.outcome = "served" if len(body) == int(fields.get("content-length", -1)) else "cut"
    else:
        job.outcome, job.reason = "refused", fields.get("leasehold-reason", "")
        job.problem = json.loads(body)


async def begin(station, jobs, gaps):
    """Begins each job `gap` seconds after the one before."""
    tasks = []
    for job, gap in zip(jobs, gaps):
        await asyncio.sleep(gap)
        tasks.append(asyncio.create_task(call(station, job)))
    return tasks


async def gather(station, jobs, gaps):
    return await asyncio.gather(*await begin(station, jobs, gaps))


def count(jobs, *names):
    return collections.Counter(tuple(getattr(job, name) for name in names) for job in jobs)


def seed():
    value = int(os.environ.get("LEASEHOLD_SEED") or int.from_bytes(os.urandom(4), "big"))
    print(f"crowd: seed {value}", flush=True)
    return value
