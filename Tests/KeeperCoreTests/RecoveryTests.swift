import KeeperCore
import Model
import Testing
import Wire

@Suite struct RecoveryTests {
    private func roster(_ instances: UInt64...) -> [RosterEntry] {
        instances.map { RosterEntry(instance: InstanceID(rawValue: $0), seat: "seat-\($0)") }
    }

    private func assertion(_ lease: LeaseID, _ pool: PoolID, _ endpoint: Endpoint, ending: Bool = false) -> LeasingRequest {
        .assertLease(
            AssertedLease(
                lease: lease, pool: pool, endpoint: endpoint.id, address: endpoint.addresses[0], age: .seconds(3), isEnding: ending))
    }

    private let old = LeaseID(epoch: 6, counter: 41)

    @Test func nothingIsGrantedBeforeAnEndpointsSnapshotIsComplete() {
        let talk = Dialogue(policy(), serving: false)
        let link = talk.connect(instance: 100)
        #expect(talk.ask(1, on: link) == .held)
        #expect(talk.state.isRecovering)
        talk.say(.endpoints(.source(SourceHealth(state: .live))))
        talk.say(.endpoints(.snapshotBegin(generation: 1)))
        talk.upsert(worker(1))
        #expect(talk.grants.isEmpty)
        talk.say(.endpoints(.snapshotEnd(generation: 1)))
        #expect(talk.grantedTickets == [1])
        #expect(!talk.state.isRecovering)
    }

    @Test func noEndpointBeforeTheFirstSnapshotIsNotAnEmptyPool() {
        let talk = Dialogue(
            policy {
                $0.holdTimeout = .seconds(20)
                $0.noEndpointsTimeout = .seconds(1)
            }, serving: false)
        let link = talk.connect(instance: 100)
        talk.ask(1, age: .seconds(5), on: link)
        talk.ask(2, age: .seconds(5), budget: .seconds(10), on: link)
        talk.pass(.seconds(4))
        #expect(talk.refusals.isEmpty)
        talk.pass(.seconds(1))
        #expect(talk.refusedTickets == [2])
        #expect(talk.refusals.map(\.reason) == [.keeperUnavailable])
        talk.snapshot()
        talk.pass(.zero)
        #expect(talk.refusals.map(\.reason) == [.keeperUnavailable, .noEndpoints])
    }

    /// Nobody knows yet whether they wait for a first endpoint, for which they may wait longer.
    @Test func beforeTheFirstSnapshotALongWaitGoesOn() {
        let talk = Dialogue(
            policy {
                $0.holdTimeout = .seconds(1)
                $0.noEndpointsTimeout = .seconds(60)
            }, serving: false)
        let link = talk.connect(instance: 100)
        talk.ask(1, age: .seconds(20), on: link)
        talk.pass(.seconds(10))
        #expect(talk.refusals.isEmpty)
        talk.snapshot()
        talk.pass(.seconds(29))
        #expect(talk.refusals.isEmpty)
        talk.pass(.seconds(1))
        #expect(talk.refusals.map(\.reason) == [.noEndpoints])
    }

    @Test func nothingIsGrantedBeforeEveryDispatcherOnTheRosterHasAsserted() {
        let talk = Dialogue(policy(), roster: roster(100, 200), serving: false)
        talk.snapshot([(talk.pool, worker(1)), (talk.pool, worker(2))])
        let first = talk.connect(instance: 100)
        #expect(talk.ask(1, on: first) == .held)
        #expect(talk.keeper.unasserted.map(\.instance.rawValue) == [200])
        let second = talk.connect(instance: 200, asserting: true)
        #expect(talk.grants.isEmpty)
        talk.request(.asserted, on: second)
        #expect(talk.grantedTickets == [1])
        #expect(talk.keeper.unasserted.isEmpty)
    }

