import Model

/// Where a reflector stands, for `show source` and metrics.
public struct ReflectorReport: Hashable, Sendable {
    public enum Activity: Hashable, Sendable {
        /// Not started, or stopped.
        case idle
        /// A list is read, streamed or in pages.
        case listing
        case watching
        /// Between tries.
        case waiting
        /// Credentials are renewed.
        case renewing
    }

    public var scope: WatchScope
    public var activity: Activity
    public var health: ReflectorHealth
    /// When the watch that is up was answered; nil without one.
    public var connectedSince: Instant?
    /// When the server last said something: an event, a bookmark, or a list that is complete.
    public var lastHeard: Instant?
    /// Where a watch resumes; empty before the first list.
    public var resourceVersion: String
    public var objects: Int
    public var usesProtobuf: Bool
    /// Whether lists are streamed; false after the server refused that.
    public var usesWatchList: Bool

    // Since the start.
    public var events: UInt64
    public var bookmarks: UInt64
    /// Complete lists after the first one.
    public var relists: UInt64
    public var requests: UInt64
    public var bytes: UInt64
    public var errors: [ReflectorProblem.Kind: UInt64]
    /// What went wrong last, while it does.
    public var problem: ReflectorProblem?
}
