import KeeperCore
import Model
import Testing
import Wire

/// What a dead dispatcher leaves, and the next process in its seat.
@Suite struct SuccessionTests {
    private let parameters = Keeper.Parameters(epoch: 7, adoptWithin: .seconds(10))

    private func escrow(_ talk: Dialogue, _ lease: LeaseID, on link: DispatcherID = Dialogue.firstLink) {
        talk.request(.escrow(.worker(EscrowedWorker(lease: lease, caller: .none, worker: .none))), on: link)
    }

    /// Says hello in the seat of `Dialogue`'s first dispatcher.
    private func succeed(_ talk: Dialogue, _ instance: UInt64) -> DispatcherID {
        let link = DispatcherID(rawValue: 1000 + instance)
        talk.say(.dispatcherConnected(link, instance: InstanceID(rawValue: instance), seat: "seat-100"))
        return link
    }

    private func assertion(_ grant: Grant) -> LeasingRequest {
        .assertLease(AssertedLease(lease: grant.lease, pool: grant.pool, endpoint: grant.endpoint, address: grant.address))
    }

    private var dead: InstanceID { InstanceID(rawValue: 100) }

    /// One lease in escrow and two waiting jobs; then death.
    private func afterADeath(_ change: (inout PoolPolicy) -> Void = { _ in }) throws -> (Dialogue, Grant) {
        let talk = Dialogue(policy("browsers", change), parameters: parameters)
        talk.upsert(worker(1))
        let grant = try talk.lease(1)
        escrow(talk, grant.lease)
        talk.ask(2)
        talk.pass(.seconds(1))
        talk.ask(3)
        talk.clear()
        talk.say(.dispatcherDied(dead))
        return (talk, grant)
    }

    @Test func whatItLeavesGoesToTheNextInItsSeat() throws {
        let (talk, grant) = try afterADeath()
        #expect(talk.actions.contains(.watchCallers(dead)) && talk.state.queued == 2 && talk.state.leased == 1)
        talk.clear()
        let link = succeed(talk, 200)
        #expect(talk.actions.contains(.handOver(from: dead, to: InstanceID(rawValue: 200), link)))
        // The end of the adoption is the shell's to say, behind what it hands over.
        #expect(!talk.replies.contains(.adopt(.end)))
        #expect(talk.keeper.waiting(of: InstanceID(rawValue: 200)).map(\.ticket.rawValue) == [2, 3])
        talk.request(assertion(grant), on: link)
        #expect(talk.notices.contains(.adopted(grant.lease)))
        for id in [3, 2] { talk.request(.ticket(Ticket(id: TicketID(rawValue: UInt64(id)), pool: talk.pool)), on: link) }
        talk.request(.asserted, on: link)
        talk.clear()
        talk.release(grant.lease, on: link)
        #expect(talk.grantedTickets == [2] && talk.actions.contains(.closeWorker(InstanceID(rawValue: 200), grant.lease)))
    }

    @Test func nothingIsGrantedToTheDead() throws {
        let (talk, _) = try afterADeath()
        talk.upsert(worker(2))
        talk.pass(.seconds(5))
        #expect(talk.grants.isEmpty && talk.state.free == 1 && talk.state.queued == 2)
    }

    @Test func budgetsGoOnMeanwhile() throws {
        let (talk, grant) = try afterADeath { $0.holdTimeout = .seconds(4) }
        talk.pass(.milliseconds(3500))
        #expect(talk.refusals.isEmpty, "nobody is there to hear it")
        let link = succeed(talk, 200)
        talk.request(assertion(grant), on: link)
        for id in [2, 3] { talk.request(.ticket(Ticket(id: TicketID(rawValue: UInt64(id)), pool: talk.pool)), on: link) }
        talk.request(.asserted, on: link)
        #expect(talk.refusedTickets == [2])
        talk.pass(.milliseconds(500))
        #expect(talk.refusedTickets == [2, 3])
    }

    @Test func whatNobodyAdoptsInTimeIsFencedAndDropped() throws {
        let (talk, grant) = try afterADeath()
        talk.pass(.seconds(10) - .nanoseconds(1))
        #expect(talk.state.leased == 1)
        talk.pass(.nanoseconds(1))
        #expect(talk.actions.contains(.fence(dead, grant.lease)) && talk.actions.contains(.dropEscrow(dead)))
        #expect(talk.state.quarantined == 1 && talk.state.queued == 0)
        talk.clear()
        let link = succeed(talk, 200)
        #expect(talk.replies == [.adopt(.end)])
        talk.request(assertion(grant), on: link)
        #expect(talk.revoked == [grant.lease])
    }

