import KeeperCore
import Model
import Testing
import Wire

@Suite struct DrainTests {
    @Test(arguments: ["uid-1", "worker-1", "10.0.0.1:8080", "10.0.0.1"])
    func theOperatorNamesAnEndpointByUIDNameOrAddress(text: String) {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        #expect(talk.say(.operated(.drain(endpoint: text, pool: nil))).contains(.operated(count: 1)))
        #expect(talk.endpointState(worker(1)) == .draining)
        #expect(talk.endpointState(worker(2)) == .free)
    }

    @Test func whatNobodyIsCalledAppliesToNothing() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        #expect(talk.say(.operated(.drain(endpoint: "nobody", pool: nil))) == [.operated(count: 0)])
        #expect(talk.say(.operated(.drain(endpoint: "uid-1", pool: PoolID(name: "elsewhere")))) == [.operated(count: 0)])
        #expect(talk.say(.operated(.pause(PoolID(name: "elsewhere"), refuse: false))) == [.operated(count: 0)])
    }

    @Test func aDrainedEndpointTakesNothingNewAndDrainsWhenItsLeasesEnd() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.say(.operated(.drain(endpoint: "uid-1", pool: nil)))
        #expect(talk.endpointState(worker(1)) == .leased)
        talk.ask(2)
        talk.clear()
        talk.release(lease)
        #expect(talk.grants.isEmpty)
        #expect(talk.endpointState(worker(1)) == .draining)
        talk.say(.operated(.undrain(endpoint: "uid-1", pool: nil)))
        #expect(talk.grantedTickets == [2])
    }

    @Test func theScalerHearsDrainedAtOnceForAFreeEndpoint() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1, local: true))
        talk.say(.scaling(.drain(worker(1).id)))
        #expect(talk.drained == [worker(1).id])
        #expect(talk.ask(1) == .held)
        talk.say(.scaling(.undrain(worker(1).id)))
        #expect(talk.grantedTickets == [1])
    }

    @Test func theScalerHearsDrainedWhenTheLastLeaseEnds() throws {
        let talk = Dialogue(policy { $0.slots = 2 })
        talk.upsert(worker(1, local: true))
        let first = try talk.lease(1).lease
        let second = try talk.lease(2).lease
        talk.say(.scaling(.drain(worker(1).id)))
        talk.release(first)
        #expect(talk.drained.isEmpty)
        talk.release(second, .busy)
        #expect(talk.drained == [worker(1).id])
    }

    @Test func undrainBeforeTheLastLeaseEndsTakesTheWordBack() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1, local: true))
        let lease = try talk.lease(1).lease
        talk.say(.scaling(.drain(worker(1).id)))
        talk.say(.scaling(.undrain(worker(1).id)))
        talk.release(lease)
        #expect(talk.drained.isEmpty)
        #expect(talk.state.free == 1)
    }

    @Test func drainingWhatNobodyKnowsIsDone() {
        let talk = Dialogue(policy())
        talk.say(.scaling(.drain(worker(9).id)))
        #expect(talk.drained == [worker(9).id])
    }

    @Test func askingAgainAnswersAgain() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1, local: true))
        talk.say(.scaling(.drain(worker(1).id)))
        talk.say(.scaling(.drain(worker(1).id)))
        #expect(talk.drained == [worker(1).id, worker(1).id])
    }

    @Test func drainIdleTakesLocalEndpointsTheLongestIdleFirst() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(9))
        for n in 1...4 {
            talk.upsert(worker(UInt64(n), local: true))
            talk.pass(.seconds(1))
        }
        let order: [PoolPolicy] = [policy { $0.order = .pack }]
        talk.say(.policiesChanged(order))
        talk.pass(.seconds(26))
        talk.say(.scaling(.drainIdle(pool: talk.pool, idleFor: .seconds(28), most: 10)))
        #expect(talk.drained == [worker(1).id, worker(2).id, worker(3).id])
        talk.clear()
        talk.pass(.seconds(5))
        talk.say(.scaling(.drainIdle(pool: talk.pool, idleFor: .seconds(28), most: 10)))
        #expect(talk.drained == [worker(4).id])
    }

    @Test func drainIdleNeverTakesOneThatIsLeasedAndNoMoreThanAsked() throws {
        let talk = Dialogue(policy())
        for n in 1...3 { talk.upsert(worker(UInt64(n), local: true)) }
        let lease = try talk.lease(1)
        talk.pass(.seconds(60))
        talk.say(.scaling(.drainIdle(pool: talk.pool, idleFor: .seconds(30), most: 1)))
        #expect(talk.drained.count == 1 && talk.drained[0] != lease.endpoint)
        talk.say(.scaling(.drainIdle(pool: talk.pool, idleFor: .seconds(30), most: 5)))
        #expect(talk.drained.count == 2 && !talk.drained.contains(lease.endpoint))
        talk.release(lease.lease)
        talk.say(.scaling(.drainIdle(pool: talk.pool, idleFor: .seconds(30), most: 5)))
        #expect(talk.drained.count == 2)
    }

    @Test func aDrainOfTheOperatorOutlivesTheScalersUndrain() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1, local: true))
        talk.say(.operated(.drain(endpoint: "uid-1", pool: nil)))
        talk.say(.scaling(.drain(worker(1).id)))
        talk.say(.scaling(.undrain(worker(1).id)))
        #expect(talk.endpointState(worker(1)) == .draining)
    }

    @Test func aDrainOfTheOperatorHoldsThoughItsEndpointVanishesForAMoment() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.say(.operated(.drain(endpoint: "uid-1", pool: nil)))
        talk.remove(worker(1))
        #expect(talk.endpointState(worker(1)) == nil && talk.keeper.heldBack.drained == [worker(1).id])
        talk.upsert(worker(1))
        #expect(talk.endpointState(worker(1)) == .draining)
        talk.remove(worker(1))
        #expect(talk.say(.operated(.undrain(endpoint: worker(1).id.description, pool: nil))).contains(.operated(count: 1)))
        talk.upsert(worker(1))
        #expect(talk.endpointState(worker(1)) == .free)
    }

    @Test func whatTheOperatorHeldBackIsHeldBackByTheNext() {
        let shop = policy("shop")
        let talk = Dialogue(policy(), shop)
        talk.upsert(worker(1))
        talk.upsert(worker(2), in: shop.id)
        talk.say(.operated(.drain(endpoint: "uid-1", pool: nil)))
        talk.say(.operated(.pause(shop.id, refuse: true)))
        let heldBack = talk.keeper.heldBack
        #expect(heldBack == HeldBack(paused: [shop.id: true], drained: [worker(1).id]))

        let next = Dialogue(policy(), shop, heldBack: heldBack)
        next.snapshot([(next.pool, worker(1)), (shop.id, worker(2))])
        #expect(next.endpointState(worker(1)) == .draining && next.keeper.heldBack == heldBack)
        #expect(next.ask(1) == .held)
        #expect(next.ask(2, in: shop.id) == .refused(.paused))
        next.say(.operated(.undrain(endpoint: "uid-1", pool: nil)))
        next.say(.operated(.resume(shop.id)))
        #expect(next.grantedTickets == [1] && next.keeper.heldBack == HeldBack())
    }

    @Test func endpointsThatAreDrainedAndGoneAreBounded() {
        let talk = Dialogue(policy())
        for n in 0...UInt64(Keeper.Limits.drained) {
            talk.upsert(worker(n))
            talk.say(.operated(.drain(endpoint: "uid-\(n)", pool: nil)))
            if n > 0 { talk.remove(worker(n)) }
        }
        #expect(talk.keeper.heldBack.drained.count == 2, "the one that a source names, and the newest")
    }

    /// It may have been told `drained` already, and be about to stop the worker.
    @Test func aDrainOfTheScalerOutlivesTheOperatorsUndrain() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1, local: true))
        talk.say(.scaling(.drain(worker(1).id)))
        talk.say(.operated(.undrain(endpoint: "uid-1", pool: nil)))
        #expect(talk.endpointState(worker(1)) == .draining)
        #expect(talk.ask(1) == .held)
    }

    @Test(arguments: [Outcome.served, .lostBeforeResponse])
    func aLocalSingleUseWorkerThatHadItsLeaseIsTheScalersToStop(outcome: Outcome) throws {
        let talk = Dialogue(policy { $0.reuse = .never })
        talk.upsert(worker(1, local: true))
        talk.upsert(worker(2))
        talk.release(try talk.lease(1).lease, outcome)
        talk.release(try talk.lease(2).lease, outcome)
        #expect(talk.drained == [worker(1).id])
        // A scaler that was away asks for it back, and is told that it cannot have it.
        talk.clear()
        talk.say(.scaling(.undrain(worker(1).id)))
        #expect(talk.drained == [worker(1).id])
    }
}
