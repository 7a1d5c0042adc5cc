import KeeperCore
import Model
import Testing
import Wire

/// What the dead leave behind: workers that may be at a job, of which nobody can tell any more.
@Suite struct DeathTests {
    private let old = LeaseID(epoch: 6, counter: 41)

    private func roster(_ instances: UInt64...) -> [RosterEntry] {
        instances.map { RosterEntry(instance: InstanceID(rawValue: $0), seat: "seat-\($0)") }
    }

    /// A quarantine lives in memory: what a successor must not grant either is on disk before anything else is granted.
    @Test func theWorkerOfTheDeadStaysSetAsideOverARestart() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        _ = try talk.lease(1)
        talk.connect(instance: 200)
        #expect(talk.keeper.setAside(at: talk.now).isEmpty)
        talk.clear()
        talk.say(.dispatcherDied(InstanceID(rawValue: 100)))
        let aside = [SetAside(endpoint: worker(1).id, until: talk.now + .seconds(30))]
        #expect(talk.keeper.setAside(at: talk.now) == aside && talk.keeper.roster.map(\.instance.rawValue) == [200])
        #expect(talk.actions.contains(.rosterChanged))

        let next = Dialogue(policy { $0.holdTimeout = .seconds(60) }, roster: talk.keeper.roster, setAside: aside, serving: false)
        #expect(next.keeper.setAside(at: next.now) == aside)
        next.pass(.seconds(10))
        let link = next.connect(instance: 200, asserting: true)
        next.ask(2, on: link)
        next.request(.asserted, on: link)
        next.snapshot([(next.pool, worker(1))])
        #expect(!next.state.isRecovering && next.endpointState(worker(1)) == .quarantined)
        #expect(next.keeper.setAside(at: next.now) == aside)
        next.pass(.seconds(20) - .nanoseconds(1))
        #expect(next.grants.isEmpty)
        next.pass(.nanoseconds(1))
        #expect(next.grantedTickets == [2])
        #expect(next.keeper.setAside(at: next.now).isEmpty)
    }

    /// The clock is the machine's, and begins anew with it.
    @Test func noMomentOnDiskIsFartherAwayThanAWorkerMayGoOn() {
        let talk = Dialogue(policy { $0.abandon = .seconds(5) }, setAside: [SetAside(endpoint: worker(1).id, until: .never)])
        talk.upsert(worker(1))
        talk.ask(1)
        talk.pass(.seconds(5) - .nanoseconds(1))
        #expect(talk.grants.isEmpty)
        talk.pass(.nanoseconds(1))
        #expect(talk.grantedTickets == [1])
    }

    /// A dispatcher remembers what it has cut a moment ago and tells it to a new pool-keeper; when it dies, nobody does.
    @Test func whatTheDeadHadCutStaysSetAsideOverARestart() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.release(try talk.lease(1).lease, .endingTimeout)
        talk.pass(.seconds(1))
        talk.clear()
        talk.say(.dispatcherDied(InstanceID(rawValue: 100)))
        #expect(talk.actions.contains(.rosterChanged))
        #expect(talk.keeper.setAside(at: talk.now) == [SetAside(endpoint: worker(1).id, until: talk.now + .seconds(1))])
    }

    /// Its other slot may have a job of the dead.
    @Test func aLeaseToldOnAnEndpointThatIsSetAsideDoesNotFreeIt() {
        let talk = Dialogue(
            policy { $0.slots = 2 }, roster: [RosterEntry(instance: InstanceID(rawValue: 100), seat: "seat-100")],
            setAside: [SetAside(endpoint: worker(1).id, until: Instant(nanoseconds: 1_009_000_000_000))], serving: false)
        talk.snapshot()
        let link = talk.connect(instance: 100, asserting: true)
        talk.request(
            .assertLease(AssertedLease(lease: old, pool: talk.pool, endpoint: worker(1).id, address: worker(1).addresses[0])), on: link)
        talk.request(.asserted, on: link)
        talk.upsert(worker(1))
        #expect(talk.ask(1, on: link) == .held)
        talk.release(old, on: link)
        #expect(talk.grants.isEmpty)
        talk.pass(.seconds(9))
        #expect(talk.grantedTickets == [1])
    }

    /// Whoever could hold a lease is on the roster before it gets one. Others may come and go during recovery: one that was about to stop
    /// had its hello read when it was dead.
    @Test func aDispatcherThatNoRosterNamesIsWaitedForWhileItLivesAndNotWhenItIsDead() {
        // Connected during recovery, which its own silence now prolongs: its callers may have come before others.
        let talk = Dialogue(policy { $0.holdTimeout = .seconds(10_000) }, serving: false)
        let silent = talk.connect(instance: 200, asserting: true)
        let other = talk.connect(instance: 300)
        talk.snapshot([(talk.pool, worker(1))])
        talk.ask(1, on: other)
        talk.pass(.seconds(3600))
        #expect(talk.grants.isEmpty && talk.state.isRecovering)
        talk.say(.dispatcherLinkEnded(silent))
        #expect(talk.grants.isEmpty && talk.state.isRecovering)
        talk.say(.dispatcherDied(InstanceID(rawValue: 200)))
        #expect(talk.grantedTickets == [1] && talk.keeper.roster.map(\.instance.rawValue) == [300])
    }

    @Test func whereTheRosterWasLostWhoeverDiesUntoldIsWaitedFor() {
        let talk = Dialogue(policy { ($0.abandon, $0.holdTimeout) = (.seconds(30), .seconds(10_000)) }, roster: [.unknown], serving: false)
        talk.snapshot([(talk.pool, worker(1))])
        talk.say(.dispatcherDied(RosterEntry.unknown.instance))
        talk.ask(1, on: talk.connect(instance: 300))
        talk.pass(.seconds(20))
        _ = talk.connect(instance: 200, asserting: true)
        talk.say(.dispatcherDied(InstanceID(rawValue: 200)))
        talk.pass(.seconds(30) - .nanoseconds(1))
        #expect(talk.grants.isEmpty && talk.keeper.rosterAtStop.map(\.instance.rawValue) == [200])
        talk.pass(.nanoseconds(1))
        #expect(talk.grantedTickets == [1])
    }

    @Test func aDispatcherThatHasToldEverythingOnceIsNotWaitedForWhenItDiesTellingItAgain() {
        let talk = Dialogue(policy { $0.holdTimeout = .seconds(10_000) }, roster: roster(100, 200), serving: false)
        talk.snapshot([(talk.pool, worker(1))])
        talk.say(.dispatcherLinkEnded(talk.connect(instance: 100)))
        talk.connect(instance: 100, asserting: true)
        talk.ask(1, on: talk.connect(instance: 200))
        #expect(talk.grants.isEmpty)
        talk.say(.dispatcherDied(InstanceID(rawValue: 100)))
        #expect(talk.grantedTickets == [1])
    }
}
