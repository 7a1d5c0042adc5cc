import Foundation
import Linux
import Model
import TestKit

/// One run: processes, workers, callers, blows, and what came of it.
package struct Run: Sendable {
    package var seed: UInt64
    package var blows: Int
    /// At the end: dispatcher and pool-keeper in the same moment, so many times.
    package var both = 0
    package var victims: [Fleet.Process] = Fleet.Process.allCases
    /// Nothing but blows of this kind.
    package var onlyBlow: Director.Blows?
    /// 1 is 200 live sessions and 100 parked callers.
    package var size = 1.0
    /// How long a session lasts, about.
    package var seconds = 5.0
    package var scarce = 12
    /// Only sessions of these kinds, by name; none is all.
    package var only: [String] = []
    /// `ulimit` commands before a process.
    package var limits: [Fleet.Process: String] = [:]
    /// The session whose bytes are altered on the way, to see that it is noticed.
    package var altered: Int?
    package var threads = 1
    package var adoptWithin = "10s"
    package var progress = false
    /// Strike the installed package, which a real systemd runs; Tests/Systemd has prepared it.
    package var isInstalled = false
    /// Instead of the director's blows.
    var script: (@Sendable (Director, any Supervisor, Arena, Population) throws -> Void)?

    package struct Outcome: Sendable {
        var seed: UInt64
        var tally: Tally
        var order: OrderBook
        var counters: [String: UInt64]
        var standing: Population.Standing
        /// Before the blows that strike both.
        var single: Tally
        var surprises: [String]
        var longestRecovery: Int64
        var longestTurn: Int64
        var longTurns: Int
        var localViolations: [String]
        /// What was left when everybody had gone.
        var leftovers: [String]
        /// Blows with long pauses, and what they were spent on.
        package var slow: [String]
        var seconds: Double
        /// Workers of the pool that callers wait for.
        var scarce: Int
    }

    package init(seed: UInt64, blows: Int) {
        self.seed = seed
        self.blows = blows
    }

    package func go() throws -> Outcome {
        let began = monotonicNow()
        let fleet = try Fleet("pools: []", isInstalled: isInstalled)
        defer { fleet.close() }
        let manager: any Supervisor =
            isInstalled ? Systemd(fleet) : try Manager(fleet, listeners: ["http", "tcp", "tcp-scarce"], limits: limits)
        try fleet.configure(configuration(manager))
        let arena = try Arena()
        let crowd = Population(arena, targets: targets, seconds: seconds, seed: seed)
        crowd.altered = altered
        try crowd.open(scarce: max(4, Int(Double(scarce) * size)))
        try fleet.publish(crowd.pods("wide"), of: "shop/wide", as: "wide.yaml")
        try fleet.publish(crowd.pods("scarce"), of: "shop/scarce", as: "scarce.yaml")
        manager.onReady = { process in
            guard process == .dispatcher else { return }
            let now = monotonicNow()
            arena.post { crowd.order.dispatcherCame(at: now) }
        }
        arena.start()
        do {
            let outcome = try play(fleet, arena, crowd, manager, began)
            try manager.stop()
            try arena.stop()
            crowd.close()
            return outcome
        } catch {
            for process in Fleet.Process.allCases {
                let text = (try? String(contentsOfFile: "\(fleet.directory)/\(process.rawValue).log", encoding: .utf8)) ?? ""
                print("---- \(process.rawValue)\n\(text.suffix(4000))")
            }
            print("surprises: \(manager.unexpected)")
            try? manager.stop()
            try? arena.stop()
            throw error
        }
    }

    private func play(_ fleet: Fleet, _ arena: Arena, _ crowd: Population, _ manager: any Supervisor, _ began: Int64) throws -> Outcome {
        try manager.start()
        for process in Fleet.Process.allCases { try manager.waitReady(process) }
        let (http, tcp, tcpScarce) = (try manager.address("http"), try manager.address("tcp"), try manager.address("tcp-scarce"))
        arena.post { crowd.begin(http: http, tcp: tcp, tcpScarce: tcpScarce) }
        let standing = try waitForCrowd(arena, crowd)
        arena.post { crowd.order.countsFrom = monotonicNow() }
        let director = Director(manager, arena, crowd, victims: victims, only: onlyBlow, seed: seed)
        if let script { try script(director, manager, arena, crowd) }
        for blow in 0..<blows {
            try director.strike()
            if progress, (blow + 1) % 10 == 0 { try report(blow + 1, arena, crowd) }
        }
        let single = try arena.ask { crowd.tally }
        for _ in 0..<both { try director.strikeBoth() }
        arena.post { crowd.windDown() }
        let leftovers = try waitForEnd(fleet, arena, crowd)
        try director.gatherLast()
        let (tally, order, longest, long) = try arena.ask { (crowd.tally, crowd.order, arena.longestTurn, arena.longTurns) }
        let local = (try? String(contentsOfFile: "\(fleet.directory)/violations", encoding: .utf8)) ?? ""
        return Outcome(
            seed: seed, tally: tally, order: order, counters: director.counters, standing: standing, single: both == 0 ? tally : single,
            surprises: manager.unexpected, longestRecovery: director.longestRecovery, longestTurn: longest, longTurns: long,
            localViolations: local.split(separator: "\n").map(String.init), leftovers: leftovers,
            slow: manager.timeline.slow(single.blows, over: 500_000_000),
            seconds: Double(monotonicNow() - began) / 1e9, scarce: crowd.workplaces.count { $0.pool == "scarce" })
    }

    private func report(_ blow: Int, _ arena: Arena, _ crowd: Population) throws {
        let (tally, now) = try arena.ask { (crowd.tally, crowd.standing) }
        let lost = tally.lines.values.reduce(0) { $0 + $1.lost + $1.corrupt }
        print(
            "seed \(seed): \(blow) of \(blows) blows, \(now.live) live, \(now.parked) parked, \(tally.bytes >> 20) MiB compared, \(lost) lost, "
                + "\(tally.violations.count) violations")
        fflush(nil)
    }

    private var targets: [Kind: Int] {
        let kinds = Kind.allCases.filter { only.isEmpty || only.contains($0.rawValue) }
        let factor = only.isEmpty ? size : size * 300 / Double(kinds.reduce(0) { $0 + $1.share })
        return Dictionary(uniqueKeysWithValues: kinds.map { ($0, max(1, Int((Double($0.share) * factor).rounded()))) })
    }

    private func configuration(_ manager: any Supervisor) throws -> String {
        let fleet = manager.fleet
        let ports = try FreePorts.take(2)
        // Under systemd a worker has no place of ours that it may write to.
        let violations = isInstalled ? "" : ", --violations, \(fleet.directory)/violations"
        let worker = isInstalled ? "leasehold-example-worker" : Fleet.executable("leasehold-example-worker")
        return """
            recovery-grace: 1s
            adopt-within: \(adoptWithin)
            dispatcher: { threads: \(threads) }
            publisher: { address: "\(manager.bind("publisher"))" }
            asset-cache: { address: "\(manager.bind("asset-cache"))", directory: \(isInstalled ? "/var/cache/leasehold" : fleet.directory + "/cache"), size: 64MiB }
            defaults:
              pool: { hold: { timeout: 5m }, abandon: 15s }
            pools:
              - { name: wide, service: shop/wide, port: http }
              - { name: scarce, service: shop/scarce, port: http }
              # Its workers are two, know at once that their caller is gone, and work for 20 ms: what a dead dispatcher may have begun is over soon.
              - name: local
                abandon: 1s
                workers:
                  command: [\(worker), --port, "{port}"\(violations)]
                  ports: [\(ports.map { "\($0)" }.joined(separator: ", "))]
                  min: 2
                  max: 2
            listeners:
              - name: http
                address: \(manager.bind("http"))
                routes:
                  - { host: local, path: /, pool: local }
                  - { host: "*", path: /q, pool: scarce }
                  - { host: "*", path: /, pool: wide }
              - { name: tcp, address: "\(manager.bind("tcp"))", protocol: tcp, pool: wide }
              - { name: tcp-scarce, address: "\(manager.bind("tcp-scarce"))", protocol: tcp, pool: scarce }
            """
    }

    /// Until nearly everybody is in: sessions that end and begin again are never all there at once.
    private func waitForCrowd(_ arena: Arena, _ crowd: Population) throws -> Population.Standing {
        let all = targets
        let parked = all.filter(\.key.isParked).values.reduce(0, +)
        let live = all.values.reduce(0, +) - parked
        let deadline = Patience.deadline()
        while true {
            let now = try arena.ask { crowd.standing }
            if now.live * 10 >= live * 8, now.parked * 10 >= parked * 7 { return now }
            guard monotonicNow() < deadline else { throw TestFailure("only \(now) of \(live) live and \(parked) parked after \(Patience.seconds) s") }
            pauseBriefly()
        }
    }

    /// Until everybody has ended well, and nobody keeps anything of it. Who has not ended by then never will.
    private func waitForEnd(_ fleet: Fleet, _ arena: Arena, _ crowd: Population) throws -> [String] {
        let deadline = Patience.deadline()
        while try arena.ask({ crowd.sessions.count }) > 0, monotonicNow() < deadline { pauseBriefly() }
        var left = try arena.ask {
            crowd.sessions.values.map { session in
                let exchange = session.exchange
                let story = "up \(exchange.up.sent)/\(exchange.up.received)/\(session.plan.up.total), down \(exchange.down.sent)/"
                    + "\(exchange.down.received)/\(session.plan.down.total), begun \(exchange.begun) times, worker done: \(exchange.visitDone), "
                    + "\((monotonicNow() - session.connectedAt) / 1_000_000) ms old"
                session.fail(.lost("never ended: \(story)"))
                return "\(session.plan.kind.rawValue) \(session.plan.id) did not end: \(story)"
            }
        }
        var rows: [Fleet.PoolRow] = []
        let second = Patience.deadline()
        repeat {
            rows = (try? fleet.show("pools", of: .poolKeeper, as: [Fleet.PoolRow].self)) ?? []
            if !rows.isEmpty, rows.allSatisfy({ $0.leases == 0 && $0.queued == 0 }) { break }
            pauseBriefly()
        } while monotonicNow() < second
        for row in rows where row.leases > 0 || row.queued > 0 {
            left.append("pool \(row.pool) has \(row.leases) leases and \(row.queued) tickets left")
        }
        return left
    }

    private func pauseBriefly() {
        var none = pollfd(fd: -1, events: 0, revents: 0)
        _ = poll(&none, 1, 30)
    }
}
