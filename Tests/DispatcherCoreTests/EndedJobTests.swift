import DispatcherCore
import Model
import Testing
import Wire

/// What is told and counted of a job when it ends.
@Suite struct EndedJobTests {
    private static let lease = LeaseID(epoch: 7, counter: 1)

    @Test(arguments: [
        (JobPhase.waiting, false, false), (.dialing, true, false), (.serving, true, true), (.ending, true, true),
    ])
    func anEndHasTheLeaseThatTheJobHas(_ phase: JobPhase, _ hasLease: Bool, _ isDialed: Bool) throws {
        var talk = JobTalk()
        let id = talk.job(in: phase)
        let arrived = talk.now
        talk.pass(.seconds(3))
        let end = try #require(talk.machine.end(of: id, .gone, outcome: .abandoned, phase: .streaming, at: talk.now))
        #expect(end.arrived == arrived && end.duration == .seconds(3))
        #expect(end.lease?.id == (hasLease ? Self.lease : nil))
        #expect((end.lease?.dialed != nil) == isDialed)
        #expect(end.lease?.phase == (isDialed ? .streaming : hasLease ? .dialing : nil))
        #expect(end.outcome == (hasLease ? .abandoned : nil))
        #expect(end.hold == (hasLease ? .zero : .seconds(3)))
        #expect((end.dial != nil) == isDialed)
    }

    @Test func aJobThatTheMachineHasEndedIsStillKnownUntilItsSlotIsUsed() throws {
        var talk = JobTalk()
        let request = JobRequest(pool: JobTalk.pool, urgency: .highest, tenant: "acme")
        var said: [String] = []
        let id = talk.arrive(request, said: &said)
        talk.pass(.milliseconds(20))
        _ = talk.refuse(id, .queueFull)
        let end = try #require(talk.machine.end(of: id, .refused, reason: .queueFull, was: .waiting, at: talk.now))
        #expect(end.request == request && end.hold == .milliseconds(20) && end.lease == nil)
        let next = talk.arrive()
        #expect(next.slot == id.slot)
        #expect(talk.machine.end(of: id, .refused, at: talk.now) == nil)
    }

    @Test func aJobThatWasRequeuedHasNoLease() throws {
        var talk = JobTalk()
        let id = talk.job(in: .serving)
        _ = talk.say(.turnedAway(id, .busy))
        talk.pass(.seconds(1))
        let end = try #require(talk.machine.end(of: id, .gone, at: talk.now))
        #expect(end.lease == nil && end.hold == .seconds(1))
    }

    @Test func aProbeIsNoJob() {
        var talk = JobTalk()
        let id = talk.machine.reserve()
        _ = talk.probe(id)
        #expect(talk.machine.end(of: id, .served, at: talk.now) == nil)
    }

    @Test func thePublisherIsToldAges() throws {
        var talk = JobTalk()
        let id = talk.arrive()
        talk.pass(.seconds(2))
        _ = talk.grant(id)
        talk.pass(.milliseconds(5))
        _ = talk.say(.dialed(id))
        talk.pass(.seconds(9))
        var end = try #require(talk.machine.end(of: id, .served, outcome: .served, phase: .streaming, at: talk.now))
        end.bytesIn = 3
        end.bytesOut = 4
        let told = end.told(trace: nil)
        #expect(told.hold == .seconds(2) && told.dial == .milliseconds(5) && told.session == .seconds(9))
        #expect(told.bytesIn == 3 && told.bytesOut == 4 && told.lease == Self.lease && told.job == id.ticket && told.result == .served)
    }

    // MARK: Refusals and names

    @Test func aRefusalOfThePoolKeeperTellsTheLine() {
        var talk = JobTalk()
        let id = talk.arrive()
        var actions: [JobMachine.Action] = []
        let refusal = Refusal(
            ticket: id.ticket, reason: .holdTimeout, retryAfter: .seconds(2), queued: 7, position: 3, oldestWait: .seconds(31))
        talk.machine.handle(.reply(.refuse(refusal)), at: talk.now, into: &actions)
        guard case .refuse(id, .holdTimeout, let facts) = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(facts == RefusalFacts(retryAfter: .seconds(2), line: .init(position: 3, queued: 7, oldestWait: .seconds(31))))
    }

    @Test func ourOwnRefusalsDoNotClaimToKnowTheLine() {
        var talk = JobTalk(up: false) { $0.maxQueued = 0 }
        let id = talk.machine.reserve()
        var actions: [JobMachine.Action] = []
        talk.machine.handle(.arrived(id, JobRequest(pool: JobTalk.pool)), at: talk.now, into: &actions)
        guard case .refuse(id, .queueFull, let facts) = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(facts.line == nil && facts.retryAfter == .seconds(1))
    }

