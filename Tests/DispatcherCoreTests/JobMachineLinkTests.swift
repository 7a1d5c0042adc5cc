import DispatcherCore
import Model
import Testing
import Wire

/// The pool-keeper goes and comes back.
@Suite struct JobMachineLinkTests {
    @Test func withoutThePoolKeeperJobsWaitAndAreToldOnceItIsThere() {
        var talk = JobTalk(up: false)
        var said: [String] = []
        _ = talk.arrive(said: &said)
        #expect(said == [])
        talk.pass(.seconds(3))
        #expect(talk.say(.keeperUp) == ["ticket 0 aged 3.0 seconds", "asserted"])
    }

    @Test func aNewLinkIsToldEveryLeaseThenEveryTicketOldestFirstThenTheEnd() {
        var talk = JobTalk()
        let waiting = talk.arrive()
        talk.pass(.seconds(1))
        let probe = talk.machine.reserve()
        _ = talk.probe(probe)
        let dialing = talk.job(in: .dialing)
        let serving = talk.job(in: .serving)
        let ending = talk.job(in: .ending)
        talk.pass(.seconds(1))
        // Its slot is used again by the youngest, which waits at the end of the line.
        _ = talk.say(.callerLeft(waiting, reachedWorker: false))
        let requeued = talk.job(in: .dialing)
        _ = talk.say(.dialFailed(requeued, .refused))
        #expect(requeued.slot == waiting.slot && Set([dialing, serving, ending]).count == 3)
        _ = talk.arrive()
        talk.pass(.seconds(1))
        _ = talk.say(.keeperDown)
        #expect(
            talk.say(.keeperUp) == [
                "assert 7.1 aged 2.0 seconds probe", "assert 7.2 aged 2.0 seconds", "assert 7.3 aged 2.0 seconds",
                "assert 7.4 aged 2.0 seconds ending", "ticket 0 aged 1.0 seconds again", "ticket 5 aged 1.0 seconds", "asserted",
            ])
    }

    @Test func ticketsAreToldInOrderOfArrivalWhateverTheirSlots() {
        var talk = JobTalk()
        let first = talk.arrive()
        talk.pass(.seconds(1))
        _ = talk.arrive()
        _ = talk.say(.callerLeft(first, reachedWorker: false))
        talk.pass(.seconds(1))
        _ = talk.arrive()
        _ = talk.say(.keeperDown)
        #expect(talk.say(.keeperUp) == ["ticket 1 aged 1.0 seconds", "ticket 0 aged 0.0 seconds", "asserted"])
    }

    @Test func aCallerThatLeavesTheLineMeanwhileIsNotToldOf() {
        var talk = JobTalk()
        let id = talk.arrive()
        _ = talk.say(.keeperDown)
        #expect(talk.say(.callerLeft(id, reachedWorker: false)) == [])
        #expect(talk.say(.keeperUp) == ["asserted"])
    }

    @Test func sessionsEndMeanwhileAndAreNotAssertedAnyMore() {
        var talk = JobTalk()
        let id = talk.job(in: .serving)
        _ = talk.say(.keeperDown)
        // The shell has no link to say it on.
        #expect(talk.say(.ended(id, .served)) == ["release 7.1 served"])
        #expect(talk.say(.keeperUp) == ["asserted"])
    }

    @Test(arguments: [Outcome.endingTimeout, .cut, .probeFailed])
    func aLeaseThatWasCutIsToldAgainForAsLongAsAQuarantine(outcome: Outcome) {
        var talk = JobTalk()
        let id = talk.job(in: .ending)
        talk.pass(.seconds(3))
        #expect(talk.say(.ended(id, outcome)) == ["release 7.1 \(outcome.name)"])
        for _ in 0..<2 {
            // Whether the first release was heard cannot be known.
            _ = talk.say(.keeperDown)
            talk.pass(.milliseconds(900))
            #expect(talk.say(.keeperUp).contains("release 7.1 \(outcome.name)"))
        }
        _ = talk.say(.keeperDown)
        talk.pass(.milliseconds(200))
        #expect(talk.say(.keeperUp) == ["asserted"])
    }

    @Test func aCutIsToldBehindTheEndOfEverythingElse() {
        var talk = JobTalk()
        let id = talk.job(in: .ending)
        _ = talk.arrive()
        _ = talk.say(.keeperDown)
        _ = talk.say(.ended(id, .cut))
        talk.pass(.seconds(1))
        let session = talk.job(in: .dialing)
        #expect(
            talk.say(.keeperUp) == [
                "assert ended 7.1 aged 1.0 seconds", "assert 7.2 aged 0.0 seconds", "ticket 1 aged 1.0 seconds", "asserted",
                "release 7.1 cut",
            ])
        // The pool-keeper may know that it is over, and says so.
        #expect(talk.say(.reply(.revoke(LeaseID(epoch: 7, counter: 1)))) == [])
        #expect(talk.machine[session] != nil)
    }

    @Test(arguments: [Outcome.served, .abandoned, .lostBeforeResponse, .busy])
    func aLeaseThatEndedOtherwiseIsNotToldAgain(outcome: Outcome) {
        var talk = JobTalk()
        let id = talk.job(in: .serving)
        _ = talk.say(.ended(id, outcome))
        _ = talk.say(.keeperDown)
        #expect(talk.say(.keeperUp) == ["asserted"])
    }

    @Test func aDialThatFailsMeanwhileIsToldAsATicket() {
        var talk = JobTalk()
        let id = talk.job(in: .dialing)
        _ = talk.say(.keeperDown)
        #expect(talk.say(.dialFailed(id, .refused)) == ["dial failed 7.1 refused"])
        #expect(talk.say(.keeperUp) == ["ticket 0 aged 0.0 seconds again", "asserted"])
    }

    // MARK: Bounds and deadlines

    @Test func thePoolKeeperKeepsTheHoldDeadlineWhileItIsThere() {
        var talk = JobTalk()
        let id = talk.arrive()
        talk.pass(.seconds(100))
        #expect(talk.say(.holdExpired(id)) == [])
        _ = talk.say(.keeperDown)
        #expect(talk.say(.holdExpired(id)) == ["refuse 0 keeper-unavailable"])
        #expect(talk.machine[id] == nil)
    }

    @Test func aJobWithALeaseDoesNotExpire() {
        var talk = JobTalk()
        let id = talk.job(in: .dialing)
        _ = talk.say(.keeperDown)
        #expect(talk.say(.holdExpired(id)) == [])
    }

    @Test func withoutThePoolKeeperTheLineIsBoundedHere() {
        var talk = JobTalk(up: false) { $0.maxQueued = 2 }
        var said: [String] = []
        let ids = (0..<2).map { _ in talk.arrive(said: &said) }
        #expect(said == [])
        _ = talk.arrive(said: &said)
        #expect(said == ["refuse 2 queue-full"])
        _ = talk.say(.callerLeft(ids[0], reachedWorker: false))
        _ = talk.arrive(said: &said)
        #expect(said == [] && talk.machine.waiting(in: JobTalk.pool) == 2)
    }

    @Test func withThePoolKeeperTheBoundIsItsOwn() {
        var talk = JobTalk { $0.maxQueued = 0 }
        var said: [String] = []
        _ = talk.arrive(said: &said)
        #expect(said == ["ticket 0 aged 0.0 seconds"])
    }

    @Test func aRequeuedJobIsNeverTurnedAwayByTheBound() {
        var talk = JobTalk { $0.maxQueued = 0 }
        let id = talk.job(in: .dialing)
        _ = talk.say(.keeperDown)
        _ = talk.say(.dialFailed(id, .refused))
        #expect(talk.machine[id]?.phase == .waiting)
    }

    // MARK: Configuration

    @Test func aReloadChangesTheBudgetOfThoseWhoWait() {
        var talk = JobTalk()
        let id = talk.arrive()
        #expect(talk.machine.budget(of: id) == .seconds(30))
        var policy = PoolPolicy(name: "browsers")
        policy.holdTimeout = .seconds(5)
        #expect(talk.say(.policiesChanged([policy])) == [])
        #expect(talk.machine.budget(of: id) == .seconds(5) && talk.machine.waiting(in: JobTalk.pool) == 1)
    }

    @Test func aJobOfAPoolThatIsGoneEndsLikeAnyOther() {
        var talk = JobTalk()
        let id = talk.job(in: .serving)
        let waiting = talk.arrive()
        _ = talk.say(.policiesChanged([PoolPolicy(name: "others")]))
        #expect(talk.say(.ended(id, .served)) == ["release 7.1 served"])
        #expect(talk.refuse(waiting, .noEndpoints) == ["refuse 1 no-endpoints"])
    }

    @Test func aJobOfAPoolThatIsNotKnownYetIsCountedOnceItIs() {
        var talk = JobTalk()
        var said: [String] = []
        let id = talk.arrive(JobRequest(pool: PoolID(name: "others")), said: &said)
        #expect(said == ["ticket 0 aged 0.0 seconds"])
        _ = talk.say(.policiesChanged([PoolPolicy(name: "others")]))
        #expect(talk.machine.waiting(in: PoolID(name: "others")) == 1)
        _ = talk.say(.callerLeft(id, reachedWorker: false))
        #expect(talk.machine.waitingJobs == 0)
    }

    @Test func withoutThePoolKeeperNobodyWaitsForAPoolThatIsNotKnown() {
        var talk = JobTalk(up: false)
        var said: [String] = []
        _ = talk.arrive(JobRequest(pool: PoolID(name: "others")), said: &said)
        #expect(said == ["refuse 0 queue-full"])
    }
}