    @Test func whatTheSuccessorDoesNotNameIsFencedAtOnce() throws {
        let (talk, grant) = try afterADeath()
        let link = succeed(talk, 200)
        talk.clear()
        talk.request(.asserted, on: link)
        #expect(talk.actions.contains(.fence(InstanceID(rawValue: 200), grant.lease)))
        #expect(talk.state.quarantined == 1 && talk.state.queued == 0)
        // Its worker may go on with the job: the same rest as after a death that nobody follows.
        #expect(talk.remaining(worker(1)) == talk.policies[0].abandon)
        #expect(talk.actions.contains(.rosterChanged) && talk.keeper.setAside(at: talk.now).map(\.endpoint) == [worker(1).id])
    }

    @Test func aSuccessorThatDiesWhileItAdoptsLeavesAllToTheNextButNoLonger() throws {
        let (talk, grant) = try afterADeath()
        talk.pass(.seconds(4))
        let second = succeed(talk, 200)
        talk.request(assertion(grant), on: second)
        talk.pass(.seconds(4))
        talk.say(.dispatcherDied(InstanceID(rawValue: 200)))
        talk.clear()
        let third = succeed(talk, 300)
        #expect(talk.actions.contains(.handOver(from: InstanceID(rawValue: 200), to: InstanceID(rawValue: 300), third)))
        talk.pass(.seconds(2))
        #expect(talk.actions.contains(.fence(InstanceID(rawValue: 300), grant.lease)), "ten seconds after the first death")
        talk.request(assertion(grant), on: third)
        #expect(talk.revoked == [grant.lease])
    }

    @Test func aLinkThatBreaksInTheMiddleOfAdoptionBeginsItAnew() throws {
        let (talk, grant) = try afterADeath()
        let link = succeed(talk, 200)
        talk.say(.dispatcherLinkEnded(link))
        talk.clear()
        let again = DispatcherID(rawValue: 5000)
        talk.say(.dispatcherConnected(again, instance: InstanceID(rawValue: 200), seat: "seat-100"))
        #expect(talk.actions == [.handOver(from: InstanceID(rawValue: 200), to: InstanceID(rawValue: 200), again)])
        talk.request(assertion(grant), on: again)
        talk.request(.asserted, on: again)
        #expect(talk.state.leased == 1)
        // From then on it is a dispatcher like any other.
        talk.say(.dispatcherLinkEnded(again))
        talk.clear()
        talk.connect(instance: 200, asserting: true)
        #expect(talk.replies == [.adopt(.end)])
    }

    @Test func whoLivesIsNotInherited() throws {
        let talk = Dialogue(policy(), parameters: parameters)
        talk.upsert(worker(1))
        let grant = try talk.lease(1)
        escrow(talk, grant.lease)
        talk.say(.dispatcherLinkEnded(Dialogue.firstLink))
        talk.clear()
        let link = succeed(talk, 200)
        #expect(talk.replies == [.adopt(.end)])
        talk.request(assertion(grant), on: link)
        talk.request(.asserted, on: link)
        #expect(talk.revoked == [grant.lease] && talk.state.leased == 1)
    }

    @Test func anotherSeatInheritsNothing() throws {
        let (talk, _) = try afterADeath()
        talk.clear()
        talk.connect(instance: 200)
        #expect(talk.replies == [.adopt(.end)] && talk.state.leased == 1)
    }

    /// One lease whose worker is not in escrow, and death a second later.
    private func afterADeathWithoutEscrow() throws -> Dialogue {
        let talk = Dialogue(policy(), parameters: parameters)
        talk.upsert(worker(1))
        _ = try talk.lease(1)
        talk.pass(.seconds(1))
        talk.clear()
        talk.say(.dispatcherDied(dead))
        #expect(talk.state.leased == 1, "its worker may be at the job, or nobody has read the grant")
        return talk
    }

    private func ticket(_ talk: Dialogue, isRequeued: Bool = false) -> LeasingRequest {
        .ticket(Ticket(id: TicketID(rawValue: 1), pool: talk.pool, age: .milliseconds(900), isRequeued: isRequeued))
    }

    /// It tells the ticket of a job only where no byte has gone to a worker.
    @Test func aGrantThatNobodyHasReadIsGivenBackByTheTicketOfItsJob() throws {
        let talk = try afterADeathWithoutEscrow()
        let link = succeed(talk, 200)
        talk.request(ticket(talk), on: link)
        #expect(talk.state.free == 1 && talk.state.queued == 1)
        let report = try #require(talk.keeper.ticketReports(of: talk.pool, at: talk.now).first)
        #expect(report.age == .seconds(1), "its place is the one that is remembered here")
        #expect(talk.grants.isEmpty)
        talk.request(.asserted, on: link)
        #expect(talk.grantedTickets == [1] && talk.state.quarantined == 0)
    }

