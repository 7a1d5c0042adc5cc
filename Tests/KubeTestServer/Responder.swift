import NIOCore
import NIOHTTP1

/// The way back to one request's client, usable from any thread.
final class Responder: Sendable {
    private let channel: any Channel

    init(_ channel: any Channel) { self.channel = channel }

    var eventLoop: any EventLoop { channel.eventLoop }

    func head(_ status: Int, type: String = "application/json", length: Int? = nil, retryAfter: Int? = nil) {
        var headers = HTTPHeaders([("content-type", type)])
        if let length { headers.add(name: "content-length", value: "\(length)") }
        if let retryAfter { headers.add(name: "retry-after", value: "\(retryAfter)") }
        let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: headers)
        later { $0.writeAndFlush(HTTPServerResponsePart.head(head), promise: nil) }
    }

    func body(_ bytes: some Sequence<UInt8>) {
        let buffer = ByteBuffer(bytes: bytes)
        later { $0.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(buffer)), promise: nil) }
    }

    func end() { later { $0.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil) } }

    /// The connection of HTTP/1.1, the stream of HTTP/2.
    func close() { later { $0.close(promise: nil) } }

    /// Never at once: whoever calls may hold the lock that the end of a connection needs.
    private func later(_ action: @escaping @Sendable (any Channel) -> Void) {
        let channel = self.channel
        channel.eventLoop.execute { action(channel) }
    }

    func onClose(_ action: @escaping @Sendable () -> Void) { channel.closeFuture.whenComplete { _ in action() } }

    func whole(_ status: Int, _ body: [UInt8], type: String = "application/json", retryAfter: Int? = nil) {
        head(status, type: type, length: body.count, retryAfter: retryAfter)
        self.body(body)
        end()
    }
}
