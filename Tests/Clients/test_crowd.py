"""Three tenants at three urgencies, and a fleet that grows and shrinks: counts that are exact, shares as promised, nobody starved."""
import asyncio
import collections
import json
import os
import random
import signal
import threading
import time
import unittest

import crowd
from crowd import Floor, Job, begin, call, count, gather

TENANTS = {"ant": 1, "bee": 2, "cat": 3}
WEIGHTS = "tenants: { ant: { weight: 1, max-queued: 6 }, bee: { weight: 2 }, cat: { weight: 3 } }"


def mix(random, number):
    """Seeded jobs: most are plain; some have little patience, some leave, and bursts meet the bounds of the queue."""
    jobs, gaps = [], []
    for i in range(number):
        job = Job(random.choice(list(TENANTS)), random.choice([1, 3, 5]), ms=random.randint(5, 60))
        kind = random.random()
        if kind < 0.10:
            # Not so soon that nobody has seen it come.
            job.leaves = random.uniform(0.6, 2.0)
        elif kind < 0.20:
            job.prefer = random.choice(["wait=1", "wait=0"])
        jobs.append(job)
        # Every hundred jobs a crowd that comes at once.
        gaps.append(0 if i % 100 > 60 else random.expovariate(50))
    return jobs, gaps


class Exact(unittest.TestCase):
    """accepted = served + refused + gone: at the callers, in /metrics, and in the lines about the ends of jobs."""

    def setUp(self):
        self.seed = crowd.seed()
        # Two threads draw, each from its own.
        self.random, self.fate = random.Random(self.seed), random.Random(~self.seed)
        self.floor = Floor(6, pool=f"hold: {{ timeout: 20s, max-queued: 25 }}, queue: {{ age-after: 2s }}, abandon: 1s, {WEIGHTS}")
        self.addCleanup(self.floor.stop)

    def crowd(self, hundreds, trouble, until_done=False):
        """Serves a crowd; `trouble(over)` is done meanwhile on a thread of its own, and where `until_done` the crowd comes for as long as that lasts."""
        jobs, tasks, failed, over = [], [], [], threading.Event()

        def disturb():
            try:
                trouble(over)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=disturb)

        async def come():
            thread.start()
            while len(jobs) < hundreds * 100 or until_done and thread.is_alive() and not failed:
                more, gaps = mix(self.random, 100)
                jobs.extend(more)
                tasks.extend(await begin(self.floor, more, gaps))
            over.set()
            await asyncio.gather(*tasks)

        try:
            asyncio.run(come())
        finally:
            over.set()
            thread.join()
        if failed:
            raise failed[0]
        return jobs

    def breathe(self, over):
        """The fleet grows and shrinks, between two workers and all."""
        while not over.wait(self.fate.uniform(0.1, 0.4)):
            self.breathe_once()

    def breathe_once(self):
        n = self.fate.randrange(len(self.floor.workers))
        if n in self.floor.listed and len(self.floor.listed) > 2:
            self.floor.shut(n)
        elif n not in self.floor.listed:
            self.floor.open(n, wait=False)

    def settled(self):
        """When nobody waits and nobody is served the publisher has heard it all."""
        self.floor.until("nobody waits or is served", lambda: self.floor.pool()["demand"] == 0 and self.floor.pool()["total"])
        last = {}

        def same():
            last["before"], last["now"] = last.get("now"), self.floor.counts()
            time.sleep(1.1)
            return last["now"] == last["before"]

        self.floor.until("the counts stand still", same)
        return last["now"]

    def test_without_kills_every_count_is_the_same(self):
        jobs = self.crowd(5, self.breathe)
        seen = count(jobs, "outcome")
        self.assertEqual({o for (o,) in seen}, set(crowd.OUTCOMES), seen)
        self.assertLessEqual({"queue-full", "tenant-limit", "hold-timeout"}, {r for (r,) in count(jobs, "reason")}, count(jobs, "reason"))
        told = self.settled()
        expected = collections.Counter({"accepted": len(jobs)})
        for job in jobs:
            expected[job.outcome] += 1
            if job.outcome == "refused":
                expected["refused " + job.reason] += 1
        self.assertEqual(told, expected)
        lines = self.floor.lines()
        self.assertEqual(len({line["job"] for line in lines}), len(jobs))
        ours = collections.Counter((j.tenant, j.urgency, j.outcome, j.reason if j.outcome == "refused" else "") for j in jobs)
        theirs = collections.Counter(
            (line["tenant"], int(line["urgency"]), line["result"], line["reason"] if line["result"] == "refused" else "") for line in lines)
        self.assertEqual(theirs, ours)
        self.assertEqual({"pods/" + line["lease"] for line in lines if line["result"] == "served"}, {j.lease for j in jobs if j.outcome == "served"})
        self.assertEqual({line["job"] for line in lines if line["result"] == "refused"}, {j.problem["job"] for j in jobs if j.outcome == "refused"})
        self.assertEqual(self.floor.read("violations"), "")

    def test_with_kills_every_job_has_one_record(self):
        struck, back = [], []

        def strike(over):
            names = ["dispatcher"] * 3 + ["pool-keeper", "publisher", "watcher"] * 2
            self.fate.shuffle(names)
            for name in names:
                time.sleep(self.fate.uniform(0.1, 0.4))
                self.breathe_once()
                pid = self.floor.pid(name)
                struck.append((name, time.monotonic()))
                os.kill(pid, signal.SIGKILL)
                # The next one falls when this one is back and has heard everything.
                self.floor.until(f"{name} is back", lambda: self.is_back(name, pid))
                back.append(time.monotonic())

        jobs = self.crowd(5, strike, until_done=True)
        self.settled()
        dispatchers = [when for name, when in struck if name == "dispatcher"]
        self.assertEqual(len(dispatchers), 3, struck)
        lines = self.floor.lines()
        by_job = collections.Counter(line["job"] for line in lines)
        self.assertEqual([job for job, times in by_job.items() if times > 1], [], "a job has two records")
        served = {"pods/" + line["lease"]: line for line in lines if line["result"] == "served"}
        refused = {line["job"]: line for line in lines if line["result"] == "refused"}
        for job in jobs:
            if job.outcome == "served":
                self.assertIn(job.lease, served, job)
                line = served.pop(job.lease)
                self.assertEqual((line["tenant"], int(line["urgency"])), (job.tenant, job.urgency), job)
            elif job.outcome == "refused":
                self.assertEqual(refused.pop(job.problem["job"], {}).get("reason"), job.reason, job)
        self.assertEqual((served, refused), ({}, {}), "records of jobs that nobody asked for")
        gone = [j for j in jobs if j.outcome == "gone"]
        # One that came and left while nobody was in the seat was no job of anybody.
        unseen = [j for j in gone if any(when - 0.5 < j.began and j.ended < end + 0.5 for (name, when), end in zip(struck, back) if name == "dispatcher")]
        told = collections.Counter((line["tenant"], int(line["urgency"])) for line in lines if line["result"] == "gone")
        missing = count(gone, "tenant", "urgency") - told
        self.assertEqual(told - count(gone, "tenant", "urgency"), {}, "a job that did not leave")
        self.assertEqual(missing - count(unseen, "tenant", "urgency"), {}, "a job left unnoticed")
        # A connection that the kernel had accepted and nobody had seen is reset with its dispatcher: it never was a job.
        cut = [j for j in jobs if j.outcome not in crowd.OUTCOMES]
        for job in cut:
            self.assertTrue(any(job.began - 0.5 < when <= job.ended + 0.01 for when in dispatchers), job)
        recorded = sum(line["result"] == "cut" for line in lines)
        self.assertLessEqual(recorded, len(cut))
        self.assertEqual(len(lines), len(jobs) - len(cut) + recorded - missing.total())
        told = self.floor.counts()
        print(f"crowd: {len(jobs)} jobs, {len(struck)} kills, {len(cut)} connections reset with their dispatcher", flush=True)
        self.assertEqual(told["accepted"], sum(told[o] for o in crowd.OUTCOMES) + told["cut"])
        self.assertEqual({o: told[o] for o in (*crowd.OUTCOMES, "cut")}, {o: sum(li["result"] == o for li in lines) for o in (*crowd.OUTCOMES, "cut")})
        self.assertEqual(self.floor.read("violations"), "")

    def is_back(self, name, pid):
        rows = [p for p in self.floor.show("processes") if p["process"] in self.floor.processes]
        pids = {p["process"]: p["pid"] for p in rows if p["ready"]}
        return pids.get(name, pid) != pid and len(pids) == len(self.floor.processes) and not self.floor.pool()["waitsForRecovery"]


