import KeeperCore
import Model
import Testing
import Wire

@Suite struct ReuseTests {
    let whenReady = policy { $0.reuse = .whenReady(settle: .seconds(2)) }
    let never = policy { $0.reuse = .never }

    @Test func immediateIsFreeTheMomentItsLeaseEnds() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.release(try talk.lease(1).lease)
        #expect(talk.endpointState(worker(1)) == .free)
    }

    @Test func whenReadyRecoversUntilSeenUnreadyAndReadyAgain() throws {
        let talk = Dialogue(whenReady)
        talk.upsert(worker(1))
        talk.release(try talk.lease(1).lease)
        #expect(talk.endpointState(worker(1)) == .recovering && talk.state.recovering == 1)
        talk.ask(2)
        talk.clear()
        talk.upsert(worker(1, []))
        #expect(talk.endpointState(worker(1)) == .unready)
        talk.pass(.seconds(10))
        talk.upsert(worker(1))
        #expect(talk.grantedTickets == [2])
    }

    @Test func whenReadyIsFreeAgainWhenItStayedReadyForSettle() throws {
        let talk = Dialogue(whenReady)
        talk.upsert(worker(1))
        talk.release(try talk.lease(1).lease)
        talk.ask(2)
        talk.clear()
        talk.pass(.milliseconds(1999))
        #expect(talk.grants.isEmpty)
        talk.pass(.milliseconds(1))
        #expect(talk.grantedTickets == [2])
    }

    @Test func whenReadyThatWasUnreadyAtTheReleaseWaitsForReadyHoweverLong() throws {
        let talk = Dialogue(whenReady)
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.upsert(worker(1, []))
        talk.release(lease)
        talk.ask(2)
        talk.pass(.seconds(20))
        #expect(talk.endpointState(worker(1)) == .unready)
        talk.clear()
        talk.upsert(worker(1))
        #expect(talk.grantedTickets == [2])
    }

    @Test func aFlipDuringTheJobIsNotTheOneThatIsAwaited() throws {
        let talk = Dialogue(whenReady)
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.upsert(worker(1, []))
        talk.upsert(worker(1))
        talk.release(lease)
        #expect(talk.endpointState(worker(1)) == .recovering)
        talk.pass(.seconds(2))
        #expect(talk.endpointState(worker(1)) == .free)
    }

    @Test func anUnusedGrantNeedsNoRecovery() throws {
        for policy in [whenReady, never] {
            let talk = Dialogue(policy)
            talk.upsert(worker(1))
            talk.request(.unused(try talk.lease(1).lease))
            #expect(talk.endpointState(worker(1)) == .free)
            talk.request(.dialFailed(try talk.lease(2).lease, .ours))
            #expect(talk.endpointState(worker(1)) == .free)
        }
    }

    @Test(arguments: [Outcome.served, .abandoned, .lostAfterResponse, .busy, .endingTimeout])
    func neverGivesOneLeaseAndNoMore(outcome: Outcome) throws {
        let talk = Dialogue(never)
        talk.upsert(worker(1))
        talk.release(try talk.lease(1).lease, outcome)
        #expect(talk.endpointState(worker(1)) == .draining)
        talk.pass(.seconds(100))
        talk.upsert(worker(1, []))
        talk.upsert(worker(1))
        #expect(talk.ask(2) == .held)
        talk.upsert(worker(2))
        #expect(talk.grantedTickets == [1, 2])
    }

    @Test func neverIsOverWhenTheEndpointHasDisappeared() throws {
        let talk = Dialogue(never)
        talk.upsert(worker(1))
        talk.release(try talk.lease(1).lease)
        talk.remove(worker(1))
        #expect(talk.state.total == 0)
        talk.upsert(worker(1))
        #expect(talk.endpointState(worker(1)) == .free)
    }

    @Test func aQuarantineAfterALeaseReplacesRecovery() throws {
        let talk = Dialogue(whenReady)
        talk.upsert(worker(1))
        talk.release(try talk.lease(1).lease, .busy)
        #expect(talk.endpointState(worker(1)) == .quarantined)
        talk.pass(.seconds(2))
        #expect(talk.endpointState(worker(1)) == .free)
    }
}
