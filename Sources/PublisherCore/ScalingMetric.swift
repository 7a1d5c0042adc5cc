import Wire

/// What an autoscaler scales a pool's workers on.
public enum ScalingMetric: String, Sendable, Hashable, CaseIterable {
    /// Jobs that have a worker plus jobs that wait for one.
    case demand
    /// Jobs that wait.
    case queueDepth = "queue-depth"
    /// Seconds that the job that has waited longest waits.
    case queueOldest = "queue-oldest"

    public func value(of state: PoolState) -> Double {
        switch self {
        case .demand: Double(state.demand)
        case .queueDepth: Double(state.queued)
        case .queueOldest: state.oldestWait.inSeconds
        }
    }

    /// What one worker should have of it, where nobody says: one job, or ten seconds.
    var defaultTarget: Double {
        switch self {
        case .demand, .queueDepth: 1
        case .queueOldest: 10
        }
    }
}
