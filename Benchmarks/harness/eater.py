"""Fetches /big over many connections without a pause, and throws the bytes away in the kernel: eater.py HOST PORT COUNT SECONDS RATE

RATE is bytes per second in all, so that different proxies carry the same; 0 is as many as come.

Says `flowing` once bytes have come on every connection, and the bytes in all at the end. One thread, so that it takes one processor at most.
"""

import selectors
import socket
import sys
import time

REQUEST = b"GET /big HTTP/1.1\r\nHost: bench\r\n\r\n"


def main(host: str, port: int, count: int, seconds: float, rate: float) -> None:
    selector = selectors.DefaultSelector()
    waiting = set()
    for _ in range(count):
        connection = socket.create_connection((host, port), 10)
        # Enough for the whole time: one answer follows the other.
        connection.sendall(REQUEST * 400)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
        waiting.add(connection)
    scratch = bytearray(1 << 18)
    total, began = 0, time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        if rate and total > rate * passed:
            time.sleep((total - rate * passed) / rate)
        for key, _ in selector.select(1):
            try:
                got = key.fileobj.recv_into(scratch, len(scratch), socket.MSG_TRUNC)
            except BlockingIOError:
                continue
            if got == 0:
                sys.exit(f"a connection ended after {total} bytes in all")
            total += got
            if waiting:
                waiting.discard(key.fileobj)
                if not waiting:
                    print("flowing", flush=True)
                    total, began = 0, time.monotonic()
    if waiting:
        sys.exit(f"{len(waiting)} of {count} connections got nothing in {seconds} s")
    print(total, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
