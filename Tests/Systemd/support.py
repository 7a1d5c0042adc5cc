"""What the tests inside the throw-away machine share: units, the journal, callers."""
import contextlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

DAEMONS = ["watcher", "pool-keeper", "dispatcher", "scaler"]
EDGES = {
    "endpoints": {"server": "watcher", "users": ["leasehold-pool-keeper", "leasehold-publisher"]},
    "workers": {"server": "watcher", "users": ["leasehold-scaler"]},
    "leasing": {"server": "pool-keeper", "users": ["leasehold-dispatcher"]},
    "state": {"server": "pool-keeper", "users": ["leasehold-scaler", "leasehold-publisher"]},
    "scaling": {"server": "pool-keeper", "users": ["leasehold-scaler"]},
    "leases": {"server": "pool-keeper", "users": ["leasehold-asset-cache"]},
}
CONFIGURATION = pathlib.Path("/etc/leasehold/leasehold.yaml")
LISTENER = ("127.0.0.1", 8080)
PATIENCE = 20.0


def run(*command, check=True, timeout=PATIENCE, **more):
    done = subprocess.run([str(c) for c in command], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done


def until(what, look, patience=PATIENCE):
    """Waits for `look` to be true and returns what it returned."""
    end = time.monotonic() + patience
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < end, f"in {patience:.0f} s it did not come to this: {what}"
        time.sleep(0.02)


def unit(name):
    return f"leasehold-{name}.service"


def show(unit_name, *names):
    text = run("systemctl", "show", unit_name, *[f"--property={n}" for n in names]).stdout
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return found[names[0]] if len(names) == 1 else found


def pid(name):
    return int(show(unit(name), "MainPID"))


def pids():
    """Of every daemon, 0 where there is none, asked for at once."""
    text = run("systemctl", "show", "--property=MainPID", *[unit(d) for d in DAEMONS]).stdout
    return dict(zip(DAEMONS, [int(line.split("=")[1]) for line in text.split()]))


def is_ready(name):
    state = show(unit(name), "ActiveState", "SubState", "MainPID")
    return state["ActiveState"] == "active" and state["SubState"] == "running" and int(state["MainPID"]) > 0


def ready(*names, patience=PATIENCE):
    for name in names or DAEMONS:
        until(f"{name} is ready", lambda: is_ready(name), patience)


def journal(*matches):
    text = run("journalctl", "--output=json", "--no-pager", "--quiet", *matches, check=False).stdout
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def cursor():
    """Now, for the journal: a match that shows what came later."""
    return f"--since=@{time.time():.6f}"


def message_id(name):
    for line in pathlib.Path(os.environ["SOURCES"], "Sources/ServiceKit/MessageID.swift").read_text().splitlines():
        if f"static let {name} =" in line:
            return line.split('"')[1]
    raise KeyError(name)


def configure(text):
    CONFIGURATION.write_text(text)


def pools(maximum=4, minimum=1, idle="30s", abandon="30s", more=""):
    return f"""log-jobs: all
pools:
  - name: my-pool
    hold: {{ timeout: 60s }}
    abandon: {abandon}
    workers:
      command: [leasehold-example-worker, --port, "{{port}}"]
      ports: 21000-21007
      min: {minimum}
      max: {maximum}
      idle: {idle}
listeners:
  - name: http
    address: 127.0.0.1:8080
    pool: my-pool
{more}"""


def get(path="/render?ms=5", timeout=PATIENCE):
    """Status and headers of one job on a connection of its own."""
    connection = http.client.HTTPConnection(*LISTENER, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status, dict(answer.getheaders())
    finally:
        connection.close()


class Load:
    """Callers who ask for one job after the other, more of them than there are workers: some always wait."""

    def __init__(self, callers=12, path="/render?ms=30&bytes=20000"):
        self.path, self.lock = path, threading.Lock()
        self.served, self.lost, self.refused, self.longest = 0, [], 0, 0.0
        self.going = True
        self.threads = [threading.Thread(target=self.call, daemon=True) for _ in range(callers)]

    def call(self):
        connection = None
        while self.going:
            began = time.monotonic()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(*LISTENER, timeout=PATIENCE)
                connection.request("GET", self.path)
                answer = connection.getresponse()
                body = answer.read()
                problem = None if answer.status == 200 and len(body) == 20000 else f"{answer.status} {answer.headers.get('Leasehold-Reason')}"
            except ConnectionRefusedError:
                problem = "refused"
                connection = None
            except (OSError, http.client.HTTPException) as error:
                problem = type(error).__name__
                connection = None
            with self.lock:
                self.longest = max(self.longest, time.monotonic() - began)
                if problem is None:
                    self.served += 1
                elif problem == "refused":
                    self.refused += 1
                else:
                    self.lost.append(problem)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        until("jobs are served", lambda: self.served > len(self.threads))
        return self

    def goes_on(self, more=None):
        """Waits until every caller was served again, twice over."""
        goal = self.served + (more or 2 * len(self.threads))
        until("jobs go on", lambda: self.served >= goal)

    def __exit__(self, *exception):
        self.going = False
        for thread in self.threads:
            thread.join(PATIENCE)


class Tunnel:
    """A WebSocket to a worker that echoes: numbered messages, one after the other, each answered before the next is sent."""

    def __init__(self):
        self.socket = socket.create_connection(LISTENER, timeout=PATIENCE)
        self.socket.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.socket.recv(4096)
            assert more, head
            head += more
        assert head.startswith(b"HTTP/1.1 101"), head
        self.left = head.split(b"\r\n\r\n", 1)[1]
        self.echoed, self.problem, self.going = 0, None, True
        self.thread = threading.Thread(target=self.talk, daemon=True)
        self.thread.start()

    def receive(self, count):
        while len(self.left) < count:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("the tunnel ended")
            self.left += more
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def talk(self):
        try:
            while self.going:
                text = f"{self.echoed:08}".encode() * 12  # 96 bytes: a short length; masked with zeros
                self.socket.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
                head = self.receive(2)
                back = self.receive(head[1] & 0x7f)
                if back != text:
                    raise ConnectionError(f"sent {text}, came back {back}")
                self.echoed += 1
        except OSError as error:
            self.problem = error

    def close(self):
        self.going = False
        self.thread.join(PATIENCE)
        self.socket.close()


@contextlib.contextmanager
def dropin(unit_name, text):
    directory = pathlib.Path("/run/systemd/system") / f"{unit_name}.d"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "test.conf").write_text(text)
    run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        (directory / "test.conf").unlink()
        run("systemctl", "daemon-reload")


def as_user(user, *command, groups=None, **more):
    rights = [f"--groups={groups}"] if groups else ["--init-groups"]
    group = "nogroup" if user == "nobody" else user
    return run("setpriv", f"--reuid={user}", f"--regid={group}", *rights, "--", *command, check=False, **more)


def control_path(name):
    return f"/run/leasehold/control/{name}.sock"


def try_connect(path, kind=socket.SOCK_SEQPACKET):
    """None, or the error's name: what somebody finds who connects now."""
    family = socket.AF_INET if isinstance(path, tuple) else socket.AF_UNIX
    with socket.socket(family, kind) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(path)
        except OSError as error:
            return type(error).__name__
    return None
