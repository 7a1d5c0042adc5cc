import Foundation
import Model
import TestKit
import Testing

/// A dispatcher dies right behind a system call, whichever it is: nobody notices. What was done and not written down, or taken from one
/// place and not yet put into the other, shows here at once.
@Suite(.ownThread, .enabled(if: CrashPoint.compiler != nil, "needs a C compiler (/usr/bin/cc)"))
struct CrashPointTests {
    /// No worker is left alone for long: grants that nobody has read are not what this is about.
    private let pool = "quarantine: { first: 50ms, most: 50ms }, abandon: 100ms, hold: { timeout: 60s }"

    private func play(
        _ configuration: String, _ listener: String, _ worker: () throws -> TestWorker, _ body: (Seat, CrashPoint) throws -> Void
    ) throws {
        try Seat.run(configuration, listener: listener) { fleet, seat in
            let workers = try (0..<4).map { _ in fleet.own(try worker()) }
            try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
            try body(seat, try CrashPoint(seat))
            #expect(workers.flatMap(\.troubles).isEmpty)
        }
    }

    /// Rules 2, 3 and 6: heads, their bodies, and the connection behind them.
    @Test func requestsAreAnsweredOnceWhereverTheirDispatcherDies() throws {
        let ledger = JobLedger(slots: 4)
        func worker() throws -> TestWorker {
            try TestWorker(ledger: ledger, http: { request, _ in Reply.ok("\(request.target) with \(request.text)!") })
        }
        try play(Setup.http(pool: pool), "http", worker) { seat, crash in
            var points = 0
            try crash.everywhere { point in
                let caller = try seat.call()
                var all: [UInt8] = []
                for part in ["a", "b"] {
                    let (target, body) = ("/\(point)\(part)", "body-\(point)")
                    try caller.send("POST \(target) HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
                    all = []
                    let end = "\r\n\r\n\(target) with \(body)!"
                    try crash.read(caller, into: &all) { $0.suffix(end.utf8.count).elementsEqual(end.utf8) }
                    let text = String(decoding: all, as: UTF8.self)
                    guard caller.end == nil, text.hasPrefix("HTTP/1.1 200"), text.hasSuffix(end),
                        text.components(separatedBy: "HTTP/1.1").count == 2
                    else {
                        throw TestFailure("\(target): \(text.debugDescription), then \(caller.end.map { "\($0)" } ?? "more")")
                    }
                }
                caller.close()
                points += 1
            }
            let names = ledger.counts.names
            #expect(names.count == 2 * points && Set(names).count == names.count, "each job began once: \(names)")
            #expect(ledger.counts.violations == 0)
        }
    }

    /// Rules 1, 3 and 5: bytes both ways, and the end of each.
    @Test func tunnelsAndTheirEndsPassWhereverTheirDispatcherDies() throws {
        func worker() throws -> TestWorker {
            try TestWorker { visit in
                // A dial that died with its dispatcher brings nothing.
                let first = try visit.receiveSome(atMost: 1)
                guard !first.isEmpty else { return }
                let rest = try visit.receive(4)
                visit.begin()
                try visit.send("echo:\(String(decoding: first + rest, as: UTF8.self))")
                guard try visit.expectEnd() == .fin else { throw TestFailure("a reset in place of the end") }
                try visit.send("bye")
                visit.finish()
            }
        }
        try play(Setup.tcp(pool: pool), "tcp", worker) { seat, crash in
            try crash.everywhere { _ in
                let caller = try seat.call()
                try caller.send("hello")
                var all: [UInt8] = []
                try crash.read(caller, into: &all) { $0.count >= 10 }
                caller.halfClose()
                try crash.read(caller, into: &all) { _ in false }
                guard all.elementsEqual("echo:hellobye".utf8), caller.end == .fin else {
                    throw TestFailure("\(all.debugText), then \(caller.end.map { "\($0)" } ?? "?")")
                }
            }
        }
    }

    /// Rule 7, and 5: a reset that the dead one has read looks like an end to the next.
    @Test(arguments: [false, true]) func aCutIsNeverAnEndWhereverTheDispatcherDies(_ isTCP: Bool) throws {
        let gate = Locked(Gate())
        func worker() throws -> TestWorker {
            try TestWorker { visit in
                let first = try visit.receiveSome(atMost: 1)
                guard !first.isEmpty else { return }
                let mine = gate.get()
                if isTCP {
                    visit.begin()
                } else {
                    _ = try visit.receive(through: "\r\n\r\n")
                    visit.begin()
                    try visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                }
                try visit.send("0123456789")
                try mine.wait("the caller")
                visit.reset()
                visit.finish()
            }
        }
        try play(isTCP ? Setup.tcp(pool: pool) : Setup.http(pool: pool), isTCP ? "tcp" : "http", worker) { seat, crash in
            try crash.everywhere { _ in
                gate.set(Gate())
                let caller = try seat.call()
                try caller.send(isTCP ? "x" : "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                var all: [UInt8] = []
                try crash.read(caller, into: &all) { $0.suffix(10).elementsEqual("0123456789".utf8) }
                gate.get().open()
                let before = all.count
                try crash.read(caller, into: &all) { _ in false }
                guard caller.end == .reset, all.count == before else {
                    throw TestFailure("\(all.debugText), then \(caller.end.map { "\($0)" } ?? "?")")
                }
            }
        }
    }

    /// Rules 1 and 8: what goes through pipes, to a caller whose socket is full most of the time.
    @Test func bulkIsWholeWhereverTheDispatcherDies() throws {
        try playBulk { seat, crash, scene in try crash.everywhere(next: { $0 + 1 + $0 / 4 }) { _ in try scene() } }
    }

    /// Rule 8. The pool-keeper has a pipe before anything is in it: a seat's first one, which is made once.
    @Test(arguments: 1...4) func aPipeIsInEscrowBeforeItsFirstByte(_ point: Int) throws {
        try playBulk { _, crash, scene in
            try crash.once(point)
            try scene()
            #expect(crash.deaths == 1)
        }
    }

    private func playBulk(_ body: (Seat, CrashPoint, () throws -> Void) throws -> Void) throws {
        let size = 600_000
        func worker() throws -> TestWorker {
            try TestWorker { visit in
                let first = try visit.receiveSome(atMost: 1)
                guard !first.isEmpty else { return }
                _ = try visit.receive(through: "\r\n\r\n")
                visit.begin()
                try visit.send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
                try Pattern(size).send(on: visit)
                visit.finish()
            }
        }
        let expected = Array(Pattern.base.prefix(size))
        try play(Setup.http(pool: pool), "http", worker) { seat, crash in
            try body(seat, crash) {
                let caller = try seat.call(receiveBuffer: 4096)
                try caller.get("/")
                var all: [UInt8] = []
                try crash.read(caller, into: &all) { $0.count > size && $0.suffix(100).elementsEqual(expected.suffix(100)) }
                guard caller.end == nil, all.suffix(size).elementsEqual(expected) else {
                    throw TestFailure("\(all.count) bytes, then \(caller.end.map { "\($0)" } ?? "more")")
                }
            }
        }
    }
}
