import Model
import Wire

/// The life of every job of one dispatcher loop, from arrival to the end of its lease: what to tell the pool-keeper, whom to
/// dial, whom to refuse. It knows nothing of bytes and sockets.
///
/// One owner (its loop). O(1) per input, but for `keeperUp` (O(jobs log jobs): everything is told again, oldest first).
public struct JobMachine: Sendable {
    /// What has happened.
    public enum Input: Sendable {
        /// A caller wants a worker. The id comes from ``reserve()``.
        case arrived(JobID, JobRequest)
        /// The caller is gone. `reachedWorker`: bytes of the job may have reached the worker.
        case callerLeft(JobID, reachedWorker: Bool)
        case reply(LeasingReply)
        case dialed(JobID)
        case dialFailed(JobID, DialFailure)
        /// The worker turned the job away, or was lost, before any of it counted; the job can still be sent whole.
        case turnedAway(JobID, Outcome)
        /// The worker is done with the job, or is lost, or was cut.
        case ended(JobID, Outcome)
        /// The budget and a grace are over and the pool-keeper has not spoken.
        case holdExpired(JobID)
        case keeperUp
        case keeperDown
        /// A probe's connection is being made; the id comes from ``reserve()``.
        case probing(JobID, Probe)
        /// SIGTERM: waiting jobs go on within their budget; new ones are refused by the shell.
        case policiesChanged([PoolPolicy])
    }

    /// What to do, in order.
    public enum Action: Sendable {
        /// Send the job's ticket.
        case sendTicket(JobID)
        case sendCancel(TicketID)
        case sendUnused(LeaseID)
        case sendDialFailed(LeaseID, DialFailure)
        case sendEnding(LeaseID)
        case sendRelease(LeaseID, Outcome)
        /// Assert the lease of this job.
        case sendAssert(JobID)
        /// Assert a lease that has ended; its release follows.
        case sendAssertEnded(AssertedLease)
        case sendAsserted
        /// Connect to the job's address, no later than `by`.
        case dial(JobID, by: Instant)
        /// Stop dialling or let go of an unused connection; the job is over.
        case abandonDial(JobID)
        /// The caller gets an answer of our own; the job is over.
        case refuse(JobID, Reason, retryAfter: Duration?)
        /// The lease is not ours any more: reset both connections; the job is over.
        case cut(JobID)
        /// Make a connection for a probe.
        case probe(Probe)
    }

    public internal(set) var jobs: [Job] = []
    public private(set) var isKeeperUp = false
    /// Few: a linear search beats a hash.
    private var pools: [Pool]
    private var firstFree = UInt32.max
    /// Leases that ended lately by a cut. A worker is cut once in a quarantine at most, so they are few.
    private var cuts: [Cut] = []

    /// A lease whose connection was cut under a worker that may still be at the job. A pool-keeper that has not heard of it, because it
    /// was started since or the link broke, gives the worker to the next at once: so it is told for as long as a first quarantine.
    private struct Cut {
        var lease: AssertedLease
        var outcome: Outcome
        var at: Instant
        var until: Instant
    }

    /// A pool's policy, and how many jobs wait: the bound while the pool-keeper is away.
    private struct Pool {
        var id: PoolID
        var holdTimeout: Duration
        var maxQueued: Int
        var quarantine: Duration
        var waiting = 0

        init(_ policy: PoolPolicy) {
            id = policy.id
            holdTimeout = policy.holdTimeout
            maxQueued = policy.maxQueued
            quarantine = policy.quarantine.first
        }
    }

    public init(policies: [PoolPolicy]) { pools = policies.map(Pool.init) }

    /// Jobs of the pool that wait. O(pools).
    public func waiting(in pool: PoolID) -> Int { pools.first { $0.id == pool }?.waiting ?? 0 }

    /// Jobs that wait, in all pools.
    public var waitingJobs: Int { pools.reduce(0) { $0 + $1.waiting } }

    private mutating func policiesChanged(_ policies: [PoolPolicy]) {
        for policy in policies {
            var pool = Pool(policy)
            if let i = pools.firstIndex(where: { $0.id == policy.id }) {
                pool.waiting = pools[i].waiting
                pools[i] = pool
            } else {
                // Jobs may wait for it already, uncounted.
                pool.waiting = jobs.count { $0.phase == .waiting && $0.request.pool == policy.id }
                pools.append(pool)
            }
        }
    }

