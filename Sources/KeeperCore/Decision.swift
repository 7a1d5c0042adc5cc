import Model

/// One thing that the machine decided about a job: plain bits, for whoever asks later why.
public struct Decision: Sendable, Hashable {
    public var at: Instant
    public var pool: PoolID
    public var ticket: TicketID
    /// Whose job it is: the number of the dispatcher's seat, in which ``TicketID`` is unique, also when one process follows another.
    public var seat: UInt16
    public var caller: ConnectionID
    public var urgency: Urgency
    /// The number of its tenant in its pool's policy at that time.
    public var tenant: UInt16
    public var event: Event

    public enum Event: Sendable, Hashable {
        /// It has to wait: for this, with so many waiting then, itself included. A job that comes back after a failed dial waits again.
        case waits(Obstacle, passed: PassedOver, queued: UInt32, isRequeued: Bool)
        case granted(LeaseID, EndpointID, heldNanoseconds: Int64)
        /// `position`: its place in line, 1 for the next, 0 for one that was not in line; with so many that waited, itself included.
        case refused(Reason, heldNanoseconds: Int64, position: UInt32, queued: UInt32)
        /// The caller left, or nobody went on with it.
        case gone(heldNanoseconds: Int64)
        case ended(LeaseID, EndpointID, Notice.LeaseEnd, lastedNanoseconds: Int64)
    }

    /// What stood between a ticket and a free endpoint first of all.
    public enum Obstacle: UInt8, Sendable, Hashable, CaseIterable {
        case recovering, paused, tenantCap, affinity, reserve, noEndpoint, noneFree

        public var name: String {
            switch self {
            case .recovering: "recovering"
            case .paused: "paused"
            case .tenantCap: "tenant-cap"
            case .affinity: "affinity"
            case .reserve: "reserve"
            case .noEndpoint: "no-endpoint"
            case .noneFree: "none-free"
            }
        }

        /// One sentence for people.
        public var sentence: String {
            switch self {
            case .recovering: "the pool-keeper had not heard from everybody since its start"
            case .paused: "the pool was paused"
            case .tenantCap: "its tenant had as many leases as it may have"
            case .affinity: "the endpoint that served its affinity key last was busy"
            case .reserve: "what was free is kept for urgency 0"
            case .noEndpoint: "the pool had no endpoint"
            case .noneFree: "no endpoint was free"
            }
        }
    }

    /// The pool's endpoints at that moment, none of which it got.
    public struct PassedOver: Sendable, Hashable {
        public var free: UInt32
        public var leased: UInt32
        public var ending: UInt32
        public var recovering: UInt32
        public var quarantined: UInt32
        public var unready: UInt32
        public var draining: UInt32
        /// Until the first quarantine ends; negative where none is known to.
        public var soonestNanoseconds: Int64
    }
}

/// The newest decisions, in a memory of fixed size: O(1) for each, no allocation once it is full. Beside them, the names of as many endpoints
/// that have left since: who served a job is asked for when its worker has long gone.
struct DecisionRing: Sendable {
    private var slots: ContiguousArray<Decision> = []
    private let capacity: Int
    private var next = 0
    private var names: [EndpointID: String] = [:]
    /// Longest gone first, from `nextGone` on.
    private var gone: ContiguousArray<EndpointID> = []
    private var nextGone = 0
    /// Decisions ever noted.
    private(set) var count: UInt64 = 0

    init(capacity: Int) { self.capacity = max(1, capacity) }

    @inline(__always)
    mutating func note(_ decision: Decision) {
        count &+= 1
        if slots.count < capacity { return slots.append(decision) }
        slots[next] = decision
        next = next + 1 == capacity ? 0 : next + 1
    }

    /// The last words of an endpoint.
    mutating func remember(_ id: EndpointID, _ name: String) {
        // One that only a lease told of has no name.
        guard !name.isEmpty, names.updateValue(name, forKey: id) == nil else { return }
        if gone.count < capacity { return gone.append(id) }
        names[gone[nextGone]] = nil
        gone[nextGone] = id
        nextGone = nextGone + 1 == capacity ? 0 : nextGone + 1
    }

    func formerName(of id: EndpointID) -> String? { names[id] }

    /// Those after the first `number`, oldest first, each with its number; O(n).
    func since(_ number: UInt64) -> [(number: UInt64, decision: Decision)] {
        let first = count - UInt64(slots.count)
        return slots.indices.compactMap { i in
            let n = first + UInt64(i) + 1
            return n > number ? (n, slots[(next + i) % slots.count]) : nil
        }
    }
}
