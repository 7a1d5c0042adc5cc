import NIOCore

/// Gives TLS a frame's head and body in one piece, as Go's servers do; NIO writes them one by one, each in a record of its own.
///
/// It matters to those who measure a client made with NIO: its frame decoder (1.46) never lets go of a buffer when reads keep ending
/// right behind a frame's head, grows it to the size of all that came, and copies it whole whenever somebody still reads from it.
final class RecordJoiner: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var pending: ByteBuffer?
    private var promise: EventLoopPromise<Void>?

    /// Flushed by itself beyond this.
    private static let most = 64 << 10

    func write(context: ChannelHandlerContext, data: NIOAny, promise written: EventLoopPromise<Void>?) {
        var bytes = unwrapOutboundIn(data)
        pending.setOrWriteBuffer(&bytes)
        promise.setOrCascade(to: written)
        if let pending, pending.readableBytes >= Self.most { pass(context) }
    }

    func flush(context: ChannelHandlerContext) {
        pass(context)
        context.flush()
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise closed: EventLoopPromise<Void>?) {
        pass(context)
        context.close(mode: mode, promise: closed)
    }

    private func pass(_ context: ChannelHandlerContext) {
        guard let bytes = pending else { return }
        let written = promise
        (pending, promise) = (nil, nil)
        context.write(wrapOutboundOut(bytes), promise: written)
    }

    func handlerRemoved(context: ChannelHandlerContext) { pass(context) }
}
