"""Nodes that share a store behind: a second asset cache stands for it. No sleeps but while waiting for an event with a deadline."""
import base64
import concurrent.futures
import json
import os
import random
import threading
import unittest
import urllib.error
import urllib.request

from behind import BUCKET, Gate, Nodes, Terminator, code, drained, keys
from harness import PATIENCE, check_store

MIB = 1 << 20
SEED = int(os.environ.get("LEASEHOLD_SEED", random.randrange(1 << 32)))


def ask(server, method, path, body=None, headers={}):
    """Status, fields and body of a request for a profile."""
    request = urllib.request.Request(
        f"{server.url}/profiles/{path}", data=body, method=method,
        headers={"Authorization": "Basic " + base64.b64encode(b"demo:demo-secret-0123").decode(), **headers})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


class TieringTests(Nodes):
    # Sharing

    def test_what_is_put_on_one_node_is_got_on_another_with_all_that_belongs_to_it(self):
        for mode in ("write-through", "write-back"):
            behind, store = self.behind()
            a, on_a = self.node(behind, mode)
            b, on_b = self.node(behind, mode)
            on_a.create_bucket(Bucket="assets")
            body = os.urandom(300_000)
            put = on_a.put_object(
                Bucket="assets", Key="a b/ü+.bin", Body=body, ContentType="text/x-test; charset=utf-8", CacheControl="max-age=5",
                ContentDisposition="attachment", ContentLanguage="de", ContentEncoding="gzip", Metadata={"one": "1", "two": "b  c"},
                Tagging="k=v&x=a%20b", ChecksumAlgorithm="SHA256")
            on_a.put_object(Bucket="assets", Key="empty", Body=b"")
            parts = [os.urandom(5 * MIB), os.urandom(1000)]
            upload = dict(Bucket="assets", Key="parts", UploadId=on_a.create_multipart_upload(Bucket="assets", Key="parts")["UploadId"])
            etags = [{"PartNumber": i + 1, "ETag": on_a.upload_part(**upload, PartNumber=i + 1, Body=p)["ETag"]} for i, p in enumerate(parts)]
            whole = on_a.complete_multipart_upload(**upload, MultipartUpload={"Parts": etags})
            drained(a)
            # HEAD does not fetch.
            head = on_b.head_object(Bucket="assets", Key="a b/ü+.bin", ChecksumMode="ENABLED")
            self.assertEqual(b.counters()["backing-fetches"], 0)
            got = on_b.get_object(Bucket="assets", Key="a b/ü+.bin", ChecksumMode="ENABLED")
            self.assertEqual(got["Body"].read(), body)
            local = on_a.head_object(Bucket="assets", Key="a b/ü+.bin", ChecksumMode="ENABLED")
            for name in ("ETag", "LastModified", "ContentType", "CacheControl", "ContentDisposition", "ContentLanguage", "ContentEncoding",
                         "Metadata", "ContentLength", "ChecksumSHA256", "TagCount"):
                self.assertEqual(got.get(name), local.get(name), name)
                self.assertEqual(head.get(name), local.get(name), name)
            self.assertEqual(got["ETag"], put["ETag"])
            self.assertEqual(
                sorted((t["Key"], t["Value"]) for t in on_b.get_object_tagging(Bucket="assets", Key="a b/ü+.bin")["TagSet"]),
                [("k", "v"), ("x", "a b")])
            self.assertEqual(on_b.get_object(Bucket="assets", Key="empty")["Body"].read(), b"")
            got = on_b.get_object(Bucket="assets", Key="parts")
            self.assertEqual((got["ETag"], got["Body"].read()), (whole["ETag"], b"".join(parts)))
            # What is here now is not fetched again.
            fetches = b.counters()["backing-fetches"]
            on_b.get_object(Bucket="assets", Key="parts")["Body"].read()
            self.assertEqual(b.counters()["backing-fetches"], fetches)
            self.assertEqual([x["Name"] for x in on_b.list_buckets()["Buckets"]], ["assets"])
            for server in (a, b, behind):
                check_store(server.home)

    def test_copies_and_tags_of_what_is_only_behind(self):
        for mode in ("write-through", "write-back"):
            behind, store = self.behind()
            a, on_a = self.node(behind, mode)
            on_a.create_bucket(Bucket="assets")
            on_a.put_object(Bucket="assets", Key="source", Body=b"s" * 1000, Metadata={"m": "1"})
            drained(a)
            b, on_b = self.node(behind, mode)
            on_b.copy_object(Bucket="assets", Key="copy", CopySource="assets/source")
            on_b.put_object_tagging(Bucket="assets", Key="source", Tagging={"TagSet": [{"Key": "t", "Value": "1"}]})
            drained(b)
            c, on_c = self.node(behind, mode)
            self.assertEqual(on_c.get_object(Bucket="assets", Key="copy")["Body"].read(), b"s" * 1000)
            self.assertEqual(on_c.head_object(Bucket="assets", Key="copy")["Metadata"], {"m": "1"})
            self.assertEqual(on_c.get_object_tagging(Bucket="assets", Key="source")["TagSet"], [{"Key": "t", "Value": "1"}])

    def test_ranges_on_a_miss(self):
        behind, store = self.behind()
        body = os.urandom(3 * MIB)
        store.put_object(Bucket=BUCKET, Key="nodes/assets/big", Body=body)
        a, on_a = self.node(behind, "read-through")
        got = on_a.get_object(Bucket="assets", Key="big", Range="bytes=1000000-1999999")
        self.assertEqual((got["ContentRange"], got["Body"].read()), (f"bytes 1000000-1999999/{len(body)}", body[1_000_000:2_000_000]))
        self.assertEqual(on_a.get_object(Bucket="assets", Key="big", Range="bytes=-5")["Body"].read(), body[-5:])
        self.assertEqual(a.counters()["backing-fetches"], 1)
        with self.assertRaises(self.Refused) as context:
            on_a.get_object(Bucket="assets", Key="big", Range="bytes=9999999-")
        self.assertEqual(code(context), ("InvalidRange", 416))

    def test_what_finds_no_room_here_is_passed_on(self):
        behind, store = self.behind()
        body = os.urandom(20 * MIB)
        store.put_object(Bucket=BUCKET, Key="nodes/assets/huge", Body=body)
        a, on_a = self.node(behind, "read-through", size="16MiB")
        self.assertEqual(on_a.get_object(Bucket="assets", Key="huge")["Body"].read(), body)
        got = on_a.get_object(Bucket="assets", Key="huge", Range="bytes=100-199")
        self.assertEqual((got["ContentRange"], got["Body"].read()), (f"bytes 100-199/{len(body)}", body[100:200]))
        counters = a.counters()
        self.assertEqual((counters["backing-relayed"], counters["objects"], counters["backing-fetched-bytes"]), (2, 0, 0))

    def test_two_hundred_readers_of_a_cold_object_are_one_request(self):
        behind, store = self.behind()
        body = os.urandom(2 * MIB)
        store.put_object(Bucket=BUCKET, Key="nodes/assets/cold", Body=body)
        store.put_object(Bucket=BUCKET, Key="nodes/assets/other", Body=b"o")
        a, on_a = self.node(behind, "read-through")
        on_a.get_object(Bucket="assets", Key="other")["Body"].read()
        before = behind.counters()["reads"]
        start = threading.Barrier(200)
        clients = [a.client() for _ in range(8)]

        def read(i):
            start.wait(PATIENCE)
            return clients[i % 8].get_object(Bucket="assets", Key="cold")["Body"].read() == body

        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            self.assertTrue(all(pool.map(read, range(200))))
        self.assertEqual(behind.counters()["reads"] - before, 1)
        self.assertEqual(a.counters()["backing-fetches"], 2)

    def test_what_is_missing_everywhere_is_missing(self):
        behind, store = self.behind()
        a, on_a = self.node(behind, "write-through")
        on_a.create_bucket(Bucket="assets")
        for call in (on_a.get_object, on_a.head_object):
            with self.assertRaises(self.Refused) as context:
                call(Bucket="assets", Key="none")
            self.assertEqual(code(context)[1], 404)
        for call in (on_a.list_objects_v2, on_a.head_bucket):
            with self.assertRaises(self.Refused) as context:
                call(Bucket="no-such-bucket")
            self.assertEqual(code(context)[1], 404)
        with self.assertRaises(self.Refused) as context:
            self.node(behind, "write-through")[1].create_bucket(Bucket="assets")
        self.assertEqual(code(context), ("BucketAlreadyOwnedByYou", 409))

    def test_a_copy_is_asked_about_again(self):
        behind, store = self.behind()
        a, on_a = self.node(behind, "write-through")
        b, on_b = self.node(behind, "write-through", check_after="0")
        c, on_c = self.node(behind, "write-through", check_after="1h")
        on_a.create_bucket(Bucket="assets")
        on_a.put_object(Bucket="assets", Key="k", Body=b"one")
        for s3 in (on_b, on_c):
            self.assertEqual(s3.get_object(Bucket="assets", Key="k")["Body"].read(), b"one")
        self.assertEqual(on_b.get_object(Bucket="assets", Key="k")["Body"].read(), b"one")
        self.assertEqual(b.counters()["backing-held"], 1)
        on_a.put_object(Bucket="assets", Key="k", Body=b"two")
        self.assertEqual(on_b.get_object(Bucket="assets", Key="k")["Body"].read(), b"two")
        # It was told that an hour is soon enough.
        self.assertEqual(on_c.get_object(Bucket="assets", Key="k")["Body"].read(), b"one")
        on_a.delete_object(Bucket="assets", Key="k")
        with self.assertRaises(self.Refused) as context:
            on_b.get_object(Bucket="assets", Key="k")
        self.assertEqual(code(context), ("NoSuchKey", 404))

    def test_a_condition_holds_over_nodes_in_write_through(self):
        behind, store = self.behind()
        a, on_a = self.node(behind, "write-through")
        b, on_b = self.node(behind, "write-through", check_after="0")
        on_a.create_bucket(Bucket="assets")
        etag = on_a.put_object(Bucket="assets", Key="k", Body=b"one", IfNoneMatch="*")["ETag"]
        with self.assertRaises(self.Refused) as context:
            on_b.put_object(Bucket="assets", Key="k", Body=b"two", IfNoneMatch="*")
        self.assertEqual(code(context), ("PreconditionFailed", 412))
        on_b.put_object(Bucket="assets", Key="k", Body=b"three", IfMatch=etag)
        with self.assertRaises(self.Refused) as context:
            on_b.put_object(Bucket="assets", Key="k", Body=b"four", IfMatch=etag)
        self.assertEqual(code(context), ("PreconditionFailed", 412))
        # One of many wins, whatever its node.
        clients = [on_a, on_b] * 8
        start = threading.Barrier(len(clients))

        def write(i):
            start.wait(PATIENCE)
            try:
                clients[i].put_object(Bucket="assets", Key="once", Body=b"%d" % i, IfNoneMatch="*")
                return i
            except self.Refused:
                return None

        with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
            winners = [i for i in pool.map(write, range(len(clients))) if i is not None]
        self.assertEqual(len(winners), 1)
        self.assertEqual(store.get_object(Bucket=BUCKET, Key="nodes/assets/once")["Body"].read(), b"%d" % winners[0])

    def test_in_read_through_writes_stay_here(self):
        behind, store = self.behind()
        store.put_object(Bucket=BUCKET, Key="nodes/assets/theirs", Body=b"t")
        a, on_a = self.node(behind, "read-through")
        on_a.put_object(Bucket="assets", Key="mine", Body=b"m")
        self.assertEqual(keys(on_a), ["mine", "theirs"])
        self.assertEqual(keys(store, BUCKET), ["nodes/assets/theirs"])
        a.restart()
        self.assertEqual(on_a.get_object(Bucket="assets", Key="mine")["Body"].read(), b"m")

    # Deleting

    def test_deletes_are_deletes_everywhere(self):
        for mode in ("write-through", "write-back"):
            behind, store = self.behind()
            a, on_a = self.node(behind, mode)
            on_a.create_bucket(Bucket="assets")
            for i in range(30):
                on_a.put_object(Bucket="assets", Key=f"k{i:02}", Body=b"x" * i)
            drained(a)
            b, on_b = self.node(behind, mode)
            # Of what is not here, too.
            on_b.delete_object(Bucket="assets", Key="k00")
            done = on_b.delete_objects(Bucket="assets", Delete={"Objects": [{"Key": f"k{i:02}"} for i in range(1, 25)]})
            self.assertEqual(len(done["Deleted"]), 24)
            self.assertEqual(keys(on_b), [f"k{i:02}" for i in range(25, 30)])
            drained(b)
            self.assertEqual(keys(store, BUCKET), ["nodes/assets/"] + [f"nodes/assets/k{i:02}" for i in range(25, 30)])
            with self.assertRaises(self.Refused) as context:
                on_b.delete_bucket(Bucket="assets")
            self.assertEqual(code(context), ("BucketNotEmpty", 409))
            on_b.delete_objects(Bucket="assets", Delete={"Objects": [{"Key": f"k{i:02}"} for i in range(25, 30)]})
            on_b.delete_bucket(Bucket="assets")
            drained(b)
            self.assertEqual(keys(store, BUCKET), [])

    # Listing

    def test_a_listing_is_what_all_nodes_wrote(self):
        draw = random.Random(SEED)
        for mode in ("write-through", "write-back"):
            behind, store = self.behind()
            a, on_a = self.node(behind, mode)
            b, on_b = self.node(behind, mode)
            on_a.create_bucket(Bucket="assets")
            drained(a)
            everything = set()
            names = [f"{x}/{y}" if y else x for x in "abcde" for y in ("", "1", "2", "ü b", "z/deep", "z/deeper")]
            for name in draw.sample(names, 24):
                draw.choice((on_a, on_b)).put_object(Bucket="assets", Key=name, Body=b"1")
                everything.add(name)
            drained(a), drained(b)
            if mode == "write-back":
                # What is here and not there yet is listed here; what goes there is not.
                behind.process.send_signal(19)
                for name in draw.sample(sorted(everything), 6):
                    on_a.delete_object(Bucket="assets", Key=name)
                    everything.discard(name)
                for name in names[:10]:
                    on_a.put_object(Bucket="assets", Key=name, Body=b"2")
                    everything.add(name)
                behind.process.send_signal(18)
            order = sorted(everything, key=lambda n: n.encode())
            for _ in range(20):
                prefix, most = draw.choice(("", "a", "a/", "c/z", "none")), draw.choice((1, 2, 3, 7, 1000))
                delimiter = draw.choice(("", "/"))
                wanted = []
                for name in order:
                    if name.startswith(prefix):
                        cut = name.find("/", len(prefix)) if delimiter else -1
                        entry = name if cut < 0 else name[:cut + 1]
                        if entry not in wanted:
                            wanted.append(entry)
                found, token = [], None
                while True:
                    more = dict(ContinuationToken=token) if token else {}
                    page = on_a.list_objects_v2(Bucket="assets", Prefix=prefix, Delimiter=delimiter, MaxKeys=most, **more)
                    entries = [o["Key"] for o in page.get("Contents", [])] + [p["Prefix"] for p in page.get("CommonPrefixes", [])]
                    self.assertLessEqual(len(entries), most)
                    found += sorted(entries, key=lambda n: n.encode())
                    token = page.get("NextContinuationToken")
                    if not token:
                        break
                self.assertEqual(found, wanted, f"seed {SEED}, {mode}, prefix {prefix!r}, delimiter {delimiter!r}, {most} a page")

    # Over TLS

    def test_over_tls_with_an_authority_of_its_own(self):
        behind, store = self.behind()
        tls = Terminator(behind.port)
        self.addCleanup(tls.close)
        a, on_a = self.node(tls.port, "write-through", scheme="https", host="localhost", trust_file=str(tls.certificate))
        on_a.create_bucket(Bucket="assets")
        body = os.urandom(9 * MIB)
        on_a.put_object(Bucket="assets", Key="k", Body=body)
        self.assertEqual(store.get_object(Bucket=BUCKET, Key="nodes/assets/k")["Body"].read(), body)
        b, on_b = self.node(tls.port, "read-through", scheme="https", host="localhost", trust_file=str(tls.certificate))
        self.assertEqual(on_b.get_object(Bucket="assets", Key="k")["Body"].read(), body)
        self.assertGreater(tls.handshakes, 0)
        # Whoever is not believed is not asked.
        c, on_c = self.node(tls.port, "read-through", scheme="https", host="localhost")
        with self.assertRaises(self.Refused) as context:
            on_c.get_object(Bucket="assets", Key="k")
        self.assertEqual(code(context), ("ServiceUnavailable", 503))

    # Profiles

    def test_nodes_share_profiles(self):
        for mode in ("write-through", "write-back"):
            behind, store = self.behind()
            a, _ = self.node(behind, mode)
            b, _ = self.node(behind, mode)
            one, two = os.urandom(100_000), os.urandom(200_000)
            self.assertEqual(ask(a, "PUT", "ann/shop", one)[0], 201)
            drained(a)
            status, headers, body = ask(b, "GET", "ann/shop")
            self.assertEqual((status, body, headers["Leasehold-Profile-Version"]), (200, one, "1"))
            status, headers, _ = ask(b, "PUT", "ann/shop", two, {"If-Match": headers["ETag"]})
            self.assertEqual((status, headers["Leasehold-Profile-Version"]), (200, "2"))
            drained(b)
            status, headers, body = ask(a, "GET", "ann/shop")
            self.assertEqual((status, body, headers["Leasehold-Profile-Version"]), (200, two, "2"))
            for i in range(3):
                self.assertEqual(ask(a, "PUT", "ann/shop", b"%d" % i)[0], 200)
            drained(a)
            # Three are kept, everywhere.
            self.assertEqual([v["version"] for v in json.loads(ask(b, "GET", "ann/shop?history")[2])], [3, 4, 5])
            self.assertEqual(ask(b, "GET", "ann/shop?version=4")[2], b"1")
            self.assertEqual(len(keys(store, BUCKET)), 3)
            self.assertEqual(ask(b, "DELETE", "ann/shop")[0], 204)
            drained(b)
            self.assertEqual(ask(a, "GET", "ann/shop")[0], 404)
            self.assertEqual(keys(store, BUCKET), [])

    def gated(self, mode):
        """A node that reaches its store behind through a gate."""
        behind, store = self.behind()
        gate = Gate(behind.port)
        self.addCleanup(gate.close)
        return gate, self.node(gate.port, mode, first_byte="60s", idle="60s")[0], self.node(behind, mode)[0], store

    def test_a_version_that_gets_there_while_the_store_behind_lists_is_kept(self):
        gate, a, b, store = self.gated("write-back")
        self.assertEqual(ask(a, "PUT", "ann/shop", b"one")[0], 201)
        drained(a)
        upload = gate.hold("PUT", "0002", answered=False)
        self.assertEqual(ask(a, "PUT", "ann/shop", b"two")[1]["Leasehold-Profile-Version"], "2")
        upload.wait()
        # The list is from before the second version got there, and comes after it.
        listing = gate.hold("GET", "prefix=", answered=True)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            third = pool.submit(ask, a, "PUT", "ann/shop", b"three")
            listing.wait()
            upload.go.set()
            drained(a)
            listing.go.set()
            self.assertEqual(third.result(PATIENCE)[1]["Leasehold-Profile-Version"], "3")
        drained(a)
        for server in (a, b):
            self.assertEqual([ask(server, "GET", f"ann/shop?version={i}")[2] for i in (1, 2, 3)], [b"one", b"two", b"three"])

    def test_versions_that_are_to_be_removed_there_are_gone(self):
        gate, a, b, store = self.gated("write-back")
        for i in range(3):
            ask(a, "PUT", "ann/shop", b"%d" % i)
        drained(a)
        self.assertEqual([ask(b, "GET", f"ann/shop?version={i}")[2] for i in (1, 3)], [b"0", b"2"])
        removals = [gate.hold("DELETE", "ann/shop", answered=False) for _ in range(3)]
        self.assertEqual(ask(a, "DELETE", "ann/shop")[0], 204)
        removals[0].wait()
        self.assertEqual(json.loads(ask(a, "GET", "ann/shop?history")[2]), [])
        self.assertEqual(ask(a, "GET", "ann/shop")[0], 404)
        self.assertEqual(ask(a, "DELETE", "ann/shop")[0], 404)
        # What is written now is neither among them nor removed with them.
        status, headers, _ = ask(a, "PUT", "ann/shop", b"anew")
        self.assertEqual((status, ask(a, "GET", "ann/shop")[2]), (201, b"anew"))
        for removal in removals:
            removal.go.set()
        drained(a)
        for server in (a, b):
            self.assertEqual(ask(server, "GET", "ann/shop")[2], b"anew")
            self.assertEqual([v["version"] for v in json.loads(ask(server, "GET", "ann/shop?history")[2])], [1])
        self.assertEqual(len(keys(store, BUCKET)), 1)


if __name__ == "__main__":
    unittest.main()
