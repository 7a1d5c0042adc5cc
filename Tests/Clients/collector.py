"""A small collector of OpenTelemetry: takes OTLP over HTTP and reads it with the project's own messages. It can be slow, hang, refuse and go away."""
import http.server
import socket
import threading
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from harness import PATIENCE, hold_port


class Span:
    """A span with the facts that tests ask for; ids are hexadecimal text."""

    def __init__(self, span, resource, scope):
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.name, self.kind, self.start, self.end = span.name, span.kind, span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
        self.status, self.resource, self.scope = span.status.code, resource, scope

    @property
    def seconds(self):
        return (self.end - self.start) / 1e9


class Collector:
    def __init__(self):
        self.lock = threading.Condition()
        self.spans, self.problems, self.requests = [], [], 0
        self.open = threading.Event()
        self.open.set()
        self.status = 200
        self.server, self.connections = None, []
        self.held = hold_port()
        self.port = self.held.getsockname()[1]
        self.start()

    def start(self):
        """On the port of the first time."""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                outer.connections.append(self.connection)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    outer.requests += 1
                    outer.lock.notify_all()
                if not outer.open.wait(60):
                    return
                status = outer.status
                if status == 200:
                    outer.take(self, body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True

            def handle_error(self, *_):
                pass  # a client that did not wait

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.port}"

    def take(self, request, body):
        message = ExportTraceServiceRequest()
        problems = []
        if request.path != "/v1/traces" or request.headers["Content-Type"] != "application/x-protobuf":
            problems.append(f"{request.path} {request.headers['Content-Type']}")
        message.ParseFromString(body)
        # What a newer protobuf would write the same is what was meant.
        if ExportTraceServiceRequest.FromString(message.SerializeToString()) != message or message.ByteSize() != len(body):
            problems.append("it holds what this version of the messages does not know")
        spans = []
        for resource in message.resource_spans:
            facts = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                spans += [Span(span, facts, (scope.scope.name, scope.scope.version)) for span in scope.spans]
        with self.lock:
            self.spans += spans
            self.problems += problems
            self.lock.notify_all()

    def until(self, what, look, patience=PATIENCE):
        """Waits until `look`, which is given the spans so far, is true."""
        with self.lock:
            end = time.monotonic() + patience
            while True:
                seen = look(self.spans)
                if seen:
                    return seen
                if not self.lock.wait(end - time.monotonic()):
                    raise AssertionError(f"it did not come to this: {what}; {len(self.spans)} spans came")

    def trace(self, number, count):
        """The spans of that trace by name, once there are so many."""
        found = self.until(f"{count} spans of {number}", lambda spans: (
            lambda own: own if len(own) >= count else None)([s for s in spans if s.trace == number]))
        assert len({s.name for s in found}) == len(found), [s.name for s in found]
        return {s.name: s for s in found}

    def away(self):
        """Nobody listens, and whoever was connected is cut off."""
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was closed before
        self.connections = []

    def stop(self):
        self.open.set()
        self.away()
        self.held.close()
