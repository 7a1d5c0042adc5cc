/// How the watches of an API server go, for `show source`. Times are whole milliseconds.
public struct KubernetesReport: Codable, Hashable, Sendable {
    /// One list-and-watch.
    public struct Scope: Codable, Hashable, Sendable {
        /// `endpointslices in namespace shop`.
        public var scope: String
        /// Label or field selector; empty for all.
        public var selector: String
        /// `idle`, `listing`, `watching`, `waiting` or `renewing`.
        public var activity: String
        /// Since the watch that is up was answered; absent without one.
        public var connectedMs: Int?
        /// Since the server last said something: an event, a bookmark, the end of a list; absent when it never did.
        public var heardMs: Int?
        /// Where a watch resumes; empty before the first list.
        public var resourceVersion: String
        public var objects: Int
        public var protobuf: Bool
        /// Whether lists are streamed.
        public var watchList: Bool
        public var events: UInt64
        public var bookmarks: UInt64
        public var relists: UInt64
        public var requests: UInt64
        public var bytes: UInt64
        /// Failed requests by kind.
        public var errors: [String: UInt64]
        /// What is wrong now, with its remedy; empty when nothing is.
        public var problem: String

        public init(
            scope: String, selector: String, activity: String, connectedMs: Int?, heardMs: Int?, resourceVersion: String, objects: Int,
            protobuf: Bool, watchList: Bool, events: UInt64, bookmarks: UInt64, relists: UInt64, requests: UInt64, bytes: UInt64,
            errors: [String: UInt64], problem: String
        ) {
            self.scope = scope
            self.selector = selector
            self.activity = activity
            self.connectedMs = connectedMs
            self.heardMs = heardMs
            self.resourceVersion = resourceVersion
            self.objects = objects
            self.protobuf = protobuf
            self.watchList = watchList
            self.events = events
            self.bookmarks = bookmarks
            self.relists = relists
            self.requests = requests
            self.bytes = bytes
            self.errors = errors
            self.problem = problem
        }
    }

    /// Changes a second that the server told, over the last ten seconds.
    public var eventsPerSecond: Double
    /// Lists that were not believed at once, since the start.
    public var doubts: UInt64
    /// From a change at the API server's side to our telling of it; upper bounds, absent before the first.
    public var propagationP50Ms: Int?
    public var propagationP99Ms: Int?
    /// What went wrong last, with its remedy, also when it is over; empty when nothing did.
    public var lastError: String
    /// Since then.
    public var lastErrorMs: Int?
    public var scopes: [Scope]

    public init(
        eventsPerSecond: Double, doubts: UInt64, propagationP50Ms: Int?, propagationP99Ms: Int?, lastError: String, lastErrorMs: Int?,
        scopes: [Scope]
    ) {
        self.eventsPerSecond = eventsPerSecond
        self.doubts = doubts
        self.propagationP50Ms = propagationP50Ms
        self.propagationP99Ms = propagationP99Ms
        self.lastError = lastError
        self.lastErrorMs = lastErrorMs
        self.scopes = scopes
    }
}
