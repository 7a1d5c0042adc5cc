// What the keeper's machine costs: nanoseconds per job at 100 to 100,000 endpoints, with as many tickets waiting.
//
//   swift run -c release keeper-benchmark [--json] [--only TEXT] [--size N] [--jobs N]
//
// The work is the same in every run: fixed sizes, fixed counts, a fixed order. Only the times differ.

import Glibc
import KeeperCore
import Model
import Wire

let pool = PoolPolicy(name: "bench")

func option(_ name: String) -> String? {
    guard let i = CommandLine.arguments.firstIndex(of: name), i + 1 < CommandLine.arguments.count else { return nil }
    return CommandLine.arguments[i + 1]
}

let sizes = option("--size").flatMap { Int($0) }.map { [$0] } ?? [100, 1_000, 10_000, 100_000]
let jobs = option("--jobs").flatMap { Int($0) } ?? 400_000

/// A keeper that serves `count` endpoints to four dispatchers.
struct Bench {
    var keeper: Keeper
    var now = Instant(nanoseconds: 1_000_000_000)
    var actions: [Keeper.Action] = []
    var nextTicket: UInt64 = 0
    /// Leases that were granted, oldest first, with their links.
    var granted: [(DispatcherID, LeaseID)] = []
    static let links = (1...4).map { DispatcherID(rawValue: $0) }

    init(endpoints count: Int, change: (inout PoolPolicy) -> Void = { _ in }) {
        var policy = pool
        policy.maxQueued = .max
        policy.holdTimeout = .seconds(3600)
        change(&policy)
        keeper = Keeper(Keeper.Parameters(epoch: 1), policies: [policy], at: now)
        for link in Self.links {
            say(.dispatcherConnected(link, instance: InstanceID(rawValue: link.rawValue), seat: "bench"))
            say(.request(link, .asserted))
        }
        say(.endpoints(.source(SourceHealth(state: .live))))
        say(.endpoints(.snapshotBegin(generation: 1)))
        for n in 0..<count { say(.endpoints(.upsert(pool: pool.id, Self.endpoint(n)))) }
        say(.endpoints(.snapshotEnd(generation: 1)))
    }

    static func endpoint(_ n: Int) -> Endpoint {
        Endpoint(
            id: EndpointID(high: 0x9e37_79b9_7f4a_7c15 &* UInt64(n), low: UInt64(n)), uid: "",
            addresses: [SocketAddress(v4: 0x0a00_0000 + UInt32(n), port: 8080)], node: "node-\(n / 100)")
    }

    mutating func say(_ input: Keeper.Input) {
        actions.removeAll(keepingCapacity: true)
        now.nanoseconds += 100
        keeper.handle(input, at: now, into: &actions)
        for i in actions.indices {
            if case .reply(let link, .grant(let grant)) = actions[i] { granted.append((link, grant.lease)) }
        }
    }

    mutating func ask(age: Duration = .zero, budget: Duration? = nil) {
        nextTicket += 1
        let ticket = Ticket(id: TicketID(rawValue: nextTicket), pool: pool.id, age: age, budget: budget)
        say(.request(Self.links[Int(nextTicket & 3)], .ticket(ticket)))
    }

    mutating func ask(_ count: Int) { for _ in 0..<count { ask() } }

    mutating func release(_ index: Int) {
        let (link, lease) = granted[index]
        say(.request(link, .release(lease, .served)))
    }
}

/// Nanoseconds of processor time per round of `body`, which runs `rounds` rounds: a busy machine does not count.
func measure(_ rounds: Int, _ body: () -> Void) -> Int {
    func used() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
    let start = used()
    body()
    return (used() - start + rounds / 2) / rounds
}

/// Every endpoint free: a job arrives, is granted, ends.
func free(_ size: Int) -> Int {
    var bench = Bench(endpoints: size)
    return measure(jobs) {
        for i in 0..<jobs {
            bench.ask()
            bench.release(i)
        }
    }
}