class Shares(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(crowd.seed())

    def test_urgency_first_then_shares_also_while_the_fleet_grows_and_shrinks(self):
        """All that waits has come before the first is served: the order is the queue's, and nobody's luck."""
        floor = Floor(5, pool="hold: { timeout: 80s }, queue: { age-after: 0 }, tenants: { ant: { weight: 1 }, bee: { weight: 2 }, cat: { weight: 3 } }")
        self.addCleanup(floor.stop)
        jobs = [Job(tenant, urgency, ms=5) for tenant, weight in TENANTS.items() for urgency in (1, 3, 5) for _ in range(40 * weight)]
        self.random.shuffle(jobs)
        floor.leasehold("pause", "pods")

        async def all_of_them():
            crowd_ = asyncio.create_task(gather(floor, jobs, [0] * len(jobs)))
            while await asyncio.to_thread(lambda: floor.pool()["queued"]) < len(jobs):
                await asyncio.sleep(0.05)
            await asyncio.to_thread(floor.leasehold, "resume", "pods")
            for n in (1, 2, 3):
                await asyncio.sleep(0.3)
                floor.shut(n)
            for n in (1, 2, 3):
                await asyncio.sleep(0.3)
                floor.open(n, wait=False)
            await crowd_

        asyncio.run(all_of_them())
        self.assertEqual(count(jobs, "outcome"), {("served",): len(jobs)})
        grants = [d for d in json.loads(floor.leasehold("explain", "--json")) if d["event"] == "granted"]
        self.assertEqual(len(grants), len(jobs))
        self.assertEqual([d["urgency"] for d in grants], sorted(d["urgency"] for d in grants), "the more urgent went first")
        for urgency in (1, 3, 5):
            # Everybody has jobs that wait until the last few: each hundred and twenty grants are shared by weight.
            order = [d["tenant"] for d in grants if d["urgency"] == urgency]
            for first in (0, 120):
                part = collections.Counter(order[first:first + 120])
                for tenant, weight in TENANTS.items():
                    self.assertAlmostEqual(part[tenant], 20 * weight, delta=weight, msg=f"{urgency} from {first}: {part}")

    def test_the_least_urgent_of_the_smallest_is_served_when_it_has_aged(self):
        floor = Floor(3, pool="hold: { timeout: 60s }, queue: { age-after: 400ms }, tenants: { ant: { weight: 1 }, bee: { weight: 2 }, cat: { weight: 3 } }")
        self.addCleanup(floor.stop)
        lonely = Job("ant", 7, ms=5)
        others = []

        async def flood(tenant):
            while not lonely.outcome:
                others.append(await call(floor, Job(tenant, 0, ms=20)))

        async def run():
            floods = [asyncio.create_task(flood(tenant)) for tenant in ("bee", "cat") for _ in range(20)]
            while await asyncio.to_thread(lambda: floor.pool()["queued"]) < 20:
                await asyncio.sleep(0.02)
            await call(floor, lonely)
            await asyncio.gather(*floods)

        asyncio.run(run())
        self.assertEqual(count(others, "outcome").keys(), {("served",)})
        self.assertEqual(lonely.outcome, "served", lonely)
        # Seven steps, and not one job sooner; then its share of urgency 0, and not behind the forty that wait there.
        round_trip = sorted(j.hold for j in others)[len(others) // 2]
        self.assertGreaterEqual(lonely.hold, 7 * 400 - 1)
        self.assertLess(lonely.hold, 7 * 400 + round_trip + 1000, f"median of the others: {round_trip} ms")


if __name__ == "__main__":
    unittest.main()
