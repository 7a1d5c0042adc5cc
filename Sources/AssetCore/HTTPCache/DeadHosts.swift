import Model

/// Hosts that could not be reached a moment ago: who asks them next has the same answer at once, instead of waiting for the same deadline.
public struct DeadHosts<Failure: Sendable>: Sendable {
    private var hosts: [String: (until: Instant, failure: Failure)] = [:]

    public static var most: Int { 1_024 }

    public init() {}

    /// How the last attempt failed, while it is remembered.
    public mutating func failure(of host: String, at now: Instant) -> Failure? {
        guard let found = hosts[host] else { return nil }
        if now < found.until { return found.failure }
        hosts[host] = nil
        return nil
    }

    /// Remembered from now on for so long. When there is no room, what is over goes, and then everything.
    public mutating func failed(_ host: String, _ failure: Failure, for duration: Duration, at now: Instant) {
        guard duration > .zero else { return }
        if hosts.count >= Self.most, hosts[host] == nil { hosts = hosts.filter { now < $0.value.until } }
        if hosts.count >= Self.most, hosts[host] == nil { hosts.removeAll() }
        hosts[host] = (now + duration, failure)
    }
}
