import DispatcherCore
import KeeperCore
import Model
import Wire

/// The promises of the design, watched from outside: by what the workers, the callers and the wire show. The machines' own
/// invariants are apart from these.
final class Promises {
    unowned let world: World
    var line = Line()
    var feed = Feed()
    /// The newest token ever granted, by whichever pool-keeper.
    private var newest = LeaseID(epoch: 0, counter: 0)
    /// What this pool-keeper has open, as far as its words say, and whose it is.
    private var open: [LeaseID: InstanceID] = [:]
    /// What the input at hand ends by its holder's word.
    private var returned: LeaseID?
    /// What it knew before the input at hand, where timers are worked off first.
    private var before: Feed?
    private var isAsserted: InstanceID?
    private var timersDue = false

    init(_ world: World) { self.world = world }

    /// What an onlooker inside the product sees. The workers and the callers see less, and must notice all the same.
    private func fail(_ what: String) { if looksInside { world.fail(what) } }
    private var looksInside: Bool { world.looksInside }

    // MARK: The pool-keeper

    func keeperStarted(_ epoch: UInt64) {
        line = Line()
        feed = Feed()
        open = [:]
    }

    private func instance(_ link: DispatcherID) -> InstanceID? { world.keeper.peer(link)?.instance }

    func keeperWillHandle(_ input: Keeper.Input) {
        (returned, isAsserted, before) = (nil, nil, nil)
        timersDue = (world.keeper.keeper?.nextWake ?? .never) <= world.now
        switch input {
        case .request(let link, let request):
            guard let instance = instance(link) else { return }
            switch request {
            case .ticket(let ticket):
                let unread = line.unread(ticket, by: instance) { open[$0] == instance }
                if let unread {
                    returned = unread
                    line.returned(unread, by: instance)
                }
                line.told(ticket, by: instance, at: world.now, isBack: unread != nil)
            case .cancel(let ticket): line.cancelled(ticket, of: instance)
            case .unused(let lease), .dialFailed(let lease, _), .release(let lease, _):
                if open[lease] == instance {
                    returned = lease
                    line.returned(lease, by: instance)
                }
            case .ending: break
            case .assertLease(let asserted): if open[asserted.lease] == nil { open[asserted.lease] = instance }
            case .asserted:
                isAsserted = instance
                line.asserted(instance)
            case .escrow: break
            }
        case .dispatcherConnected(_, let instance, _): line.connected(instance)
        case .dispatcherLinkEnded(let link): if let instance = instance(link) { line.suspend(instance) }
        case .dispatcherDied(let instance): line.suspend(instance)
        case .callerLeft(let instance, let ticket): line.remove(ticket, of: instance)
        case .endpoints(let message):
            if timersDue { before = feed }
            if let lost = feed.take(message), !world.cluster.wereEmpty.contains(lost) {
                fail("a snapshot says that pool \(name(lost)) is empty, which it never was")
            }
        case .endpointsLost: feed.lost()
        case .scaling, .operated, .policiesChanged, .wake: break
        }
    }

    func keeperHandled(_ input: Keeper.Input, _ actions: [Keeper.Action]) {
        for action in actions {
            switch action {
            case .reply(let link, let reply): replied(reply, to: link)
            case .scaling(.drained(let endpoint)): drained(endpoint)
            case .closeDispatcher(_, let reason):
                switch reason {
                case .duplicateTicket, .tooManyTickets, .impossibleToken: fail("the pool-keeper ended a link for \(reason.name)")
                case .dead, .superseded: break
                }
            case .notice(let notice): noticed(notice)
            case .poolChanged, .rosterChanged, .operated, .closeWorker, .fence, .watchCallers: break
            case .handOver(let dead, let heir, _):
                for (lease, holder) in open where holder == dead { open[lease] = heir }
                line.inherit(from: dead, to: heir)
            case .dropEscrow(let instance): line.forget(instance)
            }
        }
        line.settle()
    }

