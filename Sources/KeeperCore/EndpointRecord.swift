import Model

/// One worker, whatever pools it is in: its slots, and what keeps it from taking work.
struct EndpointRecord: Sendable {
    /// What `reuse: when-ready` still wants to see.
    enum Recovery: UInt8, Sendable {
        /// Nothing. Leaves to settling or awaitingReady when a lease ends.
        case none
        /// It has stayed ready since its lease ended. Leaves to none after `settle`, to awaitingReady when it turns unready.
        case settling
        /// It was unready when its lease ended, or after. Leaves to none when it turns ready.
        case awaitingReady
    }

    var id: EndpointID
    var firstMember: Slot = .null
    /// The least of its configured pools' slots.
    var slots: Int32 = 1
    /// Open leases, those that are ending and probes included.
    var used: Int32 = 0
    var ending: Int32 = 0
    var probes: Int32 = 0
    /// Members that its sources name no more; they stay while a lease is open, or are kept for their address.
    var goneMembers: Int32 = 0

    var drainedByOperator = false
    var drainedByScaler = false
    /// The scaler waits to hear that the last lease has ended.
    var owesDrained = false
    /// `reuse: never` has had its one lease.
    var isUsedUp = false
    var recovery = Recovery.none
    var isQuarantined = false
    /// Another endpoint claims one of its addresses.
    var isContested = false
    /// A dial could reach another endpoint's worker. Kept by ``Keeper/move(_:_:at:)``.
    var isShadowed = false
    /// Set by a quarantine that began with a connection cut under a worker that may still be at its job: no readiness that the source
    /// shows before this moment ends it.
    var cutUntil = Instant(nanoseconds: .min)
    /// Quarantines since the last served lease.
    var repeats: UInt8 = 0
    /// When it last showed how it is; long ago for one that never did.
    var lastLeaseEnd = Instant(nanoseconds: .min)
    var node: Slot = .null

    var isDraining: Bool { drainedByOperator || drainedByScaler || isUsedUp }
    /// Whether nothing but its source's word and its open leases decides.
    var isWilling: Bool { !isDraining && !isQuarantined && !isShadowed && recovery == .none }
    /// Whether a job may be running at its addresses.
    var holdsAddress: Bool { used > 0 || (isQuarantined && cutUntil.nanoseconds != .min) }
    /// Leases that are jobs.
    var jobs: Int32 { used - probes }
    /// Kept although no source names it: the same UID could come back within the moment.
    var isRemembered: Bool { used > 0 || isQuarantined || recovery == .settling }
}

/// An endpoint's place in one pool.
struct Member: Sendable {
    /// Which of its pool's lists it is in.
    enum FreeList: UInt8, Sendable { case none, free, avoided }

    var pool: Slot
    var endpoint: Slot
    /// The same endpoint's place in another pool.
    var nextOfEndpoint: Slot = .null
    /// What its pool counts it as; nil is not at all.
    var state: EndpointState?
    var list = FreeList.none
    var isIdle = false
    /// Tickets wait for it by their affinity.
    var isWanted = false
    /// Its source names it no more.
    var isGone: Bool
    /// Gone, and counted nowhere any more: the endpoint is still named on this host by another pool, so that whoever is named at this
    /// address next has taken the host from it. See ``Keeper/claim(_:_:at:)``.
    var isKept = false
    /// Ready and not terminating.
    var isUsable: Bool
    var isLocal: Bool
    /// The snapshot that named it last.
    var seen: UInt64 = 0
    var idleSince = Instant.zero
    var address: SocketAddress
    var alternate: SocketAddress?
}

/// Dial time-outs of the endpoints on one node.
struct NodeRecord: Sendable {
    var name: String
    /// In a row; a lease that worked ends the row.
    var timeouts: UInt8 = 0
    var isAvoided = false
    var endpoints = SlotList()
}
