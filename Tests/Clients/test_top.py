"""`leasehold top` in a terminal: tmux holds it, changes its size, and types."""
import os
import shutil
import signal
import subprocess
import unittest

from harness import BIN
from station import Station

TMUX = shutil.which("tmux")


@unittest.skipUnless(TMUX, "no tmux (scripts/bootstrap test installs it)")
class TopTests(unittest.TestCase):
    def setUp(self):
        self.station = Station()
        self.addCleanup(self.station.stop)
        self.command = [str(BIN / "leasehold"), "top", "--config", str(self.station.home / "c.yaml")]

    def tmux(self, *words):
        return subprocess.run([TMUX, "-f", "/dev/null", "-S", str(self.station.home / "tmux"), *words], capture_output=True, text=True)

    def screen(self):
        return self.tmux("capture-pane", "-p", "-t", "top").stdout

    def see(self, text):
        self.station.until(f"the screen says {text!r}, and not\n{self.screen()}", lambda: text in self.screen())

    def test_it_is_drawn_resized_sorted_filtered_and_left(self):
        self.tmux("new-session", "-d", "-s", "top", "-x", "120", "-y", "20", "sh", "-c", " ".join(self.command) + "; echo left with $?; stty -a; read line")
        self.see("live")
        self.see("browsers")
        self.see("UNREADY")
        self.see("DEMAND*")
        self.tmux("send-keys", "-t", "top", "n")
        self.see("POOL*")
        # As small as it gets: nothing is wider than the terminal, and the last line is still there.
        self.tmux("resize-window", "-t", "top", "-x", "60", "-y", "8")
        self.see("q quit")
        self.station.until("it fits", lambda: "UNREADY" not in self.screen() and len(self.screen().splitlines()) <= 8)
        self.tmux("resize-window", "-t", "top", "-x", "120", "-y", "20")
        self.see("UNREADY")
        self.tmux("send-keys", "-t", "top", "/", "x", "y")
        self.see("No pool matches.")
        self.see("filter: xy_")
        self.tmux("send-keys", "-t", "top", "Escape")
        self.see("browsers")
        os.kill(self.station.pid("pool-keeper"), signal.SIGKILL)
        self.see("live")
        self.tmux("send-keys", "-t", "top", "q")
        self.see("left with 0")
        # The terminal is as it was.
        self.station.until("echo is on again", lambda: " echo " in self.screen() and "icanon" in self.screen() and "-icanon" not in self.screen())
        self.tmux("kill-server")

    def test_without_a_terminal_it_prints_once(self):
        done = subprocess.run(self.command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("browsers", done.stdout)
        self.assertNotIn("\x1b", done.stdout)


if __name__ == "__main__":
    unittest.main()
