import Foundation
import Linux
import Model
import TestKit
import Testing

/// A dispatcher is killed; the next process in its seat goes on with what it held: connections that are tunnels.
@Suite(.ownThread, .serialized) struct AdoptionTests {
    @Test(arguments: [1, 2, 3])
    func tunnelsGoOnAtTheExactByteHoweverOftenTheirDispatcherIsKilled(_ seed: UInt64) throws {
        print("seed \(seed)")
        try Seat.run(Setup.tcp(pool: "hold: { timeout: 5m }"), listener: "tcp") { fleet, seat in
            var random = SeededGenerator(seed: seed)
            let appetites: [(up: Flow.Appetite, down: Flow.Appetite)] = [
                (.eager, .eager), (.eager, .eager), (.stuck, .eager), (.eager, .stuck), (.stuck, .stuck), (.sips, .eager), (.eager, .sips),
                (.sips, .sips), (.eager, .eager), (.eager, .eager), (.sips, .stuck), (.stuck, .sips),
            ]
            let flows = appetites.enumerated().map { i, appetite in
                // Some are small writes, which take another path than bulk.
                let most = i.isMultiple(of: 2) ? 256 * 1024 : 900
                return (up: Flow(seed: i, appetite: appetite.up, most: most), down: Flow(seed: 7000 + i, appetite: appetite.down, most: most))
            }
            let workers = try flows.map { _ in
                fleet.own(try TestWorker { visit in
                    visit.begin()
                    // Which one it is, the caller says.
                    let name = Int(try visit.receive(1)[0])
                    guard name < flows.count else {
                        visit.finish()
                        return try visit.send([UInt8(name)])
                    }
                    let flow = flows[name]
                    flow.up.receive(on: visit)
                    // Done before its end is told: then the next job may come.
                    flow.down.send(on: visit) { visit.finish() }
                    _ = try flow.up.outcome(patience: 20)
                    _ = try flow.down.outcome(patience: 20)
                })
            }
            try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
            var callers: [RawCaller] = []
            for (i, flow) in flows.enumerated() {
                let caller = try seat.call(receiveBuffer: i.isMultiple(of: 3) ? 8192 : nil)
                try caller.send([UInt8(i)])
                flow.up.send(on: caller)
                flow.down.receive(on: caller)
                callers.append(caller)
            }
            try fleet.waitPool("pods", "all tunnels") { $0.leases == flows.count }
            let parked = try (0..<5).map { _ in try seat.call() }
            for (i, caller) in parked.enumerated() {
                try caller.send([UInt8(100 + i)])
                try fleet.waitPool("pods", "\(i + 1) parked callers") { $0.queued == i + 1 }
            }
            // Not for long: a peer that takes nothing for 30 s is given up (TCP_USER_TIMEOUT), dispatcher or no dispatcher.
            for round in 0..<5 {
                // Somewhere in the middle of what the eager ones move.
                let mark = flows.reduce(0) { $0 + $1.up.received + $1.down.received } + Int.random(in: 0...600_000, using: &random)
                try fleet[.dispatcher].wait("bytes to move") { flows.reduce(0) { $0 + $1.up.received + $1.down.received } > mark }
                for flow in flows {
                    flow.up.sip()
                    flow.down.sip()
                }
                try seat.kill()
                let troubles = flows.compactMap { $0.up.trouble ?? $0.down.trouble }
                try #require(troubles.isEmpty, "seed \(seed), round \(round): \(troubles)")
                let counters = try fleet.counters()
                #expect(counters["adopted-sessions"] == UInt64(flows.count))
                #expect(counters["adopted-callers"] == UInt64(flows.count + parked.count))
                #expect(counters["adoption-losses"] == 0)
                #expect(counters["adoption-cut-heads"] == 0)
                #expect(try fleet.pool("pods").queued == parked.count)
            }
            for flow in flows {
                flow.up.stop()
                flow.down.stop()
            }
            for (i, flow) in flows.enumerated() {
                #expect(try flow.up.outcome() == nil, "tunnel \(i) up, seed \(seed)")
                #expect(try flow.down.outcome() == nil, "tunnel \(i) down, seed \(seed)")
            }
            for (i, caller) in parked.enumerated() { #expect(try caller.receive(1) == [UInt8(100 + i)]) }
            #expect(workers.reduce(0) { $0 + $1.connections } == flows.count + parked.count, "nobody was dialled twice")
            #expect(workers.allSatisfy { $0.troubles.isEmpty })
            #expect(workers.reduce(0) { $0 + $1.violations } == 0)
            withExtendedLifetime(callers) {}
        }
    }
}