    @Test func namesBeginWhereTheProcessSays() {
        var machine = JobMachine(policies: [], firstGeneration: 4_000_000_000)
        let (one, two) = (machine.reserve(), machine.reserve())
        #expect(one.generation == 4_000_000_000 && two.generation == 4_000_000_000 && one.ticket != two.ticket)
        // Slots that an adoption leaves free begin there as well.
        var heir = JobMachine(policies: [], firstGeneration: 9)
        let adopted = JobID(slot: 2, generation: 77)
        let isAdopted = heir.adopt(
            adopted, AdoptedJob(request: JobRequest(pool: JobTalk.pool), arrived: .zero), at: .zero)
        #expect(isAdopted)
        heir.adoptedAll()
        #expect(heir.reserve() == JobID(slot: 0, generation: 9) && heir.reserve() == JobID(slot: 1, generation: 9))
        #expect(heir.reserve() == JobID(slot: 3, generation: 9))
    }

    // MARK: Counting

    private func ended(_ result: JobEnd.Result, reason: Reason? = nil, dialed: Bool = false) -> EndedJob {
        var talk = JobTalk()
        let id = talk.job(in: dialed ? .serving : .waiting)
        talk.pass(.milliseconds(30))
        var end = talk.machine.end(of: id, result, reason: reason, at: talk.now)!
        end.bytesIn = 10
        end.bytesOut = 1000
        return end
    }

    @Test func whatIsCountedOutlivesWhoCounts() {
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: PoolVitals.Layout.words)
        words.initialize(repeating: 0, count: PoolVitals.Layout.words)
        defer { words.deallocate() }
        let first = PoolVitals(words)
        #expect(first.pool == nil)
        first.begin(JobTalk.pool)
        for _ in 0..<5 { first.accept() }
        first.count(ended(.served, dialed: true))
        first.count(ended(.refused, reason: .holdTimeout))
        // Its successor, on the same words.
        let second = PoolVitals(words)
        #expect(second.pool == JobTalk.pool)
        second.count(ended(.cut, reason: .workerLost, dialed: true))
        second.count(ended(.gone))
        second.count(ended(.cut))
        second.requeue(.busy)
        #expect(second.accepted == 5)
        #expect(second[JobEnd.Result.served] == 1 && second[JobEnd.Result.refused] == 1 && second[JobEnd.Result.gone] == 1)
        #expect(second[JobEnd.Result.cut] == 2)
        #expect(JobEnd.Result.allCases.reduce(0) { $0 + second[$1] } == second.accepted)
        #expect(second[Reason.holdTimeout] == 1 && second[Reason.workerLost] == 0, "a cut is no refusal")
        #expect(second[RequeueReason.busy] == 1 && second.bytesIn == 50 && second.bytesOut == 5000)
        var total = PoolTotal()
        second.add(to: &total)
        second.add(to: &total)
        #expect(total.accepted == 10 && total.session.histogram.count == 4)
        #expect(total.session.histogram.sum == .milliseconds(120))
        let bucket = LatencyHistogram.bounds.firstIndex(of: .milliseconds(50))!
        #expect(total.session.histogram.counts[bucket] == 4 && total.dial.histogram.counts[0] == 4)
    }

    @Test func nothingThatIsCountedOverlaps() {
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: PoolVitals.Layout.words)
        words.initialize(repeating: 0, count: PoolVitals.Layout.words)
        defer { words.deallocate() }
        let vitals = PoolVitals(words)
        for reason in Reason.allCases { vitals.refuse(reason) }
        for reason in RequeueReason.allCases { vitals.requeue(reason) }
        vitals.accept()
        for reason in Reason.allCases { #expect(vitals[reason] == 1) }
        for reason in RequeueReason.allCases { #expect(vitals[reason] == 1) }
        #expect(vitals.accepted == 1 && vitals.bytesIn == 0 && JobEnd.Result.allCases.allSatisfy { vitals[$0] == 0 })
    }

    @Test(arguments: [(1, 200), (4, 50)]) func linesAreBoundedAndNoneIsLostUncounted(_ sharers: Int, _ perSecond: Int) {
        var budget = LineBudget(sharers: sharers)
        var now = Instant(nanoseconds: 1)
        var taken = 0
        for _ in 0..<5000 where budget.take(at: now) { taken += 1 }
        #expect(taken == 1000 / sharers)
        #expect(budget.leftOut == UInt64(5000 - taken))
        #expect(budget.takeLeftOut() == UInt64(5000 - taken) && budget.leftOut == 0)
        now = now + .seconds(1)
        taken = 0
        for _ in 0..<5000 where budget.take(at: now) { taken += 1 }
        #expect(taken == perSecond)
        now = now + .seconds(3600)
        taken = 0
        for _ in 0..<5000 where budget.take(at: now) { taken += 1 }
        #expect(taken == 1000 / sharers, "time that was not used is not saved up")
    }
}
