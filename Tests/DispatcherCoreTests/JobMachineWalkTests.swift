import DispatcherCore
import Foundation
import Model
import TestKit
import Testing
import Wire

/// A dispatcher loop at random: callers come and go, dials fail, links break, answers cross. A plain table of where each job stands and
/// the books of a pool-keeper that believes every word must agree with the machine after every step.
private struct JobWalk {
    enum Stand: Equatable {
        case waiting, dialing, serving, ending
    }

    struct Line: Equatable {
        var stand: Stand
        var isProbe = false
        var isRequeued = false
        var lease: LeaseID?
        var hasAlternate = false
        var arrived: Instant
    }

    var random: SeededGenerator
    var machine: JobMachine
    var now = Instant(nanoseconds: 1_000_000_000_000)
    var jobs: [JobID: Line] = [:]
    /// Names in order of arrival, for choosing at random the same way each time.
    var order: [JobID] = []
    /// The books at the other end.
    var tickets: Set<TicketID> = []
    var leases: [LeaseID: Bool] = [:]
    /// Said by the other end, and not heard yet.
    var replies: [LeasingReply] = []
    var counter: UInt64 = 0
    /// Leases that were cut, and how long they are told again.
    var cuts: [LeaseID: Instant] = [:]
    var isTellingAgain = false
    var log: [String] = []

    static let pools = [PoolPolicy(name: "a"), PoolPolicy(name: "b")]

    struct Disagreement: Error, CustomStringConvertible {
        var description: String
    }

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        machine = JobMachine(policies: Self.pools)
    }

    mutating func below(_ n: UInt64) -> UInt64 { random.next() % n }

    mutating func pick(_ stands: Stand...) -> JobID? {
        let found = order.filter { jobs[$0].map { stands.contains($0.stand) } ?? false }
        return found.isEmpty ? nil : found[Int(below(UInt64(found.count)))]
    }

    /// Says an input, enters what the machine says into the books, and gives the orders that are about bytes.
    mutating func say(_ input: JobMachine.Input) throws -> [JobMachine.Action] {
        log.append("\(input)")
        var actions: [JobMachine.Action] = []
        machine.handle(input, at: now, into: &actions)
        machine.checkInvariants()
        var rest: [JobMachine.Action] = []
        for action in actions {
            switch action {
            case .sendTicket(let id):
                guard machine.isKeeperUp else { throw Disagreement(description: "a ticket without a link") }
                let ticket = machine.ticket(of: id, at: now)
                guard let line = jobs[id], ticket.age == now - line.arrived, ticket.isRequeued == line.isRequeued else {
                    throw Disagreement(description: "a wrong ticket \(ticket)")
                }
                guard tickets.insert(ticket.id).inserted else { throw Disagreement(description: "a ticket told twice") }
            case .sendCancel(let ticket): tickets.remove(ticket)
            case .sendUnused(let lease), .sendDialFailed(let lease, _), .sendRelease(let lease, _):
                if case .sendRelease(_, let outcome) = action, outcome.isCut, !isTellingAgain { cuts[lease] = now + .seconds(2) }
                // Without a link nobody hears it.
                guard machine.isKeeperUp else { continue }
                guard leases.removeValue(forKey: lease) != nil else { throw Disagreement(description: "\(lease) returned twice") }
            case .sendEnding(let lease): if machine.isKeeperUp { leases[lease] = true }
            case .sendAssert(let id):
                let asserted = machine.assertion(of: id, at: now)
                leases[asserted.lease] = asserted.isEnding
            case .sendAssertEnded(let lease):
                guard let until = cuts[lease.lease], until > now, lease.isEnding else {
                    throw Disagreement(description: "\(lease.lease) is told again for no reason")
                }
                leases[lease.lease] = true
            case .sendAsserted:
                let told = Set(cuts.filter { $0.value > now }.map(\.key))
                guard told.isSubset(of: leases.keys) else { throw Disagreement(description: "a cut was not told again") }
            case .dial, .abandonDial, .refuse, .cut, .probe: rest.append(action)
            }
        }
        return rest
    }

    mutating func expect(_ actions: [JobMachine.Action], _ wanted: String...) throws {
        let words = actions.map { action in
            switch action {
            case .dial: "dial"
            case .abandonDial: "abandon"
            case .refuse: "refuse"
            case .cut: "cut"
            case .probe: "probe"
            case .sendTicket, .sendCancel, .sendUnused, .sendDialFailed, .sendEnding, .sendRelease, .sendAssert, .sendAssertEnded,
                .sendAsserted:
                "say"
            }
        }
        guard words == wanted else { throw Disagreement(description: "ordered \(words), expected \(wanted)") }
    }

    mutating func over(_ id: JobID) {
        jobs[id] = nil
        order.removeAll { $0 == id }
    }

    mutating func backInLine(_ id: JobID) {
        jobs[id]?.stand = .waiting
        jobs[id]?.isRequeued = true
        jobs[id]?.lease = nil
    }

    /// The whole state, against the table and, on a quiet link, against the books.
    func compare() throws {
        for id in order {
            guard let line = jobs[id], let job = machine[id] else { throw Disagreement(description: "job \(id) is lost") }
            let stand: Stand? =
                switch job.phase {
                case .none: nil
                case .waiting: .waiting
                case .dialing: .dialing
                case .serving: .serving
                case .ending: .ending
                }
            guard stand == line.stand, job.arrived == line.arrived, job.isProbe == line.isProbe, line.lease == nil || line.lease == job.lease
            else { throw Disagreement(description: "job \(id) is \(job.phase), expected \(line)") }
        }
        guard machine.jobs.count(where: { $0.phase != .none }) == order.count else { throw Disagreement(description: "a job too many") }
        guard machine.isKeeperUp, replies.isEmpty else { return }
        let waiting = Set(order.filter { jobs[$0]?.stand == .waiting }.map(\.ticket))
        let held = Dictionary(order.compactMap { id in jobs[id]?.lease.map { ($0, jobs[id]?.stand == .ending) } }, uniquingKeysWith: { $1 })
        guard tickets == waiting else { throw Disagreement(description: "the other end has \(tickets), \(waiting) wait") }
        guard leases == held else { throw Disagreement(description: "the other end has \(leases), \(held) are held") }
    }
}

