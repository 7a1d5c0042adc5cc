import Model

// Two endpoints that claim one address: whoever is dialled there, one process answers.
//
// It happens when an address is reused before the feed has forgotten its last owner: a pod's IP, the port of a local worker that
// was started again, a saved state that a restarted watcher serves. A UID tells the two apart; a connect does not. So of the
// endpoints with one address at most one is on offer: the one that the source named last, and only while no other has a lease, or was cut in the middle of
// one a moment ago.
//
// A pod has its host for itself, and its ports in several pools. Where one pool's slices have heard that the host has a new owner and
// another's have not, the old owner is still named, at a port that nobody contests. So an endpoint that has lost its place in one
// pool keeps its claim there for as long as another names it on the same host: who comes to that address shadows it in all of them.

extension Keeper {
    /// The endpoint is named at, or has a lease at, this address. O(1) for an address with one owner.
    mutating func claim(_ address: SocketAddress, _ e: Slot, at now: Instant) {
        if var rivals = contested[address] {
            if rivals.last == e { return }
            rivals.removeAll { $0 == e }
            rivals.append(e)
            contested[address] = rivals
            endpoints[e].isContested = true
            settle(address, rivals, at: now)
        } else if let owner = owners[address], owner != e {
            contested[address] = [owner, e]
            endpoints[owner].isContested = true
            endpoints[e].isContested = true
            settle(address, [owner, e], at: now)
        } else if owners[address] == nil {
            owners[address] = e
        }
    }

    /// The endpoint has lost this address, unless another of its members has it.
    mutating func disclaim(_ address: SocketAddress, _ e: Slot, at now: Instant) {
        if has(e, address, named: false) { return }
        guard var rivals = contested[address] else {
            if owners[address] == e { owners[address] = nil }
            return
        }
        rivals.removeAll { $0 == e }
        if owners[address] == e { owners[address] = rivals.first }
        contested[address] = rivals.count > 1 ? rivals : nil
        endpoints[e].isContested = isContested(e)
        for rival in rivals { endpoints[rival].isContested = isContested(rival) }
        settle(address, rivals, at: now)
    }

    /// Brings the offers of the endpoints that share an address with this one in line with its leases.
    mutating func settleRivals(of e: Slot, at now: Instant) {
        for address in addresses(of: e) {
            guard let rivals = contested[address] else { continue }
            settle(address, rivals.filter { $0 != e }, at: now)
        }
    }

    private mutating func settle(_ address: SocketAddress, _ rivals: [Slot], at now: Instant) {
        for rival in rivals {
            // One that went with an earlier one's move has nothing to settle.
            guard contested[address]?.contains(rival) ?? (owners[address] == rival) else { continue }
            if endpoints[rival].isShadowed != isShadowed(rival) { move(rival, .entered, at: now) }
        }
    }

    /// Whether a dial of this endpoint could reach another one's worker.
    func isShadowed(_ e: Slot) -> Bool {
        guard endpoints[e].isContested else { return false }
        return addresses(of: e).contains { address in
            guard let rivals = contested[address] else { return false }
            let newest = rivals.last { has($0, address, named: true) }
            return newest != e && newest != nil || rivals.contains { $0 != e && endpoints[$0].holdsAddress }
        }
    }

    private func isContested(_ e: Slot) -> Bool { addresses(of: e).contains { contested[$0] != nil } }

    /// Whether a member has the address; `named` counts only those that the source still names.
    private func has(_ e: Slot, _ address: SocketAddress, named: Bool) -> Bool {
        var m = endpoints[e].firstMember
        while m != .null {
            let isMeant = members[m].address == address || members[m].alternate == address
            if isMeant && !(named && members[m].isGone) { return true }
            m = members[m].nextOfEndpoint
        }
        return false
    }

    private func addresses(of e: Slot) -> [SocketAddress] {
        var out: [SocketAddress] = []
        var m = endpoints[e].firstMember
        while m != .null {
            out.append(members[m].address)
            if let alternate = members[m].alternate { out.append(alternate) }
            m = members[m].nextOfEndpoint
        }
        return out
    }
}
