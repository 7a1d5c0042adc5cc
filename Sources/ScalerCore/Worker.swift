import Model

/// One port of a pool, and the worker process on it if there is one.
struct Worker: Hashable, Sendable {
    var port: UInt16
    var state: State = .vacant
    /// Starts in a row that ended before the worker had run well.
    var failures = 0
    /// No start before this, whoever asks: the back-off outlives a moment without demand.
    var notBefore: Instant = .zero
    /// An operator was told that a foreign process has the port; told again only after it was free.
    var isKnownHeld = false
    /// Of the command it was started with (``WorkerPool/fingerprint``); meaningless while vacant.
    var fingerprint: UInt64 = 0

    enum State: Hashable, Sendable {
        /// No process and none wanted. Leaves to checking.
        case vacant
        /// Wanted; the shell looks whether anybody has the port. Leaves to launching or held.
        case checking
        /// A foreign process has the port: looked at again from `notBefore`. Leaves to checking or vacant.
        case held
        /// The start was ordered. Leaves to starting, or to waiting when it failed.
        case launching
        /// The process runs; its port does not accept yet. Leaves to ready, stopping (too slow, unwanted) or waiting (crashed).
        case starting(ProcessIdentity, since: Instant, probe: Probe)
        /// Announced as an endpoint. Leaves to draining, stopping, waiting or vacant.
        case ready(ProcessIdentity, since: Instant)
        /// The pool-keeper was told to give it nothing new; leases may be open. Leaves to stopping or vacant.
        case draining(ProcessIdentity, since: Instant)
        /// Told to end; no lease is open on it. Leaves to vacant at its exit. `killAt` is never once it was killed.
        case stopping(ProcessIdentity, killAt: Instant)
        /// Crashed; starts again at `notBefore`. Leaves to checking or vacant.
        case waiting
    }

    enum Probe: Hashable, Sendable {
        /// The shell has not answered yet.
        case asked
        /// The next one is due then.
        case due(Instant)
    }

    /// The process, where there is one.
    var process: ProcessIdentity? {
        switch state {
        case .vacant, .checking, .held, .launching, .waiting: nil
        case .starting(let process, _, _), .ready(let process, _), .draining(let process, _), .stopping(let process, _): process
        }
    }

    /// Counts for the target: it serves, or is on its way to.
    var isWanted: Bool {
        switch state {
        case .checking, .launching, .starting, .ready, .waiting: true
        case .vacant, .held, .draining, .stopping: false
        }
    }

    var isReady: Bool { if case .ready = state { true } else { false } }
    var isDraining: Bool { if case .draining = state { true } else { false } }
    /// On its way from one state to another: neither serving nor at rest.
    var isChanging: Bool {
        switch state {
        case .vacant, .held, .ready: false
        case .checking, .launching, .starting, .draining, .stopping, .waiting: true
        }
    }

    var isVacant: Bool { state == .vacant }
    var isHeld: Bool { state == .held }
    /// Wanted, and no process was ordered yet.
    var isUnstarted: Bool { state == .checking || state == .waiting }

    /// As the roster says it; nil without a process.
    var rosterState: RosterEntry.State? {
        switch state {
        case .vacant, .checking, .held, .launching, .waiting: nil
        case .starting: .starting
        case .ready: .ready
        case .draining: .draining
        case .stopping: .stopping
        }
    }

    /// An endpoint on the *workers* edge: a draining one still is, its leases are open.
    var isAnnounced: Bool { isReady || isDraining }
}

/// What a local worker is called, from the process that it is.
enum WorkerName {
    /// Unique per incarnation: a worker that was restarted on the same port is another endpoint.
    static func uid(port: UInt16, process: ProcessIdentity) -> String { "local:\(port):\(process)" }

    static func endpointID(port: UInt16, process: ProcessIdentity) -> EndpointID { EndpointID(uid: uid(port: port, process: process)) }

    static func endpoint(pool: String, port: UInt16, process: ProcessIdentity, node: String) -> Endpoint {
        Endpoint(
            id: endpointID(port: port, process: process), uid: uid(port: port, process: process), name: "\(pool)-\(port)",
            addresses: [.loopback(port: port)], node: node, isLocal: true)
    }
}
