#!/usr/bin/env python3
"""Measures Leasehold beside HAProxy on the same workers, in one run. Benchmarks/README.md says how to read the result."""

import argparse
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace

from harness import backends, contenders, machine, report, rounds, scrape
from harness.contenders import Setting
from harness.priority import take_priority
from harness.processes import Failed, Ports

ROOT = pathlib.Path(__file__).resolve().parent.parent

# The first setting of each scenario is the base of its ratios.
SCENARIOS = {
    "tcp": ("TCP: one connection, one job", [
        Setting("haproxy", "haproxy", "tcp"),
        Setting("leasehold", "leasehold", "tcp"),
    ]),
    "http": ("HTTP: callers keep their connections; each request is a job", [
        Setting("haproxy-fresh", "haproxy", "http", "fresh"),
        Setting("haproxy-reuse", "haproxy", "http", "reuse"),
        Setting("leasehold-fresh", "leasehold", "http", "fresh"),
        Setting("leasehold-reuse", "leasehold", "http", "reuse"),
    ]),
}
BULK = {
    "bulk-tcp": ("Bulk: one lease, one TCP connection", [
        Setting("haproxy", "haproxy", "tcp"),
        Setting("haproxy-splice", "haproxy", "tcp", splice=True),
        Setting("leasehold", "leasehold", "tcp"),
    ]),
    "bulk-http": ("Bulk: one HTTP connection, one lease per request", [
        Setting("haproxy", "haproxy", "http"),
        Setting("haproxy-splice", "haproxy", "http", splice=True),
        Setting("leasehold", "leasehold", "http"),
    ]),
}
BESIDE = ("Short jobs beside tunnels of bulk", BULK["bulk-tcp"][1])
PARKED = ("Memory per parked caller (400-byte heads received)", [
    Setting("haproxy", "haproxy", "http"),
    Setting("leasehold", "leasehold", "http"),
])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds, to see that everything runs: figures mean little, limits only shown")
    parser.add_argument("--seconds", type=float, help="length of a round (10; quick 2)")
    parser.add_argument("--rounds", type=int, help="rounds of each contender in each scenario (3; quick 1)")
    parser.add_argument("--callers", type=int, nargs="+", default=[60, 200], help="concurrent callers of the closed loop")
    parser.add_argument("--rate", type=float, default=200, help="jobs per second of the open loop")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of: micro tcp http parked scrape beside bulk-tcp bulk-http; open and syscalls go with tcp and http")
    parser.add_argument("--against-itself", action="store_true", help="HAProxy on both sides: every ratio should be 1, what it is not is noise")
    parser.add_argument("--before", type=pathlib.Path, metavar="DIRECTORY", help="executables of another build of Leasehold, measured in the same rounds as rows of their own")
    parser.add_argument("--no-pin", action="store_true", help="let the scheduler place everything")
    parser.add_argument("--nice", type=int, default=-10, help="scheduling priority of everything, where allowed (-10): others disturb less")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "bench-results", help="where the JSON goes")
    arguments = parser.parse_args()
    arguments.seconds = arguments.seconds or (2 if arguments.quick else 10)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    return arguments


def settings_for(arguments: argparse.Namespace, settings: list[Setting]) -> list[Setting]:
    if arguments.before:
        # Beside each other, so that a drift of the machine meets both.
        pairs = [(one, replace(one, name=one.name.replace("leasehold", "before"), build=arguments.before)) for one in settings]
        return [each for one, before in pairs for each in ((one, before) if one.kind == "leasehold" else (one,))]
    if not arguments.against_itself:
        return settings
    return [one if one.kind == "haproxy" else Setting(f"{one.name}-is-haproxy", "haproxy", one.protocol, one.connections, one.splice)
            for one in settings]