extension JobWalk {
    mutating func step() throws {
        now = now + .milliseconds(Int64(below(50)))
        switch below(20) {
        case 0..<5: try arrive()
        case 5..<8: try answerSomebody()
        case 8..<11: try hear()
        case 11..<13: if let id = pick(.dialing) { try dial(id) }
        case 13..<15: if let id = pick(.serving, .ending, .dialing) { try end(id) }
        case 15: if let id = pick(.serving) { try turnAway(id) }
        case 16..<18: if let id = pick(.waiting, .dialing, .serving, .ending) { try leave(id) }
        case 18: try expire()
        default: try link()
        }
        try compare()
    }

    private mutating func arrive() throws {
        let id = machine.reserve()
        jobs[id] = Line(stand: .waiting, arrived: now)
        order.append(id)
        let pool = Self.pools[Int(below(2))].id
        try expect(try say(.arrived(id, JobRequest(pool: pool))))
    }

    /// The other end decides about a ticket that it has, or orders a probe.
    private mutating func answerSomebody() throws {
        guard machine.isKeeperUp else { return }
        counter += 1
        let lease = LeaseID(epoch: 1, counter: counter)
        let (endpoint, address) = (EndpointID(high: 0, low: counter), SocketAddress(v4: 1, port: 1))
        if below(8) == 0 {
            leases[lease] = false
            replies.append(.probe(Probe(lease: lease, pool: Self.pools[0].id, endpoint: endpoint, address: address, timeout: .seconds(1))))
            return
        }
        guard let ticket = tickets.sorted().first else { return }
        tickets.remove(ticket)
        if below(6) == 0 { return replies.append(.refuse(Refusal(ticket: ticket, reason: .holdTimeout))) }
        leases[lease] = false
        let alternate = below(3) == 0 ? SocketAddress(family: .v6, high: 1, low: 1, port: 1) : nil
        replies.append(
            .grant(Grant(ticket: ticket, lease: lease, pool: Self.pools[0].id, endpoint: endpoint, address: address, alternate: alternate)))
    }

