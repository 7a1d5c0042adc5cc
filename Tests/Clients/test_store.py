import os
import pathlib
import signal
import socket
import subprocess
import threading
import unittest

from harness import BIN, PATIENCE, Server, Signer, check_store, raw

MIB = 1 << 20


def code(context):
    return context.exception.response["Error"]["Code"], context.exception.response["ResponseMetadata"]["HTTPStatusCode"]


class StoreTests(unittest.TestCase):
    def setUp(self):
        from botocore.exceptions import ClientError
        self.Refused = ClientError

    def serve(self, **settings):
        server = Server(**settings)
        self.addCleanup(server.stop)
        return server, server.client()

    def test_the_bound_is_kept_and_what_is_asked_for_stays(self):
        server, s3 = self.serve(size="16MiB")
        s3.create_bucket(Bucket="cache")
        s3.put_object(Bucket="cache", Key="hot", Body=b"h" * MIB)
        for i in range(40):
            s3.put_object(Bucket="cache", Key=f"scan/{i}", Body=os.urandom(MIB))
            self.assertEqual(len(s3.get_object(Bucket="cache", Key="hot")["Body"].read()), MIB)
            self.assertLessEqual(server.counters()["bytes-used"], 16 * MIB) if i % 10 == 0 else None
        left = [o["Key"] for o in s3.list_objects_v2(Bucket="cache")["Contents"]]
        self.assertEqual(len(left), 16)
        self.assertGreater(server.counters()["evictions"], 20)
        check_store(server.home)
        server.restart(signal.SIGTERM)
        self.assertEqual(server.client().list_objects_v2(Bucket="cache")["KeyCount"], 16)
        self.assertEqual(server.counters()["objects"], 16)

    def test_pinned_buckets_are_never_evicted_and_can_be_full(self):
        server, s3 = self.serve(size="16MiB", pinned="kept")
        for name in ("kept", "cache"):
            s3.create_bucket(Bucket=name)
        for i in range(8):
            s3.put_object(Bucket="kept", Key=str(i), Body=os.urandom(MIB))
        for i in range(30):
            s3.put_object(Bucket="cache", Key=str(i), Body=os.urandom(MIB))
        self.assertEqual(s3.list_objects_v2(Bucket="kept")["KeyCount"], 8)
        self.assertEqual(s3.list_objects_v2(Bucket="cache")["KeyCount"], 8)
        for i in range(8, 16):
            s3.put_object(Bucket="kept", Key=str(i), Body=os.urandom(MIB))
        for bucket in ("kept", "cache"):
            with self.assertRaises(self.Refused) as context:
                s3.put_object(Bucket=bucket, Key="more", Body=os.urandom(MIB))
            self.assertEqual(code(context), ("InsufficientStorage", 507))
        self.assertEqual(len(s3.get_object(Bucket="kept", Key="3")["Body"].read()), MIB)
        with self.assertRaises(self.Refused) as context:
            s3.put_object(Bucket="cache", Key="huge", Body=b"x" * (17 * MIB))
        self.assertEqual(code(context), ("EntityTooLarge", 400))
        s3.delete_object(Bucket="kept", Key="0")
        s3.put_object(Bucket="cache", Key="more", Body=os.urandom(MIB - 4096))
        server.restart()
        self.assertEqual(server.client().list_objects_v2(Bucket="kept")["KeyCount"], 15)
        check_store(server.home)

    @unittest.skipUnless(os.geteuid() == 0, "mounting a small disk needs root")
    def test_on_a_full_disk_reads_go_on_and_writes_are_told(self):
        mount = "mkdir -p HOME/store && mount -t tmpfs -o size=20m none HOME/store && exec \"$@\""
        server, s3 = self.serve(wrapper=["unshare", "-m", "sh", "-c", mount, "sh"])
        s3.create_bucket(Bucket="disk")
        stored = 0
        with self.assertRaises(self.Refused) as context:
            for i in range(40):
                s3.put_object(Bucket="disk", Key=str(i), Body=bytes([i]) * MIB)
                stored += 1
        self.assertEqual(code(context), ("InsufficientStorage", 507))
        self.assertGreater(stored, 10)
        for i in range(stored):
            self.assertEqual(s3.get_object(Bucket="disk", Key=str(i))["Body"].read(), bytes([i]) * MIB)
        for i in range(5):
            s3.delete_object(Bucket="disk", Key=str(i))
        s3.put_object(Bucket="disk", Key="again", Body=b"x" * MIB)
        self.assertEqual(len(s3.get_object(Bucket="disk", Key="again")["Body"].read()), MIB)

    def damage(self, server):
        paths = [p for p in (server.home / "store" / "blobs").rglob("*") if p.is_file()]
        self.assertEqual(len(paths), 1)
        data = bytearray(paths[0].read_bytes())
        data[len(data) // 2] ^= 1
        paths[0].write_bytes(data)

    def test_reads_that_verify_never_show_damaged_bytes(self):
        server, s3 = self.serve(verify="true")
        s3.create_bucket(Bucket="rot")
        body = os.urandom(100_000)
        s3.put_object(Bucket="rot", Key="k", Body=body)
        self.damage(server)
        with self.assertRaises(self.Refused) as context:
            s3.get_object(Bucket="rot", Key="k")
        self.assertEqual(code(context), ("InternalError", 500))
        s3.put_object(Bucket="rot", Key="k", Body=body)
        self.assertEqual(s3.get_object(Bucket="rot", Key="k")["Body"].read(), body)

    def wait_for(self, server, what, condition):
        for _ in range(2000):
            counters = server.counters()
            if condition(counters):
                return counters
        self.fail(f"waited for {what}: {counters}")

    def test_the_scrub_sets_damaged_blobs_aside_and_removes_what_nobody_knows(self):
        server, s3 = self.serve(scrub="1s")
        s3.create_bucket(Bucket="rot")
        body = os.urandom(100_000)
        s3.put_object(Bucket="rot", Key="k", Body=body)
        self.damage(server)
        orphan = server.home / "store" / "blobs" / "ab" / ("cd" * 31)
        orphan.write_bytes(b"left by a crash")
        self.wait_for(server, "the scrub", lambda c: c["damaged"] > 0 and c["orphans"] > 0)
        self.assertFalse(orphan.exists())
        self.assertEqual(len(list((server.home / "store" / "damaged").iterdir())), 1)
        with self.assertRaises(self.Refused) as context:
            s3.get_object(Bucket="rot", Key="k")
        self.assertEqual(code(context), ("InternalError", 500))
        s3.put_object(Bucket="rot", Key="k", Body=body)
        self.assertEqual(s3.get_object(Bucket="rot", Key="k")["Body"].read(), body)

    def test_a_directory_has_one_process(self):
        server, s3 = self.serve()
        second = subprocess.run(
            [str(BIN / "leasehold-asset-cache"), "--config", str(server.home / "leasehold.yaml")], capture_output=True, timeout=PATIENCE,
            env={**os.environ, "NOTIFY_SOCKET": ""})
        self.assertNotEqual(second.returncode, 0)
        s3.list_buckets()

    def test_without_its_section_it_says_what_is_missing(self):
        server, _ = self.serve()
        other = server.home / "other.yaml"
        for text, status in (("runtime-directory: run\n", 78), ("asset-cache: { size: 1 }\n", 78), ("asset-cache: { backing: {} }\n", 78)):
            other.write_text(text)
            result = subprocess.run([str(BIN / "leasehold-asset-cache"), "--config", str(other)], capture_output=True, timeout=PATIENCE)
            self.assertEqual(result.returncode, status, result.stderr)

    def test_sigterm_lets_a_response_finish(self):
        server, s3 = self.serve()
        s3.create_bucket(Bucket="drain")
        body = os.urandom(32 * MIB)
        s3.put_object(Bucket="drain", Key="k", Body=body)
        got = s3.get_object(Bucket="drain", Key="k")
        start = got["Body"].read(1000)
        server.process.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in server.notify.recv(4096).decode():
            pass
        self.assertEqual(start + got["Body"].read(), body)
        self.assertEqual(server.process.wait(PATIENCE), 0)

    def test_a_socket_that_the_manager_opened_is_served(self):
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        script = 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=asset-cache; exec "$@" 3<&' + str(listener.fileno())
        server = Server(wrapper=["sh", "-c", script, "sh"], listener=listener)
        self.addCleanup(server.stop)
        self.assertEqual(server.port, port)
        self.assertEqual(server.client().list_buckets()["Buckets"], [])

    def test_many_callers_at_once(self):
        server, s3 = self.serve()
        s3.create_bucket(Bucket="many")
        failures = []

        def work(number):
            try:
                mine = server.client()
                for i in range(15):
                    body = f"{number} {i}".encode() * 100
                    mine.put_object(Bucket="many", Key=f"{number}/{i}", Body=body)
                    assert mine.get_object(Bucket="many", Key=f"{number}/{i}")["Body"].read() == body
                    mine.put_object(Bucket="many", Key="contended", Body=body)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(s3.list_objects_v2(Bucket="many")["KeyCount"], 181)
        check_store(server.home)


if __name__ == "__main__":
    unittest.main()
