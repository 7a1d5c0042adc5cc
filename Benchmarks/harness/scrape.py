"""What a scrape of the publisher costs with many pools and endpoints, and what of it the pool-keeper notices."""

import pathlib
import statistics
import time
import urllib.error
import urllib.request

from .contenders import RELEASE, manifests
from .processes import Cpu, Failed, Ports, Process, wait_for

POOLS = 100
ENDPOINTS = 100_000
SCRAPES = 50


def measure(directory: pathlib.Path, ports: Ports, plan: dict, pools: int = POOLS, endpoints: int = ENDPOINTS) -> dict:
    """Milliseconds of a scrape, and of the pool-keeper's CPU in each second without and with scrapes: what these add is a scrape's part."""
    home = directory / "scrape"
    (home / "endpoints.d").mkdir(parents=True)
    each = endpoints // pools
    for pool in range(pools):
        workers = [(f"10.{pool}.{one // 100}.{one % 100 + 1}", 80) for one in range(each)]
        (home / f"endpoints.d/{pool}.json").write_text(manifests(workers, f"w{pool}", pool * each))
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
