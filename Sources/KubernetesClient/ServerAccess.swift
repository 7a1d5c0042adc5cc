/// All that one request needs to reach an API server as somebody: read anew for each request, so that what was rotated is used.
public struct ServerAccess: Hashable, Sendable {
    public var server: ServerAddress
    public var trust: Trust
    /// The name that the server's certificate must have, where it is not that of its address.
    public var serverName: String?
    public var certificate: ClientCertificate?
    /// The value of the Authorization field.
    public var authorization: Secret?
    /// Who we are, as far as the credentials tell, for people: `service account token of FILE`.
    public var identity: String
    /// The namespace that the context or the pod belongs to; nil when nothing tells.
    public var namespace: String?
    /// What is accepted and dangerous, in sentences.
    public var warnings: [String]

    /// Whose signature the server's certificate needs.
    public enum Trust: Hashable, Sendable {
        /// The system's certificate authorities.
        case system
        /// These, PEM; `place` says where they come from.
        case authorities([UInt8], place: String)
        /// Anybody's: whoever answers is believed.
        case anybody
    }

    /// PEM, the chain with the own certificate first.
    public struct ClientCertificate: Hashable, Sendable {
        public var chain: [UInt8]
        public var key: Secret
        /// Where they come from, for messages.
        public var place: String

        public init(chain: [UInt8], key: Secret, place: String) {
            self.chain = chain
            self.key = key
            self.place = place
        }
    }

    public init(
        server: ServerAddress, trust: Trust = .system, serverName: String? = nil, certificate: ClientCertificate? = nil,
        authorization: Secret? = nil, identity: String, namespace: String? = nil, warnings: [String] = []
    ) {
        self.server = server
        self.trust = trust
        self.serverName = serverName
        self.certificate = certificate
        self.authorization = authorization
        self.identity = identity
        self.namespace = namespace
        self.warnings = warnings
    }
}
