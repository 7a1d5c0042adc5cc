"""System calls per job, counted by the kernel: a histogram over the raw_syscalls tracepoint, which loses nothing and costs little.

Where tracefs is not to be had (not root, no tracepoints) strace counts instead; it slows the process down, not the count. The window is
apart from all others, so neither touches the CPU figures.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

TRACING = pathlib.Path("/sys/kernel/tracing")


class Counting:
    """A context; `calls` afterwards: pid → name of the call → count. `means` says how it was counted."""

    def __init__(self, pids: list[int]):
        self.pids = pids
        self.calls: dict[int, dict[str, int]] = {pid: {} for pid in pids}
        self.means = "none"
        self.instance = TRACING / "instances" / f"leasehold-bench-{os.getpid()}"
        self.straces: list[tuple[int, subprocess.Popen]] = []

    def __enter__(self) -> "Counting":
        threads = [int(task.name) for pid in self.pids for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
        self.owner = {int(task.name): pid for pid in self.pids for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}
        try:
            self.instance.mkdir()
            condition = " || ".join(f"common_pid == {thread}" for thread in threads)
            self.trigger = f"hist:keys=common_pid,id.syscall:size=4096 if {condition}"
            self.event = self.instance / "events/raw_syscalls/sys_enter"
            (self.event / "trigger").write_text(self.trigger)
            self.means = "tracepoint histogram"
        except OSError:
            if self.instance.exists():
                self.instance.rmdir()
            if shutil.which("strace"):
                self.means = "strace"
                self.straces = [(pid, subprocess.Popen(
                    ["strace", "-c", "-f", "-qq", "-U", "name,calls", "-p", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                    text=True)) for pid in self.pids]
                time.sleep(0.3)
        return self

    def __exit__(self, *_) -> None:
        if self.means == "tracepoint histogram":
            text = (self.event / "hist").read_text()
            (self.event / "trigger").write_text("!" + self.trigger)
            self.instance.rmdir()
            for thread, name, count in re.findall(r"common_pid:\s*(\d+), id: (?:sys_)?(\w+)\s*\[\s*\d+\] \} hitcount:\s*(\d+)", text):
                mine = self.calls[self.owner[int(thread)]]
                mine[name] = mine.get(name, 0) + int(count)
        for pid, strace in self.straces:
            strace.send_signal(signal.SIGINT)
            _, text = strace.communicate(timeout=10)
            for name, count in re.findall(r"^\s*(\w+)\s+(\d+)\s*$", text, re.M):
                if name != "total":
                    self.calls[pid][name] = int(count)