    @Test func aDispatcherThatLivesAndHasNotAssertedIsWaitedForWithoutATimer() {
        let talk = Dialogue(policy { $0.holdTimeout = .seconds(10_000) }, roster: roster(100, 200), serving: false)
        talk.snapshot([(talk.pool, worker(1))])
        let link = talk.connect(instance: 100)
        talk.ask(1, on: link)
        talk.pass(.seconds(3600))
        #expect(talk.grants.isEmpty && talk.state.isRecovering)
    }

    /// Nobody knows what it held, and its workers may go on for `abandon`.
    @Test(arguments: [1, 3]) func aDispatcherThatIsDeadIsWaitedForAsLongAsItsWorkersMayGoOn(abandon: Int) {
        let talk = Dialogue(policy { $0.abandon = .seconds(abandon) }, roster: roster(100, 200), serving: false)
        talk.snapshot([(talk.pool, worker(1))])
        let link = talk.connect(instance: 100)
        talk.ask(1, on: link)
        talk.say(.dispatcherDied(InstanceID(rawValue: 200)))
        talk.pass(.seconds(max(2, abandon)) - .nanoseconds(1))
        #expect(talk.grants.isEmpty && talk.keeper.roster.count == 2)
        talk.pass(.nanoseconds(1))
        #expect(talk.grantedTickets == [1] && talk.keeper.roster.count == 1)
    }

    @Test func aStopInOrderLeavesBehindThoseWhoHoldSomethingAndThoseWhoHaveNotTold() {
        let talk = Dialogue(policy(), roster: roster(300), serving: false)
        talk.snapshot([(talk.pool, worker(1)), (talk.pool, worker(2))])
        let idle = talk.connect(instance: 100)
        let busy = talk.connect(instance: 200)
        #expect(talk.keeper.rosterAtStop.map(\.instance.rawValue) == [300], "nobody knows what it holds")
        talk.connect(instance: 300)
        talk.ask(1, on: busy)
        _ = talk.connect(instance: 400, asserting: true)
        #expect(talk.keeper.rosterAtStop.map(\.instance.rawValue) == [200], "400 was on no roster, so it has nothing to tell")
        talk.request(.release(talk.grants[0].lease, .served), on: busy)
        talk.ask(1, on: idle)
        #expect(talk.keeper.rosterAtStop.map(\.instance.rawValue) == [100])
        talk.say(.dispatcherLinkEnded(busy))
        #expect(talk.keeper.rosterAtStop.map(\.instance.rawValue) == [100], "one that is ending, too, has told and holds nothing")
    }

    @Test func aBudgetThatEndsDuringRecoverySaysThatTheKeeperWasNotThere() {
        let talk = Dialogue(policy(), roster: roster(200), serving: false)
        let link = talk.connect(instance: 100)
        #expect(talk.ask(1, budget: .zero, on: link) == .refused(.keeperUnavailable))
        talk.ask(2, budget: .seconds(1), on: link)
        talk.pass(.seconds(1))
        #expect(talk.refusals.map(\.reason) == [.keeperUnavailable, .keeperUnavailable])
    }

    @Test func assertedLeasesComeFirstAndTicketsInTheirOriginalOrder() {
        let talk = Dialogue(policy(), roster: roster(100, 200), serving: false)
        let a = talk.connect(instance: 100, asserting: true)
        talk.request(assertion(old, talk.pool, worker(1)), on: a)
        talk.ask(1, age: .seconds(4), on: a)
        talk.ask(2, age: .seconds(2), on: a)
        talk.request(.asserted, on: a)
        let b = talk.connect(instance: 200, asserting: true)
        talk.ask(1, age: .seconds(3), on: b)
        talk.ask(2, age: .seconds(5), on: b)
        talk.request(.asserted, on: b)
        talk.snapshot([(talk.pool, worker(1)), (talk.pool, worker(2)), (talk.pool, worker(3))])
        #expect(talk.state.leased == 3 && talk.state.leases == 3)
        #expect(talk.grants.map(\.endpoint).contains(worker(1).id) == false)
        let order = talk.actions.compactMap { action -> String? in
            if case .reply(let link, .grant(let grant)) = action { "\(link.rawValue).\(grant.ticket.rawValue)" } else { nil }
        }
        #expect(order == ["\(b.rawValue).2", "\(a.rawValue).1"])
    }

