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

    /// Its source may lose sight of it while it is unready and has another job: then nobody sees it turn.
    @Test func whenReadyThatIsNamedAgainReadyHasRecovered() throws {
        let talk = Dialogue(policy { ($0.reuse, $0.slots) = (.whenReady(settle: .seconds(2)), 2) })
        talk.upsert(worker(1))
        let (first, second) = (try talk.lease(1).lease, try talk.lease(2).lease)
        talk.upsert(worker(1, []))
        talk.release(first)
        talk.remove(worker(1))
        talk.release(second, .endingTimeout)
        talk.ask(3)
        talk.clear()
        talk.upsert(worker(1))
        talk.pass(.seconds(2))
        #expect(talk.grantedTickets == [3])
    }

    /// Unready in one pool, ready in the other, and then in the other only.
    @Test func whenReadyDoesNotAwaitASourceThatNamesItNoMore() throws {
        let talk = Dialogue(whenReady, policy("b") { $0.reuse = .whenReady(settle: .seconds(2)) })
        let b = talk.policies[1].id
        talk.upsert(worker(1))
        talk.upsert(worker(1), in: b)
        let lease = try talk.lease(1).lease
        talk.upsert(worker(1, []), in: b)
        talk.release(lease)
        talk.ask(2)
        talk.clear()
        talk.remove(worker(1), from: b)
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
