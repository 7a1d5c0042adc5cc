import Glibc
import Foundation
import Linux
import Model
import TestKit
import Testing

/// `protocol: tcp`: a connection is a job.
@Suite(.ownThread) struct TCPTests {
    @Test func aGibibyteEachWayWithHalfClosesIsByteExact() throws {
        try Fleet.run(Setup.tcp()) { fleet in
            let size = 1 << 30
            let up = Pattern(size, seed: 5)
            let down = Pattern(size, seed: 1009)
            let verdict = Locked("nothing")
            _ = try fleet.serveScript { visit in
                let problem = try both(sending: down, receiving: up, on: visit)
                // The caller has half-closed behind its last byte; we still talk.
                let end = try visit.expectEnd()
                verdict.set("\(problem ?? "fine"), \(end)")
                try visit.send("done")
                visit.halfClose()
            }
            let caller = try fleet.call("tcp")
            #expect(try both(sending: up, receiving: down, on: caller) == nil)
            caller.halfClose()
            #expect(try caller.receive(4).elementsEqual("done".utf8))
            #expect(try caller.expectEnd() == .fin)
            #expect(verdict.get() == "fine, fin")
            try fleet.waitPool("pods", "the lease to end") { $0.leases == 0 && $0.free == 1 }
        }
    }

    @Test func aConnectionWithoutAByteTakesNoWorker() throws {
        try Fleet.run(Setup.tcp()) { fleet in
            let worker = try fleet.serveScript { visit in try visit.send(try visit.receive(5)) }
            let checks = try (0..<5).map { _ in try fleet.call("tcp") }
            try fleet.waitCounter("callers", atLeast: 5)
            let caller = try fleet.call("tcp")
            try caller.send("hello")
            #expect(try caller.receive(5).elementsEqual("hello".utf8))
            for check in checks {
                check.halfClose()
                #expect(try check.expectEnd() == .fin)
            }
            #expect(worker.connections == 1)
        }
    }

    @Test func aServerThatSpeaksFirstIsAskedForAtOnce() throws {
        try Fleet.run(Setup.tcp(listener: "ask-after: accept")) { fleet in
            let caller = try fleet.call("tcp")
            try fleet.waitPool("pods", "a held caller") { $0.queued == 1 }
            _ = try fleet.serveScript { visit in
                try visit.send("220 hello\r\n")
                try visit.send(try visit.receive(through: "\n"))
            }
            #expect(try caller.receive(through: "\r\n").elementsEqual("220 hello\r\n".utf8))
            try caller.send("EHLO x\n")
            #expect(try caller.receive(through: "\n").elementsEqual("EHLO x\n".utf8))
        }
    }

    @Test func theEndOfAParkedCallersStreamMeansThatItLeftOrIsPassedOn() throws {
        let script: @Sendable (TestWorker.Visit) throws -> Void = { visit in
            let (bytes, _) = try visit.receiveToEnd()
            visit.begin(String(decoding: bytes, as: UTF8.self))
            visit.finish()
            try visit.send("answer to ")
            try visit.send(bytes)
        }
        try Fleet.run(Setup.tcp()) { fleet in
            let caller = try fleet.call("tcp")
            try caller.send("gone")
            try fleet.waitPool("pods", "a held caller") { $0.queued == 1 }
            caller.halfClose()
            try fleet.waitPool("pods", "nobody") { $0.queued == 0 }
            #expect(try caller.receiveToEnd().bytes.isEmpty)
            let worker = try fleet.serveScript(script)
            #expect(worker.connections == 0)
        }
        try Fleet.run(Setup.tcp(listener: "parked-fin: pass-on")) { fleet in
            let caller = try fleet.call("tcp")
            try caller.send("question")
            try fleet.waitPool("pods", "a held caller") { $0.queued == 1 }
            caller.halfClose()
            let inOne = try fleet.call("tcp")
            try inOne.send("another")
            inOne.halfClose()
            try fleet.waitPool("pods", "both held") { $0.queued == 2 }
            let worker = try fleet.serveScript(script)
            #expect(String(decoding: try caller.receiveToEnd().bytes, as: UTF8.self) == "answer to question")
            #expect(caller.end == .fin)
            #expect(String(decoding: try inOne.receiveToEnd().bytes, as: UTF8.self) == "answer to another")
            #expect(worker.names == ["question", "another"])
        }
    }

    @Test func aWorkersResetReachesTheCallerAsAReset() throws {
        try Fleet.run(Setup.tcp()) { fleet in
            _ = try fleet.serveScript { visit in
                try visit.send(try visit.receive(5))
                _ = try visit.receive(3)
                visit.reset()
            }
            let caller = try fleet.call("tcp")
            try caller.send("hello")
            #expect(try caller.receive(5).elementsEqual("hello".utf8))
            try caller.send("die")
            #expect(try caller.expectEnd() == .reset)
        }
    }

    @Test func aCallersResetLeavesTheWorkerToEndAlone() throws {
        try Fleet.run(Setup.tcp()) { fleet in
            let gate = Gate()
            let worker = try fleet.serveScript { visit in
                visit.begin(String(decoding: try visit.receive(5), as: UTF8.self))
                try gate.wait()
                visit.finish()
            }
            let caller = try fleet.call("tcp")
            try caller.send("first")
            try worker.wait("the first job") { $0.running == 1 }
            caller.reset()
            try fleet.waitPool("pods", "the job to be ending") { $0.ending == 1 }
            let other = try fleet.call("tcp")
            try other.send("other")
            try fleet.waitPool("pods", "the other caller to wait") { $0.queued == 1 }
            gate.open()
            #expect(try other.expectEnd() == .fin)
            #expect(worker.names == ["first", "other"])
            #expect(worker.violations == 0)
        }
    }

