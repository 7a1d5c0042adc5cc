import json
import subprocess
import unittest

from harness import BIN, PATIENCE, Server
from origin import Origin, ask, response

FRESH = {"Cache-Control": "max-age=600"}


class OrderTests(unittest.TestCase):
    def setUp(self):
        self.origin = Origin()
        self.addCleanup(self.origin.stop)
        self.server = Server(more=f'  fetch: {{ allow-private: ["127.0.0.1:{self.origin.port}"] }}')
        self.addCleanup(self.server.stop)

    def run_cache(self, *command):
        return subprocess.run([str(BIN / "leasehold"), "cache", *command, "--config", str(self.server.home / "leasehold.yaml")],
                              capture_output=True, text=True, timeout=PATIENCE)

    def cached(self, path):
        return ask(self.server.port, self.origin.url + path, headers={"Cache-Control": "only-if-cached"}).status == 200

    def until(self, look):
        for _ in range(5000):
            if look():
                return
        self.fail("it did not come to this")

    def test_warming_purging_and_counting(self):
        for path in ("/a/1", "/a/2", "/b"):
            self.origin.on[path] = response(headers=FRESH, body=path.encode())
        self.assertEqual(self.run_cache("warm", *[self.origin.url + p for p in ("/a/1", "/a/2", "/b")]).returncode, 0)
        for path in ("/a/1", "/a/2", "/b"):
            self.until(lambda: self.cached(path))
        stats = json.loads(self.run_cache("stats", "--json").stdout)
        self.assertEqual(stats["counters"]["cache-stored"], 3)
        self.assertEqual(stats["hosts"][0]["host"], "127.0.0.1")
        self.assertIn("cache-hits", self.run_cache("stats").stdout)
        self.assertIn("1 removed", self.run_cache("purge", self.origin.url + "/b").stdout)
        self.assertFalse(self.cached("/b"))
        self.assertTrue(self.cached("/a/1"))
        self.run_cache("purge", self.origin.url + "/a/*")
        self.until(lambda: not self.cached("/a/1") and not self.cached("/a/2"))

    def test_verifying_finds_what_is_damaged(self):
        self.origin.on["/x"] = response(headers=FRESH, body=b"x" * 5000)
        ask(self.server.port, self.origin.url + "/x")
        self.until(lambda: self.cached("/x"))
        self.assertEqual(self.run_cache("verify").returncode, 0)
        self.until(lambda: self.server.counters()["scrubbed"] == 1)
        self.assertEqual(self.server.counters()["damaged"], 0)

    def test_wrong_orders_are_refused(self):
        self.assertEqual(self.run_cache("purge", "nonsense").returncode, 64)
        self.assertEqual(self.run_cache("warm", "nonsense").returncode, 64)


if __name__ == "__main__":
    unittest.main()
