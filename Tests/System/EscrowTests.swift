import CLinux
import Foundation
import Linux
import Model
import TestKit
import Testing
import Wire

/// What is in escrow goes to the next in the seat, whoever dies meanwhile.
@Suite(.ownThread) final class EscrowTests: EscrowScene {
    @Test func theNextInTheSeatGetsEverythingAndGoesOn() throws {
        try withKeeper { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            #expect(first.peer?.descriptorBudget ?? 0 > 1000)
            let (caller, worker, parked, idle) = (try TCPPair(), try TCPPair(), try TCPPair(), try TCPPair())
            let records = Int32(lh_memfd("records"))
            _ = lh_write(records, "what only the dispatcher understands", 36)
            var ends: [Int32] = [-1, -1]
            #expect(lh_pipe(&ends) >= 0 && lh_write(ends[1], "in flight", 9) == 9)
            try first.say(.escrow(.records), .escrow(.pipes(index: 3)), carrying: [records, ends[0], ends[1]])
            for number in [records] + ends { _ = lh_close(number) }
            let grant = try begin(first, caller, worker)
            try park(first, 2, parked)
            try first.say(.escrow(.caller(name(3))), carrying: [idle.near.descriptor])
            try fleet.waitPool("pods", "the parked caller") { $0.queued == 1 && $0.leases == 1 }
            #expect(try fleet.leases().map(\.escrowed) == [true])
            forget(caller, worker, parked, idle)
            try first.die()

            let second = try connect(fleet, 2)
            let inherited = try second.inherit()
            var callers: [ConnectionID: RawStream] = [:]
            var workers: [LeaseID: RawStream] = [:]
            for said in inherited {
                guard case .adopt(let adoption) = said.reply else {
                    Issue.record("\(said.reply) among what is inherited")
                    continue
                }
                switch adoption {
                case .records:
                    var text = [UInt8](repeating: 0, count: 36)
                    #expect(pread(said.descriptors[0], &text, 36, 0) == 36)
                    #expect(String(decoding: text, as: UTF8.self) == "what only the dispatcher understands")
                    _ = lh_close(said.descriptors[0])
                case .pipes(let index):
                    var text = [UInt8](repeating: 0, count: 9)
                    #expect(index == 3 && lh_read(said.descriptors[0], &text, 9) == 9)
                    #expect(String(decoding: text, as: UTF8.self) == "in flight")
                    for number in said.descriptors { _ = lh_close(number) }
                case .caller(let id): callers[id] = RawStream(owning: said.descriptors[0])
                case .worker(let names, let lease):
                    #expect(names == EscrowedWorker(lease: grant.lease, caller: name(1), worker: name(51)))
                    #expect(lease.endpoint == grant.endpoint && lease.pool == pool && lease.address == grant.address && !lease.isEnding)
                    workers[names.lease] = RawStream(owning: said.descriptors[0])
                case .end: break
                }
            }
            #expect(Set(callers.keys) == [name(1), name(2), name(3)] && Array(workers.keys) == [grant.lease] && inherited.count == 6)
            // Nothing is granted to it before it has asserted, and the ticket keeps its place.
            try second.say(assertion(grant), ticket(2, name(2)), .asserted)
            try caller.far.send("request")
            #expect(try callers[name(1)]?.receive(7) == Array("request".utf8))
            try workers[grant.lease]?.send("to the worker")
            #expect(try worker.far.receive(13) == Array("to the worker".utf8))
            try worker.far.send("response")
            #expect(try workers[grant.lease]?.receive(8) == Array("response".utf8))
            try callers[name(1)]?.send("response")
            #expect(try caller.far.receive(8) == Array("response".utf8))
            try second.say(.release(grant.lease, .served))
            let next = try second.grant()
            #expect(next.ticket == TicketID(rawValue: 2) && next.lease > grant.lease)
            try second.say(
                .release(next.lease, .served), .escrow(.callerGone(name(1))), .escrow(.callerGone(name(2))), .escrow(.callerGone(name(3))))
            try fleet.waitPool("pods", "rest") { $0.free == 1 && $0.queued == 0 }
            #expect(try fleet.counter("adopted", of: .poolKeeper) == 1)
            #expect(try fleet.counter("fenced", of: .poolKeeper) == 0)
            #expect(parked.far.receiveNow() == false && parked.far.end == nil, "the parked caller noticed nothing")
            // Records and pipes stay for the next.
            try second.die()
            let third = try connect(fleet, 3)
            #expect(try third.inherit().map(\.reply) == [.adopt(.records), .adopt(.pipes(index: 3))])
            try third.say(.asserted)
        }
    }

