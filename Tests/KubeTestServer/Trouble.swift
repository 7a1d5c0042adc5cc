/// What the server does to one request instead of answering it well.
public enum Trouble: Sendable {
    /// A Status with this code; a reason of the API's, such as `TooManyRequests`.
    case status(Int, reason: String, retryAfter: Int? = nil)
    /// Never answers.
    case hang
    /// Answers well, but for this many bytes of body only; then it is silent.
    case silence(after: Int)
    /// Answers well, but for this many bytes of body only; then it cuts the connection.
    case cut(after: Int)
    /// Answers well, in pieces of this many bytes, one every so many milliseconds.
    case slow(bytes: Int, milliseconds: Int64)
    /// A watch that ends at once, without any event.
    case emptyWatch
    /// A watch whose first event is this line (an ERROR, or garbage), and which then ends.
    case line(String)

    /// An ERROR event as the API server sends it for a version that it has forgotten.
    public static let expiredEvent = Trouble.line(
        #"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#)
}

/// A request as troubles are chosen by.
public struct TestRequest: Sendable {
    public var method: String
    public var path: String
    public var query: [String: String]
    public var headers: [String: String]
    public var body: [UInt8]
    /// `HTTP/1.1` or `HTTP/2.0`.
    public var version: String

    public var isWatch: Bool { query["watch"] == "1" || query["watch"] == "true" }
    public var isList: Bool { method == "GET" && !isWatch && resource != nil }

    /// Of lists and watches.
    public var resource: TestObject.Resource? {
        path.split(separator: "/").last.flatMap { TestObject.Resource(rawValue: String($0)) }
    }

    public var namespace: String? {
        let parts = path.split(separator: "/")
        guard let index = parts.firstIndex(of: "namespaces"), index + 1 < parts.count else { return nil }
        return String(parts[index + 1])
    }

    /// The words behind `Bearer`; empty without.
    public var token: String { headers["authorization"].map { String($0.dropFirst("Bearer ".count)) } ?? "" }
}
