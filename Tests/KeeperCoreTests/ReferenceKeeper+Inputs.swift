import KeeperCore
import Model
import Wire

extension ReferenceKeeper {
    func apply(_ input: Keeper.Input) throws {
        switch input {
        case .wake: break
        case .dispatcherConnected(let link, let instance, let seat): try connected(link, instance, seat)
        case .dispatcherLinkEnded(let link): unlink(link)
        case .dispatcherDied(let instance): died(instance)
        case .request(let link, let request):
            guard let instance = processes.first(where: { $0.value.link == link })?.key else { return }
            try requested(request, instance, link)
        case .callerLeft(let instance, let id): tickets.removeAll { $0.id == id && $0.instance == instance }
        case .endpoints(let message): told(message)
        case .endpointsLost: staged = nil
        case .scaling(let request): try scaling(request)
        case .operated(let verb): try operated(verb)
        case .policiesChanged(let policies): try reload(policies)
        }
    }

    private func connected(_ link: DispatcherID, _ instance: InstanceID, _ seat: String) throws {
        if let old = processes[instance] {
            if old.phase == .dead { return expected.append(.closeDispatcher(link, .dead)) }
            if let oldLink = old.link {
                expected.append(.closeDispatcher(oldLink, .superseded))
                unlink(oldLink)
            }
        }
        let isNew = processes[instance] == nil
        if isNew { processOrder.append(instance) }
        var process = processes[instance] ?? Process(seat: seat, phase: .asserting, mayHoldUntold: isRecovering && hasLostRoster)
        process.phase = .asserting
        process.link = link
        process.assertion += 1
        process.unread = [:]
        if isRecovering { process.blocks = true }
        processes[instance] = process
        if !isNew, process.adoptUntil != nil { return expected.append(.handOver(from: instance, to: instance, link)) }
        let left = isNew ? processes.filter { $1.seat == seat && $1.phase == .dead && $1.adoptUntil != nil } : [:]
        guard let (dead, estate) = left.max(by: { ($0.value.adoptUntil ?? now, order(of: $0.key)) < ($1.value.adoptUntil ?? now, order(of: $1.key)) })
        else { return try take("adopt end") { $0 == link && $1 == .adopt(.end) } }
        expected.append(.handOver(from: dead, to: instance, link))
        for i in leases.indices where leases[i].instance == dead {
            (leases[i].instance, leases[i].told) = (instance, 0)
            if let job = leases[i].job, !leases[i].isEscrowed, !leases[i].isEnding { processes[instance]?.unread[job.ticket] = leases[i].id }
        }
        for i in tickets.indices where tickets[i].instance == dead { (tickets[i].instance, tickets[i].told) = (instance, 0) }
        processes[instance]?.adoptUntil = estate.adoptUntil
        processes[instance]?.returned = estate.returned
        processes[dead]?.adoptUntil = nil
        if let rest = processes[dead] { bury(dead, rest) }
    }

    /// The order in which processes first connected.
    private func order(of instance: InstanceID) -> Int { processOrder.firstIndex(of: instance) ?? -1 }

    /// Nobody has adopted in time what a dead process left, or what one that lives has inherited and not asserted.
    func endAdoption(_ instance: InstanceID) {
        guard let process = processes[instance], let until = process.adoptUntil, until <= now else { return }
        processes[instance]?.adoptUntil = nil
        let isDead = process.phase == .dead
        for lease in leases where lease.instance == instance && (isDead || lease.told == 0) {
            end(lease, .holderDied)
        }
        tickets.removeAll { $0.instance == instance && (isDead || $0.told == 0) }
        if isDead { expected.append(.dropEscrow(instance)) }
    }

    private func unlink(_ link: DispatcherID) {
        guard let instance = processes.first(where: { $0.value.link == link })?.key else { return }
        processes[instance]?.link = nil
        processes[instance]?.phase = .away
        suspend(instance)
    }

    private func suspend(_ instance: InstanceID) {
        for i in tickets.indices where tickets[i].instance == instance { (tickets[i].isSuspended, tickets[i].awaited) = (true, nil) }
    }

