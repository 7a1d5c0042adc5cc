"""Starts the real leasehold-asset-cache and speaks to it with real clients. No sleeps: readiness is told by sd_notify."""
import base64
import hashlib
import hmac
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("LEASEHOLD_BIN") or ROOT / ".build" / "debug")
PATIENCE = 30 * float(os.environ.get("LEASEHOLD_PATIENCE", "1"))

ACCESS, SECRET = "demo", "demo-secret-0123"
CONFIGURATION = """
runtime-directory: {home}/run
state-directory: {home}/state
asset-cache:
  address: 127.0.0.1:{port}
  directory: {home}/store
  size: {size}
  names: [localhost, assets.test]
  anonymous: {anonymous}
  pinned: [{pinned}]
  verify-reads: {verify}
  scrub: {scrub}
{more}
  keys:
    - {{ access-key: demo, secret: demo-secret-0123, buckets: {{ "*": read-write }}, tenants: {{ "*": read-write }} }}
    - {{ access-key: ann, secret: ann-secret-0123, buckets: {{}}, tenants: {{ ann: read-write, "shared-*": read }} }}
    - {{ access-key: reader, secret-file: reader.secret, buckets: {{ "shared*": read, shared-not: none }} }}
    - {{ access-key: writer, secret: writer-secret-01, buckets: {{ shared: write }} }}
"""


