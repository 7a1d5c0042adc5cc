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

    @Test func anEndpointThatMovesAwayLeavesItsAddressToTheOther() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(successor())
        talk.upsert(worker(2))
        #expect(talk.state.free == 2)
    }
}
