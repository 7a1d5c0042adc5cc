"""HAProxy and Leasehold, each configured for one scenario, on the same workers."""

import json
import pathlib
import socket
import subprocess
from dataclasses import dataclass, field

from . import backends
from .processes import Failed, Ports, Process, wait_for

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RELEASE = ROOT / ".build/release"


@dataclass(frozen=True)
class Setting:
    """One way to run a contender."""

    name: str
    kind: str                       # haproxy | leasehold
    protocol: str                   # tcp | http
    connections: str = "fresh"      # fresh | reuse, towards the workers
    splice: bool = False            # HAProxy only; Leasehold always does
    build: pathlib.Path = RELEASE   # Leasehold only: where its executables are


@dataclass
class Contender:
    setting: Setting
    address: tuple[str, int]
    processes: list[Process]        # all of them are measured
    control: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.setting.name

    @property
    def pids(self) -> dict[int, str]:
        return {process.pid: process.name for process in self.processes}

    def check_alive(self) -> None:
        for process in self.processes:
            process.check_alive()

    def counters(self) -> dict:
        """The counters of Leasehold's processes by process name; empty where there are none to ask for."""
        if not self.control or not pathlib.Path(self.control[0]).exists():
            return {}
        done = subprocess.run([*self.control], capture_output=True, text=True, timeout=10)
        try:
            return _counters_by_process(json.loads(done.stdout))
        except ValueError:
            return {}

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


def _counters_by_process(document) -> dict:
    rows = document.get("processes", document) if isinstance(document, dict) else document
    return {row.get("process", row.get("name", "?")): row.get("counters", {}) for row in rows if isinstance(row, dict)}


HAPROXY = """\
global
    nbthread 1
    maxconn 4500
    stats socket {directory}/haproxy-{name}.sock level admin
defaults
    mode {protocol}
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout queue 300s
{options}
frontend front
    bind {host}:{port} backlog 4096
    default_backend workers
backend workers
{servers}
"""


def haproxy(setting: Setting, workers: list[tuple[str, int]], directory: pathlib.Path, ports: Ports, plan: dict) -> Contender:
    port = ports.take()
    options = []
    if setting.protocol == "http":
        options = ["http-reuse always"] if setting.connections == "reuse" else ["option http-server-close", "http-reuse never"]
    if setting.splice:
        options.append("option splice-auto")
    servers = "\n".join(f"    server w{number} {host}:{at} maxconn 1" for number, (host, at) in enumerate(workers))
    config = directory / f"haproxy-{setting.name}.cfg"
    config.write_text(HAPROXY.format(
        directory=directory, name=setting.name, protocol=setting.protocol, host="127.0.0.1", port=port, servers=servers,
        options="\n".join(f"    {option}" for option in options)))
    process = Process("haproxy", ["haproxy", "-db", "-f", str(config)], directory / f"haproxy-{setting.name}.log", plan["proxy"])
    return Contender(setting, ("127.0.0.1", port), [process])


LEASEHOLD = """\
runtime-directory: {directory}/run
state-directory: {directory}/state
source:
  directory: {directory}/endpoints.d
pools:
  - name: bench
    service: bench/workers
    port: http
    policy: lease
    slots: 1
    hold: {{ timeout: 300s, max-queued: 10000 }}
    worker-connections: {connections}
listeners:
  - name: bench
    address: 127.0.0.1:{port}
    protocol: {protocol}
    {route}
"""


def manifests(workers: list[tuple[str, int]], name: str = "workers", first: int = 0) -> str:
    """A Service and EndpointSlices of a hundred endpoints, as Kubernetes writes them; their pods are numbered from `first`."""
    items: list[dict] = [{
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "bench"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]},
    }]
    numbered = list(enumerate(workers, first))
    for part, begin in enumerate(range(0, len(numbered), 100), 1):
        items.append({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{name}-{part}", "namespace": "bench", "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "http", "port": workers[0][1], "protocol": "TCP"}],
            "endpoints": [
                {
                    "addresses": [host], "conditions": {"ready": True, "serving": True, "terminating": False}, "nodeName": "bench",
                    "targetRef": {"kind": "Pod", "namespace": "bench", "name": f"w{number}", "uid": f"00000000-0000-4000-8000-{number:012d}"},
                }
                for number, (host, _) in numbered[begin:begin + 100]
            ],
        })
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)


def leasehold(setting: Setting, workers: list[tuple[str, int]], directory: pathlib.Path, ports: Ports, plan: dict) -> Contender:
    """Watcher, pool-keeper and dispatcher: what a fleet with its own workers needs. All three count."""
    home = directory / f"leasehold-{setting.name}"
    (home / "endpoints.d").mkdir(parents=True)
    (home / "endpoints.d/workers.json").write_text(manifests(workers))
    port = ports.take()
    config = home / "leasehold.yaml"
    route = "pool: bench" if setting.protocol == "tcp" else 'routes: [{ host: "*", path: /, pool: bench }]'
    config.write_text(LEASEHOLD.format(
        directory=home, connections=setting.connections, protocol=setting.protocol, port=port, route=route))
    processes = []
    for name in ("watcher", "pool-keeper", "dispatcher"):
        command = setting.build / f"leasehold-{name}"
        if not command.exists():
            raise Failed(f"{command} is missing: make build")
        log = directory / f"leasehold-{setting.name}-{name}.log"
        processes.append(Process(name, [str(command), "--config", str(config), "--log-level", "warning"], log, plan["proxy"]))
    show = [str(RELEASE / "leasehold"), "show", "processes", "--json", "--config", str(config)]
    return Contender(setting, ("127.0.0.1", port), processes, show)


def start(setting: Setting, workers: list[tuple[str, int]], directory: pathlib.Path, ports: Ports, plan: dict, ready: bool = True) -> Contender:
    """Starts a contender and returns when it serves (`ready`) or at least listens."""
    contender = (haproxy if setting.kind == "haproxy" else leasehold)(setting, workers, directory, ports, plan)

    def serves() -> bool:
        contender.check_alive()
        if ready:
            return backends.answers(contender.address)
        try:
            socket.create_connection(contender.address, 1).close()
            return True
        except OSError:
            return False

    try:
        wait_for(f"{setting.name} to {'serve' if ready else 'listen'}", serves)
    except Failed as failure:
        contender.stop()
        said = "\n".join(f"  {process.name}:\n{process.tail()}" for process in contender.processes)
        raise Failed(f"{failure}\n{said}") from None
    return contender
