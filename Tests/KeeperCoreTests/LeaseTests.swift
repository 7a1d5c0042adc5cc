import KeeperCore
import Model
import Testing
import Wire

@Suite struct LeaseTests {
    @Test func oneEndpointRunsOneJob() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let grant = try talk.lease(1)
        #expect(talk.ask(2) == .held)
        talk.clear()
        talk.release(grant.lease)
        #expect(talk.grantedTickets == [2])
    }

    @Test(arguments: 1...5)
    func slotsAllowSoManyJobs(slots: Int) throws {
        let talk = Dialogue(policy { $0.slots = slots })
        talk.upsert(worker(1))
        for id in 1...slots { _ = try talk.lease(UInt64(id)) }
        #expect(talk.ask(99) == .held)
        #expect(talk.state.leases == UInt32(slots) && talk.state.leased == 1)
    }

    @Test func slotsBelongToTheEndpointAndNotToThePool() throws {
        let talk = Dialogue(policy("http"), policy("debug"))
        let (http, debug) = (PoolID(name: "http"), PoolID(name: "debug"))
        talk.upsert(worker(1, port: 80), in: http)
        talk.upsert(worker(1, port: 9222), in: debug)
        let grant = try talk.lease(1, in: http)
        #expect(grant.address.port == 80)
        #expect(talk.ask(2, in: debug) == .held)
        #expect(talk.state(of: debug).leased == 1 && talk.state(of: debug).leases == 0)
        talk.clear()
        talk.release(grant.lease)
        #expect(talk.grantedTickets == [2])
        #expect(talk.grants[0].address.port == 9222)
    }

    @Test func theSmallerNumberOfSlotsHolds() throws {
        let talk = Dialogue(policy("wide") { $0.slots = 5 }, policy("narrow") { $0.slots = 2 })
        let (wide, narrow) = (PoolID(name: "wide"), PoolID(name: "narrow"))
        talk.upsert(worker(1), in: wide)
        talk.upsert(worker(1), in: narrow)
        _ = try talk.lease(1, in: wide)
        _ = try talk.lease(2, in: wide)
        #expect(talk.ask(3, in: wide) == .held)
        talk.remove(worker(1), from: narrow)
        #expect(talk.grantedTickets == [1, 2])
        talk.say(.policiesChanged([policy("wide") { $0.slots = 5 }]))
        #expect(talk.grantedTickets == [1, 2, 3])
    }

    @Test func ofTwoPoolsThatShareAnEndpointTheEarliestArrivalIsServed() throws {
        let talk = Dialogue(policy("http"), policy("debug"))
        let (http, debug) = (PoolID(name: "http"), PoolID(name: "debug"))
        talk.upsert(worker(1), in: http)
        talk.upsert(worker(1), in: debug)
        let lease = try talk.lease(1, in: http).lease
        talk.ask(2, in: debug, age: .seconds(2))
        talk.ask(3, in: http, age: .seconds(3))
        talk.ask(4, in: debug, age: .seconds(1))
        talk.clear()
        talk.release(lease)
        talk.release(talk.grants[0].lease)
        talk.release(talk.grants[1].lease)
        #expect(talk.grantedTickets == [3, 2, 4])
    }

    @Test func aDualStackEndpointIsOneWorkerWithAnAlternateAddress() throws {
        let talk = Dialogue(policy())
        var endpoint = worker(1)
        let v6 = try #require(SocketAddress("[2001:db8::1]:8080"))
        endpoint.addresses.append(v6)
        talk.upsert(endpoint)
        #expect(try talk.lease(1).alternate == v6)
        #expect(talk.ask(2) == .held)
    }

    @Test func tokensOnlyGrowAndAreNeverUsedAgain() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        var last = LeaseID(epoch: 0, counter: 0)
        for id in 1...50 {
            let lease = try talk.lease(UInt64(id)).lease
            #expect(lease > last && lease.epoch == 7)
            last = lease
            talk.release(lease)
        }
    }

    @Test func aLateReleaseFreesNobodyElsesSlot() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let old = try talk.lease(1).lease
        talk.release(old)
        _ = try talk.lease(2)
        talk.clear()
        talk.release(old)
        #expect(talk.races == [.lateRelease])
        #expect(talk.state.leased == 1)
    }

    @Test func anotherDispatchersReleaseIsFenced() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let other = talk.connect(instance: 200)
        let lease = try talk.lease(1).lease
        talk.clear()
        talk.release(lease, on: other)
        talk.request(.ending(lease), on: other)
        talk.request(.dialFailed(lease, .refused), on: other)
        talk.request(.unused(lease), on: other)
        #expect(talk.races == [.foreignRelease, .foreignRelease, .foreignRelease, .foreignRelease])
        #expect(talk.state.leased == 1)
    }

    @Test func endingCountsAsLeased() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.request(.ending(lease))
        #expect(talk.state.ending == 1 && talk.state.leased == 0 && talk.state.demand == 1)
        #expect(talk.ask(2) == .held)
        talk.release(lease, .abandoned)
        #expect(talk.grantedTickets == [1, 2])
    }

    @Test func anEndingThatTimesOutIsNeverFreedDirectly() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.request(.ending(lease))
        talk.ask(2)
        talk.release(lease, .endingTimeout)
        #expect(talk.state.quarantined == 1)
        talk.clear()
        talk.pass(.seconds(2))
        #expect(talk.grantedTickets == [2])
    }

    @Test func anUnusedGrantLeavesTheEndpointTheNextToBeTaken() throws {
        for order in [PoolPolicy.Order.spread, .pack] {
            let talk = Dialogue(policy { $0.order = order })
            for n in 1...3 { talk.upsert(worker(UInt64(n))) }
            let grant = try talk.lease(1)
            talk.request(.unused(grant.lease))
            #expect(talk.state.quarantined == 0)
            #expect(try talk.lease(2).endpoint == grant.endpoint)
        }
    }

    @Test func noTimerEndsTheLeaseOfALiveHolder() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.request(.ending(lease))
        talk.pass(.seconds(86_400 * 30))
        #expect(talk.state.ending == 1)
        talk.say(.dispatcherLinkEnded(Dialogue.firstLink))
        talk.pass(.seconds(86_400 * 30))
        #expect(talk.state.ending == 1)
        #expect(talk.keeper.nextWake == .never)
    }

    @Test func spreadTakesTheLeastRecentlyUsed() throws {
        let talk = Dialogue(policy())
        for n in 1...3 { talk.upsert(worker(UInt64(n))) }
        var order: [UInt64] = []
        for id in 1...6 {
            let grant = try talk.lease(UInt64(id))
            order.append(grant.endpoint.low)
            talk.release(grant.lease)
        }
        #expect(order == [1, 2, 3, 1, 2, 3])
    }

    @Test func packTakesTheMostRecentlyUsed() throws {
        let talk = Dialogue(policy { $0.order = .pack })
        for n in 1...3 { talk.upsert(worker(UInt64(n))) }
        let first = try talk.lease(1)
        talk.release(first.lease)
        for id in 2...6 {
            let grant = try talk.lease(UInt64(id))
            #expect(grant.endpoint == first.endpoint)
            talk.release(grant.lease)
        }
    }

    @Test func aPoolIsToldToHaveChangedOncePerInput() {
        let talk = Dialogue(policy())
        for id in 1...5 { talk.ask(UInt64(id)) }
        talk.clear()
        talk.snapshot((1...5).map { (talk.pool, worker(UInt64($0))) })
        #expect(talk.grants.count == 5)
        #expect(talk.actions.filter { $0 == .poolChanged(talk.pool) }.count == 1)
    }
}
