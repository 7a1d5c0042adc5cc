import KeeperCore
import Model
import Testing
import Wire

/// Jobs that would rather have the endpoint that they had before.
@Suite struct AffinityTests {
    private func granted(_ answer: Dialogue.Answer) throws -> Grant {
        guard case .granted(let grant) = answer else {
            Issue.record("\(answer) instead of a grant")
            throw Dialogue.Silence()
        }
        return grant
    }

    private func shop(workers: UInt64 = 3, _ change: (inout PoolPolicy) -> Void = { _ in }) -> Dialogue {
        let talk = Dialogue(policy { change(&$0) })
        for n in 1...workers { talk.upsert(worker(n)) }
        return talk
    }

    @Test func aKeyGetsTheEndpointThatServedItLast() throws {
        let talk = shop()
        let first = try granted(talk.ask(1, affinity: "k"))
        talk.release(first.lease)
        for id in 2...6 {
            let again = try granted(talk.ask(UInt64(id), affinity: "k"))
            #expect(again.endpoint == first.endpoint)
            talk.release(again.lease)
        }
    }

    @Test func theSameKeyOfAnotherTenantIsAnother() throws {
        let talk = shop { $0.tenants += [.init(name: "a"), .init(name: "b")] }
        let ofA = try granted(talk.ask(1, tenant: "a", affinity: "k"))
        talk.release(ofA.lease)
        let ofB = try granted(talk.ask(2, tenant: "b", affinity: "k"))
        #expect(ofB.endpoint != ofA.endpoint)
    }

    @Test func itWaitsForItsEndpointAndTakesItWhenItIsFree() throws {
        let talk = shop()
        let first = try granted(talk.ask(1, affinity: "k"))
        #expect(talk.ask(2, affinity: "k") == .held)
        #expect(talk.state.free == 2 && talk.state.queued == 1)
        talk.pass(.seconds(1))
        #expect(talk.state.oldestWait == .seconds(1))
        talk.clear()
        talk.release(first.lease)
        #expect(talk.grants.map(\.endpoint) == [first.endpoint])
    }

    /// The endpoint has gone with its lease still open: it is in the pool's way no more, and nobody's to wait for.
    @Test(arguments: [false, true]) func anEndpointThatItsSourceNamesNoMoreIsNotWaitedFor(isTheOnlyOne: Bool) throws {
        let talk = shop(workers: isTheOnlyOne ? 1 : 2) { ($0.affinityWait, $0.noEndpointsTimeout) = (.seconds(5), .seconds(1)) }
        let first = try granted(talk.ask(1, affinity: "k"))
        #expect(talk.ask(2, affinity: "k") == .held)
        talk.clear()
        talk.say(.endpoints(.remove(pool: talk.pool, first.endpoint)))
        #expect(talk.grantedTickets == (isTheOnlyOne ? [] : [2]))
        #expect(talk.ask(3, affinity: "k") == .held)
        talk.clear()
        talk.pass(.seconds(1))
        #expect(talk.refusals.map(\.reason) == (isTheOnlyOne ? [.noEndpoints, .noEndpoints] : []))
    }

    @Test func afterItsWaitItTakesAnyEndpoint() throws {
        let talk = shop { $0.affinityWait = .seconds(2) }
        let first = try granted(talk.ask(1, affinity: "k"))
        talk.ask(2, affinity: "k")
        talk.clear()
        talk.pass(.milliseconds(1_999))
        #expect(talk.grants.isEmpty)
        talk.pass(.milliseconds(1))
        #expect(talk.grantedTickets == [2] && talk.grants[0].endpoint != first.endpoint)
    }

    @Test func nobodyWaitsForAnEndpointThatDoesNotComeBack() throws {
        for how in 0..<3 {
            let talk = shop()
            let first = try granted(talk.ask(1, affinity: "k"))
            talk.ask(2, affinity: "k")
            talk.clear()
            switch how {
            case 0: talk.release(first.lease, .lostBeforeResponse)
            case 1:
                talk.say(.operated(.drain(endpoint: "uid-\(first.endpoint.low)", pool: nil)))
                talk.release(first.lease)
            default:
                talk.remove(worker(first.endpoint.low))
                talk.release(first.lease)
            }
            #expect(talk.grantedTickets == [2])
            #expect(talk.grants[0].endpoint != first.endpoint)
        }
    }

    @Test func affinityGivesNoPrecedence() throws {
        let talk = shop(workers: 1)
        let first = try granted(talk.ask(1, affinity: "k"))
        talk.ask(2)
        talk.ask(3, affinity: "k")
        talk.clear()
        talk.release(first.lease)
        #expect(talk.grantedTickets == [2])
    }

    @Test func aShortBudgetEndsTheWaitForTheEndpoint() throws {
        let talk = shop()
        _ = try granted(talk.ask(1, affinity: "k"))
        _ = try granted(talk.ask(2, budget: .zero, affinity: "k"))
        talk.ask(3, budget: .milliseconds(500), affinity: "l")
        #expect(talk.state.queued == 0)
    }

    @Test func aCancelAndALostLinkLeaveNothingBehind() throws {
        let talk = shop()
        let first = try granted(talk.ask(1, affinity: "k"))
        talk.ask(2, affinity: "k")
        talk.request(.cancel(TicketID(rawValue: 2)))
        #expect(talk.state.queued == 0)
        let other = talk.connect(instance: 200)
        talk.ask(3, affinity: "k", on: other)
        talk.say(.dispatcherLinkEnded(other))
        talk.say(.dispatcherDied(InstanceID(rawValue: 200)))
        talk.clear()
        talk.release(first.lease)
        #expect(talk.grants.isEmpty && talk.state.queued == 0)
    }

    @Test func onlySoManyWaitForOneEndpointAndTheNextTakesAny() throws {
        let talk = shop(workers: 2) { $0.affinityWait = .seconds(20) }
        _ = try granted(talk.ask(1, affinity: "k"))
        for id in 0..<Keeper.Limits.affinityWaits { #expect(talk.ask(UInt64(100 + id), affinity: "k") == .held) }
        _ = try granted(talk.ask(500, affinity: "k"))
    }

    @Test func theMemoryIsBoundedAndTheLongestUnusedKeyIsForgotten() throws {
        let talk = shop(workers: 2)
        let first = try granted(talk.ask(1, affinity: "first"))
        talk.release(first.lease)
        var actions: [Keeper.Action] = []
        for n in 0..<Keeper.Limits.affinities {
            actions.removeAll()
            let ticket = Ticket(id: TicketID(rawValue: UInt64(10 + n)), pool: talk.pool, affinity: "key-\(n)")
            talk.keeper.handle(.request(Dialogue.firstLink, .ticket(ticket)), at: talk.now, into: &actions)
            guard case .reply(_, .grant(let grant)) = actions.first else { return #expect(Bool(false), "no lease") }
            talk.keeper.handle(.request(Dialogue.firstLink, .release(grant.lease, .served)), at: talk.now, into: &actions)
        }
        talk.keeper.checkInvariants()
        // Whichever endpoint it is now, nobody waits for the old one.
        let busy = try granted(talk.ask(1_000_000))
        let again = try granted(talk.ask(1_000_001, affinity: "first"))
        #expect(again.endpoint != busy.endpoint)
    }
}
