import hashlib
import os
import unittest
import zlib

from harness import Server, b64

MIB = 1 << 20


class MultipartTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from botocore.exceptions import ClientError
        cls.Refused = ClientError
        cls.server = Server()
        cls.s3 = cls.server.client()
        cls.s3.create_bucket(Bucket="parts")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def refused(self, expected, call, **arguments):
        with self.assertRaises(self.Refused) as context:
            call(**arguments)
        self.assertEqual(context.exception.response["Error"]["Code"], expected)

    def begin(self, key, **more):
        return dict(Bucket="parts", Key=key, UploadId=self.s3.create_multipart_upload(Bucket="parts", Key=key, **more)["UploadId"])

    def test_parts_become_one_object(self):
        bodies = [os.urandom(5 * MIB), os.urandom(5 * MIB + 1), os.urandom(10)]
        upload = self.begin("whole", Metadata={"m": "1"}, ContentType="video/mp4", Tagging="a=b")
        parts = []
        for number, body in ((7, bodies[1]), (2, bodies[0]), (10_000, bodies[2])):
            etag = self.s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"]
            self.assertEqual(etag, f'"{hashlib.md5(body).hexdigest()}"')
            parts.append({"PartNumber": number, "ETag": etag})
        self.s3.upload_part(**upload, PartNumber=9, Body=b"not chosen")
        self.assertIn(upload["UploadId"], [u["UploadId"] for u in self.s3.list_multipart_uploads(Bucket="parts")["Uploads"]])
        listed = self.s3.list_parts(**upload)
        self.assertEqual([p["PartNumber"] for p in listed["Parts"]], [2, 7, 9, 10_000])
        page = self.s3.list_parts(**upload, MaxParts=2)
        self.assertEqual((page["IsTruncated"], page["NextPartNumberMarker"]), (True, 7))
        self.assertEqual([p["PartNumber"] for p in self.s3.list_parts(**upload, PartNumberMarker=7)["Parts"]], [9, 10_000])
        self.refused("NoSuchKey", self.s3.get_object, Bucket="parts", Key="whole")
        parts.sort(key=lambda p: p["PartNumber"])
        done = self.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        wanted = hashlib.md5(b"".join(hashlib.md5(b).digest() for b in bodies)).hexdigest() + "-3"
        self.assertEqual(done["ETag"], f'"{wanted}"')
        whole = b"".join(bodies)
        got = self.s3.get_object(Bucket="parts", Key="whole")
        self.assertEqual(got["Body"].read(), whole)
        self.assertEqual((got["Metadata"], got["ContentType"], got["TagCount"]), ({"m": "1"}, "video/mp4", 1))
        across = self.s3.get_object(Bucket="parts", Key="whole", Range=f"bytes={5 * MIB - 3}-{10 * MIB + 5}")["Body"].read()
        self.assertEqual(across, whole[5 * MIB - 3:10 * MIB + 6])
        second = self.s3.get_object(Bucket="parts", Key="whole", PartNumber=2)
        self.assertEqual((second["Body"].read(), second["PartsCount"]), (bodies[1], 3))
        self.refused("NoSuchUpload", self.s3.list_parts, **upload)
        copy = self.s3.copy_object(Bucket="parts", Key="copy", CopySource={"Bucket": "parts", "Key": "whole"})
        self.assertEqual(copy["CopyObjectResult"]["ETag"], f'"{wanted}"')
        self.s3.delete_object(Bucket="parts", Key="whole")
        self.assertEqual(self.s3.get_object(Bucket="parts", Key="copy")["Body"].read(), whole)

    def test_what_cannot_be_completed(self):
        upload = self.begin("broken")
        small = self.s3.upload_part(**upload, PartNumber=1, Body=b"small")["ETag"]
        last = self.s3.upload_part(**upload, PartNumber=2, Body=b"last")["ETag"]
        complete = lambda *parts: self.s3.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": [{"PartNumber": n, "ETag": e} for n, e in parts]})
        self.refused("EntityTooSmall", lambda: complete((1, small), (2, last)))
        self.refused("InvalidPartOrder", lambda: complete((2, last), (1, small)))
        self.refused("InvalidPart", lambda: complete((1, last)))
        self.refused("InvalidPart", lambda: complete((3, last)))
        self.refused("MalformedXML", lambda: complete())
        self.refused("NoSuchUpload", self.s3.upload_part, Bucket="parts", Key="other", UploadId=upload["UploadId"], PartNumber=1, Body=b"")
        for number in (0, 10_001):
            self.refused("InvalidArgument", self.s3.upload_part, **upload, PartNumber=number, Body=b"")
        self.s3.put_object(Bucket="parts", Key="broken", Body=b"there")
        with self.assertRaises(self.Refused) as context:
            self.s3.complete_multipart_upload(
                **upload, MultipartUpload={"Parts": [{"PartNumber": 2, "ETag": last}]}, IfNoneMatch="*")
        self.assertEqual(context.exception.response["Error"]["Code"], "PreconditionFailed")
        complete((2, last))
        self.assertEqual(self.s3.get_object(Bucket="parts", Key="broken")["Body"].read(), b"last")

    def test_an_aborted_upload_leaves_nothing(self):
        before = self.server.counters()["bytes-used"]
        upload = self.begin("aborted")
        self.s3.upload_part(**upload, PartNumber=1, Body=os.urandom(MIB))
        self.s3.upload_part(**upload, PartNumber=1, Body=os.urandom(MIB))
        self.assertLess(self.server.counters()["bytes-used"] - before, 1.1 * MIB)
        self.s3.abort_multipart_upload(**upload)
        self.assertEqual(self.server.counters()["bytes-used"], before)
        self.refused("NoSuchUpload", self.s3.abort_multipart_upload, **upload)
        self.refused("NoSuchUpload", self.s3.upload_part, **upload, PartNumber=1, Body=b"x")
        self.refused("NoSuchBucket", self.s3.create_multipart_upload, Bucket="absent", Key="k")

    def test_a_part_can_be_a_copy(self):
        body = os.urandom(6 * MIB)
        self.s3.put_object(Bucket="parts", Key="source", Body=body)
        source = {"Bucket": "parts", "Key": "source"}
        upload = self.begin("copied")
        first = self.s3.upload_part_copy(**upload, PartNumber=1, CopySource=source)["CopyPartResult"]["ETag"]
        second = self.s3.upload_part_copy(**upload, PartNumber=2, CopySource=source, CopySourceRange="bytes=3-1002")["CopyPartResult"]["ETag"]
        self.assertEqual(second, f'"{hashlib.md5(body[3:1003]).hexdigest()}"')
        copy = self.s3.upload_part_copy
        self.refused("InvalidRange", copy, **upload, PartNumber=3, CopySource=source, CopySourceRange=f"bytes=0-{len(body)}")
        self.refused("InvalidArgument", copy, **upload, PartNumber=3, CopySource=source, CopySourceRange="bytes=5-")
        self.refused("PreconditionFailed", copy, **upload, PartNumber=3, CopySource=source, CopySourceIfMatch='"no"')
        self.s3.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": second}]})
        self.assertEqual(self.s3.get_object(Bucket="parts", Key="copied")["Body"].read(), body + body[3:1003])

    def test_checksums_of_parts_make_one_of_the_whole(self):
        bodies = [os.urandom(5 * MIB), os.urandom(1000)]
        for kind in ("COMPOSITE", "FULL_OBJECT"):
            upload = self.begin("summed", ChecksumAlgorithm="CRC32", ChecksumType=kind)
            parts = []
            for number, body in enumerate(bodies, 1):
                part = self.s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")
                self.assertEqual(part["ChecksumCRC32"], b64(zlib.crc32(body).to_bytes(4, "big")))
                parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
            wrong = [dict(parts[0], ChecksumCRC32="AAAAAA=="), parts[1]]
            self.refused("InvalidPart", self.s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": wrong})
            done = self.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
            if kind == "COMPOSITE":
                joined = b"".join(zlib.crc32(b).to_bytes(4, "big") for b in bodies)
                wanted = b64(zlib.crc32(joined).to_bytes(4, "big")) + "-2"
            else:
                wanted = b64(zlib.crc32(b"".join(bodies)).to_bytes(4, "big"))
            self.assertEqual((done["ChecksumCRC32"], done["ChecksumType"]), (wanted, kind))
            head = self.s3.head_object(Bucket="parts", Key="summed", ChecksumMode="ENABLED")
            self.assertEqual(head["ChecksumCRC32"], wanted)
        with self.assertRaises(self.Refused):
            self.s3.create_multipart_upload(Bucket="parts", Key="k", ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT")

    def test_the_transfer_manager_moves_large_files_both_ways(self):
        import io
        body = os.urandom(20 * MIB + 5)
        self.s3.upload_fileobj(io.BytesIO(body), "parts", "large")
        self.assertTrue(self.s3.head_object(Bucket="parts", Key="large")["ETag"].endswith('-3"'))
        out = io.BytesIO()
        self.s3.download_fileobj("parts", "large", out)
        self.assertEqual(out.getvalue(), body)

    def test_a_reader_gets_the_whole_of_the_version_that_it_began(self):
        bodies = [os.urandom(8 * MIB), os.urandom(8 * MIB)]
        upload = self.begin("slow")
        parts = [{"PartNumber": i, "ETag": self.s3.upload_part(**upload, PartNumber=i, Body=b)["ETag"]} for i, b in enumerate(bodies, 1)]
        self.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        before = self.server.counters()["bytes-used"]
        got = self.s3.get_object(Bucket="parts", Key="slow")
        start = got["Body"].read(10)
        self.s3.put_object(Bucket="parts", Key="slow", Body=b"new")
        self.assertEqual(start + got["Body"].read(), b"".join(bodies))
        self.assertEqual(self.s3.get_object(Bucket="parts", Key="slow")["Body"].read(), b"new")
        self.assertLess(self.server.counters()["bytes-used"], before)


if __name__ == "__main__":
    unittest.main()
