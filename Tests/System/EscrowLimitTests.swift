import CLinux
import Foundation
import Linux
import Model
import TestKit
import Testing
import Wire

/// What nobody goes on with is cut, and what does not fit or is said wrongly stays out of escrow.
@Suite(.ownThread) final class EscrowLimitTests: EscrowScene {
    @Test func whatNobodyAdoptsInTimeIsFenced() throws {
        try withKeeper("adopt-within: 300ms") { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            let (caller, worker, parked, idle) = (try TCPPair(), try TCPPair(), try TCPPair(), try TCPPair())
            let grant = try begin(first, caller, worker)
            try park(first, 2, parked)
            try first.say(.escrow(.caller(name(3))), carrying: [idle.near.descriptor])
            try fleet.waitPool("pods", "the parked caller") { $0.queued == 1 }
            try first.die()
            // Somebody still holds the worker's socket: his next write must fail, and the worker must hear of the end.
            #expect(try worker.far.expectEnd() != nil)
            #expect(lh_send(worker.near.descriptor, "x", 1, 0) < 0)
            for one in [caller, parked, idle] { #expect(try one.far.expectEnd() == .reset) }
            try fleet.waitPool("pods", "an empty queue") { $0.queued == 0 && $0.leases == 0 }
            let late = try connect(fleet, 2)
            #expect(try late.inherit().isEmpty)
            try late.say(assertion(grant), .asserted)
            #expect(try late.hear().reply == .revoke(grant.lease))
            #expect(try fleet.counter("fenced", of: .poolKeeper) == 1)
            #expect(try fleet.counter("adopt-late", of: .poolKeeper) == 1)
            try fleet.waitPool("pods", "the end of the quarantine") { $0.free == 1 }
        }
    }

    @Test func whatASuccessorDoesNotAssertIsFencedAtOnce() throws {
        try withKeeper { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            let (caller, worker) = (try TCPPair(), try TCPPair())
            _ = try begin(first, caller, worker)
            try first.die()
            let second = try connect(fleet, 2)
            let inherited = try second.inherit()
            #expect(inherited.count == 2)
            try second.say(.asserted, .escrow(.callerGone(name(1))))
            #expect(try worker.far.expectEnd() != nil)
            for said in inherited { for number in said.descriptors { _ = lh_close(number) } }
            try fleet.waitPool("pods", "the end of the quarantine") { $0.free == 1 }
            #expect(try fleet.counter("fenced", of: .poolKeeper) == 1)
        }
    }

    @Test func beyondTheBudgetSessionsRunWithoutEscrow() throws {
        // 64 descriptors in all, so 32 for escrow.
        try withKeeper(limit: 64) { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            #expect(first.peer?.descriptorBudget == 32)
            let callers = try (0..<40).map { _ in try TCPPair() }
            for (i, pair) in callers.enumerated() {
                try first.say(.escrow(.caller(name(UInt32(i + 1)))), carrying: [pair.near.descriptor])
            }
            // Slot 40 is not in escrow, so its worker does not go there either.
            try first.say(ticket(40, name(40)))
            let grant = try first.grant()
            let worker = try TCPPair()
            try first.say(
                .escrow(.worker(EscrowedWorker(lease: grant.lease, caller: name(40), worker: name(51)))), carrying: [worker.near.descriptor])
            try fleet[.poolKeeper].wait("what is skipped") { try fleet.counter("escrow-skipped", of: .poolKeeper) == 9 }
            #expect(try fleet.counter("escrow-descriptors", of: .poolKeeper) == 32)
            #expect(try fleet.leases().map(\.escrowed) == [false])
            try first.say(.release(grant.lease, .served))
            for i in 0..<40 { try first.say(.escrow(.callerGone(name(UInt32(i + 1))))) }
            try fleet.waitPool("pods", "the release") { $0.free == 1 }
            // There is room again.
            try first.say(.escrow(.caller(name(1))), carrying: [callers[0].near.descriptor])
            try fleet[.poolKeeper].wait("one in escrow") { try fleet.counter("escrow-descriptors", of: .poolKeeper) == 1 }
            try first.say(.escrow(.callerGone(name(1))))
            // A packet that does not fit at all is never taken for something else.
            try first.say(
                (1...60).map { .escrow(.caller(name(UInt32($0)))) }, carrying: Array(repeating: callers[0].near.descriptor, count: 60))
            try first.waitForEnd()
            try first.reconnect()
            #expect(try first.inherit().isEmpty)
            try first.say(.asserted)
        }
    }

    @Test(arguments: [0, 2]) func aPacketWithAnotherNumberOfDescriptorsThanItsMessagesNeedEndsTheLink(count: Int) throws {
        try withKeeper { fleet in
            let first = try connect(fleet, 1)
            try first.start()
            let caller = try TCPPair()
            try first.say(.escrow(.caller(name(1))), carrying: Array(repeating: caller.near.descriptor, count: count))
            try first.waitForEnd()
            try fleet[.poolKeeper].wait("the reason") { try fleet[.poolKeeper].output.contains("descriptors") }
        }
    }

    @Test func anotherVersionIsRefusedByNameAndTheRightOneServed() throws {
        try withKeeper { fleet in
            let raw = Int32(try check(lh_socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue)), "socket"))
            let old = Descriptor(owning: raw)
            #expect(lh_connect_unix(old.raw, "\(fleet.runtimeDirectory)/leasing.sock") >= 0)
            var writer = ByteWriter()
            Hello(edge: .leasing, seat: "0", instance: 7).encode(into: &writer)
            var bytes = [UInt8](writer.bytes)
            bytes[4] = 1
            #expect(lh_send(old.raw, bytes, bytes.count, 0) == bytes.count)
            var refusal: HelloRefusal?
            while refusal == nil {
                try waitReady(old.raw, POLLIN, "the refusal")
                var answer = [UInt8](repeating: 0, count: 4096)
                let count = lh_recv(old.raw, &answer, answer.count, 0)
                guard count > 0 else { break }
                refusal = answer[..<count].withUnsafeBytes { HelloRefusal.decode($0) }
            }
            #expect(refusal?.reason == "version is 1, expected \(Bounds.version)")
            let new = try connect(fleet, 8)
            try new.start()
            try new.die()
        }
    }
}
