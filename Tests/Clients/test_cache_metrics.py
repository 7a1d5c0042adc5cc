"""What the asset cache counts, as the publisher tells it."""
import tempfile
import unittest

from behind import behind_server, backing
from origin import Origin, ask, response
from station import Station


class CacheMetricsTests(unittest.TestCase):
    def test_hits_misses_hosts_and_the_store_behind_are_told(self):
        import boto3
        from botocore.config import Config
        origin = Origin()
        self.addCleanup(origin.stop)
        behind = behind_server()
        self.addCleanup(behind.stop)
        home = tempfile.mkdtemp(prefix="cache-metrics-")
        station = Station(more=f"""asset-cache:
  address: 127.0.0.1:0
  directory: {home}
  fetch: {{ allow-private: ["127.0.0.1:{origin.port}"] }}
  keys:
    - {{ access-key: demo, secret: demo-secret-0123, buckets: {{ "*": read-write }} }}
{backing(behind.port, "write-back")}
""")
        self.addCleanup(station.stop)
        import json
        address = next(one["address"] for one in json.loads((station.home / "ready").read_text())["listeners"] if one["name"] == "asset-cache")
        port = int(address.rsplit(":", 1)[1])
        origin.on["/a"] = response(headers={"Cache-Control": "max-age=600"}, body=b"x" * 1000)
        # The first is a miss; it is stored before long, and then all are hits.
        ask(port, origin.url + "/a")
        station.until("stored", lambda: ask(port, origin.url + "/a").did.startswith("hit"))
        s3 = boto3.client(
            "s3", endpoint_url=f"http://{address}", aws_access_key_id="demo", aws_secret_access_key="demo-secret-0123", region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}))
        s3.create_bucket(Bucket="assets")
        s3.put_object(Bucket="assets", Key="k", Body=b"12345")
        station.until("sent", lambda: station.metric('leasehold_cache_backing_requests_total{kind="upload"}') == 1)
        for sample, least in (
            ('leasehold_cache_http_requests_total{result="miss"}', 1), ('leasehold_cache_http_requests_total{result="hit"}', 1),
            ("leasehold_cache_http_saved_bytes_total", 1000), ("leasehold_cache_http_sent_bytes_total", 2000),
            ('leasehold_cache_origin_requests_total{outcome="answered"}', 1), ("leasehold_cache_origin_seconds_count", 1),
            ('leasehold_cache_host_requests{host="127.0.0.1"}', 2), ("leasehold_cache_backing_up", 1), ("leasehold_cache_used_bytes", 1),
            ('leasehold_cache_backing_bytes_total{direction="out"}', 5), ('leasehold_cache_requests_total{kind="write"}', 1),
        ):
            self.assertGreaterEqual(station.metric(sample) or 0, least, sample)
        ratio = station.metric('leasehold_cache_host_hit_ratio{host="127.0.0.1"}')
        self.assertTrue(0 < ratio < 1, ratio)
        self.assertEqual(station.metric('leasehold_cache_backing_queue{state="waiting"}'), 0)
        # The store behind goes, and that is seen.
        behind.kill()
        s3.put_object(Bucket="assets", Key="k2", Body=b"12345")
        station.until("away", lambda: station.metric("leasehold_cache_backing_up") == 0)
        station.until("queued", lambda: station.metric('leasehold_cache_backing_queue{state="waiting"}') == 1)
        self.assertEqual(station.metric("leasehold_cache_backing_unsent_bytes"), 4096)
        self.assertGreaterEqual(station.metric('leasehold_cache_backing_errors_total{kind="failed"}'), 1)
        behind.start()
        station.until("back", lambda: station.metric("leasehold_cache_backing_up") == 1)


if __name__ == "__main__":
    unittest.main()
