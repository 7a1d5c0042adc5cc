import ScalerCore

/// How worker processes are started and ended: as children (`leasehold up`), or as units of the service manager.
protocol WorkerDriver: AnyObject {
    /// What has become of orders; may be called from within one.
    var onEvent: (WorkerEvent) -> Void { get set }
    /// Nobody is left.
    var isEmpty: Bool { get }

    /// Calls back once, now or later, with the workers that run though no roster may name them: started just before a scaler was killed.
    func findRunning(_ found: @escaping ([FoundWorker]) -> Void)
    /// Follows a worker of an earlier scaler. False when it has ended meanwhile.
    func adopt(_ place: WorkerPlace, pool: String, _ process: ProcessIdentity) -> Bool
    /// Answered by `started` or `startFailed`, now or later.
    func start(_ place: WorkerPlace, pool: WorkerPool)
    /// Asks it to end.
    func stop(_ process: ProcessIdentity)
    /// Ends it, with everything that it started.
    func kill(_ process: ProcessIdentity)
    func stopAll()
    func killAll()
}

enum WorkerEvent {
    case started(WorkerPlace, ProcessIdentity)
    case startFailed(WorkerPlace, String)
    case ended(WorkerPlace, ProcessIdentity, ScalerCore.ExitStatus)
}

struct FoundWorker: Hashable {
    var pool: String
    var port: UInt16
    var process: ProcessIdentity
}
