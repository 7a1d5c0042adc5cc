"""The table on the terminal, and the comparison with the committed limits."""

from .rounds import median, quiet

BOLD, DIM, RED, GREEN, PLAIN = "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[0m"


class Printer:
    def __init__(self, colour: bool):
        self.colour = colour

    def paint(self, text: str, *codes: str) -> str:
        return "".join(codes) + text + PLAIN if self.colour else text

    def heading(self, text: str) -> None:
        print("\n" + self.paint(text, BOLD), flush=True)

    def note(self, text: str) -> None:
        print(self.paint("  " + text, DIM), flush=True)

    def table(self, columns: list[str], rows: list[list[str]]) -> None:
        widths = [max(len(row[index]) for row in [columns, *rows]) for index in range(len(columns))]
        for number, row in enumerate([columns, *rows]):
            cells = [cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(zip(row, widths))]
            line = "  " + "  ".join(cells)
            print(self.paint(line, DIM) if number == 0 else line)
        print(end="", flush=True)


def figure(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def ratio(value: float | None, base: float | None) -> str:
    return "–" if not value or not base else f"{value / base:.2f}×"


def batch(rounds: list[dict]) -> float | None:
    """Messages per packet that the dispatcher and the pool-keeper send each other, where they count them."""
    messages = sends = 0
    for one in quiet(rounds):
        for counters in one.get("links", {}).values():
            messages += counters.get("link-messages-sent", 0)
            sends += counters.get("link-packets-sent", 0)
    return messages / sends if sends else None


def summarise(rounds: list[dict]) -> dict:
    """One contender's rounds as medians."""
    summary = {"rounds": len(rounds), "quiet_rounds": len([one for one in rounds if one["foreign"] <= 0.10])}
    for name in ("rate", "p50_ms", "p99_ms", "busy", "gib_per_second", "generator_late_ms"):
        summary[name] = median(rounds, name)
    for kind in ("cpu_us", "cpu_seconds_per_gib"):
        if kind in rounds[0]:
            summary[kind] = {part: median(rounds, kind, part) for part in ("total", "user", "system")}
    summary["processes"] = {
        process: {part: median(rounds, "processes", process, part) for part in ("total", "user", "system")}
        for process in rounds[0]["processes"]
    }
    summary["errors"] = sum(one["errors"] for one in rounds)
    summary["messages_per_send"] = batch(rounds)
    summary["spread_us"] = [min(values), max(values)] if (values := [one["cpu_us"]["total"] for one in quiet(rounds) if "cpu_us" in one]) else None
    return summary


def jobs_table(printer: Printer, summaries: dict[str, dict]) -> None:
    """The first contender is the base of the ratios."""
    base = next(iter(summaries.values()))
    rows = []
    for name, one in summaries.items():
        cpu = one["cpu_us"]
        rows.append([
            name, figure(one["rate"], 0), ratio(one["rate"], base["rate"]), figure(cpu["total"]), ratio(cpu["total"], base["cpu_us"]["total"]),
            figure(cpu["user"]), figure(cpu["system"]), figure(one["p50_ms"], 2), figure(one["p99_ms"], 2),
            f"{one['busy'] * 100:.0f}%", figure(one["messages_per_send"]), str(one["errors"]),
        ])
        if len(one["processes"]) > 1:
            rows += [
                [f"  {process}", "", "", figure(part["total"]), "", figure(part["user"]), figure(part["system"]), "", "", "", "", ""]
                for process, part in one["processes"].items()
            ]
    printer.table(["", "jobs/s", "", "CPU µs/job", "", "user", "system", "p50 ms", "p99 ms", "busy", "batch", "errors"], rows)


def bulk_table(printer: Printer, summaries: dict[str, dict]) -> None:
    base = next(iter(summaries.values()))
    rows = []
    for name, one in summaries.items():
        cpu = one["cpu_seconds_per_gib"]
        rows.append([
            name, figure(one["gib_per_second"], 2), ratio(one["gib_per_second"], base["gib_per_second"]), figure(cpu["total"], 3),
            ratio(cpu["total"], base["cpu_seconds_per_gib"]["total"]), figure(cpu["user"], 3), figure(cpu["system"], 3)])
    printer.table(["", "GiB/s", "", "CPU s/GiB", "", "user", "system"], rows)


def beside_table(printer: Printer, summaries: dict[str, dict]) -> None:
    base = next(iter(summaries.values()))
    rows = [
        [name, figure(one["p50_ms"]), ratio(one["p50_ms"], base["p50_ms"]), figure(one["p99_ms"]), ratio(one["p99_ms"], base["p99_ms"]),
         figure(one["gib_per_second"], 2), figure(one["errors"], 0)]
        for name, one in summaries.items()
    ]
    printer.table(["", "p50 ms", "", "p99 ms", "", "bulk GiB/s", "errors"], rows)


def parked_table(printer: Printer, results: dict[str, dict]) -> None:
    base = next(iter(results.values()))
    rows = [
        [name, figure(one["private_bytes"], 0), ratio(one["private_bytes"], base["private_bytes"]), figure(one["pss_bytes"], 0),
         ", ".join(f"{process} {part['private']:,.0f}" for process, part in one["by_process"].items())]
        for name, one in results.items()
    ]
    printer.table(["", "private B/caller", "", "Pss B/caller", "of which"], rows)


def scrape_table(printer: Printer, one: dict) -> None:
    printer.table(
        ["", "median ms", "p99 ms", "bytes", "pool-keeper's CPU ms/s", "the same, scraped"],
        [["/metrics", figure(one["median_ms"]), figure(one["p99_ms"]), figure(one["bytes"], 0), figure(one["keeper_ms_per_second"], 2),
          figure(one["keeper_ms_per_second_scraped"], 2)]])


def syscalls_table(printer: Printer, results: dict[str, dict]) -> None:
    rows = []
    for name, one in results.items():
        for process, total in one["total"].items():
            calls = ", ".join(f"{call} {count:.2f}" for call, count in list(one["calls"][process].items())[:9])
            rows.append([f"{name} {process}" if process != name else name, figure(total, 2), calls])
    printer.table(["", "calls/job", ""], rows)


def micro_table(printer: Printer, figures: list[dict]) -> None:
    rows = [[one["name"], f"{one['size']:,}", figure(one["nanoseconds"], 0), figure(one["allocations"], 2)] for one in figures]
    printer.table(["", "size", "ns", "allocations"], rows)


def find(results: dict, path: str):
    """A figure by its path in the results, such as `tcp/200/leasehold/cpu_us/total`; None if the run did not measure it."""
    value = results
    for step in path.split("/"):
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value


def check_limits(printer: Printer, limits: dict, results: dict) -> list[str]:
    """Prints each limit beside what was measured. Returns the sentences of those that were broken and are enforced."""
    rows, broken = [], []
    for limit in limits["limits"]:
        value = find(results, limit["figure"])
        if value is not None and "over" in limit:
            base = find(results, limit["over"])
            value = value / base if base else None
        if value is None:
            rows.append([limit["name"], "not measured", f"≤ {limit['most']:g}", ""])
            continue
        holds = value <= limit["most"]
        word = "kept" if holds else ("BROKEN" if limit.get("enforced") else "missed")
        rows.append([limit["name"], f"{value:.2f}", f"≤ {limit['most']:g}", printer.paint(word, GREEN if holds else RED)])
        if not holds and limit.get("enforced"):
            broken.append(f"{limit['name']}: {value:.2f}, at most {limit['most']:g}")
    printer.table(["", "measured", "limit", ""], rows)
    return broken
