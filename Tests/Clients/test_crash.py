"""kill -9 at any moment: no acknowledged write is lost, and nothing torn is ever served."""
import hashlib
import os
import random
import threading
import unittest

from harness import PATIENCE, Server, check_store

ROUNDS = int(os.environ.get("LEASEHOLD_CRASH_ROUNDS", "8"))
SEED = int(os.environ.get("LEASEHOLD_SEED", random.randrange(1 << 32)))
MIB = 1 << 20


def body_of(key, version, size):
    """Says itself which version it is, and whether it is whole."""
    data = random.Random(f"{key} {version}").randbytes(size)
    head = f"{key} {version} {size} ".encode()
    return head + hashlib.sha256(head + data).hexdigest().encode() + data


def version_of(key, body):
    """Of a whole body; fails for anything else."""
    name, version, size, rest = body.split(b" ", 3)
    assert name.decode() == key and len(rest) == 64 + int(size), f"{key} is torn: {len(rest)} bytes"
    head = b" ".join([name, version, size]) + b" "
    assert hashlib.sha256(head + rest[64:]).hexdigest().encode() == rest[:64], f"{key} is torn"
    return int(version)


class Writer(threading.Thread):
    """Writes its own keys, one after the other, and knows what was acknowledged. Version 0 is: deleted."""

    def __init__(self, server, number, acknowledged, attempted, seed, enough):
        super().__init__()
        self.server, self.number, self.seed, self.enough = server, number, seed, enough
        self.acknowledged, self.attempted = acknowledged, attempted

    def run(self):
        from botocore.exceptions import BotoCoreError, ClientError
        s3 = self.server.client()
        draw = random.Random(self.seed)
        version = max([0] + [v for k, vs in self.attempted.items() for v in vs if k.startswith(f"{self.number}/")])
        try:
            while True:
                version += 1
                key = f"{self.number}/{draw.randrange(6)}"
                tries = self.attempted.setdefault(key, [])
                kind = draw.random()
                if kind < 0.15:
                    tries.append(-version)
                    s3.delete_object(Bucket="crash", Key=key)
                    self.acknowledged[key] = -version
                elif kind < 0.25:
                    tries.append(version)
                    self.upload(s3, key, body_of(key, version, 5 * MIB + draw.randrange(1000)))
                    self.acknowledged[key] = version
                else:
                    tries.append(version)
                    size = draw.choice((0, 10, 5000, 70_000, 600_000))
                    s3.put_object(Bucket="crash", Key=key, Body=body_of(key, version, size))
                    self.acknowledged[key] = version
                self.enough.release()
        except (BotoCoreError, ClientError, OSError):
            return  # it is dead

    def upload(self, s3, key, body):
        upload = dict(Bucket="crash", Key=key, UploadId=s3.create_multipart_upload(Bucket="crash", Key=key)["UploadId"])
        cut = 5 * MIB
        parts = [{"PartNumber": i, "ETag": s3.upload_part(**upload, PartNumber=i, Body=b)["ETag"]} for i, b in ((1, body[:cut]), (2, body[cut:]))]
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


