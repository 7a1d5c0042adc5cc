import NIOCore
import NIOHTTP1

/// Collects one request and hands it to the server.
final class RequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let server: TestAPIServer
    private let version: String
    private var head: HTTPRequestHead?
    private var body: [UInt8] = []

    init(_ server: TestAPIServer, version: String) {
        self.server = server
        self.version = version
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body = []
        case .body(let piece): body += piece.readableBytesView
        case .end:
            guard let head else { return }
            let parts = head.uri.split(separator: "?", maxSplits: 1).map(String.init)
            var query: [String: String] = [:]
            for pair in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
                let words = pair.split(separator: "=", maxSplits: 1).map { unescaped(String($0)) }
                query[words[0]] = words.count > 1 ? words[1] : ""
            }
            var headers: [String: String] = [:]
            for (name, value) in head.headers { headers[name.lowercased()] = value }
            server.answer(
                TestRequest(
                    method: head.method.rawValue, path: parts[0], query: query, headers: headers, body: body, version: version),
                Responder(context.channel))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A client that cut the connection: nothing to tell it.
        context.close(promise: nil)
    }
}

/// Percent escapes and plus signs read.
func unescaped(_ text: String) -> String {
    var out: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
        if byte == UInt8(ascii: "%"), rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
            out.append(value)
            rest = rest.dropFirst(2)
        } else {
            out.append(byte == UInt8(ascii: "+") ? 0x20 : byte)
        }
    }
    return String(decoding: out, as: UTF8.self)
}
