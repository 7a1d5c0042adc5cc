"""What a scrape of the publisher costs with many pools and endpoints, and what of it the pool-keeper notices."""

import json
import pathlib
import statistics
import time
import urllib.error
import urllib.request

from .contenders import RELEASE
from .processes import Cpu, Failed, Ports, Process, wait_for

POOLS = 100
ENDPOINTS = 100_000
SCRAPES = 50


def _manifest(pool: int, endpoints: int) -> str:
    """A Service and slices of a hundred endpoints."""
    name = f"w{pool}"
    items: list[dict] = [{
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "bench"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]},
    }]
    for part in range(endpoints // 100):
        items.append({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{name}-{part}", "namespace": "bench", "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            "endpoints": [{
                "addresses": [f"10.{pool}.{part}.{one + 1}"], "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{one}",
                "targetRef": {
                    "kind": "Pod", "namespace": "bench", "name": f"{name}-{part}-{one}", "uid": f"{pool:08d}-0000-4000-8000-{part * 100 + one:012d}",
                },
            } for one in range(100)],
        })
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def measure(directory: pathlib.Path, ports: Ports, plan: dict, pools: int = POOLS, endpoints: int = ENDPOINTS) -> dict:
    """Milliseconds of a scrape, and of the pool-keeper's CPU in each second without and with scrapes: what these add is a scrape's part."""
    home = directory / "scrape"
    (home / "endpoints.d").mkdir(parents=True)
    for pool in range(pools):
        (home / f"endpoints.d/{pool}.json").write_text(_manifest(pool, endpoints // pools))
    page = ports.take()
    config = home / "leasehold.yaml"
    config.write_text(
        f"runtime-directory: {home}/run\nstate-directory: {home}/state\nsource: {{ directory: {home}/endpoints.d }}\n"
        f"publisher: {{ address: '127.0.0.1:{page}' }}\npools:\n"
        + "".join(f"  - {{ name: p{pool}, service: bench/w{pool}, port: http }}\n" for pool in range(pools))
        + f"listeners:\n  - {{ name: bench, address: '127.0.0.1:{ports.take()}', protocol: http, pool: p0 }}\n")
    processes = [
        Process(name, [str(RELEASE / f"leasehold-{name}"), "--config", str(config), "--log-level", "warning"], home / f"{name}.log", plan["proxy"])
        for name in ("pool-keeper", "watcher", "dispatcher", "publisher")
    ]
    keeper = processes[0]
    url = f"http://127.0.0.1:{page}/metrics"

    def scrape() -> str:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read().decode()

    def complete() -> bool:
        for process in processes:
            process.check_alive()
        try:
            lines = [line for line in scrape().splitlines() if line.startswith("leasehold_endpoints{")]
        except (urllib.error.URLError, OSError):
            return False
        return sum(float(line.rpartition(" ")[2]) for line in lines) == endpoints

    def keepers_share(seconds: float, work) -> float:
        before, began = Cpu.of(keeper.pid), time.monotonic()
        while time.monotonic() - began < seconds:
            work()
        return Cpu.of(keeper.pid).since(before)["total"] * 1000 / (time.monotonic() - began)

    try:
        wait_for(f"{endpoints} endpoints on {url}", complete, 60)
        quiet = keepers_share(5, lambda: time.sleep(0.1))
        times = []

        def timed() -> None:
            began = time.perf_counter()
            scrape()
            times.append((time.perf_counter() - began) * 1000)

        scraped = keepers_share(5, timed)
        if len(times) < SCRAPES:
            raise Failed(f"{url}: {len(times)} answers in 5 s")
        return {
            "pools": pools, "endpoints": endpoints, "bytes": len(scrape()), "scrapes": len(times), "median_ms": statistics.median(times),
            "p99_ms": sorted(times)[len(times) * 99 // 100], "keeper_ms_per_second": quiet, "keeper_ms_per_second_scraped": scraped,
            "keeper_ms_per_scrape": max(0, scraped - quiet) * 5 / len(times),
        }
    finally:
        for process in reversed(processes):
            process.stop()