    @Test func ticketsToldAgainAreNotRefusedForAFullQueue() {
        let talk = Dialogue(policy { $0.maxQueued = 1 }, roster: roster(100), serving: false)
        let link = talk.connect(instance: 100, asserting: true)
        for id in 1...5 { #expect(talk.ask(UInt64(id), on: link) == .held) }
        talk.request(.asserted, on: link)
        #expect(talk.refusals.isEmpty && talk.state.queued == 5)
        talk.snapshot()
        #expect(talk.ask(6, on: link) == .refused(.queueFull))
    }

    @Test func anAssertedLeaseOnAnUnknownEndpointKeepsItLeased() {
        let talk = Dialogue(policy(), roster: roster(100), serving: false)
        let link = talk.connect(instance: 100, asserting: true)
        talk.request(assertion(old, talk.pool, worker(1)), on: link)
        talk.request(.asserted, on: link)
        talk.snapshot()
        #expect(talk.state.leased == 1 && talk.state.demand == 1)
        #expect(talk.notices.contains(.unknownEndpoint(worker(1).id, old)))
        talk.upsert(worker(1))
        #expect(talk.ask(1, on: link) == .held)
        talk.release(old, on: link)
        #expect(talk.grantedTickets == [1])
    }

    @Test func aGhostIsGoneWhenItsLeaseEnds() {
        let talk = Dialogue(policy(), roster: roster(100), serving: false)
        let link = talk.connect(instance: 100, asserting: true)
        talk.request(assertion(old, talk.pool, worker(1), ending: true), on: link)
        talk.request(.asserted, on: link)
        talk.snapshot()
        #expect(talk.state.ending == 1)
        talk.release(old, .abandoned, on: link)
        #expect(talk.state.total == 0)
    }

    @Test func conflictingAssertionsBothCountAndNothingNewIsGranted() {
        let talk = Dialogue(policy(), roster: roster(100, 200), serving: false)
        let newer = LeaseID(epoch: 6, counter: 50)
        let a = talk.connect(instance: 100, asserting: true)
        talk.request(assertion(old, talk.pool, worker(1)), on: a)
        talk.request(.asserted, on: a)
        let b = talk.connect(instance: 200, asserting: true)
        talk.request(assertion(newer, talk.pool, worker(1)), on: b)
        talk.request(.asserted, on: b)
        talk.snapshot([(talk.pool, worker(1))])
        #expect(talk.notices.contains(.conflict(worker(1).id, newer, open: 2)))
        #expect(talk.ask(1, on: a) == .held)
        talk.release(newer, on: b)
        #expect(talk.grants.isEmpty)
        talk.release(old, on: a)
        #expect(talk.grantedTickets == [1])
    }

    @Test func tokensOfANewStartAreNewerThanThoseAsserted() throws {
        let talk = Dialogue(policy(), roster: roster(100), serving: false)
        let link = talk.connect(instance: 100, asserting: true)
        let future = LeaseID(epoch: 900, counter: 5)
        talk.request(assertion(future, talk.pool, worker(1)), on: link)
        talk.request(.asserted, on: link)
        talk.snapshot([(talk.pool, worker(1)), (talk.pool, worker(2))])
        #expect(try talk.lease(1, on: link).lease > future)
    }

    @Test func anImpossibleTokenIsThePeersFault() {
        let talk = Dialogue(policy(), serving: false)
        let link = talk.connect(instance: 100, asserting: true)
        talk.request(assertion(LeaseID(epoch: .max, counter: .max), talk.pool, worker(1)), on: link)
        #expect(talk.closed == [.impossibleToken])
    }

    @Test func aLinkThatEndsSuspendsItsTicketsAndKeepsItsLeases() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.ask(2)
        let other = talk.connect(instance: 200)
        talk.ask(3, on: other)
        talk.say(.dispatcherLinkEnded(Dialogue.firstLink))
        #expect(talk.state.leased == 1 && talk.state.queued == 2)
        talk.upsert(worker(2))
        #expect(talk.grantedTickets == [1, 3])
        talk.pass(.seconds(1))
        let again = talk.connect(instance: 100, asserting: true)
        talk.request(assertion(lease, talk.pool, worker(1)), on: again)
        talk.ask(2, age: .seconds(1), on: again)
        talk.request(.asserted, on: again)
        talk.clear()
        talk.release(lease, on: again)
        #expect(talk.grantedTickets == [2])
    }

