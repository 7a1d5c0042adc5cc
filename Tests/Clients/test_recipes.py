"""The recipes of docs/asset-cache.md, taken from the document and run."""
import base64
import importlib.util
import json
import re
import shutil
import tempfile
import threading
import unittest

from browser import PROGRAM, Browser
from harness import PATIENCE, ROOT, Server
from origin import Origin, response


def recipe(word):
    """The Python block of the document that has that word."""
    text = (ROOT / "docs" / "asset-cache.md").read_text()
    return next(block for block in re.findall(r"```python\n(.*?)```", text, re.S) if word in block)


@unittest.skipUnless(PROGRAM, "no Chromium on this machine")
class RecipeTests(unittest.TestCase):
    def setUp(self):
        self.origin = Origin()
        self.addCleanup(self.origin.stop)
        self.server = Server(more=f'  fetch: {{ allow-private: ["127.0.0.1:{self.origin.port}"] }}')
        self.addCleanup(self.server.stop)
        fresh = {"Cache-Control": "public, max-age=6000"}
        parts = []
        import gzip
        for i in range(20):
            path = f"/asset{i}.js"
            parts.append(f'<script src="{path}"></script>')
            body = f"window.loaded = (window.loaded || 0) + 1;//{i}".encode()

            def answer(request, connection, body=body):
                headers = {**fresh, "Content-Type": "text/javascript", "Vary": "Accept-Encoding"}
                if "gzip" not in request.headers.get("accept-encoding", ""):
                    return response(headers=headers, body=body)
                return response(headers={**headers, "Content-Encoding": "gzip"}, body=gzip.compress(body))
            self.origin.on[path] = answer
        page = "<!doctype html><title>t</title>" + "".join(parts)
        self.origin.on["/page"] = response(headers={"Content-Type": "text/html", "Cache-Control": "no-store"}, body=page.encode())
        self.origin.on["/favicon.ico"] = response(headers=fresh)

    def assets(self):
        return sum(count for path, count in self.origin.counts.items() if path.startswith("/asset"))

    @unittest.skipUnless(importlib.util.find_spec("playwright") and importlib.util.find_spec("requests"), "no Python packages playwright and requests")
    def test_playwright(self):
        from playwright.sync_api import sync_playwright
        for _ in range(2):
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
                page = browser.new_page()
                names = {"page": page}
                exec(recipe("def cached(route)").replace("127.0.0.1:9900", f"127.0.0.1:{self.server.port}"), names)
                page.goto(self.origin.url + "/page")
                self.assertEqual(page.evaluate("loaded"), 20)
                browser.close()
        self.assertEqual((self.assets(), self.origin.counts["/page"]), (20, 2))

    @unittest.skipUnless(importlib.util.find_spec("websockets"), "no Python package websockets")
    def test_cdp(self):
        for _ in range(2):
            browser = Browser()
            try:
                names = {}
                exec(recipe("Fetch.fulfillRequest").replace("127.0.0.1:9900", f"127.0.0.1:{self.server.port}"), names)
                names["load"](browser.socket, browser.session, self.origin.url + "/page")
                browser.number = 1_000_000
                self.assertEqual(browser.wait("document.readyState == 'complete' && window.loaded"), 20)
            finally:
                browser.close()
        self.assertEqual((self.assets(), self.origin.counts["/page"]), (20, 2))


if __name__ == "__main__":
    unittest.main()