    /// A free slot for a job that is about to arrive.
    public mutating func reserve() -> JobID {
        if firstFree == .max {
            let slot = UInt32(jobs.count)
            jobs.append(Job(request: JobRequest(pool: PoolID(rawValue: 0))))
            jobs[Int(slot)].generation = 1
            return JobID(slot: slot, generation: 1)
        }
        let slot = firstFree
        firstFree = jobs[Int(slot)].nextFree
        return JobID(slot: slot, generation: jobs[Int(slot)].generation)
    }

    /// The job, if the name is not stale.
    @inline(__always)
    public subscript(_ id: JobID) -> Job? {
        let i = Int(id.slot)
        guard i < jobs.count, jobs[i].generation == id.generation, jobs[i].phase != .none else { return nil }
        return jobs[i]
    }

    /// How long the job may wait in all.
    public func budget(of id: JobID) -> Duration {
        let request = jobs[Int(id.slot)].request
        return request.budget ?? pools.first { $0.id == request.pool }?.holdTimeout ?? .seconds(30)
    }

    public mutating func handle(_ input: Input, at now: Instant, into actions: inout [Action]) {
        switch input {
        case .arrived(let id, let request): arrived(id, request, now, &actions)
        case .callerLeft(let id, let reachedWorker): callerLeft(id, reachedWorker, &actions)
        case .reply(let reply):
            switch reply {
            case .grant(let grant): granted(grant, now, &actions)
            case .refuse(let refusal): refused(refusal, &actions)
            case .probe(let probe): actions.append(.probe(probe))
            case .revoke(let lease): revoked(lease, &actions)
            // Descriptors are the shell's.
            case .adopt: break
            }
        case .dialed(let id): dialed(id, now)
        case .dialFailed(let id, let failure): dialFailed(id, failure, &actions)
        case .turnedAway(let id, let outcome): turnedAway(id, outcome, &actions)
        case .ended(let id, let outcome): ended(id, outcome, now, &actions)
        case .holdExpired(let id): holdExpired(id, &actions)
        case .keeperUp: keeperUp(now, &actions)
        case .keeperDown: isKeeperUp = false
        case .probing(let id, let probe): probing(id, probe, now)
        case .policiesChanged(let policies): policiesChanged(policies)
        }
    }

    // MARK: Waiting

    private mutating func arrived(_ id: JobID, _ request: JobRequest, _ now: Instant, _ actions: inout [Action]) {
        let i = Int(id.slot)
        precondition(jobs[i].generation == id.generation && jobs[i].phase == .none, "a job arrived in a slot that is in use")
        // With the pool-keeper away nobody else bounds what waits here.
        let bound = isKeeperUp ? Int.max : pools.first { $0.id == request.pool }?.maxQueued ?? -1
        jobs[i].request = request
        jobs[i].arrived = now
        jobs[i].isRequeued = false
        jobs[i].isProbe = false
        enter(i, .waiting)
        guard waiting(in: request.pool) <= bound else {
            actions.append(.refuse(id, .queueFull, retryAfter: .seconds(1)))
            return free(i)
        }
        if isKeeperUp { actions.append(.sendTicket(id)) }
    }

    private mutating func refused(_ refusal: Wire.Refusal, _ actions: inout [Action]) {
        let id = JobID(refusal.ticket)
        // Expected race: the refusal crossed the job's cancel.
        guard let job = self[id], job.phase == .waiting else { return }
        actions.append(.refuse(id, refusal.reason, retryAfter: refusal.retryAfter))
        free(Int(id.slot))
    }

    private mutating func holdExpired(_ id: JobID, _ actions: inout [Action]) {
        // The pool-keeper owns the deadline while it is there; it may also just have granted.
        guard !isKeeperUp, let job = self[id], job.phase == .waiting else { return }
        actions.append(.refuse(id, .keeperUnavailable, retryAfter: .seconds(1)))
        free(Int(id.slot))
    }

    // MARK: Leased

