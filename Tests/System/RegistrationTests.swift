import CLinux
import Foundation
import Linux
import Model
import TestKit
import Testing

/// Rule 4 for descriptors that exist twice: out of epoll before the close, and events that name a slot and its generation.
@Suite(.ownThread) struct RegistrationTests {
    /// One line of an epoll descriptor's /proc/PID/fdinfo (proc(5)).
    private struct Registration: Hashable {
        var descriptor: Int32
        var events: UInt32
        var inode: UInt64
    }

    private func registrations(of daemon: Daemon) throws -> [Registration] {
        let own = "/proc/\(daemon.pid)"
        var all: [Registration] = []
        for name in try FileManager.default.contentsOfDirectory(atPath: "\(own)/fd") {
            guard (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(own)/fd/\(name)")) == "anon_inode:[eventpoll]" else { continue }
            for line in try String(contentsOfFile: "\(own)/fdinfo/\(name)", encoding: .utf8).split(separator: "\n") where line.hasPrefix("tfd:") {
                // tfd:        5 events:       19 data:                0  pos:0 ino:1f05 sdev:8
                let words = line.split { $0 == " " || $0 == ":" }
                guard words.count >= 10, let descriptor = Int32(words[1]), let events = UInt32(words[3], radix: 16),
                    let inode = UInt64(words[9], radix: 16)
                else { throw TestFailure("cannot read \(line)") }
                all.append(Registration(descriptor: descriptor, events: events, inode: inode))
            }
        }
        return all
    }

    /// Those that were still there after their descriptor was seen to be closed, or another's: looked up again, because a connection that
    /// ends between the two readings, a question of the state edge say, is no fault.
    private func stale(_ daemon: Daemon) throws -> Set<Registration> {
        let closed = try registrations(of: daemon).filter { registration in
            var now = stat()
            return stat("/proc/\(daemon.pid)/fd/\(registration.descriptor)", &now) != 0 || UInt64(now.st_ino) != registration.inode
        }
        return try Set(closed).intersection(registrations(of: daemon))
    }

    /// While a duplicate lives a registration outlives the close, goes on firing, and can be removed by nobody any more.
    @Test func whatWasClosedIsRegisteredNoMore() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            let gate = Gate()
            let workers = try (0..<3).map { _ in
                fleet.own(
                    try TestWorker(http: { request, visit in
                        try gate.wait()
                        if request.target == "/cut" { visit.reset() }
                        return request.target == "/cut" ? "" : Reply.ok()
                    }))
            }
            try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
            let (idle, served, cut, leaves, parked) = (try seat.call(), try seat.call(), try seat.call(), try seat.call(), try seat.call())
            for (caller, target) in [(served, "/served"), (cut, "/cut"), (leaves, "/leaves")] { try caller.get(target) }
            try fleet.waitPool("pods", "three jobs") { $0.leases == 3 }
            try parked.get("/parked")
            try fleet.waitPool("pods", "and one that waits") { $0.queued == 1 }
            for worker in workers { try worker.wait("its job") { $0.jobs == 1 } }
            // It keeps every duplicate and does nothing about it.
            try fleet[.poolKeeper].signal(SIGSTOP)
            defer { try? fleet[.poolKeeper].signal(SIGCONT) }
            leaves.reset()
            gate.open()
            #expect(try served.readResponse().status == 200)
            #expect(try cut.readResponse().status == 502)
            for caller in [idle, served, cut, parked] { caller.close() }
            try fleet[.dispatcher].wait("the end of all connections") {
                try fleet.counter("callers") == 0 && fleet.counter("worker-connections") == 0
            }
            let stale = try stale(fleet[.dispatcher])
            #expect(stale.isEmpty, "\(stale)")
        }
    }

    /// The pool-keeper watches those who wait, for as long as their dispatcher is dead.
    @Test func callersAreWatchedNoMoreOnceTheyHaveADispatcher() throws {
        try Seat.run(Setup.http()) { fleet, seat in
            func watched() throws -> Int {
                try registrations(of: fleet[.poolKeeper]).count { $0.events & (LH_EPOLLIN | LH_EPOLLRDHUP) == LH_EPOLLRDHUP }
            }
            let callers = try (0..<5).map { _ in try seat.call() }
            for caller in callers { try caller.get("/") }
            try fleet.waitPool("pods", "five parked callers") { $0.queued == 5 }
            #expect(try watched() == 0)
            try fleet[.dispatcher].kill()
            try fleet[.poolKeeper].wait("the watch") { try watched() == 5 }
            try seat.sit()
            #expect(try watched() == 0)
            withExtendedLifetime(callers) {}
        }
    }

    /// One that was there when its connection ended is not taken for an event of the connection that has its slot now.
    @Test func anEventOfAConnectionThatHasJustEndedIsNotTheNextOnes() throws {
        try Seat.run(Setup.tcp(), listener: "tcp") { fleet, seat in
            let (gate, ledger) = (Gate(), JobLedger(slots: 2))
            let workers = try (0..<2).map { _ in
                fleet.own(
                    try TestWorker(ledger: ledger) { visit in
                        let name = try visit.receive(1)
                        visit.begin()
                        try visit.send(name)
                        if name == [0] {
                            try gate.wait()
                            visit.reset()
                        } else {
                            _ = try visit.expectEnd()
                        }
                        visit.finish()
                    })
            }
            try fleet.serve(workers.enumerated().map { Pod("w\($0)", at: $1.address) })
            let first = try seat.call()
            try first.send([0])
            #expect(try first.receive(1) == [0])
            // All of this is one turn's, in this order: the end of the first, the second in its place, and an event of the first.
            let dispatcher = try fleet[.dispatcher]
            dispatcher.signal(SIGSTOP)
            try dispatcher.wait("it to stop") {
                try String(contentsOfFile: "/proc/\(dispatcher.pid)/stat", encoding: .utf8).split(separator: ")").last?.hasPrefix(" T") ?? false
            }
            gate.open()
            try ledger.wait("the reset") { $0.running == 0 }
            let second = try seat.call()
            first.reset()
            dispatcher.signal(SIGCONT)
            try second.send([1])
            #expect(try second.receive(1) == [1])
            second.halfClose()
            #expect(try second.expectEnd() == .fin)
        }
    }
}
