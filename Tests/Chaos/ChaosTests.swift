import Foundation
@testable import ChaosKit
import Linux
import TestKit
import Testing

/// Any one process dies, stops or is replaced, at any time: nobody notices.
///
/// The long version is `make chaos`. LEASEHOLD_SEED replays a run, LEASEHOLD_KILLS is how many blows.
@Suite(.serialized) struct ChaosTests {
    private static func number(_ name: String) -> Int? { ProcessInfo.processInfo.environment[name].flatMap { Int($0) } }

    @Test func killingAnyOneProcessLosesNothing() async throws {
        let seed = UInt64(Self.number("LEASEHOLD_SEED") ?? Int.random(in: 1...1_000_000))
        print("chaos: LEASEHOLD_SEED=\(seed)")
        var run = Run(seed: seed, blows: Self.number("LEASEHOLD_KILLS") ?? 16)
        run.size = 0.4
        run.seconds = 3
        run.threads = seed % 2 == 0 ? 2 : 1
        let outcome = try await onThread { [run] in try run.go() }
        #expect(outcome.faults.isEmpty, "\(outcome.faults.joined(separator: "\n"))")
    }

    // MARK: The harness itself

    /// Who waits through two deaths of its dispatcher may lose a grant at each, and see those go first that were granted in the same moment.
    @Test(arguments: 1...3) func eachBlowMayCostACallerOneGrant(_ blows: Int) throws {
        func token(_ counter: Int) throws -> Token { try #require(Token(inHead: "Leasehold-Lease: pool/1.\(counter)\r\n")) }
        let second: Int64 = 1_000_000_000
        var order = OrderBook()
        order.countsFrom = 0
        for blow in 1...blows {
            order.dispatcherWent(at: Int64(2 * blow) * second)
            order.dispatcherCame(at: Int64(2 * blow + 1) * second)
        }
        for later in 1...6 { order.served(later, askedAt: 3 * second / 2, try token(later), at: 8 * second) }
        order.served(0, askedAt: second, try token(7), at: 9 * second)
        #expect(order.overtakenInBlow == 1 && order.overtaken == 0 && order.most == 6)
        #expect(order.mostPerBlow.count == 6 / blows && order.mostPerBlow.detail.contains("6 before it"))
    }

    /// One byte of one session, of many millions, is other than it was sent.
    @Test func oneWrongByteIsSeen() async throws {
        var run = Run(seed: 7, blows: 0)
        run.size = 0.2
        run.seconds = 1
        // The first tunnel: it comes first in the list of kinds.
        run.altered = 1
        run.script = { director, _, arena, crowd in
            let deadline = Patience.deadline()
            while try arena.ask({ crowd.tally.lines.values.reduce(0) { $0 + $1.corrupt } }) == 0, monotonicNow() < deadline {
                director.wait(20...20)
            }
        }
        let outcome = try await onThread { [run] in try run.go() }
        #expect(outcome.tally.lines.values.map(\.corrupt).reduce(0, +) == 1)
        #expect(outcome.tally.bytesAltered == 1, "\(outcome.tally.troubles)")
        #expect(outcome.tally.lines.values.map(\.lost).reduce(0, +) == 0, "\(outcome.tally.troubles)")
    }

    /// A pool-keeper with room for 50 descriptors (half of its limit) keeps few connections: a dispatcher's death costs the others, and
    /// the harness sees every one of them.
    @Test func aDispatcherBeyondItsEscrowLosesConnectionsAndTheHarnessSeesThem() async throws {
        var run = Run(seed: 11, blows: 0)
        run.size = 0.3
        run.seconds = 4
        run.adoptWithin = "1s"
        run.limits = [.poolKeeper: "ulimit -n 100; "]
        let counts = Locked((alive: 0, lost: -1))
        run.script = { director, manager, arena, crowd in
            arena.post { crowd.admitsNew = false }
            director.wait(300...300)
            manager.signal(.dispatcher, SIGSTOP)
            // What had been passed on before that arrives.
            director.wait(400...400)
            let (blow, alive) = try arena.ask { (crowd.struck("dispatcher -9"), crowd.sessions.count) }
            manager.signal(.dispatcher, SIGKILL)
            try manager.waitReady(.dispatcher, after: 1)
            let deadline = Patience.deadline()
            var (lost, unchanged) = (0, 0)
            repeat {
                director.wait(20...20)
                let now = try arena.ask { crowd.tally.blows[blow].lost.values.reduce(0, +) }
                unchanged = now == lost ? unchanged + 1 : 0
                lost = now
            } while unchanged < 100 && monotonicNow() < deadline
            counts.set((alive, lost))
        }
        let outcome = try await onThread { [run] in try run.go() }
        let (alive, lost) = counts.get()
        #expect(alive > 50)
        // A slow one finds out late.
        let all = outcome.tally.lines.values.map(\.lost).reduce(0, +)
        #expect(lost > 0 && lost <= all && all <= alive && alive - all <= 50, "\(lost) at once, \(all) in all, of \(alive): \(outcome.tally.troubles)")
        #expect(outcome.tally.lines.values.map(\.corrupt).reduce(0, +) == 0)
        #expect(outcome.tally.violations.isEmpty)
        #expect(!outcome.faults.isEmpty, "and the run does not pass")
    }

    /// A connection can be over within the call that makes it: at a port where nobody listens the first send says so. Whoever it was
    /// counts as lost once, and is not waited for.
    @Test func aSessionThatIsOverAtOnceIsNotWaitedFor() throws {
        let arena = try Arena()
        let crowd = Population(arena, targets: [.parkedTCP: 5, .tunnel: 5], seconds: 1, seed: 3)
        let nobody = try ClosedPort()
        let address = nobody.address
        arena.start()
        arena.post { crowd.begin(http: address, tcp: address, tcpScarce: address) }
        let deadline = Patience.deadline()
        while try arena.ask({ crowd.tally.lines.values.reduce(0) { $0 + $1.lost } }) < 50, monotonicNow() < deadline {}
        let (lost, over) = try arena.ask {
            crowd.admitsNew = false
            return (crowd.tally.lines.values.reduce(0) { $0 + $1.lost }, crowd.sessions.values.filter { $0.outcome != nil }.count)
        }
        #expect(lost >= 50 && over == 0, "\(lost) lost, \(over) of them still there")
        try arena.stop()
        crowd.close()
        withExtendedLifetime(nobody) {}
    }

    @Test func lostAndDoubledBytesAreToldApart() {
        func receive(_ places: [Range<Int>]) -> ChaosKit.Flow.Fault? {
            let flow = ChaosKit.Flow(Pace(total: 3_000_000), seed: 99)
            for range in places {
                let bytes = range.map { Pattern.base[($0 + 99) % Pattern.period] }
                if let fault = bytes.withUnsafeBytes({ flow.receive($0, at: 0) }) { return fault }
            }
            return nil
        }
        #expect(receive([0..<1000, 1000..<2_000_000]) == nil)
        #expect(receive([0..<1000, 1001..<2000]) == .lost(1))
        #expect(receive([0..<1000, 66_536..<70_000]) == .lost(65_536))
        #expect(receive([0..<1000, 900..<2000]) == .doubled(100))
        #expect(receive([0..<3_000_000, 0..<10]) == .extra(10))
    }
}

/// On a thread made for waiting: the run blocks.
private func onThread<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        Thread.inBackground("run") { continuation.resume(with: Result(catching: work)) }
    }
}