    private mutating func granted(_ grant: Grant, _ now: Instant, _ actions: inout [Action]) {
        let id = JobID(grant.ticket)
        guard let job = self[id], job.phase == .waiting else {
            // Expected race: the grant crossed the job's cancel.
            actions.append(.sendUnused(grant.lease))
            return
        }
        let i = Int(id.slot)
        jobs[i].lease = grant.lease
        jobs[i].endpoint = grant.endpoint
        jobs[i].address = grant.address
        jobs[i].alternate = grant.alternate
        jobs[i].granted = now
        enter(i, .dialing)
        actions.append(.dial(id, by: now + grant.dialBy))
    }

    private mutating func dialed(_ id: JobID, _ now: Instant) {
        guard let job = self[id], job.phase == .dialing else { return }
        jobs[Int(id.slot)].dialed = now
        enter(Int(id.slot), .serving)
    }

    private mutating func dialFailed(_ id: JobID, _ failure: DialFailure, _ actions: inout [Action]) {
        guard let job = self[id], job.phase == .dialing else { return }
        if let alternate = job.alternate {
            // The same endpoint's other address family, under the same lease.
            jobs[Int(id.slot)].alternate = nil
            jobs[Int(id.slot)].address = alternate
            actions.append(.dial(id, by: .never))
            return
        }
        actions.append(.sendDialFailed(job.lease, failure))
        if job.isProbe { free(Int(id.slot)) } else { requeue(id, &actions) }
    }

    private mutating func turnedAway(_ id: JobID, _ outcome: Outcome, _ actions: inout [Action]) {
        guard let job = self[id], job.phase == .serving || job.phase == .dialing else { return }
        actions.append(outcome == .unused ? .sendUnused(job.lease) : .sendRelease(job.lease, outcome))
        requeue(id, &actions)
    }

    /// Back in line with its arrival, its budget and its place.
    private mutating func requeue(_ id: JobID, _ actions: inout [Action]) {
        jobs[Int(id.slot)].isRequeued = true
        enter(Int(id.slot), .waiting)
        if isKeeperUp { actions.append(.sendTicket(id)) }
    }

    private mutating func callerLeft(_ id: JobID, _ reachedWorker: Bool, _ actions: inout [Action]) {
        guard let job = self[id] else { return }
        switch job.phase {
        case .waiting:
            if isKeeperUp { actions.append(.sendCancel(id.ticket)) }
            free(Int(id.slot))
        case .dialing:
            actions.append(.abandonDial(id))
            actions.append(.sendUnused(job.lease))
            free(Int(id.slot))
        case .serving:
            if reachedWorker {
                enter(Int(id.slot), .ending)
                actions.append(.sendEnding(job.lease))
            } else {
                actions.append(.abandonDial(id))
                actions.append(.sendUnused(job.lease))
                free(Int(id.slot))
            }
        case .ending, .none: break  // it left already
        }
    }

    private mutating func ended(_ id: JobID, _ outcome: Outcome, _ now: Instant, _ actions: inout [Action]) {
        guard let job = self[id] else { return }
        switch job.phase {
        case .serving, .ending, .dialing:
            actions.append(outcome == .unused ? .sendUnused(job.lease) : .sendRelease(job.lease, outcome))
            if outcome.isCut { remember(id, outcome, now) }
            free(Int(id.slot))
        case .waiting, .none: break  // it was requeued or refused in the same turn
        }
    }

    mutating func remember(_ id: JobID, _ outcome: Outcome, _ now: Instant) {
        var lease = assertion(of: id, at: now)
        lease.isEnding = true
        remember(lease, outcome, now)
    }

    mutating func remember(_ lease: AssertedLease, _ outcome: Outcome, _ now: Instant) {
        cuts.removeAll { $0.until <= now }
        let quarantine = pools.first { $0.id == lease.pool }?.quarantine ?? .seconds(2)
        cuts.append(Cut(lease: lease, outcome: outcome, at: now, until: now + quarantine))
    }

    private mutating func revoked(_ lease: LeaseID, _ actions: inout [Action]) {
        // Rare and never hot: after an assertion that lost, or a fence.
        guard let i = jobs.firstIndex(where: { $0.lease == lease && ($0.phase == .serving || $0.phase == .dialing || $0.phase == .ending) })
        else { return }
        actions.append(.cut(JobID(slot: UInt32(i), generation: jobs[i].generation)))
        free(i)
    }

