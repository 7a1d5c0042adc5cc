import base64
import hashlib
import http.client
import os
import socket
import time
import unittest
import urllib.request
import zlib

from harness import EMPTY, PATIENCE, Server, Signer, b64, raw, read_answer

UNSIGNED, SIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


class SignatureTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.s3 = cls.server.client()
        cls.s3.create_bucket(Bucket="signed")
        cls.s3.put_object(Bucket="signed", Key="k", Body=b"value")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def get(self, path="/signed/k", target=None, query=(), signer=None, change=None, repeated=(), method="GET", **more):
        signer = signer or Signer(self.server)
        headers = signer.headers(method, path, query, **more)
        if change:
            change(headers)
        return raw(self.server, method, target or path, {k: v for k, v in headers.items() if v is not None}, repeated=repeated)

    def assertCode(self, answer, status, code):
        self.assertEqual((answer.status, answer.code), (status, code), answer.body)

    # What must be accepted

    def test_a_signed_request_is_served(self):
        self.assertEqual(self.get().body, b"value")

    def test_the_path_is_encoded_once(self):
        for key in ("a b", "a+b", "a%20b", "a%2Fb", "~a-b_c.d", "ü", "a//b", "(x)'!*"):
            self.s3.put_object(Bucket="signed", Key=key, Body=key.encode())
            import urllib.parse
            for target in {urllib.parse.quote("/signed/" + key, safe="/-_.~"), urllib.parse.quote("/signed/" + key, safe="/-_.~+()'!*")}:
                self.assertEqual(self.get(f"/signed/{key}", target).body, key.encode(), (key, target))

    def test_the_query_is_sorted_by_encoded_name_and_value(self):
        for query, target in (
            ([("prefix", ""), ("list-type", "2")], "/signed?prefix&list-type=2"),
            ([("prefix", ""), ("list-type", "2")], "/signed?prefix=&list-type=2"),
            ([("prefix", "a b"), ("list-type", "2")], "/signed?list-type=2&prefix=a%20b"),
            ([("prefix", "a b"), ("list-type", "2")], "/signed?list-type=2&prefix=a+b"),
            ([("prefix", "a+b"), ("list-type", "2")], "/signed?list-type=2&prefix=a%2Bb"),
            ([("prefix", "a/ü=&"), ("list-type", "2")], "/signed?list-type=2&prefix=a/%C3%BC%3D%26"),
            ([("prefix", "x"), ("prefix", "a"), ("list-type", "2")], "/signed?prefix=x&list-type=2&prefix=a"),
            ([("list-type", "2"), ("X", "1"), ("x", "2")], "/signed?x=2&list-type=2&X=1"),
        ):
            self.assertEqual(self.get("/signed", target, query).status, 200, target)

    def test_header_values_are_trimmed_and_joined(self):
        answer = self.get(headers={"x-amz-meta-a": "one   two"}, change=lambda h: h.update({"x-amz-meta-a": "   one   two  "}))
        self.assertEqual(answer.status, 200)
        signer = Signer(self.server)
        answer = self.get(signer=signer, headers={"x-amz-meta-a": "1,2"}, change=lambda h: h.pop("x-amz-meta-a"),
                          repeated=[("x-amz-meta-a", "1"), ("X-Amz-Meta-A", " 2 ")])
        self.assertEqual(answer.status, 200)

    def test_a_folded_header_is_refused_or_unfolded_but_never_misread(self):
        headers = Signer(self.server).headers("GET", "/signed/k", headers={"x-amz-meta-a": "one two"})
        text = "GET /signed/k HTTP/1.1\r\n" + "".join(
            f"{k}: {v}\r\n" if k != "x-amz-meta-a" else "x-amz-meta-a: one\r\n two\r\n" for k, v in headers.items())
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as connection:
            connection.sendall(text.encode() + b"connection: close\r\n\r\n")
            self.assertIn(read_answer(connection).status, (200, 400))

    def test_any_region_is_accepted_and_signed_for(self):
        self.assertEqual(self.get(signer=Signer(self.server, region="mars-north-7")).status, 200)
        def change(headers):
            headers["authorization"] = headers["authorization"].replace("us-east-1", "us-east-2")
        self.assertCode(self.get(change=change), 403, "SignatureDoesNotMatch")

    def test_clocks_may_differ_by_fifteen_minutes(self):
        for offset in (-890, 890):
            self.assertEqual(self.get(signer=Signer(self.server, when=time.time() + offset)).status, 200, offset)
        for offset in (-910, 910, -86_400):
            self.assertCode(self.get(signer=Signer(self.server, when=time.time() + offset)), 403, "RequestTimeTooSkewed")

    def test_the_date_header_serves_where_there_is_no_x_amz_date(self):
        signer = Signer(self.server)
        headers = signer.headers("GET", "/signed/k", headers={"date": signer.stamp}, signed=None)
        fields = {k: v for k, v in headers.items() if k != "x-amz-date"}
        signed = sorted(k for k in fields if k != "authorization")
        canonical = "\n".join(["GET", "/signed/k", "", "".join(f"{n}:{fields[n]}\n" for n in signed), ";".join(signed), EMPTY])
        signature = signer.sign(signer.string_to_sign(canonical))
        fields["authorization"] = f"AWS4-HMAC-SHA256 Credential=demo/{signer.scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"
        self.assertEqual(raw(self.server, "GET", "/signed/k", fields).status, 200)

    # What must be refused

    def test_every_change_of_a_signed_request_is_noticed(self):
        self.assertCode(self.get(target="/signed/other"), 403, "SignatureDoesNotMatch")
        self.assertCode(self.get(target="/signed/k?versionId=null"), 403, "SignatureDoesNotMatch")
        self.assertCode(self.get(change=lambda h: h.update({"host": f"localhost:{self.server.port}"})), 403, "SignatureDoesNotMatch")
        self.assertCode(self.get(change=lambda h: h.update({"host": "127.0.0.1"})), 403, "SignatureDoesNotMatch")
        self.assertCode(self.get(change=lambda h: h.update({"x-amz-content-sha256": "0" * 64})), 403, "SignatureDoesNotMatch")
        self.assertCode(self.get(headers={"range": "bytes=0-1"}, change=lambda h: h.update({"range": "bytes=0-2"})), 403, "SignatureDoesNotMatch")
        self.assertCode(self.get(signer=Signer(self.server, secret="wrong-secret-01")), 403, "SignatureDoesNotMatch")
        headers = Signer(self.server).headers("GET", "/signed/k")
        self.assertCode(raw(self.server, "DELETE", "/signed/k", headers), 403, "SignatureDoesNotMatch")

    def test_a_header_that_is_not_signed_and_should_be(self):
        self.assertCode(self.get(change=lambda h: h.update({"x-amz-meta-evil": "1"})), 403, "AccessDenied")
        signed = ["x-amz-content-sha256", "x-amz-date"]
        self.assertCode(self.get(signed=signed), 403, "AccessDenied")
        self.assertCode(self.get(headers={"x-amz-acl": "private"}, change=lambda h: h.pop("x-amz-acl")), 403, "AccessDenied")

    def test_a_malformed_authorization(self):
        def with_authorization(change):
            def apply(headers):
                headers["authorization"] = change(headers["authorization"])
            return self.get(change=apply)
        cases = [
            (lambda a: "AWS demo:abc", 400, "InvalidRequest"),
            (lambda a: a.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), 400, "InvalidRequest"),
            (lambda a: "Bearer x", 400, "InvalidRequest"),
            (lambda a: a.replace("SignedHeaders", "Signed"), 400, "AuthorizationHeaderMalformed"),
            (lambda a: a.replace("/aws4_request", "/aws5_request"), 400, "AuthorizationHeaderMalformed"),
            (lambda a: a.replace("/s3/", "/ec2/"), 400, "AuthorizationHeaderMalformed"),
            (lambda a: a.replace("Credential=demo/2", "Credential=demo/1"), 400, "AuthorizationHeaderMalformed"),
            (lambda a: a.replace("Credential=demo/", "Credential="), 400, "AuthorizationHeaderMalformed"),
            (lambda a: a.replace("host;", "HOST;"), 400, "AuthorizationHeaderMalformed"),
            (lambda a: a.replace("host;x-amz-content-sha256", "x-amz-content-sha256;host"), 400, "AuthorizationHeaderMalformed"),
            (lambda a: a + ", Signature=" + "0" * 64, 400, "AuthorizationHeaderMalformed"),
            (lambda a: a[:-1], 403, "SignatureDoesNotMatch"),
            (lambda a: a[:-64] + a[-64:].upper(), 403, "SignatureDoesNotMatch"),
            (lambda a: a.replace("Credential=demo", "Credential=nobody"), 403, "InvalidAccessKeyId"),
        ]
        for i, (change, status, code) in enumerate(cases):
            answer = with_authorization(change)
            self.assertEqual((answer.status, answer.code), (status, code), (i, answer.body))

    def test_one_mechanism_at_a_time(self):
        signer = Signer(self.server)
        target = signer.presigned("GET", "/signed/k")
        self.assertCode(raw(self.server, "GET", target, signer.headers("GET", "/signed/k")), 400, "InvalidArgument")
        headers = signer.headers("GET", "/signed/k")
        self.assertCode(raw(self.server, "GET", "/signed/k", headers, repeated=[("Authorization", headers["authorization"])]), 400, "InvalidArgument")

    def test_missing_pieces(self):
        self.assertCode(self.get(change=lambda h: h.update({"authorization": None})), 403, "AccessDenied")
        signer = Signer(self.server)
        headers = signer.headers("GET", "/signed/k", signed=["host", "x-amz-date"])
        del headers["x-amz-content-sha256"]
        self.assertCode(raw(self.server, "GET", "/signed/k", headers), 400, "MissingSecurityHeader")
        for wrong in ("nonsense", EMPTY.upper(), "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"):
            answer = self.get(payload=wrong)
            self.assertIn((answer.status, answer.code), ((400, "InvalidArgument"), (501, "NotImplemented")), wrong)

    def test_a_body_that_is_not_what_was_signed(self):
        signer = Signer(self.server)
        headers = signer.headers("PUT", "/signed/body", payload=hashlib.sha256(b"right").hexdigest())
        self.assertCode(raw(self.server, "PUT", "/signed/body", headers, b"wrong"), 400, "XAmzContentSHA256Mismatch")
        self.assertEqual(self.get("/signed/body").code, "NoSuchKey")
        headers = signer.headers("PUT", "/signed?lifecycle"[:7], [("lifecycle", "")])
        self.assertIn(raw(self.server, "PUT", "/signed?lifecycle", headers, b"<x/>").code, ("XAmzContentSHA256Mismatch",))

    def test_a_body_without_length_or_cut_short(self):
        signer = Signer(self.server)
        headers = signer.headers("PUT", "/signed/cut", payload="UNSIGNED-PAYLOAD")
        text = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as connection:
            connection.sendall(f"PUT /signed/cut HTTP/1.1\r\n{text}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".encode())
            self.assertCode(read_answer(connection), 411, "MissingContentLength")
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as connection:
            connection.sendall(f"PUT /signed/cut HTTP/1.1\r\n{text}content-length: 10\r\n\r\nabc".encode())
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        self.assertEqual(self.get("/signed/cut").code, "NoSuchKey")

    # Presigned

    def test_presigned_urls(self):
        signer = Signer(self.server)
        host = {"host": f"127.0.0.1:{self.server.port}"}
        ask = lambda target, method="GET", headers=host, body=b"": raw(self.server, method, target, headers, body)
        self.assertEqual(ask(signer.presigned("GET", "/signed/k")).body, b"value")
        self.assertEqual(ask(signer.presigned("PUT", "/signed/pre"), "PUT", body=b"new").status, 200)
        self.assertEqual(self.get("/signed/pre").body, b"new")
        self.assertCode(ask(signer.presigned("GET", "/signed/k"), "DELETE"), 403, "SignatureDoesNotMatch")
        self.assertCode(ask(signer.presigned("GET", "/signed/k") + "&response-content-type=text/html"), 403, "SignatureDoesNotMatch")
        self.assertCode(ask(signer.presigned("GET", "/signed/k"), headers={**host, "x-amz-meta-a": "1"}), 403, "AccessDenied")
        for expires in (0, -1, 604_801, "x"):
            self.assertCode(ask(signer.presigned("GET", "/signed/k", expires=expires)), 400, "AuthorizationQueryParametersError")
        self.assertEqual(ask(signer.presigned("GET", "/signed/k", expires=604_800)).status, 200)
        for offset, code in ((-400, "AccessDenied"), (1000, "AccessDenied")):
            self.assertCode(ask(Signer(self.server, when=time.time() + offset).presigned("GET", "/signed/k")), 403, code)
        self.assertEqual(ask(Signer(self.server, when=time.time() - 1000).presigned("GET", "/signed/k", expires=2000)).status, 200)
        self.assertEqual(ask(Signer(self.server, when=time.time() + 800).presigned("GET", "/signed/k")).status, 200)
        twice = signer.presigned("GET", "/signed/k", extra=[("X-Amz-Expires", "300")])
        self.assertCode(ask(twice), 400, "AuthorizationQueryParametersError")

    def test_urls_that_boto3_signs(self):
        # Left alone, boto3 signs URLs for endpoints like ours with version 2.
        s3 = self.server.client(signature_version="s3v4")
        old = self.s3.generate_presigned_url("get_object", Params={"Bucket": "signed", "Key": "k"})
        self.assertCode(raw(self.server, "GET", old.split(str(self.server.port))[1], {"host": "localhost"}), 400, "InvalidRequest")
        url = s3.generate_presigned_url("get_object", Params={"Bucket": "signed", "Key": "k", "ResponseContentType": "text/x"}, ExpiresIn=60)
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            self.assertEqual((answer.read(), answer.headers["content-type"]), (b"value", "text/x"))
        url = s3.generate_presigned_url("put_object", Params={"Bucket": "signed", "Key": "up ü"}, ExpiresIn=60)
        with urllib.request.urlopen(urllib.request.Request(url, data=b"body", method="PUT"), timeout=PATIENCE) as answer:
            self.assertEqual(answer.status, 200)
        self.assertEqual(self.s3.get_object(Bucket="signed", Key="up ü")["Body"].read(), b"body")

    # Chunks

    def put_chunks(self, pieces, kind=SIGNED, trailer=None, break_at=None, declared=None, change=lambda body: body, announce=None, key="chunked"):
        signer = Signer(self.server)
        whole = b"".join(pieces)
        fields = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(whole) if declared is None else declared)}
        announced = announce if announce is not None else (list(trailer)[0] if trailer else None)
        if announced:
            fields["x-amz-trailer"] = announced
        if kind == SIGNED and trailer:
            kind += "-TRAILER"
        headers = signer.headers("PUT", f"/signed/{key}", headers=fields, payload=kind)
        if kind == UNSIGNED:
            body = b"".join(f"{len(p):x}\r\n".encode() + p + b"\r\n" for p in pieces) + b"0\r\n"
            body += "".join(f"{k}:{v}\r\n" for k, v in (trailer or {}).items()).encode() + b"\r\n"
        else:
            body = signer.chunks(pieces, trailer, break_at)
        return raw(self.server, "PUT", f"/signed/{key}", headers, change(body))

    def test_signed_chunks(self):
        pieces = [os.urandom(65_536), os.urandom(65_536), os.urandom(1024)]
        for chosen in ([], [b"x"], pieces):
            self.assertEqual(self.put_chunks(chosen).status, 200)
            self.assertEqual(self.get("/signed/chunked").body, b"".join(chosen))
        self.assertNotIn("content-encoding", self.get("/signed/chunked").headers)

    def test_the_chain_of_chunks_is_checked_link_by_link(self):
        pieces = [b"a" * 65_536, b"b" * 65_536]
        for at in (0, 1, 2):
            self.assertCode(self.put_chunks(pieces, break_at=at, key="chain"), 403, "SignatureDoesNotMatch")
        swapped = lambda body: body.replace(b"a" * 65_536, b"c" * 65_536)
        self.assertCode(self.put_chunks(pieces, change=swapped, key="chain"), 403, "SignatureDoesNotMatch")
        unsigned = lambda body: body.replace(b";chunk-signature=", b";other-signature=")
        self.assertCode(self.put_chunks(pieces, change=unsigned, key="chain"), 403, "SignatureDoesNotMatch")
        self.assertEqual(self.get("/signed/chain").code, "NoSuchKey")

    def test_the_decoded_length_is_a_bound_and_a_promise(self):
        for declared in (0, 5, 7, 100):
            answer = self.put_chunks([b"123456"], declared=declared, key="length")
            self.assertCode(answer, 400, "IncompleteBody")
        answer = self.put_chunks([b"123456"], declared="x", key="length")
        self.assertCode(answer, 411, "MissingContentLength")
        for change in (lambda b: b[:-30], lambda b: b[:20], lambda b: b + b"more", lambda b: b"zz" + b, lambda b: b"-1" + b, lambda b: b"f" * 2000):
            answer = self.put_chunks([b"123456"], change=change, key="length")
            self.assertIn(answer.code, ("IncompleteBody", "InvalidRequest", "SignatureDoesNotMatch"))
        self.assertEqual(self.get("/signed/length").code, "NoSuchKey")

    def test_trailers(self):
        body = [b"12345", b"6789"]
        good = b64(zlib.crc32(b"123456789").to_bytes(4, "big"))
        for kind in (SIGNED, UNSIGNED):
            answer = self.put_chunks(body, kind, {"x-amz-checksum-crc32": good})
            self.assertEqual((answer.status, answer.headers["x-amz-checksum-crc32"]), (200, good), answer.body)
            self.assertCode(self.put_chunks(body, kind, {"x-amz-checksum-crc32": "AAAAAA=="}, key="t"), 400, "BadDigest")
            self.assertCode(self.put_chunks(body, kind, {"x-amz-checksum-crc32": good}, announce="x-amz-checksum-sha1", key="t"), 400, "MalformedTrailerError")
            self.assertCode(self.put_chunks(body, kind, {"x-amz-other": good}, announce="x-amz-other", key="t"), 400, "InvalidRequest")
        self.assertCode(self.put_chunks(body, SIGNED, {"x-amz-checksum-crc32": good}, break_at="trailer", key="t"), 403, "SignatureDoesNotMatch")
        self.assertCode(self.put_chunks(body, UNSIGNED, None, announce="x-amz-checksum-crc32", key="t"), 400, "MalformedTrailerError")
        self.assertEqual(self.get("/signed/t").code, "NoSuchKey")

    def test_a_connection_serves_request_after_request(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        for i in range(5):
            for path, status in (("/signed/k", 200), ("/signed/absent", 404)):
                connection.request("GET", path, headers=Signer(self.server).headers("GET", path))
                answer = connection.getresponse()
                answer.read()
                self.assertEqual(answer.status, status)
        body = b"x" * 1000
        headers = Signer(self.server, secret="wrong-secret-01").headers("PUT", "/signed/k", payload=hashlib.sha256(body).hexdigest())
        connection.request("PUT", "/signed/k", body=body, headers=headers)
        self.assertEqual(connection.getresponse().read().count(b"SignatureDoesNotMatch"), 1)
        connection.request("GET", "/signed/k", headers=Signer(self.server).headers("GET", "/signed/k"))
        self.assertEqual(connection.getresponse().read(), b"value")

    def test_a_refusal_does_not_wait_for_the_body(self):
        headers = Signer(self.server, secret="wrong-secret-01").headers("PUT", "/signed/k", payload="UNSIGNED-PAYLOAD")
        text = "PUT /signed/k HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as connection:
            connection.sendall((text + "content-length: 1000000000\r\nexpect: 100-continue\r\n\r\n").encode())
            answer = read_answer(connection)
            self.assertCode(answer, 403, "SignatureDoesNotMatch")
            self.assertEqual(answer.headers["connection"], "close")


if __name__ == "__main__":
    unittest.main()
