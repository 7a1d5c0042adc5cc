import KeeperCore
import Model
import Testing
import Wire

@Suite struct QuarantineTests {
    @Test(arguments: DialFailure.allCases)
    func aFailedDialSetsTheEndpointAsideUnlessTheFaultIsOurs(failure: DialFailure) throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.request(.dialFailed(lease, failure))
        #expect(talk.endpointState(worker(1)) == (failure == .ours ? .free : .quarantined))
    }

    @Test(arguments: Outcome.allCases)
    func outcomesThatQuarantineDoSoAndOthersDoNot(outcome: Outcome) throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.release(lease, outcome)
        #expect(talk.endpointState(worker(1)) == (outcome.quarantines ? .quarantined : .free))
    }

    @Test func aStaleEndpointIsSkippedAndTheJobIsServedByAnother() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        let stale = try talk.lease(1)
        talk.request(.dialFailed(stale.lease, .refused))
        talk.clear()
        talk.ask(1, age: .milliseconds(3), requeued: true)
        #expect(talk.grants.map(\.endpoint) == [worker(2).id])
        #expect(talk.notices.contains(.requeued(talk.pool)))
        #expect(talk.ask(2) == .held)
    }

    @Test func quarantineDoublesToItsMost() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        var lengths: [Duration] = []
        for id in 1...7 {
            let lease = try talk.lease(UInt64(id)).lease
            talk.request(.dialFailed(lease, .refused))
            lengths.append(try #require(talk.remaining(worker(1))))
            talk.pass(lengths[lengths.count - 1])
        }
        #expect(lengths == [2, 4, 8, 16, 30, 30, 30].map { .seconds($0) })
    }

    /// A dying worker may accept one more connection; but a server that ends each tunnel by a reset is no failing worker.
    @Test func aCutResponseSetsAsideForTheFirstTimeHoweverOften() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        for id in 1...3 {
            talk.release(try talk.lease(UInt64(id)).lease, .lostAfterResponse)
            #expect(talk.remaining(worker(1)) == .seconds(2))
            talk.pass(.seconds(2))
        }
    }

    @Test(arguments: [Outcome.served, .abandoned])
    func aServedLeaseResetsTheRepeats(outcome: Outcome) throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        for id in 1...3 {
            talk.request(.dialFailed(try talk.lease(UInt64(id)).lease, .refused))
            talk.pass(.seconds(30))
        }
        talk.release(try talk.lease(4).lease, outcome)
        talk.request(.dialFailed(try talk.lease(5).lease, .refused))
        #expect(talk.remaining(worker(1)) == .seconds(2))
    }

    @Test func quarantineEndsByItsTimeAndServesTheWaiting() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.request(.dialFailed(try talk.lease(1).lease, .refused))
        talk.ask(2)
        talk.clear()
        talk.pass(.seconds(2) - .nanoseconds(1))
        #expect(talk.grants.isEmpty)
        talk.pass(.nanoseconds(1))
        #expect(talk.grantedTickets == [2])
    }

    @Test func aFreshTransitionToReadyClearsIt() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.request(.dialFailed(try talk.lease(1).lease, .refused))
        talk.upsert(worker(1))
        #expect(talk.endpointState(worker(1)) == .quarantined)
        talk.upsert(worker(1, []))
        #expect(talk.endpointState(worker(1)) == .unready)
        talk.upsert(worker(1))
        #expect(talk.endpointState(worker(1)) == .free)
    }

    @Test func vanishingForAMomentDoesNotClearIt() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.release(try talk.lease(1).lease, .endingTimeout)
        talk.remove(worker(1))
        #expect(talk.state.total == 0)
        talk.upsert(worker(1))
        #expect(talk.endpointState(worker(1)) == .quarantined)
        talk.remove(worker(1))
        talk.pass(.seconds(2))
        talk.upsert(worker(1))
        #expect(talk.endpointState(worker(1)) == .free)
    }

    @Test func aNewUIDOnTheSameAddressIsNotQuarantined() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.request(.dialFailed(try talk.lease(1).lease, .refused))
        var fresh = worker(2)
        fresh.addresses = worker(1).addresses
        talk.upsert(fresh)
        #expect(try talk.lease(2).endpoint == fresh.id)
    }

    @Test func manyFailuresOfOneMomentCountOnce() throws {
        let talk = Dialogue(policy { $0.slots = 4 })
        talk.upsert(worker(1))
        let leases = try (1...4).map { try talk.lease(UInt64($0)).lease }
        for lease in leases { talk.release(lease, .lostBeforeResponse) }
        #expect(talk.remaining(worker(1)) == .seconds(2))
        talk.pass(.seconds(2))
        talk.request(.dialFailed(try talk.lease(9).lease, .refused))
        #expect(talk.remaining(worker(1)) == .seconds(4))
    }

    @Test func anEndpointInTwoPoolsIsSetAsideInBoth() throws {
        let talk = Dialogue(policy("http"), policy("debug"))
        talk.upsert(worker(1), in: PoolID(name: "http"))
        talk.upsert(worker(1), in: PoolID(name: "debug"))
        talk.request(.dialFailed(try talk.lease(1, in: PoolID(name: "http")).lease, .refused))
        #expect(talk.ask(2, in: PoolID(name: "debug")) == .held)
        #expect(talk.state(of: PoolID(name: "debug")).quarantined == 1)
    }

    @Test func theOperatorQuarantinesForAsLongAsAskedAndUndrainEndsIt() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.say(.operated(.quarantine(endpoint: "10.0.0.1:8080", pool: nil, duration: .seconds(600))))
        #expect(talk.remaining(worker(1)) == .seconds(600))
        talk.pass(.seconds(599))
        #expect(talk.ask(1) == .held)
        talk.say(.operated(.undrain(endpoint: "worker-1", pool: talk.pool)))
        #expect(talk.grantedTickets == [1])
    }

    @Test func afterThreeDialTimeoutsOnOneNodeOthersArePreferred() throws {
        let talk = Dialogue(policy { $0.quarantine.first = .milliseconds(1) })
        for n in 1...4 { talk.upsert(worker(UInt64(n), node: "bad")) }
        for n in 5...6 { talk.upsert(worker(UInt64(n), node: "good")) }
        for id in 1...3 {
            let grant = try talk.lease(UInt64(id))
            #expect(grant.endpoint.low <= 4)
            talk.request(.dialFailed(grant.lease, .timedOut))
        }
        talk.pass(.milliseconds(1))
        let first = try talk.lease(11)
        let second = try talk.lease(12)
        #expect(Set([first.endpoint.low, second.endpoint.low]) == [5, 6])
        let forced = try talk.lease(13)
        #expect(forced.endpoint.low <= 4)
        talk.release(first.lease)
        talk.release(forced.lease)
        // The forced one worked: its node is trusted again and takes its turn.
        talk.release(try talk.lease(14).lease)
        #expect(try talk.lease(15).endpoint.low <= 4)
    }

    @Test func aNodeIsTriedAgainAfterAWhile() throws {
        let talk = Dialogue(policy { $0.quarantine.first = .milliseconds(1) }, parameters: .init(epoch: 1, nodeAvoidance: .seconds(30)))
        talk.upsert(worker(1, node: "bad"))
        for id in 1...3 {
            talk.request(.dialFailed(try talk.lease(UInt64(id)).lease, .timedOut))
            talk.pass(.milliseconds(10))
        }
        talk.upsert(worker(2, node: "good"))
        talk.pass(.seconds(29))
        for id in 4...6 {
            let grant = try talk.lease(UInt64(id))
            #expect(grant.endpoint == worker(2).id)
            talk.release(grant.lease)
        }
        talk.pass(.seconds(2))
        talk.release(try talk.lease(7).lease)
        #expect(try talk.lease(8).endpoint == worker(1).id)
    }

    @Test func otherFailuresAndOtherNodesDoNotCount() throws {
        let talk = Dialogue(policy { $0.quarantine.first = .milliseconds(1) })
        talk.upsert(worker(1, node: "a"))
        for id in 1...5 {
            talk.request(.dialFailed(try talk.lease(UInt64(id)).lease, .refused))
            talk.pass(.milliseconds(100))
        }
        #expect(!talk.notices.contains { if case .nodeAvoided = $0 { true } else { false } })
    }
}