    @Test func aStoppedDispatcherIsNotDead() throws {
        try withKeeper { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            let (caller, worker) = (try TCPPair(), try TCPPair())
            let grant = try begin(first, caller, worker)
            first.process.signal(SIGSTOP)
            // Somebody else in its seat gets nothing of it, and takes nothing from it.
            let second = try connect(fleet, 2)
            #expect(try second.inherit().isEmpty)
            try second.say(assertion(grant), .asserted)
            #expect(try second.hear().reply == .revoke(grant.lease))
            #expect(try fleet.pool("pods").leases == 1)
            first.process.signal(SIGCONT)
            try first.say(.release(grant.lease, .served), .escrow(.callerGone(name(1))))
            try fleet.waitPool("pods", "the release") { $0.free == 1 }
            #expect(try fleet.counter("adopt-late", of: .poolKeeper) == 1)
        }
    }

    /// Its link is gone, the process is not: it is the same dispatcher that comes back.
    @Test func aLinkThatEndsAloneGivesNothingAway() throws {
        try withKeeper { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            let (caller, worker, parked) = (try TCPPair(), try TCPPair(), try TCPPair())
            let grant = try begin(first, caller, worker)
            try park(first, 2, parked)
            try first.reconnect()
            #expect(try first.inherit().isEmpty)
            // What is not told again leaves escrow: here the parked caller.
            try first.say(
                .escrow(.caller(name(1))), assertion(grant),
                .escrow(.worker(EscrowedWorker(lease: grant.lease, caller: name(1), worker: name(51)))), .asserted,
                carrying: [caller.near.descriptor, worker.near.descriptor])
            try fleet.waitPool("pods", "only the lease") { $0.leases == 1 && $0.queued == 0 }
            try first.die()
            let second = try connect(fleet, 2)
            let inherited = try second.inherit()
            #expect(inherited.count == 2, "\(inherited.map(\.reply))")
            for said in inherited { for number in said.descriptors { _ = lh_close(number) } }
            try second.say(assertion(grant), .asserted, .release(grant.lease, .served), .escrow(.callerGone(name(1))))
            try fleet.waitPool("pods", "the release") { $0.free == 1 }
        }
    }

    /// What the dead one said last is still in its link, and counts.
    @Test func aSuccessorWaitsUntilItsPredecessorHasBeenReadToTheEnd() throws {
        try withKeeper { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            let (caller, worker) = (try TCPPair(), try TCPPair())
            let grant = try begin(first, caller, worker)
            try first.process.kill()
            let second = try connect(fleet, 2)
            // Others are served meanwhile, so the hello has been seen.
            let other = try connect(fleet, seat: "9", 9)
            try other.start()
            #expect(second.isSilent)
            try first.say(.release(grant.lease, .served), .escrow(.callerGone(name(1))))
            first.endLink()
            #expect(try second.inherit().isEmpty)
            try second.say(.asserted)
            try fleet.waitPool("pods", "the release") { $0.free == 1 }
            #expect(try fleet.counter("leases-served", of: .poolKeeper) == 1)
        }
    }

    /// A crash in the middle of adoption: the next one gets everything again.
    @Test func aSuccessorThatDiesWhileItAdoptsLosesNothing() throws {
        try withKeeper { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            let (caller, worker, parked) = (try TCPPair(), try TCPPair(), try TCPPair())
            let grant = try begin(first, caller, worker)
            try park(first, 2, parked)
            try fleet.waitPool("pods", "the parked caller") { $0.queued == 1 }
            try first.die()
            for instance in 2...4 {
                let next = try connect(fleet, UInt64(instance))
                let inherited = try next.inherit()
                #expect(inherited.count == 3, "\(inherited.map(\.reply))")
                for said in inherited { for number in said.descriptors { _ = lh_close(number) } }
                if instance == 3 { try next.say(assertion(grant)) }
                if instance == 4 {
                    try next.say(assertion(grant), ticket(2, name(2)), .asserted, .release(grant.lease, .served))
                    #expect(try next.grant().ticket == TicketID(rawValue: 2))
                    try next.reconnect()
                    try next.start()
                }
                try next.die()
            }
        }
    }

