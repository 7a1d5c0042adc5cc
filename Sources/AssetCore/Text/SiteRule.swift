/// Whether a request in origin form is meant for us, and not sent here by a page that somebody else wrote.
///
/// Pages that run beside us on loopback can send requests to us in their user's name; browsers say where a request comes from.
public enum SiteRule {
    public struct Refusal: Hashable, Sendable {
        public var status: Int
        public var sentence: String

        public init(_ status: Int, _ sentence: String) {
            self.status = status
            self.sentence = sentence
        }
    }

    /// Nil: it is ours. `localAddress` is where the connection came in, as text without brackets.
    public static func judge(_ fields: Fields, names: [String], localAddress: String?) -> Refusal? {
        let hosts = fields.values("host")
        guard hosts.count == 1, let host = hosts.first else { return Refusal(400, "A request has one Host header.") }
        guard HostRule.judge(host: host, names: names, localAddress: localAddress) == .pathStyle else {
            return Refusal(421, "The host in the request is not one of ours.")
        }
        let site = fields["sec-fetch-site"] ?? "none"
        guard !fields.contains("origin"), site == "none" || site == "same-origin" else {
            return Refusal(403, "Requests from pages of other origins are refused.")
        }
        return nil
    }
}
