"""An origin that answers, or misbehaves, as a test says; and requests to a cache as bytes. No sleeps: gates are opened by the test."""
import collections
import http.client
import socket
import threading

from harness import PATIENCE


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body


def response(status=200, headers=None, body=b"", length=True):
    lines = [f"HTTP/1.1 {status} X"]
    for name, value in (headers or {}).items():
        for item in value if isinstance(value, list) else [value]:
            lines.append(f"{name}: {item}")
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Origin:
    """`on[path]` is bytes, or a function of (request, connection) that gives bytes, or None to close the connection."""

    def __init__(self, host="127.0.0.1"):
        self.on = {}
        self.seen = []
        self.counts = collections.Counter()
        self.changed = threading.Condition()
        self.listener = socket.create_server((host, 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        connection.settimeout(PATIENCE)
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    data += piece
                head, _, data = data.partition(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ")
                headers = {}
                for line in lines[1:]:
                    name, _, value = line.partition(":")
                    headers[name.lower()] = (headers[name.lower()] + ", " if name.lower() in headers else "") + value.strip()
                length = int(headers.get("content-length", "0"))
                while len(data) < length:
                    data += connection.recv(65536)
                body, data = data[:length], data[length:]
                request = Request(method, target, headers, body)
                with self.changed:
                    self.seen.append(request)
                    self.counts[target] += 1
                    self.changed.notify_all()
                answer = self.on.get(target, response(404, body=b"nothing here"))
                if callable(answer):
                    answer = answer(request, connection)
                if answer is None:
                    return
                connection.sendall(answer)
        except OSError:
            pass
        finally:
            connection.close()

    def wait(self, target, count):
        with self.changed:
            assert self.changed.wait_for(lambda: self.counts[target] >= count, PATIENCE), f"{target} was not asked {count} times"

    def stop(self):
        # A thread in accept() would go on listening.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Reply:
    def __init__(self, answer, body):
        self.status = answer.status
        self.headers = {}
        for name, value in answer.getheaders():
            self.headers[name.lower()] = (self.headers[name.lower()] + ", " if name.lower() in self.headers else "") + value
        self.body = body

    @property
    def did(self):
        return self.headers.get("cache-status", "").split("leasehold; ")[-1]


def ask(port, target, method="GET", headers=None, body=None):
    """One request on a connection of its own, its target as written. Raises http.client.IncompleteRead for a body that was cut."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.putrequest(method, target, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Reply(answer, answer.read())
    finally:
        connection.close()