    private func fault(_ link: DispatcherID, _ reason: Keeper.CloseReason) {
        expected.append(.closeDispatcher(link, reason))
        unlink(link)
    }

    private func died(_ instance: InstanceID) {
        guard var process = processes[instance], process.phase != .dead else { return }
        process.link = nil
        process.phase = .dead
        suspend(instance)
        process.adoptUntil = process.adoptUntil ?? now + parameters.adoptWithin
        process.blocks = process.mayHoldUntold
        if process.mayHoldUntold {
            process.blocksUntil = now + pools.values.filter(\.isConfigured).map(\.policy.abandon).reduce(parameters.recoveryGrace, max)
        }
        processes[instance] = process
        for lease in leases where lease.instance == instance && !lease.isEscrowed && (lease.job == nil || lease.isEnding) { end(lease, .holderDied) }
        if tickets.contains(where: { $0.instance == instance }), process.adoptUntil ?? now > now { expected.append(.watchCallers(instance)) }
        endAdoption(instance)
        if let process = processes[instance] { bury(instance, process) }
        recoverIfComplete()
    }

    private func requested(_ request: LeasingRequest, _ instance: InstanceID, _ link: DispatcherID) throws {
        switch request {
        case .ticket(let ticket): try ticketTold(ticket, instance, link)
        case .cancel(let id): tickets.removeAll { $0.id == id && $0.instance == instance }
        case .unused(let lease): returned(lease, instance, .released(.unused))
        case .dialFailed(let lease, let failure): returned(lease, instance, .dialFailed(failure))
        case .release(let lease, let outcome): returned(lease, instance, .released(outcome))
        case .ending(let lease):
            for i in leases.indices where leases[i].id == lease && leases[i].instance == instance { leases[i].isEnding = true }
        case .assertLease(let asserted): try leaseAsserted(asserted, instance, link)
        case .asserted: try assertedAll(instance)
        case .escrow(.worker(let worker)):
            guard let i = leases.firstIndex(where: { $0.id == worker.lease && $0.instance == instance }) else {
                return expected.append(.closeWorker(instance, worker.lease))
            }
            leases[i].isEscrowed = true
        case .escrow: break
        }
    }

    private func ticketTold(_ ticket: Ticket, _ instance: InstanceID, _ link: DispatcherID) throws {
        guard let pool = pools[ticket.pool], pool.isConfigured else { return try refuse(ticket.id, instance, .noEndpoints) }
        guard let process = processes[instance] else { return }
        sequence += 1
        var entry = Waiting(
            id: ticket.id, pool: ticket.pool, instance: instance, arrival: now - ticket.age, sequence: sequence, budget: ticket.budget,
            isRequeued: ticket.isRequeued, isSuspended: true, told: process.assertion, urgency: ticket.urgency,
            tenant: tenant(ticket.tenant, in: ticket.pool), tenantTold: ticket.tenant, keyTold: ticket.affinity, bytes: ticket.bytes)
        if !ticket.affinity.isEmpty { entry.affinity = "\(entry.tenant)\0\(ticket.affinity)" }
        if ticket.isRequeued, let job = process.returned, job.ticket == ticket.id { entry.arrival = min(entry.arrival, job.arrival) }
        if let i = tickets.firstIndex(where: { $0.id == ticket.id && $0.instance == instance }) {
            guard process.phase == .asserting, tickets[i].told != process.assertion, tickets[i].pool == ticket.pool else {
                return fault(link, .duplicateTicket)
            }
            (tickets[i].told, tickets[i].budget, tickets[i].isRequeued) = (entry.told, entry.budget, entry.isRequeued)
            return
        }
        if process.phase == .asserting {
            // Nobody has read its grant: the successor says that the job still waits.
            let unread = leases.first {
                $0.id == process.unread[ticket.id] && $0.told == 0 && !$0.isEscrowed && !$0.isEnding && $0.pool == ticket.pool
            }
            if let unread, let job = unread.job, !ticket.isRequeued {
                entry.arrival = min(entry.arrival, job.arrival)
                refund(unread)
                end(unread, .released(.unused))
            }
            return tickets.append(entry)
        }
        entry.isSuspended = false
        let budget = budget(ticket.budget, ticket.pool)
        let isLate = budget > .zero && entry.arrival + budget <= now
        if !isLate, canHave(entry) { return try grant(entry) }
        if isLate || budget == .zero || (pool.isPaused && pool.refuses) {
            return try refuse(ticket.id, instance, reason(ticket.pool, entry.tenant, isRequeued: ticket.isRequeued))
        }
        if !ticket.isRequeued, let reason = try makeRoom(for: entry) { return try refuse(ticket.id, instance, reason) }
        tickets.append(entry)
        enqueue(tickets.count - 1)
    }