    private func replied(_ reply: LeasingReply, to link: DispatcherID) {
        guard let instance = instance(link) else { return fail("the pool-keeper answers on a link that is over") }
        switch reply {
        case .grant(let grant):
            granted(grant.lease, to: instance)
            if let wrong = line.granted(grant.ticket, grant.lease, of: instance, in: grant.pool, timersDue: timersDue) { fail(wrong) }
        case .probe(let probe): granted(probe.lease, to: instance)
        case .refuse(let refusal): refused(refusal, instance)
        case .revoke(let lease):
            // One that was cut may be told again after it has ended.
            if world.dispatchers.contains(where: { $0.life != .dead && $0.holds(lease) }) { fail("lease \(lease) was taken from its holder") }
        case .adopt: break
        }
    }

    private func granted(_ lease: LeaseID, to instance: InstanceID) {
        if lease <= newest { fail("token \(lease) after token \(newest)") }
        newest = lease
        open[lease] = instance
    }

    /// A refusal is true, and comes no earlier than the budget's end.
    private func refused(_ refusal: Wire.Refusal, _ instance: InstanceID) {
        guard let ticket = line.remove(refusal.ticket, of: instance) else { return fail("a ticket that does not wait was refused") }
        guard let policy = world.scenario.policies.first(where: { $0.id == ticket.pool }) else { return }
        let isEmpty = [before ?? feed, feed].contains { $0.count(of: ticket.pool) == 0 && $0.isKnown }
        let held = Duration.nanoseconds(world.now.nanoseconds - ticket.arrival)
        switch refusal.reason {
        case .queueFull:
            if ticket.isRequeued { fail("a requeued job was refused queue-full") }
            let bytes = line.bytes(in: ticket.pool) + Int(ticket.bytes)
            if line.count(in: ticket.pool) < policy.maxQueued, bytes <= policy.maxBytes ?? .max { fail("queue-full with \(line.count(in: ticket.pool)) tickets in \(policy.name)") }
        case .holdTimeout, .dialFailed, .keeperUnavailable, .noEndpoints:
            if refusal.reason == .noEndpoints, !isEmpty { fail("refused no-endpoints while \(policy.name) has some") }
            if refusal.reason == .noEndpoints, !world.cluster.wereEmpty.contains(ticket.pool) {
                fail("refused no-endpoints although \(policy.name) was never empty")
            }
            let budget = ticket.budget ?? policy.holdTimeout
            if held < (isEmpty ? min(ticket.budget ?? policy.noEndpointsTimeout, policy.noEndpointsTimeout) : budget) {
                fail("refused \(refusal.reason.token) after \(held) of \(budget)")
            }
        case .paused: break
        case .tenantLimit:
            guard let tenant = policy.tenants.first(where: { $0.name == ticket.tenant }) else { return fail("a tenant without bounds is over its limit") }
            let isCrowded = tenant.maxQueued.map { line.count(in: ticket.pool, of: tenant.name) >= $0 } ?? false
            let isOver = tenant.maxLeased != nil && held >= ticket.budget ?? policy.holdTimeout
            if !isCrowded, !isOver { fail("\(ticket.tenant) is not over its limit") }
        case .draining, .workerLost, .workerTimeout, .badResponse, .badRequest, .headTooLarge, .headTimeout, .bodyTooLarge,
            .expectationFailed, .methodNotAllowed, .notImplemented, .versionNotSupported, .noRoute, .jobTimeout, .idleTimeout, .overloaded:
            fail("the pool-keeper refused for \(refusal.reason.token)")
        }
    }

    /// The scaler may stop the worker now.
    private func drained(_ endpoint: EndpointID) {
        for dispatcher in world.dispatchers where dispatcher.life != .dead {
            if dispatcher.machine.jobs.contains(where: { $0.holdsLease && $0.endpoint == endpoint }) {
                fail("an endpoint was called drained while \(dispatcher.name) has a lease of it")
            }
        }
    }