class CrashTests(unittest.TestCase):
    def rounds(self, size, rounds, isBounded):
        from botocore.exceptions import ClientError
        server = Server(size=size)
        draw = random.Random(SEED)
        acknowledged, attempted, checked = {}, {}, 0
        try:
            server.client().create_bucket(Bucket="crash")
            for _ in range(rounds):
                enough = threading.Semaphore(0)
                writers = [Writer(server, n, acknowledged, attempted, draw.randrange(1 << 32), enough) for n in range(4)]
                for writer in writers:
                    writer.start()
                for _ in range(draw.randrange(1, 40)):
                    if not enough.acquire(timeout=PATIENCE):
                        break
                # In the middle of whatever the four are at.
                server.process.kill()
                for writer in writers:
                    writer.join(PATIENCE)
                    self.assertFalse(writer.is_alive())
                server.restart()
                self.assertEqual(list((server.home / "store" / "tmp").iterdir()), [])
                s3 = server.client()
                for key, tries in attempted.items():
                    last = acknowledged.get(key, 0)
                    allowed = [v for v in tries if abs(v) >= abs(last)]
                    try:
                        found = version_of(key, s3.get_object(Bucket="crash", Key=key)["Body"].read())
                    except ClientError as error:
                        self.assertEqual(error.response["Error"]["Code"], "NoSuchKey", f"seed {SEED}")
                        found = None
                    checked += 1
                    if isBounded:
                        self.assertTrue(found is None or found in tries, f"seed {SEED}")
                    elif found is None:
                        self.assertTrue(last <= 0 or any(v < 0 for v in allowed), f"{key} is lost: acknowledged {last}, seed {SEED}")
                    else:
                        self.assertIn(found, allowed, f"{key}: acknowledged {last}, seed {SEED}")
                    # What is there now is where the next round begins.
                    acknowledged[key] = found if found is not None else -max(map(abs, tries))
                check_store(server.home)
            return checked
        finally:
            server.stop()

    def test_no_acknowledged_write_is_lost(self):
        print(f"crash: seed {SEED}, {self.rounds('1GiB', ROUNDS, False)} objects looked at after {ROUNDS} kills")

    def test_a_store_that_evicts_while_it_is_killed_stays_whole(self):
        print(f"crash: seed {SEED}, {self.rounds('24MiB', ROUNDS // 2, True)} objects looked at after {ROUNDS // 2} kills while evicting")

    def test_a_scrub_that_is_killed_leaves_a_whole_store(self):
        """With files that nobody knows and blobs that are damaged, so that there is something to remove and to set aside."""
        import subprocess
        from behind import until
        from harness import BIN
        draw = random.Random(SEED)
        server = Server(size="1GiB")
        kept, damaged = {}, set()
        try:
            s3 = server.client()
            s3.create_bucket(Bucket="crash")
            for i in range(60):
                kept[f"k{i}"] = draw.randbytes(draw.choice((10, 5_000, 200_000, 2 * MIB)))
                s3.put_object(Bucket="crash", Key=f"k{i}", Body=kept[f"k{i}"])
            blobs = server.home / "store" / "blobs"
            for round in range(ROUNDS):
                for i in range(40):
                    data = draw.randbytes(1000)
                    name = hashlib.sha256(data + b"not this").hexdigest()
                    (blobs / name[:2] / name[2:]).write_bytes(data)
                victim = draw.choice([k for k in kept if k not in damaged])
                name = hashlib.sha256(kept[victim]).hexdigest()
                (blobs / name[:2] / name[2:]).write_bytes(b"broken" + kept[victim][6:])
                damaged.add(victim)
                subprocess.run([str(BIN / "leasehold"), "cache", "verify", "--config", str(server.home / "leasehold.yaml")], check=True, capture_output=True)
                enough = draw.randrange(0, 30)
                until("so many blobs compared", lambda: server.counters()["scrubbed"] >= enough)
                server.restart()
                s3 = server.client()
                for key, body in kept.items():
                    if key not in damaged:
                        self.assertEqual(s3.get_object(Bucket="crash", Key=key)["Body"].read(), body, f"seed {SEED}, round {round}")
            # One that is not killed finishes the work.
            subprocess.run([str(BIN / "leasehold"), "cache", "verify", "--config", str(server.home / "leasehold.yaml")], check=True, capture_output=True)
            until("only whole blobs", lambda: sum(len(list(d.iterdir())) for d in blobs.iterdir()) == len(kept) - len(damaged))
            for key in damaged:
                s3.put_object(Bucket="crash", Key=key, Body=kept[key])
            check_store(server.home)
            for key, body in kept.items():
                self.assertEqual(s3.get_object(Bucket="crash", Key=key)["Body"].read(), body)
            print(f"crash: seed {SEED}, {ROUNDS} scrubs killed, {len(damaged)} damaged blobs set aside")
        finally:
            server.stop()


if __name__ == "__main__":
    unittest.main()
