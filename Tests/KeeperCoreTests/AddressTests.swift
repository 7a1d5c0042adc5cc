import KeeperCore
import Model
import Testing
import Wire

@Suite struct AddressTests {
    /// Another UID at the address of worker 1.
    private func successor(_ conditions: Endpoint.Conditions = .ready) -> Endpoint {
        var endpoint = worker(2, conditions)
        endpoint.addresses = worker(1).addresses
        return endpoint
    }

    @Test func aLeaseHoldsItsAddressAgainstANewUID() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.remove(worker(1))
        talk.upsert(successor())
        #expect(talk.endpointState(successor()) == .leased)
        #expect(talk.ask(2) == .held)
        talk.clear()
        talk.release(lease)
        #expect(talk.grants.map(\.endpoint) == [successor().id])
    }

    @Test func inWhateverOrderTheSourceTellsIt() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(successor())
        let lease = try talk.lease(1).lease
        #expect(talk.ask(2) == .held)
        talk.remove(worker(1))
        #expect(talk.grants.count == 1)
        talk.release(lease)
        #expect(talk.grants.count == 2)
    }

    @Test func inEveryPoolThatReachesIt() throws {
        let http = PoolID(name: "http")
        let debug = PoolID(name: "debug")
        let talk = Dialogue(policy("http"), policy("debug"))
        var second = successor()
        second.addresses[0].port = 9222
        talk.upsert(worker(1), in: http)
        let lease = try talk.lease(1, in: http).lease
        talk.upsert(successor(), in: http)
        talk.upsert(second, in: debug)
        #expect(talk.ask(2, in: debug) == .held)
        talk.release(lease)
        #expect(talk.grants.last?.pool == debug)
    }

    @Test func anAlternateAddressCountsToo() throws {
        let talk = Dialogue(policy())
        var dual = worker(1)
        dual.addresses.append(SocketAddress(family: .v6, high: 0xfd00 << 48, low: 1, port: 8080))
        var single = worker(2)
        single.addresses = [dual.addresses[1]]
        talk.upsert(dual)
        let lease = try talk.lease(1).lease
        talk.upsert(single)
        #expect(talk.ask(2) == .held)
        talk.release(lease)
        #expect(talk.grantedTickets == [1, 2])
    }

    @Test func aWorkerThatMayStillBeAtAJobHoldsItsAddressThroughItsQuarantine() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.remove(worker(1))
        talk.upsert(successor())
        talk.release(lease, .cut)
        #expect(talk.ask(2) == .held)
        talk.clear()
        talk.pass(.seconds(2))
        #expect(talk.grants.map(\.endpoint) == [successor().id])
    }

    @Test func anAssertedLeaseHoldsTheAddressThatWasDialled() throws {
        let talk = Dialogue(policy(), roster: [RosterEntry(instance: InstanceID(rawValue: 100), seat: "s")], serving: false)
        let link = talk.connect(instance: 100, asserting: true)
        let old = LeaseID(epoch: 6, counter: 9)
        talk.request(
            .assertLease(AssertedLease(lease: old, pool: talk.pool, endpoint: worker(1).id, address: worker(1).addresses[0])), on: link)
        talk.request(.asserted, on: link)
        talk.snapshot([(talk.pool, successor())])
        #expect(talk.ask(2, on: link) == .held)
        talk.clear()
        talk.release(old, on: link)
        #expect(talk.grantedTickets == [2])
    }

    @Test func anAddressThatMovesAwayIsFreeAgain() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(successor())
        _ = try talk.lease(1)
        talk.ask(2)
        #expect(talk.grants.count == 1)
        talk.clear()
        talk.upsert(worker(2))
        #expect(talk.grants.map(\.endpoint) == [worker(2).id])
    }

    @Test(arguments: [Outcome.cut, .endingTimeout, .probeFailed, .lostBeforeResponse, .busy])
    func readinessDoesNotEndTheFirstQuarantineOfAWorkerThatMayStillBeAtItsJob(outcome: Outcome) throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.release(try talk.lease(1).lease, outcome)
        talk.pass(.seconds(1))
        talk.upsert(worker(1, []))
        talk.upsert(worker(1))
        let isCut = outcome != .lostBeforeResponse && outcome != .busy
        #expect(talk.endpointState(worker(1)) == (isCut ? .quarantined : .free))
        talk.pass(.seconds(1))
        #expect(talk.endpointState(worker(1)) == .free)
    }

    @Test func norDoesTheOperatorsUndrain() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.release(try talk.lease(1).lease, .cut)
        talk.say(.operated(.undrain(endpoint: "worker-1", pool: nil)))
        #expect(talk.endpointState(worker(1)) == .quarantined)
        talk.pass(.seconds(2))
        #expect(talk.endpointState(worker(1)) == .free)
    }

    @Test func aLongQuarantineAfterACutIsEndedByReadinessOnceTheFirstIsOver() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        for id in 1...3 {
            talk.release(try talk.lease(UInt64(id)).lease, .cut)
            if id < 3 { talk.pass(.seconds(30)) }
        }
        #expect(talk.remaining(worker(1)) == .seconds(8))
        talk.pass(.seconds(2))
        talk.upsert(worker(1, []))
        talk.upsert(worker(1))
        #expect(talk.endpointState(worker(1)) == .free)
    }
}
