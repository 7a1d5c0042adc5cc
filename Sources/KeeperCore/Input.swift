import Model
import Wire

/// One link of a dispatcher, as the shell numbers it; never used again for another link.
public struct DispatcherID: Hashable, Sendable {
    public var rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// One process of a dispatcher: the number that it drew at its start.
public struct InstanceID: Hashable, Sendable {
    public var rawValue: UInt64
    @inlinable public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A dispatcher process that is believed alive: what the roster file names.
public struct RosterEntry: Hashable, Sendable {
    public var instance: InstanceID
    public var seat: String
    public init(instance: InstanceID, seat: String) {
        self.instance = instance
        self.seat = seat
    }

    /// Whoever a lost roster named. Nobody knows what it held, as with any process that died unseen; and whoever connects then may have been
    /// on that roster.
    public static let unknown = RosterEntry(instance: InstanceID(rawValue: 0), seat: "unknown")
}

/// An endpoint whose worker may still be at a job that nobody can end: what the roster file names beside the dispatchers.
public struct SetAside: Hashable, Sendable {
    public var endpoint: EndpointID
    public var until: Instant
    public init(endpoint: EndpointID, until: Instant) {
        self.endpoint = endpoint
        self.until = until
    }
}

/// What the operator holds back until it is taken back: a successor must hold back the same.
public struct HeldBack: Hashable, Sendable {
    /// Whether each paused pool refuses meanwhile.
    public var paused: [PoolID: Bool]
    /// Also those that no source names at present.
    public var drained: Set<EndpointID>
    public init(paused: [PoolID: Bool] = [:], drained: Set<EndpointID> = []) {
        self.paused = paused
        self.drained = drained
    }
}

/// What the operator asks for an endpoint or a pool. Endpoints are named by UID, name or address.
public enum OperatorVerb: Hashable, Sendable {
    /// Takes nothing new until `undrain`. A nil pool means wherever the endpoint is.
    case drain(endpoint: String, pool: PoolID?)
    /// Takes back a drain and ends a quarantine.
    case undrain(endpoint: String, pool: PoolID?)
    case quarantine(endpoint: String, pool: PoolID?, duration: Duration)
    /// Grants nothing; with `refuse`, answers those who wait and those who come at once.
    case pause(PoolID, refuse: Bool)
    case resume(PoolID)
}

extension Keeper {
    /// What happened.
    public enum Input: Sendable {
        /// A dispatcher's hello was accepted; it tells what it holds next.
        case dispatcherConnected(DispatcherID, instance: InstanceID, seat: String)
        /// The link is over; its process may live. Its tickets are suspended, its leases stay.
        case dispatcherLinkEnded(DispatcherID)
        /// Proof of death (a pidfd). What the process said before must have been handed in before this, and what of its tickets nobody can
        /// adopt.
        case dispatcherDied(InstanceID)
        case request(DispatcherID, LeasingRequest)
        /// A waiting caller of a dead process has hung up, or is not in escrow: nobody can adopt it.
        case callerLeft(InstanceID, TicketID)
        case endpoints(EndpointsMessage)
        /// The link to the watcher ended: an unfinished snapshot is dropped, everything known stays.
        case endpointsLost
        case scaling(ScalingRequest)
        case operated(OperatorVerb)
        /// The complete set of pools after a reload.
        case policiesChanged([PoolPolicy])
        /// ``Keeper/nextWake`` has come.
        case wake
    }
}
