#!/usr/bin/env python3
"""The asset cache beside nginx's proxy_cache and Varnish, in one run on one machine: hits per second and CPU per hit, for three sizes.

    bench-cache.py [--seconds N] [--connections N] [--objects N] [--profile] [--json FILE]

Every cache is asked as a reverse proxy of the same origin, with one worker for each processor (nginx, ours) or its own defaults (Varnish).
Then what a miss costs beside the origin's own work, each URL asked once. `--profile` says where the CPU of a small hit goes, by perf.
`--objects 1000000` also measures the restart of a store with so many small objects, and the memory of the process then.
LEASEHOLD_BIN says where the built executables are (release).
"""
import argparse
import hashlib
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("LEASEHOLD_BIN") or ROOT / ".build" / "release")
SIZES = {"2 KiB": 2 << 10, "64 KiB": 64 << 10, "4 MiB": 4 << 20}
TICK = os.sysconf("SC_CLK_TCK")


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one write, at once: else every miss waits for a delayed acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        body = b"x" * int(self.path.strip("/").split("?")[0])
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=86400")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("ETag", '"%d"' % len(body))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(number):
    for _ in range(2000):
        try:
            socket.create_connection(("127.0.0.1", number), timeout=1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"nobody listens on {number}")


def processes(root):
    """The process and its children."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            todo += [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            pass
    return found


def cpu(root):
    total = 0
    for pid in processes(root):
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / TICK


def memory(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def ours(home, origin):
    number = port()
    (home / "c.yaml").write_text(
        f"runtime-directory: {home}/run\nstate-directory: {home}/state\nasset-cache:\n  address: 127.0.0.1:0\n  directory: {home}/store\n"
        f"  scrub: 0\n  reverse:\n    - {{ address: 127.0.0.1:{number}, origin: \"http://127.0.0.1:{origin}\" }}\n")
    return number, subprocess.Popen(
        [str(BIN / "leasehold-asset-cache"), "--config", str(home / "c.yaml"), "--log-level", "warning"], stdout=subprocess.DEVNULL,
        stderr=open(home / "log", "wb"))


def nginx(home, origin):
    number = port()
    (home / "nginx.conf").write_text(f"""
worker_processes {os.cpu_count()};
user root;
daemon off;
error_log {home}/nginx.log;
pid {home}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_requests 1000000;
  proxy_cache_path {home}/nginx-cache levels=1:2 keys_zone=c:64m max_size=10g use_temp_path=off;
  client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3; uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5;
  server {{ listen 127.0.0.1:{number} backlog=4096; location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_cache c; proxy_cache_lock on; }} }}
}}
""")
    return number, subprocess.Popen(["nginx", "-c", str(home / "nginx.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def varnish(home, origin):
    number = port()
    (home / "default.vcl").write_text(f'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{origin}"; }}\n')
    return number, subprocess.Popen(
        ["varnishd", "-F", "-n", str(home / "varnish"), "-a", f"127.0.0.1:{number}", "-f", str(home / "default.vcl"), "-s", "malloc,256m"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def load(number, size, seconds, connections):
    out = subprocess.run(
        ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", f"http://127.0.0.1:{number}/{size}"], capture_output=True, text=True,
        timeout=seconds + 60).stdout
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    if "Non-2xx" in out:
        raise SystemExit(out)
    return requests, rate


MISSES = """
local n = {start}
function request()
  n = n + 1
  return wrk.format("GET", "/2048?" .. n)
