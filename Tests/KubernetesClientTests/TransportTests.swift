import Kubernetes
import KubeTestServer
import KubernetesClient
import Linux
import Foundation
import Logging
import TestKit
import Testing

/// A transport on a loop of its own, turned by the test.
private final class Exchange {
    let loop: Loop
    private(set) var transport: KubernetesTransport!
    private(set) var events: [ReflectorInput] = []
    private var next: UInt64 = 0
    let scope = WatchScope(.endpointSlices, namespace: nil)

    init(_ source: AccessSource) throws {
        loop = try Loop()
        transport = try KubernetesTransport(source, userAgent: "test/1", on: loop, logger: Logger(label: "test")) { [unowned self] in
            events += $0.map(\.input)
        }
    }

    @discardableResult
    func get(_ target: String, longest: Duration = .seconds(60)) -> APIRequest.ID {
        next += 1
        let id = APIRequest.ID(rawValue: next)
        transport.start(APIRequest(id: id, target: target, accept: "application/json", longest: longest), for: scope)
        return id
    }

    func wait(_ what: String, _ condition: () -> Bool) throws {
        let deadline = Patience.deadline()
        while !condition() {
            guard monotonicNow() < deadline else { throw TestFailure("waited for \(what); there are \(events)") }
            try loop.turn(maximumWait: 20_000_000)
        }
    }

    /// The answer's head and body, or its failure.
    func answer(_ id: APIRequest.ID) throws -> (ResponseHead?, String, TransportFailure?) {
        try wait("the end of an answer") {
            events.contains { input in
                switch input {
                case .ended(id), .failed(id, _): true
                default: false
                }
            }
        }
        var head: ResponseHead?
        var body: [UInt8] = []
        var failure: TransportFailure?
        for event in events {
            switch event {
            case .responded(id, let given): head = given
            case .received(id, let bytes): body += bytes
            case .failed(id, let given): failure = given
            default: break
            }
        }
        return (head, String(decoding: body, as: UTF8.self), failure)
    }

    var text: String {
        var body: [UInt8] = []
        for case .received(_, let bytes) in events { body += bytes }
        return String(decoding: body, as: UTF8.self)
    }
}

private let slices = "/apis/discovery.k8s.io/v1/endpointslices"

private func server(_ certificate: String = "server", http2: Bool = true) throws -> TestAPIServer {
    let server = TestAPIServer(
        tls: .init(certificate: "\(fixtures)/\(certificate).crt", key: "\(fixtures)/\(certificate).key"), offersHTTP2: http2)
    try server.start()
    return server
}

private func slice(_ name: String) -> TestObject {
    .slice("shop", name, of: "web", ports: [.init("http", 80)], [.init("uid-\(name)", ["10.0.0.1"])])
}

