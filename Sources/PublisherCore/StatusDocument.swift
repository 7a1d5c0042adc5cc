import Model
import Wire

// What is known, as JSON documents. Times are whole milliseconds; what is not known is null.

extension Publication {
    /// `/statusz`: pools, processes and the source of endpoints.
    public func statusDocument(at now: Instant) -> [UInt8] {
        var text = JSONText()
        text.object {
            $0.value("version", version)
            $0.milliseconds("stateAgeMs", stateAge(at: now))
            $0.array("pools") { for pool in pools { describe(pool, &$0, now) } }
            $0.array("processes") { for process in processes { describe(process, &$0, now) } }
            describeSource(&$0, now)
        }
        return text.bytes
    }

    func describe(_ pool: Pool, _ text: inout JSONText, _ now: Instant) {
        text.object {
            $0.value("pool", pool.name)
            let state = state(of: pool, at: now)
            $0.value("known", state != nil)
            guard let state else { return }
            $0.value("total", state.total)
            $0.value("ready", state.total &- state.unready)
            $0.value("free", state.free)
            $0.value("leased", state.leased)
            $0.value("queued", state.queued)
            $0.value("quarantined", state.quarantined)
            $0.value("draining", state.draining)
            $0.value("ending", state.ending)
            $0.value("recovering", state.recovering)
            $0.value("unready", state.unready)
            $0.value("leases", state.leases)
            $0.value("demand", state.demand)
            $0.value("oldestWaitMs", state.oldestWait.milliseconds)
            $0.value("paused", state.isPaused)
            $0.value("waitsForRecovery", state.isRecovering)
            $0.array("queuedByUrgency") { for urgency in 0..<8 { $0.value(nil, state.queuedByUrgency[urgency]) } }
            $0.array("tenants") { rows in
                for tenant in state.tenantRows {
                    rows.object {
                        $0.value("tenant", tenant.name)
                        $0.value("queued", tenant.queued)
                        $0.value("leased", tenant.leased)
                        $0.value("oldestWaitMs", tenant.oldestWait.milliseconds)
                    }
                }
            }
        }
    }

    func describe(_ process: Process, _ text: inout JSONText, _ now: Instant) {
        text.object {
            $0.value("process", process.name)
            $0.value("up", process.isUp)
            $0.value("restarts", process.restarts)
            $0.milliseconds("uptimeMs", process.isUp ? process.started.map { now - $0 } : nil)
            $0.milliseconds("ageMs", process.age(at: now))
        }
    }

    private func describeSource(_ text: inout JSONText, _ now: Instant) {
        text.object("source") {
            $0.value("state", source.health?.state.name ?? "unknown")
            $0.milliseconds("ageMs", sourceAge(at: now))
            $0.value("detail", source.health?.detail ?? "the watcher has not been heard")
        }
    }

    /// `/pressure`, as browserless tells it: of one pool, or of all together. Nil for a pool that is not there.
    ///
    /// `cpu` and `memory` are null: of the machine nothing is known here, and workers are on others.
    public func pressureDocument(pool name: String?, capacity: (String) -> Int, recentlyRejected: UInt64, wall: Int64) -> [UInt8]? {
        var chosen = pools
        if let name {
            chosen = pools.filter { $0.name == name }
            if chosen.isEmpty { return nil }
        }
        let states = chosen.compactMap { pool in pool.isGone ? nil : pool.state }
        let free = states.reduce(0) { $0 + Int($1.free) }
        let running = states.reduce(0) { $0 + Int($1.leases) }
        let queued = states.reduce(0) { $0 + Int($1.queued) }
        let most = chosen.reduce(0) { $0 + capacity($1.name) }
        let isKnown = !states.isEmpty
        let isAvailable = isKnown && (free > 0 || queued < most) && states.contains { !$0.isPaused }
        var text = JSONText()
        text.object {
            $0.object("pressure") {
                $0.value("date", wall)
                $0.value("reason", isAvailable ? "" : isKnown ? "full" : "unknown")
                $0.value(
                    "message",
                    isAvailable ? "" : isKnown ? "Every worker is taken and the queue is full, or the pool is paused" : "The pool-keeper has not been heard")
                $0.value("isAvailable", isAvailable)
                $0.value("queued", queued)
                $0.value("recentlyRejected", recentlyRejected)
                $0.value("running", running)
                $0.value("maxConcurrent", states.reduce(0) { $0 + Int($1.total &- $1.unready) })
                $0.value("maxQueued", most)
                $0.null("cpu")
                $0.null("memory")
            }
        }
        return text.bytes
    }

    /// `/status`, as Selenoid tells it: a pool is a browser, whose version is empty and whose user is unknown.
    public func selenoidDocument() -> [UInt8] {
        let known = pools.compactMap { pool in pool.isGone ? nil : pool.state.map { (pool.name, $0) } }
        var text = JSONText()
        text.object {
            $0.value("total", known.reduce(0) { $0 + Int($1.1.total &- $1.1.unready) })
            $0.value("used", known.reduce(0) { $0 + Int($1.1.leases) })
            $0.value("queued", known.reduce(0) { $0 + Int($1.1.queued) })
            $0.value("pending", known.reduce(0) { $0 + Int($1.1.recovering) })
            $0.object("browsers") {
                for (name, state) in known {
                    $0.object(name) {
                        $0.object("") {
                            guard state.leases > 0 else { return }
                            $0.object("unknown") {
                                $0.value("count", state.leases)
                                $0.array("sessions") { _ in }
                            }
                        }
                    }
                }
            }
        }
        return text.bytes
    }
}

extension JSONText {
    /// Null where it is not known.
    mutating func milliseconds(_ name: String, _ duration: Duration?) {
        if let duration { value(name, duration.milliseconds) } else { null(name) }
    }
}

extension SourceHealth.State {
    /// For people and for JSON.
    public var name: String {
        switch self {
        case .unknown: "unknown"
        case .live: "live"
        case .stale: "stale"
        }
    }
}
