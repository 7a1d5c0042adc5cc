"""The open-loop generator: HOST PORT RATE SECONDS close|keep; prints JSON.

Arrivals are at fixed instants, 1/RATE apart. A job's latency counts from its intended instant, so a stall is paid for by all jobs that
it delayed. select(2) and not epoll is the poller because Python gives epoll whole milliseconds only.
"""

import asyncio
import json
import selectors
import sys


class Pool:
    """Keep-alive connections; a job takes an idle one or opens its own."""

    def __init__(self, host: str, port: int, keep: bool):
        self.host, self.port, self.keep = host, port, keep
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        close = "" if keep else "Connection: close\r\n"
        self.request = f"GET / HTTP/1.1\r\nHost: bench\r\n{close}\r\n".encode()

    async def job(self) -> bool:
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection(self.host, self.port)
        writer.write(self.request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        if self.keep:
            self.idle.append((reader, writer))
        else:
            writer.close()
        return head.startswith(b"HTTP/1.1 200")


async def run(host: str, port: int, rate: float, seconds: float, keep: bool) -> dict:
    loop = asyncio.get_running_loop()
    pool = Pool(host, port, keep)
    latencies: list[float] = []
    errors = 0

    async def one(intended: float) -> None:
        nonlocal errors
        try:
            good = await asyncio.wait_for(pool.job(), 30)
        except (OSError, EOFError, asyncio.TimeoutError):
            good = False
        latencies.append(loop.time() - intended)
        errors += not good

    start = loop.time() + 0.1
    jobs = []
    late = 0.0
    for number in range(int(rate * seconds)):
        intended = start + number / rate
        await asyncio.sleep(max(0.0, intended - loop.time()))
        late = max(late, loop.time() - intended)
        jobs.append(asyncio.create_task(one(intended)))
    await asyncio.gather(*jobs)
    latencies.sort()
    at = lambda share: latencies[min(len(latencies) - 1, int(share * len(latencies)))] * 1e3
    return {"jobs": len(latencies), "seconds": seconds, "rate": rate, "errors": errors, "p50_ms": at(0.5), "p99_ms": at(0.99),
            "generator_late_ms": late * 1e3}


if __name__ == "__main__":
    host, port, rate, seconds, mode = sys.argv[1:]
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        print(json.dumps(runner.run(run(host, int(port), float(rate), float(seconds), mode == "keep"))))
