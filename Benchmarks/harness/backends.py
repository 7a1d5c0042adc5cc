"""The 64 workers: one nginx that listens on 64 loopback addresses, so that one EndpointSlice describes them as in Kubernetes."""

import pathlib
import shutil
import socket
import threading

from .processes import Failed, Ports, Process, wait_for

COUNT = 64
HOSTS = [f"127.0.1.{number}" for number in range(1, COUNT + 1)]
BODY = "a small answer of sixty-four bytes, the same for both sides....\n"
BIG_FILE_BYTES = 256 << 20

CONFIG = """\
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log;
worker_processes {workers};
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    keepalive_timeout 600s; keepalive_requests 100000000;
    tcp_nodelay on; sendfile on; sendfile_max_chunk 256k;
    server {{
        {listens}
        location = /big {{ default_type application/octet-stream; alias {big}; }}
        location / {{ default_type text/plain; return 200 "{body}"; }}
    }}
}}
"""


class Nginx:
    """64 backends in one process per worker, on the processors of the load."""

    def __init__(self, directory: pathlib.Path, ports: Ports, plan: dict):
        self.port = ports.take(*HOSTS)
        self.big = pathlib.Path("/dev/shm") / f"leasehold-bench-{directory.name}"
        with open(self.big, "wb") as file:
            for _ in range(BIG_FILE_BYTES >> 20):
                file.write(bytes(1 << 20))
        listens = "\n        ".join(f"listen {host}:{self.port} backlog=1024;" for host in HOSTS)
        config = directory / "nginx.conf"
        config.write_text(CONFIG.format(
            directory=directory, workers=plan["workers"], listens=listens, body=BODY.replace("\n", "\\n"), big=self.big))
        self.process = Process("nginx", ["nginx", "-p", str(directory), "-c", str(config)], directory / "nginx.log", plan["load"])
        wait_for("nginx", self._answers)

    def _answers(self) -> bool:
        self.process.check_alive()
        return answers((HOSTS[-1], self.port))

    def stop(self) -> None:
        self.process.stop()
        self.big.unlink(missing_ok=True)


def answers(address: tuple[str, int]) -> bool:
    """True if a GET to this address is answered with 200 within a second."""
    try:
        with socket.create_connection(address, 1) as connection:
            connection.settimeout(1)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            return connection.recv(4096).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


class SilentWorker:
    """One worker that accepts, reads and never answers: whoever holds it keeps everyone else parked."""

    host = "127.0.2.1"

    def __init__(self, ports: Ports):
        self.port = ports.take(self.host)
        self.listener = socket.create_server((self.host, self.port), backlog=128)
        self.connections: list[socket.socket] = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                self.connections.append(self.listener.accept()[0])
            except OSError:
                return

    def stop(self) -> None:
        self.listener.close()
        for connection in self.connections:
            connection.close()


def require(*programs: str) -> None:
    missing = [name for name in programs if not shutil.which(name)]
    if missing:
        raise Failed(f"missing: {', '.join(missing)} (scripts/bootstrap bench installs them)")
