import AssetCore
import NIOCore
import NIOHTTP1

/// One request and its response. Confined to the task of its connection.
final class Exchange {
    typealias Inbound = NIOAsyncChannelInboundStream<HTTPServerRequestPart>
    typealias Outbound = NIOAsyncChannelOutboundWriter<Output>

    let head: HTTPRequestHead
    let fields: Fields
    let channel: any Channel
    /// Unique in this process and, with the instance, beyond it.
    let requestID: String
    /// From Content-Length; nil when there is none.
    let contentLength: Int64?
    private var parts: Inbound.AsyncIterator
    private let outbound: Outbound
    private let pending: PendingSend
    private var mustContinue: Bool
    private(set) var isBodyRead: Bool
    private(set) var status = 0
    private(set) var keepsAlive: Bool
    /// Set when the body ended before its end.
    private(set) var isCut = false
    /// The response is an origin's: nothing of ours is added to its fields.
    var isForOrigin = false

    init(
        _ head: HTTPRequestHead, _ parts: Inbound.AsyncIterator, _ outbound: Outbound, _ pending: PendingSend, channel: any Channel,
        requestID: String,
        isDraining: Bool
    ) {
        self.head = head
        self.parts = parts
        self.outbound = outbound
        self.pending = pending
        self.channel = channel
        self.requestID = requestID
        fields = Fields(head.headers.map { ($0.name, $0.value) })
        contentLength = fields["content-length"].flatMap { Int64($0) }
        let isChunked = fields.contains("transfer-encoding")
        isBodyRead = !isChunked && (contentLength ?? 0) == 0
        mustContinue = fields["expect"]?.lowercased() == "100-continue" && !Self.isOld(head)
        keepsAlive = head.isKeepAlive && !isDraining
    }

    /// HTTP/1.0, which knows no 100 and keeps no connection unasked.
    private static func isOld(_ head: HTTPRequestHead) -> Bool { head.version.major == 1 && head.version.minor == 0 }

    // MARK: Request body

    /// The next piece, or nil at the end. Throws `incompleteBody` when the caller is gone.
    func nextPiece() async throws -> ByteBuffer? {
        if isEnded { return nil }
        if mustContinue {
            mustContinue = false
            // For an empty body, too: botocore takes the answer to its next request for the end of this one otherwise.
            try await outbound.write(.part(.head(HTTPResponseHead(version: .http1_1, status: .continue))))
        }
        while let part = try await parts.next(isolation: #isolation) {
            switch part {
            case .head: break  // cannot come before the end of this one
            case .body(let buffer): return buffer
            case .end:
                isEnded = true
                isBodyRead = true
                return nil
            }
        }
        isCut = true
        throw S3Error(.incompleteBody)
    }

    private var isEnded = false

    /// A small body whole.
    func body(atMost limit: Int) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let piece = try await nextPiece() {
            guard bytes.count + piece.readableBytes <= limit else {
                throw S3Error(.malformedXML, "The document has more than \(limit) bytes.")
            }
            bytes += piece.readableBytesView
        }
        return bytes
    }

    /// Takes what is left of the request off the connection: at most so many bytes. False: there is more.
    func discardRest(atMost limit: Int) async throws -> Bool {
        var left = limit
        while let piece = try await nextPiece() {
            left -= piece.readableBytes
            if left < 0 { return false }
        }
        return true
    }

    /// The caller may wait for a 100 that it will not get: it has not begun its body.
    var isBodyWithheld: Bool { mustContinue }

    /// The iterator for the connection's next request.
    var remaining: Inbound.AsyncIterator { parts }

    // MARK: Response

    /// Bytes of an unread body that are read so that the connection can be kept.
    private static let mostDiscarded: Int64 = 65_536

    private func responseHead(_ status: Int, _ headers: [(String, String)]) async throws -> HTTPServerResponsePart {
        if !isBodyRead || !isEnded {
            if !mustContinue, isBodyRead || (contentLength ?? .max) <= Self.mostDiscarded {
                if try await !discardRest(atMost: Int(Self.mostDiscarded)) { keepsAlive = false }
            } else {
                keepsAlive = false
            }
        }
        self.status = status
        var fields = HTTPHeaders(headers)
        if !isForOrigin {
            fields.add(name: "x-amz-request-id", value: requestID)
            fields.add(name: "Date", value: wallClock().httpDate)
            fields.add(name: "Server", value: "leasehold-asset-cache")
        } else if Self.isOld(head), head.method != .HEAD, status != 204, status != 304, !fields.contains(name: "content-length") {
            // Only the end of the connection can end such a body.
            keepsAlive = false
        }
        if !keepsAlive {
            fields.add(name: "Connection", value: "close")
        } else if Self.isOld(head) {
            fields.add(name: "Connection", value: "keep-alive")
        }
        let version = Self.isOld(head) ? HTTPVersion.http1_0 : .http1_1
        return .head(HTTPResponseHead(version: version, status: HTTPResponseStatus(statusCode: status), headers: fields))
    }

    /// A whole response. Neither HEAD, 204 nor 304 has a body.
    func respond(_ status: Int, _ headers: [(String, String)] = [], _ body: ByteBuffer = ByteBuffer()) async throws {
        let hasBody = head.method != .HEAD && status != 204 && status != 304
        var headers = headers
        if status != 204, status != 304, !headers.contains(where: { $0.0.lowercased() == "content-length" }) {
            headers.append(("Content-Length", String(body.readableBytes)))
        }
        var parts = [Output.part(try await responseHead(status, headers))]
        if hasBody, body.readableBytes > 0 { parts.append(.part(.body(.byteBuffer(body)))) }
        parts.append(.part(.end(nil)))
        try await outbound.write(contentsOf: parts)
    }

    func respond(_ status: Int, _ headers: [(String, String)] = [], xml: XMLWriter) async throws {
        try await respond(status, headers + [("Content-Type", "application/xml")], ByteBuffer(bytes: xml.bytes))
    }

    func begin(_ status: Int, _ headers: [(String, String)]) async throws {
        try await outbound.write(.part(try await responseHead(status, headers)))
    }

    /// Returns when the kernel has all of it: the file may be closed then.
    func send(_ region: FileRegion) async throws {
        let left = channel.eventLoop.makePromise(of: Void.self)
        pending.set(left, channel)
        do {
            try await outbound.write(.awaited(.body(.fileRegion(region)), left))
        } catch {
            // The writer was finished before the part reached the channel.
            left.fail(error)
        }
        try await left.futureResult.get()
    }

    func send(_ bytes: ByteBuffer) async throws { try await outbound.write(.part(.body(.byteBuffer(bytes)))) }

    func end() async throws { try await outbound.write(.part(.end(nil))) }
}