    private func assertedAll(_ instance: InstanceID) throws {
        guard let process = processes[instance], process.phase == .asserting else { return }
        processes[instance]?.phase = .up
        processes[instance]?.blocks = false
        processes[instance]?.mayHoldUntold = false
        processes[instance]?.adoptUntil = nil
        processes[instance]?.unread = [:]
        for lease in leases where lease.instance == instance && lease.told != process.assertion {
            end(lease, lease.told == 0 ? .holderDied : .unaccounted)
        }
        tickets.removeAll { $0.instance == instance && $0.told != process.assertion }
        for ticket in tickets where ticket.instance == instance {
            guard let pool = pools[ticket.pool] else { continue }
            let budget = budget(ticket.budget, ticket.pool)
            let isLate = budget > .zero && ticket.arrival + budget <= now
            if isLate || !pool.isConfigured || (pool.isPaused && pool.refuses) { try refuse(ticket) }
            else if let i = tickets.firstIndex(where: { $0.id == ticket.id && $0.instance == ticket.instance }) { enqueue(i) }
        }
        recoverIfComplete()
    }

    private func leaseAsserted(_ asserted: AssertedLease, _ instance: InstanceID, _ link: DispatcherID) throws {
        guard let process = processes[instance] else { return }
        if let i = leases.firstIndex(where: { $0.id == asserted.lease }) {
            guard leases[i].instance == instance else {
                return try take("revocation") { $0 == link && $1 == .revoke(asserted.lease) }
            }
            leases[i].told = process.assertion
            if asserted.isEnding { leases[i].isEnding = true }
            return
        }
        if asserted.lease.epoch == parameters.epoch, asserted.lease <= latest {
            return try take("revocation") { $0 == link && $1 == .revoke(asserted.lease) }
        }
        latest = max(latest, asserted.lease)
        if pools[asserted.pool] == nil {
            var policy = PoolPolicy(name: "")
            policy.id = asserted.pool
            pools[asserted.pool] = Pool(policy: policy, isConfigured: false)
        }
        if workers[asserted.endpoint]?.places[asserted.pool] == nil {
            let ghost = Endpoint(id: asserted.endpoint, uid: "", addresses: [asserted.address], conditions: [])
            workers[asserted.endpoint, default: unknown(asserted.endpoint)].places[asserted.pool] = Place(description: ghost, isGone: true)
            claim(asserted.address, asserted.endpoint)
        }
        workers[asserted.endpoint]?.places[asserted.pool]?.isKept = false
        leases.append(
            Lease(
                id: asserted.lease, pool: asserted.pool, endpoint: asserted.endpoint, instance: instance, told: process.assertion,
                isEnding: asserted.isEnding, isProbe: asserted.isProbe, tenant: tenant(asserted.tenant, in: asserted.pool)))
    }

    private func returned(_ id: LeaseID, _ instance: InstanceID, _ how: Notice.LeaseEnd) {
        guard let lease = leases.first(where: { $0.id == id && $0.instance == instance }) else { return }
        processes[instance]?.returned = lease.job
        switch how {
        case .released(.unused), .dialFailed: refund(lease)
        case .released, .holderDied, .unaccounted: break
        }
        end(lease, how)
    }

