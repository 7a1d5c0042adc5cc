import CLinux
import Linux
import Model
import ScalerCore
import ServiceKit
import Systemd
import Wire

/// The process around the machine: links, children, ports, the roster file and one timer.
final class Shell {
    private let service: Service
    private var scaler: Scaler
    private let driver: any WorkerDriver
    private let ports: Ports
    private let roster: RosterFile
    private let workersLink: LinkClient
    private let stateLink: LinkClient
    private let scalingLink: LinkClient
    private var timer: LoopTimer?
    private var pools: [PoolID: WorkerPool] = [:]
    /// Emptied in order; an action that is carried out may bring inputs, whose actions come after it.
    private var actions: [Scaler.Action] = []
    private var isActing = false
    private var isEnding = false
    private var hasBegun = false
    private var rosterIsBehind = false
    private var counts: [String: UInt64] = ["starts": 0, "exits": 0, "crashes": 0, "probes": 0, "drained": 0]

    init(_ service: Service) {
        self.service = service
        scaler = Scaler(node: Self.nodeName())
        driver =
            Self.workersAre == "units" ? WorkerUnits(loop: service.loop, logger: service.logger) : WorkerProcesses(loop: service.loop)
        ports = Ports(loop: service.loop)
        roster = RosterFile(path: "\(service.privateRuntimeDirectory)/workers.roster")
        workersLink = service.connect(.workers)
        stateLink = service.connect(.state)
        scalingLink = service.connect(.scaling)
        timer = service.loop.timer { [unowned self] _ in tell(.woke) }

        driver.onEvent = { [unowned self] in heard($0) }
        service.onReload = { [unowned self] _, new in
            // Before that the configuration in force is read when it begins.
            if hasBegun { tell(.configured(adopt(new))) }
        }
        service.onTerminate = { [unowned self] isFirst in terminate(isFirst) }
        service.onControl = { [unowned self] request in answer(request) }
        service.counters = { [unowned self] in counts }
        service.vitals.collect = { [unowned self] round in tellVitals(&round) }
        service.loop.atTurnEnd { [unowned self] in turnEnded() }
        driver.findRunning { [unowned self] running in
            begin(running)
            connect()
            service.ready(status: status())
        }
    }

    // MARK: The machine

    private func begin(_ running: [FoundWorker]) {
        let configured = adopt(service.configuration)
        let known = roster.readAlive()
        // Of those that the roster does not name the command is unknown: fingerprint 0 has them replaced.
        let others = running.filter { one in !known.contains { $0.pool == one.pool && $0.port == one.port } }
            .map { RosterEntry(pool: $0.pool, port: $0.port, process: $0.process, fingerprint: 0, state: .starting) }
        let found = (known + others).filter {
            driver.adopt(WorkerPlace(pool: PoolID(name: $0.pool), port: $0.port), pool: $0.pool, $0.process)
        }
        rosterIsBehind = true
        hasBegun = true
        tell(.began(configured, found: found))
    }

    private func adopt(_ configuration: Configuration) -> [WorkerPool] {
        let list = configuration.pools.compactMap(WorkerPool.init)
        for pool in list { pools[pool.id] = pool }
        return list
    }

    private func tell(_ input: Scaler.Input) {
        guard !isEnding else { return }
        scaler.handle(input, at: service.loop.instant, into: &actions)
        guard !isActing else { return }
        isActing = true
        var next = 0
        while next < actions.count {
            carryOut(actions[next])
            next += 1
        }
        actions.removeAll(keepingCapacity: true)
        isActing = false
    }

    private func turnEnded() {
        guard hasBegun, !isEnding else { return }
        timer?.set(scaler.nextWake)
        if rosterIsBehind { saveRoster() }
        service.setStatus(status())
    }

    private func carryOut(_ action: Scaler.Action) {
        switch action {
        case .check(let place): tell(ports.isHeld(place.port) ? .portHeld(place) : .portFree(place))
        case .start(let place): start(place)
        case .probe(let place, let process):
            counts["probes", default: 0] += 1
            ports.probe(place.port) { [unowned self] accepts in tell(accepts ? .accepts(place, process) : .silent(place, process)) }
        case .stop(let place, let process):
            ports.forget(place.port)
            driver.stop(process)
        case .kill(_, let process): driver.kill(process)
        case .announce(let pool, let endpoint): workersLink.link?.send(WorkersMessage.upsert(pool: pool, endpoint))
        case .withdraw(let pool, let endpoint): workersLink.link?.send(WorkersMessage.remove(pool: pool, endpoint))
        case .drainIdle(let pool, let idleFor, let most):
            scalingLink.link?.send(ScalingRequest.drainIdle(pool: pool, idleFor: idleFor, most: UInt32(clamping: most)))
        case .drain(let endpoint): scalingLink.link?.send(ScalingRequest.drain(endpoint))
        case .undrain(let endpoint): scalingLink.link?.send(ScalingRequest.undrain(endpoint))
        case .saveRoster: saveRoster()
        case .notice(let notice): Self.log(notice, to: service.logger)
        }
    }

    private func start(_ place: WorkerPlace) {
        guard let pool = pools[place.pool] else { preconditionFailure("a start in a pool that was never configured") }
        driver.start(place, pool: pool)
    }

