import Foundation
import TestKit
import Testing

/// Sessions that never pause leave the others their turns.
@Suite(.ownThread) struct BulkTests {
    /// Counted, not timed: what is moved in a turn is what everybody else waits for.
    @Test func eachDirectionOfATunnelMovesAtMostAPipeFullPerTurn() throws {
        try Fleet.run(Setup.tcp()) { fleet in
            let flows = (0..<12).map { (up: Flow(seed: $0), down: Flow(seed: 7000 + $0)) }
            let workers = try flows.map { _ in
                fleet.own(try TestWorker { visit in
                    let flow = flows[Int(try visit.receive(1)[0])]
                    flow.up.receive(on: visit)
                    flow.down.send(on: visit)
                    _ = try flow.up.outcome(patience: 20)
                    _ = try flow.down.outcome(patience: 20)
                })
            }
            try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
            let callers = try flows.enumerated().map { i, flow in
                let caller = try fleet.call("tcp")
                try caller.send([UInt8(i)])
                flow.up.send(on: caller)
                flow.down.receive(on: caller)
                return caller
            }
            let moved = { flows.reduce(0) { $0 + $1.up.received + $1.down.received } }
            func turns() throws -> Int { Int(try fleet.counters()["turns"] ?? 0) }
            // By then all of them have given way many times.
            try fleet[.dispatcher].wait("bulk to flow") { moved() > 200_000_000 }
            // The bytes are looked at inside of what the turns are: the quotient is never too high.
            let (firstTurn, firstByte) = (try turns(), moved())
            try fleet[.dispatcher].wait("more of it") { moved() > firstByte + 200_000_000 }
            let (bytes, count) = (moved() - firstByte, try turns() - firstTurn)
            // A pipe's worth that was in the pipe, and one that came.
            let most = 2 * flows.count * 2 * 256 * 1024
            #expect(bytes / max(1, count) <= most, "\(bytes) bytes in \(count) turns")
            for flow in flows {
                flow.up.stop()
                flow.down.stop()
            }
            for flow in flows {
                #expect(try flow.up.outcome() == nil)
                #expect(try flow.down.outcome() == nil)
            }
            withExtendedLifetime(callers) {}
        }
    }
}