    /// The rule needs the listener's `parked-fin`: a FIN is not always a good-bye.
    @Test func callersWhoHangUpWhileTheirDispatcherIsDeadGiveTheirPlacesBack() throws {
        try withKeeper { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            let (caller, worker) = (try TCPPair(), try TCPPair())
            let grant = try begin(first, caller, worker)
            let parked = try (0..<4).map { _ in try TCPPair() }
            for (i, pair) in parked.enumerated() { try park(first, UInt32(10 + i), pair, finMeansGone: i < 2) }
            try fleet.waitPool("pods", "the parked callers") { $0.queued == 4 }
            for pair in parked { pair.near.close() }
            try first.die()
            // What one says is for its next dispatcher, and no good-bye.
            try parked[1].far.send("more of it")
            parked[0].far.halfClose()
            parked[2].far.halfClose()
            try fleet.waitPool("pods", "the one who left") { $0.queued == 3 }
            parked[3].far.reset()
            try fleet.waitPool("pods", "the one who broke off") { $0.queued == 2 }
            let second = try connect(fleet, 2)
            let names = try second.inherit().compactMap { said -> ConnectionID? in
                for number in said.descriptors { _ = lh_close(number) }
                if case .adopt(.caller(let id)) = said.reply { return id } else { return nil }
            }
            // Those who left are handed over too: their successor tells how their jobs ended.
            #expect(Set(names) == [name(1), name(10), name(11), name(12), name(13)])
            try second.say(assertion(grant), ticket(11, name(11)), ticket(12, name(12)), .asserted)
            try second.say(.cancel(TicketID(rawValue: 11)), .cancel(TicketID(rawValue: 12)), .release(grant.lease, .served))
            for slot in [1, 10, 11, 12, 13] { try second.say(.escrow(.callerGone(name(UInt32(slot))))) }
            try fleet.waitPool("pods", "rest") { $0.free == 1 && $0.queued == 0 }
        }
    }

    @Test func aNewPoolKeeperIsToldEverythingAgainDescriptorsIncluded() throws {
        try withKeeper { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            let (caller, worker) = (try TCPPair(), try TCPPair())
            let grant = try begin(first, caller, worker)
            try fleet[.poolKeeper].kill()
            try fleet.launch(.poolKeeper)
            try fleet[.poolKeeper].waitForNotification("READY=1")
            try first.reconnect()
            #expect(try first.inherit().isEmpty)
            try first.say(
                .escrow(.caller(name(1))), assertion(grant),
                .escrow(.worker(EscrowedWorker(lease: grant.lease, caller: name(1), worker: name(51)))), .asserted,
                carrying: [caller.near.descriptor, worker.near.descriptor])
            try fleet.waitPool("pods", "the lease") { $0.leases == 1 && !$0.waitsForRecovery }
            try first.die()
            let second = try connect(fleet, 2)
            let inherited = try second.inherit()
            #expect(inherited.count == 2)
            for said in inherited { for number in said.descriptors { _ = lh_close(number) } }
            try second.say(assertion(grant), .asserted, .release(grant.lease, .served), .escrow(.callerGone(name(1))))
            try fleet.waitPool("pods", "the release") { $0.free == 1 }
        }
    }

    /// More than a packet's worth goes over in several.
    @Test func athousandCallersAreHandedOver() throws {
        try withKeeper { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            let pair = try TCPPair()
            for block in 0..<10 {
                try first.say(
                    (0..<100).map { .escrow(.caller(name(UInt32(block * 100 + $0)))) },
                    carrying: Array(repeating: pair.near.descriptor, count: 100))
            }
            try fleet[.poolKeeper].wait("all of them") { try fleet.counter("escrow-descriptors", of: .poolKeeper) == 1000 }
            try first.die()
            let second = try connect(fleet, 2)
            let inherited = try second.inherit()
            #expect(inherited.count == 1000)
            for said in inherited { for number in said.descriptors { _ = lh_close(number) } }
            try second.say((0..<1000).map { .escrow(.callerGone(name(UInt32($0)))) } + [.asserted])
            try fleet[.poolKeeper].wait("their end") { try fleet.counter("escrow-descriptors", of: .poolKeeper) == 0 }
        }
    }
}
