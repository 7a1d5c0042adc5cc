import ScalerCore

/// How worker processes are started and ended: as children (`leasehold up`), or as units of the service manager.
protocol WorkerDriver: AnyObject {
    /// What has become of orders; may be called from within one.
    var onEvent: (WorkerEvent) -> Void { get set }
    /// Nobody is left.
    var isEmpty: Bool { get }

    /// Whether who has the port is a worker of ours that no roster names: started just before a former scaler was killed. Starting it
    /// again finds it.
    func isOurs(_ place: WorkerPlace, pool: String, _ answer: @escaping (Bool) -> Void)
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
