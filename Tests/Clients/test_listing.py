import random
import unittest

from harness import Server


class ListingTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        from botocore.exceptions import ClientError
        cls.Refused = ClientError
        cls.server = Server()
        cls.s3 = cls.server.client()
        cls.s3.create_bucket(Bucket="many")
        cls.seed = random.randrange(1 << 32)
        draw = random.Random(cls.seed)
        words = ["a", "b", "a/", "b/c", "ü", "x y", "z+", "/", "a/b/", "\u00e9", "~"]
        cls.keys = sorted({"".join(draw.choices(words, k=draw.randint(1, 4))) for _ in range(90)}, key=lambda k: k.encode())
        for key in cls.keys:
            cls.s3.put_object(Bucket="many", Key=key, Body=b"x")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def expected(self, prefix="", delimiter=""):
        contents, prefixes = [], []
        for key in self.keys:
            if not key.startswith(prefix):
                continue
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            if at < 0:
                contents.append(key)
            elif key[:at + len(delimiter)] not in prefixes:
                prefixes.append(key[:at + len(delimiter)])
        return contents, prefixes

    def test_pages_of_both_versions_show_everything_once(self):
        for prefix in ("", "a", "a/", "b/c", "nothing"):
            for delimiter in ("", "/", "b/"):
                contents, prefixes = self.expected(prefix, delimiter)
                for size in (1, 2, 7, 1000):
                    for operation in ("list_objects", "list_objects_v2"):
                        got, rolled, pages = [], [], 0
                        pages_of = self.s3.get_paginator(operation).paginate(
                            Bucket="many", Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size})
                        for page in pages_of:
                            pages += 1
                            got += [o["Key"] for o in page.get("Contents", [])]
                            rolled += [p["Prefix"] for p in page.get("CommonPrefixes", [])]
                            self.assertLessEqual(len(page.get("Contents", [])) + len(page.get("CommonPrefixes", [])), size)
                        self.assertEqual((got, rolled), (contents, prefixes), (operation, prefix, delimiter, size, self.seed))
                        if size == 1 and len(contents) + len(prefixes) > 12:
                            break

    def test_where_a_listing_begins(self):
        key = self.keys[len(self.keys) // 2]
        later = [k for k in self.keys if k.encode() > key.encode()]
        for arguments in ({"StartAfter": key},):
            self.assertEqual([o["Key"] for o in self.s3.list_objects_v2(Bucket="many", **arguments)["Contents"]], later)
        self.assertEqual([o["Key"] for o in self.s3.list_objects(Bucket="many", Marker=key)["Contents"]], later)

    def test_what_a_page_says_of_itself(self):
        page = self.s3.list_objects_v2(Bucket="many", MaxKeys=3)
        self.assertEqual((page["KeyCount"], page["MaxKeys"], page["IsTruncated"], page["Name"]), (3, 3, True, "many"))
        self.assertIn("NextContinuationToken", page)
        self.assertEqual(page["Contents"][0]["Size"], 1)
        owner = self.s3.list_objects_v2(Bucket="many", MaxKeys=1, FetchOwner=True)["Contents"][0]["Owner"]
        self.assertEqual(owner["ID"], "demo")
        nothing = self.s3.list_objects_v2(Bucket="many", MaxKeys=0)
        self.assertEqual((nothing["KeyCount"], nothing["IsTruncated"]), (0, False))

    def test_wrong_parameters_are_refused(self):
        for arguments in ({"ContinuationToken": "!"}, {"EncodingType": "json"}, {"MaxKeys": -1}):
            with self.assertRaises(self.Refused) as context:
                self.s3.list_objects_v2(Bucket="many", **arguments)
            self.assertEqual(context.exception.response["Error"]["Code"], "InvalidArgument", arguments)


if __name__ == "__main__":
    unittest.main()
