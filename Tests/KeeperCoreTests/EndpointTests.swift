import KeeperCore
import Model
import Testing
import Wire

@Suite struct EndpointTests {
    static let conditions: [(Endpoint.Conditions, Bool)] = [
        (.ready, true), ([.ready, .serving], true), ([], false), (.serving, false), ([.ready, .terminating], false),
        ([.serving, .terminating], false),
    ]

    @Test(arguments: conditions)
    func onlyReadyEndpointsThatDoNotTerminateTakeWork(conditions: Endpoint.Conditions, takes: Bool) {
        let talk = Dialogue(policy())
        talk.upsert(worker(1, conditions))
        #expect((talk.ask(1) != .held) == takes)
        #expect(talk.state.unready == (takes ? 0 : 1))
    }

    @Test func aLeasedEndpointThatBlinksUnreadyStillRunsOneJob() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.ask(2)
        talk.clear()
        for _ in 1...3 {
            talk.upsert(worker(1, []))
            talk.upsert(worker(1))
        }
        #expect(talk.grants.isEmpty)
        #expect(talk.state.leased == 1)
        talk.release(lease)
        #expect(talk.grantedTickets == [2])
    }

    @Test func aLeasedEndpointThatVanishesStaysLeasedAndIsGoneAfterwards() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.remove(worker(1))
        #expect(talk.state.leased == 1 && talk.state.total == 1 && talk.state.demand == 1)
        talk.release(lease)
        #expect(talk.state.total == 0)
        #expect(talk.ask(2) == .held)
    }

    @Test func aLeasedEndpointThatVanishesAndComesBackStillRunsOneJob() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.remove(worker(1))
        talk.upsert(worker(1))
        #expect(talk.ask(2) == .held)
        #expect(talk.state.leased == 1 && talk.state.total == 1)
        talk.release(lease)
        #expect(talk.grantedTickets == [1, 2])
    }

    @Test func anotherPodOnTheSameAddressIsAnotherWorker() throws {
        let talk = Dialogue(policy())
        let old = worker(1)
        var new = worker(2)
        new.addresses = old.addresses
        talk.upsert(old)
        let lease = try talk.lease(1).lease
        talk.upsert(new)
        talk.remove(old)
        // Whether the old lease's dial reached the old pod or already the new one, nobody can know: it waits for that lease.
        #expect(talk.ask(2) == .held)
        talk.release(lease)
        #expect(talk.grants.last?.endpoint == new.id)
        #expect(talk.state.leased == 1 && talk.state.total == 1)
    }

    @Test func aLateRemoveOfTheOldPodDoesNotClearTheNew() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        _ = try talk.lease(1)
        _ = try talk.lease(2)
        talk.remove(worker(1))
        talk.remove(worker(1))
        #expect(talk.races == [.lateRemove])
        #expect(talk.state.leased == 2)
    }

    @Test func theSameUpsertTwiceChangesNothing() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(worker(1))
        #expect(talk.state.total == 1 && talk.state.free == 1)
        _ = try talk.lease(1)
        talk.upsert(worker(1))
        #expect(talk.state.leased == 1 && talk.ask(2) == .held)
    }

    @Test func aSnapshotCountsOnlyWhenItIsComplete() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.say(.endpoints(.snapshotBegin(generation: 9)))
        talk.upsert(worker(2))
        #expect(talk.state.total == 1)
        talk.say(.endpointsLost)
        talk.say(.endpoints(.snapshotEnd(generation: 9)))
        #expect(talk.state.total == 1)
        #expect(talk.endpointState(worker(1)) == .free)
    }

    @Test func aSnapshotIsAppliedAsADifference() throws {
        let talk = Dialogue(policy())
        for n in 1...3 { talk.upsert(worker(UInt64(n))) }
        let lease = try talk.lease(1).lease
        talk.snapshot([(talk.pool, worker(3)), (talk.pool, worker(4))])
        #expect(talk.state.leased == 1 && talk.state.free == 2 && talk.state.total == 3)
        talk.release(lease)
        #expect(talk.state.total == 2)
        #expect(talk.endpointState(worker(2)) == nil)
    }

    @Test func aSourceThatKnowsNothingIsNotAnEmptyOne() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.say(.endpoints(.source(SourceHealth(state: .unknown))))
        talk.say(.endpoints(.snapshotBegin(generation: 9)))
        talk.say(.endpoints(.snapshotEnd(generation: 9)))
        #expect(talk.state.free == 1)
    }

    @Test func losingTheWatcherRefusesNothing() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.say(.endpointsLost)
        talk.pass(.seconds(3600))
        _ = try talk.lease(1)
    }

    @Test func endpointsOfAPoolThatIsConfiguredLaterAreKeptForIt() throws {
        let talk = Dialogue(policy("old"))
        let new = PoolID(name: "new")
        talk.upsert(worker(1), in: new)
        #expect(talk.keeper.state(of: new, at: talk.now) == nil)
        talk.say(.policiesChanged([policy("old"), policy("new")]))
        #expect(talk.state(of: new).free == 1)
        _ = try talk.lease(1, in: new)
    }

    @Test func aReloadThatDropsAPoolRefusesItsJobsAndKeepsItsLeases() throws {
        let talk = Dialogue(policy("old"), policy("new"))
        let old = PoolID(name: "old")
        talk.upsert(worker(1), in: old)
        talk.upsert(worker(1), in: PoolID(name: "new"))
        let lease = try talk.lease(1, in: old).lease
        talk.ask(2, in: old)
        talk.clear()
        talk.say(.policiesChanged([policy("new")]))
        #expect(talk.refusedTickets == [2])
        #expect(talk.actions.contains(.poolChanged(old)))
        #expect(talk.keeper.state(of: old, at: talk.now) == nil)
        #expect(talk.ask(3, in: PoolID(name: "new")) == .held)
        talk.release(lease)
        #expect(talk.grantedTickets == [3])
    }

    @Test func aReloadChangesBudgetsOfThoseWhoWait() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1, []))
        talk.ask(1)
        talk.pass(.seconds(5))
        talk.say(.policiesChanged([policy { $0.holdTimeout = .seconds(6) }]))
        talk.pass(.seconds(1))
        #expect(talk.refusedTickets == [1])
    }

    @Test func aReloadThatGivesMoreSlotsServesThoseWhoWait() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        _ = try talk.lease(1)
        talk.ask(2)
        talk.say(.policiesChanged([policy { $0.slots = 2 }]))
        #expect(talk.grantedTickets == [1, 2])
    }

    @Test func stateCountsRemoteEndpointsApart() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(worker(2, local: true))
        talk.upsert(worker(3, []))
        #expect(talk.state.remote == 1)
        talk.upsert(worker(2))
        #expect(talk.state.remote == 2)
        talk.say(.operated(.drain(endpoint: "uid-1", pool: nil)))
        #expect(talk.state.remote == 1)
    }
}
