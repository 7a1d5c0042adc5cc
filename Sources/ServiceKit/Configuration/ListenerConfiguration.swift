import Model

/// One address that callers connect to.
public struct ListenerConfiguration: Hashable, Sendable {
    /// Under systemd, the descriptor's `FileDescriptorName=`.
    public var name = ""
    public var address = ListenAddress.ip(.loopback(port: 0))
    /// An IPv6 wildcard takes IPv4 callers too.
    public var dualStack = false
    public var transport = Transport.http
    /// The one pool of a listener without routes; nil when it has ``routes``.
    public var pool: String?
    /// As written in the file; empty when ``pool`` is given.
    public var routes: [RouteConfiguration] = []
    /// Answered by the dispatcher itself: 200, or 503 while draining.
    public var health: String?
    public var deadlines = Deadlines()
    public var limits = Limits()
    public var askAfter = AskAfter.firstByte
    public var parkedFIN = ParkedFIN.gone
    /// Upgrade tokens passed on, in lower case.
    public var upgrade = ["websocket"]
    public var trust = Trust()
    /// The field that names a job's tenant, in lower case.
    public var tenantHeader = "leasehold-tenant"
    /// The tenant of jobs that name none or may not; nil is the default one.
    public var tenant: String?
    /// The urgency of every job that comes in here, whatever it says; nil lets it say.
    public var urgency: Urgency?
    public var expose: [Exposed] = [.lease, .timing]
    public var proxyProtocol = ProxyProtocol()
    /// SO_RCVBUF of accepted connections, bytes.
    public var receiveBuffer = 65_536
    /// Connections that the kernel holds before they are accepted.
    public var backlog = 4_096

    public init() {}

    public enum Transport: CaseIterable, Hashable, Sendable {
        case http
        case tcp
    }

    /// Monotonic; nil is off.
    public struct Deadlines: Hashable, Sendable {
        /// From the first byte of a request to the end of its head.
        public var head = Duration.seconds(10)
        /// From the end of a response to the next request; 0 closes after each response.
        public var keepAlive = Duration.seconds(60)
        /// From the request's last head byte at the worker to the first byte of the response.
        public var firstByte: Duration? = .seconds(60)
        /// Nothing moved in a body.
        public var idle: Duration? = .seconds(300)
        /// Nothing moved in a tunnel or a TCP connection.
        public var tunnelIdle: Duration? = .seconds(3_600)
        /// From lease to end, whatever moves.
        public var job: Duration?
        /// From SIGTERM to the end of what still runs.
        public var drain = Duration.seconds(600)
    }

    /// Bytes.
    public struct Limits: Hashable, Sendable {
        /// Request line and fields of one request.
        public var head = 65_536
        /// One request body; nil is off.
        public var body: Int?
    }

    /// When a TCP connection asks for an endpoint.
    public enum AskAfter: CaseIterable, Hashable, Sendable {
        /// So that port checks take no worker.
        case firstByte
        /// For protocols in which the server speaks first.
        case accept
    }

    /// What the end of a parked TCP caller's stream means.
    public enum ParkedFIN: CaseIterable, Hashable, Sendable {
        /// It left.
        case gone
        /// It has said all it will say, and waits.
        case passOn
    }

    /// Who is believed, and in what.
    public struct Trust: Hashable, Sendable {
        /// Empty: nobody.
        public var from: [Peer] = []
        public var headers: [Header] = Header.allCases

        /// Whether a caller at that address (nil: of a Unix socket) is one of ``from``. O(from).
        public func includes(_ address: SocketAddress?) -> Bool {
            from.contains { peer in
                switch (peer, address) {
                case (.network(let network), .some(let address)): network.contains(address)
                case (.unix, .none): true
                case (.network, .none), (.unix, .some): false
                }
            }
        }

        public enum Peer: Hashable, Sendable {
            case network(IPNetwork)
            /// Every caller of a Unix socket.
            case unix
        }

        public enum Header: CaseIterable, Hashable, Sendable {
            case tenant
            case affinity
            case priority
            case forwarded
        }
    }

    /// What callers are told about who served them.
    public enum Exposed: CaseIterable, Hashable, Sendable {
        case lease
        case timing
        case endpoint
    }

    /// PROXY protocol (HAProxy's proxy-protocol.txt).
    public struct ProxyProtocol: Hashable, Sendable {
        /// Trusted peers begin with a v1 or v2 header.
        public var accept = false
        public var send = Send.none

        public enum Send: CaseIterable, Hashable, Sendable {
            case none
            case v2
        }
    }
}

/// Which requests of a listener go to which pool. The longest path that matches wins, of the most specific host.
public struct RouteConfiguration: Hashable, Sendable {
    public var host = HostPattern.any
    /// Whole segments: `/a` matches `/a` and `/a/b`, not `/ab`. Begins with `/`; no `/` at the end but for the root.
    public var path = "/"
    public var pool = ""
    /// Instead of the listener's.
    public var tenant: String?
    /// Instead of the listener's.
    public var urgency: Urgency?
    /// No request is more urgent than this; nil is no cap.
    public var mostUrgent: Urgency?

    public init() {}
}
