"""Spans from end to end: a caller's trace goes through the real dispatcher to a real worker, and a collector reads what the publisher exports."""
import concurrent.futures
import http.client
import pathlib
import secrets
import threading
import time
import unittest

from collector import Collector
from harness import PATIENCE
from station import Station

NAMES = {"job", "hold", "lease", "dial", "session"}
SERVER, CLIENT, INTERNAL, ERROR = 2, 3, 1, 2


def trace_section(collector, sample):
    return f"  trace: {{ otlp: \"{collector.url}\", sample: {sample} }}\n"


class Caller:
    """Calls, and keeps what the worker was told of the trace."""

    def __init__(self, station):
        self.host = station.caller.removeprefix("http://")

    def call(self, path="/?head=1", headers=None):
        """Status, headers, and the `traceparent`s that the worker saw."""
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            lines = answer.read().decode(errors="replace").splitlines()
            seen = [line.split(": ", 1)[1] for line in lines if line.lower().startswith("traceparent: ")]
            return answer.status, answer.headers, seen
        finally:
            connection.close()


def fresh(flag="01"):
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    return trace, parent, f"00-{trace}-{parent}-{flag}"


class OnlyWhatCallersKeep(unittest.TestCase):
    """With `sample: 0`."""

    @classmethod
    def setUpClass(cls):
        cls.collector = Collector()
        cls.addClassCleanup(cls.collector.stop)
        cls.station = Station(least=1, most=1, more=trace_section(cls.collector, 0))
        cls.addClassCleanup(cls.station.stop)
        cls.caller = Caller(cls.station)

    def tearDown(self):
        self.assertEqual(self.collector.problems, [])

    def test_a_callers_trace_goes_through_to_the_worker_and_every_span_is_in_its_place(self):
        trace, parent, text = fresh()
        before = time.time_ns()
        status, headers, seen = self.caller.call("/?head=1&ms=150", {"traceparent": text})
        after = time.time_ns()
        self.assertEqual((status, len(seen)), (200, 1))
        version, told_trace, told_span, flags = seen[0].split("-")
        self.assertEqual((version, told_trace, flags), ("00", trace, "01"))
        spans = self.collector.trace(trace, 5)
        self.assertEqual(set(spans), NAMES)
        self.assertEqual(spans["job"].parent, parent)
        self.assertEqual((spans["hold"].parent, spans["lease"].parent), (spans["job"].id, spans["job"].id))
        self.assertEqual((spans["dial"].parent, spans["session"].parent), (spans["lease"].id, spans["lease"].id))
        # What the worker begins is below our session.
        self.assertEqual(spans["session"].id, told_span)
        self.assertEqual(len({s.id for s in spans.values()} | {parent}), 6)
        self.assertEqual({s.name: s.kind for s in spans.values()}, {
            "job": SERVER, "hold": INTERNAL, "lease": INTERNAL, "dial": CLIENT, "session": CLIENT})
        # One after the other, within what the caller saw (both clocks are this machine's).
        job, hold, lease, dial, session = (spans[n] for n in ("job", "hold", "lease", "dial", "session"))
        self.assertEqual((job.start, hold.end, lease.start, dial.start), (hold.start, lease.start, dial.start, hold.end))
        self.assertEqual((dial.end, session.end, lease.end), (session.start, job.end, job.end))
        slack = 50_000_000
        self.assertGreater(job.start, before - slack)
        self.assertLess(job.end, after + slack)
        self.assertGreaterEqual(session.seconds, 0.14)
        self.assertEqual(lease.attributes["leasehold.lease"], headers["Worker-Lease"].split("/")[1])
        self.assertEqual(job.attributes["leasehold.pool"], "browsers")
        self.assertEqual(job.attributes["leasehold.result"], "served")
        self.assertEqual((job.resource["service.name"], job.scope[0], job.status), ("leasehold", "leasehold", 0))

    def test_the_time_that_a_caller_was_held_is_a_span(self):
        first = threading.Thread(target=self.caller.call, args=("/?ms=1500",))
        first.start()
        self.station.until("it is served", lambda: self.station.metric('leasehold_demand{pool="browsers"}') == 1)
        trace, _, text = fresh()
        began = time.monotonic()
        self.assertEqual(self.caller.call("/?ms=1", {"traceparent": text})[0], 200)
        took = time.monotonic() - began
        first.join()
        spans = self.collector.trace(trace, 5)
        self.assertGreater(spans["hold"].seconds, 0.1)
        self.assertLess(spans["hold"].seconds, took)

    def test_a_trace_that_its_caller_does_not_keep_passes_as_it_came_and_no_trace_stays_none(self):
        trace, _, text = fresh("00")
        self.assertEqual(self.caller.call(headers={"traceparent": text})[2], [text])
        self.assertEqual(self.caller.call()[2], [])
        # What is no traceparent is the worker's to judge.
        self.assertEqual(self.caller.call(headers={"traceparent": "nonsense"})[2], ["nonsense"])
        kept, _, text = fresh()
        self.caller.call(headers={"traceparent": text})
        self.collector.trace(kept, 5)
        self.assertEqual([s for s in self.collector.spans if s.trace == trace], [])

    def test_a_job_that_fails_is_told_whatever_its_caller_keeps(self):
        first = threading.Thread(target=self.caller.call, args=("/?ms=1500",))
        first.start()
        self.station.until("it is served", lambda: self.station.metric('leasehold_demand{pool="browsers"}') == 1)
        trace, parent, text = fresh("00")
        status, headers, _ = self.caller.call(headers={"traceparent": text, "Prefer": "wait=0"})
        first.join()
        self.assertEqual(status, 429)
        spans = self.collector.trace(trace, 2)
        self.assertEqual(set(spans), {"job", "hold"})
        self.assertEqual((spans["job"].parent, spans["job"].status), (parent, ERROR))
        self.assertEqual(spans["job"].attributes["leasehold.reason"], headers["Leasehold-Reason"])


