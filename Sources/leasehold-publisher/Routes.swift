import HTTPTypes
import Hummingbird
import Logging
import Model
import NIOCore
import PublisherCore
import ServiceKit
import Systemd

/// What is answered where. Everything is read from the board: no answer waits for the loop, and none is heard by another process.
struct Routes: Sendable {
    let board: Board
    /// The processes without which no job is served.
    let serves: [String]
    /// Nil: whatever name leads here is ours.
    let hosts: HostRule?
    let logger: Logger

    func responder() -> Door.Responder {
        let router = Router(context: BasicRequestContext.self, options: .autoGenerateHeadEndpoints)
        router.get("/metrics") { request, _ in metrics(request) }
        router.get("/healthz") { _, _ in Self.text(.ok, "ok\n") }
        router.get("/livez") { _, _ in Self.text(.ok, "ok\n") }
        router.get("/readyz") { _, _ in readiness() }
        router.get("/statusz") { _, _ in Self.json(board.publication.statusDocument(at: Board.now().instant)) }
        router.get("/pressure") { request, _ in pressure(request) }
        router.get("/status") { _, _ in Self.json(board.publication.selenoidDocument()) }
        router.get("/ping") { _, _ in ping() }
        Page(board: board).add(to: router)
        let routes = router.buildResponder()
        let logger = logger
        let hosts = hosts
        return { request, channel in
            var response: Response
            do {
                if let hosts, !hosts.allows(request.head.authority) {
                    response = Self.text(.misdirectedRequest, "this name is not ours: list it in publisher.hosts\n")
                } else {
                    response = try await routes.respond(to: request, context: BasicRequestContext(source: .init(channel: channel, logger: logger)))
                }
            } catch {
                // The router answers what it knows of; this is ours.
                logger.error("A request failed", metadata: [LogKey.messageID: "\(MessageID.requestFailed)", "problem": "\(error)"])
                response = Self.text(.internalServerError, "an error of ours; see the journal\n")
            }
            for (name, value) in Self.safety where response.headers[name] == nil { response.headers[name] = value }
            return response
        }
    }

    /// Of every answer.
    private static let safety: [(HTTPField.Name, String)] = [
        (.xContentTypeOptions, "nosniff"), (.cacheControl, "no-store"), (referrerPolicy, "no-referrer"),
        (.contentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ]
    private static let referrerPolicy = HTTPField.Name("Referrer-Policy")!  // a constant that is a token

    // MARK: Answers

    private func metrics(_ request: Request) -> Response {
        let format = Self.format(accept: request.headers[.accept])
        let clock = ContinuousClock()
        var bytes: [UInt8] = []
        let took = clock.measure {
            let (now, wall) = Board.now()
            bytes = Exposition.render(board.publication, own: board.own, as: format, at: now, wall: wall)
        }
        board.scraped(format, took: took)
        return Response(status: .ok, headers: [.contentType: format.contentType, .vary: "Accept"], body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    /// OpenMetrics 1.x where it is accepted no less than plain text (RFC 9110 §12.5.1), the text format otherwise.
    static func format(accept: String?) -> Exposition.Format {
        var openMetrics = 0.0
        var text = 0.0
        for range in (accept ?? "").split(separator: ",") {
            let parts = range.split(separator: ";").map { $0.trimmed.lowercased() }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) } ?? 1
            let version = parts.dropFirst().first { $0.hasPrefix("version=") }.map { String($0.dropFirst(8)).filter { $0 != "\"" } }
            switch parts.first {
            case "application/openmetrics-text" where version == nil || version == "1.0.0" || version == "0.0.1": openMetrics = max(openMetrics, weight)
            case "text/plain", "text/*", "*/*": text = max(text, weight)
            default: break
            }
        }
        return openMetrics > 0 && openMetrics >= text ? .openMetrics : .text
    }

    private func readiness() -> Response {
        let readiness = board.publication.readiness(serves: serves, isDraining: board.isDraining, at: Board.now().instant)
        return Self.text(readiness.isReady ? .ok : .serviceUnavailable, readiness.text)
    }

    private func pressure(_ request: Request) -> Response {
        let pool = request.uri.queryParameters["pool"].map { String($0) }
        let (_, wall) = Board.now()
        let document = board.publication.pressureDocument(
            pool: pool, capacity: { board.mostQueued($0) }, recentlyRejected: board.recentlyRefused, wall: Int64(wall * 1000))
        guard let document else { return Self.text(.notFound, "there is no pool of that name\n") }
        return Self.json(document)
    }

    /// As Selenoid.
    private func ping() -> Response {
        let publication = board.publication
        var text = JSONText()
        text.object {
            $0.value("uptime", "\(Int((Board.now().instant - publication.began).inSeconds))s")
            $0.value("version", publication.version)
        }
        return Self.json(text.bytes)
    }

    static func text(_ status: HTTPResponse.Status, _ text: String) -> Response {
        Response(status: status, headers: [.contentType: "text/plain; charset=utf-8"], body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    static func json(_ bytes: [UInt8]) -> Response {
        Response(status: .ok, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}

extension Substring {
    fileprivate var trimmed: Substring { drop { $0 == " " || $0 == "\t" }.trimmedEnd }
    private var trimmedEnd: Substring {
        var out = self
        while out.last == " " || out.last == "\t" { out.removeLast() }
        return out
    }
}
