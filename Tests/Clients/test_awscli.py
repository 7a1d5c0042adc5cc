"""The AWS command line, as a user would type it."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from harness import ACCESS, PATIENCE, SECRET, Server


def program():
    beside = pathlib.Path(sys.executable).parent / "aws"
    return str(beside) if beside.exists() else shutil.which("aws")


class CommandLineTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not program():
            raise unittest.SkipTest("awscli is not installed")
        cls.server = Server()
        cls.home = pathlib.Path(tempfile.mkdtemp(prefix="aws-"))

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        shutil.rmtree(cls.home)

    def aws(self, *arguments, fails=False):
        result = subprocess.run(
            [program(), "--endpoint-url", self.server.url, *arguments], capture_output=True, timeout=PATIENCE * 2,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET,
                 "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"})
        self.assertEqual(result.returncode != 0, fails, result.stderr.decode() + self.server.output())
        return result.stdout.decode() + (result.stderr.decode() if fails else "")

    def test_a_directory_goes_there_and_comes_back(self):
        source, target = self.home / "source", self.home / "target"
        for name in ("a.txt", "deep/b c.txt", "deep/er/ü.bin"):
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(1000))
        (source / "large.bin").write_bytes(os.urandom(17 << 20))
        self.aws("s3", "mb", "s3://tree")
        self.aws("s3", "sync", str(source), "s3://tree/prefix")
        listing = self.aws("s3", "ls", "--recursive", "s3://tree")
        self.assertIn("prefix/deep/er/ü.bin", listing)
        self.aws("s3", "sync", "s3://tree/prefix", str(target))
        for path in source.rglob("*"):
            if path.is_file():
                self.assertEqual((target / path.relative_to(source)).read_bytes(), path.read_bytes())
        self.assertEqual(self.aws("s3", "sync", str(source), "s3://tree/prefix"), "")
        self.aws("s3", "mv", "s3://tree/prefix/large.bin", "s3://tree/moved")
        self.assertIn("BucketNotEmpty", self.aws("s3", "rb", "s3://tree", fails=True))
        self.aws("s3", "rm", "--recursive", "s3://tree")
        self.aws("s3", "rb", "s3://tree")

    def test_single_operations(self):
        self.aws("s3api", "create-bucket", "--bucket", "single")
        path = self.home / "file"
        path.write_bytes(b"body")
        put = json.loads(self.aws("s3api", "put-object", "--bucket", "single", "--key", "k", "--body", str(path), "--metadata", "a=b"))
        self.assertEqual(put["ETag"], f'"{hashlib.md5(b"body").hexdigest()}"')
        head = json.loads(self.aws("s3api", "head-object", "--bucket", "single", "--key", "k"))
        self.assertEqual((head["ContentLength"], head["Metadata"]), (4, {"a": "b"}))
        self.aws("s3api", "put-object-tagging", "--bucket", "single", "--key", "k", "--tagging", "TagSet=[{Key=a,Value=b}]")
        self.assertIn("NotImplemented", self.aws("s3api", "get-bucket-acl", "--bucket", "single", fails=True))
        self.assertIn("NoSuchKey", self.aws("s3api", "get-object", "--bucket", "single", "--key", "no", str(path), fails=True))


if __name__ == "__main__":
    unittest.main()
