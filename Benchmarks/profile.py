#!/usr/bin/env python3
"""Where the processor time of one job goes: one contender under wrk, sampled by perf, as µs per job by system call and by function.

    python3 Benchmarks/profile.py leasehold tcp            haproxy | leasehold, tcp | http
    python3 Benchmarks/profile.py leasehold http reuse --callers 200 --process pool-keeper
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from harness import backends, contenders, load, machine, rounds
from harness.contenders import Setting
from harness.priority import take_priority
from harness.processes import Failed, Ports


def report(data: pathlib.Path, *arguments: str) -> list[tuple[float, str]]:
    text = subprocess.run(
        ["perf", "report", "-i", str(data), "--stdio", "-g", "none", *arguments], capture_output=True, text=True).stdout
    rows = []
    for line in text.splitlines():
        found = re.match(r"\s*([\d.]+)%\s+(?:([\d.]+)%\s+)?(.*)", line)
        if found and not line.startswith("#"):
            rows.append((float(found.group(1)), found.group(3).strip()))
    return rows


def shorten(symbol: str) -> str:
    """Swift's names in words, where the toolchain is at hand."""
    if "$s" not in symbol or not shutil.which("swift"):
        return symbol
    mangled = symbol[symbol.index("$s"):].split()[0]
    words = subprocess.run(["swift", "demangle", "--simplified", "--compact", mangled], capture_output=True, text=True).stdout.strip()
    return symbol.replace(mangled, words or mangled)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["haproxy", "leasehold"])
    parser.add_argument("protocol", choices=["tcp", "http"])
    parser.add_argument("connections", choices=["fresh", "reuse"], nargs="?", default="fresh")
    parser.add_argument("--callers", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--process", help="which of Leasehold's (dispatcher)")
    parser.add_argument("--functions", type=int, default=30, help="how many functions outside the kernel to list")
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    backends.require("haproxy", "nginx", "wrk", "perf")
    take_priority(-10)
    plan, ports = machine.pin_plan(True), Ports()
    if plan["load"]:
        os.sched_setaffinity(0, plan["load"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leasehold-profile-")))
        nginx = backends.Nginx(directory, ports, plan)
        stack.callback(nginx.stop)
        setting = Setting(arguments.kind, arguments.kind, arguments.protocol, arguments.connections)
        contender = contenders.start(setting, [(host, nginx.port) for host in backends.HOSTS], directory, ports, plan)
        stack.callback(contender.stop)
        wanted = arguments.process or ("dispatcher" if arguments.kind == "leasehold" else "haproxy")
        pid = next((process.pid for process in contender.processes if process.name == wanted), None)
        if pid is None:
            raise Failed(f"no process {wanted}")
        load.wrk(contender.address, arguments.callers, 1, arguments.protocol == "tcp", plan)
        data = directory / "perf.data"
        perf = subprocess.Popen(
            ["perf", "record", "-q", "-F", "4000", "-e", "cpu-clock", "-g", "-p", str(pid), "-o", str(data)], stderr=subprocess.DEVNULL)
        time.sleep(0.5)  # perf says nothing when it has begun
        result = rounds.closed(contender, rounds.nginx_pids(nginx.process.pid), arguments.callers, arguments.seconds, plan)
        perf.send_signal(signal.SIGINT)
        perf.wait()
        spent = result["processes"][wanted]
        print(f"{wanted}: {spent['total']:.1f} µs/job under perf ({spent['user']:.1f} user), {result['rate']:,.0f} jobs/s, "
              f"busy {result['busy'] * 100:.0f}%, others {result['foreign'] * 100:.0f}%")
        print("\nby system call, with all that the kernel does in it:")
        for share, symbol in report(data, "--children", "--percent-limit", "0.2"):
            name = symbol.split()[-1]
            if name.startswith("__x64_sys_"):
                print(f"  {share * spent['total'] / 100:6.2f} µs  {share:5.1f}%  {name.removeprefix('__x64_sys_')}")
        print("\nby binary:")
        for share, name in report(data, "--no-children", "--sort", "dso", "--percent-limit", "0.1"):
            print(f"  {share * spent['total'] / 100:6.2f} µs  {share:5.1f}%  {name}")
        print("\noutside the kernel, each function by itself:")
        outside = [row for row in report(data, "--no-children", "--sort", "dso,sym", "--percent-limit", "0.05") if "kernel" not in row[1]]
        for share, symbol in outside[:arguments.functions]:
            print(f"  {share * spent['total'] / 100:6.3f} µs  {share:5.2f}%  {shorten(symbol)}")


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"profile: {error}")
