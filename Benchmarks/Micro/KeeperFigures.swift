import KeeperCore
import Model
import Wire

/// A keeper with `size` endpoints, all leased, and `size` tickets in its queue: the crowd that a release meets.
struct KeeperCrowd {
    private var keeper: Keeper
    private var actions: [Keeper.Action] = []
    private var leases: [LeaseID] = []
    private var now = Instant(nanoseconds: 1_000_000_000_000)
    private var nextTicket: UInt64 = 1
    private var random: UInt64 = 1
    private let pool: PoolPolicy
    private let link = DispatcherID(rawValue: 1)
    private let size: Int
    /// Empty for a pool whose jobs are all alike; else whose they are, in turn, at every urgency in turn.
    private let tenants: [String]

    init(size: Int, tenants: Int = 0) {
        self.size = size
        self.tenants = (0..<tenants).map { "tenant-\($0)" }
        var pool = PoolPolicy(name: "bench")
        pool.maxQueued = 1_000_000
        pool.maxBytes = nil
        pool.holdTimeout = .seconds(3600)
        pool.tenants += self.tenants.enumerated().map { .init(name: $1, weight: 1 + $0 % 7) }
        self.pool = pool
        keeper = Keeper(Keeper.Parameters(epoch: 7), policies: [pool], at: now)
        handle(.endpoints(.source(SourceHealth(state: .live))))
        handle(.endpoints(.snapshotBegin(generation: 1)))
        for number in 0..<size {
            let endpoint = Endpoint(
                id: EndpointID(high: 0x4000, low: UInt64(number) &* 0x9e37_79b9_7f4a_7c15), uid: "w\(number)",
                addresses: [SocketAddress(v4: 0x0a00_0000 + UInt32(number), port: 8080)], node: "node-\(number % 100)")
            handle(.endpoints(.upsert(pool: pool.id, endpoint)))
        }
        handle(.endpoints(.snapshotEnd(generation: 1)))
        handle(.dispatcherConnected(link, instance: InstanceID(rawValue: 1), seat: "0"))
        handle(.request(link, .asserted))
        leases.reserveCapacity(size)
        for _ in 0..<size { ask() }
        precondition(leases.count == size, "\(leases.count) leases of \(size)")
    }

    /// Adds `size` tickets that wait.
    mutating func fillQueue() { for _ in 0..<size { ask() } }

    /// A lease ends, the first in line is granted the endpoint, and a new job takes its place at the end: one job's whole way.
    mutating func turnOver(_ count: Int) {
        for turn in 0..<count {
            let index = turn % size
            let released = leases[index]
            handle(.request(link, .release(released, .served)))
            leases[index] = leases.removeLast()
            ask()
        }
    }

    /// A lease ends and a new job takes the endpoint at once: nobody waits.
    mutating func pass(_ count: Int) {
        for turn in 0..<count {
            let index = turn % size
            handle(.request(link, .release(leases[index], .served)))
            ask()
            leases[index] = leases.removeLast()
        }
    }

    /// As ``turnOver``, but every ticket comes to a place before others, and every other one with a budget of its own.
    mutating func overtake(_ count: Int) {
        for turn in 0..<count {
            let index = turn % size
            handle(.request(link, .release(leases[index], .served)))
            leases[index] = leases.removeLast()
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            ask(age: .microseconds(Int64(random >> 33) % Int64(size * 10)), budget: turn & 1 == 0 ? nil : .seconds(1800))
        }
    }

    /// The oldest that waits leaves, a new one comes.
    mutating func leave(_ count: Int) {
        for _ in 0..<count {
            handle(.request(link, .cancel(TicketID(rawValue: nextTicket - UInt64(size)))))
            ask()
        }
    }

    /// Endpoint by endpoint: a dial fails, the quarantine ends, a job takes it again.
    mutating func fail(_ count: Int) {
        for turn in 0..<count {
            let index = turn % size
            handle(.request(link, .dialFailed(leases[index], .refused)))
            now = keeper.nextWake
            handle(.wake)
            ask()
            leases[index] = leases.removeLast()
        }
    }

    private mutating func ask(age: Duration = .zero, budget: Duration? = nil) {
        var ticket = Ticket(id: TicketID(rawValue: nextTicket), pool: pool.id, age: age, budget: budget)
        if !tenants.isEmpty {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            ticket.tenant = tenants[Int(random >> 33) % tenants.count]
            ticket.urgency = Urgency(rawValue: UInt8(truncatingIfNeeded: random >> 61)) ?? .standard
        }
        handle(.request(link, .ticket(ticket)))
        nextTicket += 1
    }

    private mutating func handle(_ input: Keeper.Input) {
        now = now + .microseconds(10)
        actions.removeAll(keepingCapacity: true)
        keeper.handle(input, at: now, into: &actions)
        for case .reply(_, .grant(let grant)) in actions { leases.append(grant.lease) }
    }
}

func keeperFigures(sizes: [Int], operations: Int) -> [Figure] {
    sizes.flatMap { size in
        var crowd = KeeperCrowd(size: size)
        let idle = measure("keeper: ask, grant, release", size: size, operations: operations) { crowd.pass($0) }
        crowd.fillQueue()
        let full = measure("keeper: ask behind a queue, release, grant", size: size, operations: operations) { crowd.turnOver($0) }
        var restless = crowd
        let overtaken = measure("keeper: the same, each overtaking others", size: size, operations: operations) { restless.overtake($0) }
        let left = measure("keeper: cancel the oldest, ask", size: size, operations: operations) { crowd.leave($0) }
        var failing = KeeperCrowd(size: size)
        let failed = measure("keeper: dial failed, quarantine, ask", size: size, operations: operations) { failing.fail($0) }
        var shared = KeeperCrowd(size: size, tenants: 64)
        shared.fillQueue()
        let fair = measure("keeper: ask behind 64 tenants x 8 urgencies, release, grant", size: size, operations: operations) { shared.turnOver($0) }
        return [idle, full, overtaken, left, failed, fair]
    }
}
