import NIOCore
import NIOHTTP1
import NIOSSL

/// One connection to an origin: one request at a time.
final class OriginConnection: Sendable {
    let channel: any Channel
    private let handler: NIOLoopBound<OriginHandler>

    /// On the channel's event loop.
    init(_ channel: any Channel, _ handler: OriginHandler) {
        self.channel = channel
        self.handler = NIOLoopBound(handler, eventLoop: channel.eventLoop)
    }

    var isOpen: Bool { channel.isActive }

    /// - Parameter limit: for the kernel to take it; then the connection is closed. Nil: what is small enough for any buffer.
    func write(_ parts: [HTTPClientRequestPart], within limit: TimeAmount? = nil) async throws {
        for part in parts.dropLast() { channel.write(part, promise: nil) }
        guard let last = parts.last else { return }
        let timer = limit.map { limit in channel.eventLoop.scheduleTask(in: limit) { [channel] in channel.close(promise: nil) } }
        defer { timer?.cancel() }
        try await channel.writeAndFlush(last)
    }

    /// What has come, at least one part. Throws `responseTimeout`, `noResponse` at the end of the connection, or what is wrong with it.
    func next(within limit: TimeAmount) async throws -> [HTTPClientResponsePart] {
        try await channel.eventLoop.flatSubmit { [handler] in handler.value.next(within: limit) }.get()
    }

    func close() { channel.close(promise: nil) }
}

/// Collects what an origin says until it is asked for; stops reading when there is much of it.
final class OriginHandler: ChannelInboundHandler, @unchecked Sendable {
    // Confined to the channel's event loop.
    typealias InboundIn = HTTPClientResponsePart

    private var parts: [HTTPClientResponsePart] = []
    private var bytes = 0
    private var isReading = true
    private var waiter: EventLoopPromise<[HTTPClientResponsePart]>?
    private var timer: Scheduled<Void>?
    private var failure: (any Error)?
    private var context: ChannelHandlerContext?

    /// Bytes that wait here at most, and a read's worth.
    private static let most = 256 << 10

    private let eventLoop: any EventLoop

    init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func next(within limit: TimeAmount) -> EventLoopFuture<[HTTPClientResponsePart]> {
        if !parts.isEmpty {
            // Also those that came before the connection ended.
            let out = parts
            (parts, bytes) = ([], 0)
            if let context { read(true, context) }
            return eventLoop.makeSucceededFuture(out)
        }
        guard failure == nil, let context else { return failed() }
        let promise = context.eventLoop.makePromise(of: [HTTPClientResponsePart].self)
        waiter = promise
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: limit) { [self] in
            fail(OriginFailure.responseTimeout)
            context.close(promise: nil)
        }
        return promise.futureResult
    }

    private func failed() -> EventLoopFuture<[HTTPClientResponsePart]> {
        eventLoop.makeFailedFuture(failure ?? OriginFailure.noResponse)
    }

    private func read(_ reads: Bool, _ context: ChannelHandlerContext) {
        guard reads != isReading else { return }
        isReading = reads
        context.channel.setOption(.autoRead, value: reads).whenFailure { _ in }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        if case .body(let buffer) = part { bytes += buffer.readableBytes }
        parts.append(part)
        if bytes >= Self.most { read(false, context) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        give()
        context.fireChannelReadComplete()
    }

    private func give() {
        guard let promise = waiter, !parts.isEmpty else { return }
        let out = parts
        (parts, bytes, waiter) = ([], 0, nil)
        timer?.cancel()
        if let context { read(true, context) }
        promise.succeed(out)
    }

    private func fail(_ error: any Error) {
        if failure == nil { failure = error }
        give()
        timer?.cancel()
        waiter?.fail(failure ?? error)
        waiter = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(error is NIOSSLError || error is BoringSSLError || error is NIOSSLExtraError ? OriginFailure.tls : OriginFailure.noResponse)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(OriginFailure.noResponse)
        context.fireChannelInactive()
    }
}
