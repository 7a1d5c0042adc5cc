"""moto's server as the store behind: an S3 that is not ours."""
import os
import random
import socket
import subprocess
import sys
import unittest

from behind import BUCKET, drained, node, until
from harness import check_store, hold_port

MIB = 1 << 20


class MotoTests(unittest.TestCase):
    def setUp(self):
        import boto3
        from botocore.config import Config
        # A process of its own: in this one it would share what boto3 is patched with.
        held = hold_port()
        self.addCleanup(held.close)
        self.port = held.getsockname()[1]
        moto = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(moto.wait)
        self.addCleanup(moto.kill)

        def listens():
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return True
            except OSError:
                return False
        until("moto's server to listen", listens)
        self.store = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.port}", aws_access_key_id="demo", aws_secret_access_key="demo-secret-0123",
            region_name="us-east-1", config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}))
        self.store.create_bucket(Bucket=BUCKET)

    def node(self, mode, **more):
        server = node(self.port, mode, **more)
        self.addCleanup(server.stop)
        return server, server.client()

    def test_what_others_put_there_is_read_through(self):
        body = os.urandom(2 * MIB)
        self.store.put_object(
            Bucket=BUCKET, Key="nodes/assets/a b/ü+.js", Body=body, ContentType="text/javascript", CacheControl="max-age=9",
            Metadata={"who": "them"}, Tagging="a=1")
        a, on_a = self.node("read-through")
        head = on_a.head_object(Bucket="assets", Key="a b/ü+.js")
        got = on_a.get_object(Bucket="assets", Key="a b/ü+.js")
        self.assertEqual(got["Body"].read(), body)
        theirs = self.store.head_object(Bucket=BUCKET, Key="nodes/assets/a b/ü+.js")
        for name in ("ETag", "ContentType", "CacheControl", "Metadata", "ContentLength", "LastModified"):
            self.assertEqual((got[name], head[name]), (theirs[name], theirs[name]), name)
        self.assertEqual(on_a.get_object_tagging(Bucket="assets", Key="a b/ü+.js")["TagSet"], [{"Key": "a", "Value": "1"}])
        self.assertEqual([o["Key"] for o in on_a.list_objects_v2(Bucket="assets")["Contents"]], ["a b/ü+.js"])
        self.assertEqual(on_a.get_object(Bucket="assets", Key="a b/ü+.js", Range="bytes=10-19")["Body"].read(), body[10:20])
        check_store(a.home)

    def test_two_nodes_share_it(self):
        for mode in ("write-through", "write-back"):
            prefix = f"{mode}/"
            a, on_a = self.node(mode, prefix=prefix)
            b, on_b = self.node(mode, prefix=prefix, check_after="0")
            on_a.create_bucket(Bucket="assets")
            bodies = {f"d{i % 3}/{i}": os.urandom(random.choice((0, 10, 100_000))) for i in range(20)}
            for key, body in bodies.items():
                on_a.put_object(Bucket="assets", Key=key, Body=body, Metadata={"key": key}, Tagging="t=1", ContentType="text/plain")
            parts = [os.urandom(5 * MIB), b"rest"]
            upload = dict(Bucket="assets", Key="parts", UploadId=on_a.create_multipart_upload(Bucket="assets", Key="parts")["UploadId"])
            etags = [{"PartNumber": i + 1, "ETag": on_a.upload_part(**upload, PartNumber=i + 1, Body=p)["ETag"]} for i, p in enumerate(parts)]
            etag = on_a.complete_multipart_upload(**upload, MultipartUpload={"Parts": etags})["ETag"]
            drained(a)
            for key, body in bodies.items():
                got = on_b.get_object(Bucket="assets", Key=key)
                self.assertEqual((got["Body"].read(), got["Metadata"], got["TagCount"]), (body, {"key": key}, 1))
            got = on_b.get_object(Bucket="assets", Key="parts")
            self.assertEqual((got["Body"].read(), got["ETag"]), (b"".join(parts), etag))
            page = on_b.list_objects_v2(Bucket="assets", Delimiter="/")
            self.assertEqual([p["Prefix"] for p in page["CommonPrefixes"]], ["d0/", "d1/", "d2/"])
            self.assertEqual([o["Key"] for o in page["Contents"]], ["parts"])
            found = [o["Key"] for p in on_b.get_paginator("list_objects_v2").paginate(Bucket="assets", PaginationConfig={"PageSize": 3}) for o in p["Contents"]]
            self.assertEqual(found, sorted(bodies) + ["parts"])
            on_b.delete_objects(Bucket="assets", Delete={"Objects": [{"Key": k} for k in bodies]})
            on_b.delete_object(Bucket="assets", Key="parts")
            drained(b)
            left = [o["Key"] for o in self.store.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]]
            self.assertEqual(left, [f"{prefix}assets/"])
            with self.assertRaises(on_a.exceptions.NoSuchKey):
                b2, on_b2 = self.node(mode, prefix=prefix)
                on_b2.get_object(Bucket="assets", Key="parts")


if __name__ == "__main__":
    unittest.main()
