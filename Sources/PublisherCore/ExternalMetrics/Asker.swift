/// Who asks, as far as it is known: Kubernetes' aggregator says in headers for whom it asks, and is believed for its certificate.
public enum Asker: Hashable, Sendable {
    /// Nobody that we know; why.
    case nobody(String)
    /// A certificate of the right authority, whose name may not speak for others.
    case notAllowed(String)
    case user(User)

    /// Whom the aggregator has authenticated, and authorised, before it asked us.
    public struct User: Hashable, Sendable {
        public var name: String
        public var groups: [String]
        /// By lower-case key.
        public var extra: [String: [String]]

        public init(name: String, groups: [String] = [], extra: [String: [String]] = [:]) {
            self.name = name
            self.groups = groups
            self.extra = extra
        }
    }

    /// What came at the handshake.
    public enum Certificate: Hashable, Sendable {
        case none
        /// It was not signed by the authority, has expired, or is for something else; why.
        case refused(String)
        /// A certificate of the authority's with that name.
        case verified(commonName: String)
    }

    private static let userHeader = "x-remote-user"
    private static let groupHeader = "x-remote-group"
    private static let extraPrefix = "x-remote-extra-"

    /// Headers in whatever case. `allowedNames`: none lets every name of the authority speak.
    public init(_ certificate: Certificate, allowedNames: [String], headers: some Sequence<(name: String, value: String)>) {
        switch certificate {
        case .none: self = .nobody("no client certificate was presented")
        case .refused(let why): self = .nobody("the client certificate is refused: \(why)")
        case .verified(let name):
            guard allowedNames.isEmpty || allowedNames.contains(name) else {
                self = .notAllowed(name)
                return
            }
            var user = User(name: "")
            for (header, value) in headers {
                let header = header.lowercased()
                if header == Self.userHeader {
                    if user.name.isEmpty { user.name = value }
                } else if header == Self.groupHeader {
                    user.groups.append(value)
                } else if header.hasPrefix(Self.extraPrefix) {
                    let key = header.dropFirst(Self.extraPrefix.count)
                    user.extra[RequestTarget.decoded(key, plusIsBlank: false) ?? String(key), default: []].append(value)
                }
            }
            self = user.name.isEmpty ? .nobody("the request has no X-Remote-User") : .user(user)
        }
    }
}
