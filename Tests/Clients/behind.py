"""Nodes in front of a store behind: what the tests of tiering have in common."""
import http.client
import http.server
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from harness import PATIENCE, Server

BUCKET = "shared"


def backing(port, mode, prefix="nodes/", scheme="http", host="127.0.0.1", **more):
    """The section, as lines of the harness' configuration."""
    settings = {"check-after": "60s", "connect": "1s", "first-byte": "5s", "idle": "5s", **{k.replace("_", "-"): v for k, v in more.items()}}
    lines = [f"endpoint: {scheme}://{host}:{port}", f"bucket: {BUCKET}", "access-key: demo", "secret: demo-secret-0123", f"mode: {mode}"]
    lines += [f"prefix: {prefix}"] if prefix else []
    lines += [f"{k}: {v}" for k, v in settings.items()]
    return "  backing:\n" + "\n".join("    " + line for line in lines)


def behind_server(**settings):
    """A second asset cache that stands for the store behind."""
    server = Server(**settings)
    server.client().create_bucket(Bucket=BUCKET)
    return server


def node(port, mode, size="1GiB", pinned="", **more):
    return Server(size=size, pinned=pinned, more=backing(port, mode, **more))


class Nodes(unittest.TestCase):
    """Tests whose nodes and stores behind end with them."""

    def setUp(self):
        from botocore.exceptions import ClientError
        self.Refused = ClientError

    def behind(self, **settings):
        server = behind_server(**settings)
        self.addCleanup(server.stop)
        return server, server.client()

    def node(self, behind, mode, **more):
        server = node(behind.port if isinstance(behind, Server) else behind, mode, **more)
        self.addCleanup(server.stop)
        return server, server.client()


def code(context):
    return context.exception.response["Error"]["Code"], context.exception.response["ResponseMetadata"]["HTTPStatusCode"]


def until(what, look, patience=PATIENCE):
    end = time.monotonic() + patience
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"it did not come to this: {what}")
        time.sleep(0.05)


def drained(server):
    """Waits until the store behind has everything."""
    until("an empty queue", lambda: server.counters()["backing-queued"] == 0)


def keys(s3, bucket="assets", **query):
    return [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, **query).get("Contents", [])]


def certificate(directory):
    """A certificate of its own authority for localhost and 127.0.0.1."""
    directory = pathlib.Path(directory)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")],
        check=True, capture_output=True)
    return directory / "cert.pem", directory / "key.pem"


class Gate:
    """In front of a store behind: requests pass one by one, and those that a test names wait for it, on their way or on their way back."""

    class Hold:
        def __init__(self, method, part, answered):
            self.method, self.part, self.answered = method, part, answered
            self.came, self.go = threading.Event(), threading.Event()

        def pause(self):
            self.came.set()
            self.go.wait(PATIENCE)

        def wait(self):
            if not self.came.wait(PATIENCE):
                raise AssertionError(f"no {self.method} with {self.part}")

    def __init__(self, port):
        gate, self.holds, self.lock = self, [], threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                hold = gate.take(self.command, self.path)
                if hold and not hold.answered:
                    hold.pause()
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                data = answer.read()
                connection.close()
                if hold and hold.answered:
                    hold.pause()
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_HEAD = do_PUT = do_DELETE = pass_on

            def log_message(self, *_):
                pass

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_):
                pass  # a node that was stopped

        self.server = Listener(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def hold(self, method, part, answered):
        """The next request of that method with `part` in its target waits: before it is asked, or after it was `answered`."""
        hold = self.Hold(method, part, answered)
        with self.lock:
            self.holds.append(hold)
        return hold

    def take(self, method, target):
        with self.lock:
            for hold in self.holds:
                if hold.method == method and hold.part in target:
                    self.holds.remove(hold)
                    return hold
        return None

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Terminator:
    """TLS in front of a port of this machine."""

    def __init__(self, port):
        self.directory = tempfile.mkdtemp(prefix="tls-")
        self.certificate, key = certificate(self.directory)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.handshakes = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        try:
            inner = self.context.wrap_socket(raw, server_side=True)
        except (OSError, ssl.SSLError):
            raw.close()
            return
        self.handshakes += 1
        outer = socket.create_connection(("127.0.0.1", self.target))

        def pump(source, sink):
            try:
                while data := source.recv(65536):
                    sink.sendall(data)
            except (OSError, ssl.SSLError):
                pass
            for one in (source, sink):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

        back = threading.Thread(target=pump, args=(outer, inner), daemon=True)
        back.start()
        pump(inner, outer)
        back.join(PATIENCE)
        inner.close()
        outer.close()

    def close(self):
        self.listener.close()
        shutil.rmtree(self.directory, ignore_errors=True)