@Suite(.ownThread) struct Transport {
    @Test(arguments: [true, false]) func aListIsAnswered(http2: Bool) throws {
        let server = try server(http2: http2)
        defer { try? server.stop() }
        server.behave { $0.tokens = ["let-me-in": "me"] }
        server.apply(slice("a"))
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: try directory.kubeconfig(server: server.url), context: nil))
        let (head, body, failure) = try exchange.answer(exchange.get(slices))
        #expect(failure == nil && head?.status == 200 && head?.contentType == "application/json" && body.contains("uid-a"))
        let request = try #require(server.requests.first)
        #expect(request.version == (http2 ? "HTTP/2.0" : "HTTP/1.1"))
        #expect(request.headers["user-agent"] == "test/1" && request.headers["accept"] == "application/json")
    }

    @Test(arguments: [true, false]) func aWatchStreamsAndIsGivenUp(http2: Bool) throws {
        let server = try server(http2: http2)
        defer { try? server.stop() }
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: try directory.kubeconfig(server: server.url), context: nil))
        let id = exchange.get("\(slices)?watch=1&resourceVersion=1000")
        try exchange.wait("the head") { exchange.events.contains(.responded(id, ResponseHead(status: 200))) }
        for name in ["a", "b"] {
            server.apply(slice(name))
            try exchange.wait("an event") { exchange.text.contains("uid-\(name)") }
        }
        #expect(server.watchCount == 1)
        exchange.transport.cancel(id, of: exchange.scope)
        try exchange.wait("the server to see the end") { server.watchCount == 0 }
        // The next one works, on whatever connection.
        #expect(try exchange.answer(exchange.get(slices)).1.contains("uid-b"))
    }

    @Test func theServersWordsAreGiven() throws {
        let server = try server()
        defer { try? server.stop() }
        server.behave { $0.trouble = { _ in .status(429, reason: "TooManyRequests", retryAfter: 7) } }
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: try directory.kubeconfig(server: server.url), context: nil))
        let (head, body, _) = try exchange.answer(exchange.get(slices))
        #expect(head?.status == 429 && head?.retryAfter == .seconds(7) && body.contains("TooManyRequests"))
    }

    @Test(arguments: [true, false]) func anAnswerThatIsCutIsNoEnd(http2: Bool) throws {
        let server = try server(http2: http2)
        defer { try? server.stop() }
        server.apply(slice("a"))
        server.behave { $0.trouble = { _ in .cut(after: 100) } }
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: try directory.kubeconfig(server: server.url), context: nil))
        for target in [slices, "\(slices)?watch=1"] {
            let (_, _, failure) = try exchange.answer(exchange.get(target))
            #expect(failure?.kind == .connectionLost, "\(String(describing: failure))")
        }
    }

    @Test(arguments: [true, false]) func aSilentServerIsTooLate(http2: Bool) throws {
        let server = try server(http2: http2)
        defer { try? server.stop() }
        server.behave { $0.trouble = { _ in .hang } }
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: try directory.kubeconfig(server: server.url), context: nil))
        let (_, _, failure) = try exchange.answer(exchange.get(slices, longest: .milliseconds(300)))
        #expect(failure == TransportFailure(.timeout, "127.0.0.1:\(server.port) is silent"))
    }

    /// More than the mailbox holds, to a loop that does not turn: the stream waits, and nothing is lost.
    @Test func aLoopThatIsBusyIsWaitedFor() throws {
        let server = try server()
        defer { try? server.stop() }
        server.behave { $0.pageLimit = 10_000 }
        server.apply((0..<4_000).map { n in
            .slice("shop", "s\(n)", of: "web", ports: [.init("http", 80)], (0..<10).map { .init("uid-\(n)-\($0)", ["10.0.0.1"]) })
        })
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: try directory.kubeconfig(server: server.url), context: nil))
        let (_, body, failure) = try exchange.answer(exchange.get(slices))
        #expect(failure == nil && body.utf8.count > 8 << 20 && body.contains("uid-3999-9") && body.hasSuffix("]}\n"))
    }

    @Test(arguments: [
        ("server", "certificate-authority: \(fixtures)/other-ca.crt", "the server's certificate does not verify: it is not signed by an authority of \(fixtures)/other-ca.crt"),
        ("server", "disable-compression: true", "it is not signed by one of the system's authorities; set certificate-authority"),
        ("expired", "certificate-authority: \(fixtures)/ca.crt", "the server's certificate does not verify: it expired"),
        ("elsewhere", "certificate-authority: \(fixtures)/ca.crt", "the server's certificate is not for its name: it is for kubernetes.default.svc, 192.0.2.1, not for 127.0.0.1"),
        // A certificate for the address that was dialled is taken too, whatever the name (NIOSSL): this one is for another address.
        ("elsewhere", "certificate-authority: \(fixtures)/ca.crt\ntls-server-name: another.example", "it is for kubernetes.default.svc, 192.0.2.1, not for another.example"),
    ]) func whyTLSFailsIsSaid(certificate: String, cluster: String, expected: String) throws {
        let server = try server(certificate)
        defer { try? server.stop() }
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: try directory.kubeconfig(server: server.url, cluster: cluster), context: nil))
        let (_, _, failure) = try exchange.answer(exchange.get(slices))
        #expect(failure?.kind == .tls && failure?.detail.contains(expected) == true, "\(String(describing: failure))")
    }

    @Test func theServersNameCanBeGiven() throws {
        let server = try server("elsewhere")
        defer { try? server.stop() }
        let directory = try Directory()
        let file = try directory.kubeconfig(
            server: server.url, cluster: "certificate-authority: \(fixtures)/ca.crt\ntls-server-name: kubernetes.default.svc")
        let exchange = try Exchange(.kubeconfig(path: file, context: nil))
        #expect(try exchange.answer(exchange.get(slices)).0?.status == 200)
    }

    @Test func insecureMeansAnybody() throws {
        let server = try server("expired")
        defer { try? server.stop() }
        let directory = try Directory()
        let exchange = try Exchange(
            .kubeconfig(path: try directory.kubeconfig(server: server.url, cluster: "insecure-skip-tls-verify: true"), context: nil))
        #expect(try exchange.answer(exchange.get(slices)).0?.status == 200)
    }

    @Test func nobodyThereIsRefused() throws {
        let closed = try ClosedPort()
        let port = closed.address.port
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: try directory.kubeconfig(server: "https://127.0.0.1:\(port)"), context: nil))
        let failure = try exchange.answer(exchange.get(slices)).2
        #expect(failure == TransportFailure(.connectionRefused, "127.0.0.1:\(port) refuses connections"))
    }

    @Test func anUnknownNameDoesNotResolve() throws {
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: try directory.kubeconfig(server: "https://nowhere.invalid:6443"), context: nil))
        let failure = try exchange.answer(exchange.get(slices)).2
        #expect(failure == TransportFailure(.nameNotResolved, "the name nowhere.invalid does not resolve"))
    }

    @Test func plainHTTPWhereTLSIsExpectedIsSaid() throws {
        let server = TestAPIServer()
        try server.start()
        defer { try? server.stop() }
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: try directory.kubeconfig(server: "https://127.0.0.1:\(server.port)"), context: nil))
        let failure = try exchange.answer(exchange.get(slices)).2
        #expect(failure == TransportFailure(.tls, "127.0.0.1:\(server.port) does not speak TLS"))
    }

    @Test func missingCredentialsAreAFailureWithTheirRemedy() throws {
        let directory = try Directory()
        let exchange = try Exchange(.kubeconfig(path: "\(directory.path)/none", context: nil))
        let failure = try exchange.answer(exchange.get(slices)).2
        #expect(failure?.kind == .credentials && failure?.detail.contains("put it there, or correct the path") == true)
        try directory.write("none", "")
        exchange.transport.renewCredentials(for: exchange.scope)
        try exchange.wait("an answer") {
            exchange.events.contains { if case .credentialsFailed = $0 { true } else { false } }
        }
    }

    /// Rotation: the token in its file, and the cluster's authority together with the server's certificate.
    @Test func whatIsRotatedIsUsed() throws {
        let first = try server()
        defer { try? first.stop() }
        first.behave { $0.tokens = ["one": "me"] }
        let directory = try Directory()
        try directory.write("token", "one")
        try directory.write("ca.crt", try String(contentsOfFile: "\(fixtures)/ca.crt", encoding: .utf8))
        let file = try directory.kubeconfig(server: first.url, cluster: "certificate-authority: ca.crt", user: "tokenFile: token")
        let exchange = try Exchange(.kubeconfig(path: file, context: nil))
        #expect(try exchange.answer(exchange.get(slices)).0?.status == 200)
        first.behave { $0.tokens = ["two": "me"] }
        #expect(try exchange.answer(exchange.get(slices)).0?.status == 401)
        try directory.write("token", "two")
        #expect(try exchange.answer(exchange.get(slices)).0?.status == 200)

        let port = first.port
        try first.stop()
        let second = TestAPIServer(tls: .init(certificate: "\(fixtures)/renewed.crt", key: "\(fixtures)/renewed.key"))
        try second.start(port: UInt16(port))
        defer { try? second.stop() }
        var failure = try exchange.answer(exchange.get(slices)).2
        // The kept connection to the first server may end under a request; one that comes later has to connect.
        for _ in 0..<10 where failure?.kind == .connectionLost { failure = try exchange.answer(exchange.get(slices)).2 }
        #expect(failure?.kind == .tls, "\(failure?.detail ?? "no failure")")
        try directory.write("ca.crt", try String(contentsOfFile: "\(fixtures)/other-ca.crt", encoding: .utf8))
        #expect(try exchange.answer(exchange.get(slices)).0?.status == 200)
    }
}
