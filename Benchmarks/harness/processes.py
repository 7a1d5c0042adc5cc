"""Processes that the harness starts: each pinned, logged, measured, and ended by its own pid."""

import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """Something that the run needs did not work; the text says what, on what."""


@dataclass(frozen=True)
class Cpu:
    """CPU time of a process, all of its threads.

    `total` (seconds) is the scheduler's exact run time (schedstat). The split into user and system comes from the tick
    accounting of /proc/PID/stat, which samples: over ten seconds its error is a few percent of the split, none of the total.
    """

    total: float
    user_ticks: int
    system_ticks: int

    @staticmethod
    def of(pid: int) -> "Cpu":
        total = user = system = 0
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            user += int(fields[11])
            system += int(fields[12])
        return Cpu(total / 1e9, user, system)

    def since(self, before: "Cpu") -> dict:
        total = self.total - before.total
        user, system = self.user_ticks - before.user_ticks, self.system_ticks - before.system_ticks
        share = user / (user + system) if user + system else 0.0
        return {"total": total, "user": total * share, "system": total * (1 - share)}


def machine_busy_seconds() -> float:
    """CPU time that all processors spent on anything since boot, in seconds."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    idle = fields[3] + fields[4]
    stolen = fields[7] if len(fields) > 7 else 0
    return (sum(fields[:8]) - idle - stolen) / TICKS_PER_SECOND


def memory(pid: int) -> dict:
    """Bytes of one process: its proportional share (Pss) and what is only its own (private)."""
    fields = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) * 1024
    return {"pss": fields["Pss"], "private": fields["Private_Clean"] + fields["Private_Dirty"]}


class Process:
    """A child that dies with the harness and is ended by pid. Its output goes to a log file in the run's directory."""

    def __init__(self, name: str, argv: list[str], log: pathlib.Path, cpus: set[int] | None = None, env: dict | None = None):
        self.name = name
        self.log = log

        def prepare() -> None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if cpus:
                os.sched_setaffinity(0, cpus)

        with open(log, "ab") as output:
            self.popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=prepare,
                env={**os.environ, **(env or {})})
        self.pid = self.popen.pid

    def check_alive(self) -> None:
        code = self.popen.poll()
        if code is not None:
            raise Failed(f"{self.name} ended with {code}:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log, indented."""
        return "\n".join("    " + line for line in self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(3)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


class Ports:
    """Free loopback ports below the kernel's ephemeral range, so that no outgoing connection takes one meanwhile."""

    def __init__(self) -> None:
        self.next = 12000 + os.getpid() % 8000

    def take(self, *hosts: str) -> int:
        for _ in range(2000):
            self.next = self.next + 1 if self.next < 32000 else 12000
            try:
                for host in hosts or ("127.0.0.1",):
                    with socket.socket() as probe:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        probe.bind((host, self.next))
                return self.next
            except OSError:
                continue
        raise Failed("no free port between 12000 and 32000")


def wait_for(what: str, condition, seconds: float = 15.0):
    """Polls until `condition()` is true and returns what it returned. Only for starting up; nothing measured waits here."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"gave up after {seconds:g} s waiting for {what}")
        time.sleep(0.02)
