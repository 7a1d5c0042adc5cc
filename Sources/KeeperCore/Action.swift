import Model
import Wire

extension Keeper {
    /// What is to be done, in order. Plain bits: appending one costs no allocation.
    public enum Action: Sendable, Hashable {
        case reply(DispatcherID, LeasingReply)
        case scaling(ScalingReply)
        /// `state(of:at:)` of this pool has changed, or the pool is gone; at most once per pool and input.
        case poolChanged(PoolID)
        /// The peer broke the protocol: end its link. Nothing more is taken from it.
        case closeDispatcher(DispatcherID, CloseReason)
        /// `roster`, or what goes with it (`setAside`), has changed; both must be on disk before anything that follows is sent.
        case rosterChanged
        /// Everything that a dead process has in escrow goes to the new one in its seat, followed by ``Adoption/end``.
        case handOver(from: InstanceID, to: InstanceID, DispatcherID)
        /// The lease is over: its worker's descriptor leaves escrow.
        case closeWorker(InstanceID, LeaseID)
        /// The lease is over and nobody says how: its worker's connection is cut, whoever else holds it, and its caller's.
        case fence(InstanceID, LeaseID)
        /// From now on the callers of this dead process's tickets are watched: see ``Keeper/Input/callerLeft(_:_:)``.
        case watchCallers(InstanceID)
        /// What a dead process still has in escrow is cut: nobody adopts it any more.
        case dropEscrow(InstanceID)
        /// How many endpoints or pools an operator's verb applied to; exactly one for each verb.
        case operated(count: UInt32)
        /// Something to log or count.
        case notice(Notice)
    }

    /// Why a dispatcher's link is ended by us.
    public enum CloseReason: UInt8, Sendable, Hashable, CaseIterable {
        /// It told a ticket twice.
        case duplicateTicket
        /// More tickets than ``Keeper/Limits/ticketsPerDispatcher``.
        case tooManyTickets
        /// A token that no keeper can have granted.
        case impossibleToken
        /// Its instance has been proven dead.
        case dead
        /// The same instance has connected again.
        case superseded

        public var name: String {
            switch self {
            case .duplicateTicket: "duplicate-ticket"
            case .tooManyTickets: "too-many-tickets"
            case .impossibleToken: "impossible-token"
            case .dead: "dead"
            case .superseded: "superseded"
            }
        }
    }

    /// Bounds of what one peer can make this process keep.
    public enum Limits {
        public static let ticketsPerDispatcher = 1_000_000
        /// Beyond it, drained endpoints that no source names are forgotten.
        public static let drained = 10_000
        /// Affinity keys that a pool remembers the endpoint of.
        public static let affinities = 10_000
        /// Tickets that wait for one endpoint by their affinity; the next one takes any.
        public static let affinityWaits = 64
        /// Seats of dispatchers that decisions name.
        public static let seats = 1_000
    }
}

/// What is worth a line or a counter; plain bits.
public enum Notice: Sendable, Hashable {
    /// `held` is the time from the job's arrival.
    case granted(LeaseID, PoolID, EndpointID, held: Duration)
    case leaseEnded(LeaseID, PoolID, EndpointID, LeaseEnd, lasted: Duration)
    case refused(TicketID, PoolID, Reason, held: Duration)
    /// A job came back for another endpoint.
    case requeued(PoolID)
    /// The caller left, or its dispatcher died, while it was held.
    case gone(PoolID, held: Duration)
    case quarantined(EndpointID, PoolID, QuarantineCause, duration: Duration)
    case quarantineEnded(EndpointID)
    /// Three dial time-outs in a row on this endpoint's node: others are preferred.
    case nodeAvoided(EndpointID)
    case nodeTrusted(EndpointID)
    /// More leases than slots were asserted: all count until they end, and nothing new is granted.
    case conflict(EndpointID, LeaseID, open: UInt32)
    /// A lease was asserted on an endpoint that no source names.
    case unknownEndpoint(EndpointID, LeaseID)
    case ignored(Race)
    /// A successor in the seat asserted a lease of its predecessor.
    case adopted(LeaseID)
    /// A lease was asserted that is over, or another's.
    case revoked(LeaseID)
    /// Endpoints and assertions are complete: granting begins.
    case recovered(after: Duration)

    /// How a lease came to its end.
    public enum LeaseEnd: Sendable, Hashable {
        case released(Outcome)
        case dialFailed(DialFailure)
        /// The holder's death was proven.
        case holderDied
        /// The holder has connected again, or its successor has, and did not assert it.
        case unaccounted

        /// Whether no worker has had anything of the job.
        var isUnserved: Bool {
            switch self {
            case .released(.unused), .dialFailed: true
            case .released, .holderDied, .unaccounted: false
            }
        }

        /// Whether its holder said how it ended.
        var isAccounted: Bool {
            switch self {
            case .released, .dialFailed: true
            case .holderDied, .unaccounted: false
            }
        }
    }

    /// Why an endpoint was set aside.
    public enum QuarantineCause: Sendable, Hashable {
        case dialFailed(DialFailure)
        case outcome(Outcome)
        case holderDied
        case unaccounted
        case byOperator
    }

    /// Messages that crossed others on the way; each is expected.
    public enum Race: UInt8, Sendable, Hashable, CaseIterable {
        /// A cancel for a ticket that was granted or refused meanwhile.
        case lateCancel
        /// The end of a lease that is over.
        case lateRelease
        /// The end of a lease that somebody else holds: fenced.
        case foreignRelease
        /// A request on a link that has ended.
        case lateRequest
        /// A link's end, told again.
        case lateLinkEnd
        /// A removal of an endpoint that is not there.
        case lateRemove
        /// A pool that nothing names.
        case unknownPool
        /// A worker was put into escrow for a lease that is over.
        case lateEscrow

        public var name: String {
            switch self {
            case .lateCancel: "late-cancel"
            case .lateRelease: "late-release"
            case .foreignRelease: "foreign-release"
            case .lateRequest: "late-request"
            case .lateLinkEnd: "late-link-end"
            case .lateRemove: "late-remove"
            case .unknownPool: "unknown-pool"
            case .lateEscrow: "late-escrow"
            }
        }
    }
}