def hold_port():
    """A socket on a port of its own, never listened on: who sets SO_REUSEADDR may listen there, and while nobody does the kernel gives the
    port to nobody else, neither to listen on nor to connect from."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


class Server:
    """One process on a directory of its own; `restart` starts its successor on the same port and directory."""

    def __init__(self, size="1GiB", anonymous="none", pinned="", verify="false", scrub="0", wrapper=(), more=""):
        # Not /tmp: a store on tmpfs would not show what a disk does. The build directory is on one.
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="cache-", dir=os.environ.get("LEASEHOLD_TEST_DIRECTORY")))
        (self.home / "reader.secret").write_text("reader-secret-01\n")
        self.settings = dict(home=self.home, size=size, anonymous=anonymous, pinned=pinned, verify=verify, scrub=scrub, more=more)
        self.held = hold_port()
        self.port = self.held.getsockname()[1]
        self.wrapper = [part.replace("HOME", str(self.home)) for part in wrapper]
        self.process = None
        self.start()

    def start(self, environment=None, pass_fds=()):
        configuration = self.home / "leasehold.yaml"
        configuration.write_text(CONFIGURATION.format(port=self.port, **self.settings))
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = self.home / "notify"
        path.unlink(missing_ok=True)
        notify.bind(str(path))
        notify.settimeout(PATIENCE)
        self.log = open(self.home / "log", "ab")
        self.process = subprocess.Popen(
            self.wrapper + [str(BIN / "leasehold-asset-cache"), "--config", str(configuration)], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, pass_fds=pass_fds,
            env={**os.environ, "NOTIFY_SOCKET": str(path), **(environment or {})})
        while True:
            try:
                message = notify.recv(4096).decode()
            except socket.timeout:
                self.kill()
                raise AssertionError("not ready:\n" + self.output())
            if "READY=1" in message:
                address = message.split("Serving S3 on ")[1].split("\n")[0]
                self.port = int(address.rsplit(":", 1)[1])
                self.notify = notify
                return

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def output(self):
        return (self.home / "log").read_text(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def restart(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        self.log.close()
        self.notify.close()
        self.start()

    def stop(self):
        self.held.close()
        self.notify.close()
        self.log.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def client(self, access=ACCESS, secret=SECRET, style="path", retries=0, **more):
        import boto3
        from botocore.config import Config
        return boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=access, aws_secret_access_key=secret, region_name="us-east-1",
            config=Config(s3={"addressing_style": style}, retries={"max_attempts": retries}, connect_timeout=10, read_timeout=60, **more))

    def counters(self):
        """What `show process` tells, over the control edge."""
        output = subprocess.run(
            [str(BIN / "leasehold"), "show", "processes", "--json", "--config", str(self.home / "leasehold.yaml")], capture_output=True,
            timeout=PATIENCE)
        import json
        for row in json.loads(output.stdout):
            if row["process"] == "asset-cache":
                return row["counters"]
        raise AssertionError(output)


def check_store(home):
    """The index and the files of a store that nobody writes to: every reference leads to a whole blob, and every count is right."""
    import collections
    import sqlite3
    index = sqlite3.connect(f"file:{home}/store/index.sqlite?mode=ro", uri=True)
    wanted = collections.Counter()
    for (segments,) in index.execute("SELECT segments FROM object"):
        for at in range(0, len(segments), 40):
            wanted[segments[at:at + 32]] += 1
    for hash, size in index.execute("SELECT hash, size FROM part"):
        if size:
            wanted[hash] += 1
    blobs = {hash: (size, refs) for hash, size, refs in index.execute("SELECT hash, size, refs FROM blob")}
    index.close()
    assert {h: r for h, (_, r) in blobs.items()} == dict(wanted), "the counts of references are wrong"
    for hash, (size, _) in blobs.items():
        data = pathlib.Path(f"{home}/store/blobs/{hash.hex()[:2]}/{hash.hex()[2:]}").read_bytes()
        assert len(data) == size and hashlib.sha256(data).digest() == hash, "a blob is torn"
    files = sum(len(list(d.iterdir())) for d in pathlib.Path(f"{home}/store/blobs").iterdir())
    return len(blobs), files - len(blobs)


EMPTY = hashlib.sha256(b"").hexdigest()


class Signer:
    """SigV4 by hand, from the text of the specification: what no client would send can be sent with it."""

    def __init__(self, server, access=ACCESS, secret=SECRET, region="us-east-1", service="s3", when=None):
        self.server, self.access, self.secret, self.region, self.service = server, access, secret, region, service
        self.when = time.time() if when is None else when

    @property
    def stamp(self):
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.when))

    @property
    def scope(self):
        return f"{self.stamp[:8]}/{self.region}/{self.service}/aws4_request"

    def key(self):
        key = ("AWS4" + self.secret).encode()
        for part in self.scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key

    def sign(self, text):
        return hmac.new(self.key(), text.encode(), hashlib.sha256).hexdigest()

    def string_to_sign(self, canonical):
        return f"AWS4-HMAC-SHA256\n{self.stamp}\n{self.scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"

    @staticmethod
    def canonical_query(query):
        pairs = [(urllib.parse.quote(k, safe="-_.~"), urllib.parse.quote(v, safe="-_.~")) for k, v in query]
        return "&".join(f"{k}={v}" for k, v in sorted(pairs))

    def headers(self, method, path, query=(), headers=None, payload=EMPTY, signed=None, host=None):
        """`path` decoded; returns the headers of a signed request."""
        fields = {"host": host or f"127.0.0.1:{self.server.port}", "x-amz-date": self.stamp, "x-amz-content-sha256": payload}
        fields.update({k.lower(): v for k, v in (headers or {}).items()})
        names = sorted(signed or fields)
        canonical = "\n".join([
            method, urllib.parse.quote(path, safe="/-_.~"), self.canonical_query(query),
            "".join(f"{n}:{' '.join(fields[n].split())}\n" for n in names), ";".join(names), payload])
        self.signature = self.sign(self.string_to_sign(canonical))
        fields["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access}/{self.scope}, SignedHeaders={';'.join(names)}, Signature={self.signature}")
        return fields

    def presigned(self, method, path, expires=300, query=(), signed=("host",), extra=()):
        query = list(query) + [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", f"{self.access}/{self.scope}"), ("X-Amz-Date", self.stamp),
            ("X-Amz-Expires", str(expires)), ("X-Amz-SignedHeaders", ";".join(signed))] + list(extra)
        canonical = "\n".join([
            method, urllib.parse.quote(path, safe="/-_.~"), self.canonical_query(query), f"host:127.0.0.1:{self.server.port}\n", "host",
            "UNSIGNED-PAYLOAD"])
        signature = self.sign(self.string_to_sign(canonical))
        return urllib.parse.quote(path, safe="/-_.~") + "?" + self.canonical_query(query) + "&X-Amz-Signature=" + signature

    def chunks(self, pieces, trailer=None, break_at=None):
        """An aws-chunked body whose seed is the signature that `headers` made last."""
        previous, out = self.signature, b""
        for i, piece in enumerate(list(pieces) + [b""]):
            text = "\n".join([
                "AWS4-HMAC-SHA256-PAYLOAD", self.stamp, self.scope, previous, EMPTY, hashlib.sha256(piece).hexdigest()])
            previous = self.sign(text)
            shown = "0" * 64 if i == break_at else previous
            out += f"{len(piece):x};chunk-signature={shown}\r\n".encode() + piece
            out += b"" if not piece and trailer else b"\r\n"
        if trailer:
            lines = "".join(f"{k}:{v}\n" for k, v in trailer.items())
            text = "\n".join([
                "AWS4-HMAC-SHA256-TRAILER", self.stamp, self.scope, previous, hashlib.sha256(lines.encode()).hexdigest()])
            signature = "0" * 64 if break_at == "trailer" else self.sign(text)
            out += "".join(f"{k}:{v}\r\n" for k, v in trailer.items()).encode()
            out += f"x-amz-trailer-signature:{signature}\r\n\r\n".encode()
        return out


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        text = self.body.decode(errors="replace")
        return text.split("<Code>")[1].split("</Code>")[0] if "<Code>" in text else ""


def raw(server, method, target, headers, body=b"", repeated=()):
    """One request as bytes, so that targets and headers reach the server as they are written here."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{k}: {v}" for k, v in headers.items()] + [f"{k}: {v}" for k, v in repeated]
    if body or method in ("PUT", "POST"):
        lines.append(f"Content-Length: {len(body)}")
    if "connection" not in headers:
        lines.append("Connection: close")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return read_answer(connection)


def read_answer(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode(errors="replace").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    return Answer(int(lines[0].split(" ")[1]) if " " in lines[0] else 0, headers, body)


def b64(data):
    return base64.b64encode(data).decode()
