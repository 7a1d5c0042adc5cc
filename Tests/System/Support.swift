import Foundation
import Model
import TestKit
import Testing

/// Configurations of one pool, `pods`, and one listener.
enum Setup {
    /// `pool`, `listener` and `top` are further keys in YAML flow style.
    static func http(pool: String = "", listener: String = "", top: String = "") -> String {
        """
        pools: [{ name: pods, service: shop/pods, port: http\(pool.isEmpty ? "" : ", \(pool)") }]
        listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, pool: pods\(listener.isEmpty ? "" : ", \(listener)") }]
        \(top)
        """
    }

    static func tcp(pool: String = "", listener: String = "", top: String = "") -> String {
        """
        pools: [{ name: pods, service: shop/pods, port: http\(pool.isEmpty ? "" : ", \(pool)") }]
        listeners: [{ name: tcp, address: "127.0.0.1:0", protocol: tcp, pool: pods\(listener.isEmpty ? "" : ", \(listener)") }]
        \(top)
        """
    }
}

extension RawCaller {
    /// Sends a GET; `fields` are whole lines.
    func get(_ target: String = "/", _ fields: String...) throws {
        try send("GET \(target) HTTP/1.1\r\nHost: test\r\n" + fields.map { "\($0)\r\n" }.joined() + "\r\n")
    }

    /// A GET and its response.
    func fetch(_ target: String = "/", _ fields: String...) throws -> HTTPMessage {
        try send("GET \(target) HTTP/1.1\r\nHost: test\r\n" + fields.map { "\($0)\r\n" }.joined() + "\r\n")
        return try readResponse()
    }
}

extension Fleet {
    /// A GET on a connection of its own, and its response.
    func fetch(_ target: String = "/", _ fields: String...) throws -> HTTPMessage {
        let caller = try call()
        try caller.send("GET \(target) HTTP/1.1\r\nHost: test\r\n" + fields.map { "\($0)\r\n" }.joined() + "\r\n")
        return try caller.readResponse()
    }

    /// A worker that answers what `respond` says, published as the only endpoint.
    func serveHTTP(pool name: String = "pods", _ respond: @escaping @Sendable (HTTPMessage, TestWorker.Visit) throws -> String) throws
        -> TestWorker
    {
        let worker = own(try TestWorker(http: respond))
        try serve([Pod("worker", at: worker.address)], pool: name)
        return worker
    }

    /// A worker with a script of its own, published as the only endpoint.
    func serveScript(pool name: String = "pods", _ script: @escaping @Sendable (TestWorker.Visit) throws -> Void) throws -> TestWorker {
        let worker = own(try TestWorker(script: script))
        try serve([Pod("worker", at: worker.address)], pool: name)
        return worker
    }
}

/// What every answer of our own looks like (design §7, RFC 9209, RFC 9457).
func expectAnswer(
    _ response: HTTPMessage, _ status: Int, _ reason: String, error: String, retryAfter: Bool = false, body hasBody: Bool = true,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    #expect(response.status == status, "\(response)", sourceLocation: sourceLocation)
    #expect(response["Leasehold-Reason"] == reason, sourceLocation: sourceLocation)
    #expect(response["Proxy-Status"] == "leasehold; error=\(error); details=\"\(reason)\"", sourceLocation: sourceLocation)
    #expect(response["X-Content-Type-Options"] == "nosniff", sourceLocation: sourceLocation)
    #expect(response["Content-Type"] == "application/problem+json", sourceLocation: sourceLocation)
    #expect(response["Cache-Control"] == "no-store", sourceLocation: sourceLocation)
    let seconds = response["Retry-After"].flatMap { Int($0) }
    #expect(retryAfter == (seconds != nil), "Retry-After: \(response["Retry-After"] ?? "absent")", sourceLocation: sourceLocation)
    if let seconds { #expect(seconds >= 1, sourceLocation: sourceLocation) }
    guard hasBody else {
        #expect(response.body.isEmpty, sourceLocation: sourceLocation)
        return
    }
    struct Problem: Decodable {
        var type: String
        var title: String
        var status: Int
        var reason: String
        var retryAfter: Int?
    }
    let problem = try JSONDecoder().decode(Problem.self, from: Data(response.body))
    #expect(problem.type == "urn:leasehold:reason:\(reason)", sourceLocation: sourceLocation)
    #expect(!problem.title.isEmpty, sourceLocation: sourceLocation)
    #expect(problem.status == status, sourceLocation: sourceLocation)
    #expect(problem.reason == reason, sourceLocation: sourceLocation)
    #expect(problem.retryAfter == seconds, sourceLocation: sourceLocation)
    // Nothing of a request comes back: the tests' requests carry this word.
    let all = response.description.lowercased()
    #expect(!all.contains("zebra"), sourceLocation: sourceLocation)
}
