import Model

/// One question to an origin for all who ask the same at the same time (collapsed forwarding).
///
/// A flight belongs to nobody: whoever began it may leave, and it goes on. Which questions nobody can share is remembered for a moment, so
/// that those who ask them do not wait for one another.
public struct Flights: Sendable {
    public struct ID: Hashable, Sendable {
        public var number: UInt64
    }

    public enum Joined: Hashable, Sendable {
        /// The caller must ask the origin.
        case leads(ID)
        /// Somebody asks already.
        case follows(ID)
        /// The answer is for one caller only, as it was lately.
        case alone
    }

    private var current: [String: ID] = [:]
    private var keys: [ID: String] = [:]
    private var unshared: [String: Instant] = [:]
    private var lastID: UInt64 = 0

    /// Names of questions that are remembered as not to be shared.
    static let mostUnshared = 4_096
    static let unsharedFor = Duration.seconds(30)

    public init() {}

    /// Questions that are under way.
    public var count: Int { current.count }

    public mutating func join(_ key: String, at now: Instant) -> Joined {
        if let id = current[key] { return .follows(id) }
        if let until = unshared[key] {
            if now < until { return .alone }
            unshared[key] = nil
        }
        lastID += 1
        let id = ID(number: lastID)
        current[key] = id
        keys[id] = key
        return .leads(id)
    }

    /// The flight that a question is on, without joining it.
    public func flight(_ key: String) -> ID? { current[key] }

    /// The answer is for one caller only: from now on each asks for itself.
    public mutating func isNotShared(_ id: ID, at now: Instant) {
        guard let key = keys[id] else { return }
        if unshared.count >= Self.mostUnshared { unshared = unshared.filter { now < $0.value } }
        if unshared.count >= Self.mostUnshared { unshared.removeAll() }
        unshared[key] = now + Self.unsharedFor
        ended(id)
    }

    /// Whoever comes now begins anew. Twice is once.
    public mutating func ended(_ id: ID) {
        guard let key = keys.removeValue(forKey: id) else { return }
        if current[key] == id { current[key] = nil }
    }

    /// A question that was thought unshareable has an answer for all.
    public mutating func isShared(_ key: String) { unshared[key] = nil }
}