    @Test func aTicketToldAgainKeepsItsPlaceExactly() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let other = talk.connect(instance: 200)
        let lease = try talk.lease(1, on: other).lease
        talk.ask(2)
        talk.pass(.nanoseconds(10))
        talk.ask(3, on: other)
        talk.say(.dispatcherLinkEnded(Dialogue.firstLink))
        let again = talk.connect(instance: 100, asserting: true)
        // The age has lost its nanoseconds, and some time, on the way.
        talk.ask(2, age: .zero, on: again)
        talk.request(.asserted, on: again)
        talk.clear()
        talk.release(lease, on: other)
        #expect(talk.grantedTickets == [2])
    }

    @Test func whatIsNotToldAgainAfterAReconnectIsOver() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.ask(2)
        talk.say(.dispatcherLinkEnded(Dialogue.firstLink))
        let again = talk.connect(instance: 100)
        #expect(talk.state.queued == 0 && talk.state.leases == 0)
        // Nobody says how its job ended: it is set aside, not free.
        #expect(talk.endpointState(worker(1)) == .quarantined)
        talk.clear()
        talk.request(assertion(lease, talk.pool, worker(1)), on: again)
        #expect(talk.revoked == [lease])
    }

    @Test func aSecondLinkOfOneInstanceEndsTheFirst() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        let second = talk.connect(instance: 100, asserting: true)
        #expect(talk.closed == [.superseded])
        talk.request(assertion(lease, talk.pool, worker(1)), on: second)
        talk.request(.asserted, on: second)
        #expect(talk.state.leased == 1)
        talk.release(lease, on: second)
        #expect(talk.state.free == 1)
    }

    @Test func deathDropsTheTicketsAndQuarantinesTheEndpoints() throws {
        let talk = Dialogue(policy { $0.holdTimeout = .seconds(60) })
        talk.upsert(worker(1))
        let other = talk.connect(instance: 200)
        _ = try talk.lease(1)
        talk.ask(2)
        talk.ask(3, on: other)
        talk.clear()
        talk.say(.dispatcherDied(InstanceID(rawValue: 100)))
        #expect(talk.state.queued == 1 && talk.state.quarantined == 1 && talk.state.leases == 0)
        #expect(talk.grants.isEmpty)
        // Whatever its readiness says: nobody has seen the end of the job.
        talk.pass(.seconds(10))
        talk.upsert(worker(1, []))
        talk.upsert(worker(1))
        talk.pass(.seconds(20) - .nanoseconds(1))
        #expect(talk.grants.isEmpty)
        talk.pass(.nanoseconds(1))
        #expect(talk.grantedTickets == [3])
    }

    @Test func whoDiesWithoutALeaseLeavesTheRosterAtOnce() {
        let talk = Dialogue(policy())
        talk.clear()
        talk.say(.dispatcherDied(InstanceID(rawValue: 100)))
        #expect(talk.keeper.roster.isEmpty && talk.actions.contains(.rosterChanged))
    }

    /// Its first release may have been lost with the link, or with the pool-keeper that heard it.
    @Test func aLeaseThatWasCutIsToldAndReleasedAgain() {
        let talk = Dialogue(policy(), roster: roster(100), serving: false)
        talk.snapshot([(talk.pool, worker(1))])
        let link = talk.connect(instance: 100, asserting: true)
        talk.request(assertion(old, talk.pool, worker(1), ending: true), on: link)
        talk.request(.ticket(Ticket(id: TicketID(rawValue: 1), pool: talk.pool)), on: link)
        talk.request(.asserted, on: link)
        talk.request(.release(old, .endingTimeout), on: link)
        #expect(talk.grants.isEmpty && talk.state.quarantined == 1)
        talk.pass(.seconds(2))
        #expect(talk.grantedTickets == [1])
    }

    @Test func theLeasesOfTheDeadWaitForTheirSuccessor() throws {
        let talk = Dialogue(policy(), parameters: .init(epoch: 7, adoptWithin: .seconds(5)))
        talk.upsert(worker(1))
        let grant = try talk.lease(1)
        talk.request(.escrow(.worker(EscrowedWorker(lease: grant.lease, caller: .none, worker: .none))))
        talk.say(.dispatcherDied(InstanceID(rawValue: 100)))
        talk.pass(.seconds(5) - .nanoseconds(1))
        #expect(talk.state.leased == 1)
        talk.pass(.nanoseconds(1))
        #expect(talk.state.quarantined == 1)
        #expect(talk.keeper.roster.isEmpty)
        let late = talk.connect(instance: 300)
        talk.pass(.seconds(30))
        _ = try talk.lease(2, on: late)
    }

    @Test func theDeadDoNotSpeakAgain() {
        let talk = Dialogue(policy(), parameters: .init(epoch: 7, adoptWithin: .seconds(5)))
        talk.say(.dispatcherDied(InstanceID(rawValue: 100)))
        talk.ask(1)
        #expect(talk.races == [.lateRequest])
        talk.connect(instance: 100)
        #expect(talk.closed == [.dead])
    }

    @Test func theRosterChangesBeforeAnythingIsGrantedToANewDispatcher() {
        let talk = Dialogue(policy())
        talk.clear()
        talk.connect(instance: 200)
        #expect(talk.actions.first == .rosterChanged)
        #expect(talk.keeper.roster.map(\.instance.rawValue) == [100, 200])
        talk.clear()
        talk.say(.dispatcherLinkEnded(Dialogue.firstLink))
        talk.connect(instance: 100)
        #expect(!talk.actions.contains(.rosterChanged))
    }

    @Test func aDrainDuringRecoveryIsAnsweredWhenAllLeasesAreKnown() {
        let talk = Dialogue(policy(), roster: roster(100), serving: false)
        talk.snapshot([(talk.pool, worker(1, local: true)), (talk.pool, worker(2, local: true))])
        talk.say(.scaling(.drain(worker(1).id)))
        talk.say(.scaling(.drain(worker(2).id)))
        talk.say(.scaling(.drain(worker(3).id)))
        #expect(talk.drained.isEmpty)
        let link = talk.connect(instance: 100, asserting: true)
        talk.request(assertion(old, talk.pool, worker(1)), on: link)
        talk.request(.asserted, on: link)
        #expect(talk.drained == [worker(2).id, worker(3).id])
        talk.release(old, on: link)
        #expect(talk.drained == [worker(2).id, worker(3).id, worker(1).id])
    }

    @Test func aProbeToldAgainIsStillAProbe() {
        let talk = Dialogue(policy(), roster: roster(100), serving: false)
        let link = talk.connect(instance: 100, asserting: true)
        talk.request(
            .assertLease(
                AssertedLease(lease: old, pool: talk.pool, endpoint: worker(1).id, address: worker(1).addresses[0], isProbe: true)),
            on: link)
        talk.request(.asserted, on: link)
        talk.snapshot([(talk.pool, worker(1))])
        #expect(talk.state.leased == 1 && talk.state.demand == 0)
        talk.release(old, .probePassed, on: link)
        #expect(talk.state.free == 1)
    }
}
