/// What an operator wants to read in the journal about one scope.
public enum ReflectorNotice: Hashable, Sendable {
    /// Complete for the first time.
    case synchronized(objects: Int, resourceVersion: String)
    /// The watch is up again after trouble.
    case recovered(after: ReflectorProblem)
    /// Something failed that worked before, or failed in a new way. Tried again after `retryIn`.
    case trouble(ReflectorProblem, retryIn: Duration)
    /// The server forgot the version that we stand at (410): everything is listed anew, the copy stays meanwhile.
    case expired(resourceVersion: String)
    /// The server does not stream lists: pages are asked for from now on.
    case noWatchList(String)
    /// An object that cannot be read is left as it was.
    case unreadableObject(String)
}

extension ReflectorNotice {
    /// Whether an operator may have to do something.
    public var isWarning: Bool {
        switch self {
        case .trouble, .unreadableObject: true
        case .synchronized, .recovered, .expired, .noWatchList: false
        }
    }

    /// What it says, the same for every occurrence.
    public var message: String {
        switch self {
        case .synchronized: "The Kubernetes source is read"
        case .recovered: "The Kubernetes source is back"
        case .trouble: "The Kubernetes source cannot be read, continuing with what is known"
        case .expired: "The API server forgot our place, reading everything again"
        case .noWatchList: "The API server does not stream lists, asking for pages"
        case .unreadableObject: "An object of the API server cannot be read, continuing with its last good version"
        }
    }

    /// What it is about, this time.
    public var facts: [(key: String, value: String)] {
        switch self {
        case .synchronized(let objects, let version): [("objects", "\(objects)"), ("resource-version", version)]
        case .recovered(let problem): [("after", problem.kind.name)]
        case .trouble(let problem, let wait):
            [("reason", problem.kind.name), ("problem", problem.detail), ("retry-in-ms", "\(wait.components.seconds * 1000 + wait.components.attoseconds / 1_000_000_000_000_000)")]
        case .expired(let version): [("resource-version", version)]
        case .noWatchList(let answer): [("answer", answer)]
        case .unreadableObject(let problem): [("problem", problem)]
        }
    }
}

/// What went wrong with a request, and what to do about it.
public struct ReflectorProblem: Error, Hashable, Sendable {
    /// The kinds that errors are counted by.
    public enum Kind: UInt8, Hashable, Sendable, CaseIterable {
        case connectionRefused
        case unreachable
        case nameNotResolved
        case tls
        case connectionLost
        case timeout
        case credentials
        case unauthorized
        case forbidden
        case notFound
        case expired
        case tooLargeResourceVersion
        case tooManyRequests
        case serverError
        case shortWatch
        case silent
        case unreadable
        case other

        /// As metrics and reports name it.
        public var name: String {
            switch self {
            case .connectionRefused: "connection-refused"
            case .unreachable: "unreachable"
            case .nameNotResolved: "name-not-resolved"
            case .tls: "tls"
            case .connectionLost: "connection-lost"
            case .timeout: "timeout"
            case .credentials: "credentials"
            case .unauthorized: "unauthorized"
            case .forbidden: "forbidden"
            case .notFound: "not-found"
            case .expired: "expired"
            case .tooLargeResourceVersion: "too-large-resource-version"
            case .tooManyRequests: "too-many-requests"
            case .serverError: "server-error"
            case .shortWatch: "short-watch"
            case .silent: "silent"
            case .unreadable: "unreadable"
            case .other: "other"
            }
        }
    }

    public var kind: Kind
    /// One line: what happened, and the remedy where there is one.
    public var detail: String

    public init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}
