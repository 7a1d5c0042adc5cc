import KeeperCore
import Model
import TestKit
import Testing
import Wire

/// Order at a size where tables grow and heaps are deep.
@Suite struct OrderTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func thousandsOfTicketsOfAllAgesAreServedByArrival(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let talk = Dialogue(policy { ($0.holdTimeout, $0.maxQueued) = (.seconds(100_000), 100_000) })
        let links = [Dialogue.firstLink, talk.connect(instance: 200), talk.connect(instance: 300)]
        talk.upsert(worker(1))
        let first = try talk.lease(0).lease
        var line: [(arrival: Instant, sequence: Int, id: UInt64, link: DispatcherID)] = []
        var actions: [Keeper.Action] = []
        func say(_ link: DispatcherID, _ request: LeasingRequest) {
            actions.removeAll()
            talk.keeper.handle(.request(link, request), at: talk.now, into: &actions)
        }
        for sequence in 1...4000 {
            talk.now = talk.now + .microseconds(10)
            // Ids far apart, as a dispatcher may choose them.
            let id = UInt64.random(in: 1...(.max), using: &random)
            let link = links[Int.random(in: 0..<3, using: &random)]
            let age = Duration.microseconds(random.chance(50) ? 0 : Int.random(in: 0...50_000, using: &random))
            let budget: Duration? = random.chance(30) ? .seconds(90_000) : nil
            say(link, .ticket(Ticket(id: TicketID(rawValue: id), pool: talk.pool, age: age, budget: budget)))
            line.append((talk.now - age, sequence, id, link))
            if random.chance(30) {
                let left = line.remove(at: Int.random(in: 0..<line.count, using: &random))
                say(left.link, .cancel(TicketID(rawValue: left.id)))
            }
        }
        talk.keeper.checkInvariants()
        line.sort { ($0.arrival, $0.sequence) < ($1.arrival, $1.sequence) }
        var holder = Dialogue.firstLink
        var lease = first
        for expected in line {
            say(holder, .release(lease, .served))
            let grant = actions.compactMap { action -> Grant? in
                if case .reply(expected.link, .grant(let grant)) = action { grant } else { nil }
            }.first
            try #require(grant?.ticket.rawValue == expected.id)
            (holder, lease) = (expected.link, grant?.lease ?? lease)
        }
        talk.keeper.checkInvariants()
        #expect(talk.state.queued == 0)
    }

    @Test(arguments: [PoolPolicy.Order.spread, .pack], [1, 2, 3] as [UInt64])
    func theOrderOfEndpointsIsThatOfTheirLastUse(order: PoolPolicy.Order, seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let talk = Dialogue(policy { $0.order = order })
        let count: UInt64 = 6
        for n in 1...count { talk.upsert(worker(n)) }
        // Least recently used first; in `pack` the first that came is as good as used last.
        var free = order == .spread ? Array(1...count) : (1...count).reversed()
        var running: [Grant] = []
        for id in 1...400 {
            if !free.isEmpty, running.isEmpty || random.chance(50) {
                let expected = order == .spread ? free.removeFirst() : free.removeLast()
                let grant = try talk.lease(UInt64(id))
                #expect(grant.endpoint.low == expected)
                running.append(grant)
            } else {
                let ended = running.remove(at: Int.random(in: 0..<running.count, using: &random))
                if random.chance(20) {
                    talk.request(.unused(ended.lease))
                    if order == .spread { free.insert(ended.endpoint.low, at: 0) } else { free.append(ended.endpoint.low) }
                } else {
                    talk.release(ended.lease)
                    free.append(ended.endpoint.low)
                }
            }
        }
    }
}
