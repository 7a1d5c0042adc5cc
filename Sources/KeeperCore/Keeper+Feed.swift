import Model
import Wire

// The watcher's feed: snapshots, which count only when complete, and deltas.

extension Keeper {
    mutating func told(_ message: EndpointsMessage, at now: Instant, _ actions: inout [Action]) {
        switch message {
        case .source(let health): source = health
        case .propagated(let age): propagation.add(age)
        case .snapshotBegin: staged = []
        case .snapshotEnd: applySnapshot(at: now, &actions)
        case .upsert(let pool, let endpoint):
            if staged != nil { staged?.append(message) } else { upsert(pool, endpoint, at: now, &actions) }
        case .remove(let pool, let endpoint):
            if staged != nil { staged?.append(message) } else { remove(pool, endpoint, at: now, &actions) }
        }
    }

    /// Applies the difference between what is known and the snapshot. What it does not name is removed; a lease on
    /// that stays. A source that knows nothing yet says nothing: its snapshot is not an empty world.
    private mutating func applySnapshot(at now: Instant, _ actions: inout [Action]) {
        guard let messages = staged else { return }
        staged = nil
        guard source.state != .unknown else { return }
        snapshots += 1
        for message in messages {
            switch message {
            case .upsert(let pool, let endpoint): upsert(pool, endpoint, at: now, &actions)
            case .remove(let pool, let endpoint): remove(pool, endpoint, at: now, &actions)
            case .source, .snapshotBegin, .snapshotEnd, .propagated: break
            }
        }
        for p in poolOrder {
            if !pools[p].isKnown {
                pools[p].isKnown = true
                touch(p)
            }
            for m in pools[p].members.slots(poolLinks) where members[m].seen != snapshots && !members[m].isGone {
                leave(m, at: now)
            }
        }
        recoverIfComplete(at: now, &actions)
    }

    private mutating func upsert(_ pool: PoolID, _ endpoint: Endpoint, at now: Instant, _ actions: inout [Action]) {
        guard let address = endpoint.addresses.first else { return remove(pool, endpoint.id, at: now, &actions) }
        let p = poolSlot(pool)
        let e = endpointSlots[endpoint.id] ?? addEndpoint(endpoint.id)
        var m = member(of: e, in: p)
        let isNew = m == .null
        var turned: (from: Bool, to: Bool)?
        if isNew {
            m = addMember(e, p, endpoint, address: address, isGone: false)
        } else {
            if members[m].isGone {
                members[m].isGone = false
                if members[m].isKept {
                    members[m].isKept = false
                    setSlots(e)
                }
                endpoints[e].goneMembers -= 1
                pools[p].existing += 1
            } else {
                turned = (members[m].isUsable, endpoint.isUsable)
            }
            if members[m].isLocal != endpoint.isLocal { setLocal(m, endpoint.isLocal) }
            members[m].isUsable = endpoint.isUsable
            descriptions[Int(m)] = endpoint
        }
        setAddresses(m, address, endpoint.addresses.first { $0.family != address.family }, at: now)
        members[m].seen = snapshots
        inherit(e, p, at: now, &actions)
        setNode(e, endpoint.node)
        touch(p)
        switch turned {
        case (true, false)?: turnedUnready(e)
        case (false, true)?: turnedReady(e, at: now, &actions)
        case nil where !isNew: cameBack(e, at: now)
        case (true, true)?, (false, false)?, nil: break
        }
        if timer(of: e) == .never, endpoints[e].recovery == .none { scheduleProbe(e, at: now) }
        move(e, .entered, at: now)
    }

    private mutating func setAddresses(_ m: Slot, _ address: SocketAddress, _ alternate: SocketAddress?, at now: Instant) {
        let (e, oldAddress, oldAlternate) = (members[m].endpoint, members[m].address, members[m].alternate)
        members[m].address = address
        members[m].alternate = alternate
        if oldAddress != address { disclaim(oldAddress, e, at: now) }
        if let oldAlternate, oldAlternate != alternate { disclaim(oldAlternate, e, at: now) }
        claim(address, e, at: now)
        if let alternate { claim(alternate, e, at: now) }
    }

    private mutating func setLocal(_ m: Slot, _ isLocal: Bool) {
        let p = members[m].pool
        if let state = members[m].state {
            pools[p].count(state, isLocal: members[m].isLocal, by: .max)
            pools[p].count(state, isLocal: isLocal, by: 1)
        }
        if members[m].isIdle {
            pools[p].idle.remove(m, &idleLinks)
            members[m].isIdle = false
        }
        members[m].isLocal = isLocal
    }

    private mutating func remove(_ pool: PoolID, _ endpoint: EndpointID, at now: Instant, _ actions: inout [Action]) {
        let p = poolSlots[UInt64(pool.rawValue)]
        guard p != .null, let e = endpointSlots[endpoint] else { return ignore(.lateRemove, &actions) }
        let m = member(of: e, in: p)
        guard m != .null, !members[m].isGone else { return ignore(.lateRemove, &actions) }
        leave(m, at: now)
    }

    /// The source names the member no more. It goes at once, or with the endpoint's last lease.
    private mutating func leave(_ m: Slot, at now: Instant) {
        let (p, e) = (members[m].pool, members[m].endpoint)
        members[m].isGone = true
        endpoints[e].goneMembers += 1
        pools[p].existing -= 1
        touch(p)
        // Whoever waits for it waits for one that does not come back.
        if members[m].isWanted { wantedMoved(m, nil, at: now) }
        cameBack(e, at: now)
        move(e, .entered, at: now)
    }
}
