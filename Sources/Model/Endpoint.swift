/// One worker as the *endpoints* edge describes it, once for each pool that it belongs to.
///
/// The same ``EndpointID`` in two pools is one worker: its slots are shared.
public struct Endpoint: Hashable, Sendable {
    public var id: EndpointID
    /// The pod UID, or the address and port where there is none.
    public var uid: String
    /// The pod's name, or whatever `targetRef` names; empty when unknown.
    public var name: String
    /// Where to dial, with this pool's port; first one preferred (a dual-stack pod has one per family). Never empty.
    public var addresses: [SocketAddress]
    public var conditions: Conditions
    public var node: String
    public var zone: String
    /// Started by this node's scaler, rather than found in the source.
    public var isLocal: Bool

    public init(
        id: EndpointID, uid: String, name: String = "", addresses: [SocketAddress], conditions: Conditions = .ready,
        node: String = "", zone: String = "", isLocal: Bool = false
    ) {
        self.id = id
        self.uid = uid
        self.name = name
        self.addresses = addresses
        self.conditions = conditions
        self.node = node
        self.zone = zone
        self.isLocal = isLocal
    }

    /// The EndpointSlice API's conditions with its defaults applied (nil ready and serving mean true).
    public struct Conditions: OptionSet, Hashable, Sendable {
        public var rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let ready = Conditions(rawValue: 1)
        public static let serving = Conditions(rawValue: 2)
        public static let terminating = Conditions(rawValue: 4)
    }

    /// Whether it may take new work as far as its source knows.
    public var isUsable: Bool { conditions.contains(.ready) && !conditions.contains(.terminating) }
}

/// Where an endpoint stands in the pool-keeper's eyes. One endpoint is in exactly one state at a time.
public enum EndpointState: UInt8, CaseIterable, Sendable, Hashable {
    /// Its source says not ready, or terminating, and no lease is open. Leaves to free or gone.
    case unready
    /// Ready, with a slot open. Leaves to leased, and to any state that sets it aside.
    case free
    /// Every slot is leased. Leaves to ending, free, recovering, quarantined, draining.
    case leased
    /// Its caller is gone and the worker still works. Leaves to free, recovering, quarantined, draining.
    case ending
    /// `reuse: when-ready` waits to see it ready again. Leaves to free or unready.
    case recovering
    /// Set aside for a while after a failure. Leaves to free by time, readiness or operator.
    case quarantined
    /// Takes nothing new. Leaves to free by undrain, or gone.
    case draining

    public var name: String {
        switch self {
        case .unready: "unready"
        case .free: "free"
        case .leased: "leased"
        case .ending: "ending"
        case .recovering: "recovering"
        case .quarantined: "quarantined"
        case .draining: "draining"
        }
    }
}