class Run:
    def __init__(self, arguments: argparse.Namespace, directory: pathlib.Path, stack: ExitStack):
        self.arguments, self.directory, self.stack = arguments, directory, stack
        self.printer = report.Printer(sys.stdout.isatty())
        self.plan = machine.pin_plan(not arguments.no_pin)
        if self.plan["load"]:
            os.sched_setaffinity(0, self.plan["load"])  # wrk and the other loads inherit it
        self.ports = Ports()
        self.results: dict = {}
        self.raw: dict = {}
        self.nginx = backends.Nginx(directory, self.ports, self.plan)
        stack.callback(self.nginx.stop)
        self.workers = [(host, self.nginx.port) for host in backends.HOSTS]
        self.count = 0

    def wants(self, name: str) -> bool:
        return not self.arguments.only or name in self.arguments.only

    def start(self, stack: ExitStack, settings: list[Setting], workers: list, ready: bool = True) -> list[contenders.Contender]:
        """Fresh processes for each scenario: none carries another's heap or connections."""
        self.count += 1
        directory = self.directory / str(self.count)
        directory.mkdir()
        started = []
        for setting in settings:
            contender = contenders.start(setting, workers, directory, self.ports, self.plan, ready)
            stack.callback(contender.stop)
            started.append(contender)
        return started

    def alternate(self, runners: list[contenders.Contender], count: int, work) -> dict[str, list[dict]]:
        """`count` rounds of each; every other round in reverse order, so that a drift of the machine meets both."""
        taken: dict[str, list[dict]] = {one.name: [] for one in runners}
        for number in range(count):
            for contender in runners if number % 2 == 0 else runners[::-1]:
                taken[contender.name].append(work(contender))
        return taken

    def keep(self, name: str, key: str, taken: dict[str, list[dict]]) -> dict[str, dict]:
        summaries = {contender: report.summarise(rounds_) for contender, rounds_ in taken.items()}
        self.results.setdefault(name, {})[key] = summaries
        self.raw.setdefault(name, {})[key] = taken
        noisy = sum(one["rounds"] - one["quiet_rounds"] for one in summaries.values())
        if noisy:
            self.printer.note(f"{noisy} rounds had more than 10 % of a processor taken by others; medians are over the quiet ones where there are any")
        return summaries

    def jobs(self, name: str, title: str, settings: list[Setting]) -> None:
        seconds, plan, nginx = self.arguments.seconds, self.plan, rounds.nginx_pids(self.nginx.process.pid)
        with ExitStack() as stack:
            runners = self.start(stack, settings_for(self.arguments, settings), self.workers)
            self.alternate(runners, 1, lambda one: rounds.closed(one, nginx, max(self.arguments.callers), min(1, seconds), plan))  # warm up
            for callers in self.arguments.callers:
                self.printer.heading(f"{title} · {callers} callers · {self.arguments.rounds} × {seconds:g} s")
                taken = self.alternate(runners, self.arguments.rounds, lambda one: rounds.closed(one, nginx, callers, seconds, plan))
                report.jobs_table(self.printer, self.keep(name, str(callers), taken))
            self.printer.heading(f"{title} · open loop, {self.arguments.rate:g} jobs/s")
            taken = self.alternate(runners, self.arguments.rounds, lambda one: rounds.opened(one, nginx, self.arguments.rate, seconds))
            report.jobs_table(self.printer, self.keep(name, "open", taken))
            self.printer.heading(f"{title} · system calls per job at {max(self.arguments.callers)} callers")
            counted = {one.name: rounds.syscalls(one, max(self.arguments.callers), min(2, seconds), plan) for one in runners}
            report.syscalls_table(self.printer, counted)
            self.results[name]["syscalls"] = counted

    def bulk(self, name: str, title: str, settings: list[Setting]) -> None:
        times = 1 if self.arguments.quick else 8
        nginx = rounds.nginx_pids(self.nginx.process.pid)
        with ExitStack() as stack:
            runners = self.start(stack, settings_for(self.arguments, settings), self.workers)
            self.alternate(runners, 1, lambda one: rounds.bulk(one, nginx, 1, backends.BIG_FILE_BYTES))  # warm up
            self.printer.heading(f"{title} · {times * backends.BIG_FILE_BYTES / (1 << 30):g} GiB")
            taken = self.alternate(runners, self.arguments.rounds, lambda one: rounds.bulk(one, nginx, times, backends.BIG_FILE_BYTES))
            report.bulk_table(self.printer, self.keep("bulk", name.removeprefix("bulk-"), taken))

    def beside(self, title: str, settings: list[Setting]) -> None:
        tunnels, rate, seconds, nginx = 24, 50, self.arguments.seconds, rounds.nginx_pids(self.nginx.process.pid)
        with ExitStack() as stack:
            runners = self.start(stack, settings_for(self.arguments, settings), self.workers)
            for name, amount in (("the same bytes", 1 << 29), ("all that goes", 0)):
                self.printer.heading(f"{title} · {tunnels} tunnels, {name}, {rate} jobs/s · {self.arguments.rounds} × {seconds:g} s")
                taken = self.alternate(runners, self.arguments.rounds, lambda one: rounds.beside_bulk(one, nginx, tunnels, amount, rate, seconds))
                report.beside_table(self.printer, self.keep("beside", name, taken))

    def parked(self, title: str, settings: list[Setting]) -> None:
        few, many = 500, 3500
        self.printer.heading(f"{title} · slope from {few} to {many}")
        results = {}
        for setting in settings_for(self.arguments, settings):
            with ExitStack() as stack:
                silent = backends.SilentWorker(self.ports)
                stack.callback(silent.stop)
                runner, = self.start(stack, [setting], [(silent.host, silent.port)], ready=False)
                results[setting.name] = rounds.parked(runner, few, many)
        report.parked_table(self.printer, results)
        self.results["parked"] = results

    def scrape(self) -> None:
        self.printer.heading(f"A scrape of the publisher · {scrape.POOLS} pools, {scrape.ENDPOINTS} endpoints")
        result = scrape.measure(self.directory, self.ports, self.plan)
        report.scrape_table(self.printer, result)
        self.results["scrape"] = result

    def micro(self) -> None:
        command = [str(contenders.RELEASE / "microbenchmarks"), *(["--quick"] if self.arguments.quick else [])]
        if not os.path.exists(command[0]):
            raise Failed(f"{command[0]} is missing: make build")
        self.printer.heading("The machines alone: processor time and allocations per operation")
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise Failed(f"microbenchmarks: {done.stderr.strip()}")
        figures = [json.loads(line) for line in done.stdout.splitlines()]
        report.micro_table(self.printer, figures)
        for one in figures:
            kept = {"nanoseconds": one["nanoseconds"], "allocations": one["allocations"]}
            self.results.setdefault("micro", {}).setdefault(one["name"], {})[str(one["size"])] = kept

    def all(self) -> None:
        if self.wants("micro"):
            self.micro()
        for name, (title, settings) in SCENARIOS.items():
            if self.wants(name):
                self.jobs(name, title, settings)
        if self.wants("parked"):
            self.parked(*PARKED)
        if self.wants("scrape"):
            self.scrape()
        if self.wants("beside"):
            self.beside(*BESIDE)
        for name, (title, settings) in BULK.items():
            if self.wants(name):
                self.bulk(name, title, settings)


