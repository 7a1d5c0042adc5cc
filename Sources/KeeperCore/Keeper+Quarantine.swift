import Model
import Wire

// Endpoints that are set aside for a moment, and nodes that are avoided.

extension Keeper {
    /// Dial time-outs in a row after which a node's endpoints are taken last.
    static var timeoutsUntilAvoided: UInt8 { 3 }

    /// Sets the endpoint aside: `first`, doubling to `most` with every failure since the last served lease.
    mutating func quarantine(
        _ e: Slot, _ p: Slot, _ cause: Notice.QuarantineCause, lasting: Duration? = nil, at now: Instant, _ actions: inout [Action]
    ) {
        let policy = pools[p].policy.quarantine
        var length = lasting?.nanoseconds ?? policy.first.nanoseconds
        if lasting == nil, Self.isFault(cause), !endpoints[e].isQuarantined {
            let most = policy.most.nanoseconds
            let (doubled, overflow) = length.multipliedReportingOverflow(by: 1 << Int64(min(endpoints[e].repeats, 40)))
            length = overflow ? most : min(doubled, max(most, length))
            endpoints[e].repeats = min(endpoints[e].repeats, .max - 1) + 1
        }
        endpoints[e].lastLeaseEnd = now
        var until = now.advanced(by: length)
        if endpoints[e].isQuarantined || endpoints[e].recovery == .settling { until = max(until, timer(of: e)) }
        if endpoints[e].recovery == .settling { endpoints[e].recovery = .none }
        endpoints[e].isQuarantined = true
        if Self.isCut(cause) {
            endpoints[e].cutUntil = max(endpoints[e].cutUntil, now.advanced(by: lasting?.nanoseconds ?? policy.first.nanoseconds))
        }
        setTimer(e, until)
        actions.append(.notice(.quarantined(endpoints[e].id, pools[p].policy.id, cause, duration: until - now)))
        move(e, .entered, at: now)
    }

    /// Whether the endpoint showed a failure of its own: only these make the next quarantine longer.
    private static func isFault(_ cause: Notice.QuarantineCause) -> Bool {
        switch cause {
        // A tunnel that ends by a reset is how some servers say good-bye.
        case .outcome(.lostAfterResponse): false
        case .dialFailed, .outcome: true
        case .holderDied, .unaccounted, .byOperator: false
        }
    }

    /// Whether the worker may still be at the job: its connection was cut by us, or nobody knows.
    private static func isCut(_ cause: Notice.QuarantineCause) -> Bool {
        switch cause {
        case .holderDied, .unaccounted: true
        case .outcome(let outcome): outcome.isCut
        case .dialFailed, .byOperator: false
        }
    }

    /// Goes on with what an earlier pool-keeper had set aside.
    mutating func inherit(_ e: Slot, _ p: Slot, at now: Instant, _ actions: inout [Action]) {
        if inherited.isEmpty { return }
        guard let until = inherited.removeValue(forKey: endpoints[e].id), until > now else { return }
        quarantine(e, p, .holderDied, lasting: until - now, at: now, &actions)
    }

    /// Ends a quarantine, by time or for a better reason.
    mutating func endQuarantine(_ e: Slot, at now: Instant, _ actions: inout [Action]) {
        endpoints[e].isQuarantined = false
        endpoints[e].cutUntil = Instant(nanoseconds: .min)
        scheduleProbe(e, at: now)
        actions.append(.notice(.quarantineEnded(endpoints[e].id)))
        move(e, .entered, at: now)
    }

    /// The source has shown the endpoint unready and now ready: whatever was wrong with it, it has begun anew. But not so soon after
    /// a cut: what the source shows may be older than that, and the worker still at its job.
    mutating func turnedReady(_ e: Slot, at now: Instant, _ actions: inout [Action]) {
        let wasAwaited = endpoints[e].recovery == .awaitingReady
        if wasAwaited { endpoints[e].recovery = .none }
        if endpoints[e].isQuarantined {
            if endpoints[e].cutUntil <= now { endQuarantine(e, at: now, &actions) }
        } else if wasAwaited {
            scheduleProbe(e, at: now)
            move(e, .entered, at: now)
        }
    }

    /// A source has named the endpoint again, or one of several no more: what was unready may now be ready without having turned so
    /// before our eyes.
    mutating func cameBack(_ e: Slot, at now: Instant) {
        guard endpoints[e].recovery == .awaitingReady, isNamed(e), !isUnready(e) else { return }
        endpoints[e].recovery = .none
        if !endpoints[e].isQuarantined { scheduleProbe(e, at: now) }
    }

    mutating func turnedUnready(_ e: Slot) {
        guard endpoints[e].recovery == .settling else { return }
        endpoints[e].recovery = .awaitingReady
        setTimer(e, .never)
    }

    /// A lease was served: the endpoint's next quarantine is a first one, and its node answers.
    mutating func noteSuccess(_ e: Slot, at now: Instant, _ actions: inout [Action]) {
        endpoints[e].repeats = 0
        let n = endpoints[e].node
        if n != .null, nodes[n].timeouts > 0 { trust(n, at: now, &actions) }
    }

    mutating func noteTimeout(_ e: Slot, at now: Instant, _ actions: inout [Action]) {
        let n = endpoints[e].node
        guard n != .null else { return }
        nodes[n].timeouts = min(nodes[n].timeouts, .max - 1) + 1
        guard nodes[n].timeouts >= Self.timeoutsUntilAvoided else { return }
        timers.set(Timer.node.number(n), to: now + parameters.nodeAvoidance)
        if nodes[n].isAvoided { return }
        nodes[n].isAvoided = true
        actions.append(.notice(.nodeAvoided(endpoints[e].id)))
        relist(n)
    }

    /// Ends the avoidance of a node, and the row of its time-outs.
    mutating func trust(_ n: Slot, at now: Instant, _ actions: inout [Action]) {
        nodes[n].timeouts = 0
        guard nodes[n].isAvoided else { return }
        nodes[n].isAvoided = false
        timers.set(Timer.node.number(n), to: .never)
        if nodes[n].endpoints.head != .null { actions.append(.notice(.nodeTrusted(endpoints[nodes[n].endpoints.head].id))) }
        relist(n)
    }

    /// Moves the free endpoints of a node to the list where they now belong. Cost: the node's endpoints.
    private mutating func relist(_ n: Slot) {
        var e = nodes[n].endpoints.head
        while e != .null {
            var m = endpoints[e].firstMember
            while m != .null {
                if members[m].state == .free { list(m, .entered) }
                m = members[m].nextOfEndpoint
            }
            e = nodeLinks[Int(e)].next
        }
    }

    /// Files the endpoint under its node; an empty name is none.
    mutating func setNode(_ e: Slot, _ name: String) {
        let old = endpoints[e].node
        if old == .null ? name.isEmpty : nodes[old].name == name { return }
        if old != .null {
            nodes[old].endpoints.remove(e, &nodeLinks)
            if nodes[old].endpoints.isEmpty {
                timers.set(Timer.node.number(old), to: .never)
                nodeSlots[nodes[old].name] = nil
                nodes.remove(old)
            }
        }
        endpoints[e].node = .null
        if name.isEmpty { return }
        let n = nodeSlots[name] ?? nodes.insert(NodeRecord(name: name))
        nodeSlots[name] = n
        nodes[n].endpoints.append(e, &nodeLinks)
        endpoints[e].node = n
    }
}
