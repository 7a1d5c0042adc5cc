import AssetCore
import NIOCore
import NIOHTTP1
import NIOPosix

/// Where CONNECT may lead, and the way there. Nothing of a tunnel is read or kept.
final class Tunnels: Sendable {
    let opened = Count()
    let refused = Count()
    private let resolver: Resolver
    private let rule: TargetRule
    private let connectTimeout: TimeAmount

    init(_ resolver: Resolver, _ rule: TargetRule, connectTimeout: TimeAmount) {
        self.resolver = resolver
        self.rule = rule
        self.connectTimeout = connectTimeout
    }

    /// Checks host, port and every address, then connects to one that was checked. On `eventLoop`, so that both ends are on one.
    func connect(_ authority: String, _ fields: Fields, on eventLoop: any EventLoop) -> EventLoopFuture<any Channel> {
        eventLoop.makeFutureWithTask { [self] in
            guard !fields.contains("transfer-encoding"), let (host, port) = TargetURL.connect(authority) else { throw OriginFailure.badURL }
            guard rule.connectPorts.contains(port) else { throw OriginFailure.refused(.port) }
            if let refusal = rule.judge(host: host) { throw OriginFailure.refused(refusal) }
            let addresses = try await resolver.resolve(host, port: port)
            if let refusal = rule.judge(addresses) { throw OriginFailure.refused(refusal) }
            return try await firstThatConnects(addresses) { address in
                try await ClientBootstrap(group: eventLoop).connectTimeout(self.connectTimeout).channelOption(.autoRead, value: false)
                    .connect(to: address).get()
            }
        }
    }
}

/// Turns one connection from HTTP into a tunnel. Confined to its event loop.
final class TunnelStart: @unchecked Sendable {
    // Made, used and let go on the event loop of its connection.
    private let tunnels: Tunnels
    private let encoder: HTTPResponseEncoder
    private let decoder: ByteToMessageHandler<HTTPRequestDecoder>

    init(_ tunnels: Tunnels, encoder: HTTPResponseEncoder, decoder: ByteToMessageHandler<HTTPRequestDecoder>) {
        self.tunnels = tunnels
        self.encoder = encoder
        self.decoder = decoder
    }

    func open(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let channel = context.channel
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        // What comes before the answer waits in the socket.
        _ = channel.setOption(.autoRead, value: false)
        tunnels.connect(head.uri, Fields(head.headers.map { ($0.name, $0.value) }), on: context.eventLoop).whenComplete { result in
            let (start, context) = bound.value
            switch result {
            case .success(let origin): start.join(channel, origin)
            case .failure(let error): start.refuse(error, context)
            }
        }
    }

    private func refuse(_ error: any Error, _ context: ChannelHandlerContext) {
        tunnels.refused.add()
        let failure = error as? OriginFailure ?? .unreachable
        let body = ByteBuffer(string: failure.problem)
        let fields: HTTPHeaders = [
            "Content-Type": "application/problem+json", "Content-Length": String(body.readableBytes), "Proxy-Status": failure.proxyStatus,
            "Connection": "close",
        ]
        let head = HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: failure.status), headers: fields)
        context.write(NIOAny(HTTPServerResponsePart.head(head)), promise: nil)
        context.write(NIOAny(HTTPServerResponsePart.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(NIOAny(HTTPServerResponsePart.end(nil)), promise: nil)
        context.close(promise: nil)
    }

    private func join(_ caller: any Channel, _ origin: any Channel) {
        guard caller.isActive else { return origin.close(promise: nil) }
        tunnels.opened.add()
        let (mine, other) = Glue.pair()
        do {
            let pipeline = caller.pipeline.syncOperations
            try pipeline.addHandler(mine, position: .after(decoder))
            try origin.pipeline.syncOperations.addHandler(other)
            pipeline.removeHandler(encoder, promise: nil)
            mine.write(ByteBuffer(string: "HTTP/1.1 200 Connection established\r\n\r\n"))
            // What came behind the request goes to the other side.
            pipeline.removeHandler(decoder, promise: nil)
        } catch {
            origin.close(promise: nil)
            return caller.close(promise: nil)
        }
        for channel in [caller, origin] { channel.setOption(.autoRead, value: true).whenFailure { _ in } }
    }
}

/// One end of a tunnel: what comes in here goes out there. Both ends are on one event loop.
private final class Glue: ChannelDuplexHandler, @unchecked Sendable {
    // Confined to the event loop of both channels.
    typealias InboundIn = NIOAny
    typealias OutboundIn = NIOAny
    typealias OutboundOut = ByteBuffer

    private var partner: Glue?
    private var context: ChannelHandlerContext?

    static func pair() -> (Glue, Glue) {
        let (a, b) = (Glue(), Glue())
        (a.partner, b.partner) = (b, a)
        return (a, b)
    }

    func write(_ buffer: ByteBuffer) {
        context?.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        partner = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // What the decoder gives back is followed by no end of a read, so nothing waits for one.
        partner?.context?.writeAndFlush(data, promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        partner?.context?.close(promise: nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// The other side reads on only while this one can write.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if let other = partner?.context { _ = other.channel.setOption(.autoRead, value: context.channel.isWritable) }
        context.fireChannelWritabilityChanged()
    }
}