    private mutating func probing(_ id: JobID, _ probe: Probe, _ now: Instant) {
        let i = Int(id.slot)
        jobs[i].request = JobRequest(pool: probe.pool)
        jobs[i].arrived = now
        jobs[i].isProbe = true
        jobs[i].lease = probe.lease
        jobs[i].endpoint = probe.endpoint
        jobs[i].address = probe.address
        jobs[i].alternate = nil
        jobs[i].granted = now
        enter(i, .dialing)
    }

    // MARK: The link

    /// Nothing of an earlier link counts: every lease, then every waiting ticket in order of arrival, then the end. A lease that was cut
    /// a moment ago is told as well, and its release again behind all that.
    private mutating func keeperUp(_ now: Instant, _ actions: inout [Action]) {
        isKeeperUp = true
        cuts.removeAll { $0.until <= now }
        for cut in cuts {
            var lease = cut.lease
            lease.age += now - cut.at
            actions.append(.sendAssertEnded(lease))
        }
        var tickets: [Int] = []
        for i in jobs.indices {
            switch jobs[i].phase {
            case .dialing, .serving, .ending: actions.append(.sendAssert(JobID(slot: UInt32(i), generation: jobs[i].generation)))
            case .waiting: tickets.append(i)
            case .none: break
            }
        }
        tickets.sort { jobs[$0].arrived < jobs[$1].arrived }
        for i in tickets { actions.append(.sendTicket(JobID(slot: UInt32(i), generation: jobs[i].generation))) }
        actions.append(.sendAsserted)
        for cut in cuts { actions.append(.sendRelease(cut.lease.lease, cut.outcome)) }
    }

    // MARK: Slots

    /// The one place where a job changes its phase.
    mutating func enter(_ i: Int, _ phase: JobPhase) {
        let change = (phase == .waiting ? 1 : 0) - (jobs[i].phase == .waiting ? 1 : 0)
        if change != 0, let p = pools.firstIndex(where: { $0.id == jobs[i].request.pool }) { pools[p].waiting += change }
        jobs[i].phase = phase
    }

    /// The slots between those that were adopted are free.
    public mutating func adoptedAll() {
        firstFree = .max
        for i in jobs.indices.reversed() where jobs[i].phase == .none {
            jobs[i].nextFree = firstFree
            firstFree = UInt32(i)
        }
    }

    mutating func free(_ i: Int) {
        enter(i, .none)
        jobs[i].generation &+= 1
        jobs[i].nextFree = firstFree
        firstFree = UInt32(i)
    }

    /// The ticket of a waiting job, with its age as of now.
    public func ticket(of id: JobID, at now: Instant) -> Ticket {
        let job = jobs[Int(id.slot)]
        return Ticket(
            id: id.ticket, pool: job.request.pool, age: max(.zero, now - job.arrived), budget: job.request.budget,
            urgency: job.request.urgency, tenant: job.request.tenant, affinity: job.request.affinity, bytes: job.request.bytes,
            isRequeued: job.isRequeued)
    }

    /// The assertion of a leased job.
    public func assertion(of id: JobID, at now: Instant) -> AssertedLease {
        let job = jobs[Int(id.slot)]
        return AssertedLease(
            lease: job.lease, pool: job.request.pool, endpoint: job.endpoint, address: job.address, age: max(.zero, now - job.granted),
            isEnding: job.phase == .ending, isProbe: job.isProbe, tenant: TenantID(name: job.request.tenant))
    }

    /// Structural truths; called after each input in tests.
    public func checkInvariants() {
        var counted: [PoolID: Int] = [:]
        var leases: Set<LeaseID> = []
        for job in jobs {
            switch job.phase {
            case .waiting: counted[job.request.pool, default: 0] += 1
            case .dialing, .serving, .ending: precondition(leases.insert(job.lease).inserted, "two jobs hold lease \(job.lease)")
            case .none: break
            }
        }
        for pool in pools { precondition(counted[pool.id, default: 0] == pool.waiting, "waiting count of a pool is off") }
    }
}
