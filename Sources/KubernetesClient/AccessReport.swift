import Kubernetes

/// What an API server lets us do, for `leasehold check`.
public struct AccessReport: Codable, Hashable, Sendable {
    /// Something that a watch needs.
    public struct Rule: Codable, Hashable, Sendable {
        public var verb: String
        /// As RBAC names it; empty for the core group.
        public var group: String
        public var resource: String
        /// Nil for all namespaces.
        public var namespace: String?
        public var allowed: Bool

        /// `list endpointslices.discovery.k8s.io in namespace shop`.
        public var sentence: String {
            "\(verb) \(resource)\(group.isEmpty ? "" : "." + group) in \(namespace.map { "namespace \($0)" } ?? "all namespaces")"
        }
    }

    /// How it went, most wanted first.
    public enum Outcome: String, Codable, Sendable {
        /// Everything that is needed is allowed.
        case allowed
        /// The server is there, and refuses something.
        case denied
        /// What the server thinks is not known: it cannot be reached.
        case unreachable
        /// The files that give access are wrong, or do not fit the server.
        case misconfigured
    }

    public var outcome: Outcome
    /// `https://host:port`; empty when not even that is known.
    public var server: String
    /// `v1.33.1`; nil when it did not say.
    public var version: String?
    /// What we present.
    public var credential: String
    /// Who the server takes us for (SelfSubjectReview); nil where it does not tell.
    public var user: String?
    public var groups: [String]
    public var rules: [Rule]
    public var warnings: [String]
    /// What is wrong, with its remedy.
    public var problem: String?

    init(outcome: Outcome, problem: String? = nil) {
        self.outcome = outcome
        self.problem = problem
        (server, credential, groups, rules, warnings) = ("", "", [], [], [])
    }

    /// One line each, for people; without `problem` and `warnings`.
    public var lines: [String] {
        var lines: [String] = []
        if !server.isEmpty { lines.append("server: \(server)\(version.map { ", \($0)" } ?? "")") }
        if !credential.isEmpty { lines.append("credential: \(credential)") }
        if let user { lines.append("identity: \(user)\(groups.isEmpty ? "" : " (groups: \(groups.joined(separator: ", ")))")") }
        let allowed = rules.filter(\.allowed)
        if !allowed.isEmpty { lines.append("allowed: \(allowed.map(\.sentence).joined(separator: "; "))") }
        for rule in rules where !rule.allowed { lines.append("missing: \(rule.sentence)") }
        return lines
    }
}
