import base64
import datetime
import hashlib
import os
import unittest
import zlib

from harness import Server, Signer, b64, raw


def code(context):
    return context.exception.response["Error"]["Code"]


def status(context):
    return context.exception.response["ResponseMetadata"]["HTTPStatusCode"]


class ObjectTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from botocore.exceptions import ClientError
        cls.Refused = ClientError
        cls.server = Server()
        cls.s3 = cls.server.client()
        for name in ("shared", "shared-not", "private"):
            cls.s3.create_bucket(Bucket=name)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def refused(self, expected, call, **arguments):
        with self.assertRaises(self.Refused) as context:
            call(**arguments)
        self.assertEqual(code(context), expected)
        return status(context)

    # Buckets

    def test_an_empty_body_is_followed_by_the_next_request_on_the_same_connection(self):
        self.s3.create_bucket(Bucket="empty-bodies")
        for i in range(6):
            self.s3.put_object(Bucket="empty-bodies", Key=str(i), Body=b"x" * (i % 2))
        self.assertEqual([o["Size"] for o in self.s3.list_objects_v2(Bucket="empty-bodies")["Contents"]], [0, 1] * 3)

    def test_buckets_are_created_found_listed_located_and_deleted(self):
        s3 = self.s3
        s3.create_bucket(Bucket="to-and-fro", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.assertEqual(s3.get_bucket_location(Bucket="to-and-fro")["LocationConstraint"], "eu-central-1")
        self.assertIsNone(s3.get_bucket_location(Bucket="shared")["LocationConstraint"])
        self.assertEqual(s3.head_bucket(Bucket="to-and-fro")["BucketRegion"], "eu-central-1")
        self.assertIn("to-and-fro", [b["Name"] for b in s3.list_buckets()["Buckets"]])
        self.refused("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket="to-and-fro")
        s3.put_object(Bucket="to-and-fro", Key="k", Body=b"")
        self.assertEqual(self.refused("BucketNotEmpty", s3.delete_bucket, Bucket="to-and-fro"), 409)
        s3.delete_object(Bucket="to-and-fro", Key="k")
        s3.delete_bucket(Bucket="to-and-fro")
        self.assertEqual(self.refused("404", s3.head_bucket, Bucket="to-and-fro"), 404)
        self.refused("NoSuchBucket", s3.delete_bucket, Bucket="to-and-fro")
        self.refused("NoSuchBucket", s3.list_objects_v2, Bucket="to-and-fro")
        self.refused("NoSuchBucket", s3.get_object, Bucket="to-and-fro", Key="k")
        self.refused("NoSuchBucket", s3.put_object, Bucket="to-and-fro", Key="k", Body=b"x")
        self.refused("NoSuchBucket", s3.get_bucket_location, Bucket="to-and-fro")

    def test_buckets_are_listed_in_pages(self):
        names = [f"paged-{i}" for i in range(5)]
        for name in names:
            self.s3.create_bucket(Bucket=name)
        found = []
        for page in self.s3.get_paginator("list_buckets").paginate(Prefix="paged-", PaginationConfig={"PageSize": 2}):
            self.assertLessEqual(len(page["Buckets"]), 2)
            found += [b["Name"] for b in page["Buckets"]]
        self.assertEqual(found, names)

    def test_a_bucket_name_that_breaks_the_rules_is_refused(self):
        signer = Signer(self.server)
        for name in ("Ab", "ab", "a..b", "-ab", "ab-", "a_b", "1.2.3.4", "x" * 64, "xn--abc"):
            answer = raw(self.server, "PUT", f"/{name}", signer.headers("PUT", f"/{name}"))
            self.assertEqual((answer.status, answer.code), (400, "InvalidBucketName"), name)

    # Objects

    def test_what_was_put_is_what_is_got(self):
        for size in (0, 1, 4096, 65_536, 65_537, 3_000_001):
            body = os.urandom(size)
            put = self.s3.put_object(
                Bucket="private", Key=f"size/{size}", Body=body, ContentType="image/png", CacheControl="max-age=60", ContentLanguage="de",
                ContentDisposition='attachment; filename="a.png"', ContentEncoding="identity", Expires=datetime.datetime(2030, 1, 1),
                Metadata={"one": "1", "two": "a b"})
            self.assertEqual(put["ETag"], f'"{hashlib.md5(body).hexdigest()}"')
            got = self.s3.get_object(Bucket="private", Key=f"size/{size}")
            self.assertEqual(got["Body"].read(), body)
            self.assertEqual(got["ContentLength"], size)
            self.assertEqual(got["Metadata"], {"one": "1", "two": "a b"})
            self.assertEqual((got["ContentType"], got["CacheControl"], got["ContentLanguage"]), ("image/png", "max-age=60", "de"))
            self.assertEqual((got["ContentDisposition"], got["ContentEncoding"]), ('attachment; filename="a.png"', "identity"))
            head = self.s3.head_object(Bucket="private", Key=f"size/{size}")
            self.assertEqual((head["ContentLength"], head["ETag"]), (size, put["ETag"]))

    def test_keys_are_bytes(self):
        keys = ["a", "a/", "a//b", "./x", "../x", "a b", "a+b", "a%20b", "ü/ñ", "日本", "=&?#", "'\"<>&", "e\u0301", "\u00e9", "k" * 1024]
        for key in keys:
            self.s3.put_object(Bucket="private", Key="keys/" + key if len(key) < 1000 else key, Body=key.encode())
        for key in keys:
            name = "keys/" + key if len(key) < 1000 else key
            self.assertEqual(self.s3.get_object(Bucket="private", Key=name)["Body"].read(), key.encode(), key)
        listed = [o["Key"] for o in self.s3.list_objects_v2(Bucket="private", Prefix="keys/")["Contents"]]
        self.assertEqual(listed, sorted(("keys/" + k for k in keys if len(k) < 1000), key=lambda k: k.encode()))
        self.refused("KeyTooLongError", self.s3.put_object, Bucket="private", Key="k" * 1025, Body=b"")
        signer = Signer(self.server)
        answer = raw(self.server, "GET", "/private/%ff", signer.headers("GET", "/private/x"))
        self.assertIn(answer.code, ("SignatureDoesNotMatch", "InvalidURI"))

    def test_an_absent_object_is_404_and_deleting_it_is_well(self):
        self.assertEqual(self.refused("NoSuchKey", self.s3.get_object, Bucket="private", Key="absent"), 404)
        self.assertEqual(self.refused("404", self.s3.head_object, Bucket="private", Key="absent"), 404)
        answer = self.s3.delete_object(Bucket="private", Key="absent")
        self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], 204)

    def test_many_are_deleted_at_once(self):
        for i in range(5):
            self.s3.put_object(Bucket="private", Key=f"many/{i}", Body=b"x")
        answer = self.s3.delete_objects(Bucket="private", Delete={"Objects": [{"Key": f"many/{i}"} for i in range(7)]})
        self.assertEqual(len(answer["Deleted"]), 7)
        self.assertNotIn("Contents", self.s3.list_objects_v2(Bucket="private", Prefix="many/"))
        quiet = self.s3.delete_objects(Bucket="private", Delete={"Objects": [{"Key": "many/0"}], "Quiet": True})
        self.assertNotIn("Deleted", quiet)
        wrong = self.s3.delete_objects(Bucket="private", Delete={"Objects": [{"Key": "k", "VersionId": "abc"}, {"Key": "x" * 1025}]})
        self.assertEqual(sorted(e["Code"] for e in wrong["Errors"]), ["KeyTooLongError", "NoSuchVersion"])
        signer = Signer(self.server)
        body = b"<Delete><Object><Key>a</Key></Object></Delete>"
        digest = hashlib.sha256(body).hexdigest()
        answer = raw(self.server, "POST", "/private?delete", signer.headers("POST", "/private", [("delete", "")], payload=digest), body)
        self.assertEqual(answer.code, "InvalidRequest")
        for bad in (b"<Delete>", b"nothing", b"<Delete></Delete>", b"<!DOCTYPE a><Delete><Object><Key>a</Key></Object></Delete>"):
            headers = signer.headers(
                "POST", "/private", [("delete", "")], {"content-md5": b64(hashlib.md5(bad).digest())}, hashlib.sha256(bad).hexdigest())
            self.assertEqual(raw(self.server, "POST", "/private?delete", headers, bad).code, "MalformedXML", bad)

    def test_a_copy_has_the_bytes_and_keeps_or_replaces_the_rest(self):
        body = os.urandom(100_000)
        self.s3.put_object(Bucket="private", Key="from", Body=body, Metadata={"a": "1"}, ContentType="text/css", Tagging="t=1")
        copy = self.s3.copy_object(Bucket="shared", Key="to ü", CopySource={"Bucket": "private", "Key": "from"})
        self.assertEqual(copy["CopyObjectResult"]["ETag"], f'"{hashlib.md5(body).hexdigest()}"')
        got = self.s3.get_object(Bucket="shared", Key="to ü")
        self.assertEqual((got["Body"].read(), got["Metadata"], got["ContentType"], got["TagCount"]), (body, {"a": "1"}, "text/css", 1))
        self.s3.copy_object(
            Bucket="shared", Key="to", CopySource={"Bucket": "shared", "Key": "to ü"}, MetadataDirective="REPLACE", Metadata={"b": "2"},
            ContentType="text/html", TaggingDirective="REPLACE", Tagging="u=2")
        head = self.s3.head_object(Bucket="shared", Key="to")
        self.assertEqual((head["Metadata"], head["ContentType"]), ({"b": "2"}, "text/html"))
        self.assertEqual(self.s3.get_object_tagging(Bucket="shared", Key="to")["TagSet"], [{"Key": "u", "Value": "2"}])
        itself = dict(Bucket="shared", Key="to", CopySource={"Bucket": "shared", "Key": "to"})
        self.refused("InvalidRequest", self.s3.copy_object, **itself)
        self.s3.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"c": "3"})
        self.assertEqual(self.s3.head_object(Bucket="shared", Key="to")["Metadata"], {"c": "3"})
        self.refused("NoSuchKey", self.s3.copy_object, Bucket="shared", Key="x", CopySource={"Bucket": "private", "Key": "absent"})
        self.refused("NoSuchBucket", self.s3.copy_object, Bucket="shared", Key="x", CopySource={"Bucket": "absent", "Key": "absent"})
        etag = copy["CopyObjectResult"]["ETag"]
        source = {"Bucket": "private", "Key": "from"}
        self.refused("PreconditionFailed", self.s3.copy_object, Bucket="shared", Key="x", CopySource=source, CopySourceIfNoneMatch=etag)
        self.refused("PreconditionFailed", self.s3.copy_object, Bucket="shared", Key="x", CopySource=source, CopySourceIfMatch='"no"')
        self.s3.copy_object(Bucket="shared", Key="x", CopySource=source, CopySourceIfMatch=etag)

    def test_equal_bodies_are_stored_once(self):
        before = self.server.counters()["bytes-used"]
        body = os.urandom(1_000_000)
        for i in range(4):
            self.s3.put_object(Bucket="private", Key=f"once/{i}", Body=body)
        after = self.server.counters()["bytes-used"]
        self.assertLess(after - before, 1_100_000)
        for i in range(3):
            self.s3.delete_object(Bucket="private", Key=f"once/{i}")
        self.assertEqual(self.s3.get_object(Bucket="private", Key="once/3")["Body"].read(), body)
        self.s3.delete_object(Bucket="private", Key="once/3")
        self.assertEqual(self.server.counters()["bytes-used"], before)

    # Ranges and conditions

    def test_ranges(self):
        body = bytes(range(256)) * 1000
        self.s3.put_object(Bucket="private", Key="range", Body=body)
        cases = {
            "bytes=0-0": (206, 0, 1), "bytes=5-9": (206, 5, 10), "bytes=255990-": (206, 255_990, 256_000), "bytes=-6": (206, 255_994, 256_000),
            "bytes=255999-999999": (206, 255_999, 256_000), "bytes=-999999999": (206, 0, 256_000), "bytes=1-0": (200, 0, 256_000),
            "bytes=a-b": (200, 0, 256_000), "lines=0-1": (200, 0, 256_000), "bytes=0-1,5-6": (200, 0, 256_000),
            "bytes=10-99999999999999999999999": (206, 10, 256_000),
        }
        for field, (wanted, start, end) in cases.items():
            got = self.s3.get_object(Bucket="private", Key="range", Range=field)
            self.assertEqual(got["ResponseMetadata"]["HTTPStatusCode"], wanted, field)
            self.assertEqual(got["Body"].read(), body[start:end], field)
            if wanted == 206:
                self.assertEqual(got["ContentRange"], f"bytes {start}-{end - 1}/256000")
        for field in ("bytes=256000-", "bytes=-0", "bytes=99999999999999999999999-"):
            self.assertEqual(self.refused("InvalidRange", self.s3.get_object, Bucket="private", Key="range", Range=field), 416)

    def test_conditions_on_reads(self):
        etag = self.s3.put_object(Bucket="private", Key="cond", Body=b"x")["ETag"]
        modified = self.s3.head_object(Bucket="private", Key="cond")["LastModified"]
        hour = datetime.timedelta(hours=1)
        get = lambda **more: self.s3.get_object(Bucket="private", Key="cond", **more)
        for more in ({"IfMatch": etag}, {"IfMatch": "*"}, {"IfMatch": f'"no", {etag}'}, {"IfNoneMatch": '"no"'}, {"IfModifiedSince": modified - hour},
                     {"IfUnmodifiedSince": modified}, {"IfMatch": etag, "IfUnmodifiedSince": modified - hour},
                     {"IfNoneMatch": '"no"', "IfModifiedSince": modified + hour}):
            self.assertEqual(get(**more)["Body"].read(), b"x", more)
        for more in ({"IfMatch": '"no"'}, {"IfUnmodifiedSince": modified - hour}):
            self.assertEqual(self.refused("PreconditionFailed", get, **more), 412)
        for more in ({"IfNoneMatch": etag}, {"IfNoneMatch": "*"}, {"IfModifiedSince": modified}, {"IfNoneMatch": f"W/{etag}"}):
            self.assertEqual(self.refused("304", get, **more), 304)

    def test_conditions_on_writes(self):
        put = lambda **more: self.s3.put_object(Bucket="private", Key="once", Body=b"x", **more)
        self.refused("NoSuchKey", put, IfMatch='"no"')
        etag = put(IfNoneMatch="*")["ETag"]
        self.assertEqual(self.refused("PreconditionFailed", put, IfNoneMatch="*"), 412)
        self.refused("PreconditionFailed", put, IfMatch='"no"')
        put(IfMatch=etag)
        self.refused("PreconditionFailed", self.s3.delete_object, Bucket="private", Key="once", IfMatch='"no"')
        self.s3.delete_object(Bucket="private", Key="once", IfMatch=etag)

    def test_if_none_match_lets_one_of_many_win(self):
        import concurrent.futures
        def attempt(i):
            try:
                self.s3.put_object(Bucket="private", Key="race", Body=str(i).encode(), IfNoneMatch="*")
                return i
            except self.Refused:
                return None
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            winners = [w for w in pool.map(attempt, range(24)) if w is not None]
        self.assertEqual(len(winners), 1)
        self.assertEqual(self.s3.get_object(Bucket="private", Key="race")["Body"].read(), str(winners[0]).encode())

    def test_headers_of_the_answer_can_be_asked_for(self):
        self.s3.put_object(Bucket="private", Key="over", Body=b"x")
        got = self.s3.get_object(Bucket="private", Key="over", ResponseContentType="text/x", ResponseCacheControl="no-store")
        self.assertEqual((got["ContentType"], got["CacheControl"]), ("text/x", "no-store"))

    def test_headers_beyond_ascii_come_back_as_bytes(self):
        import socket
        from harness import PATIENCE
        signer = Signer(self.server)
        headers = signer.headers("PUT", "/private/utf8", headers={"x-amz-meta-name": "größe", "content-disposition": 'inline; filename="ü"'})
        self.assertEqual(raw(self.server, "PUT", "/private/utf8", headers).status, 200)
        headers = signer.headers("GET", "/private/utf8")
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as connection:
            text = "GET /private/utf8 HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
            connection.sendall(text.encode() + b"connection: close\r\n\r\n")
            data = b""
            while piece := connection.recv(65536):
                data += piece
        self.assertIn("x-amz-meta-name: größe\r\n".encode(), data)
        self.assertIn('filename="ü"'.encode(), data)

    # Checksums

    def test_every_checksum_is_checked_and_told(self):
        body = b"123456789"
        known = {"CRC32": "y/Q5Jg==", "CRC32C": "4waSgw==", "SHA1": b64(hashlib.sha1(body).digest()), "SHA256": b64(hashlib.sha256(body).digest()),
                 "CRC64NVME": "rosUhgp5mIg="}
        signer = Signer(self.server)
        for name, value in known.items():
            digest = hashlib.sha256(body).hexdigest()
            field = f"x-amz-checksum-{name.lower()}"
            path = f"/private/sum-{name}"
            answer = raw(self.server, "PUT", path, signer.headers("PUT", path, headers={field: value}, payload=digest), body)
            self.assertEqual((answer.status, answer.headers.get(field)), (200, value), name)
            head = raw(self.server, "HEAD", path, signer.headers("HEAD", path, headers={"x-amz-checksum-mode": "ENABLED"}))
            self.assertEqual((head.headers.get(field), head.headers["x-amz-checksum-type"]), (value, "FULL_OBJECT"))
            wrong = b64(bytes(len(base64.b64decode(value))))
            answer = raw(self.server, "PUT", path, signer.headers("PUT", path, headers={field: wrong}, payload=digest), body)
            self.assertEqual((answer.status, answer.code), (400, "BadDigest"), name)
            answer = raw(self.server, "PUT", path, signer.headers("PUT", path, headers={field: "AA=="}, payload=digest), body)
            self.assertEqual(answer.code, "InvalidRequest", name)
        for name in ("CRC32", "SHA1", "SHA256"):
            self.s3.put_object(Bucket="private", Key="sum", Body=body, ChecksumAlgorithm=name)
            got = self.s3.get_object(Bucket="private", Key="sum", ChecksumMode="ENABLED")
            self.assertEqual((got["Body"].read(), got[f"Checksum{name}"]), (body, known[name]))

    def test_content_md5_is_checked(self):
        body = b"abc"
        good = b64(hashlib.md5(body).digest())
        self.s3.put_object(Bucket="private", Key="md5", Body=body, ContentMD5=good)
        self.assertEqual(self.refused("BadDigest", self.s3.put_object, Bucket="private", Key="md5", Body=b"abd", ContentMD5=good), 400)
        self.refused("InvalidDigest", self.s3.put_object, Bucket="private", Key="md5", Body=body, ContentMD5="abc")

    # Tagging

    def test_tags(self):
        self.s3.put_object(Bucket="private", Key="tags", Body=b"x", Tagging="a=1&b=x%20y")
        tags = lambda: {t["Key"]: t["Value"] for t in self.s3.get_object_tagging(Bucket="private", Key="tags")["TagSet"]}
        self.assertEqual(tags(), {"a": "1", "b": "x y"})
        self.s3.put_object_tagging(Bucket="private", Key="tags", Tagging={"TagSet": [{"Key": "c", "Value": "<&>"}]})
        self.assertEqual(tags(), {"c": "<&>"})
        self.assertEqual(self.s3.get_object(Bucket="private", Key="tags")["TagCount"], 1)
        self.s3.delete_object_tagging(Bucket="private", Key="tags")
        self.assertEqual(tags(), {})
        many = [{"Key": str(i), "Value": ""} for i in range(11)]
        put = self.s3.put_object_tagging
        self.refused("InvalidTag", put, Bucket="private", Key="tags", Tagging={"TagSet": many})
        self.refused("InvalidTag", put, Bucket="private", Key="tags", Tagging={"TagSet": [{"Key": "a", "Value": ""}] * 2})
        self.refused("InvalidTag", put, Bucket="private", Key="tags", Tagging={"TagSet": [{"Key": "k" * 129, "Value": ""}]})
        self.refused("NoSuchKey", put, Bucket="private", Key="absent", Tagging={"TagSet": []})

    # Lifecycle

    def test_what_is_over_expires(self):
        s3, name = self.s3, "expiring"
        s3.create_bucket(Bucket=name)
        self.refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=name)
        for key in ("tmp/a", "tmp/b", "keep/a"):
            s3.put_object(Bucket=name, Key=key, Body=b"x" * 10)
        s3.put_object(Bucket=name, Key="tagged", Body=b"x", Tagging="gone=yes")
        rules = [
            {"ID": "past", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Date": datetime.datetime(2020, 1, 1)}},
            {"ID": "tag", "Status": "Enabled", "Filter": {"And": {"Prefix": "", "Tags": [{"Key": "gone", "Value": "yes"}], "ObjectSizeLessThan": 5}},
             "Expiration": {"Date": datetime.datetime(2020, 1, 1)}},
            {"ID": "later", "Status": "Enabled", "Filter": {"Prefix": "keep/"}, "Expiration": {"Days": 30},
             "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
            {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
        ]
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
        told = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
        self.assertEqual([r["ID"] for r in told], ["past", "tag", "later", "off"])
        self.assertEqual([o["Key"] for o in s3.list_objects_v2(Bucket=name)["Contents"]], ["keep/a"])
        self.assertIn('rule-id="later"', s3.head_object(Bucket=name, Key="keep/a")["Expiration"])
        s3.put_object(Bucket=name, Key="tmp/again", Body=b"x")
        self.refused("NoSuchKey", s3.get_object, Bucket=name, Key="tmp/again")
        put = s3.put_bucket_lifecycle_configuration
        moved = [{"Status": "Enabled", "Filter": {"Prefix": ""}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}]
        self.assertEqual(self.refused("NotImplemented", put, Bucket=name, LifecycleConfiguration={"Rules": moved}), 501)
        twice = [dict(rules[0]), dict(rules[0])]
        self.refused("InvalidArgument", put, Bucket=name, LifecycleConfiguration={"Rules": twice})
        s3.delete_bucket_lifecycle(Bucket=name)
        self.refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=name)

    # What is not there

    def test_what_is_not_implemented_says_so(self):
        s3 = self.s3
        s3.put_object(Bucket="private", Key="k", Body=b"x")
        calls = [
            (s3.get_bucket_acl, {}), (s3.get_bucket_versioning, {}), (s3.list_object_versions, {}), (s3.get_bucket_policy, {}),
            (s3.get_bucket_cors, {}), (s3.get_bucket_encryption, {}), (s3.get_bucket_tagging, {}), (s3.get_bucket_website, {}),
            (s3.get_bucket_notification_configuration, {}), (s3.get_public_access_block, {}), (s3.get_object_lock_configuration, {}),
            (s3.get_object_acl, {"Key": "k"}), (s3.get_object_retention, {"Key": "k"}), (s3.get_object_torrent, {"Key": "k"}),
            (s3.get_object_attributes, {"Key": "k", "ObjectAttributes": ["ETag"]}),
            (s3.restore_object, {"Key": "k", "RestoreRequest": {"Days": 1}}),
            (s3.put_object, {"Key": "k", "Body": b"", "ServerSideEncryption": "AES256"}), (s3.put_object, {"Key": "k", "Body": b"", "ACL": "public-read"}),
            (s3.put_object, {"Key": "k", "Body": b"", "WebsiteRedirectLocation": "/x"}),
        ]
        for call, arguments in calls:
            self.assertEqual(self.refused("NotImplemented", call, Bucket="private", **arguments), 501, call)
        self.refused("InvalidStorageClass", s3.put_object, Bucket="private", Key="k", Body=b"", StorageClass="GLACIER")
        self.refused("NoSuchVersion", s3.get_object, Bucket="private", Key="k", VersionId="abc")
        signer = Signer(self.server)
        self.assertEqual(raw(self.server, "PATCH", "/private/k", signer.headers("PATCH", "/private/k")).code, "MethodNotAllowed")
        self.assertEqual(raw(self.server, "DELETE", "/", signer.headers("DELETE", "/")).code, "MethodNotAllowed")

    def test_limits_of_metadata_and_lengths(self):
        self.refused("MetadataTooLarge", self.s3.put_object, Bucket="private", Key="k", Body=b"", Metadata={"a": "x" * 2048})
        self.refused("EntityTooLarge", self.put_claiming, length=6 << 30)

    def put_claiming(self, length):
        from botocore.exceptions import ClientError
        import socket
        from harness import PATIENCE, read_answer
        headers = Signer(self.server).headers("PUT", "/private/huge", payload="UNSIGNED-PAYLOAD")
        text = "PUT /private/huge HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + f"content-length: {length}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE) as connection:
            connection.sendall(text.encode())
            answer = read_answer(connection)
        raise ClientError({"Error": {"Code": answer.code}, "ResponseMetadata": {"HTTPStatusCode": answer.status}}, "PutObject")


if __name__ == "__main__":
    unittest.main()
