import Model

/// Keeps a copy of the objects of one scope in step with the API server: client-go's reflector as a value.
///
/// The shell makes its requests and tells what comes back; it hears of changes through ``ReflectorAction/apply(_:)``. There is at
/// most one request under way. Randomness comes from the seed.
public struct Reflector: Sendable {
    public let scope: WatchScope

    /// - Parameter seed: of the generator for back-off and watch time-outs; different for each reflector.
    public init(_ scope: WatchScope, seed: UInt64) {
        self.scope = scope
        random = seed
    }

    private var random: UInt64

    /// When the machine wants to hear ``ReflectorInput/wokeUp``.
    public private(set) var nextWake = Instant.never

    /// Where it stands. O(1).
    public var report: ReflectorReport {
        ReflectorReport(
            scope: scope, activity: .idle, health: .unknown(nil), connectedSince: nil, lastHeard: nil, resourceVersion: "", objects: 0,
            usesProtobuf: true, usesWatchList: true, events: 0, bookmarks: 0, relists: 0, requests: 0, bytes: 0, errors: [:], problem: nil)
    }

    /// Takes what happened and appends what is to be done.
    public mutating func handle(_ input: ReflectorInput, at now: Instant, _ actions: inout [ReflectorAction]) {
    }
}
