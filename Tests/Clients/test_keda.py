"""KEDA's external scaler, asked with gRPC's own client: the real publisher beside a real pool-keeper, dispatcher and workers."""
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import grpc
import yaml

from harness import BIN, PATIENCE, ROOT
from keda import Keda, messages
from station import Station, free_ports

SECTION = "  keda: { address: \"127.0.0.1:0\" }\n"
CODE = grpc.StatusCode


class Told:
    """What a stream tells, with when, taken by a thread of its own; `end` holds its status once it is over."""

    def __init__(self, call):
        self.call = call
        self.messages, self.end = queue.Queue(), queue.Queue()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            for message in self.call:
                self.messages.put((message.result, time.monotonic()))
            self.end.put(self.call.code())
        except grpc.RpcError as error:
            self.end.put(error.code())

    def next(self):
        return self.messages.get(timeout=PATIENCE)

    def is_silent(self):
        return self.messages.empty() and self.end.empty()


class Job:
    """A caller whose job takes so long."""

    def __init__(self, station, ms, path="/"):
        self.status = queue.Queue()
        self.began = time.monotonic()
        threading.Thread(target=lambda: self.status.put(station.get(f"{path}?ms={ms}", base=station.caller)[0]), daemon=True).start()

    def result(self):
        return self.status.get(timeout=PATIENCE)


class KedaTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        first = free_ports(2)
        api = (f"  - name: api\n    workers:\n      command: [{BIN}/leasehold-example-worker, --port, \"{{port}}\"]\n"
               f"      ports: {first}-{first + 1}\n      min: 1\n      max: 1\n")
        cls.station = Station(
            least=1, most=1, more=SECTION, pools=api, to="routes: [{ path: /, pool: browsers }, { path: /api, pool: api }]")
        cls.addClassCleanup(cls.station.stop)
        cls.keda = Keda(cls.station.addresses["keda"])
        cls.addClassCleanup(cls.keda.close)

    def setUp(self):
        self.station.until("nobody has a job", lambda: not self.keda.is_active("browsers,api"))

    def test_activity_and_demand_follow_the_jobs(self):
        self.assertEqual(self.keda.demand(), (0, 0))
        job, waits = Job(self.station, 2500), Job(self.station, 100)
        self.station.until("both are seen", lambda: self.keda.demand() == (2, 0))
        self.assertTrue(self.keda.is_active())
        self.assertFalse(self.keda.is_active("api"))
        self.assertTrue(self.keda.is_active("api,browsers"))
        # Nobody waits in this pool or that; a pool with a job is active all the same.
        self.assertEqual((job.result(), waits.result()), (200, 200))
        self.station.until("they are gone", lambda: self.keda.demand() == (0, 0))
        self.assertFalse(self.keda.is_active())

    def test_what_waits_is_counted_and_timed(self):
        jobs = [Job(self.station, 2500) for _ in range(3)]
        self.station.until("two wait", lambda: self.keda.values(metric="queue-depth")[0] == [("leasehold-queue-depth-browsers", 2, 2.0)])
        (first,), _ = self.keda.values(metric="queue-oldest")
        self.station.until("the oldest waits longer", lambda: self.keda.values(metric="queue-oldest")[0][0][2] > first[2])
        ((name, whole, exact),), age = self.keda.values(metric="queue-oldest")
        self.assertEqual((name, age), ("leasehold-queue-oldest-browsers", 0))
        self.assertGreaterEqual(whole, exact)
        self.assertLess(whole - exact, 1)
        self.assertEqual([job.result() for job in jobs], [200] * 3)
        self.station.until("nobody waits", lambda: self.keda.values(metric="queue-oldest")[0][0][1:] == (0, 0.0))

    def test_a_pool_whose_queue_is_empty_is_active_while_it_serves(self):
        job = Job(self.station, 2500)
        self.station.until("it is served", lambda: self.keda.is_active(metric="queue-depth"))
        self.assertEqual(self.keda.values(metric="queue-depth")[0], [("leasehold-queue-depth-browsers", 0, 0.0)])
        self.assertEqual(job.result(), 200)

    def test_each_pool_has_a_metric_and_the_name_chooses(self):
        self.assertEqual(self.keda.specs(), [("leasehold-demand-browsers", 1, 1.0)])
        self.assertEqual(self.keda.specs(metric="queue-oldest"), [("leasehold-queue-oldest-browsers", 10, 10.0)])
        self.assertEqual(
            self.keda.specs("browsers, api", target="2.5"), [("leasehold-demand-browsers", 3, 2.5), ("leasehold-demand-api", 3, 2.5)])
        job = Job(self.station, 2500, "/api")
        self.station.until("it is seen", lambda: self.keda.demand("api")[0] == 1)
        both = [("leasehold-demand-browsers", 0, 0.0), ("leasehold-demand-api", 1, 1.0)]
        self.assertEqual(self.keda.values(pool="browsers,api")[0], both)
        for one in both:
            self.assertEqual(self.keda.values(one[0], "browsers,api")[0], [one])
        code, text = self.keda.refusal(self.keda.values, "leasehold-demand-nothing", "browsers,api")
        self.assertEqual(code, CODE.NOT_FOUND)
        self.assertIn("leasehold-demand-browsers, leasehold-demand-api", text)
        self.assertEqual(job.result(), 200)

    def test_the_sample_is_understood(self):
        sample = yaml.safe_load((ROOT / "deploy/kubernetes/keda/scaled-object.yaml").read_text())
        ref = messages.ScaledObjectRef(scalerMetadata=sample["spec"]["triggers"][0]["metadata"])
        (spec,) = self.keda.stub.GetMetricSpec(ref, timeout=PATIENCE).metricSpecs
        self.assertEqual((spec.metricName, spec.targetSizeFloat), ("leasehold-demand-browsers", 1.0))

    def test_wrong_metadata_is_refused_with_its_key_and_the_remedy(self):
        for metadata, code, says in [
                ({}, CODE.INVALID_ARGUMENT, "pool is missing"), ({"pool": "browsers,,api"}, CODE.INVALID_ARGUMENT, "empty name"),
                ({"pool": "browsers,browsers"}, CODE.INVALID_ARGUMENT, "twice"), ({"pool": "nothing"}, CODE.NOT_FOUND, "the pools are 'browsers, api'"),
                ({"pool": "api", "metric": "queue"}, CODE.INVALID_ARGUMENT, "write demand, queue-depth, queue-oldest"),
                ({"pool": "api", "target": "none"}, CODE.INVALID_ARGUMENT, "target 'none'"),
                ({"pool": "api", "pools": "x"}, CODE.INVALID_ARGUMENT, "write pool, metric or target")]:
            ref = Keda.ref(metadata)
            for call in (
                    lambda: self.keda.stub.IsActive(ref, timeout=PATIENCE), lambda: self.keda.stub.GetMetricSpec(ref, timeout=PATIENCE),
                    lambda: self.keda.stub.GetMetrics(messages.GetMetricsRequest(scaledObjectRef=ref), timeout=PATIENCE), lambda: list(self.keda.stub.StreamIsActive(ref, timeout=PATIENCE))):
                refused, text = self.keda.refusal(call)
                self.assertEqual(refused, code, metadata)
                self.assertIn(says, text)

    def test_a_stream_is_told_the_moment_demand_leaves_zero_and_when_it_is_back(self):
        told = [Told(self.keda.stream()), Told(self.keda.stream(metric="queue-depth")), Told(self.keda.stream("api,browsers"))]
        other = Told(self.keda.stream("api"))
        for one in told + [other]:
            self.assertFalse(one.next()[0])
        for _ in range(3):
            job = Job(self.station, 1500)
            for one in told:
                result, at = one.next()
                self.assertTrue(result)
                # While it is at work, and not when somebody asks next.
                self.assertLess(at - job.began, 1.5)
            self.assertEqual(job.result(), 200)
            for one in told:
                self.assertFalse(one.next()[0])
        self.assertTrue(all(one.is_silent() for one in told + [other]))
        # One that leaves is forgotten.
        for one in told + [other]:
            one.call.cancel()
            self.assertEqual(one.end.get(timeout=PATIENCE), CODE.CANCELLED)
        self.no_stream_is_open()

    def test_one_that_opens_while_there_are_jobs_is_told_so_at_once(self):
        job = Job(self.station, 1500)
        self.station.until("it is seen", self.keda.is_active)
        told = Told(self.keda.stream())
        self.assertTrue(told.next()[0])
        self.assertFalse(told.next()[0])
        told.call.cancel()
        self.assertEqual(job.result(), 200)

    def no_stream_is_open(self):
        self.station.until("no stream is open", lambda: self.station.metric("leasehold_publisher_keda_streams") == 0)

    def test_streams_are_bounded(self):
        self.no_stream_is_open()
        channels = [Keda(self.station.addresses["keda"]) for _ in range(2)]
        told = []
        for number in range(256):
            told.append(Told(channels[number % 2].stream()))
        for one in told:
            self.assertFalse(one.next()[0])
        self.assertEqual(self.keda.refusal(lambda: list(self.keda.stream(timeout=PATIENCE)))[0], CODE.RESOURCE_EXHAUSTED)
        # A job is told to all of them, and none is in the way of another's answer.
        job = Job(self.station, 1000)
        for one in told:
            self.assertTrue(one.next()[0])
        self.assertEqual(job.result(), 200)
        for channel in channels:
            channel.close()
        self.no_stream_is_open()

    def test_what_later_versions_of_keda_ask_is_answered_as_not_there(self):
        call = self.keda.channel.unary_stream("/externalscaler.ExternalScaler/StreamMetricSpec", messages.ScaledObjectRef.SerializeToString)
        self.assertEqual(self.keda.refusal(lambda: list(call(Keda.ref({"pool": "browsers"}), timeout=PATIENCE)))[0], CODE.UNIMPLEMENTED)

    def test_calls_are_counted_and_the_door_is_shown(self):
        sample = 'leasehold_publisher_keda_calls_total{method="IsActive",outcome="not-found"}'
        before = self.station.metric(sample) or 0
        self.keda.refusal(self.keda.is_active, "nothing")
        self.assertEqual(self.station.metric(sample), before + 1)
        shown = subprocess.run(
            [BIN / "leasehold", "show", "listeners", "--json", "--config", self.station.home / "c.yaml"], capture_output=True, text=True).stdout
        self.assertIn(self.station.addresses["keda"], shown)

    def test_strangers_on_the_port_harm_nobody(self):
        host, port = self.station.addresses["keda"].rsplit(":", 1)
        told = Told(self.keda.stream())
        self.assertFalse(told.next()[0])
        for bytes_ in [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), bytes(range(256)) * 40,
                       b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(4096), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 4096]:
            for resets in (False, True):
                with socket.create_connection((host, int(port)), timeout=PATIENCE) as stranger:
                    if resets:
                        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    stranger.sendall(bytes_)
        # A question beyond what a question may be: its stream is reset, and nothing else.
        huge = {f"key{i}": "x" * 1000 for i in range(100)}
        self.assertEqual(self.keda.refusal(self.keda.is_active, **huge)[0], CODE.CANCELLED)
        self.assertFalse(self.keda.is_active())
        self.assertTrue(told.is_silent())
        told.call.cancel()