    private func noticed(_ notice: Notice) {
        switch notice {
        case .leaseEnded(let lease, _, _, let end, _):
            guard let holder = open.removeValue(forKey: lease) else { return fail("lease \(lease) ended twice") }
            switch end {
            case .released, .dialFailed: if returned != lease { fail("lease \(lease) ended without a word of its holder") }
            // One that was inherited and not adopted has a holder that lives and does not know of it.
            case .holderDied:
                if world.dispatchers.contains(where: { $0.instance == holder.rawValue && $0.life != .dead && $0.holds(lease) }) {
                    fail("lease \(lease) was ended although its holder lives")
                }
            case .unaccounted:
                if isAsserted != holder { fail("lease \(lease) was unaccounted for before its holder had spoken") }
                for dispatcher in world.dispatchers where dispatcher.life != .dead && dispatcher.holds(lease) {
                    fail("lease \(lease) was ended although \(dispatcher.name) holds it")
                }
            }
        case .conflict(let endpoint, let lease, let count): fail("lease \(lease) is one of \(count) on \(endpoint)")
        case .granted, .refused, .requeued, .gone, .quarantined, .quarantineEnded, .nodeAvoided, .nodeTrusted, .unknownEndpoint, .ignored, .adopted, .revoked,
            .recovered:
            break
        }
    }

    // MARK: After every turn

    /// What must be true between any two turns; looked at where this one could have broken it.
    func turnEnded(_ process: Process) {
        guard looksInside, world.keeper.life != .dead, let keeper = world.keeper.keeper else { return }
        for dispatcher in world.dispatchers where dispatcher.life != .dead && (process === dispatcher || process === world.keeper) {
            if !keeper.isRecovering {
                for job in dispatcher.machine.jobs where job.holdsLease && open[job.lease] == nil {
                    fail("\(dispatcher.name) holds lease \(job.lease), of which the pool-keeper knows nothing")
                }
            }
            if dispatcher.link?.isQuiet == true { compare(dispatcher, keeper) }
        }
        guard !keeper.isRecovering else { return }
        for policy in world.scenario.policies where line.hasEligible(in: policy.id) {
            guard let state = keeper.state(of: policy.id, at: world.now), !state.isPaused, state.free > 0 else { continue }
            let isIdle = line.hasEligible(in: policy.id) { place in
                let tenant = policy.tenants.first { $0.name == place.tenant } ?? policy.tenants[0]
                let leased = state.tenants.first { $0.name == tenant.name }?.leased ?? 0
                return !place.hasAffinity && (tenant.maxLeased.map { leased < $0 } ?? true) && (Int(state.free) > policy.reserve || place.urgency.rawValue == 0)
            }
            if isIdle { fail("a worker of \(policy.name) is idle while somebody waits for it") }
        }
    }

    /// Both ends of a quiet link know the same.
    private func compare(_ dispatcher: DispatcherProcess, _ keeper: Keeper) {
        let instance = InstanceID(rawValue: dispatcher.instance)
        let held = Set(dispatcher.machine.jobs.filter(\.holdsLease).map(\.lease))
        let known = Set(keeper.leaseReports(at: world.now).filter { $0.instance == instance }.map(\.lease))
        if held != known { fail("\(dispatcher.name) holds \(held.sorted()), the pool-keeper says \(known.sorted())") }
        var waiting: Set<TicketID> = []
        for (slot, job) in dispatcher.machine.jobs.enumerated() where job.phase == .waiting {
            waiting.insert(JobID(slot: UInt32(slot), generation: job.generation).ticket)
        }
        var queued: Set<TicketID> = []
        for policy in world.scenario.policies {
            for report in keeper.ticketReports(of: policy.id, at: world.now) where report.seat == dispatcher.name && report.remaining != nil {
                queued.insert(report.ticket)
            }
        }
        if waiting != queued {
            fail("\(dispatcher.name) waits for \(waiting.map(\.rawValue).sorted()), the pool-keeper says \(queued.map(\.rawValue).sorted())")
        }
    }

    func name(_ pool: PoolID) -> String { world.scenario.policies.first { $0.id == pool }?.name ?? "?" }
}

extension Job {
    var holdsLease: Bool { phase == .dialing || phase == .serving || phase == .ending }
}

extension DispatcherProcess {
    func holds(_ lease: LeaseID) -> Bool { machine.jobs.contains { $0.holdsLease && $0.lease == lease } }
}
