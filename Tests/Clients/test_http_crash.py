import base64
import http.client
import os
import random
import signal
import threading
import unittest

from harness import Server, check_store
from origin import Origin, ask, response

ROUNDS = int(os.environ.get("LEASEHOLD_CRASH_ROUNDS", "6"))
KEY = {"Authorization": "Basic " + base64.b64encode(b"demo:demo-secret-0123").decode()}


class HTTPCrashTests(unittest.TestCase):
    def test_kill_9_while_responses_and_profiles_are_written(self):
        """Whatever is served afterwards is whole, and every acknowledged profile is there."""
        seed = int(os.environ.get("LEASEHOLD_SEED", random.randrange(1 << 32)))
        print(f"crash: seed {seed}, {ROUNDS} rounds")
        chance = random.Random(seed)
        origin = Origin()
        self.addCleanup(origin.stop)
        bodies = {f"/asset{i}": chance.randbytes(chance.choice([100, 5_000, 70_000, 900_000, 3_000_000])) for i in range(60)}
        for path, body in bodies.items():
            origin.on[path] = response(headers={"Cache-Control": "max-age=6000", "ETag": '"1"'}, body=body)
        # Small enough for eviction to be at work when the blow comes.
        server = Server(size="32MiB", more=f'  fetch: {{ allow-private: ["127.0.0.1:{origin.port}"] }}\n  profiles: {{ versions: 2 }}')
        self.addCleanup(server.stop)
        acknowledged = {}
        served = 0
        for round in range(ROUNDS):
            answers = threading.Semaphore(0)
            stop = threading.Event()

            def work(number, seed):
                own = random.Random(seed)
                while not stop.is_set():
                    try:
                        if own.random() < 0.3:
                            name, body = f"p{number}", own.randbytes(own.choice([10, 50_000, 400_000]))
                            reply = ask(server.port, f"/profiles/t/{name}", method="PUT", headers=KEY, body=body)
                            if reply.status in (200, 201):
                                acknowledged[name] = (int(reply.headers["leasehold-profile-version"]), body)
                        else:
                            path = own.choice(list(bodies))
                            ask(server.port, origin.url + path)
                        answers.release()
                    except (OSError, http.client.HTTPException):
                        if stop.is_set():
                            return
            threads = [threading.Thread(target=work, args=(n, chance.random())) for n in range(6)]
            for thread in threads:
                thread.start()
            for _ in range(chance.randrange(5, 120)):
                answers.acquire(timeout=30)
            stop.set()
            server.process.kill()
            for thread in threads:
                thread.join()
            server.process.wait()
            check_store(server.home)
            server.restart(signal.SIGKILL)
            for path, body in bodies.items():
                reply = ask(server.port, origin.url + path, headers={"Cache-Control": "only-if-cached"})
                if reply.status == 200:
                    served += 1
                    self.assertEqual(reply.body, body, f"seed {seed}, round {round}: {path} is torn")
            for name, (version, body) in acknowledged.items():
                reply = ask(server.port, f"/profiles/t/{name}", headers=KEY)
                # One that was written and not acknowledged may be there instead.
                self.assertGreaterEqual(int(reply.headers["leasehold-profile-version"]), version, f"seed {seed}, round {round}")
                if int(reply.headers["leasehold-profile-version"]) == version:
                    self.assertEqual(reply.body, body, f"seed {seed}, round {round}: {name} is torn")
        self.assertGreater(served, 0)
        print(f"crash: {served} stored responses and {len(acknowledged)} profiles read back whole")


if __name__ == "__main__":
    unittest.main()
