import Model
import ScalerCore
import Wire

/// The scaler: its machine, its three links, the workers that it starts, and the roster that it has on disk. Its workers outlive it.
final class ScalerProcess: Process {
    /// On disk.
    private var roster: [RosterEntry] = []
    private var scaler = Scaler()
    private var workers: Uplink!
    private var state: Uplink!
    private var scaling: Uplink!
    private var pool: WorkerPool!
    private var actions: [Scaler.Action] = []
    private var isActing = false
    private var armed = Instant.never
    private var pids: Int32 = 100

    override func boot() {
        guard let plan = world.scenario.localWorkers else { return }
        let policy = world.scenario.policies[plan.pool]
        pool = WorkerPool(
            name: policy.name, command: ["worker"], ports: (0..<UInt16(plan.most)).map { 21_000 + $0 }, min: plan.least, max: plan.most,
            idle: plan.idle, slots: policy.slots, isSingleUse: false)
        pool.stopTimeout = .seconds(2)
        scaler = Scaler()
        actions = []
        isActing = false
        armed = .never
        workers = Uplink(self, to: world.watcher, .workers, seat: name, instance: 1)
        state = Uplink(self, to: world.keeper, .state, seat: name, instance: 1)
        scaling = Uplink(self, to: world.keeper, .scaling, seat: name, instance: 1)
        tell(.began([pool], found: roster.filter { pod($0.process) != nil }))
        for uplink in [workers, state, scaling] { uplink?.connect() }
    }

    private func pod(_ process: ProcessIdentity) -> Pod? { world.cluster.pods.first { $0.isAlive && $0.process == process } }
    private func pod(_ port: UInt16) -> Pod? { world.cluster.pods.first { $0.isAlive && $0.port == port } }

    /// Whether it knows of the worker: one whose start it did not live to write down is an orphan that holds its port.
    func has(_ pod: Pod) -> Bool { scaler.roster.contains { $0.process == pod.process } }

    // MARK: The machine

    private func tell(_ input: Scaler.Input) {
        guard life == .running, pool != nil else { return }
        scaler.handle(input, at: now, into: &actions)
        guard !isActing else { return }
        isActing = true
        var next = 0
        while next < actions.count {
            guard act() else { return }
            perform(actions[next])
            next += 1
        }
        actions.removeAll(keepingCapacity: true)
        isActing = false
    }

    private func perform(_ action: Scaler.Action) {
        switch action {
        case .check(let place): tell(pod(place.port) == nil ? .portFree(place) : .portHeld(place))
        case .start(let place): start(place)
        case .probe(let place, let process):
            after(world.netDelay()) { [self] in
                tell(pod(process)?.listening == .yes ? .accepts(place, process) : .silent(place, process))
            }
        case .stop(_, let process): end(process, within: 0...200, mayWork: false)
        case .kill(_, let process): end(process, within: 0...0, mayWork: true)
        case .announce(let pool, let endpoint): workers.link?.send(WorkersMessage.upsert(pool: pool, endpoint))
        case .withdraw(let pool, let endpoint): workers.link?.send(WorkersMessage.remove(pool: pool, endpoint))
        case .drainIdle(let pool, let idleFor, let most):
            scaling.link?.send(ScalingRequest.drainIdle(pool: pool, idleFor: idleFor, most: UInt32(clamping: most)))
        case .drain(let endpoint): scaling.link?.send(ScalingRequest.drain(endpoint))
        case .undrain(let endpoint): scaling.link?.send(ScalingRequest.undrain(endpoint))
        case .saveRoster: roster = scaler.roster
        case .notice(let notice): world.trace.note(name) { "· \(notice)" }
        }
    }

    // MARK: Workers

    private func start(_ place: WorkerPlace) {
        pids += 1
        let process = ProcessIdentity(pid: pids, startTime: UInt64(now.milliseconds))
        let pod = world.cluster.addLocal(port: place.port, process, pool: world.scenario.localWorkers?.pool ?? 0)
        world.trace.note(name) { "starts \(pod.uid)" }
        tell(.started(place, process))
    }

    /// A signal; what ends a process while it has a job is looked at.
    private func end(_ process: ProcessIdentity, within milliseconds: ClosedRange<Int64>, mayWork: Bool) {
        guard let pod = pod(process) else { return }
        world.trace.note(name) { "stops \(pod.uid)" }
        let works = pod.runs.contains { $0.connection.state == .session && !$0.isProbe }
        if works, !mayWork, world.looksInside { world.fail("\(pod.uid) was stopped in the middle of a job") }
        pod.listening = .refuses
        world.after(world.milliseconds(milliseconds)) { [self] in world.cluster.exit(pod) }
    }

    /// A worker's process has ended: whoever started it or found it again hears of it.
    func noticeExit(of pod: Pod) {
        guard let process = pod.process, let port = pod.port, pool != nil, has(pod) else { return }
        after(.microseconds(world.pick(50...5_000))) { [self] in
            tell(.exited(WorkerPlace(pool: pool.id, port: port), process, .code(0), jitter: UInt32(world.pick(0...1000))))
        }
    }

    // MARK: Links

    override func linkUp(_ end: LinkEnd) {
        if end === workers.end {
            workers.cameUp()
            end.send(WorkersMessage.snapshotBegin)
            for (pool, endpoint) in scaler.endpoints { end.send(WorkersMessage.upsert(pool: pool, endpoint)) }
            end.send(WorkersMessage.snapshotEnd)
        } else if end === state.end {
            state.cameUp()
        } else if end === scaling.end {
            scaling.cameUp()
            tell(.scalingUp)
        }
    }

    override func received(_ bytes: [UInt8], on end: LinkEnd) {
        if end === state.end {
            end.decode(bytes, StateMessage.self) { message in
                switch message {
                case .pool(let state): if state.pool == pool.id { tell(.poolState(state)) }
                case .poolGone(let pool): tell(.poolGone(pool))
                case .snapshotEnd, .cells: break
                }
            }
        } else if end === scaling.end {
            end.decode(bytes, ScalingReply.self) { message in
                switch message {
                case .drained(let endpoint): tell(.drained(endpoint))
                }
            }
        } else {
            world.fail("the watcher said something to the scaler")
        }
    }

    override func linkEnded(_ end: LinkEnd, wasUp: Bool) {
        if end === workers.end { return workers.later() }
        if end === state.end {
            if wasUp { tell(.stateLost) }
            return state.later()
        }
        if wasUp { tell(.scalingLost) }
        scaling.later()
    }

    override func afterFlush() {
        let next = scaler.nextWake
        guard next < armed else { return }
        armed = next
        after(max(.zero, next - now) + .microseconds(world.pick(0...1_000)), isTimer: true) { [self] in
            armed = .never
            if scaler.nextWake <= now { tell(.woke) }
        }
    }
}

extension Instant {
    fileprivate var milliseconds: Int64 { nanoseconds / 1_000_000 }
}
