import DispatcherCore
import Model
import Testing
import Wire

/// The life of a job, one rule a test. Leases are 7.1, 7.2, …; jobs are named by their slot.
@Suite struct JobMachineTests {
    @Test func aJobIsTicketedDialledServedAndReleased() {
        var talk = JobTalk()
        var said: [String] = []
        let id = talk.arrive(said: &said)
        #expect(said == ["ticket 0 aged 0.0 seconds"])
        talk.pass(.milliseconds(30))
        #expect(talk.grant(id) == ["dial 0 at 10.0.0.1:8080 by 2.0 seconds"])
        #expect(talk.machine[id]?.phase == .dialing)
        #expect(talk.say(.dialed(id)) == [])
        #expect(talk.machine[id]?.phase == .serving)
        #expect(talk.say(.ended(id, .served)) == ["release 7.1 served"])
        #expect(talk.machine[id] == nil && talk.machine.waitingJobs == 0)
    }

    @Test func aTicketSaysWhatTheJobAsksFor() throws {
        var talk = JobTalk()
        var said: [String] = []
        let urgency = try #require(Urgency(rawValue: 1))
        let request = JobRequest(
            pool: JobTalk.pool, budget: .seconds(4), urgency: urgency, tenant: "t", affinity: "a", bytes: 321)
        let id = talk.arrive(request, said: &said)
        talk.pass(.milliseconds(1500))
        #expect(
            talk.machine.ticket(of: id, at: talk.now)
                == Ticket(
                    id: id.ticket, pool: JobTalk.pool, age: .milliseconds(1500), budget: .seconds(4), urgency: urgency, tenant: "t",
                    affinity: "a", bytes: 321))
        #expect(talk.machine.budget(of: id) == .seconds(4))
    }

    @Test func aSlotThatIsUsedAgainHasAnotherName() {
        var talk = JobTalk()
        let first = talk.arrive()
        _ = talk.say(.callerLeft(first, reachedWorker: false))
        let second = talk.arrive()
        #expect(second.slot == first.slot && second.ticket != first.ticket)
        #expect(talk.machine[first] == nil && talk.machine[second] != nil)
        #expect(JobID(second.ticket) == second)
    }

    // MARK: The caller leaves

    @Test(arguments: [
        (JobPhase.waiting, false, ["cancel 0"], JobPhase.none),
        (.dialing, false, ["abandon 0", "unused 7.1"], .none),
        (.serving, false, ["abandon 0", "unused 7.1"], .none),
        (.serving, true, ["ending 7.1"], .ending),
        (.ending, true, [], .ending),
    ])
    func aCallerThatLeaves(in phase: JobPhase, reachedWorker: Bool, says: [String], leavesIt: JobPhase) {
        var talk = JobTalk()
        let id = talk.job(in: phase)
        #expect(talk.say(.callerLeft(id, reachedWorker: reachedWorker)) == says)
        #expect((talk.machine[id]?.phase ?? .none) == leavesIt)
    }

    @Test func aWorkerThatFinishesAloneEndsTheLease() {
        var talk = JobTalk()
        let id = talk.job(in: .ending)
        #expect(talk.say(.ended(id, .abandoned)) == ["release 7.1 abandoned"])
        #expect(talk.machine[id] == nil)
    }

    @Test func whatHappensToAJobThatIsOverIsARace() {
        var talk = JobTalk()
        let id = talk.job(in: .serving)
        _ = talk.say(.ended(id, .served))
        #expect(talk.say(.callerLeft(id, reachedWorker: true)) == [])
        #expect(talk.say(.dialed(id)) == [])
        #expect(talk.say(.dialFailed(id, .refused)) == [])
        #expect(talk.say(.turnedAway(id, .busy)) == [])
        #expect(talk.say(.ended(id, .served)) == [])
        #expect(talk.say(.holdExpired(id)) == [])
    }

    // MARK: The worker is not there

    @Test(arguments: DialFailure.allCases)
    func aFailedDialPutsTheJobBackInLineWithItsArrival(failure: DialFailure) {
        var talk = JobTalk()
        let id = talk.job(in: .dialing)
        talk.pass(.seconds(1))
        #expect(talk.say(.dialFailed(id, failure)) == ["dial failed 7.1 \(failure.name)", "ticket 0 aged 1.0 seconds again"])
        #expect(talk.machine[id]?.phase == .waiting && talk.machine.waiting(in: JobTalk.pool) == 1)
        talk.pass(.seconds(1))
        #expect(talk.grant(id) == ["dial 0 at 10.0.0.1:8080 by 2.0 seconds"])
    }

    @Test func theOtherAddressFamilyIsTriedUnderTheSameLease() {
        var talk = JobTalk()
        let id = talk.arrive()
        _ = talk.grant(id, alternate: JobTalk.alternate)
        #expect(talk.say(.dialFailed(id, .refused)) == ["dial 0 at [fd00::1]:8080 by never"])
        #expect(talk.machine.assertion(of: id, at: talk.now).address == JobTalk.alternate)
        #expect(talk.say(.dialFailed(id, .timedOut)) == ["dial failed 7.1 timed-out", "ticket 0 aged 0.0 seconds again"])
    }

    @Test func anAlternateOfOneGrantIsNotTriedUnderAnother() {
        var talk = JobTalk()
        let id = talk.arrive()
        _ = talk.grant(id, alternate: JobTalk.alternate)
        _ = talk.say(.dialFailed(id, .refused))
        _ = talk.say(.dialFailed(id, .refused))
        _ = talk.grant(id)
        #expect(talk.say(.dialFailed(id, .refused)) == ["dial failed 7.2 refused", "ticket 0 aged 0.0 seconds again"])
    }

    @Test(arguments: [Outcome.busy, .lostBeforeResponse])
    func aJobThatWasTurnedAwayGoesBackInLine(outcome: Outcome) {
        var talk = JobTalk()
        let id = talk.job(in: .serving)
        #expect(talk.say(.turnedAway(id, outcome)) == ["release 7.1 \(outcome.name)", "ticket 0 aged 0.0 seconds again"])
    }

    @Test func aGrantThatCameTooLateIsGivenBackUntouched() {
        var talk = JobTalk()
        let id = talk.job(in: .dialing)
        #expect(talk.say(.turnedAway(id, .unused)) == ["unused 7.1", "ticket 0 aged 0.0 seconds again"])
    }

    @Test(arguments: Outcome.allCases)
    func everyOutcomeEndsTheLeaseOnce(outcome: Outcome) {
        var talk = JobTalk()
        let id = talk.job(in: .serving)
        #expect(talk.say(.ended(id, outcome)) == [outcome == .unused ? "unused 7.1" : "release 7.1 \(outcome.name)"])
        #expect(talk.say(.ended(id, outcome)) == [])
    }

    // MARK: The pool-keeper's answers cross ours

    @Test func aGrantThatCrossesACancelComesBackUnused() {
        var talk = JobTalk()
        let id = talk.arrive()
        _ = talk.say(.callerLeft(id, reachedWorker: false))
        #expect(talk.grant(id) == ["unused 7.1"])
    }

    @Test func aGrantForAnEarlierJobOfTheSlotComesBackUnused() {
        var talk = JobTalk()
        let old = talk.arrive()
        _ = talk.say(.callerLeft(old, reachedWorker: false))
        let new = talk.arrive()
        #expect(talk.grant(old) == ["unused 7.1"])
        #expect(talk.machine[new]?.phase == .waiting)
    }

    @Test(arguments: [JobPhase.dialing, .serving, .ending])
    func aSecondGrantForOneJobComesBackUnused(phase: JobPhase) {
        var talk = JobTalk()
        let id = talk.job(in: phase)
        #expect(talk.grant(id) == ["unused 7.2"])
        #expect(talk.machine[id]?.lease == LeaseID(epoch: 7, counter: 1))
    }

    @Test func aRefusalEndsAWaitingJobAndNoOther() {
        var talk = JobTalk()
        let waiting = talk.arrive()
        #expect(talk.refuse(waiting, .holdTimeout) == ["refuse 0 hold-timeout"])
        #expect(talk.refuse(waiting, .holdTimeout) == [])
        let dialing = talk.job(in: .dialing)
        #expect(talk.refuse(dialing, .holdTimeout) == [])
        #expect(talk.machine[dialing]?.phase == .dialing)
    }

    @Test(arguments: [JobPhase.dialing, .serving, .ending])
    func aRevokedLeaseCutsItsJob(phase: JobPhase) {
        var talk = JobTalk()
        let id = talk.job(in: phase)
        let other = talk.job(in: .serving)
        #expect(talk.say(.reply(.revoke(LeaseID(epoch: 7, counter: 1)))) == ["cut 0"])
        #expect(talk.machine[id] == nil && talk.machine[other] != nil)
        #expect(talk.say(.reply(.revoke(LeaseID(epoch: 7, counter: 1)))) == [])
    }

    // MARK: Probes

    @Test func aProbeHoldsALeaseAndWaitsForNobody() {
        var talk = JobTalk()
        let order = Probe(
            lease: LeaseID(epoch: 7, counter: 9), pool: JobTalk.pool, endpoint: EndpointID(high: 0, low: 1), address: JobTalk.address,
            timeout: .seconds(1))
        #expect(talk.say(.reply(.probe(order))) == ["probe 7.9"])
        let id = talk.machine.reserve()
        #expect(talk.probe(id) == [])
        #expect(talk.machine.assertion(of: id, at: talk.now).isProbe)
        _ = talk.say(.dialed(id))
        #expect(talk.say(.ended(id, .probePassed)) == ["release 7.1 probe-passed"])
        #expect(talk.machine[id] == nil)
    }

    @Test func aProbeWhoseDialFailsDoesNotGetInLine() {
        var talk = JobTalk()
        let id = talk.machine.reserve()
        _ = talk.probe(id)
        #expect(talk.say(.dialFailed(id, .refused)) == ["dial failed 7.1 refused"])
        #expect(talk.machine[id] == nil && talk.machine.waitingJobs == 0)
    }

    @Test func aJobInTheSlotOfAProbeIsNone() {
        var talk = JobTalk()
        let probe = talk.machine.reserve()
        _ = talk.probe(probe)
        _ = talk.say(.ended(probe, .probePassed))
        let id = talk.job(in: .dialing)
        #expect(id.slot == probe.slot && !talk.machine.assertion(of: id, at: talk.now).isProbe)
        #expect(talk.say(.dialFailed(id, .refused)).last == "ticket 0 aged 0.0 seconds again")
    }
}
