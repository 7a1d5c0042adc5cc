"""One round: one contender under one load, with everything read before and after."""

import os
import pathlib
import statistics
import time

from . import load
from .contenders import Contender
from .processes import Cpu, Failed, machine_busy_seconds, memory, wait_for
from .syscalls import Counting


def _spent(contender: Contender, before: dict[int, Cpu]) -> dict[str, dict]:
    return {process.name: Cpu.of(process.pid).since(before[process.pid]) for process in contender.processes}


def measured(contender: Contender, backends: list[int], work) -> dict:
    """Runs `work()` and adds what each process spent on it, per job.

    `foreign` is the share of the machine's processors that went to anything but the contender, its workers and the load: noise.
    """
    contender.check_alive()
    counters = contender.counters()
    mine = {process.pid: Cpu.of(process.pid) for process in contender.processes}
    nginx = {pid: Cpu.of(pid) for pid in backends}
    busy, children, started = machine_busy_seconds(), _own(), time.monotonic()
    result = work()
    elapsed = time.monotonic() - started
    load_spent = _own() - children
    spent = _spent(contender, mine)
    foreign = machine_busy_seconds() - busy - load_spent - sum(part["total"] for part in spent.values())
    foreign -= sum(Cpu.of(pid).since(before)["total"] for pid, before in nginx.items())
    contender.check_alive()
    jobs = max(1, result["jobs"])
    result["contender"] = contender.name
    result["cpu_us"] = {
        part: sum(one[part] for one in spent.values()) * 1e6 / jobs for part in ("total", "user", "system")
    }
    result["processes"] = {name: {part: value * 1e6 / jobs for part, value in one.items()} for name, one in spent.items()}
    result["busy"] = sum(part["total"] for part in spent.values()) / elapsed
    result["foreign"] = max(0.0, foreign / elapsed)
    result["links"] = _difference(counters, contender.counters())
    return result


def _own() -> float:
    """CPU seconds of the harness and of its children that have ended (wrk among them)."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _difference(before: dict, after: dict) -> dict:
    return {
        process: {name: value - before.get(process, {}).get(name, 0) for name, value in counters.items() if isinstance(value, int)}
        for process, counters in after.items()
    }


def closed(contender: Contender, nginx: list[int], callers: int, seconds: float, plan: dict) -> dict:
    one_job = contender.setting.protocol == "tcp"
    return measured(contender, nginx, lambda: load.wrk(contender.address, callers, seconds, one_job, plan))


def opened(contender: Contender, nginx: list[int], rate: float, seconds: float) -> dict:
    one_job = contender.setting.protocol == "tcp"
    return measured(contender, nginx, lambda: load.open_loop(contender.address, rate, seconds, one_job))


def syscalls(contender: Contender, callers: int, seconds: float, plan: dict) -> dict:
    """System calls per job of each process at this many callers."""
    one_job = contender.setting.protocol == "tcp"
    load.wrk(contender.address, callers, 0.5, one_job, plan)
    with Counting([process.pid for process in contender.processes]) as counting:
        result = load.wrk(contender.address, callers, seconds, one_job, plan)
    jobs = max(1, result["jobs"])
    names = contender.pids
    calls = {
        names[pid]: {name: round(count / jobs, 3) for name, count in sorted(calls.items(), key=lambda item: -item[1]) if count / jobs >= 0.005}
        for pid, calls in counting.calls.items()
    }
    totals = {names[pid]: round(sum(calls.values()) / jobs, 2) for pid, calls in counting.calls.items()}
    return {"contender": contender.name, "means": counting.means, "jobs": jobs, "calls": calls, "total": totals}


def parked(contender: Contender, few: int, many: int) -> dict:
    """Bytes per parked caller: the slope of the memory of all processes between `few` and `many` callers."""
    crowd = load.Crowd(contender.address)
    try:
        crowd.grow(few)
        low = _settled(contender)
        crowd.grow(many)
        high = _settled(contender)
        if crowd.answered():
            raise Failed(f"{contender.name}: {crowd.answered()} of {many} callers were answered instead of parked")
    finally:
        crowd.leave()
    return {
        "contender": contender.name, "few": few, "many": many,
        **{f"{kind}_bytes": sum(high[name][kind] - low[name][kind] for name in high) / (many - few) for kind in ("pss", "private")},
        "by_process": {name: {kind: (high[name][kind] - low[name][kind]) / (many - few) for kind in high[name]} for name in high},
        "idle_private_bytes": {name: low[name]["private"] for name in low},
    }


def _settled(contender: Contender) -> dict[str, dict]:
    """The memory by process, once three readings in a row agree and no process is working."""
    last: list = [None, 0]

    def agree():
        cpu = sum(Cpu.of(process.pid).total for process in contender.processes)
        reading = {process.name: memory(process.pid) for process in contender.processes}
        key = {name: value["private"] for name, value in reading.items()}
        same = last[0] is not None and last[0][0] == key and cpu - last[0][1] < 0.002
        last[0], last[1] = (key, cpu), last[1] + 1 if same else 0
        time.sleep(0.2)
        return reading if last[1] >= 2 else None

    return wait_for(f"{contender.name} to settle", agree, 30)


def beside_bulk(contender: Contender, nginx: list[int], tunnels: int, bytes_per_second: float, rate: float, seconds: float) -> dict:
    """What short jobs wait for while others move bulk."""
    return measured(contender, nginx, lambda: load.beside_bulk(contender.address, tunnels, bytes_per_second, rate, seconds))


def bulk(contender: Contender, nginx: list[int], times: int, length: int) -> dict:
    """Throughput and CPU per GiB through one lease."""
    def work() -> dict:
        seconds = load.bulk(contender.address, times, length)
        return {"jobs": 1, "seconds": seconds, "errors": 0}

    result = measured(contender, nginx, work)
    gib = times * length / (1 << 30)
    result["gib_per_second"] = gib / result["seconds"]
    result["cpu_seconds_per_gib"] = {part: value / 1e6 / gib for part, value in result.pop("cpu_us").items()}
    result["processes"] = {name: {part: value / 1e6 / gib for part, value in one.items()} for name, one in result["processes"].items()}
    return result


def nginx_pids(master: int) -> list[int]:
    children = pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [master, *map(int, children)]


def median(rounds: list[dict], *path: str) -> float | None:
    """The median over the quiet rounds, or over all where no round was quiet."""
    values = []
    for one in quiet(rounds):
        value = one
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None:
            values.append(value)
    return statistics.median(values) if values else None


FOREIGN_LIMIT = 0.10


def quiet(rounds: list[dict]) -> list[dict]:
    return [one for one in rounds if one["foreign"] <= FOREIGN_LIMIT] or rounds
