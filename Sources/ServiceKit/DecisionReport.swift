/// One decision of the pool-keeper about a job, as `leasehold explain` prints it.
public struct DecisionReport: Codable, Hashable, Sendable {
    /// Of the pool-keeper's start.
    public var epoch: UInt64
    /// Counted from that start.
    public var number: UInt64
    public var agoMs: Int
    public var pool: String
    /// Unique within one dispatcher process.
    public var job: UInt64
    public var seat: String
    /// The dispatcher's connection: slot and generation; empty where unknown.
    public var caller: String
    public var tenant: String
    /// RFC 9218: 0 is the most urgent.
    public var urgency: Int
    /// `waits`, `granted`, `refused`, `gone`, `ended`, or `waiting` for what holds at this moment.
    public var event: String
    /// `epoch.counter`; empty for what is not about a lease.
    public var lease: String
    public var endpoint: String
    /// Why it waits, why it was refused, or how it ended.
    public var reason: String
    /// Held until then, or, for `ended`, how long the lease lasted.
    public var ms: Int
    /// Its place in line, 1 for the next; 0 where it is not in line, or, for `waits`, not known.
    public var position: Int
    /// How many waited then, itself included.
    public var queued: Int
    /// What was passed over: endpoints by state, and the time until the first quarantine ends.
    public var passed: PassedOver?

    /// Jobs that came later and were given an endpoint first; only where one job, lease or caller is asked for, and it waited.
    public var overtaken: Overtaken?

    public struct Overtaken: Codable, Hashable, Sendable {
        public var moreUrgent: Int
        /// As urgent, and their tenants' share.
        public var otherTenants: Int
        /// Of its own tenant, no more urgent.
        public var others: Int

        public init(moreUrgent: Int, otherTenants: Int, others: Int) {
            self.moreUrgent = moreUrgent
            self.otherTenants = otherTenants
            self.others = others
        }

        /// `; overtaken by 3 more urgent, 2 of other tenants`; empty for none.
        var text: String {
            let parts = [(moreUrgent, "more urgent"), (otherTenants, "of other tenants"), (others, "of its tenant")].filter { $0.0 > 0 }
            return parts.isEmpty ? "" : "; overtaken by " + parts.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        }
    }

    public struct PassedOver: Codable, Hashable, Sendable {
        public var free: Int
        public var leased: Int
        public var ending: Int
        public var recovering: Int
        public var quarantined: Int
        public var soonestMs: Int?
        public var unready: Int
        public var draining: Int

        public init(free: Int, leased: Int, ending: Int, recovering: Int, quarantined: Int, soonestMs: Int?, unready: Int, draining: Int) {
            self.free = free
            self.leased = leased
            self.ending = ending
            self.recovering = recovering
            self.quarantined = quarantined
            self.soonestMs = soonestMs
            self.unready = unready
            self.draining = draining
        }

        /// `3 leased, 1 quarantined (1.4 s left)`; states without any are left out.
        public var text: String {
            let left = soonestMs.map { " (\(seconds($0)) left)" } ?? ""
            let parts = [
                (leased, "leased"), (ending, "ending"), (recovering, "recovering"), (quarantined, "quarantined" + left), (unready, "unready"),
                (draining, "draining"), (free, "free"),
            ].filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
            return parts.isEmpty ? "no endpoints" : parts.joined(separator: ", ")
        }
    }

    public init(
        epoch: UInt64, number: UInt64, agoMs: Int, pool: String, job: UInt64, seat: String, caller: String, tenant: String, urgency: Int, event: String
    ) {
        (self.epoch, self.number, self.agoMs, self.pool, self.job, self.seat) = (epoch, number, agoMs, pool, job, seat)
        (self.caller, self.tenant, self.urgency, self.event) = (caller, tenant, urgency, event)
        (lease, endpoint, reason, ms, position, queued) = ("", "", "", 0, 0, 0)
    }

    /// One line for people.
    public var text: String {
        let before = overtaken?.text ?? ""
        return switch event {
        case "waits": "waits: \(reason); \(queued) in line; passed over: \(passed?.text ?? "")"
        case "waiting": "still waits after \(seconds(ms)): number \(position) of \(queued)\(before)"
        case "granted": "granted \(pool)/\(lease) on \(endpoint) after \(seconds(ms))\(before)"
        case "refused": "refused \(reason) after \(seconds(ms)): \(position > 0 ? "number \(position) of \(queued)" : "\(queued) in line")\(before)"
        case "gone": "the caller left after \(seconds(ms))\(before)"
        default: "\(pool)/\(lease) on \(endpoint) ended after \(seconds(ms)): \(reason)"
        }
    }
}

/// `1.4 s`, `12 ms`.
private func seconds(_ ms: Int) -> String { ms < 1_000 ? "\(ms) ms" : "\(ms / 1_000).\(ms % 1_000 / 100) s" }
