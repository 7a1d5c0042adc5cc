import KeeperCore
import Model

// What callers and workers see, and the rest at the end.

extension Promises {
    /// A worker has the first byte of a job.
    func jobBegins(_ connection: Connection, _ pod: Pod) {
        guard let caller = connection.origin else { return }
        caller.starts += 1
        if caller.starts > 1 { world.fail("the job of \(caller.name) was begun twice") }
    }

    /// A caller has its answer. Refusals by the pool-keeper were looked at when it made them.
    func answered(_ caller: Caller, _ answer: Caller.Answer) {
        guard case .refused(let reason) = answer else { return }
        let held = world.now - caller.arrived
        let policy = world.scenario.policies[caller.plan.pool]
        var budget = caller.plan.budget ?? policy.holdTimeout
        if world.cluster.wereEmpty.contains(policy.id) { budget = min(budget, policy.noEndpointsTimeout) }
        if reason == .keeperUnavailable, held < budget {
            world.fail("\(caller.name) was refused \(reason.token) after \(held)")
        }
    }

    /// What is not at rest; nil when everything is back at zero.
    func unrest() -> String? {
        if let caller = world.callers.first(where: { $0.answer == nil }) {
            return "\(caller.name) never got an answer (\(caller.dispatcher.map { "at \($0.name)" } ?? "nowhere"))"
        }
        for process in world.processes where process.life != .running {
            return "\(process.name) does not run"
        }
        for pod in world.cluster.pods where pod.isAlive && !pod.runs.isEmpty { return "\(pod.uid) still works" }
        for dispatcher in world.dispatchers {
            if let job = dispatcher.machine.jobs.first(where: { $0.phase != .none }) { return "\(dispatcher.name) has a job in \(job.phase)" }
            if !dispatcher.connections.isEmpty { return "\(dispatcher.name) has connections to workers" }
            if dispatcher.link == nil { return "\(dispatcher.name) has no link" }
        }
        guard let keeper = world.keeper.keeper else { return "there is no pool-keeper" }
        if keeper.isRecovering { return "the pool-keeper is recovering, waiting for \(keeper.unasserted.map(\.seat))" }
        if let lease = keeper.leaseReports(at: world.now).first { return "lease \(lease.lease) is open" }
        for (index, policy) in world.scenario.policies.enumerated() {
            guard let state = keeper.state(of: policy.id, at: world.now) else { return "pool \(policy.name) is not known" }
            if state.queued > 0 { return "\(state.queued) tickets wait in \(policy.name)" }
            let real = world.cluster.pods.filter { pod in
                pod.isAlive && pod.plan.pools.contains(index) && (!pod.isLocal || world.scaler?.has(pod) == true)
            }.count
            if state.free != real || state.total != real { return "of \(real) workers of \(policy.name), the pool-keeper has \(state)" }
        }
        let living = Set(world.dispatchers.map(\.instance))
        if Set(keeper.roster.map(\.instance.rawValue)) != living { return "the roster names others than live" }
        return nil
    }

    /// Everything is back at zero.
    func atRest() {
        for dispatcher in world.dispatchers {
            if dispatcher.machine.waitingJobs != 0 { world.fail("\(dispatcher.name) counts jobs that are not there") }
        }
    }
}
