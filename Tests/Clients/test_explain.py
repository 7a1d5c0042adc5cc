"""`leasehold explain` against what the callers know themselves: who served them, how long they waited, what went before them."""
import asyncio
import contextlib
import json
import os
import queue
import random
import signal
import subprocess
import threading
import unittest

import crowd
from crowd import BIN, Floor, Job, call, gather
from harness import PATIENCE
from test_crowd import WEIGHTS, mix

# Between the caller's clock and the pool-keeper's lie a connection, a thread of ours that has to be woken, and a machine that has other work.
LATE = 400


def explain(floor, subject):
    return json.loads(floor.leasehold("explain", subject, "--json"))


class Agrees(unittest.TestCase):
    def test_ten_jobs_picked_at_random(self):
        seed = crowd.seed()
        rng = random.Random(seed)
        floor = Floor(5, pool=f"hold: {{ timeout: 20s, max-queued: 40 }}, queue: {{ age-after: 2s }}, {WEIGHTS}")
        self.addCleanup(floor.stop)
        names = {worker.pid: f"worker-{n}" for n, worker in enumerate(floor.workers)}
        jobs, gaps = mix(rng, 250)

        async def run():
            load = asyncio.create_task(gather(floor, jobs, gaps))
            # Some of those who serve leave for good: what they did is still known by their names.
            await asyncio.sleep(1)
            floor.shut(0, 1)
            await load

        asyncio.run(run())
        floor.until("everything has ended", lambda: floor.pool()["demand"] == 0)
        # A caller that leaves is told nothing: its job is found in the journal, by whose it was and when.
        gone = {id(job): line["job"] for job, line in self.matched(jobs, [li for li in floor.lines() if li["result"] == "gone"])}
        kinds = {"at once": [j for j in jobs if j.outcome == "served" and j.hold < 40], "waited": [j for j in jobs if j.outcome == "served" and j.hold > 60],
                 "refused": [j for j in jobs if j.outcome == "refused"], "gone": [j for j in jobs if j.outcome == "gone"]}
        for kind, some in kinds.items():
            self.assertTrue(some, f"seed {seed}: nobody was {kind}")
        picked = [rng.choice(some) for some in kinds.values()] + rng.sample(jobs, 6)
        for job in picked:
            with self.subTest(job=job, seed=seed):
                subject = job.lease if job.outcome == "served" else job.problem["job"] if job.outcome == "refused" else gone[id(job)]
                told = explain(floor, subject)
                self.assertEqual({(d["tenant"], d["urgency"], d["pool"], d["seat"]) for d in told}, {(job.tenant, job.urgency, "pods", told[0]["seat"])})
                self.assertEqual(len({d["job"] for d in told}), 1)
                self.assertEqual(explain(floor, told[0]["job"])[-1]["event"], told[-1]["event"], "by its number")
                events = [d["event"] for d in told]
                if job.outcome == "served":
                    self.check_served(job, told, events, names)
                elif job.outcome == "refused":
                    self.assertEqual(events, ["waits", "refused"] if len(events) > 1 else ["refused"])
                    end = told[-1]
                    self.assertEqual((end["reason"], end["position"] or None, end["queued"]), (job.reason, job.problem.get("position"), job.problem["queued"]))
                    self.assertLessEqual(end["ms"], job.wall)
                    self.assertGreaterEqual(end["ms"], job.wall - LATE)
                elif "gone" in events:
                    self.assertEqual(events, ["waits", "gone"])
                    self.assertLessEqual(abs(told[-1]["ms"] - job.wall), LATE)
                else:
                    # It had a worker when its caller left.
                    self.assertEqual((events[-2:], told[-1]["reason"]), (["granted", "ended"], "abandoned"))
                    self.assertLessEqual(abs(told[-2]["ms"] + told[-1]["ms"] - job.wall), LATE)
                self.check_overtaken(job, told, jobs)

    def check_served(self, job, told, events, names):
        self.assertIn(events, (["granted", "ended"], ["waits", "granted", "ended"]))
        granted, ended = told[-2:]
        self.assertEqual({"pods/" + granted["lease"], "pods/" + ended["lease"]}, {job.lease})
        self.assertEqual({granted["endpoint"], ended["endpoint"]}, {names[job.pid]}, "the worker's own answer")
        self.assertEqual(ended["reason"], "served")
        self.assertLessEqual(abs(granted["ms"] - job.hold), 100, "what the answer said")
        self.assertLessEqual(granted["ms"] + job.ms, job.wall + 1)
        self.assertGreaterEqual(granted["ms"] + job.ms, job.wall - LATE)
        self.assertGreaterEqual(ended["ms"], job.ms - 1)
        if len(events) == 3:
            passed = told[0]["passed"]
            self.assertEqual(told[0]["reason"], "no endpoint was free")
            self.assertEqual(passed["free"], 0)
            self.assertGreater(passed["leased"] + passed["ending"], 0)
            self.assertGreaterEqual(told[0]["queued"], 1)
        else:
            self.assertLess(granted["ms"], LATE)

    def check_overtaken(self, job, told, jobs):
        """Nobody went before it who was not as urgent, or came earlier by the callers' own clocks."""
        end = next((d for d in told if d.get("overtaken")), None)
        if end is None:
            return
        later = [j for j in jobs if j is not job and j.began + LATE / 1000 > job.began and j.began < job.ended]
        self.assertLessEqual(end["overtaken"]["moreUrgent"], sum(j.urgency < job.urgency for j in later))
        self.assertLessEqual(end["overtaken"]["otherTenants"], sum(j.urgency == job.urgency and j.tenant != job.tenant for j in later))
        # Inside a tenant and an urgency it is arrival that counts.
        self.assertEqual(end["overtaken"]["others"], 0)

    def matched(self, jobs, lines):
        left = sorted((j for j in jobs if j.outcome == "gone"), key=lambda j: j.wall)
        self.assertEqual(len(left), len(lines))
        for line in sorted(lines, key=lambda li: float(li["duration-ms"])):
            same = [j for j in left if (j.tenant, str(j.urgency)) == (line["tenant"], line["urgency"])]
            job = min(same, key=lambda j: abs(j.wall - float(line["duration-ms"])))
            left.remove(job)
            yield job, line

    def test_every_reason_to_be_passed_over_is_told(self):
        """One worker, who is busy, and one who is set aside: five jobs wait, each for a reason of its own."""
        floor = Floor(2, pool="hold: { timeout: 60s, max-queued: 5 }, queue: { age-after: 0 }, affinity: { wait: 30s }, quarantine: { first: 20s, most: 20s }, "
                              "tenants: { ant: { weight: 1 }, bee: { weight: 2 }, cat: { weight: 3, max-leased: 1 } }")
        self.addCleanup(floor.stop)
        floor.leasehold("quarantine", "worker-1", "--for", "20s")

        async def run():
            jobs, tasks = {}, {}

            async def ask(name, **facts):
                jobs[name] = Job(**facts)
                waiting = (await asyncio.to_thread(floor.pool))["queued"]
                tasks[name] = asyncio.create_task(call(floor, jobs[name]))
                wanted = (lambda p: p["leased"] == 1) if name == "first" else (lambda p: p["queued"] == waiting + 1)
                while not wanted(await asyncio.to_thread(floor.pool)):
                    await asyncio.sleep(0.02)

            await ask("first", tenant="cat", urgency=3, leaves=PATIENCE)
            leases = await asyncio.to_thread(floor.show, "leases")
            await ask("waits", tenant="ant", urgency=3, ms=5)
            await ask("capped", tenant="cat", urgency=1, ms=5)
            await ask("shares", tenant="bee", urgency=3, ms=5)
            await ask("second", tenant="ant", urgency=3, ms=5)
            await ask("urgent", tenant="bee", urgency=1, ms=5)
            full = await call(floor, Job("ant", 3, ms=5))
            self.assertEqual(full.reason, "queue-full")
            number = {(t["tenant"], t["urgency"]): t["ticket"] for t in await asyncio.to_thread(floor.show, "queue")}
            standing = (await asyncio.to_thread(explain, floor, number["bee", 1]))[-1]
            tasks.pop("first").cancel()
            await asyncio.gather(*tasks.values())
            jobs["first"].lease = leases[0]["lease"]
            return jobs, full, standing

        jobs, full, standing = asyncio.run(run())
        # Behind the one at its cap, which goes first if the lease that ends next is its tenant's.
        self.assertEqual((standing["event"], standing["position"], standing["queued"]), ("waiting", 2, 5))
        told = {name: explain(floor, job.lease) for name, job in jobs.items()}
        for name, at in (("waits", 1), ("shares", 3), ("second", 4), ("urgent", 5)):
            wait = told[name][0]
            self.assertEqual((wait["reason"], wait["queued"]), ("no endpoint was free", at), name)
            passed = wait["passed"]
            self.assertEqual((passed["leased"], passed["quarantined"], passed["free"]), (1, 1, 0), name)
            self.assertTrue(0 < passed["soonestMs"] <= 20_000, passed)
        self.assertEqual(told["capped"][0]["reason"], "its tenant had as many leases as it may have")
        self.assertEqual([(d["event"], d["reason"]) for d in told["first"]], [("granted", ""), ("ended", "abandoned")])
        refused = explain(floor, full.problem["job"])[-1]
        self.assertEqual((refused["reason"], refused["queued"], refused["ms"]), ("queue-full", 5, 0))

        def overtaken(name):
            return {key: value for key, value in told[name][1]["overtaken"].items() if value}

        # Urgency 1 first: of two tenants the one that came first. Then ant and bee by share and by arrival.
        self.assertEqual(overtaken("waits"), {"moreUrgent": 2})
        self.assertEqual(overtaken("shares"), {"moreUrgent": 1})
        self.assertEqual(overtaken("second"), {"moreUrgent": 1})
        self.assertEqual(overtaken("urgent"), {})
        text = floor.leasehold("explain", jobs["waits"].lease)
        self.assertIn("waits: no endpoint was free; 1 in line; passed over: 1 leased, 1 quarantined (", text)
        self.assertRegex(text, r"granted pods/\S+ on worker-0 after (\d\.\d s|\d+ ms); overtaken by 2 more urgent\n")

    def test_affinity_is_told(self):
        floor = Floor(2, pool="hold: { timeout: 60s }, affinity: { wait: 30s }")
        self.addCleanup(floor.stop)

        async def run():
            first = await call(floor, Job("", 3, ms=1, affinity="k"))
            busy = asyncio.create_task(call(floor, Job("", 3, ms=1500, affinity="k")))
            while (await asyncio.to_thread(floor.pool))["leased"] < 1:
                await asyncio.sleep(0.02)
            return first, await call(floor, Job("", 3, ms=1, affinity="k")), await busy

        first, waited, busy = asyncio.run(run())
        self.assertEqual((first.pid, busy.pid), (waited.pid, waited.pid))
        told = explain(floor, waited.lease)
        self.assertEqual(told[0]["reason"], "the endpoint that served its affinity key last was busy")
        self.assertEqual((told[0]["passed"]["free"], told[0]["passed"]["leased"]), (1, 1))