    @Test func aLeaseWithoutEscrowRestsWhoseJobTheSuccessorDoesNotTell() throws {
        let talk = try afterADeathWithoutEscrow()
        let link = succeed(talk, 200)
        talk.request(.asserted, on: link)
        #expect(talk.remaining(worker(1)) == talk.policies[0].abandon)
        #expect(!talk.actions.contains { if case .fence = $0 { true } else { false } })
    }

    /// It may have had a worker, and come back in line.
    @Test func aJobThatComesBackGivesNoLeaseBack() throws {
        let talk = try afterADeathWithoutEscrow()
        let link = succeed(talk, 200)
        talk.request(ticket(talk, isRequeued: true), on: link)
        #expect(talk.state.leased == 1)
        talk.request(.asserted, on: link)
        #expect(talk.state.quarantined == 1 && talk.state.queued == 1)
    }

    /// By then it accepts callers, whose jobs may have the names of those that it did not get.
    @Test func onlyTheFirstTellingGivesGrantsBack() throws {
        let talk = try afterADeathWithoutEscrow()
        let link = succeed(talk, 200)
        talk.say(.dispatcherLinkEnded(link))
        let again = DispatcherID(rawValue: 5000)
        talk.say(.dispatcherConnected(again, instance: InstanceID(rawValue: 200), seat: "seat-100"))
        talk.request(ticket(talk), on: again)
        talk.request(.asserted, on: again)
        #expect(talk.state.quarantined == 1 && talk.state.queued == 1)
    }

    @Test func withoutASuccessorALeaseWithoutEscrowRestsInTime() throws {
        let talk = try afterADeathWithoutEscrow()
        talk.pass(.seconds(10))
        #expect(talk.remaining(worker(1)) == talk.policies[0].abandon)
    }

    /// Health probes and jobs that are ending: there is nobody who could tell.
    @Test func whatOnlyTheDeadKnewOfEndsWithIt() throws {
        let talk = Dialogue(policy(), parameters: parameters)
        talk.upsert(worker(1))
        let grant = try talk.lease(1)
        talk.request(.ending(grant.lease))
        talk.say(.dispatcherDied(dead))
        #expect(talk.state.quarantined == 1)
    }

    @Test func aCallerThatHangsUpGivesItsPlaceBack() throws {
        let (talk, _) = try afterADeath()
        talk.say(.callerLeft(dead, TicketID(rawValue: 2)))
        #expect(talk.state.queued == 1)
        talk.say(.callerLeft(dead, TicketID(rawValue: 2)))
        #expect(talk.races == [.lateCancel])
        let link = succeed(talk, 200)
        #expect(talk.keeper.waiting(of: InstanceID(rawValue: 200)).map(\.ticket.rawValue) == [3])
        talk.request(.asserted, on: link)
    }

    @Test func aWorkerPutIntoEscrowTooLateIsTakenOutAgain() throws {
        let talk = Dialogue(policy(), parameters: parameters)
        talk.upsert(worker(1))
        let grant = try talk.lease(1)
        talk.release(grant.lease)
        talk.clear()
        escrow(talk, grant.lease)
        #expect(talk.actions.contains(.closeWorker(dead, grant.lease)) && talk.races == [.lateEscrow])
    }

    @Test func ofTwoDeadInOneSeatTheLastIsInherited() throws {
        let (talk, grant) = try afterADeath()
        let link = succeed(talk, 200)
        talk.request(assertion(grant), on: link)
        talk.request(.asserted, on: link)
        // Two at once in a seat is a mistake of whoever starts them; the keeper survives it.
        _ = succeed(talk, 300)
        talk.say(.dispatcherDied(InstanceID(rawValue: 200)))
        talk.pass(.seconds(1))
        talk.say(.dispatcherDied(InstanceID(rawValue: 300)))
        talk.clear()
        let heir = succeed(talk, 400)
        #expect(talk.actions.contains(.handOver(from: InstanceID(rawValue: 300), to: InstanceID(rawValue: 400), heir)))
        talk.request(.asserted, on: heir)
        talk.pass(.seconds(9))
        #expect(talk.actions.contains(.fence(InstanceID(rawValue: 200), grant.lease)))
    }
}
