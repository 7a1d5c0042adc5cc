import Kubernetes
import Model
import Wire

/// What has happened, as the shell tells the machine.
public enum WatcherInput: Sendable {
    /// A state saved by an earlier life, before anything else.
    case restored(SavedState)

    // The directory.
    /// A new file, or a new version of one, was read.
    case fileLoaded(String, Manifest)
    /// The version of a file that is there now cannot be read; `problem` says where, why, and what to do.
    case fileBroken(String, problem: String)
    case fileRemoved(String)
    /// The whole directory was looked through; these are its files.
    case scanCompleted(files: Set<String>)
    /// Nothing is known about the directory until the next complete scan.
    case directoryUnreadable(String)
    /// Everything that happened at one time was told: what moved between files or slices has arrived.
    case settled

    // Kubernetes.
    /// A reflector's ``Kubernetes/ReflectorAction/apply(_:)``, and the wall clock's time since 1970.
    case kubernetesSaid(WatchScope, ObjectUpdate, sinceEpoch: Duration)
    /// A reflector's ``Kubernetes/ReflectorAction/health(_:)``, and when it last heard from the server.
    case kubernetesHealth(WatchScope, ReflectorHealth, lastHeard: Instant?)
    /// Every reflector was exchanged for one that knows nothing, because the way to the server changed. What was said stays until
    /// the new ones have said all they know.
    case kubernetesRestarted

    // Local workers.
    case workersLinkUp
    case workersSaid(WorkersMessage)
    case workersLinkDown

    /// The configuration was read anew: pools with a Service, and pools with local workers.
    case reconfigured(pools: [PoolSource], localPools: Set<PoolID>)
    /// The time that ``WatcherMachine/nextWake`` named has come.
    case wokeUp
}

/// What the shell is to do, in this order.
public enum WatcherAction: Hashable, Sendable {
    /// To every consumer.
    case send(EndpointsMessage)
    /// Every consumer is to be greeted anew: health, then the whole state.
    case greetAll
    /// Write the state to disk.
    case save
    /// The saved state is still what is in force: make its time now.
    case confirmSaved
    /// Look through the whole directory.
    case scan
    /// End the link to the scaler, for this reason.
    case closeWorkers(String)
    case log(WatcherNotice)
}
