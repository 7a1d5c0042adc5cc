"""A whole Leasehold under `leasehold up`, with a publisher, on ports that the kernel chose."""
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from harness import BIN, PATIENCE

ANYBODY = ssl._create_unverified_context()
WORKERS = """
    workers:
      command: [{bin}/leasehold-example-worker, --port, "{{port}}"]
      ports: {first}-{last}
      min: {least}
      max: {most}
"""


def free_ports(count):
    """A range of ports of which nobody listens on any at this moment, below those that the kernel gives to callers."""
    import random
    import socket
    while True:
        first = random.randrange(15000, 31000)
        sockets = []
        try:
            for port in range(first, first + count):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()


class Station:
    def __init__(self, least=2, most=4, more="", endpoints=0, scheme="http", service=False, hold="20s", pools="", to="pool: browsers", whole=None):
        """`more` belongs to the publisher, `pools` are more of them, `to` is where the listener's callers go. `whole` is a configuration of its own,
        without directories; its workers are in `endpoints.d`."""
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="station-"))
        first = free_ports(most + 1)
        pool = WORKERS.format(bin=BIN, first=first, last=first + most, least=least, most=most)
        source = ""
        if endpoints:
            write_slices(self.home / "endpoints.d", endpoints)
            source, pool = f"source: {{ directory: {self.home}/endpoints.d }}\n", "\n    service: shop/browsers\n    port: http\n"
        elif service:
            # A Service without endpoints of its own: it says where the pool belongs.
            write_slices(self.home / "endpoints.d", 0)
            source, pool = f"source: {{ directory: {self.home}/endpoints.d }}\n", "\n    service: shop/browsers\n    abandon: 1s" + pool
        text = (
            f"runtime-directory: {self.home}/run\nstate-directory: {self.home}/state\n{source}pools:\n  - name: browsers{pool}"
            f"    hold: {{ timeout: {hold} }}\n{pools}"
            f"listeners:\n  - {{ name: http, address: \"127.0.0.1:0\", {to}, deadlines: {{ first-byte: 0 }} }}\n"
            f"publisher:\n  address: 127.0.0.1:0\n{more}")
        if whole:
            (self.home / "endpoints.d").mkdir()
            text = (f"runtime-directory: {self.home}/run\nstate-directory: {self.home}/state\nsource: {{ directory: {self.home}/endpoints.d }}\n"
                    f"publisher: {{ address: 127.0.0.1:0 }}\n{whole}")
        (self.home / "c.yaml").write_text(text)
        self.log = open(self.home / "log", "wb")
        self.process = subprocess.Popen(
            [str(BIN / "leasehold"), "up", "--config", str(self.home / "c.yaml"), "--ready-file", str(self.home / "ready")],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        ready = self.until("ready", lambda: (self.home / "ready").exists() and json.loads((self.home / "ready").read_text()))
        self.processes = ready["processes"]
        self.addresses = addresses = {one["name"]: one["address"] for one in ready["listeners"]}
        self.caller, self.publisher = f"http://{addresses['http']}", f"{scheme}://{addresses['publisher']}"
        self.until("every process is heard", lambda: self.get("/readyz")[0] == 200 or endpoints or whole)

    def until(self, what, look, patience=PATIENCE):
        end = time.monotonic() + patience
        while True:
            seen = look()
            if seen:
                return seen
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"it did not come to this: {what}\n{self.trail()}")
            time.sleep(0.05)

    def trail(self):
        """The last of what was logged, the ends of jobs apart."""
        lines = (self.home / "log").read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if "A job ended" not in line)[-4000:]

    def get(self, path, accept=None, base=None, timeout=PATIENCE):
        """Status, headers and text."""
        request = urllib.request.Request((base or self.publisher) + path, headers={"Accept": accept} if accept else {})
        try:
            # Who it is, is tested elsewhere.
            with urllib.request.urlopen(request, timeout=timeout, context=ANYBODY if request.type == "https" else None) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.headers, answer.read().decode()

    def leasehold(self, *words, check=True):
        """What `leasehold WORDS` prints."""
        done = subprocess.run([str(BIN / "leasehold"), *map(str, words), "--config", str(self.home / "c.yaml")], capture_output=True, text=True)
        if check and done.returncode:
            raise AssertionError(f"leasehold {words}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout if check else done

    def show(self, what):
        return json.loads(self.leasehold("show", what, "--json"))

    def metric(self, sample):
        """The value of one sample, None where there is none."""
        for line in self.get("/metrics")[2].splitlines():
            if line.startswith(sample + " "):
                return float(line.rsplit(" ", 1)[1])
        return None

    def pid(self, name):
        """The process that has that name now."""
        done = subprocess.run(
            [str(BIN / "leasehold"), "show", "processes", "--json", "--config", str(self.home / "c.yaml")], capture_output=True, text=True)
        return next((p["pid"] for p in json.loads(done.stdout or "[]") if p["process"] == name), 0)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)


def write_slices(directory, count):
    """A Service with that many endpoints, every seventh not ready."""
    directory.mkdir()
    (directory / "service.json").write_text(json.dumps({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "browsers", "namespace": "shop"},
        "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}))
    for first in range(0, count, 1000):
        endpoints = [{
            "addresses": [f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}"], "conditions": {"ready": i % 7 != 0},
            "targetRef": {"kind": "Pod", "name": f"browser-{i}", "uid": f"00000000-0000-4000-8000-{i:012d}"}} for i in range(first, min(first + 1000, count))]
        (directory / f"slice-{first}.json").write_text(json.dumps({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"browsers-{first}", "namespace": "shop", "labels": {"kubernetes.io/service-name": "browsers"}},
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints}))
