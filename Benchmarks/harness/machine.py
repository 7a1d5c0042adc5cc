"""What a reader must know about the machine to compare two runs."""

import os
import pathlib
import platform
import re
import subprocess


def _first_line(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "absent"
    return (done.stdout + done.stderr).strip().split("\n")[0]


def describe(root: pathlib.Path) -> dict:
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.M)
    memory = re.search(r"^MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.M)
    dirty = bool(_first_line("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"))
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": int(memory.group(1)) * 1024 if memory else None,
        "hypervisor": "hypervisor" in cpuinfo,
        "kernel": platform.release(),
        "haproxy": _first_line("haproxy", "-v"),
        "nginx": _first_line("nginx", "-v"),
        "wrk": _first_line("wrk", "-v"),
        "python": platform.python_version(),
        "swift": _first_line("swift", "--version"),
        "commit": _first_line("git", "-C", str(root), "rev-parse", "--short", "HEAD") + (" with changes" if dirty else ""),
        "load_average": os.getloadavg(),
    }


def pin_plan(pin: bool) -> dict:
    """Which processors the measured side, the backends and the load run on.

    The measured side has one processor to itself (the last one; the first often serves interrupts). All of Leasehold's processes
    share it, as HAProxy's one thread has it alone.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if not pin or len(cpus) < 2:
        return {"proxy": None, "load": None, "workers": max(1, len(cpus) // 2)}
    return {"proxy": {cpus[-1]}, "load": set(cpus[:-1]), "workers": max(1, (len(cpus) - 1) // 2)}