end
"""


def misses(home, number, start, seconds):
    """Every URL once, over 8 connections: requests, rate, and the middle of the latencies in ms."""
    script = home / "miss.lua"
    script.write_text(MISSES.format(start=start))
    out = subprocess.run(
        ["wrk", "-t", "1", "-c", "8", "-d", f"{seconds}s", "--latency", "-s", str(script), f"http://127.0.0.1:{number}/"], capture_output=True,
        text=True, timeout=seconds + 60).stdout
    if "Non-2xx" in out:
        raise SystemExit(out)
    middle = re.search(r"50%\s+([\d.]+)(us|ms|s)", out)
    return (int(re.search(r"(\d+) requests in", out).group(1)), float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            float(middle.group(1)) * {"us": 0.001, "ms": 1, "s": 1000}[middle.group(2)])


# What a function belongs to, by its name; the first that fits.
PARTS = [
    ("system calls and network (kernel)", r"^\[k\]"),
    ("SwiftNIO's HTTP parser and encoder", r"NIOHTTP1|llhttp|c_nio_llhttp"),
    ("SwiftNIO's loops, sockets, pipelines", r"\$s\d*NIO|NIOCore|NIOPosix|NIOConcurrency|_NIO|CNIO"),
    ("Swift's runtime: counts, casts, metadata", r"^\[\.\] (_?swift_|\$ss|swift::|_ZN5swift|__swift|\$sS)"),
    ("memory", r"^\[\.\] (_?_?libc_)?(malloc|free|calloc|realloc|_int_|cfree|mem(cpy|move|set)|__mem)"),
    ("the cache itself", r"AssetCore|leasehold|ServiceKit|5Model|4Wire"),
]


def profile(pid, number, seconds, home):
    """µs of CPU per hit of 2 KiB, by part; nothing where perf is missing or not allowed."""
    data = home / "perf.data"
    recorder = subprocess.Popen(
        ["perf", "record", "-q", "-F", "1999", "-o", str(data), "-p", str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = cpu(pid)
    requests, _ = load(number, SIZES["2 KiB"], seconds, 64)
    used = (cpu(pid) - before) / requests * 1e6
    recorder.send_signal(signal.SIGINT)
    recorder.wait(60)
    text = subprocess.run(["perf", "report", "-i", str(data), "--stdio", "--sort", "symbol", "-g", "none"], capture_output=True, text=True).stdout
    shares, rest = {name: 0.0 for name, _ in PARTS}, 0.0
    for line in text.splitlines():
        found = re.match(r"\s*([\d.]+)%\s+(\[.\].*)", line)
        if not found:
            continue
        share, symbol = float(found.group(1)), found.group(2).strip()
        part = next((name for name, pattern in PARTS if re.search(pattern, symbol)), None)
        if part:
            shares[part] += share
        else:
            rest += share
    if not sum(shares.values()):
        return None
    shares["other"] = rest
    whole = sum(shares.values())
    return {"cpu": used, "parts": {name: used * share / whole for name, share in shares.items()}}


def restart(home, count):
    """A store with so many objects, made by writing its index: from the start of its process to the first hit."""
    import base64
    number = port()
    (home / "r.yaml").write_text(
        f"runtime-directory: {home}/many-run\nstate-directory: {home}/state\nasset-cache:\n  address: 127.0.0.1:{number}\n  directory: {home}/many\n  anonymous: read\n"
        "  size: 1000GiB\n  scrub: 0\n")

    def start():
        begin = time.monotonic()
        process = subprocess.Popen([str(BIN / "leasehold-asset-cache"), "--config", str(home / "r.yaml"), "--log-level", "warning"],
                                   stdout=subprocess.DEVNULL, stderr=open(home / "log", "ab"))
        return begin, process

    _, process = start()
    wait(number)
    process.terminate()
    process.wait()
    index = sqlite3.connect(home / "many" / "index.sqlite")
    index.execute("INSERT INTO bucket(id, name, created, region) VALUES (1, 'many', 0, 'us-east-1')")
    blob = b"y" * 2048
    digest = hashlib.sha256(blob).digest()
    (home / "many" / "blobs" / digest.hex()[:2] / digest.hex()[2:]).write_bytes(blob)

    def rows():
        for i in range(count):
            key = f"assets/2026/11/21/{i:012d}-and-a-longer-name.js".encode()
            yield 1, key, 2048, hashlib.md5(key).hexdigest(), 1_795_000_000_000, b'{"headers":{},"metadata":[],"tags":[],"isMultipart":false}', digest + (2048).to_bytes(8, "big")
    index.executemany("INSERT INTO object(bucket, key, size, etag, modified, info, segments) VALUES (?, ?, ?, ?, ?, ?, ?)", rows())
    # As many blobs as objects, although only one of them is a file: their rows are what a start reads.
    index.executemany("INSERT INTO blob(hash, size, refs) VALUES (?, 2048, 1)", ((hashlib.sha256(b"%d" % i).digest(),) for i in range(count - 1)))
    index.execute("INSERT INTO blob(hash, size, refs) VALUES (?, 2048, 1)", (digest,))
    index.commit()
    index.close()
    times = []
    for _ in range(3):
        begin, process = start()
        while True:
            try:
                with socket.create_connection(("127.0.0.1", number), timeout=30) as s:
                    s.sendall(b"GET /many/assets/2026/11/21/000000000007-and-a-longer-name.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                    data = s.recv(65536)
                if data.startswith(b"HTTP/1.1 200"):
                    break
                raise SystemExit(data)
            except ConnectionRefusedError:
                time.sleep(0.005)
        times.append(time.monotonic() - begin)
        # The eviction's queues are filled beside the requests.
        resident, still = memory(process.pid), 0
        while still < 4:
            time.sleep(0.5)
            now = memory(process.pid)
            still, resident = (still + 1 if now == resident else 0), now
        process.terminate()
        process.wait()
    return {"objects": count, "seconds": sorted(times)[1], "all": times, "memoryMiB": resident}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--objects", type=int, default=0)
    options.add_argument("--only", default="")
    options.add_argument("--profile", action="store_true")
    options.add_argument("--json")
    given = options.parse_args()
    home = pathlib.Path(tempfile.mkdtemp(prefix="bench-cache-", dir=ROOT / ".build"))
    # Varnish gives its privileges up, and must get here all the same.
    home.chmod(0o755)
    closed = next((one for one in home.parents if not one.stat().st_mode & 0o001), None)
    if closed:
        raise SystemExit(f"{closed} lets nobody through, and Varnish runs as a user of its own: use a checkout elsewhere")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    server.handle_error = lambda *_: None  # wrk goes in the middle
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = server.server_address[1]
    results = {"sizes": {}, "restart": None}
    started = []
    try:
        peers = {}
        for name, make, program in (("leasehold", ours, None), ("nginx", nginx, "nginx"), ("varnish", varnish, "varnishd")):
            if (program and not shutil.which(program)) or (given.only and name not in given.only):
                continue
            number, process = make(home, origin)
            started.append(process)
            wait(number)
            peers[name] = (number, process)
        for label, size in SIZES.items():
            row = results["sizes"][label] = {}
            for name, (number, _) in peers.items():
                load(number, size, 1, given.connections)
            # In turns, so that a neighbour's load falls on all of them.
            for _ in range(2):
                for name, (number, process) in peers.items():
                    before = cpu(process.pid)
                    requests, rate = load(number, size, given.seconds, given.connections)
                    used = (cpu(process.pid) - before) / requests * 1e6
                    best = row.setdefault(name, {"rate": 0, "cpu": 1e9})
                    best["rate"], best["cpu"] = max(best["rate"], rate), min(best["cpu"], used)
        print(f"{'':10}" + "".join(f"{name:>28}" for name in peers))
        for label, row in results["sizes"].items():
            base = row.get("nginx", {}).get("rate")
            print(f"{label:10}" + "".join(
                f"{v['rate']:>10.0f}/s {v['cpu']:>6.1f} µs {v['rate'] / base if base else 0:>6.2f}×" for v in row.values()))
        start = 0
        row = results["misses"] = {}
        targets = [("origin", origin, None)] + [(name, number, process.pid) for name, (number, process) in peers.items()]
        for _ in range(2):
            for name, number, pid in targets:
                before = cpu(pid) if pid else 0
                requests, rate, middle = misses(home, number, start, given.seconds)
                start += 10_000_000
                used = (cpu(pid) - before) / requests * 1e6 if pid else 0
                best = row.setdefault(name, {"rate": 0, "cpu": 1e9, "latency": 1e9})
                best.update(rate=max(best["rate"], rate), cpu=min(best["cpu"], used), latency=min(best["latency"], middle))
        for name, value in row.items():
            print(f"miss of 2 KiB, {name}: {value['rate']:.0f}/s, {value['cpu']:.0f} µs, half within {value['latency']:.1f} ms")
        if given.profile and "leasehold" in peers and shutil.which("perf"):
            number, process = peers["leasehold"]
            results["profile"] = profile(process.pid, number, given.seconds, home)
            if results["profile"]:
                print(f"a hit of 2 KiB, {results['profile']['cpu']:.1f} µs:")
                for name, used in results["profile"]["parts"].items():
                    print(f"  {name:45}{used:>6.1f} µs")
        if given.objects:
            results["restart"] = restart(home, given.objects)
            print(f"restart with {given.objects} objects: {results['restart']['seconds']:.2f} s, {results['restart']['memoryMiB']:.0f} MiB")
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        server.shutdown()
        shutil.rmtree(home, ignore_errors=True)
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(results, indent=1))


main()
