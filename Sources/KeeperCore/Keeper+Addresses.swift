import Model

// Addresses that more than one endpoint has. An address is used again as soon as its pod is gone, and a job that was granted the old
// UID a moment too late is dialled to the new one: whoever holds an address by a lease holds it against every other UID there.

extension Keeper {
    /// Files the member under its addresses; the caller moves the endpoint afterwards. O(1) where nobody shares.
    mutating func claim(_ m: Slot, at now: Instant) {
        claim(m, members[m].address, at: now)
        if let alternate = members[m].alternate { claim(m, alternate, at: now) }
        if endpoints[members[m].endpoint].hasRivals { review(members[m].endpoint, at: now, moves: false) }
    }

    private mutating func claim(_ m: Slot, _ address: SocketAddress, at now: Instant) {
        guard let first = addressMembers[address] else {
            addressMembers[address] = m
            return
        }
        sharedAddresses[address, default: [first]].append(m)
        for other in sharedAddresses[address] ?? [] {
            review(members[other].endpoint, at: now, moves: members[other].endpoint != members[m].endpoint)
        }
    }

    /// Takes the member out from under its addresses.
    mutating func disclaim(_ m: Slot, at now: Instant) {
        disclaim(m, members[m].address, at: now)
        if let alternate = members[m].alternate { disclaim(m, alternate, at: now) }
    }

    private mutating func disclaim(_ m: Slot, _ address: SocketAddress, at now: Instant) {
        guard var sharing = sharedAddresses[address] else {
            addressMembers[address] = nil
            return
        }
        sharing.removeAll { $0 == m }
        addressMembers[address] = sharing.first
        sharedAddresses[address] = sharing.count > 1 ? sharing : nil
        for other in sharing { review(members[other].endpoint, at: now, moves: members[other].endpoint != members[m].endpoint) }
    }

    /// Other endpoints that have one of this one's addresses. Cost: those that share.
    func rivals(of e: Slot) -> [Slot] {
        var found: [Slot] = []
        var m = endpoints[e].firstMember
        while m != .null {
            for address in [members[m].address, members[m].alternate].compactMap({ $0 }) {
                for other in sharedAddresses[address] ?? [] {
                    let rival = members[other].endpoint
                    if rival != e, !found.contains(rival) { found.append(rival) }
                }
            }
            m = members[m].nextOfEndpoint
        }
        return found
    }

    /// Looks again whether somebody else holds one of the endpoint's addresses.
    mutating func review(_ e: Slot, at now: Instant, moves: Bool = true) {
        let rivals = rivals(of: e)
        let isOccupied = rivals.contains { endpoints[$0].holdsAddress }
        endpoints[e].hasRivals = !rivals.isEmpty
        if endpoints[e].isOccupied == isOccupied { return }
        endpoints[e].isOccupied = isOccupied
        if moves { move(e, .entered, at: now) }
    }
}
