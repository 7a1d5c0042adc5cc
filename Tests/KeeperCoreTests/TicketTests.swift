import KeeperCore
import Model
import Testing
import Wire

@Suite struct TicketTests {
    @Test func aTicketIsGrantedAFreeEndpointAtOnce() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let grant = try talk.lease(1)
        #expect(grant.endpoint == worker(1).id)
        #expect(grant.address == worker(1).addresses[0])
        #expect(grant.pool == talk.pool)
        #expect(grant.dialBy == .seconds(2))
        #expect(talk.state.leased == 1 && talk.state.free == 0 && talk.state.demand == 1)
    }

    @Test func aTicketWithoutAnEndpointIsHeldAndServedByTheFirstThatAppears() {
        let talk = Dialogue(policy())
        #expect(talk.ask(1) == .held)
        #expect(talk.state.queued == 1 && talk.state.demand == 1)
        talk.pass(.seconds(5))
        #expect(talk.state.oldestWait == .seconds(5))
        talk.upsert(worker(1))
        #expect(talk.grantedTickets == [1])
        #expect(talk.state.queued == 0 && talk.state.oldestWait == .zero)
    }

    @Test func ticketsAreServedInOrderOfArrival() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        var lease = try talk.lease(1).lease
        for id in 2...6 { #expect(talk.ask(UInt64(id)) == .held) }
        var order: [UInt64] = []
        for _ in 2...6 {
            talk.clear()
            talk.release(lease)
            order += talk.grantedTickets
            lease = talk.grants[0].lease
        }
        #expect(order == [2, 3, 4, 5, 6])
    }

    @Test func arrivalIsTheTicketsAgeAndNotTheMomentItWasTold() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.ask(2, age: .milliseconds(10))
        talk.ask(3, age: .milliseconds(30))
        talk.ask(4, age: .milliseconds(20))
        talk.clear()
        talk.release(lease)
        talk.release(talk.grants[0].lease)
        talk.release(talk.grants[1].lease)
        #expect(talk.grantedTickets == [3, 4, 2])
    }

    @Test func ticketsOfOneArrivalAreServedAsTold() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        for id in [9, 3, 7] { talk.ask(UInt64(id), age: .seconds(1)) }
        talk.clear()
        talk.release(lease)
        talk.release(talk.grants[0].lease)
        talk.release(talk.grants[1].lease)
        #expect(talk.grantedTickets == [9, 3, 7])
    }

    @Test func aRequeuedTicketGoesBackToItsPlace() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        let first = try talk.lease(1)
        let second = try talk.lease(2)
        talk.pass(.milliseconds(100))
        talk.ask(3)
        talk.pass(.milliseconds(100))
        talk.request(.dialFailed(first.lease, .refused))
        #expect(talk.ask(1, age: .milliseconds(200), requeued: true) == .held)
        talk.clear()
        talk.release(second.lease)
        #expect(talk.grantedTickets == [1])
        #expect(talk.grants[0].endpoint == second.endpoint)
    }

    @Test(arguments: [Duration.milliseconds(1), .seconds(3), .seconds(29)])
    func aTicketsOwnBudgetEndsItsHold(budget: Duration) throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        _ = try talk.lease(1)
        talk.ask(2, budget: budget)
        talk.pass(budget - .nanoseconds(1))
        #expect(talk.refusals.isEmpty)
        talk.pass(.nanoseconds(1))
        #expect(talk.refusedTickets == [2])
        #expect(talk.refusals[0].reason == .holdTimeout)
        #expect(talk.state.queued == 0)
    }

    @Test func thePoolsBudgetHoldsWhereTheTicketHasNone() throws {
        let talk = Dialogue(policy { $0.holdTimeout = .seconds(4) })
        talk.upsert(worker(1))
        _ = try talk.lease(1)
        talk.ask(2)
        talk.ask(3, age: .seconds(1))
        talk.pass(.seconds(3))
        #expect(talk.refusedTickets == [3])
        talk.pass(.seconds(1))
        #expect(talk.refusedTickets == [3, 2])
    }

    @Test func theTimeAlreadyWaitedCountsAgainstTheBudget() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        _ = try talk.lease(1)
        #expect(talk.ask(2, age: .seconds(31)) == .refused(.holdTimeout))
        talk.ask(3, age: .seconds(29))
        talk.pass(.seconds(1))
        #expect(talk.refusedTickets == [2, 3])
    }

    @Test func mixedBudgetsEndEachAtItsOwnTime() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        _ = try talk.lease(1)
        talk.ask(2)
        talk.ask(3, budget: .seconds(10))
        talk.ask(4, budget: .seconds(5))
        talk.ask(5, budget: .seconds(60))
        talk.pass(.seconds(5))
        #expect(talk.refusedTickets == [4])
        talk.pass(.seconds(5))
        #expect(talk.refusedTickets == [4, 3])
        talk.pass(.seconds(20))
        #expect(talk.refusedTickets == [4, 3, 2])
        talk.pass(.seconds(30))
        #expect(talk.refusedTickets == [4, 3, 2, 5])
    }

    @Test func budgetZeroIsAnsweredAtOnceEitherWay() throws {
        let talk = Dialogue(policy())
        #expect(talk.ask(1, budget: .zero) == .refused(.noEndpoints))
        talk.upsert(worker(1))
        guard case .granted = talk.ask(2, budget: .zero) else { return #expect(Bool(false), "a free endpoint was not given") }
        #expect(talk.ask(3, budget: .zero) == .refused(.holdTimeout))
        #expect(talk.state.queued == 0)
    }

    @Test func whileNoEndpointExistsAnotherBudgetHolds() {
        let talk = Dialogue(policy { $0.noEndpointsTimeout = .seconds(60) })
        talk.ask(1)
        talk.pass(.seconds(59))
        #expect(talk.refusals.isEmpty)
        talk.pass(.seconds(1))
        #expect(talk.refusals.map(\.reason) == [.noEndpoints])
        #expect(talk.refusals[0].retryAfter != nil)
    }

    @Test func aShortNoEndpointsBudgetFailsFastAndEndsWhenAnEndpointAppears() {
        let talk = Dialogue(policy { $0.noEndpointsTimeout = .seconds(1) })
        talk.ask(1, budget: .seconds(20))
        talk.pass(.seconds(1))
        #expect(talk.refusals.map(\.reason) == [.noEndpoints])
        talk.clear()
        talk.ask(2)
        talk.upsert(worker(1, []))
        talk.pass(.seconds(29))
        #expect(talk.refusals.isEmpty)
        talk.pass(.seconds(1))
        #expect(talk.refusals.map(\.reason) == [.holdTimeout])
    }

    @Test func whenTheLastEndpointGoesTheNoEndpointsBudgetHoldsForThoseWhoWait() throws {
        let talk = Dialogue(policy { $0.noEndpointsTimeout = .seconds(2) })
        talk.upsert(worker(1, []))
        talk.ask(1)
        talk.pass(.seconds(5))
        talk.remove(worker(1))
        talk.pass(.zero)
        #expect(talk.refusals.map(\.reason) == [.noEndpoints])
    }

    @Test func theQueueIsBoundedAndSaysWhenToTryAgain() throws {
        let talk = Dialogue(policy { $0.maxQueued = 2 })
        talk.upsert(worker(1))
        _ = try talk.lease(1)
        #expect(talk.ask(2) == .held)
        #expect(talk.ask(3) == .held)
        #expect(talk.ask(4) == .refused(.queueFull))
        #expect(talk.refusals[0].queued == 2)
        #expect(talk.refusals[0].retryAfter.map { $0 >= .seconds(1) } == true)
    }

    @Test func aRequeuedTicketIsNeverRefusedForAFullQueue() throws {
        let talk = Dialogue(policy { $0.maxQueued = 0 })
        talk.upsert(worker(1))
        let grant = try talk.lease(1)
        #expect(talk.ask(2) == .refused(.queueFull))
        talk.request(.dialFailed(grant.lease, .refused))
        #expect(talk.ask(1, age: .milliseconds(1), requeued: true) == .held)
    }

    @Test func retryAfterFollowsTheMeasuredDrainRate() throws {
        let talk = Dialogue(policy { $0.maxQueued = 3 })
        talk.upsert(worker(1))
        var lease = try talk.lease(1).lease
        for id in 2...13 {
            talk.ask(UInt64(id))
            talk.pass(.seconds(2))
            talk.clear()
            talk.release(lease)
            lease = talk.grants[0].lease
        }
        for id in 20...22 { talk.ask(UInt64(id)) }
        talk.clear()
        talk.ask(23)
        #expect(talk.refusals.map(\.retryAfter) == [.seconds(8)])
    }

    @Test func aCancelGivesThePlaceBackAtOnce() throws {
        let talk = Dialogue(policy { $0.maxQueued = 1 })
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.ask(2)
        talk.request(.cancel(TicketID(rawValue: 2)))
        #expect(talk.state.queued == 0)
        #expect(talk.ask(3) == .held)
        talk.clear()
        talk.release(lease)
        #expect(talk.grantedTickets == [3])
    }

    @Test func aCancelThatCrossesAGrantIsARace() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let grant = try talk.lease(1)
        talk.request(.cancel(TicketID(rawValue: 1)))
        #expect(talk.races == [.lateCancel])
        talk.request(.unused(grant.lease))
        #expect(talk.state.free == 1)
    }

    @Test func aTicketToldTwiceIsThePeersFault() {
        let talk = Dialogue(policy())
        talk.ask(1)
        talk.ask(1)
        #expect(talk.closed == [.duplicateTicket])
        talk.ask(2)
        #expect(talk.races == [.lateRequest])
    }

    @Test func aTicketForAPoolThatNobodyConfiguredIsRefused() {
        let talk = Dialogue(policy())
        #expect(talk.ask(1, in: PoolID(name: "elsewhere")) == .refused(.noEndpoints))
    }

    @Test func pausedPoolsHoldTheirJobsUntilResumed() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.say(.operated(.pause(talk.pool, refuse: false)))
        #expect(talk.ask(1) == .held)
        #expect(talk.state.isPaused && talk.state.free == 1)
        talk.pass(.seconds(3))
        talk.say(.operated(.resume(talk.pool)))
        #expect(talk.grantedTickets == [1])
    }

    @Test func aBudgetThatEndsInAPausedPoolIsRefusedPaused() {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.say(.operated(.pause(talk.pool, refuse: false)))
        talk.ask(1)
        #expect(talk.ask(2, budget: .zero) == .refused(.paused))
        talk.pass(.seconds(30))
        #expect(talk.refusals.map(\.reason) == [.paused, .paused])
    }

    @Test func pauseWithRefuseAnswersThoseWhoWaitAndThoseWhoCome() {
        let talk = Dialogue(policy())
        talk.ask(1)
        talk.ask(2)
        talk.clear()
        talk.say(.operated(.pause(talk.pool, refuse: true)))
        #expect(talk.refusedTickets == [1, 2])
        #expect(talk.ask(3) == .refused(.paused))
        talk.say(.operated(.resume(talk.pool)))
        #expect(talk.ask(4) == .held)
    }

    @Test func aRequeuedTicketWhoseBudgetEndsIsRefusedDialFailed() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let grant = try talk.lease(1)
        talk.request(.dialFailed(grant.lease, .refused))
        talk.ask(1, age: .milliseconds(5), budget: .seconds(1), requeued: true)
        talk.pass(.seconds(1))
        #expect(talk.refusals.map(\.reason) == [.dialFailed])
    }

    @Test func noWaitOutlastsItsBudgetHoweverLateTheKeeperWakes() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.ask(2)
        talk.now = talk.now + .seconds(40)
        talk.clear()
        talk.release(lease)
        #expect(talk.grants.isEmpty)
        #expect(talk.refusedTickets == [2])
    }
}
