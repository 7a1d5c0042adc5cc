import shutil
import subprocess
import tempfile
import unittest

from harness import PATIENCE, Server
from origin import Origin, response

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@unittest.skipUnless(CHROMIUM, "no Chromium on this machine")
class ChromiumTests(unittest.TestCase):
    def test_a_second_page_load_is_served_from_the_node(self):
        """A page of 100 assets, loaded twice by browsers that know nothing of each other: the second asks the origin for nothing but what
        must be validated."""
        origin = Origin()
        self.addCleanup(origin.stop)
        server = Server(more=f'  fetch: {{ allow-private: ["127.0.0.1:{origin.port}"] }}')
        self.addCleanup(server.stop)
        fresh, parts = {"Cache-Control": "public, max-age=6000"}, []
        for i in range(100):
            kind = ("js", "css", "svg")[i % 3]
            path = f"/asset{i}.{kind}"
            if kind == "js":
                parts.append(f'<script src="{path}"></script>')
                body, mime = f"window.loaded = (window.loaded || 0) + 1;//{i}".encode(), "text/javascript"
            elif kind == "css":
                parts.append(f'<link rel="stylesheet" href="{path}">')
                body, mime = f".a{i} {{ color: red }}".encode(), "text/css"
            else:
                parts.append(f'<img src="{path}">')
                body, mime = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>' + b" " * i, "image/svg+xml"
            if i % 10 == 9:
                def changing(request, connection, body=body, mime=mime, i=i):
                    if request.headers.get("if-none-match") == f'"{i}"':
                        return response(304, {"ETag": f'"{i}"', "Cache-Control": "no-cache"})
                    return response(headers={"ETag": f'"{i}"', "Cache-Control": "no-cache", "Content-Type": mime}, body=body)
                origin.on[path] = changing
            else:
                origin.on[path] = response(headers={**fresh, "Content-Type": mime}, body=body)
        page = "<!doctype html><title>t</title><body>" + "".join(parts) + "<p id=n></p><script>onload = () => { n.textContent = 'scripts: ' + loaded }</script>"
        origin.on["/page"] = response(headers={**fresh, "Content-Type": "text/html"}, body=page.encode())
        origin.on["/favicon.ico"] = response(headers=fresh, body=b"")

        def load():
            home = tempfile.mkdtemp(prefix="chromium-")
            try:
                done = subprocess.run(
                    [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", f"--user-data-dir={home}",
                     f"--proxy-server=http://127.0.0.1:{server.port}", "--proxy-bypass-list=<-loopback>", "--virtual-time-budget=30000",
                     "--dump-dom", origin.url + "/page"], capture_output=True, text=True, timeout=PATIENCE * 3)
                self.assertIn("scripts: 34", done.stdout, done.stderr[-2000:])
            finally:
                shutil.rmtree(home, ignore_errors=True)
            with origin.changed:
                seen, origin.seen = [r for r in origin.seen if r.target != "/favicon.ico"], []
            return seen

        first = load()
        self.assertEqual(len({r.target for r in first}), 101)
        second = load()
        print(f"chromium: {len(first)} origin requests, then {len(second)}")
        self.assertEqual({r.target for r in second}, {f"/asset{i}.{('js', 'css', 'svg')[i % 3]}" for i in range(9, 100, 10)})
        self.assertTrue(all("if-none-match" in r.headers for r in second))


if __name__ == "__main__":
    unittest.main()