    private mutating func hear() throws {
        guard !replies.isEmpty else { return }
        let reply = replies.removeFirst()
        switch reply {
        case .grant(let grant):
            let id = JobID(grant.ticket)
            let isWanted = jobs[id]?.stand == .waiting
            if isWanted {
                jobs[id]?.stand = .dialing
                jobs[id]?.lease = grant.lease
                jobs[id]?.hasAlternate = grant.alternate != nil
            }
            let orders = try say(.reply(reply))
            if isWanted { try expect(orders, "dial") } else { try expect(orders) }
        case .refuse(let refusal):
            let id = JobID(refusal.ticket)
            let isWanted = jobs[id]?.stand == .waiting
            if isWanted { over(id) }
            let orders = try say(.reply(reply))
            if isWanted { try expect(orders, "refuse") } else { try expect(orders) }
        case .probe(let probe):
            try expect(try say(.reply(reply)), "probe")
            let id = machine.reserve()
            jobs[id] = Line(stand: .dialing, isProbe: true, lease: probe.lease, arrived: now)
            order.append(id)
            try expect(try say(.probing(id, probe)))
        case .revoke, .adopt: try expect(try say(.reply(reply)))
        }
    }

    private mutating func dial(_ id: JobID) throws {
        guard below(2) == 0 else {
            jobs[id]?.stand = .serving
            return try expect(try say(.dialed(id)))
        }
        if jobs[id]?.hasAlternate == true {
            jobs[id]?.hasAlternate = false
            return try expect(try say(.dialFailed(id, .refused)), "dial")
        }
        if jobs[id]?.isProbe == true { over(id) } else { backInLine(id) }
        try expect(try say(.dialFailed(id, .timedOut)))
    }

    private mutating func end(_ id: JobID) throws {
        over(id)
        try expect(try say(.ended(id, Outcome.allCases[Int(below(UInt64(Outcome.allCases.count)))])))
    }

    private mutating func turnAway(_ id: JobID) throws {
        guard jobs[id]?.isProbe == false else { return }
        backInLine(id)
        try expect(try say(.turnedAway(id, .busy)))
    }

    private mutating func leave(_ id: JobID) throws {
        guard let line = jobs[id], !line.isProbe else { return }
        let reached = below(2) == 0
        switch line.stand {
        case .waiting:
            over(id)
            try expect(try say(.callerLeft(id, reachedWorker: reached)))
        case .dialing:
            over(id)
            try expect(try say(.callerLeft(id, reachedWorker: reached)), "abandon")
        case .serving:
            if reached { jobs[id]?.stand = .ending } else { over(id) }
            let orders = try say(.callerLeft(id, reachedWorker: reached))
            if reached { try expect(orders) } else { try expect(orders, "abandon") }
        case .ending: try expect(try say(.callerLeft(id, reachedWorker: reached)))
        }
    }

    private mutating func expire() throws {
        guard let id = pick(.waiting, .dialing, .serving) else { return }
        let isOver = jobs[id]?.stand == .waiting && !machine.isKeeperUp
        if isOver { over(id) }
        let orders = try say(.holdExpired(id))
        if isOver { try expect(orders, "refuse") } else { try expect(orders) }
    }

    /// The link ends, or comes back: what was on the way is lost, and nothing of before counts.
    private mutating func link() throws {
        if machine.isKeeperUp {
            replies = []
            return try expect(try say(.keeperDown))
        }
        tickets = []
        leases = [:]
        isTellingAgain = true
        try expect(try say(.keeperUp))
        isTellingAgain = false
    }
}

@Suite struct JobMachineWalkTests {
    static var environment: [String: String] { ProcessInfo.processInfo.environment }

    /// `LEASEHOLD_SEED=n` walks one of them again.
    @Test func theMachineAgreesWithATableAndWithTheBooksOfTheOtherEnd() {
        let seeds = Self.environment["LEASEHOLD_SEED"].flatMap(UInt64.init).map { $0...$0 } ?? 1...150
        for seed in seeds {
            var walk = JobWalk(seed: seed)
            do {
                for _ in 0..<400 { try walk.step() }
            } catch {
                Issue.record("seed \(seed) after \(walk.log.count) inputs: \(error)\n\(walk.log.suffix(8).joined(separator: "\n"))")
                return
            }
        }
    }
}
