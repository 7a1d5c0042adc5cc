import Foundation
import Linux
import Model
import TestKit
import Wire

/// The pool-keeper's side of escrow: the real process and real descriptors, with dispatchers whose every word is the test's.
class EscrowScene {
    private var dispatchers: [FakeDispatcher] = []

    /// A pool of one endpoint, which nobody dials: its connections are made by the test.
    func withKeeper(_ top: String = "", limit: Int? = nil, _ body: (Fleet) throws -> Void) throws {
        let configuration = Setup.tcp(pool: "quarantine: { first: 100ms, most: 100ms }", top: top)
        try Fleet.run(configuration, [.watcher]) { fleet in
            try fleet.publish([Pod("one", ["127.0.0.1"], ports: [("http", 9)])])
            try fleet.launch(.poolKeeper, descriptorLimit: limit)
            try fleet[.poolKeeper].waitForNotification("READY=1")
            try fleet.waitPool("pods", "its endpoint") { $0.free == 1 }
            let (keeper, before) = (try fleet[.poolKeeper].pid, try openDescriptors(fleet))
            try body(fleet)
            // All descriptors are accounted for: nothing leaks.
            for dispatcher in dispatchers { try dispatcher.die() }
            guard try keeper == fleet[.poolKeeper].pid else { return }
            try fleet[.poolKeeper].wait("descriptors to be closed: \(before) at first") {
                // The questions' own connections come and go beside these.
                try openDescriptors(fleet) <= before + Int(fleet.counter("escrow-descriptors", of: .poolKeeper))
            }
        }
    }

    func connect(_ fleet: Fleet, seat: String = "0", _ instance: UInt64) throws -> FakeDispatcher {
        let dispatcher = try FakeDispatcher(fleet, seat: seat, instance: instance)
        dispatchers.append(dispatcher)
        return dispatcher
    }

    func openDescriptors(_ fleet: Fleet) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(fleet[.poolKeeper].pid)/fd").count
    }

    let pool = PoolID(name: "pods")
    func ticket(_ id: UInt64, _ caller: ConnectionID) -> LeasingRequest {
        .ticket(Ticket(id: TicketID(rawValue: id), connection: caller, pool: pool))
    }
    func name(_ slot: UInt32) -> ConnectionID { ConnectionID(slot: slot, generation: slot + 100) }

    /// A session on the one endpoint: caller and worker in escrow under slot 1.
    func begin(_ dispatcher: FakeDispatcher, _ caller: TCPPair, _ worker: TCPPair) throws -> Grant {
        try dispatcher.say(.escrow(.caller(name(1))), ticket(1, name(1)), carrying: [caller.near.descriptor])
        let grant = try dispatcher.grant()
        let names = EscrowedWorker(lease: grant.lease, caller: name(1), worker: name(51))
        try dispatcher.say(.escrow(.worker(names)), carrying: [worker.near.descriptor])
        return grant
    }

    func park(_ dispatcher: FakeDispatcher, _ slot: UInt32, _ caller: TCPPair, finMeansGone: Bool = true) throws {
        try dispatcher.say(
            .escrow(.caller(name(slot), finMeansGone: finMeansGone)), ticket(UInt64(slot), name(slot)),
            carrying: [caller.near.descriptor])
    }

    func assertion(_ grant: Grant) -> LeasingRequest {
        .assertLease(AssertedLease(lease: grant.lease, pool: grant.pool, endpoint: grant.endpoint, address: grant.address))
    }

    /// Closes the test's own ends, as the death of a dispatcher does.
    func forget(_ pairs: TCPPair...) { for pair in pairs { pair.near.close() } }
}
