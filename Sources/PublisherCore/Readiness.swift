import Model
import Wire

extension Publication {
    /// Whether jobs can be served, and every reason for and against it.
    public struct Readiness: Sendable, Hashable {
        public enum Verdict: Sendable, Hashable {
            case good
            /// Not as it should be, and jobs are served all the same.
            case degraded
            case bad
        }

        public struct Reason: Sendable, Hashable {
            public var verdict: Verdict
            public var name: String
            public var detail: String
        }

        public var reasons: [Reason] = []
        public var isReady: Bool { !reasons.contains { $0.verdict == .bad } }

        /// One line for each, as Kubernetes' own components write them.
        public var text: String {
            reasons.map { reason in
                let mark =
                    switch reason.verdict {
                    case .good: "[+]"
                    case .degraded: "[!]"
                    case .bad: "[-]"
                    }
                return "\(mark)\(reason.name) \(reason.detail)\n"
            }.joined() + (isReady ? "ready\n" : "not ready\n")
        }
    }

    /// `serves` are the processes without which no job is served.
    public func readiness(serves: [String], isDraining: Bool, at now: Instant) -> Readiness {
        var out = Readiness()
        func say(_ verdict: Readiness.Verdict, _ name: String, _ detail: String) {
            out.reasons.append(Readiness.Reason(verdict: verdict, name: name, detail: detail))
        }
        if isDraining { say(.bad, "publisher", "is draining") }
        switch stateEdge {
        case .never: say(.bad, "state", "the pool-keeper has not been heard")
        case .incomplete: say(.bad, "state", "the pool-keeper is telling its state")
        case .lost(let since): say(.bad, "state", "the pool-keeper is away since \(seconds(now - since))")
        case .up: say(.good, "state", "is current")
        }
        switch source.health?.state {
        case nil: say(.bad, "source", "the watcher has not been heard")
        case .unknown: say(.bad, "source", "is unknown: \(source.health?.detail ?? "")")
        case .stale: say(.degraded, "source", "is stale since \(seconds(sourceAge(at: now) ?? .zero)), serving what was known last")
        case .live:
            switch source.standing {
            case .up, .incomplete: say(.good, "source", "is live")
            case .never, .lost: say(.degraded, "source", "the watcher is away, serving what was known last")
            }
        }
        for process in processes {
            let isNeeded = serves.contains(process.name)
            switch process.standing {
            case .up: say(.good, process.name, "is up")
            case .incomplete: say(isNeeded ? .bad : .degraded, process.name, "has not told its vitals yet")
            case .never: say(isNeeded ? .bad : .degraded, process.name, "has not been heard")
            case .lost(let since): say(isNeeded ? .bad : .degraded, process.name, "is away since \(seconds(now - since))")
            }
        }
        for pool in pools {
            guard let state = pool.state, !pool.isGone else {
                say(.degraded, "pool \(pool.name)", "is not known")
                continue
            }
            if state.isRecovering { say(.degraded, "pool \(pool.name)", "waits for recovery") }
            if state.isPaused { say(.degraded, "pool \(pool.name)", "is paused") }
            if state.total == state.unready { say(.degraded, "pool \(pool.name)", "has no worker that is ready") }
        }
        return out
    }

    private func seconds(_ duration: Duration) -> String {
        let tenths = max(0, duration.milliseconds / 100)
        return "\(tenths / 10).\(tenths % 10) s"
    }
}