class ASample(unittest.TestCase):
    def test_so_many_of_those_without_a_trace_begin_one_and_their_workers_know_exactly_these(self):
        collector = Collector()
        self.addCleanup(collector.stop)
        station = Station(least=2, most=2, more=trace_section(collector, 0.25))
        self.addCleanup(station.stop)
        caller = Caller(station)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: caller.call(), range(600)))
        self.assertEqual({status for status, _, _ in answers}, {200})
        told = {seen[0].split("-")[1]: seen[0].split("-")[2] for _, _, seen in answers if seen}
        # 150 on average; six standard deviations (10.6) to each side.
        self.assertTrue(86 <= len(told) <= 214, len(told))
        found = collector.until("every span has come", lambda spans: spans if len(spans) >= 5 * len(told) else None)
        self.assertEqual(len(found), 5 * len(told))
        self.assertEqual({s.trace: s.id for s in found if s.name == "session"}, told)
        self.assertEqual({s.parent for s in found if s.name == "job"}, {""})
        self.assertEqual(collector.problems, [])


class WhenTheCollectorFails(unittest.TestCase):
    """Every job is traced, and the collector does not take them: no job is affected, what is lost is counted, and nothing grows."""

    def setUp(self):
        self.collector = Collector()
        self.addCleanup(self.collector.stop)
        self.station = Station(least=2, most=2, more=trace_section(self.collector, 1))
        self.addCleanup(self.station.stop)
        self.caller = Caller(self.station)
        self.assertEqual(self.caller.call()[0], 200)
        self.collector.until("spans arrive", lambda spans: len(spans) == 5)

    def spans(self, result):
        return self.station.metric(f'leasehold_publisher_spans_total{{result="{result}"}}') or 0

    def lost_on_the_way(self):
        return sum(self.station.metric(f'leasehold_vitals_dropped_total{{process="{p}",kind="jobs"}}') or 0 for p in ("dispatcher",))

    def load(self, jobs):
        """So many jobs over connections that are kept; the slowest of them in seconds."""
        def some(count):
            connection = http.client.HTTPConnection(self.caller.host, timeout=PATIENCE)
            slowest = 0
            for _ in range(count):
                begin = time.monotonic()
                connection.request("GET", "/?ms=0")
                answer = connection.getresponse()
                answer.read()
                self.assertEqual(answer.status, 200)
                slowest = max(slowest, time.monotonic() - begin)
            connection.close()
            return slowest

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return max(pool.map(some, [jobs // 4] * 4))

    def resident(self):
        status = pathlib.Path(f"/proc/{self.station.pid('publisher')}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    def everything_is_accounted_for(self, jobs):
        self.station.until(
            "each job's spans were sent, or dropped and counted",
            lambda: self.spans("sent") + self.spans("dropped") + 5 * self.lost_on_the_way() >= 5 * jobs)
        self.assertEqual(self.spans("sent") + self.spans("dropped") + 5 * self.lost_on_the_way(), 5 * jobs)
        self.assertEqual(self.collector.problems, [])

    def test_hanging_it_costs_no_job_anything_and_what_waits_is_bounded(self):
        calm = self.load(800)
        self.collector.open.clear()
        before = self.resident()
        slowest = self.load(4000)
        self.station.until("some are dropped", lambda: self.spans("dropped") > 0)
        self.assertLess(slowest, max(1.0, calm * 5))
        self.assertEqual(self.station.get("/readyz")[0], 200)
        self.assertLess(self.resident() - before, 32 * 1024)
        # A first request that is answered late was no failure.
        self.station.until("it is told", lambda: "does not take spans" in (self.station.home / "log").read_text())
        self.collector.open.set()
        kept, _, text = fresh()
        self.station.until("it takes spans again", lambda: "takes spans again" in (self.station.home / "log").read_text())
        self.assertEqual(self.caller.call(headers={"traceparent": text})[0], 200)
        self.collector.trace(kept, 5)
        self.everything_is_accounted_for(1 + 800 + 4000 + 1)

    def test_away_and_back_again(self):
        self.collector.away()
        self.load(2000)
        self.station.until("they are dropped", lambda: self.spans("dropped") > 0)
        self.assertEqual(self.station.get("/readyz")[0], 200)
        self.collector.start()
        kept, _, text = fresh()
        self.assertEqual(self.caller.call(headers={"traceparent": text})[0], 200)
        self.collector.trace(kept, 5)
        self.everything_is_accounted_for(1 + 2000 + 1)

    def test_refusing_it_is_not_asked_twice_for_the_same(self):
        self.collector.status = 503
        asked = self.collector.requests
        self.assertEqual(self.caller.call()[0], 200)
        self.station.until("its spans are dropped", lambda: self.spans("dropped") == 5)
        self.collector.status = 200
        self.assertEqual(self.caller.call()[0], 200)
        self.collector.until("the next are taken", lambda spans: len(spans) == 10)
        self.assertEqual(self.collector.requests, asked + 2)
        self.everything_is_accounted_for(3)


if __name__ == "__main__":
    unittest.main()
