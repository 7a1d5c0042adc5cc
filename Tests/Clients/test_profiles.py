import base64
import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import tarfile
import unittest

from harness import BIN, PATIENCE, Server, Signer, raw
from origin import ask


def basic(key, secret):
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()}


DEMO = basic("demo", "demo-secret-0123")
ANN = basic("ann", "ann-secret-0123")


class ProfileTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(more="  profiles: { versions: 3, largest: 4MiB }", size="16MiB")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def ask(self, method, path, body=None, headers=None, key=DEMO):
        return ask(self.server.port, "/profiles/" + path, method=method, headers={**(key or {}), **(headers or {})}, body=body)

    def test_a_profile_comes_back_as_it_was(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            info = tarfile.TarInfo("Default/Cookies")
            info.size = 300_000
            tar.addfile(info, io.BytesIO(os.urandom(300_000)))
        body = out.getvalue()
        put = self.ask("PUT", "ann/work", body)
        self.assertEqual(put.status, 201)
        self.assertEqual(put.headers["etag"], f'"{hashlib.sha256(body).hexdigest()}"')
        got = self.ask("GET", "ann/work")
        self.assertEqual((got.status, got.body, got.headers["etag"], got.headers["content-type"]), (200, body, put.headers["etag"], "application/x-tar"))
        self.assertEqual(self.ask("GET", "ann/work", headers={"If-None-Match": put.headers["etag"]}).status, 304)
        head = self.ask("HEAD", "ann/work")
        self.assertEqual((head.status, head.headers["content-length"]), (200, str(len(body))))

    def test_the_last_versions_are_kept(self):
        for i in range(1, 6):
            put = self.ask("PUT", "ann/versions", f"version {i}".encode())
            self.assertEqual(put.headers["leasehold-profile-version"], str(i))
        self.assertEqual(self.ask("GET", "ann/versions").body, b"version 5")
        self.assertEqual(self.ask("GET", "ann/versions?version=3").body, b"version 3")
        self.assertEqual(self.ask("GET", "ann/versions?version=2").status, 404)
        self.assertEqual([v["version"] for v in json.loads(self.ask("GET", "ann/versions?history").body)], [3, 4, 5])
        self.assertIn("versions", [p["name"] for p in json.loads(self.ask("GET", "ann").body)])

    def test_conditions_hold_for_writes(self):
        first = self.ask("PUT", "ann/conditions", b"1", headers={"If-None-Match": "*"})
        self.assertEqual(first.status, 201)
        self.assertEqual(self.ask("PUT", "ann/conditions", b"2", headers={"If-None-Match": "*"}).status, 412)
        self.assertEqual(self.ask("PUT", "ann/conditions", b"2", headers={"If-Match": '"no"'}).status, 412)
        self.assertEqual(self.ask("PUT", "ann/conditions", b"2", headers={"If-Match": first.headers["etag"]}).status, 200)
        self.assertEqual(self.ask("DELETE", "ann/conditions", headers={"If-Match": first.headers["etag"]}).status, 412)

    def test_deleting_removes_all_versions(self):
        for i in range(2):
            self.ask("PUT", "ann/gone", b"x%d" % i)
        self.assertEqual(self.ask("DELETE", "ann/gone").status, 204)
        self.assertEqual(self.ask("GET", "ann/gone").status, 404)
        self.assertEqual(self.ask("DELETE", "ann/gone").status, 404)

    def test_a_key_reaches_its_tenants_only(self):
        self.ask("PUT", "bob/own", b"bob")
        self.ask("PUT", "shared-x/own", b"shared")
        self.assertEqual(self.ask("GET", "bob/own", key=None).status, 401)
        self.assertEqual(self.ask("GET", "bob/own", key=basic("demo", "wrong-secret-00")).status, 403)
        self.assertEqual(self.ask("GET", "bob/own", key=basic("nobody", "x")).status, 403)
        self.assertEqual(self.ask("GET", "bob/own", key=ANN).status, 403)
        self.assertEqual(self.ask("PUT", "bob/own", b"x", key=ANN).status, 403)
        self.assertEqual(self.ask("GET", "shared-x/own", key=ANN).body, b"shared")
        self.assertEqual(self.ask("PUT", "shared-x/own", b"x", key=ANN).status, 403)
        self.assertEqual(self.ask("PUT", "ann/by-ann", b"x", key=ANN).status, 201)
        # A key of S3 alone has no tenants.
        self.assertEqual(self.ask("GET", "ann/by-ann", key=basic("reader", "reader-secret-01")).status, 403)

    def test_a_signature_serves_as_well(self):
        body = b"signed"
        signer = Signer(self.server)
        headers = signer.headers("PUT", "/profiles/ann/signed", payload=hashlib.sha256(body).hexdigest())
        self.assertEqual(raw(self.server, "PUT", "/profiles/ann/signed", headers, body).status, 201)
        self.assertEqual(raw(self.server, "PUT", "/profiles/ann/signed", headers, b"forged").status, 400)
        self.assertEqual(self.ask("GET", "ann/signed").body, body)

    def test_no_page_reaches_a_profile(self):
        self.ask("PUT", "ann/page", b"x")
        self.assertEqual(self.ask("GET", "ann/page", headers={"Origin": "http://evil.example"}).status, 403)
        self.assertEqual(self.ask("GET", "ann/page", headers={"Sec-Fetch-Site": "cross-site"}).status, 403)
        self.assertEqual(self.ask("GET", "ann/page", headers={"Host": "evil.example"}).status, 421)

    def test_wrong_names_and_sizes_are_refused(self):
        for path in ("", "a/b/c", "a/..", "../a", "a/%2e%2e", "a/b%2fc", "a/b%00", "a/" + "x" * 129):
            self.assertIn(self.ask("PUT", path, b"x").status, (400, 404), path)
        # Told before its body comes.
        self.assertEqual(self.ask("PUT", "ann/large", headers={"Content-Length": str((4 << 20) + 1), "Expect": "100-continue"}).status, 413)
        self.assertEqual(self.ask("POST", "ann/x", b"x").status, 405)

    def test_a_profile_is_not_evicted_and_not_seen_by_s3(self):
        body = os.urandom(1 << 20)
        self.ask("PUT", "ann/kept", body)
        s3 = self.server.client()
        s3.create_bucket(Bucket="filler")
        for i in range(40):
            s3.put_object(Bucket="filler", Key=str(i), Body=os.urandom(1 << 20))
        self.assertEqual(self.ask("GET", "ann/kept").body, body)
        self.assertEqual([b["Name"] for b in s3.list_buckets()["Buckets"]], ["filler"])
        self.assertGreater(self.server.counters()["evictions"], 0)

    def test_an_old_lease_does_not_overwrite_even_alone(self):
        self.assertEqual(self.ask("PUT", "ann/lease", b"1", headers={"Leasehold-Lease": "browsers/5.9"}).status, 201)
        zombie = self.ask("PUT", "ann/lease", b"0", headers={"Leasehold-Lease": "browsers/5.8"})
        self.assertEqual((zombie.status, zombie.headers["leasehold-reason"]), (409, "lease-older"))
        self.assertEqual(self.ask("PUT", "ann/lease", b"2", headers={"Leasehold-Lease": "browsers/6.1"}).status, 200)

    def test_the_operator_sees_and_removes_profiles(self):
        self.ask("PUT", "op/one", b"first")
        self.ask("PUT", "op/one", b"second")

        def run(*command):
            return subprocess.run([str(BIN / "leasehold"), "profiles", *command, "--config", str(self.server.home / "leasehold.yaml")],
                                  capture_output=True, timeout=PATIENCE)
        self.assertEqual([p["version"] for p in json.loads(run("history", "op", "one", "--json").stdout)], [1, 2])
        self.assertIn(b"one", run("list", "op").stdout)
        self.assertEqual(run("get", "op", "one").stdout, b"second")
        self.assertEqual(run("get", "op", "one", "--version", "1").stdout, b"first")
        self.assertEqual(run("rm", "op", "one").returncode, 0)
        self.assertEqual(run("get", "op", "one").returncode, 66)

    def test_an_acknowledged_profile_is_there_after_a_kill(self):
        for i in range(5):
            self.ask("PUT", "ann/kill", b"%d" % i)
            self.server.restart(signal.SIGKILL)
            self.assertEqual(self.ask("GET", "ann/kill").body, b"%d" % i)


if __name__ == "__main__":
    unittest.main()
