import Model
import Wire

/// One pool's fleet.
struct Pool: Hashable, Sendable {
    var config: WorkerPool
    var fingerprint: UInt64
    /// Not configured any more: every worker is drained and stopped, then the pool is forgotten.
    var isRetired = false
    /// By port; only ports with something to remember. At most `max` processes, plus ports that failed or are held.
    var workers: [Worker] = []
    /// The last word of the pool-keeper; nil while it says nothing, or is recovering: then `target` stays.
    var state: PoolState?
    /// Workers that should serve.
    var target = 0
    /// When the pool-keeper may be asked again to drain idle endpoints.
    var nextDrainAsk = Instant.zero
    /// The operator knows that the ports do not suffice; told again after they did.
    var isKnownShort = false

    init(_ config: WorkerPool) {
        self.config = config
        fingerprint = config.fingerprint
        target = config.min
    }

    var wanted: Int { workers.count { $0.isWanted } }
    var ready: Int { workers.count { $0.isReady } }
    var draining: Int { workers.count { $0.isDraining } }

    /// Processes, and ports about to have one.
    var occupied: Int {
        workers.count { worker in
            switch worker.state {
            case .vacant, .held: false
            case .checking, .waiting, .launching, .starting, .ready, .draining, .stopping: true
            }
        }
    }

    /// Started by another command, or on a port that is no longer ours.
    func isOutdated(_ worker: Worker) -> Bool {
        worker.fingerprint != fingerprint || !config.has(worker.port) || isRetired
    }

    func place(_ worker: Worker) -> WorkerPlace { WorkerPlace(pool: config.id, port: worker.port) }

    /// Where the port is in `workers`, or where it belongs. O(log n).
    private func position(of port: UInt16) -> (index: Int, exists: Bool) {
        var low = 0
        var high = workers.count
        while low < high {
            let middle = (low + high) / 2
            if workers[middle].port < port { low = middle + 1 } else { high = middle }
        }
        return (low, low < workers.count && workers[low].port == port)
    }

    func index(of port: UInt16) -> Int? {
        let (index, exists) = position(of: port)
        return exists ? index : nil
    }

    mutating func indexAdding(_ port: UInt16) -> Int {
        let (index, exists) = position(of: port)
        if !exists { workers.insert(Worker(port: port), at: index) }
        return index
    }

    /// The lowest port on which a worker may be started now. O(workers): it goes no further than the first untouched port.
    func vacantPort(at now: Instant) -> UInt16? {
        var next = 0
        for port in config.ports {
            while next < workers.count, workers[next].port < port { next += 1 }
            guard next < workers.count, workers[next].port == port else { return port }
            if workers[next].isVacant && workers[next].notBefore <= now { return port }
        }
        return nil
    }

    /// The earliest time at which a port that is kept out now may be tried.
    var nextVacancy: Instant {
        workers.reduce(.never) { earliest, worker in
            config.has(worker.port) && (worker.isVacant || worker.isHeld) ? min(earliest, worker.notBefore) : earliest
        }
    }

    /// Forgets ports of which there is nothing to remember.
    mutating func forgetQuietPorts() {
        workers.removeAll { $0.isVacant && (isRetired || $0.failures == 0 && !$0.isKnownHeld || !config.has($0.port)) }
    }

    /// How often idle endpoints are asked for while there are too many workers: a tenth of `idle`, 100 ms to 1 s.
    var drainAskInterval: Duration { max(.milliseconds(100), min(.seconds(1), config.idle / 10)) }

    /// Workers beyond the target that the pool-keeper can be asked to drain: only ready ones, because the others are not its own yet.
    var excess: Int { min(max(0, wanted - target), ready) }

    /// Doubling from the first to the most, of which up to a quarter is taken off at random so that a fleet does not restart in step.
    func backOff(failures: Int, jitter: UInt32) -> Duration {
        let doubled = config.firstBackOff * (1 << min(max(0, failures - 1), 20))
        let full = min(doubled, config.mostBackOff)
        return full - full / 4 * Int(jitter >> 16) / 0x1_0000
    }
}
