"""A headless Chromium over its debugging protocol: enough to open a page, look at it and press keys."""
import base64
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

from harness import PATIENCE

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    def __init__(self, width=1300, height=1100):
        from websockets.sync.client import connect
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="chromium-"))
        self.process = subprocess.Popen(
            [PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
             f"--user-data-dir={self.home}", f"--window-size={width},{height}", "--remote-debugging-port=0", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = self.until(lambda: (self.home / "DevToolsActivePort").exists() and (self.home / "DevToolsActivePort").read_text().split())
        self.socket = connect(f"ws://127.0.0.1:{port[0]}{port[1]}", max_size=1 << 26, open_timeout=PATIENCE)
        self.number = 0
        self.session = None
        # What the page complained of: script errors, refusals of its own policy, failed requests.
        self.complaints = []
        target = self.call("Target.createTarget", url="about:blank", width=width, height=height, newWindow=True)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def until(self, look):
        end = time.monotonic() + PATIENCE
        while True:
            seen = look()
            if seen:
                return seen
            if time.monotonic() > end:
                raise AssertionError("the browser did not come to this in time")
            time.sleep(0.05)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv(timeout=PATIENCE))
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def note(self, event):
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(event["params"]["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        elif event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
            text = event["params"]["entry"]["text"]
            # That one is about our own looking at pixels.
            if "readback operations" not in text:
                self.complaints.append(text)

    def open(self, url):
        self.call("Page.navigate", url=url)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"])
        return result["result"].get("value")

    def wait(self, expression):
        """Until the expression is true in the page; returns its value."""
        return self.until(lambda: self.evaluate(expression))

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            code = {"Tab": 9, "Enter": 13}.get(key, 0)
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def picture(self, path, whole=False):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def names(self):
        """What a screen reader is told: roles and names."""
        return [(n.get("role", {}).get("value"), n.get("name", {}).get("value")) for n in self.call("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]

    def close(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)