class WhileThePoolKeeperIsAway(unittest.TestCase):
    def setUp(self):
        self.station = Station(least=1, most=1, more=SECTION)
        self.addCleanup(self.station.stop)
        self.keda = Keda(self.station.addresses["keda"])
        self.addCleanup(self.keda.close)
        self.job = Job(self.station, 12_000)
        self.station.until("it is served", lambda: self.keda.demand() == (1, 0))
        self.told = Told(self.keda.stream())
        self.assertTrue(self.told.next()[0])

    def poll(self, what, look):
        """Asks until it has come to this; every answer on the way is that there is one job."""
        ages = []

        def once():
            demand, age = self.keda.demand()
            self.assertEqual(demand, 1)
            self.assertTrue(self.keda.is_active())
            ages.append(age)
            return look(age)

        self.station.until(what, once)
        return ages

    def finish(self):
        self.assertTrue(self.told.is_silent())
        self.assertEqual(self.job.result(), 200)
        self.assertFalse(self.told.next()[0])
        self.station.until("nobody has a job", lambda: self.keda.demand() == (0, 0))

    def test_killed_its_last_word_counts_with_its_age_and_its_successor_is_not_believed_too_early(self):
        former = self.station.pid("pool-keeper")
        # Whoever starts it again is held meanwhile.
        self.station.process.send_signal(signal.SIGSTOP)
        try:
            os.kill(former, signal.SIGKILL)
            self.poll("its age is told", lambda age: age > 300)
        finally:
            self.station.process.send_signal(signal.SIGCONT)
        self.poll("the next one is heard", lambda age: age == 0 and self.station.pid("pool-keeper") not in (0, former))
        self.finish()

    def test_hung_its_last_word_counts(self):
        former = self.station.pid("pool-keeper")
        os.kill(former, signal.SIGSTOP)
        # Its watchdog replaces it.
        self.poll("the next one is heard", lambda age: age == 0 and self.station.pid("pool-keeper") not in (0, former))
        self.finish()


