import http.client
import os
import socket
import threading
import unittest
import urllib.parse

from harness import PATIENCE, Server, hold_port
from origin import Origin, ask, response

MORE = """
  fetch: {{ allow-hosts: ["*"], allow-private: ["127.0.0.1:{port}"], connect-ports: [443, {port}] }}
  caching: {{ first-byte: 1s, idle: 1s, connect: 1s, largest: 4MiB, negative: 0s }}
  reverse:
    - {{ address: "127.0.0.1:{reverse}", origin: "http://127.0.0.1:{port}" }}
"""
FRESH = {"Cache-Control": "max-age=600"}


HELD = []


def free_port():
    """One that is nobody else's until these tests end."""
    HELD.append(hold_port())
    return HELD[-1].getsockname()[1]


class HTTPCacheTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin()
        cls.reverse = free_port()
        cls.server = Server(more=MORE.format(port=cls.origin.port, reverse=cls.reverse))

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.origin.stop()

    def proxy(self, path, **more):
        return ask(self.server.port, self.origin.url + path, **more)

    def fetch(self, path, **more):
        return ask(self.server.port, "/fetch?url=" + urllib.parse.quote(self.origin.url + path, safe=""), **more)

    def stored(self, path, count=1):
        """Waits until what was asked for is on disk: it is served before."""
        for _ in range(2000):
            if self.proxy(path, headers={"Cache-Control": "only-if-cached"}).did.startswith("hit"):
                return
        self.fail("never stored")

    # MARK: the three ways

    def test_a_second_request_is_served_from_the_node(self):
        for name, get in (("proxy", self.proxy), ("fetch", self.fetch)):
            path = f"/way-{name}"
            self.origin.on[path] = response(headers={**FRESH, "ETag": '"1"'}, body=b"x" * 1000)
            first, second = get(path), get(path)
            self.assertEqual((first.status, first.body), (200, b"x" * 1000))
            self.assertIn("fwd=uri-miss; fwd-status=200", first.did)
            self.assertEqual((second.status, second.body), (200, b"x" * 1000))
            self.assertEqual(self.origin.counts[path], 1)
            self.assertIn("age", second.headers)

    def test_a_reverse_address_is_the_origin(self):
        self.origin.on["/reverse?q=1"] = response(headers=FRESH, body=b"r")
        for _ in range(2):
            self.assertEqual(ask(self.reverse, "/reverse?q=1", headers={"Host": "anything.example"}).body, b"r")
        self.assertEqual(self.origin.counts["/reverse?q=1"], 1)
        self.assertEqual(self.origin.seen[-1].headers["host"], f"127.0.0.1:{self.origin.port}")

    def test_what_one_way_stored_another_does_not_show(self):
        self.origin.on["/apart"] = response(headers=FRESH, body=b"r")
        ask(self.reverse, "/apart")
        self.assertIn("fwd=uri-miss", self.proxy("/apart").did)

    def test_connect_passes_bytes_through(self):
        self.origin.on["/tunnel"] = response(body=b"t")
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as s:
            # What follows the request in the same packet belongs to the other side.
            s.sendall(f"CONNECT 127.0.0.1:{self.origin.port} HTTP/1.1\r\nHost: x\r\n\r\nGET /tunnel HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            data = b""
            while not data.endswith(b"\r\n\r\nt"):
                piece = s.recv(65536)
                self.assertTrue(piece, data)
                data += piece
        self.assertTrue(data.startswith(b"HTTP/1.1 200 "))

    def test_connect_leads_only_to_allowed_ports_and_public_addresses(self):
        other = Origin()
        for target, error in ((f"127.0.0.1:{other.port}", "http_request_denied"), ("127.0.0.1:443", "destination_ip_prohibited"),
                              ("[::ffff:169.254.169.254]:443", "destination_ip_prohibited"), ("localhost:443", "destination_ip_prohibited"),
                              ("nonsense", "http_request_error")):
            reply = ask(self.server.port, target, method="CONNECT", headers={"Host": "x"})
            self.assertEqual((reply.status, reply.headers["proxy-status"]), (400 if error.endswith("error") else 403, f"leasehold; error={error}"), target)
        self.assertEqual(other.connections, 0)
        other.stop()

    def test_a_tunnel_to_nobody_says_so(self):
        nobody = free_port()
        server = Server(more=MORE.format(port=nobody, reverse=free_port()))
        try:
            self.assertEqual(ask(server.port, f"127.0.0.1:{nobody}", method="CONNECT", headers={"Host": "x"}).status, 502)
        finally:
            server.stop()

    # MARK: targets

    def test_private_targets_are_refused_and_never_connected_to(self):
        other = Origin()
        for host in ("127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]",
                     "[2002:7f00:1::]", "0.0.0.0", "[::]", "[::1]"):
            for reply in (ask(self.server.port, f"http://{host}:{other.port}/x", headers={"Host": "x"}),
                          ask(self.server.port, "/fetch?url=" + urllib.parse.quote(f"http://{host}:{other.port}/x", safe=""))):
                self.assertIn(reply.status, (403, 502), host)
                self.assertIn(reply.headers["proxy-status"], ("leasehold; error=destination_ip_prohibited", "leasehold; error=dns_error"), host)
        self.assertEqual(other.connections, 0)
        other.stop()

    def test_redirects_into_private_networks_are_refused(self):
        other = Origin()
        for i, location in enumerate((f"http://127.0.0.1:{other.port}/", f"http://localhost:{other.port}/", f"//[::ffff:127.0.0.1]:{other.port}/",
                                      "http://169.254.169.254/latest/meta-data/", f"http://127.0.0.1:{self.server.port}/", "http://127.0.0.1:%d/" % self.reverse)):
            self.origin.on[f"/trap{i}"] = response(302, {"Location": location, "Cache-Control": "max-age=60"})
            for _ in range(2):
                reply = self.fetch(f"/trap{i}")
                self.assertEqual((reply.status, reply.headers["proxy-status"]), (403, "leasehold; error=destination_ip_prohibited"), location)
        self.assertEqual(other.connections, 0)
        other.stop()

    def test_fetch_follows_redirects_and_the_proxy_hands_them_on(self):
        self.origin.on["/from"] = response(301, {"Location": "a/../to", "Cache-Control": "no-store"})
        self.origin.on["/to"] = response(headers=FRESH, body=b"there")
        self.assertEqual(self.fetch("/from").body, b"there")
        self.assertEqual(self.proxy("/from").status, 301)
        target = "/fetch?redirect=manual&url=" + urllib.parse.quote(self.origin.url + "/from", safe="")
        self.assertEqual(ask(self.server.port, target).status, 301)

    def test_a_circle_of_redirects_ends(self):
        self.origin.on["/circle"] = response(302, {"Location": "/circle", "Cache-Control": "max-age=60"})
        self.assertEqual(self.fetch("/circle").status, 508)

    def test_a_redirect_to_another_site_takes_no_secrets_along(self):
        other = Origin()
        server = Server(more=f'  fetch: {{ allow-private: ["127.0.0.1:{other.port}", "127.0.0.1:{self.origin.port}"] }}')
        try:
            self.origin.on["/leak"] = response(302, {"Location": f"http://127.0.0.1:{other.port}/x", "Cache-Control": "no-store"})
            other.on["/x"] = response(body=b"ok")
            target = "/fetch?url=" + urllib.parse.quote(self.origin.url + "/leak", safe="")
            reply = ask(server.port, target, headers={"Authorization": "Basic c2VjcmV0", "Cookie": "a=1"})
            self.assertEqual(reply.body, b"ok")
            self.assertIn("cookie", self.origin.seen[-1].headers)
            self.assertFalse({"cookie", "authorization"} & set(other.seen[-1].headers))
        finally:
            server.stop()
            other.stop()

    def test_loops_end(self):
        # The reverse address leads to an origin that sends the request back to it.
        def back(request, connection):
            reply = ask(self.reverse, "/loop", headers={"CDN-Loop": request.headers["cdn-loop"], "Via": request.headers["via"]})
            return response(reply.status, {"Cache-Control": "no-store"}, reply.body)
        self.origin.on["/loop"] = back
        self.assertEqual(ask(self.reverse, "/loop").status, 508)
        self.assertEqual(self.origin.counts["/loop"], 1)

    def test_only_listed_hosts_are_asked(self):
        server = Server(more=f'  fetch: {{ allow-hosts: ["example.org", "*.example.com"], allow-private: ["127.0.0.1:{self.origin.port}"] }}')
        try:
            for target in (self.origin.url + "/x", "http://example.com/", "http://xexample.org/"):
                reply = ask(server.port, target, headers={"Host": "x"})
                self.assertEqual((reply.status, reply.headers["proxy-status"]), (403, "leasehold; error=http_request_denied"))
        finally:
            server.stop()

    def test_without_a_fetch_section_there_is_no_proxy(self):
        server = Server()
        try:
            self.assertEqual(ask(server.port, self.origin.url + "/x", headers={"Host": "x"}).status, 403)
            self.assertEqual(ask(server.port, "/fetch?url=http%3A%2F%2Fa%2F").status, 403)
            # Origin form is what is left of CONNECT, and that is no S3 request.
            self.assertIn(ask(server.port, "a:443", method="CONNECT", headers={"Host": "127.0.0.1"}).status, (400, 403, 405, 501))
        finally:
            server.stop()

    # MARK: pages beside us

    def test_fetch_answers_no_page_of_a_stranger(self):
        self.origin.on["/page"] = response(headers=FRESH, body=b"x")
        self.assertEqual(self.fetch("/page", headers={"Host": "evil.example"}).status, 421)
        self.assertEqual(self.fetch("/page", headers={"Origin": "http://evil.example"}).status, 403)
        for site in ("cross-site", "same-site"):
            self.assertEqual(self.fetch("/page", headers={"Sec-Fetch-Site": site}).status, 403)
        for site in ("none", "same-origin"):
            self.assertEqual(self.fetch("/page", headers={"Sec-Fetch-Site": site}).status, 200)
        self.assertEqual(self.fetch("/page", method="POST", body=b"").status, 405)
        # The proxy is another matter: it is where pages' requests come in.
        self.assertEqual(self.proxy("/page", headers={"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}).status, 200)

    def test_wrong_urls_are_refused(self):
        for url in ("ftp://a/", "a", "", "http://u@a/", "file:///etc/passwd", "http://a b/"):
            self.assertEqual(ask(self.server.port, "/fetch?url=" + urllib.parse.quote(url, safe="")).status, 400, url)
        self.assertEqual(ask(self.server.port, "/fetch").status, 400)

    # MARK: one question for many

    def test_a_thousand_callers_make_one_origin_fetch(self):
        callers, body = 1000, os.urandom(100_000)
        gate = threading.Event()

        def slow(request, connection):
            gate.wait(PATIENCE)
            return response(headers=FRESH, body=body)
        self.origin.on["/cold"] = slow
        bodies = []
        server = Server(more=f'  fetch: {{ allow-private: ["127.0.0.1:{self.origin.port}"] }}')
        self.addCleanup(server.stop)
        # Sockets, not threads: all of them have sent their request before the origin may answer.
        sockets = []
        for _ in range(callers):
            s = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
            s.sendall(f"GET {self.origin.url}/cold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            sockets.append(s)
        self.origin.wait("/cold", 1)
        # The first waiter leaves.
        sockets.pop(0).close()
        gate.set()
        for s in sockets:
            data = b""
            while piece := s.recv(1 << 20):
                data += piece
            s.close()
            bodies.append(data.partition(b"\r\n\r\n")[2])
        self.assertEqual((bodies.count(body), [b[:200] for b in bodies if b != body][:3]), (callers - 1, []))
        self.assertEqual(self.origin.counts["/cold"], 1)
        counters = server.counters()
        # The one who left may have been read from, or not.
        self.assertGreaterEqual(counters["cache-collapsed"] + counters["cache-hits"], callers - 2)

    def test_the_first_waiter_may_leave(self):
        gate = threading.Event()

        def slow(request, connection):
            gate.wait(PATIENCE)
            return response(headers=FRESH, body=b"late")
        self.origin.on["/leave"] = slow
        first = socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)
        first.sendall(f"GET {self.origin.url}/leave HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.origin.wait("/leave", 1)
        replies = []
        second = threading.Thread(target=lambda: replies.append(self.proxy("/leave")))
        second.start()
        first.close()
        gate.set()
        second.join()
        self.assertEqual((replies[0].body, self.origin.counts["/leave"]), (b"late", 1))

    def test_what_is_for_one_is_not_handed_to_another(self):
        gate = threading.Event()

        def own(request, connection):
            gate.wait(PATIENCE)
            return response(headers={"Cache-Control": "private"}, body=request.headers["cookie"].encode())
        self.origin.on["/own"] = own
        replies = {}

        def get(i):
            replies[i] = self.proxy("/own", headers={"Cookie": f"c={i}"}).body
        threads = [threading.Thread(target=get, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        self.origin.wait("/own", 1)
        gate.set()
        for thread in threads:
            thread.join()
        self.assertEqual(replies, {i: f"c={i}".encode() for i in range(20)})

    def test_a_body_is_passed_on_while_it_comes(self):
        gate = threading.Event()

        def halves(request, connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 8\r\n\r\nhalf")
            gate.wait(PATIENCE)
            return b"half"
        self.origin.on["/halves"] = halves
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as s:
            s.sendall(f"GET {self.origin.url}/halves HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            data = b""
            while not data.endswith(b"\r\n\r\nhalf"):
                data += s.recv(65536)
            gate.set()
            while not data.endswith(b"halfhalf"):
                data += s.recv(65536)

    # MARK: origins that misbehave

    def test_an_origin_that_says_nothing_is_a_504(self):
        gate = threading.Event()
        self.origin.on["/silent"] = lambda request, connection: gate.wait(PATIENCE) and None
        reply = self.proxy("/silent")
        gate.set()
        self.assertEqual((reply.status, reply.headers["proxy-status"]), (504, "leasehold; error=http_response_timeout"))

    def test_a_head_that_goes_to_the_origin_says_whether_what_is_stored_holds(self):
        self.origin.on["/head"] = response(headers={"Cache-Control": "max-age=600", "ETag": '"1"'}, body=b"x" * 100)
        self.proxy("/head")
        self.stored("/head")
        # It goes there because of its condition.
        fields = {"If-Match": '"1"'}
        self.origin.on["/head"] = lambda request, _: response(headers={"Cache-Control": "max-age=600", "ETag": '"1"', "X-New": "1"}, body=b"x" * 100)[
            :-100 if request.method == "HEAD" else None]
        self.assertEqual(self.proxy("/head", method="HEAD", headers=fields).status, 200)
        fresh = self.proxy("/head")
        self.assertTrue(fresh.did.startswith("hit"))
        self.assertEqual((fresh.headers.get("x-new"), len(fresh.body)), ("1", 100))
        self.origin.on["/head"] = lambda request, _: response(headers={"Cache-Control": "max-age=600", "ETag": '"2"'}, body=b"y" * 100)[
            :-100 if request.method == "HEAD" else None]
        self.assertEqual(self.proxy("/head", method="HEAD", headers=fields).status, 200)
        self.assertIn("fwd=uri-miss", self.proxy("/head").did)

    def test_a_host_that_cannot_be_reached_is_not_tried_again_for_a_while(self):
        nobody = free_port()
        server = Server(more=f'''
  fetch: {{ allow-private: ["127.0.0.1:{nobody}"] }}
  caching: {{ negative: 60s }}''')
        self.addCleanup(server.stop)
        for i in range(5):
            reply = ask(server.port, f"http://127.0.0.1:{nobody}/{i}")
            self.assertEqual((reply.status, reply.headers["proxy-status"]), (502, "leasehold; error=connection_refused"))
        counters = server.counters()
        self.assertEqual((counters["origin-requests"], counters["origin-dead"]), (1, 4))

    def test_https_origins_are_believed_when_their_authority_is(self):
        from behind import Terminator
        tls = Terminator(self.origin.port)
        self.addCleanup(tls.close)
        reverse = free_port()
        more = f'''
  fetch: {{{{ allow-private: ["127.0.0.1:{tls.port}", "[::1]:{tls.port}"], connect-ports: [{tls.port}]{{trust}} }}}}
  reverse:
    - {{{{ address: "127.0.0.1:{reverse}", origin: "https://localhost:{tls.port}" }}}}'''
        self.origin.on["/tls"] = response(headers=FRESH, body=b"s" * 1000)
        target = "/fetch?url=" + urllib.parse.quote(f"https://localhost:{tls.port}/tls", safe="")
        stranger = Server(more=more.format(trust=""))
        reply = ask(stranger.port, target)
        stranger.stop()
        self.assertEqual((reply.status, reply.headers["proxy-status"]), (502, "leasehold; error=tls_protocol_error"))
        self.assertEqual((self.origin.counts["/tls"], tls.handshakes), (0, 0))
        server = Server(more=more.format(trust=f", trust-file: {tls.certificate}"))
        self.addCleanup(server.stop)
        first = ask(server.port, target)
        for _ in range(2000):
            second = ask(server.port, target)
            if second.did.startswith("hit"):
                break
        self.assertTrue(second.did.startswith("hit"), second.did)
        self.assertEqual((first.status, first.body, second.body), (200, b"s" * 1000, b"s" * 1000))
        self.assertEqual(self.origin.counts["/tls"], 1)
        self.assertEqual(ask(reverse, "/tls").body, b"s" * 1000)
        # A tunnel's TLS is its caller's affair.
        import ssl
        context = ssl.create_default_context(cafile=tls.certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=PATIENCE, context=context)
        connection.set_tunnel("localhost", tls.port)
        # CONNECT goes to an address that is allowed; the name is checked by the caller.
        connection.request("GET", "/tls")
        self.assertEqual(connection.getresponse().read(), b"s" * 1000)
        connection.close()

    def test_an_origin_that_is_not_there_is_a_502(self):
        nobody = free_port()
        server = Server(more=MORE.format(port=nobody, reverse=free_port()))
        try:
            reply = ask(server.port, f"http://127.0.0.1:{nobody}/", headers={"Host": "x"})
            self.assertEqual((reply.status, reply.headers["proxy-status"]), (502, "leasehold; error=connection_refused"))
        finally:
            server.stop()

    def test_what_is_no_http_is_a_502(self):
        for i, junk in enumerate((b"", b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
                                  b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n")):
            def answer(request, connection, junk=junk):
                connection.sendall(junk)
                return None
            self.origin.on[f"/junk{i}"] = answer
            reply = self.proxy(f"/junk{i}")
            self.assertEqual(reply.status, 502, junk)

    def test_a_body_that_is_cut_is_cut_and_never_stored(self):
        cut = [b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nonly this",
               b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
               b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"]
        for i, answer in enumerate(cut):
            def broken(request, connection, answer=answer):
                connection.sendall(answer)
                return None
            self.origin.on[f"/cut{i}"] = broken
            for _ in range(2):
                with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
                    self.proxy(f"/cut{i}")
            self.assertEqual(self.origin.counts[f"/cut{i}"], 2)

    def test_a_body_that_stalls_is_cut(self):
        gate = threading.Event()

        def stall(request, connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nonly this")
            gate.wait(PATIENCE)
            return None
        self.origin.on["/stall"] = stall
        with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
            self.proxy("/stall")
        gate.set()

    def test_bytes_behind_a_response_are_nobodys(self):
        poison = response(headers=FRESH, body=b"true") + response(headers=FRESH, body=b"poison")
        self.origin.on["/behind"] = poison
        self.origin.on["/after"] = response(headers=FRESH, body=b"after")
        self.assertEqual(self.proxy("/behind").body, b"true")
        for i in range(5):
            self.origin.on[f"/after{i}"] = response(headers=FRESH, body=b"after")
            self.assertEqual(self.proxy(f"/after{i}").body, b"after")

    def test_a_body_that_ends_with_its_connection_is_whole(self):
        def answer(request, connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\n" + b"y" * 3000)
            return None
        self.origin.on["/close"] = answer
        self.assertEqual(self.proxy("/close").body, b"y" * 3000)
        self.stored("/close")
        self.assertEqual(self.proxy("/close").body, b"y" * 3000)
        self.assertEqual(self.origin.counts["/close"], 1)

    def test_what_is_too_large_to_keep_goes_through_whole(self):
        body = os.urandom(9 << 20)

        def chunked(request, connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 1 << 20):
                connection.sendall(b"100000\r\n" + body[at:at + (1 << 20)] + b"\r\n")
            return b"0\r\n\r\n"
        self.origin.on["/large-chunked"] = chunked
        self.origin.on["/large"] = response(headers=FRESH, body=body)
        for path in ("/large-chunked", "/large"):
            for _ in range(2):
                self.assertEqual(self.proxy(path).body, body)
            self.assertEqual(self.origin.counts[path], 2)

    def test_a_kept_connection_that_the_origin_closed_is_not_the_callers_trouble(self):
        def once(request, connection):
            connection.sendall(response(headers={"Cache-Control": "no-store"}, body=b"1"))
            return None
        self.origin.on["/once"] = once
        for _ in range(10):
            self.assertEqual(self.proxy("/once").body, b"1")

    # MARK: rules, on real sockets

    def test_conditions_and_ranges_are_answered_from_the_node(self):
        body = os.urandom(300_000)
        self.origin.on["/asset"] = response(headers={**FRESH, "ETag": '"v"'}, body=body)
        self.assertEqual(self.proxy("/asset").body, body)
        self.stored("/asset")
        self.assertEqual(self.proxy("/asset", headers={"If-None-Match": '"v"'}).status, 304)
        part = self.proxy("/asset", headers={"Range": "bytes=100000-199999"})
        self.assertEqual((part.status, part.body, part.headers["content-range"]), (206, body[100000:200000], "bytes 100000-199999/300000"))
        self.assertEqual(self.proxy("/asset", headers={"Range": "bytes=300000-"}).status, 416)
        self.assertEqual(self.proxy("/asset", method="HEAD").headers["content-length"], "300000")
        self.assertEqual(self.proxy("/asset").body, body)
        self.assertEqual(self.origin.counts["/asset"], 1)

    def test_parts_are_kept_and_put_together(self):
        body = os.urandom(1000)

        def part(request, connection):
            first, last = request.headers["range"].removeprefix("bytes=").split("-")
            first, last = int(first), int(last)
            return response(206, {**FRESH, "ETag": '"p"', "Content-Range": f"bytes {first}-{last}/1000"}, body[first:last + 1])
        self.origin.on["/parts"] = part

        def get(first, last):
            reply = self.proxy("/parts", headers={"Range": f"bytes={first}-{last}"})
            self.assertEqual((reply.status, reply.body), (206, body[first:last + 1]))
            return reply.did
        self.assertIn("fwd=uri-miss", get(0, 499))
        while "fwd" in get(0, 499):
            pass
        self.assertIn("hit", get(100, 200))
        self.assertIn("fwd=partial", get(400, 999))
        while "fwd" in get(400, 999):
            pass
        # Both parts together are the whole.
        self.assertIn("hit", get(450, 550))
        whole = self.proxy("/parts")
        self.assertEqual((whole.status, whole.body), (200, body))
        self.assertIn("hit", whole.did)

    def test_a_stale_asset_is_validated(self):
        def answer(request, connection):
            if request.headers.get("if-none-match") == '"s"':
                return response(304, {"ETag": '"s"', "Cache-Control": "max-age=600"})
            return response(headers={"ETag": '"s"', "Cache-Control": "max-age=0"}, body=b"same")
        self.origin.on["/stale"] = answer
        self.proxy("/stale")
        while "fwd-status=200" in (second := self.proxy("/stale")).did:
            pass
        self.assertEqual((second.status, second.body), (200, b"same"))
        # The new freshness is written down after the answer; until then it is asked for again.
        while "fwd" in (third := self.proxy("/stale")).did:
            self.assertIn("fwd-status=304", third.did)
        self.assertIn("hit", third.did)

    def test_what_must_be_validated_is_not_given_to_who_asks_after_its_end(self):
        for kind, fields in (("length", {}), ("chunked", {"Transfer-Encoding": "chunked"})):
            for i in range(20):
                path = f"/after-{kind}-{i}"

                def answer(request, connection):
                    body = str(self.origin.counts[path]).encode()
                    if fields:
                        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
                    return response(headers={"Cache-Control": "max-age=0", **fields}, body=body, length=not fields)
                self.origin.on[path] = answer
                # The second comes while the first answer is being stored.
                self.assertEqual([self.proxy(path).body for _ in range(3)], [b"1", b"2", b"3"])

    def test_a_stale_asset_stands_in_for_an_origin_that_fails(self):
        state = {"status": 200}

        def answer(request, connection):
            if state["status"] is None:
                return None
            return response(state["status"], {"ETag": '"e"', "Cache-Control": "max-age=0, stale-if-error=600"}, b"good" if state["status"] == 200 else b"bad")
        self.origin.on["/error"] = answer
        self.proxy("/error")
        self.stored_stale("/error")
        for status in (500, 503, None):
            state["status"] = status
            reply = self.proxy("/error")
            self.assertEqual((reply.status, reply.body), (200, b"good"), status)
            self.assertIn("stale-if-error", reply.did)

    def stored_stale(self, path):
        for _ in range(2000):
            if self.proxy(path, headers={"Cache-Control": "only-if-cached, max-stale"}).did.startswith("hit"):
                return
        self.fail("never stored")

    def test_stale_while_revalidate_answers_at_once_and_asks_behind(self):
        gate = threading.Event()
        gate.set()

        def answer(request, connection):
            gate.wait(PATIENCE)
            return response(headers={"ETag": f'"{self.origin.counts["/swr"]}"', "Cache-Control": "max-age=0, stale-while-revalidate=600"},
                            body=str(self.origin.counts["/swr"]).encode())
        self.origin.on["/swr"] = answer
        self.proxy("/swr")
        self.stored_stale("/swr")
        before = self.origin.counts["/swr"]
        gate.clear()
        # The first may come while the question before is not quite over.
        for _ in range(2000):
            reply = self.proxy("/swr")
            self.assertIn("hit; ttl=", reply.did)
            if self.origin.counts["/swr"] > before:
                break
        self.origin.wait("/swr", before + 1)
        for _ in range(10):
            self.assertIn("hit", self.proxy("/swr").did)
        self.assertEqual(self.origin.counts["/swr"], before + 1)
        gate.set()
        for _ in range(2000):
            if self.proxy("/swr").body != reply.body:
                return
        self.fail("never replaced")

    def test_variants_are_told_apart(self):
        self.origin.on["/vary"] = lambda request, connection: response(headers={**FRESH, "Vary": "Accept-Language"}, body=request.headers.get("accept-language", "-").encode())
        for language in ("de", "en", "fr"):
            self.assertEqual(self.proxy("/vary", headers={"Accept-Language": language}).body, language.encode())
        for language in ("de", "en", "fr", "de"):
            self.assertEqual(self.proxy("/vary", headers={"Accept-Language": language}).body, language.encode())

    def test_cookies_are_never_shared(self):
        self.origin.on["/set"] = lambda request, connection: response(headers={**FRESH, "Set-Cookie": f"id={self.origin.counts['/set']}"}, body=b"x")
        cookies = {self.proxy("/set").headers.get("set-cookie") for _ in range(5)}
        self.assertEqual(cookies, {f"id={i}" for i in range(1, 6)})
        self.origin.on["/with"] = lambda request, connection: response(headers=FRESH, body=request.headers.get("cookie", "none").encode())
        for i in range(3):
            self.assertEqual(self.proxy("/with", headers={"Cookie": f"a={i}"}).body, f"a={i}".encode())
        self.assertEqual(self.proxy("/with").body, b"none")

    def test_a_write_makes_what_is_stored_untrue(self):
        self.origin.on["/thing"] = lambda request, connection: response(
            headers=FRESH, body=request.body if request.method == "POST" else str(self.origin.counts["/thing"]).encode())
        self.assertEqual(self.proxy("/thing").body, b"1")
        self.stored("/thing")
        self.assertEqual(self.proxy("/thing", method="POST", body=b"a body").body, b"a body")
        self.assertEqual(self.proxy("/thing").body, b"3")

    def test_what_the_origin_sees_is_what_the_caller_sent(self):
        self.origin.on["/seen"] = response(headers={"Cache-Control": "no-store", "Connection": "X-Hop", "X-Hop": "1", "X-End": "2"}, body=b"")
        reply = self.proxy("/seen", headers={"X-A": "1", "Connection": "X-B", "X-B": "2", "Proxy-Authorization": "secret", "Leasehold-Lease": "x", "If-None-Match": '"q"'})
        seen = self.origin.seen[-1].headers
        self.assertEqual(seen["x-a"], "1")
        self.assertIn("leasehold-", seen["via"])
        self.assertFalse({"x-b", "proxy-authorization", "leasehold-lease"} & set(seen))
        self.assertEqual(reply.headers["x-end"], "2")
        self.assertNotIn("x-hop", reply.headers)

    def test_what_was_stored_is_there_after_a_kill(self):
        body = os.urandom(200_000)
        self.origin.on["/kill"] = response(headers=FRESH, body=body)
        self.proxy("/kill")
        self.stored("/kill")
        self.server.restart()
        reply = self.proxy("/kill")
        self.assertEqual((reply.body, reply.did.split(";")[0], self.origin.counts["/kill"]), (body, "hit", 1))

    def test_old_callers_are_answered_in_their_way(self):
        def answer(request, connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            return b"0\r\n\r\n"
        self.origin.on["/old"] = answer
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as s:
                s.sendall(f"GET {self.origin.url}/old HTTP/1.0\r\n\r\n".encode())
                data = b""
                while piece := s.recv(65536):
                    data += piece
            self.assertTrue(data.startswith(b"HTTP/1.0 200"))
            self.assertTrue(data.endswith(b"\r\n\r\nhello"), data)


if __name__ == "__main__":
    unittest.main()