    /// What the end of a lease does to its endpoint, rule by rule.
    func end(_ lease: Lease, _ how: Notice.LeaseEnd) {
        defer { forgetWhatIsGone() }
        leases.removeAll { $0.id == lease.id }
        if lease.isEscrowed {
            switch how {
            case .released, .dialFailed: expected.append(.closeWorker(lease.instance, lease.id))
            case .holderDied, .unaccounted: expected.append(.fence(lease.instance, lease.id))
            }
        }
        payDrained(lease.endpoint)
        guard let policy = pools[lease.pool]?.policy, let worker = workers[lease.endpoint] else { return }
        let reached: Bool
        switch how {
        case .released(let outcome): reached = outcome != .unused && !lease.isProbe && outcome != .probePassed && outcome != .probeFailed
        case .dialFailed: reached = false
        case .holderDied, .unaccounted: reached = true
        }
        var cleanEnd = false
        switch how {
        case .released(let outcome):
            if outcome.quarantines {
                quarantine(
                    lease.endpoint, policy, isFault: outcome != .lostAfterResponse,
                    isCut: outcome == .cut || outcome == .endingTimeout || outcome == .probeFailed)
            } else if outcome == .served || outcome == .abandoned {
                cleanEnd = true
            }
            if outcome == .served || outcome == .abandoned {
                workers[lease.endpoint]?.repeats = 0
                if nodes[worker.node] != nil { nodes[worker.node] = Node() }
            }
        case .dialFailed(let failure):
            if failure == .timedOut, !worker.node.isEmpty {
                nodes[worker.node, default: Node()].timeouts += 1
                if nodes[worker.node, default: Node()].timeouts >= 3 {
                    nodes[worker.node]?.avoidedUntil = now + parameters.nodeAvoidance
                }
            }
            if failure != .ours { quarantine(lease.endpoint, policy, isFault: true) }
        case .holderDied:
            quarantine(lease.endpoint, policy, isFault: false, isCut: true, lasting: max(policy.quarantine.first, policy.abandon))
        case .unaccounted: quarantine(lease.endpoint, policy, isFault: false, isCut: true)
        }
        switch policy.reuse {
        case .immediate: break
        case .never:
            guard reached || cleanEnd else { break }
            workers[lease.endpoint]?.isUsedUp = true
            if isLocal(lease.endpoint) { workers[lease.endpoint]?.owesDrained = true }
            payDrained(lease.endpoint)
        case .whenReady(let settle):
            guard cleanEnd else { break }
            let isUnready = worker.places.values.contains { !$0.isGone && !$0.description.isUsable }
            if isUnready {
                workers[lease.endpoint]?.recovery = .awaitingReady
            } else if let until = worker.quarantinedUntil {
                workers[lease.endpoint]?.quarantinedUntil = max(until, now + settle)
            } else {
                workers[lease.endpoint]?.recovery = .settling(until: now + settle)
            }
        }
    }

    func endQuarantine(_ id: EndpointID) {
        workers[id]?.quarantinedUntil = nil
        workers[id]?.cutUntil = nil
    }

    func quarantine(_ id: EndpointID, _ policy: PoolPolicy, isFault: Bool, isCut: Bool = false, lasting: Duration? = nil) {
        guard var worker = workers[id] else { return }
        if isCut { worker.cutUntil = max(worker.cutUntil ?? .zero, now + (lasting ?? policy.quarantine.first)) }
        var length = lasting ?? policy.quarantine.first
        if isFault, worker.quarantinedUntil == nil {
            for _ in 0..<worker.repeats where length < policy.quarantine.most { length = min(length * 2, policy.quarantine.most) }
            worker.repeats += 1
        }
        var until = now + length
        if let old = worker.quarantinedUntil { until = max(until, old) }
        if case .settling(let old) = worker.recovery {
            until = max(until, old)
            worker.recovery = .none
        }
        worker.quarantinedUntil = until
        workers[id] = worker
    }

    func payDrained(_ id: EndpointID) {
        guard let worker = workers[id], worker.owesDrained, open(id).isEmpty, !isRecovering else { return }
        workers[id]?.owesDrained = false
        expected.append(.scaling(.drained(id)))
    }
}