class WithoutAPoolKeeper(unittest.TestCase):
    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="keda-"))
        self.addCleanup(shutil.rmtree, self.home)
        (self.home / "c.yaml").write_text(
            f"runtime-directory: {self.home}/run\nstate-directory: {self.home}/state\nsource: {{ directory: {self.home} }}\n"
            "pools: [{ name: browsers, service: shop/browsers }]\npublisher:\n  address: 127.0.0.1:0\n" + SECTION)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(self.home / "notify"))
            notify.settimeout(PATIENCE)
            self.process = subprocess.Popen(
                [str(BIN / "leasehold-publisher"), "--config", str(self.home / "c.yaml")], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "NOTIFY_SOCKET": str(self.home / "notify")})
            self.addCleanup(self.end)
            while True:
                message = notify.recv(4096).decode()
                if "keda on " in message:
                    self.keda = Keda(message.split("keda on ")[1].split(";")[0])
                    break
        self.addCleanup(self.keda.close)

    def end(self):
        self.process.kill()
        self.process.wait()

    def test_nothing_is_told_rather_than_zero(self):
        for call in (self.keda.is_active, self.keda.values):
            code, text = self.keda.refusal(call)
            self.assertEqual(code, CODE.UNAVAILABLE)
            self.assertIn("pool browsers: the pool-keeper has not been heard", text)
        # What needs nobody's word is answered.
        self.assertEqual(self.keda.specs(), [("leasehold-demand-browsers", 1, 1.0)])
        # A stream is silent until somebody knows.
        silent = self.keda.stream(timeout=1)
        self.assertEqual(self.keda.refusal(lambda: next(silent))[0], CODE.DEADLINE_EXCEEDED)

    def test_streams_end_whole_when_it_stops(self):
        told = [Told(self.keda.stream()) for _ in range(5)]
        # An answer on the same connection: they have begun.
        self.keda.specs()
        self.process.terminate()
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertEqual([one.end.get(timeout=PATIENCE) for one in told], [CODE.OK] * 5)


class WhenThePublisherDies(unittest.TestCase):
    def test_its_successor_answers_on_the_same_socket(self):
        station = Station(least=1, most=1, more=SECTION)
        self.addCleanup(station.stop)
        keda = Keda(station.addresses["keda"])
        self.addCleanup(keda.close)
        told = Told(keda.stream())
        self.assertFalse(told.next()[0])
        os.kill(station.pid("publisher"), signal.SIGKILL)
        self.assertEqual(told.end.get(timeout=PATIENCE), CODE.UNAVAILABLE)
        answer = keda.stub.GetMetricSpec(Keda.ref({"pool": "browsers"}), timeout=PATIENCE, wait_for_ready=True)
        self.assertEqual(answer.metricSpecs[0].metricName, "leasehold-demand-browsers")


if __name__ == "__main__":
    unittest.main()
