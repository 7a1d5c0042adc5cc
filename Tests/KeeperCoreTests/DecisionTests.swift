import KeeperCore
import Model
import Testing
import Wire

/// What is remembered of each decision.
@Suite struct DecisionTests {
    private func events(_ talk: Dialogue, of ticket: UInt64) -> [Decision.Event] {
        talk.keeper.decisions().map(\.decision).filter { $0.ticket.rawValue == ticket }.map(\.event)
    }

    private func obstacles(_ talk: Dialogue, of ticket: UInt64) -> [Decision.Obstacle] {
        events(talk, of: ticket).compactMap { if case .waits(let obstacle, _, _, _) = $0 { obstacle } else { nil } }
    }

    @Test func aJobsWayIsRememberedFromItsWaitToItsEnd() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        talk.say(.operated(.quarantine(endpoint: "uid-2", pool: nil, duration: .seconds(5))))
        let first = try talk.lease(1)
        talk.pass(.milliseconds(1_500))
        talk.ask(2)
        talk.pass(.seconds(2))
        talk.clear()
        talk.release(first.lease)
        let second = try #require(talk.grants.first)
        talk.release(second.lease, .lostAfterResponse)
        let told = events(talk, of: 2)
        guard case .waits(.noneFree, let passed, 1, false)? = told.first else { return #expect(Bool(false), "\(told)") }
        #expect(passed.leased == 1 && passed.quarantined == 1 && passed.soonestNanoseconds == 3_500_000_000)
        #expect(told.dropFirst().first == .granted(second.lease, second.endpoint, heldNanoseconds: 2_000_000_000))
        #expect(told.last == .ended(second.lease, second.endpoint, .released(.lostAfterResponse), lastedNanoseconds: 0))
        #expect(events(talk, of: 1).count == 2, "one that did not wait is granted and ends")
    }

    @Test func everyReasonToWaitIsNamed() throws {
        let talk = Dialogue(policy { pool in
            pool.reserve = 1
            pool.tenants.append(.init(name: "acme", maxLeased: 1))
        })
        talk.ask(1)
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        talk.upsert(worker(3))
        talk.ask(2, tenant: "acme", affinity: "k")
        talk.ask(3, tenant: "acme")
        talk.ask(4)
        talk.say(.operated(.pause(talk.pool, refuse: false)))
        talk.ask(5)
        #expect((1...5).map { obstacles(talk, of: $0) } == [[.noEndpoint], [], [.tenantCap], [.reserve], [.paused]])
        talk.say(.operated(.resume(talk.pool)))
        talk.ask(6, urgency: 0)
        talk.ask(7)
        #expect(obstacles(talk, of: 7) == [.noneFree])
        let other = Dialogue(policy())
        other.upsert(worker(1))
        other.ask(1, affinity: "k")
        other.ask(2, affinity: "k")
        #expect(obstacles(other, of: 2) == [.affinity])
    }

    @Test func theMemoryIsBoundedAndCountsOn() {
        let talk = Dialogue(policy(), parameters: Keeper.Parameters(epoch: 7, decisions: 10))
        for id in 1...40 { talk.ask(UInt64(id), budget: .zero) }
        let kept = talk.keeper.decisions()
        #expect(kept.map(\.number) == Array(31...40))
        #expect(kept.map(\.decision.ticket.rawValue) == Array(31...40))
        #expect(talk.keeper.decisions(since: 38).map(\.number) == [39, 40])
        #expect(kept.allSatisfy { $0.decision.event == .refused(.noEndpoints, heldNanoseconds: 0, position: 0, queued: 0) })
    }

    private func overtaking(_ talk: Dialogue, of ticket: UInt64) throws -> Overtaking {
        let all = talk.keeper.decisions()
        let own = all.filter { $0.decision.ticket.rawValue == ticket }
        let (first, last) = (try #require(own.first), try #require(own.first { if case .granted = $0.decision.event { true } else { false } }))
        guard case .granted(_, _, let held) = last.decision.event else { throw Dialogue.Silence() }
        let between = all.filter { $0.number > first.number && $0.number < last.number }.map(\.decision)
        return Overtaking(between, over: last.decision, arrival: last.decision.at - .nanoseconds(held))
    }

    @Test func whoCameLaterAndWentFirstIsCountedByWhy() throws {
        let talk = Dialogue(policy { $0.tenants += [.init(name: "a"), .init(name: "b", weight: 2)] })
        talk.upsert(worker(1))
        _ = try talk.lease(1)
        func ask(_ id: UInt64, urgency: UInt8 = 3, tenant: String) {
            talk.pass(.milliseconds(1))
            talk.ask(id, urgency: urgency, tenant: tenant)
        }
        ask(2, tenant: "a")
        ask(3, tenant: "a")
        ask(4, tenant: "b")
        ask(5, tenant: "b")
        ask(6, tenant: "b")
        ask(7, urgency: 1, tenant: "a")
        ask(8, urgency: 5, tenant: "b")
        talk.clear()
        var order: [UInt64] = []
        var lease = try #require(talk.keeper.leaseReports(at: talk.now).first?.lease)
        for _ in 2...8 {
            talk.clear()
            talk.release(lease)
            let grant = try #require(talk.grants.first)
            (lease, order) = (grant.lease, order + [grant.ticket.rawValue])
        }
        #expect(order == [7, 2, 4, 5, 3, 6, 8])
        #expect(try overtaking(talk, of: 2) == Overtaking(moreUrgent: 1))
        #expect(try overtaking(talk, of: 3) == Overtaking(moreUrgent: 1, otherTenants: 2))
        #expect(try overtaking(talk, of: 6) == Overtaking(moreUrgent: 1))
        #expect(try overtaking(talk, of: 8).isNone)
    }

    @Test func aSeatKeepsItsNumberAndAnEndpointItsNameWhenTheyAreGone() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1)
        talk.remove(worker(1))
        talk.release(lease.lease)
        #expect(talk.keeper.endpointReports(of: talk.pool, at: talk.now).isEmpty)
        let decision = try #require(talk.keeper.decisions().first?.decision)
        #expect(talk.keeper.endpointName(lease.endpoint) == "worker-1")
        #expect(talk.keeper.seatName(decision.seat) == "seat-100")
    }
}
