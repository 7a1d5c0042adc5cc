import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from harness import BIN, PATIENCE


class UpTests(unittest.TestCase):
    def test_up_runs_the_asset_cache_alone_and_starts_it_again(self):
        import boto3
        home = pathlib.Path(tempfile.mkdtemp(prefix="up-"))
        self.addCleanup(shutil.rmtree, home)
        (home / "c.yaml").write_text(
            "runtime-directory: run\nstate-directory: state\nasset-cache:\n  address: 127.0.0.1:0\n  directory: cache\n  keys:\n"
            '    - { access-key: demo, secret: demo-secret-0123, buckets: { "*": read-write } }\n')
        process = subprocess.Popen(
            [str(BIN / "leasehold"), "up", "--config", str(home / "c.yaml"), "--ready-file", str(home / "ready")], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        try:
            self.wait_for(process, "ready:")
            # Written as a whole, right after that line.
            deadline = time.monotonic() + PATIENCE
            while not (home / "ready").exists() and time.monotonic() < deadline:
                os.sched_yield()
            ready = json.loads((home / "ready").read_text())
            self.assertEqual(list(ready["processes"]), ["asset-cache"])
            s3 = boto3.client(
                "s3", endpoint_url="http://" + ready["listeners"][0]["address"], aws_access_key_id="demo",
                aws_secret_access_key="demo-secret-0123", region_name="us-east-1")
            s3.create_bucket(Bucket="kept")
            s3.put_object(Bucket="kept", Key="k", Body=b"x")
            os.kill(ready["processes"]["asset-cache"], signal.SIGKILL)
            # The socket outlives the process, so this waits for the next one.
            self.assertEqual(s3.get_object(Bucket="kept", Key="k")["Body"].read(), b"x")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(PATIENCE), 0)
        finally:
            process.kill()
            process.wait()

    def wait_for(self, process, text):
        for line in process.stdout:
            if text in line:
                return
        self.fail(f"it ended before it said {text}")


if __name__ == "__main__":
    unittest.main()
