import os
import pathlib
import signal
import socket
import unittest

from harness import PATIENCE, Server, Signer, raw, read_answer


class AccessTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from botocore.exceptions import ClientError
        cls.Refused = ClientError
        cls.server = Server(anonymous="read")
        cls.s3 = cls.server.client()
        for name in ("shared", "shared-too", "shared-not", "private"):
            cls.s3.create_bucket(Bucket=name)
            cls.s3.put_object(Bucket=name, Key="k", Body=name.encode())

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def refused(self, call, **arguments):
        with self.assertRaises(self.Refused) as context:
            call(**arguments)
        self.assertEqual(context.exception.response["ResponseMetadata"]["HTTPStatusCode"], 403)

    def test_a_key_may_do_what_its_buckets_say(self):
        reader = self.server.client("reader", "reader-secret-01")
        self.assertEqual(reader.get_object(Bucket="shared", Key="k")["Body"].read(), b"shared")
        self.assertEqual(reader.get_object(Bucket="shared-too", Key="k")["Body"].read(), b"shared-too")
        self.refused(reader.get_object, Bucket="shared-not", Key="k")
        self.refused(reader.get_object, Bucket="private", Key="k")
        self.refused(reader.put_object, Bucket="shared", Key="k", Body=b"x")
        self.refused(reader.delete_object, Bucket="shared", Key="k")
        self.refused(reader.create_bucket, Bucket="shared-more")
        self.refused(reader.delete_bucket, Bucket="shared")
        self.assertEqual([b["Name"] for b in reader.list_buckets()["Buckets"]], ["shared", "shared-too"])

    def test_a_copy_needs_to_read_its_source(self):
        writer = self.server.client("writer", "writer-secret-01")
        writer.put_object(Bucket="shared", Key="mine", Body=b"x")
        self.refused(writer.get_object, Bucket="shared", Key="mine")
        self.refused(writer.list_objects_v2, Bucket="shared")
        for source in ("shared", "private"):
            self.refused(writer.copy_object, Bucket="shared", Key="copy", CopySource={"Bucket": source, "Key": "k"})
        self.s3.delete_object(Bucket="shared", Key="mine")

    def test_a_wrong_secret_or_key_opens_nothing(self):
        self.refused(self.server.client("demo", "another-secret").list_buckets)
        self.refused(self.server.client("nobody", "demo-secret-0123").list_buckets)

    def test_anonymous_callers_from_loopback_may_what_the_option_says(self):
        host = {"host": f"127.0.0.1:{self.server.port}"}
        self.assertEqual(raw(self.server, "GET", "/private/k", host).body, b"private")
        self.assertEqual(raw(self.server, "PUT", "/private/k", host, b"x").code, "AccessDenied")
        self.assertEqual(raw(self.server, "GET", "/private/k?response-content-type=text/html", host).code, "InvalidRequest")

    def test_virtual_host_style(self):
        virtual = self.server.client(style="virtual")
        # The names resolve here as they would through a resolver of the operator's.
        def host(name):
            return {"host": f"{name}:{self.server.port}"}
        for name in ("shared.assets.test", "shared.localhost", "SHARED.ASSETS.TEST"):
            self.assertEqual(raw(self.server, "GET", "/k", host(name)).body, b"shared", name)
        self.assertEqual(raw(self.server, "GET", "/shared/k", host("assets.test")).body, b"shared")
        signer = Signer(self.server)
        headers = signer.headers("PUT", "/v", host=f"shared.assets.test:{self.server.port}", payload="UNSIGNED-PAYLOAD")
        self.assertEqual(raw(self.server, "PUT", "/v", headers, b"virtual").status, 200)
        self.assertEqual(self.s3.get_object(Bucket="shared", Key="v")["Body"].read(), b"virtual")
        answer = raw(self.server, "GET", "/", signer.headers("GET", "/", host="shared.assets.test"))
        self.assertIn(b"<Name>shared</Name>", answer.body)
        self.assertEqual(virtual.get_object(Bucket="shared", Key="k")["Body"].read(), b"shared") if resolves("shared.localhost") else None

    def test_a_host_that_is_not_ours_is_misdirected(self):
        for name in ("evil.example", "127.0.0.2", "127.0.0.1.evil.example", "assets.test.evil.example", "127.0.0.1:x", "[::1]"):
            answer = raw(self.server, "GET", "/shared/k", {"host": name})
            self.assertEqual(answer.status, 421, name)
        self.assertEqual(raw(self.server, "GET", "/shared/k", {}).status, 400)
        twice = raw(self.server, "GET", "/shared/k", {"host": "127.0.0.1"}, repeated=[("Host", "127.0.0.1")])
        self.assertEqual(twice.status, 400)

    def test_pages_of_browsers_are_kept_out(self):
        host = {"host": f"127.0.0.1:{self.server.port}"}
        for name, value in (("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")):
            self.assertEqual(raw(self.server, "GET", "/shared/k", {**host, name: value}).status, 403, value)
        for value in ("none", "same-origin"):
            self.assertEqual(raw(self.server, "GET", "/shared/k", {**host, "sec-fetch-site": value}).status, 200, value)

    def test_broken_http_is_answered_400_and_closed(self):
        for text in (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"\x16\x03\x01\x00\x00\r\n\r\n",
                     b"PUT /shared/k HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
                     b"PUT /shared/k HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
                     b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: " + b"x" * 200_000 + b"\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as connection:
                try:
                    connection.sendall(text)
                    answer = read_answer(connection)
                    self.assertEqual(answer.status, 400, text[:60])
                    self.assertEqual(connection.recv(1), b"")
                except (BrokenPipeError, ConnectionResetError):
                    pass
        for target in ("/%", "/%zz", "/shared/%f", "/shared?a=%", "*", "http://127.0.0.1/shared/k"):
            answer = raw(self.server, "GET", target, {"host": "127.0.0.1"})
            self.assertIn(answer.status, (400, 403), target)


class ReloadTests(unittest.TestCase):
    def test_keys_are_exchanged_while_it_runs(self):
        from botocore.exceptions import ClientError
        server = Server()
        try:
            server.client().create_bucket(Bucket="shared")
            reader = server.client("reader", "reader-secret-01")
            reader.list_objects_v2(Bucket="shared")
            (server.home / "reader.secret").write_text("another-secret-01\n")
            server.process.send_signal(signal.SIGHUP)
            while "READY=1" not in server.notify.recv(4096).decode():
                pass
            with self.assertRaises(ClientError):
                reader.list_objects_v2(Bucket="shared")
            server.client("reader", "another-secret-01").list_objects_v2(Bucket="shared")
        finally:
            server.stop()


def resolves(name):
    try:
        socket.getaddrinfo(name, 80)
        return True
    except OSError:
        return False


if __name__ == "__main__":
    unittest.main()
