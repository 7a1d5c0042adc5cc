import KeeperCore
import Model
import Testing
import Wire

/// How much may wait, who goes when it is too much, and what a refused caller is told.
@Suite struct QueueBoundTests {
    /// A pool whose only worker is taken.
    private func busy(_ change: (inout PoolPolicy) -> Void) throws -> (Dialogue, LeaseID) {
        let talk = Dialogue(policy { change(&$0) })
        talk.upsert(worker(1))
        let lease = try talk.lease(1_000_000).lease
        talk.clear()
        return (talk, lease)
    }

    @Test func bytesThatWaitAreBoundedAndGivenBackAtOnce() throws {
        let (talk, lease) = try busy { $0.maxBytes = 1_000 }
        #expect(talk.ask(1, bytes: 600) == .held)
        #expect(talk.ask(2, bytes: 401) == .refused(.queueFull))
        #expect(talk.ask(3, bytes: 400) == .held)
        #expect(talk.ask(4, bytes: 1) == .refused(.queueFull))
        talk.request(.cancel(TicketID(rawValue: 1)))
        #expect(talk.ask(5, bytes: 600) == .held)
        talk.release(lease)
        #expect(talk.ask(6, bytes: 400) == .held)
    }

    @Test func aJobThatCanHaveAWorkerAtOnceIsNotMeasured() throws {
        let talk = Dialogue(policy { ($0.maxBytes, $0.maxQueued) = (10, 0) })
        talk.upsert(worker(1))
        guard case .granted = talk.ask(1, bytes: 5_000) else { return #expect(Bool(false), "no lease") }
    }

    @Test func aTenantsCapOnLeasesHoldsItsJobsAndNobodyElses() throws {
        let talk = Dialogue(policy { $0.tenants += [.init(name: "acme", maxLeased: 1)] })
        for n in 1...3 { talk.upsert(worker(UInt64(n))) }
        guard case .granted(let first) = talk.ask(1, tenant: "acme") else { return #expect(Bool(false), "no lease") }
        #expect(talk.ask(2, tenant: "acme") == .held)
        guard case .granted = talk.ask(3) else { return #expect(Bool(false), "a cap of one tenant held another") }
        #expect(talk.state.free == 1 && talk.state.tenants.map(\.leased) == [1, 1])
        talk.clear()
        talk.release(first.lease)
        #expect(talk.grantedTickets == [2])
    }

    @Test func theCapCountsLeasesThatWereTakenBeforeOurStart() {
        let talk = Dialogue(policy { $0.tenants += [.init(name: "acme", maxLeased: 1)] }, serving: false)
        talk.snapshot([(talk.pool, worker(1)), (talk.pool, worker(2))])
        let link = talk.connect(instance: 5, asserting: true)
        let old = LeaseID(epoch: 3, counter: 9)
        talk.request(
            .assertLease(
                AssertedLease(lease: old, pool: talk.pool, endpoint: worker(1).id, address: worker(1).addresses[0], tenant: TenantID(name: "acme"))), on: link)
        talk.request(.asserted, on: link)
        #expect(talk.ask(1, tenant: "acme", on: link) == .held)
        talk.release(old, on: link)
        #expect(talk.grantedTickets == [1])
    }

    @Test func aTenantsBoundOnTicketsIsItsOwn() throws {
        let (talk, _) = try busy { $0.tenants += [.init(name: "acme", maxQueued: 2)] }
        #expect(talk.ask(1, tenant: "acme") == .held)
        #expect(talk.ask(2, tenant: "acme") == .held)
        #expect(talk.ask(3, tenant: "acme") == .refused(.tenantLimit))
        #expect(talk.ask(4) == .held)
        #expect(talk.refusals[0].queued == 2 && talk.refusals[0].position == 0)
    }

    @Test func aWaitThatEndsAtItsTenantsCapSaysSo() throws {
        let talk = Dialogue(policy { $0.tenants += [.init(name: "acme", maxLeased: 1)] })
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        talk.ask(1, tenant: "acme")
        #expect(talk.ask(2, budget: .zero, tenant: "acme") == .refused(.tenantLimit))
        talk.ask(3, budget: .seconds(1), tenant: "acme")
        talk.pass(.seconds(1))
        #expect(talk.refusals.map(\.reason) == [.tenantLimit, .tenantLimit])
    }

    @Test func shedOldestRefusesTheOldestOfTheLeastUrgent() throws {
        let (talk, _) = try busy { ($0.maxQueued, $0.shed) = (3, .oldest) }
        for (id, urgency) in [(1, 3), (2, 5), (3, 5)] as [(UInt64, UInt8)] { talk.ask(id, urgency: urgency) }
        #expect(talk.ask(4, urgency: 3) == .held)
        #expect(talk.refusedTickets == [2] && talk.refusals[0].reason == .queueFull)
        #expect(talk.ask(5, urgency: 3) == .held)
        #expect(talk.ask(6, urgency: 3) == .held)
        #expect(talk.refusedTickets == [2, 3, 1])
        // All that wait are more urgent: it is this one's own turn to go.
        #expect(talk.ask(7, urgency: 6) == .refused(.queueFull))
        #expect(talk.state.queued == 3)
    }

    @Test func shedOldestNeverRefusesARequeuedJob() throws {
        let (talk, _) = try busy { ($0.maxQueued, $0.shed) = (1, .oldest) }
        talk.ask(1, requeued: true)
        #expect(talk.ask(2) == .refused(.queueFull))
        #expect(talk.ask(3, requeued: true) == .held)
        #expect(talk.state.queued == 2)
    }

    @Test func aTenantAtItsBoundShedsItsOwn() throws {
        let (talk, _) = try busy { pool in
            pool.shed = .oldest
            pool.tenants += [.init(name: "acme", maxQueued: 1)]
        }
        talk.ask(1)
        talk.ask(2, tenant: "acme")
        #expect(talk.ask(3, tenant: "acme") == .held)
        #expect(talk.refusedTickets == [2] && talk.refusals[0].reason == .tenantLimit)
    }

    // The truth.

    @Test func aRefusedCallerHearsItsPlaceAndTheOldestWait() throws {
        let (talk, _) = try busy { $0.holdTimeout = .seconds(60) }
        talk.ask(1)
        talk.pass(.seconds(2))
        talk.ask(2, budget: .seconds(5))
        talk.ask(3)
        talk.ask(4, budget: .seconds(6), urgency: 1)
        talk.clear()
        talk.pass(.seconds(5))
        // Behind the urgent one and the first.
        #expect(talk.refusals.map(\.position) == [3] && talk.refusals.map(\.queued) == [4])
        #expect(talk.refusals[0].oldestWait == .seconds(7))
        talk.pass(.seconds(1))
        #expect(talk.refusals.map(\.position) == [3, 1])
    }

    @Test func thePlaceInLineCountsTheSharesOfOtherTenants() throws {
        let (talk, _) = try busy { pool in
            pool.holdTimeout = .seconds(60)
            pool.tenants += [.init(name: "a"), .init(name: "b")]
        }
        for id in 1...100 { talk.ask(UInt64(id), tenant: "a") }
        talk.pass(.milliseconds(1))
        talk.ask(201, budget: .seconds(1), tenant: "b")
        talk.clear()
        talk.pass(.seconds(1))
        // One of a's is as far on as it, and came earlier; the other ninety-nine are not before it.
        #expect(talk.refusals.map(\.position) == [2])
    }

    @Test func retryAfterIsShortForWhoeverIsUrgent() throws {
        let talk = Dialogue(policy { ($0.maxQueued, $0.holdTimeout) = (10, .seconds(600)) })
        talk.upsert(worker(1))
        var lease = try talk.lease(1).lease
        for id in 2...12 {
            talk.ask(UInt64(id))
            talk.pass(.seconds(3))
            talk.clear()
            talk.release(lease)
            lease = talk.grants[0].lease
        }
        for id in 20...29 { talk.ask(UInt64(id)) }
        talk.clear()
        talk.ask(40)
        talk.ask(41, urgency: 0)
        #expect(talk.refusals.map(\.retryAfter) == [.seconds(33), .seconds(3)])
    }

    // Reserve.

    @Test func theReserveIsForTheMostUrgentAndForThoseWhoHaveBecomeSo() throws {
        let talk = Dialogue(policy { ($0.reserve, $0.ageAfter) = (1, .seconds(5)) })
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        guard case .granted(let first) = talk.ask(1) else { return #expect(Bool(false), "no lease") }
        #expect(talk.ask(2, urgency: 1) == .held)
        #expect(talk.state.free == 1)
        guard case .granted = talk.ask(3, urgency: 0) else { return #expect(Bool(false), "the reserve was kept from urgency 0") }
        talk.release(first.lease)
        #expect(talk.state.free == 1 && talk.state.queued == 1)
        talk.clear()
        talk.pass(.milliseconds(4_999))
        #expect(talk.grants.isEmpty)
        talk.pass(.milliseconds(1))
        #expect(talk.grantedTickets == [2])
    }

    // Reload.

    @Test func aReloadKeepsEveryTicketAndCountsItForItsTenant() throws {
        let (talk, lease) = try busy { $0.tenants += [.init(name: "acme", weight: 2), .init(name: "bolt")] }
        talk.ask(1, tenant: "acme")
        talk.ask(2, tenant: "bolt")
        talk.ask(3)
        var changed = talk.policies[0]
        changed.tenants = [.standard, .init(name: "cord"), .init(name: "acme", maxQueued: 1)]
        talk.say(.policiesChanged([changed]))
        #expect(talk.state.tenants.map(\.queued) == [2, 0, 1] && talk.state.tenants[0].leased == 1)
        #expect(talk.ask(4, tenant: "acme") == .refused(.tenantLimit))
        talk.clear()
        var open = lease
        for _ in 1...3 {
            talk.release(open)
            open = try #require(talk.grants.last).lease
        }
        #expect(Set(talk.grantedTickets) == [1, 2, 3])
        talk.release(open)
        #expect(talk.state.tenants.allSatisfy { $0.queued == 0 && $0.leased == 0 } && talk.state.queuedByUrgency == .zero)
    }
}
