"""As much of the edges' wire format as a test needs to stand in for a process: the hello, and the ends of jobs."""
import pathlib
import re
import socket
import struct

from harness import ROOT

VERSION = int(re.search(r"version: UInt16 = (\d+)", (ROOT / "Sources/Wire/Bounds.swift").read_text()).group(1))
VITALS = 7


def text(value):
    raw = value.encode()
    return struct.pack("<H", len(raw)) + raw


def hello(edge, instance=1, seat="0"):
    return struct.pack("<IHB", 0x3153_484C, VERSION, edge) + text(seat) + struct.pack("<QI", instance, 0)


def pool(name):
    """FNV-1a, 32 bits."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def job_end(number, name, result=1, reason=0, lease=None, hold=0, dial=0, session=0, trace=None, tenant=""):
    """Durations in seconds. `trace` is high, low, parent, the session's span, sampled."""
    out = struct.pack("<BQIBBB", 5, number, pool(name), result, reason, 3) + text(tenant)
    out += struct.pack("<B", lease is not None) + (struct.pack("<QQ", *lease) if lease else b"") + b"\0"
    out += struct.pack("<QQQQ", 0, *(int(d * 1e6) for d in (hold, dial, session)))
    out += struct.pack("<HQQ", 0, 400, 1000)
    return out + (struct.pack("<BQQQQB", 1, *trace) if trace else b"\0")


class Vitals:
    """Listens where a process tells its vitals, and takes one publisher."""

    def __init__(self, path):
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(4)
        self.listener.settimeout(30)
        self.link = None

    def accept(self):
        self.link, _ = self.listener.accept()
        self.link.settimeout(30)
        self.link.send(hello(VITALS))
        assert self.link.recv(65536)[:4] == b"LHS1"
        # What it wants to hear: a share of a million.
        wish = self.link.recv(65536)
        return struct.unpack("<I", wish[1:5])[0]

    def send(self, *messages):
        self.link.send(b"".join(messages))

    def close(self):
        for one in (self.link, self.listener):
            if one:
                one.close()
