import NIOCore
import NIOHTTP1
import NIOWebSocket

/// A WebSocket that sends every message back as it came.
final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private static let longestFrame = 1 << 24

    /// Answers `request` with 101 and the `fields`, and turns the rest of the connection into an echo.
    ///
    /// Unlike SwiftNIO's own upgrade handler this works for every request of a connection, not only for the first. A client sends
    /// nothing before it has seen the 101 (RFC 6455, section 4.1), so there is nothing to hand on from the HTTP decoder.
    static func install(answering request: HTTPRequestHead, adding fields: HTTPHeaders, context: ChannelHandlerContext) {
        let upgrader = NIOWebSocketServerUpgrader(
            maxFrameSize: longestFrame,
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(fields) },
            upgradePipelineHandler: { channel, _ in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(EchoHandler()) }
            })
        let channel = context.channel
        let pipeline = context.pipeline.syncOperations
        upgrader.buildUpgradeResponse(channel: channel, upgradeRequest: request, initialResponseHeaders: [:]).assumeIsolated()
            .flatMapThrowing { headers in
                pipeline.removeHandler(try pipeline.handler(type: HTTPServerPipelineHandler.self), promise: nil)
                pipeline.removeHandler(try pipeline.handler(type: HTTPServerProtocolErrorHandler.self), promise: nil)
                let head = HTTPResponseHead(version: .http1_1, status: .switchingProtocols, headers: headers)
                channel.writeAndFlush(HTTPServerResponsePart.head(head), promise: nil)
                pipeline.removeHandler(try pipeline.handler(type: HTTPResponseEncoder.self), promise: nil)
            }
            .flatMap { upgrader.upgrade(context: context, upgradeRequest: request) }
            .flatMapThrowing { () in
                pipeline.removeHandler(try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self), promise: nil)
            }
            .whenFailure { _ in channel.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        var payload = frame.unmaskedData
        switch frame.opcode {
        case .text, .binary, .continuation:
            send(WebSocketFrame(fin: frame.fin, opcode: frame.opcode, data: payload), context)
        case .ping:
            send(WebSocketFrame(fin: true, opcode: .pong, data: payload), context)
        case .connectionClose:
            let code = payload.readSlice(length: min(2, payload.readableBytes)) ?? ByteBuffer()
            send(WebSocketFrame(fin: true, opcode: .connectionClose, data: code), context)
            context.close(promise: nil)
        default:
            break
        }
    }

    private func send(_ frame: WebSocketFrame, _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
    }
}
