import KeeperCore
import Model
import TestKit
import Testing
import Wire

/// Whose turn it is: urgency, shares, ageing.
@Suite struct FairnessTests {
    /// One worker that is always wanted: each release is one grant.
    private struct Shop {
        let talk: Dialogue
        var lease: LeaseID
        var next: UInt64 = 1_000_000

        init(_ change: (inout PoolPolicy) -> Void) throws {
            talk = Dialogue(policy { pool in
                (pool.holdTimeout, pool.maxQueued, pool.maxBytes) = (.seconds(1_000_000), 1_000_000, nil)
                pool.ageAfter = .zero
                change(&pool)
            })
            talk.upsert(worker(1))
            lease = try talk.lease(0).lease
        }

        /// One more that waits; without the check of everything that a dialogue makes after each word.
        func join(_ id: UInt64, tenant: String) {
            var actions: [Keeper.Action] = []
            let ticket = Ticket(id: TicketID(rawValue: id), pool: talk.pool, tenant: tenant)
            talk.keeper.handle(.request(Dialogue.firstLink, .ticket(ticket)), at: talk.now, into: &actions)
        }

        /// The next ticket that is granted.
        mutating func serve() throws -> UInt64 {
            var actions: [Keeper.Action] = []
            talk.keeper.handle(.request(Dialogue.firstLink, .release(lease, .served)), at: talk.now, into: &actions)
            let grant = actions.compactMap { action -> Grant? in
                if case .reply(_, .grant(let grant)) = action { grant } else { nil }
            }.first
            lease = try #require(grant).lease
            return try #require(grant).ticket.rawValue
        }
    }

    @Test(arguments: [[1, 3], [1, 1, 1], [1, 2, 7], [5, 300, 1000]])
    func overTenThousandGrantsEveryTenantGetsItsShareWithinFivePercent(weights: [Int]) throws {
        let names = weights.indices.map { "t\($0)" }
        var shop = try Shop { pool in pool.tenants += zip(names, weights).map { .init(name: $0, weight: $1) } }
        for round in 0..<20 {
            for tenant in names.indices { shop.talk.ask(UInt64(1 + round * names.count + tenant), tenant: names[tenant]) }
        }
        var owner: [UInt64: Int] = [:]
        for id in 1...UInt64(20 * names.count) { owner[id] = Int((id - 1)) % names.count }
        var counts = [Int](repeating: 0, count: names.count)
        var fresh = UInt64(100_000)
        for _ in 0..<10_000 {
            let tenant = try #require(owner[try shop.serve()])
            counts[tenant] += 1
            // Always as many wait.
            fresh += 1
            owner[fresh] = tenant
            shop.join(fresh, tenant: names[tenant])
        }
        let sum = weights.reduce(0, +)
        for (count, weight) in zip(counts, weights) {
            let fair = 10_000 * Double(weight) / Double(sum)
            #expect(abs(Double(count) - fair) <= max(fair * 0.05, 2), "\(counts) for \(weights)")
        }
    }

    @Test func theMoreUrgentGoesFirstAndByArrivalAmongEquals() throws {
        var shop = try Shop { _ in }
        for (id, urgency) in [(1, 3), (2, 7), (3, 0), (4, 3), (5, 1), (6, 0)] as [(UInt64, UInt8)] { shop.talk.ask(id, urgency: urgency) }
        var order: [UInt64] = []
        for _ in 1...6 { order.append(try shop.serve()) }
        #expect(order == [3, 6, 5, 1, 4, 2])
    }

    /// A tenant that floods the queue delays another's only job by its share, not by its crowd.
    @Test func aLonelyJobIsNotBehindAnothersThousand() throws {
        var shop = try Shop { $0.tenants += [.init(name: "crowd"), .init(name: "lone")] }
        for id in 1...1_000 { shop.join(UInt64(id), tenant: "crowd") }
        for _ in 1...10 { _ = try shop.serve() }
        shop.talk.ask(5_000, tenant: "lone")
        let next = [try shop.serve(), try shop.serve()]
        #expect(next.contains(5_000), "\(next)")
    }

    /// One that was idle has not saved up: it gets its share from now on, and no more.
    @Test func aTenantThatComesBackHasSavedNothing() throws {
        var shop = try Shop { $0.tenants += [.init(name: "a"), .init(name: "b")] }
        for id in 1...2_000 { shop.join(UInt64(id), tenant: "a") }
        shop.talk.ask(2_001, urgency: 7)
        for _ in 1...1_000 { _ = try shop.serve() }
        for id in 3_001...3_500 { shop.join(UInt64(id), tenant: "b") }
        var ofB = 0
        for _ in 1...200 where try shop.serve() > 3_000 { ofB += 1 }
        #expect((95...105).contains(ofB))
    }

