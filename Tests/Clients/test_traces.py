"""Spans as a collector of OpenTelemetry gets them: OTLP over HTTP, protobuf. The dispatcher is a stand-in that tells the ends of jobs."""
import http.server
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

import wire
from harness import BIN, PATIENCE


def fields(data):
    """A protobuf message as {field: [values]}; what is length-delimited stays bytes."""
    out, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        elif kind == 1:
            value = struct.unpack_from("<Q", data, at)[0]
            at += 8
        elif kind == 2:
            length = varint()
            value = data[at:at + length]
            assert len(value) == length
            at += length
        else:
            raise AssertionError(f"wire type {kind}")
        out.setdefault(key >> 3, []).append(value)
    return out


def spans(body):
    """Of an ExportTraceServiceRequest."""
    out = []
    for resource in fields(body)[1]:
        for scope in fields(resource)[2]:
            for raw in fields(scope)[2]:
                span = fields(raw)
                attributes = {}
                for one in span.get(9, []):
                    pair = fields(one)
                    value = fields(pair[2][0])
                    attributes[pair[1][0].decode()] = value[1][0].decode() if 1 in value else value[3][0]
                out.append({
                    "trace": span[1][0].hex(), "id": span[2][0].hex(), "parent": span.get(4, [b""])[0].hex(), "name": span[5][0].decode(), "kind": span[6][0],
                    "start": span[7][0], "end": span[8][0], "attributes": attributes, "error": 15 in span and fields(span[15][0])[3] == [2]})
    return out


class Collector:
    def __init__(self):
        self.bodies = queue.Queue()
        self.status = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.put((self.path, self.headers["Content-Type"], body))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


class TraceTests(unittest.TestCase):
    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="traces-"))
        self.addCleanup(shutil.rmtree, self.home)
        self.collector = Collector()
        self.addCleanup(self.collector.server.server_close)
        self.addCleanup(self.collector.server.shutdown)
        self.dispatcher = wire.Vitals(self.home / "run/vitals/dispatcher.sock")
        self.addCleanup(self.dispatcher.close)
        (self.home / "c.yaml").write_text(
            f"runtime-directory: {self.home}/run\nstate-directory: {self.home}/state\nsource: {{ directory: {self.home} }}\n"
            "pools: [{ name: browsers, service: shop/browsers }]\n"
            f"publisher: {{ address: \"127.0.0.1:0\", trace: {{ otlp: \"{self.collector.url}\", sample: 0.25 }} }}\n")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.notify.close)
        self.notify.bind(str(self.home / "notify"))
        self.notify.settimeout(PATIENCE)
        self.process = subprocess.Popen(
            [str(BIN / "leasehold-publisher"), "--config", str(self.home / "c.yaml")], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "NOTIFY_SOCKET": str(self.home / "notify")})
        self.addCleanup(self.end)
        while True:
            message = self.notify.recv(4096).decode()
            if "READY=1" in message:
                self.url = "http://" + message.split("publisher on ")[1].split(";")[0]
                break

    def end(self):
        self.process.kill()
        self.process.wait()

    def metric(self, sample):
        with urllib.request.urlopen(self.url + "/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(sample + " "):
                    return float(line.rsplit(" ", 1)[1])

    def test_a_jobs_spans_go_below_its_callers_and_the_worker_was_told_the_sessions(self):
        self.assertEqual(self.dispatcher.accept(), 250_000)
        before = time.time_ns()
        self.dispatcher.send(
            wire.job_end(7, "browsers", lease=(1795240476, 42), hold=1.5, dial=0.002, session=3, tenant="acme",
                         trace=(0x4BF92F3577B34DA6, 0xA3CE929D0E0E4736, 0x00F067AA0BA902B7, 0xABCDEF, True)),
            wire.job_end(8, "browsers", result=2, reason=1, hold=0.25))
        path, kind, body = self.collector.bodies.get(timeout=PATIENCE)
        self.assertEqual((path, kind), ("/v1/traces", "application/x-protobuf"))
        found = spans(body)
        first = {s["name"]: s for s in found if s["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736"}
        self.assertEqual(set(first), {"job", "hold", "lease", "dial", "session"})
        self.assertEqual(first["job"]["parent"], "00f067aa0ba902b7")
        self.assertEqual((first["hold"]["parent"], first["lease"]["parent"]), (first["job"]["id"], first["job"]["id"]))
        self.assertEqual((first["dial"]["parent"], first["session"]["parent"]), (first["lease"]["id"], first["lease"]["id"]))
        self.assertEqual(first["session"]["id"], "0000000000abcdef")
        self.assertEqual(first["job"]["attributes"]["leasehold.pool"], "browsers")
        self.assertEqual(first["job"]["attributes"]["leasehold.tenant"], "acme")
        self.assertEqual(first["lease"]["attributes"]["leasehold.lease"], "1795240476.42")
        # One after the other, as long as they were, and at the right time.
        self.assertEqual(first["hold"]["end"] - first["hold"]["start"], 1_500_000_000)
        self.assertEqual((first["hold"]["end"], first["dial"]["start"]), (first["dial"]["start"], first["lease"]["start"]))
        self.assertEqual(first["session"]["end"] - first["session"]["start"], 3_000_000_000)
        self.assertLess(abs(first["job"]["end"] - before), 5_000_000_000)
        refused = [s for s in found if s["trace"] != first["job"]["trace"]]
        self.assertEqual(sorted(s["name"] for s in refused), ["hold", "job"])
        job = next(s for s in refused if s["name"] == "job")
        self.assertTrue(job["error"])
        self.assertEqual((job["parent"], job["attributes"]["leasehold.reason"]), ("", "queue-full"))
        self.wait(lambda: self.metric('leasehold_publisher_spans_total{result="sent"}') == 7)

    def test_spans_that_the_collector_does_not_take_are_dropped_and_counted(self):
        self.dispatcher.accept()
        self.collector.status = 503
        self.dispatcher.send(*[wire.job_end(n, "browsers", result=2, reason=2) for n in range(10)])
        self.wait(lambda: self.metric('leasehold_publisher_spans_total{result="dropped"}') == 20)
        # And more than are kept while it is slow.
        self.collector.status = 200
        for first in range(0, 6000, 100):
            self.dispatcher.send(*[wire.job_end(n, "browsers", result=2, reason=2) for n in range(first, first + 100)])
        self.wait(lambda: sum(self.metric(f'leasehold_publisher_spans_total{{result="{r}"}}') for r in ("sent", "dropped")) == 20 + 12000)

    def wait(self, look):
        end = time.monotonic() + PATIENCE
        while not look():
            self.assertLess(time.monotonic(), end, "it did not come to this in time")
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
