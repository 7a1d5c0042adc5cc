import Model

/// How many jobs that came later than one that waited were given an endpoint of its pool before it.
public struct Overtaking: Sendable, Hashable {
    /// The more urgent.
    public var moreUrgent: UInt32 = 0
    /// Those of other tenants, as urgent, whose share it was.
    public var otherTenants: UInt32 = 0
    /// Its own tenant's, as urgent or less: it waited for one endpoint, its tenant was at its cap, or it came back from a failed dial.
    public var others: UInt32 = 0

    public init(moreUrgent: UInt32 = 0, otherTenants: UInt32 = 0, others: UInt32 = 0) {
        (self.moreUrgent, self.otherTenants, self.others) = (moreUrgent, otherTenants, others)
    }

    /// - Parameter decisions: those between the job's first wait and its own turn, or until now.
    public init(_ decisions: some Sequence<Decision>, over own: Decision, arrival: Instant) {
        for decision in decisions where decision.pool == own.pool {
            guard case .granted(_, _, let held) = decision.event, decision.at.nanoseconds &- held > arrival.nanoseconds else { continue }
            if decision.urgency.rawValue < own.urgency.rawValue {
                moreUrgent += 1
            } else if decision.urgency == own.urgency, decision.tenant != own.tenant {
                otherTenants += 1
            } else {
                others += 1
            }
        }
    }

    public var isNone: Bool { moreUrgent == 0 && otherTenants == 0 && others == 0 }
}
