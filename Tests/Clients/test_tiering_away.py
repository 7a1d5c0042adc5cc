"""The store behind is away, comes back, or its node is killed: what was promised is kept."""
import os
import random
import threading
import unittest

from behind import BUCKET, Nodes, backing, code, drained, keys, until
from harness import PATIENCE, Server, check_store
from test_crash import body_of, version_of

MIB = 1 << 20
SEED = int(os.environ.get("LEASEHOLD_SEED", random.randrange(1 << 32)))
ROUNDS = int(os.environ.get("LEASEHOLD_CRASH_ROUNDS", "4"))


class AwayTests(Nodes):
    def test_while_the_store_behind_is_away_what_is_here_is_served(self):
        behind, store = self.behind()
        a, on_a = self.node(behind, "write-through", check_after="0")
        on_a.create_bucket(Bucket="assets")
        on_a.put_object(Bucket="assets", Key="here", Body=b"h")
        store.put_object(Bucket=BUCKET, Key="nodes/assets/there", Body=b"t")
        self.assertEqual(a.counters()["backing-up"], 1)
        behind.kill()
        for _ in range(20):
            self.assertEqual(on_a.get_object(Bucket="assets", Key="here")["Body"].read(), b"h")
        for call in (lambda: on_a.get_object(Bucket="assets", Key="there"), lambda: on_a.put_object(Bucket="assets", Key="new", Body=b"n"),
                     lambda: on_a.delete_object(Bucket="assets", Key="here"), lambda: on_a.list_objects_v2(Bucket="assets")):
            with self.assertRaises(self.Refused) as context:
                call()
            self.assertEqual(code(context), ("ServiceUnavailable", 503))
        counters = a.counters()
        self.assertEqual(counters["backing-up"], 0)
        self.assertGreater(counters["backing-unanswered"], 0)
        self.assertIn("does not answer", a.output())
        # What was refused left nothing behind.
        self.assertEqual(on_a.get_object(Bucket="assets", Key="here")["Body"].read(), b"h")
        behind.start()

        def got():
            try:
                return on_a.get_object(Bucket="assets", Key="there")["Body"].read()
            except self.Refused:
                return None

        self.assertEqual(until("the store behind to be asked again", got), b"t")
        self.assertEqual(keys(on_a), ["here", "there"])
        self.assertEqual(a.counters()["backing-up"], 1)

    def test_a_store_behind_that_stalls_or_refuses_is_told_apart(self):
        behind, store = self.behind()
        a, on_a = self.node(behind, "write-through", first_byte="300ms")
        on_a.create_bucket(Bucket="assets")
        behind.process.send_signal(19)
        with self.assertRaises(self.Refused) as context:
            on_a.put_object(Bucket="assets", Key="k", Body=os.urandom(8 * MIB))
        self.assertEqual(code(context), ("ServiceUnavailable", 503))
        behind.process.send_signal(18)
        b = Server(more=backing(behind.port, "write-back").replace("demo-secret-0123", "wrong-secret-01"))
        self.addCleanup(b.stop)
        on_b = b.client()
        with self.assertRaises(self.Refused) as context:
            on_b.create_bucket(Bucket="more")
        self.assertEqual(code(context), ("ServiceUnavailable", 503))
        self.assertIn("SignatureDoesNotMatch", b.output())

    def test_write_back_survives_a_kill_and_sends_what_it_promised_once_the_store_behind_is_there(self):
        behind, store = self.behind()
        a, on_a = self.node(behind, "write-back")
        on_a.create_bucket(Bucket="assets")
        on_a.put_object(Bucket="assets", Key="gone", Body=b"g")
        drained(a)
        behind.kill()
        bodies = {f"k{i}": os.urandom(1000 * i) for i in range(20)}
        for key, body in bodies.items():
            on_a.put_object(Bucket="assets", Key=key, Body=b"older")
            on_a.put_object(Bucket="assets", Key=key, Body=body, Metadata={"n": key})
        on_a.delete_object(Bucket="assets", Key="gone")
        self.assertEqual(a.counters()["backing-queued"], 21)
        a.restart()
        self.assertEqual(a.counters()["backing-queued"], 21)
        self.assertEqual(on_a.get_object(Bucket="assets", Key="k3")["Body"].read(), bodies["k3"])
        with self.assertRaises(self.Refused) as context:
            on_a.get_object(Bucket="assets", Key="gone")
        self.assertEqual(code(context), ("NoSuchKey", 404))
        behind.start()
        drained(a)
        self.assertEqual(keys(store, BUCKET), ["nodes/assets/"] + sorted(f"nodes/assets/{k}" for k in bodies))
        # Each went once, and the older of two not at all.
        self.assertEqual(a.counters()["backing-uploads"], 20)
        self.assertEqual(behind.counters()["writes"], 20)
        b, on_b = self.node(behind, "write-back")
        for key, body in bodies.items():
            got = on_b.get_object(Bucket="assets", Key=key)
            self.assertEqual((got["Body"].read(), got["Metadata"]), (body, {"n": key}))
        for server in (a, b, behind):
            check_store(server.home)

    def test_what_is_not_sent_yet_is_never_evicted_and_a_full_queue_says_slow_down(self):
        behind, store = self.behind()
        a, on_a = self.node(behind, "write-back", size="16MiB", queue=12)
        on_a.create_bucket(Bucket="assets")
        drained(a)
        behind.kill()
        bodies = {f"k{i}": os.urandom(MIB) for i in range(12)}
        for key, body in bodies.items():
            on_a.put_object(Bucket="assets", Key=key, Body=body)
        for call in (lambda: on_a.put_object(Bucket="assets", Key="more", Body=b"m"), lambda: on_a.delete_object(Bucket="assets", Key="other")):
            with self.assertRaises(self.Refused) as context:
                call()
            self.assertEqual(code(context), ("SlowDown", 503))
        # One that is in the queue already takes no more room there.
        bodies["k0"] = os.urandom(MIB)
        on_a.put_object(Bucket="assets", Key="k0", Body=bodies["k0"])
        a.restart()
        self.assertEqual(a.counters()["backing-unsent-bytes"], 12 * MIB)
        for key, body in bodies.items():
            self.assertEqual(on_a.get_object(Bucket="assets", Key=key)["Body"].read(), body)
        behind.start()
        drained(a)
        self.assertEqual(a.counters()["backing-unsent-bytes"], 0)
        # Now it may go, and comes back when it is asked for.
        for i in range(20):
            on_a.put_object(Bucket="assets", Key=f"later{i}", Body=os.urandom(MIB))
            drained(a)
        self.assertGreater(a.counters()["evictions"], 4)
        self.assertLessEqual(a.counters()["bytes-used"], 16 * MIB)
        for key, body in bodies.items():
            self.assertEqual(on_a.get_object(Bucket="assets", Key=key)["Body"].read(), body)
        check_store(a.home)

    def test_unsent_bytes_that_fill_the_store_say_slow_down(self):
        behind, store = self.behind()
        a, on_a = self.node(behind, "write-back", size="16MiB")
        on_a.create_bucket(Bucket="assets")
        drained(a)
        behind.kill()
        stored = 0
        with self.assertRaises(self.Refused) as context:
            for i in range(20):
                on_a.put_object(Bucket="assets", Key=str(i), Body=os.urandom(MIB))
                stored += 1
        self.assertEqual((code(context), stored), (("SlowDown", 503), 16))
        behind.start()
        drained(a)
        on_a.put_object(Bucket="assets", Key="more", Body=os.urandom(MIB))

    def test_what_was_written_before_there_was_a_store_behind_is_sent(self):
        behind, store = self.behind()
        a = Server()
        self.addCleanup(a.stop)
        s3 = a.client()
        s3.create_bucket(Bucket="assets")
        for i in range(5):
            s3.put_object(Bucket="assets", Key=str(i), Body=b"%d" % i)
        a.settings["more"] = backing(behind.port, "write-back")
        a.restart()
        drained(a)
        self.assertEqual(keys(store, BUCKET), ["nodes/assets/"] + [f"nodes/assets/{i}" for i in range(5)])

    def test_nothing_acknowledged_is_lost_whatever_is_killed(self):
        from botocore.exceptions import BotoCoreError, ClientError
        draw = random.Random(SEED)
        behind, store = self.behind()
        a, on_a = self.node(behind, "write-back", size="64MiB")
        on_a.create_bucket(Bucket="assets")
        acknowledged, tried = {}, {}

        def write(number, seed, enough):
            own = random.Random(seed)
            s3 = a.client()
            version = max([0] + [v for k, v in tried.items() if k.startswith(f"{number}/")])
            try:
                while True:
                    version += 1
                    key = f"{number}/{own.randrange(5)}"
                    tried[key] = version
                    if own.random() < 0.2:
                        s3.delete_object(Bucket="assets", Key=key)
                        acknowledged[key] = -version
                    else:
                        s3.put_object(Bucket="assets", Key=key, Body=body_of(key, version, own.choice((0, 100, 70_000, 900_000))))
                        acknowledged[key] = version
                    enough.release()
            except (BotoCoreError, ClientError, OSError):
                return

        for _ in range(ROUNDS):
            enough = threading.Semaphore(0)
            writers = [threading.Thread(target=write, args=(n, draw.randrange(1 << 32), enough)) for n in range(4)]
            for writer in writers:
                writer.start()
            for _ in range(draw.randrange(5, 60)):
                self.assertTrue(enough.acquire(timeout=PATIENCE))
            if draw.random() < 0.6:
                behind.restart()
            for _ in range(draw.randrange(1, 30)):
                self.assertTrue(enough.acquire(timeout=PATIENCE))
            a.process.kill()
            for writer in writers:
                writer.join(PATIENCE)
            a.restart()
            check_store(a.home)
        drained(a)
        b, on_b = self.node(behind, "write-back")
        for key in tried:
            found = None
            try:
                found = version_of(key, on_b.get_object(Bucket="assets", Key=key)["Body"].read())
            except ClientError as error:
                self.assertEqual(error.response["Error"]["Code"], "NoSuchKey")
            last = acknowledged.get(key, 0)
            # The last attempt may have been done without its writer's knowing it.
            if found is None:
                self.assertTrue(last <= 0 or tried[key] > abs(last), f"{key} is lost: acknowledged {last}, seed {SEED}")
            else:
                self.assertGreaterEqual(found, abs(last), f"{key} went back, seed {SEED}")
        check_store(b.home)


if __name__ == "__main__":
    unittest.main()