class Follow(unittest.TestCase):
    def setUp(self):
        self.floor = Floor(1)
        self.addCleanup(self.floor.stop)

    @contextlib.contextmanager
    def follow(self, *words):
        process = subprocess.Popen(
            [str(BIN / "leasehold"), "explain", "--follow", *words, "--config", str(self.floor.home / "c.yaml")], text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            # Who runs the tests in the background has it ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        said, complained = queue.Queue(), queue.Queue()
        for stream, lines in ((process.stdout, said), (process.stderr, complained)):
            threading.Thread(target=lambda s=stream, li=lines: [li.put(line.rstrip("\n")) for line in s], daemon=True).start()
        try:
            yield process, said, complained
        finally:
            process.kill()
            process.communicate()

    def wait(self, lines, text):
        seen = []
        try:
            while True:
                seen.append(lines.get(timeout=PATIENCE))
                if text in seen[-1]:
                    return seen
        except queue.Empty:
            self.fail(f"{text!r} was not said; {seen} was")

    def job(self, **facts):
        return asyncio.run(call(self.floor, Job("", 3, ms=1, **facts)))

    def test_it_shows_decisions_as_they_are_made_over_a_restart_of_the_pool_keeper_until_it_is_interrupted(self):
        with self.follow() as (process, said, complained):
            before = [self.job() for _ in range(3)]
            for job in before:
                self.wait(said, f"granted {job.lease} on worker-0")
            self.wait(said, f"{before[-1].lease} on worker-0 ended")
            pid = self.floor.pid("pool-keeper")
            os.kill(pid, signal.SIGSTOP)
            os.kill(pid, signal.SIGKILL)
            self.floor.until("another pool-keeper is there", lambda: self.floor.pid("pool-keeper") not in (0, pid) and self.floor.pool()["free"] == 1)
            # More than the first one had decided: none of it is taken for old.
            after = [self.job() for _ in range(8)]
            for job in after:
                self.wait(said, f"granted {job.lease} on worker-0")
            self.wait(complained, "started anew: it remembers nothing from before")
            self.assertIsNone(process.poll())
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(PATIENCE), -signal.SIGINT)
            while not said.empty():
                self.assertNotIn("granted", said.get(), "each decision is told once")

    def test_it_waits_for_a_pool_keeper_that_is_away_and_says_so(self):
        self.floor.process.send_signal(signal.SIGTERM)
        self.floor.process.wait(PATIENCE)
        with self.follow("--json") as (process, said, complained):
            self.wait(complained, "is not running")
            self.assertIsNone(process.poll())
        once = self.floor.leasehold("explain", check=False)
        self.assertEqual((once.returncode, once.stdout), (69, ""))

    def test_a_job_is_followed_from_its_wait_to_its_end_as_json(self):
        async def run():
            busy = asyncio.create_task(call(self.floor, Job("", 3, ms=60_000, leaves=PATIENCE)))
            while (await asyncio.to_thread(self.floor.pool))["leased"] < 1:
                await asyncio.sleep(0.02)
            waiting = asyncio.create_task(call(self.floor, Job("", 3, ms=1)))
            while (await asyncio.to_thread(self.floor.pool))["queued"] < 1:
                await asyncio.sleep(0.02)
            ticket = (await asyncio.to_thread(self.floor.show, "queue"))[0]["ticket"]
            return await asyncio.to_thread(self.watch, ticket, busy, asyncio.get_running_loop()), await waiting

        told, job = asyncio.run(run())
        self.assertEqual([d["event"] for d in told], ["waits", "waiting", "granted", "ended"])
        self.assertEqual({d["job"] for d in told}, {told[0]["job"]})
        self.assertEqual("pods/" + told[2]["lease"], job.lease)
        self.assertEqual((told[1]["position"], told[1]["queued"]), (1, 1))

    def watch(self, ticket, busy, loop):
        with self.follow("--json", str(ticket)) as (process, said, complained):
            told = json.loads(said.get(timeout=PATIENCE))
            loop.call_soon_threadsafe(busy.cancel)
            while told[-1]["event"] != "ended":
                told += json.loads(said.get(timeout=PATIENCE))
            return told

    def test_a_job_that_waits_since_before_the_pool_keepers_start_is_still_known(self):
        async def run():
            await asyncio.to_thread(self.floor.leasehold, "pause", "pods")
            waiting = asyncio.create_task(call(self.floor, Job("", 4, ms=1)))
            while (await asyncio.to_thread(self.floor.pool))["queued"] < 1:
                await asyncio.sleep(0.02)
            ticket = (await asyncio.to_thread(self.floor.show, "queue"))[0]["ticket"]
            pid = await asyncio.to_thread(self.floor.pid, "pool-keeper")
            os.kill(pid, signal.SIGKILL)
            while await asyncio.to_thread(lambda: self.floor.pid("pool-keeper") in (0, pid) or self.floor.pool()["queued"] < 1):
                await asyncio.sleep(0.05)
            told = await asyncio.to_thread(explain, self.floor, ticket)
            await asyncio.to_thread(self.floor.leasehold, "resume", "pods")
            await waiting
            while (await asyncio.to_thread(self.floor.pool))["demand"] > 0:
                await asyncio.sleep(0.02)
            return told, await asyncio.to_thread(explain, self.floor, ticket)

        told, after = asyncio.run(run())
        self.assertEqual([(d["event"], d["position"], d["urgency"]) for d in told], [("waiting", 1, 4)])
        self.assertEqual([d["event"] for d in after], ["granted", "ended"])


if __name__ == "__main__":
    unittest.main()