/// Every endpoint leased and as many tickets waiting: a job ends, the first in line is granted, another joins.
func saturated(_ size: Int) -> Int {
    var bench = Bench(endpoints: size)
    bench.ask(size * 2)
    return measure(jobs) {
        for i in 0..<jobs {
            bench.release(i)
            bench.ask()
        }
    }
}

/// The same with ages that put every other ticket somewhere before the last ones, and budgets of their own.
func outOfOrder(_ size: Int) -> Int {
    var bench = Bench(endpoints: size)
    bench.ask(size * 2)
    var random: UInt64 = 1
    return measure(jobs) {
        for i in 0..<jobs {
            bench.release(i)
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let age = Duration.nanoseconds(Int64(random >> 33) % Int64(size * 100))
            bench.ask(age: age, budget: i & 1 == 0 ? nil : .seconds(1800))
        }
    }
}

/// A ticket joins a queue and leaves it again from the middle.
func cancelled(_ size: Int) -> Int {
    var bench = Bench(endpoints: 1)
    bench.ask(size + 1)
    let oldest = bench.nextTicket - UInt64(size) + 1
    return measure(jobs) {
        for i in 0..<jobs {
            let id = oldest + UInt64(i)
            bench.say(.request(Bench.links[Int(id & 3)], .cancel(TicketID(rawValue: id))))
            bench.ask()
        }
    }
}

/// A dial that fails, and the quarantine's end: per endpoint, all of them once.
func quarantined(_ size: Int) -> Int {
    var bench = Bench(endpoints: size)
    return measure(size) {
        for i in 0..<size {
            bench.ask()
            let (link, lease) = bench.granted[i]
            bench.say(.request(link, .dialFailed(lease, .refused)))
        }
        bench.now = bench.now + .seconds(10)
        bench.say(.wake)
    }
}

/// A complete snapshot that changes nothing, per endpoint.
func snapshot(_ size: Int) -> Int {
    var bench = Bench(endpoints: size)
    let endpoints = (0..<size).map { Keeper.Input.endpoints(.upsert(pool: pool.id, Bench.endpoint($0))) }
    return measure(size) {
        bench.say(.endpoints(.snapshotBegin(generation: 2)))
        for endpoint in endpoints { bench.say(endpoint) }
        bench.say(.endpoints(.snapshotEnd(generation: 2)))
    }
}

let all: [(name: String, run: (Int) -> Int)] = [
    ("ticket+grant+release, endpoints free", free),
    ("release+grant+ticket, as many waiting", saturated),
    ("the same, out of order, own budgets", outOfOrder),
    ("cancel+ticket, from the middle", cancelled),
    ("ticket+grant+dial-failed+quarantine", quarantined),
    ("snapshot, per endpoint", snapshot),
]

let wanted = option("--only") ?? ""
let scenarios = all.filter { wanted.isEmpty || $0.name.hasPrefix(wanted) }
var table: [[Int]] = []
for scenario in scenarios { table.append(sizes.map { size in min(scenario.run(size), scenario.run(size)) }) }

if CommandLine.arguments.contains("--json") {
    let rows = zip(scenarios, table).map { scenario, row in
        let cells = zip(sizes, row).map { "\"\($0)\": \($1)" }.joined(separator: ", ")
        return "    {\"scenario\": \"\(scenario.name)\", \"ns\": {\(cells)}}"
    }
    print("{\n  \"jobs\": \(jobs),\n  \"scenarios\": [\n\(rows.joined(separator: ",\n"))\n  ]\n}")
} else {
    func pad(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
    print("ns per round" + String(repeating: " ", count: 28) + sizes.map { pad("\($0)", 9) }.joined())
    for (scenario, row) in zip(scenarios, table) {
        print(scenario.name + pad("", 40 - scenario.name.count) + row.map { pad("\($0)", 9) }.joined())
    }
}
