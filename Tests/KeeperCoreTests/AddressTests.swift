import KeeperCore
import Model
import Testing
import Wire

/// A UID tells two endpoints apart; a connect does not. Whoever is dialled at one address, one process answers.
@Suite struct AddressTests {
    /// Another UID at the address of `worker(1)`, like a local worker that was started again on its port.
    private func successor() -> Endpoint {
        var second = worker(2)
        second.addresses = worker(1).addresses
        return second
    }

    @Test func aReusedAddressIsNotGrantedWhileItsLastOwnerHasALease() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.upsert(successor())
        #expect(talk.ask(2) == .held)
        talk.release(lease)
        #expect(talk.grants.last?.endpoint == successor().id)
    }

    @Test func ofTwoAtOneAddressTheOneNamedLastIsOnOffer() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(successor())
        #expect(talk.state.free == 1 && talk.state.total == 2)
        #expect(try talk.lease(1).endpoint == successor().id)
        #expect(talk.ask(2) == .held)
    }

    /// A watcher that was killed serves what it had saved: the worker of before, at the port of the one that has a job now.
    @Test func aStaleSnapshotDoesNotDoubleAWorker() throws {
        let talk = Dialogue(policy())
        talk.upsert(successor())
        let lease = try talk.lease(1).lease
        talk.remove(successor())
        talk.upsert(worker(1))
        #expect(talk.ask(2) == .held)
        talk.release(lease)
        #expect(talk.grants.last?.endpoint == worker(1).id)
        talk.upsert(successor())
        talk.remove(worker(1))
        #expect(talk.ask(3) == .held)
    }

    @Test func theOtherOneIsOnOfferAgainWhenTheNewestGoes() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(successor())
        talk.remove(successor())
        #expect(try talk.lease(1).endpoint == worker(1).id)
    }

    /// A pod in two pools, and the one that has its IP next.
    private func twoPools() -> (talk: Dialogue, other: PoolID, old: [Endpoint], new: [Endpoint]) {
        let talk = Dialogue(policy("a"), policy("b"))
        let old = [worker(1, port: 8000), worker(1, port: 8001)]
        let new = old.map { last in
            var pod = worker(2)
            pod.addresses = last.addresses
            return pod
        }
        talk.upsert(old[0])
        talk.upsert(old[1], in: talk.policies[1].id)
        return (talk, talk.policies[1].id, old, new)
    }

    /// The slices of two Services do not change at once.
    @Test(arguments: [false, true]) func aHostThatIsTakenInOnePoolIsTakenInAll(removedFirst: Bool) throws {
        let (talk, other, old, new) = twoPools()
        if removedFirst { talk.remove(old[0]) }
        talk.upsert(new[0])
        if !removedFirst { talk.remove(old[0]) }
        let lease = try talk.lease(1)
        #expect(lease.endpoint == new[0].id)
        #expect(talk.ask(2, in: other) == .held)
        talk.release(lease.lease)
        #expect(talk.grants.count == 1 && talk.state(of: other).unready == 1)
        talk.upsert(new[1], in: other)
        talk.remove(old[1], from: other)
        #expect(talk.grants.last?.endpoint == new[1].id && talk.state(of: other).total == 1)
        #expect(talk.ask(3) == .held)
    }

    @Test func aHostIsNotGrantedToItsNextOwnerWhileTheLastHasALeaseInAnotherPool() throws {
        let (talk, other, old, new) = twoPools()
        let lease = try talk.lease(1, in: other).lease
        talk.remove(old[0])
        talk.upsert(new[0])
        #expect(talk.ask(2) == .held)
        talk.release(lease)
        #expect(talk.grants.last?.endpoint == new[0].id)
    }

    @Test func aPodThatLeavesOnePoolServesTheOtherAndIsCountedThereOnly() throws {
        let (talk, other, old, _) = twoPools()
        talk.remove(old[0])
        #expect(talk.state.total == 0 && talk.ask(1, budget: .zero) == .refused(.noEndpoints))
        _ = try talk.lease(2, in: other)
        #expect(talk.state.total == 0 && talk.state(of: other).leased == 1)
        talk.upsert(old[0])
        #expect(talk.state.leased == 1)
    }

    /// Pods in the node's own network: one IP, a port each, and nothing wrong with that.
    @Test func twoThatShareAHostAndNoPortAreTwoWorkers() throws {
        let talk = Dialogue(policy("a"), policy("b"))
        var second = worker(2)
        second.addresses = worker(1, port: 8001).addresses
        talk.upsert(worker(1, port: 8000))
        talk.upsert(second, in: talk.policies[1].id)
        _ = try talk.lease(1)
        _ = try talk.lease(2, in: talk.policies[1].id)
    }

    @Test func aPodWithANewAddressLeavesItsOldHostToOthers() throws {
        let (talk, other, old, new) = twoPools()
        talk.remove(old[0])
        var moved = old[1]
        moved.addresses = worker(9, port: 8001).addresses
        talk.upsert(moved, in: other)
        talk.upsert(new[0])
        _ = try talk.lease(1)
        _ = try talk.lease(2, in: other)
    }

    @Test func anEndpointThatMovesAwayLeavesItsAddressToTheOther() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(successor())
        talk.upsert(worker(2))
        #expect(talk.state.free == 2)
    }
}
