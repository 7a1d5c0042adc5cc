/// One GET that a ``Reflector`` wants made. It has at most one under way.
public struct APIRequest: Hashable, Sendable {
    /// Unique within one reflector; answers to any other than the last one are ignored.
    public struct ID: Hashable, Sendable {
        public var rawValue: UInt64

        public init(rawValue: UInt64) { self.rawValue = rawValue }
    }

    public var id: ID
    /// Path and query, escaped: to be appended to the server's base URL.
    public var target: String
    /// For the `Accept` header.
    public var accept: String
    /// After this long the answer is worth nothing, however much still comes. The reflector watches head and silence itself
    /// and cancels sooner; this is for a transport that insists on a deadline.
    public var longest: Duration

    public init(id: ID, target: String, accept: String, longest: Duration) {
        self.id = id
        self.target = target
        self.accept = accept
        self.longest = longest
    }
}

/// The head of an answer, as far as it matters.
public struct ResponseHead: Hashable, Sendable {
    public var status: Int
    /// The `Content-Type` header; empty without one.
    public var contentType: String
    /// The `Retry-After` header, unless it is a date.
    public var retryAfter: Duration?

    public init(status: Int, contentType: String = "application/json", retryAfter: Duration? = nil) {
        self.status = status
        self.contentType = contentType
        self.retryAfter = retryAfter
    }
}

/// Why a request did not come to the end of its answer: below HTTP, or before it.
public struct TransportFailure: Error, Hashable, Sendable {
    public enum Kind: Hashable, Sendable, CaseIterable {
        /// ECONNREFUSED: nobody listens there.
        case connectionRefused
        /// No route, host down, or the connection was not established in time.
        case unreachable
        /// The server's name does not resolve.
        case nameNotResolved
        /// The server's certificate is not one of the configured authority, not for its name, or expired; or it refused ours.
        case tls
        /// The connection ended in the middle of the answer, or was reset.
        case connectionLost
        /// The connection is up and silent: keep-alive went unanswered.
        case timeout
        /// No credentials could be had: unreadable file, failing `exec` plugin.
        case credentials
        /// Whatever else; the detail has to say it.
        case other
    }

    public var kind: Kind
    /// One line: what was tried, on what, and what was said. The reflector adds what to do about it.
    public var detail: String

    public init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}