def main() -> int:
    arguments = parse()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    backends.require("haproxy", "nginx", "wrk")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    take_priority(arguments.nice)
    # So that the stack below is unwound, and everything is stopped, also then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    described = machine.describe(ROOT)
    started = time.time()
    with ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leasehold-bench-")))
        run = Run(arguments, directory, stack)
        run.printer.heading(f"{described['cpu']}, {described['cpus']} processors, kernel {described['kernel']}, {described['haproxy']}")
        pinned = f"measured side on processor {run.plan['proxy']}, load and workers on {run.plan['load']}" if run.plan["proxy"] else "nothing is pinned"
        run.printer.note(f"{pinned}; load average {described['load_average'][0]:.1f}; ratios are to the first row")
        run.all()
        run.printer.heading("Limits")
        broken = report.check_limits(run.printer, json.loads((ROOT / "Benchmarks/limits.json").read_text()), run.results)
        arguments.output.mkdir(exist_ok=True)
        file = arguments.output / time.strftime("%Y%m%d-%H%M%S.json", time.localtime(started))
        file.write_text(json.dumps({
            "machine": described, "arguments": {name: str(value) for name, value in vars(arguments).items()},
            "seconds": time.time() - started, "results": run.results, "rounds": run.raw,
        }, indent=1))
        print(f"\n  {file}")
    if broken and not arguments.quick:
        print("broken limits:\n  " + "\n  ".join(broken), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