    @Test func aGrantThatReachedNoWorkerCostsItsTenantNothing() throws {
        let talk = Dialogue(policy { $0.tenants += [.init(name: "a"), .init(name: "b")] })
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        let first = try talk.lease(1).lease
        _ = try talk.lease(2)
        for id in [10, 11, 12] as [UInt64] { talk.ask(id, tenant: "a") }
        talk.pass(.milliseconds(1))
        for id in [20, 21, 22] as [UInt64] { talk.ask(id, tenant: "b") }
        talk.clear()
        talk.release(first)
        #expect(talk.grantedTickets == [10])
        talk.request(.unused(talk.grants[0].lease))
        // It has not had its turn: the next is its own again.
        #expect(talk.grantedTickets == [10, 11])
        talk.release(talk.grants[1].lease)
        #expect(talk.grantedTickets == [10, 11, 20])
    }

    @Test func tenantsThatNobodyConfiguredAreTheDefaultOne() throws {
        var shop = try Shop { $0.tenants += [.init(name: "acme", weight: 2)] }
        for id in 1...30 { shop.talk.ask(UInt64(id), tenant: "stranger-\(id)") }
        for id in 101...130 { shop.talk.ask(UInt64(id), tenant: "acme") }
        #expect(shop.talk.state.tenants.map(\.name) == ["default", "acme"])
        #expect(shop.talk.state.tenants.map(\.queued) == [30, 30])
        var strangers = 0
        for _ in 1...30 where try shop.serve() <= 30 { strangers += 1 }
        #expect((9...11).contains(strangers))
    }

    // Ageing.

    /// A ticket rises one urgency for each age-after, so nothing more urgent that comes later overtakes it for ever.
    @Test func theLeastUrgentIsServedAlthoughUrgentJobsNeverStopComing() throws {
        var shop = try Shop { $0.ageAfter = .seconds(10) }
        shop.talk.ask(1, urgency: 7)
        var id: UInt64 = 100
        var waited = Duration.zero
        while true {
            for _ in 0..<2 {
                id += 1
                shop.talk.ask(id, urgency: 0)
            }
            shop.talk.now = shop.talk.now + .seconds(1)
            waited += .seconds(1)
            if try shop.serve() == 1 { break }
            try #require(waited < .seconds(200))
            shop.talk.clear()
        }
        // Seven steps to urgency 0, and then all that came before it in that line: half of two a second, of which one is served.
        #expect(waited >= .seconds(70) && waited <= .seconds(150))
    }

    @Test func aTicketThatHasRisenGoesBeforeItsNewEqualsByItsArrival() throws {
        var shop = try Shop { $0.ageAfter = .seconds(10) }
        shop.talk.ask(1, urgency: 4)
        shop.talk.pass(.seconds(9))
        shop.talk.ask(2, urgency: 3)
        shop.talk.pass(.milliseconds(999))
        #expect(shop.talk.keeper.ticketReports(of: shop.talk.pool, at: shop.talk.now).map(\.ticket.rawValue) == [2, 1])
        shop.talk.pass(.milliseconds(1))
        #expect(shop.talk.keeper.ticketReports(of: shop.talk.pool, at: shop.talk.now).map(\.ticket.rawValue) == [1, 2])
        #expect(try shop.serve() == 1)
    }

    @Test func withoutAgeingTheLeastUrgentWaitsForAllOthers() throws {
        var shop = try Shop { _ in }
        shop.talk.ask(1, urgency: 7)
        for id in 2...200 {
            shop.talk.ask(UInt64(id), urgency: 3)
            shop.talk.now = shop.talk.now + .seconds(60)
        }
        for id in 2...200 { #expect(try shop.serve() == UInt64(id)) }
        #expect(try shop.serve() == 1)
    }

    /// Sixty seeds of a mixed crowd: what is served next is what the report said would be, until somebody comes.
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func theReportsOrderIsTheOrderOfService(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var shop = try Shop { pool in
            pool.tenants += [.init(name: "a", weight: 2), .init(name: "b", weight: 3)]
            pool.ageAfter = .seconds(5)
        }
        for id in 1...60 {
            shop.talk.now = shop.talk.now + .milliseconds(Int.random(in: 1...400, using: &random))
            shop.talk.ask(
                UInt64(id), urgency: UInt8.random(in: 2...4, using: &random), tenant: ["", "a", "b"].randomElement(using: &random) ?? "")
        }
        let reported = shop.talk.keeper.ticketReports(of: shop.talk.pool, at: shop.talk.now).map(\.ticket.rawValue)
        var served: [UInt64] = []
        for _ in 0..<60 { served.append(try shop.serve()) }
        // Among tenants with equal shares of one level the report guesses by arrival, as the keeper does.
        #expect(served == reported, "seed \(seed)")
        shop.talk.keeper.checkInvariants()
    }
}