    private func heard(_ event: WorkerEvent) {
        switch event {
        case .started(let place, let process):
            counts["starts", default: 0] += 1
            tell(.started(place, process))
        case .startFailed(let place, let reason): tell(.startFailed(place, reason: reason, jitter: .random(in: 0 ... .max)))
        case .ended(let place, let process, let status):
            ports.forget(place.port)
            counts["exits", default: 0] += 1
            if isEnding {
                if driver.isEmpty { finishEnding() }
            } else {
                tell(.exited(place, process, status, jitter: .random(in: 0 ... .max)))
            }
        }
    }

    private func saveRoster() {
        do throws(SystemError) {
            try roster.write(scaler.roster)
            rosterIsBehind = false
        } catch {
            // Tried again at the end of every turn; the fleet runs on meanwhile.
            if !rosterIsBehind {
                service.logger.warning(
                    "The roster of workers could not be written, continuing without it",
                    metadata: ["error": "\(error)", LogKey.messageID: "\(MessageID.stateNotSaved)"])
            }
            rosterIsBehind = true
        }
    }

    // MARK: Links

    private func connect() {
        workersLink.onUp = { [unowned self] link in
            link.send(WorkersMessage.snapshotBegin)
            for (pool, endpoint) in scaler.endpoints { link.send(WorkersMessage.upsert(pool: pool, endpoint)) }
            link.send(WorkersMessage.snapshotEnd)
        }
        workersLink.onPacket = { (_, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            _ = try NoMessage.decode(from: &reader)
        }
        stateLink.onPacket = { [unowned self] (_, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd {
                switch try StateMessage.decode(from: &reader) {
                case .pool(let state): tell(.poolState(state))
                case .poolGone(let pool): tell(.poolGone(pool))
                case .snapshotEnd, .cells: break
                }
            }
        }
        stateLink.onDown = { [unowned self] _ in tell(.stateLost) }
        scalingLink.onUp = { [unowned self] _ in tell(.scalingUp) }
        scalingLink.onDown = { [unowned self] _ in tell(.scalingLost) }
        scalingLink.onPacket = { [unowned self] (_, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd {
                switch try ScalingReply.decode(from: &reader) {
                case .drained(let endpoint):
                    counts["drained", default: 0] += 1
                    tell(.drained(endpoint))
                }
            }
        }
        workersLink.start()
        stateLink.start()
        scalingLink.start()
    }

    // MARK: The end

    /// Alone, the scaler goes and the fleet stays. Under `leasehold up` the fleet goes with it: it belongs to that terminal.
    private func terminate(_ isFirst: Bool) {
        guard Self.workersAre == "end-with-scaler" else { return service.loop.stop() }
        guard isFirst else { return driver.killAll() }
        isEnding = true
        guard !driver.isEmpty else { return finishEnding() }
        driver.stopAll()
        service.setStatus("Ending the workers")
        let grace = pools.values.map(\.stopTimeout).max() ?? .zero
        timer = service.loop.timer { [unowned self] _ in driver.killAll() }
        timer?.set(service.loop.instant + grace)
    }

    /// LEASEHOLD_WORKERS: "units" under systemd, "end-with-scaler" under `leasehold up`; else children that outlive the scaler.
    private static var workersAre: String { getenv("LEASEHOLD_WORKERS").map { String(cString: $0) } ?? "" }

    private func finishEnding() {
        roster.remove()
        service.loop.stop()
    }

    // MARK: Reports

    private func status() -> String {
        let list = scaler.summaries.map { "\($0.pool) \($0.ready) of \($0.target)\($0.isBlind ? " (pool-keeper away)" : "")" }
        return list.isEmpty ? "No pool has local workers" : "Workers: \(list.joined(separator: ", "))"
    }

    private func answer(_ request: ControlRequest) -> ControlAnswer {
        switch request {
        case .show("workers"):
            return .json(
                scaler.roster.map { WorkerReport(pool: $0.pool, port: $0.port, pid: $0.process.pid, state: $0.state.rawValue) })
        case .show(let what): return .failed(status: 64, "the scaler has no report '\(what)'; it has 'workers' and 'process'")
        case .drain, .drainIdle, .undrain, .quarantine, .pause, .resume: return .failed(status: 64, "the pool-keeper does that")
        case .assets: return .failed(status: 64, "the asset cache does that")
        }
    }

    /// For the publisher.
    private func tellVitals(_ round: inout VitalsRound) {
        round.count(.workerStarts, counts["starts", default: 0])
        round.count(.workerExits, counts["exits", default: 0])
        round.count(.workerCrashes, counts["crashes", default: 0])
        for pool in scaler.summaries {
            round.gauge(.workersWanted, pool.pool, value: Double(pool.target))
            for (state, count) in [
                ("ready", pool.ready), ("starting", pool.starting), ("draining", pool.draining), ("stopping", pool.stopping),
                ("waiting", pool.waiting), ("held", pool.held),
            ] {
                round.gauge(.workers, pool.pool, state, value: Double(count))
            }
        }
    }

    private static func nodeName() -> String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, 255) == 0 else { return "" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension WorkerPool {
    /// Nil for a pool without local workers.
    init?(_ pool: PoolConfiguration) {
        guard let workers = pool.workers else { return nil }
        self.init(
            name: pool.name, command: workers.command, ports: workers.ports.ports, min: workers.min, max: workers.most, idle: workers.idle,
            slots: pool.slots, isSingleUse: pool.reuse == .never)
        startTimeout = workers.startTimeout
        stopTimeout = workers.stopTimeout
        firstBackOff = workers.backoff.first
        mostBackOff = workers.backoff.most
    }
}
