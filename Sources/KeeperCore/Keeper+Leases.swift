import Model
import Wire

// A lease's way: granted → (ending) → over. It ends by its holder's word or by proof of its holder's death, never by time.

extension Keeper {
    /// Gives the member's endpoint to a ticket whose dispatcher is up.
    mutating func grant(
        _ m: Slot, to job: JobPlace, of d: Slot, share: Int, charged level: Int, affinity: UInt64?, at now: Instant, _ actions: inout [Action]
    ) {
        guard let link = dispatchers[d].link else { preconditionFailure("a dispatcher without a link was granted a lease") }
        let (p, e) = (members[m].pool, members[m].endpoint)
        let id = open(e, p, d, for: job, share: share, charged: level, at: now)
        let grant = Grant(
            ticket: job.ticket, lease: id, pool: pools[p].policy.id, endpoint: endpoints[e].id, address: members[m].address,
            alternate: members[m].alternate, dialBy: pools[p].dialBy)
        if let affinity { pools[p].affinities.remember(affinity, grant.endpoint) }
        note(
            .granted(id, grant.endpoint, heldNanoseconds: now.nanoseconds &- job.arrival.nanoseconds), job, p, d,
            share: UInt16(truncatingIfNeeded: share), at: now)
        actions.append(.reply(link, .grant(grant)))
        actions.append(.notice(.granted(id, grant.pool, grant.endpoint, held: now - job.arrival)))
    }

    /// A new lease with the next token; without a job it is a probe.
    mutating func open(_ e: Slot, _ p: Slot, _ d: Slot, for job: JobPlace?, share: Int = 0, charged level: Int = -1, at now: Instant) -> LeaseID {
        latest.counter += 1
        let record = LeaseRecord(
            id: latest, pool: p, endpoint: e, dispatcher: d, told: dispatchers[d].assertion, isProbe: job == nil, since: now,
            job: job, share: UInt16(truncatingIfNeeded: share), charged: Int8(truncatingIfNeeded: level))
        add(record)
        move(e, .used, at: now)
        return record.id
    }

    /// Files a lease and counts it; the endpoint's state follows by `move`.
    mutating func add(_ record: LeaseRecord) {
        let l = leases.insert(record)
        leaseLinks.cover(l, with: Links())
        if record.id.epoch == parameters.epoch {
            leaseSlots.insert(record.id.counter, l)
        } else {
            inheritedLeases[record.id] = l
        }
        dispatchers[record.dispatcher].leases.append(l, &leaseLinks)
        endpoints[record.endpoint].used += 1
        if record.isEnding { endpoints[record.endpoint].ending += 1 }
        if record.isProbe { endpoints[record.endpoint].probes += 1 } else { countJob(record.pool, Int(record.share), by: 1) }
        touch(record.pool)
    }

    @inline(__always)
    private mutating func countJob(_ p: Slot, _ share: Int, by change: UInt32) {
        pools[p].state.leases &+= change
        pools[p].queue.countLease(share, by: change)
    }

    func slot(of lease: LeaseID) -> Slot {
        if lease.epoch == parameters.epoch { return leaseSlots[lease.counter] }
        return inheritedLeases.isEmpty ? .null : inheritedLeases[lease] ?? .null
    }

    /// The lease's slot if this dispatcher holds it. Fencing: nobody else's word counts.
    private func held(_ lease: LeaseID, by d: Slot, _ actions: inout [Action]) -> Slot? {
        let l = slot(of: lease)
        guard l != .null else {
            ignore(.lateRelease, &actions)
            return nil
        }
        guard leases[l].dispatcher == d else {
            ignore(.foreignRelease, &actions)
            return nil
        }
        return l
    }

    mutating func leaseReturned(_ lease: LeaseID, _ end: Notice.LeaseEnd, by d: Slot, at now: Instant, _ actions: inout [Action]) {
        guard let l = held(lease, by: d, &actions) else { return }
        dispatchers[d].returned = leases[l].job
        close(l, end, at: now, &actions)
    }

    mutating func leaseEnding(_ lease: LeaseID, by d: Slot, at now: Instant, _ actions: inout [Action]) {
        guard let l = held(lease, by: d, &actions), !leases[l].isEnding else { return }
        leases[l].isEnding = true
        endpoints[leases[l].endpoint].ending += 1
        move(leases[l].endpoint, .used, at: now)
    }