    @Test func aRefusedTCPCallerIsReset() throws {
        try Fleet.run(Setup.tcp(pool: "hold: { timeout: 100ms }")) { fleet in
            let caller = try fleet.call("tcp")
            try caller.send("hello")
            #expect(try caller.expectEnd() == .reset)
            #expect(try fleet.counter("refused-no-endpoints") == 1)
        }
    }

    /// Its time begins when it gets in line: the deadline for a connection that says nothing is over.
    @Test func withoutAPoolKeeperATCPCallerWaitsForItsBudget() throws {
        try Fleet.run(Setup.tcp(pool: "hold: { timeout: 200ms }"), [.dispatcher]) { fleet in
            let began = monotonicNow()
            let caller = try fleet.call("tcp")
            try caller.send("hello")
            #expect(try caller.expectEnd() == .reset)
            #expect(monotonicNow() - began >= 200_000_000)
            #expect(try fleet.counter("refused-keeper-unavailable") == 1)
        }
    }

    @Test func aSilentTCPConnectionEndsAfterItsDeadline() throws {
        try Fleet.run(Setup.tcp(listener: "deadlines: { tunnel-idle: 150ms }")) { fleet in
            let worker = try fleet.serveScript { visit in
                visit.begin()
                _ = try visit.receiveToEnd()
            }
            let caller = try fleet.call("tcp")
            try caller.send("hello")
            #expect(try caller.expectEnd() == .reset)
            try worker.wait("the end of the job") { $0.running == 0 }
        }
    }

    @Test(arguments: [
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n", "PROXY UNKNOWN\r\n", "v2",
    ])
    func aPROXYHeaderFromATrustedPeerIsBelievedAndPassedOn(_ header: String) throws {
        let listener = "trust: { from: [127.0.0.1] }, proxy-protocol: { accept: true, send: v2 }"
        try Fleet.run(Setup.tcp(listener: listener)) { fleet in
            _ = try fleet.serveScript { visit in
                let proxy = try ProxyV2(visit)
                try visit.send("\(proxy.source) \(proxy.lease)\n")
                try visit.send(try visit.receive(5))
            }
            let caller = try fleet.call("tcp")
            let source: String
            switch header {
            case "v2":
                let fixed = Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [0x21, 0x11, 0, 12, 198, 51, 100, 9, 192, 0, 2, 1, 0x10, 0x92, 0, 80]
                // In two pieces: a header is awaited whole.
                try caller.send(Array(fixed.prefix(14)))
                try fleet.waitCounter("callers", atLeast: 1)
                try caller.send(Array(fixed.dropFirst(14)))
                source = "198.51.100.9:4242"
            case let text:
                try caller.send(text)
                source =
                    text.contains("TCP4")
                    ? "192.0.2.7:4711" : text.contains("TCP6") ? "[2001:db8::7]:4711" : caller.localAddress!.description
            }
            try caller.send("hello")
            let line = String(decoding: try caller.receive(through: "\n"), as: UTF8.self)
            #expect(line.hasPrefix("\(source) pods/"), "\(line)")
            #expect(try caller.receive(5).elementsEqual("hello".utf8))
        }
    }

    @Test func whoMustSpeakPROXYAndDoesNotIsReset() throws {
        let listener = "trust: { from: [127.0.0.1] }, proxy-protocol: { accept: true }"
        try Fleet.run(Setup.tcp(listener: listener)) { fleet in
            let worker = try fleet.serveScript { visit in try visit.send(try visit.receive(5)) }
            let caller = try fleet.call("tcp")
            try caller.send("hello")
            #expect(try caller.expectEnd() == .reset)
            #expect(worker.connections == 0)
        }
    }

    @Test func fromAnUntrustedPeerAPROXYHeaderIsOnlyBytes() throws {
        let listener = "trust: { from: [192.0.2.0/24] }, proxy-protocol: { accept: true }"
        try Fleet.run(Setup.tcp(listener: listener)) { fleet in
            _ = try fleet.serveScript { visit in try visit.send(try visit.receive(through: "\n")) }
            let caller = try fleet.call("tcp")
            try caller.send("PROXY TCP4 6.6.6.6 6.6.6.6 1 1\r\n")
            #expect(try caller.receive(through: "\n").elementsEqual("PROXY TCP4 6.6.6.6 6.6.6.6 1 1\r\n".utf8))
        }
    }

    @Test func anHTTPCallerBehindATrustedProxyIsForwardedAsItself() throws {
        let listener = "trust: { from: [127.0.0.1], headers: [] }, proxy-protocol: { accept: true }"
        try Fleet.run(Setup.http(listener: listener)) { fleet in
            _ = try fleet.serveHTTP { request, _ in Reply.ok(request["X-Forwarded-For"] ?? "") }
            let caller = try fleet.call()
            try caller.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n")
            #expect(try caller.fetch().text == "192.0.2.7")
            #expect(try caller.fetch("/", "X-Forwarded-For: 6.6.6.6").text == "192.0.2.7")
        }
    }
}
