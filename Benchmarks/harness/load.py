"""Load: wrk for the closed loop, our own generator for the open one, plain sockets for parked callers and for bulk."""

import json
import pathlib
import re
import socket
import subprocess
import sys
import time

from .processes import Failed

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def wrk(address: tuple[str, int], callers: int, seconds: float, one_job_per_connection: bool, plan: dict) -> dict:
    """A closed loop of `callers`. Latencies in milliseconds."""
    threads = min(plan["workers"], callers)
    argv = ["wrk", f"-t{threads}", f"-c{callers}", f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "30s"]
    if one_job_per_connection:
        argv += ["-H", "Connection: close"]
    argv.append(f"http://{address[0]}:{address[1]}/")
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60)
    except subprocess.TimeoutExpired:
        raise Failed(f"wrk did not end: {' '.join(argv)}") from None
    text = done.stdout
    total = re.search(r"(\d+) requests in ([\d.]+)(\w+)", text)
    if done.returncode != 0 or not total:
        raise Failed(f"wrk: {done.stderr.strip() or text.strip()}")
    seconds_taken = float(total.group(2)) * UNITS[total.group(3)] / 1e3
    result = {"jobs": int(total.group(1)), "seconds": seconds_taken, "rate": int(total.group(1)) / seconds_taken, "errors": 0}
    for percent, name in ((50, "p50_ms"), (99, "p99_ms")):
        found = re.search(rf"^\s+{percent}%\s+([\d.]+)(\w+)", text, re.M)
        result[name] = float(found.group(1)) * UNITS[found.group(2)] if found else None
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if errors:
        result["errors"] += sum(int(number) for number in errors.groups())
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if refused:
        result["errors"] += int(refused.group(1))
    return result


def open_loop(address: tuple[str, int], rate: float, seconds: float, one_job_per_connection: bool) -> dict:
    """Jobs at fixed instants, whatever the answers do; in a process of its own. Latency counts from the intended instant."""
    argv = [sys.executable, str(pathlib.Path(__file__).with_name("openloop.py")), address[0], str(address[1]), str(rate), str(seconds),
            "close" if one_job_per_connection else "keep"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode != 0:
        raise Failed(f"open loop: {done.stderr.strip()}")
    return json.loads(done.stdout)


def beside_bulk(address: tuple[str, int], tunnels: int, bytes_per_second: float, rate: float, seconds: float) -> dict:
    """Short jobs at fixed instants while `tunnels` connections carry bulk; 0 bytes per second: all that goes through them."""
    argv = [sys.executable, str(pathlib.Path(__file__).with_name("eater.py")), address[0], str(address[1]), str(tunnels), str(seconds + 2),
            str(bytes_per_second)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as eater:
        try:
            if eater.stdout.readline().strip() != "flowing":
                raise Failed(f"bulk beside short jobs: {eater.stderr.read().strip()}")
            result = open_loop(address, rate, seconds, True)
            out, errors = eater.communicate(timeout=seconds + 30)
        except BaseException:
            eater.kill()
            raise
    if eater.returncode != 0:
        raise Failed(f"bulk beside short jobs: {errors.strip()}")
    return result | {"gib_per_second": int(out) / (seconds + 2) / (1 << 30)}


class Crowd:
    """Callers that sent a 400-byte head and wait for an answer that does not come."""

    def __init__(self, address: tuple[str, int]):
        self.address = address
        self.connections: list[socket.socket] = []
        head = f"GET /parked HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nX-Filling: "
        self.head = (head + "x" * (400 - len(head) - 4) + "\r\n\r\n").encode()
        assert len(self.head) == 400

    def grow(self, to: int) -> None:
        while len(self.connections) < to:
            connection = socket.create_connection(self.address, 5)
            connection.sendall(self.head)
            self.connections.append(connection)

    def answered(self) -> int:
        """How many were answered or dropped: they are not parked."""
        count = 0
        for connection in self.connections:
            connection.setblocking(False)
            try:
                connection.recv(1, socket.MSG_PEEK)
                count += 1
            except BlockingIOError:
                pass
            except OSError:
                count += 1
        return count

    def leave(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections = []


def bulk(address: tuple[str, int], times: int, length: int) -> float:
    """Fetches /big `times` times over one connection and throws the bytes away in the kernel. Returns seconds."""
    request = b"GET /big HTTP/1.1\r\nHost: bench\r\n\r\n"
    started = time.monotonic()
    with socket.create_connection(address, 10) as connection:
        connection.settimeout(60)
        for _ in range(times):
            connection.sendall(request)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(4096)
                if not piece:
                    raise Failed("bulk: the connection ended in the head")
                head += piece
            if not head.startswith(b"HTTP/1.1 200") or f"content-length: {length}".encode() not in head.lower():
                raise Failed(f"bulk: {head[:200]!r}")
            left = length - (len(head) - head.index(b"\r\n\r\n") - 4)
            scratch = bytearray(1 << 20)
            while left:
                # MSG_TRUNC on a stream throws the bytes away without copying them (tcp(7)).
                count = connection.recv_into(scratch, min(left, len(scratch)), socket.MSG_TRUNC)
                if count == 0:
                    raise Failed(f"bulk: the connection ended with {left} bytes to come")
                left -= count
    return time.monotonic() - started