    /// Ends a lease and says what becomes of its endpoint.
    mutating func close(_ l: Slot, _ end: Notice.LeaseEnd, at now: Instant, _ actions: inout [Action]) {
        let (id, p, e, d) = (leases[l].id, leases[l].pool, leases[l].endpoint, leases[l].dispatcher)
        let (isProbe, lasted) = (leases[l].isProbe, now - leases[l].since)
        let (share, charged) = (Int(leases[l].share), Int(leases[l].charged))
        if id.epoch == parameters.epoch { leaseSlots.remove(id.counter) } else { inheritedLeases[id] = nil }
        dispatchers[d].leases.remove(l, &leaseLinks)
        endpoints[e].used -= 1
        if leases[l].isEnding { endpoints[e].ending -= 1 }
        if isProbe { endpoints[e].probes -= 1 } else { countJob(p, share, by: .max) }  // one less, modulo 2³²
        if charged >= 0, end.isUnserved { pools[p].queue.refund(share, charged) }
        if leases[l].isEscrowed { actions.append(end.isAccounted ? .closeWorker(dispatchers[d].instance, id) : .fence(dispatchers[d].instance, id)) }
        if !isProbe {
            // Of one that another pool-keeper granted, nothing but the lease is known.
            let job = leases[l].job ?? JobPlace(ticket: TicketID(rawValue: 0), arrival: leases[l].since)
            note(
                .ended(id, endpoints[e].id, end, lastedNanoseconds: lasted.nanoseconds), job, p, d, share: leases[l].share, at: now)
        }
        leases.remove(l)
        touch(p)
        actions.append(.notice(.leaseEnded(id, pools[p].policy.id, endpoints[e].id, end, lasted: lasted)))
        payDrained(e, &actions)

        switch end {
        case .released(let outcome):
            switch outcome {
            case .unused: move(e, .unused, at: now)
            case .probePassed:
                endpoints[e].lastLeaseEnd = now
                move(e, .entered, at: now)
            case .served, .abandoned:
                noteSuccess(e, at: now, &actions)
                pools[p].noteEnd(at: now)
                reuse(e, p, at: now, &actions)
                move(e, .used, at: now)
            case .lostBeforeResponse, .lostAfterResponse, .firstByteTimeout, .busy, .endingTimeout, .cut, .probeFailed:
                if !isProbe {
                    pools[p].noteEnd(at: now)
                    wear(e, p, &actions)
                }
                quarantine(e, p, .outcome(outcome), at: now, &actions)
            }
        case .dialFailed(.ours): move(e, .unused, at: now)
        case .dialFailed(let failure):
            if failure == .timedOut { noteTimeout(e, at: now, &actions) }
            quarantine(e, p, .dialFailed(failure), at: now, &actions)
        case .holderDied:
            wear(e, p, &actions)
            let policy = pools[p].policy
            quarantine(e, p, .holderDied, lasting: max(policy.quarantine.first, policy.abandon), at: now, &actions)
        case .unaccounted:
            wear(e, p, &actions)
            quarantine(e, p, .unaccounted, at: now, &actions)
        }
    }

    /// A lease has reached the worker: a single-use one is used up.
    private mutating func wear(_ e: Slot, _ p: Slot, _ actions: inout [Action]) {
        if pools[p].policy.reuse == .never { useUp(e, &actions) }
    }

    /// What the pool's `reuse` asks of an endpoint that has done its job.
    private mutating func reuse(_ e: Slot, _ p: Slot, at now: Instant, _ actions: inout [Action]) {
        endpoints[e].lastLeaseEnd = now
        switch pools[p].policy.reuse {
        case .immediate: break
        case .never: useUp(e, &actions)
        case .whenReady(let settle):
            if isUnready(e) {
                endpoints[e].recovery = .awaitingReady
                if !endpoints[e].isQuarantined { setTimer(e, .never) }
            } else if endpoints[e].isQuarantined {
                setTimer(e, max(timer(of: e), now + settle))
            } else {
                endpoints[e].recovery = .settling
                setTimer(e, now + settle)
            }
        }
    }
}
