import NIOCore
import NIOHTTP1
import Synchronization

/// What a request's task sends down its channel: a part of a response, and perhaps a promise for the moment when it has left.
enum Output: Sendable {
    case part(HTTPServerResponsePart)
    /// A file must stay open until the kernel has taken it.
    case awaited(HTTPServerResponsePart, EventLoopPromise<Void>)
}

/// The one promise that a connection's task waits for. A part that is dropped on its way, because the connection closed, would never keep
/// it; so the end of the connection breaks it.
final class PendingSend: Sendable {
    private let promise = Mutex<EventLoopPromise<Void>?>(nil)

    init(_ channel: any Channel) { channel.closeFuture.whenComplete { [self] _ in fail() } }

    func set(_ new: EventLoopPromise<Void>, _ channel: any Channel) {
        promise.withLock { $0 = new }
        // It may have closed before the line above.
        if !channel.isActive { fail() }
    }

    /// Breaking one that was kept already does nothing.
    private func fail() {
        let broken = promise.withLock { promise in
            defer { promise = nil }
            return promise
        }
        broken?.fail(ChannelError.ioOnClosedChannel)
    }
}

/// Closes a connection whose request head does not come whole in time. First in the pipeline.
final class HeadDeadline: ChannelInboundHandler, @unchecked Sendable {
    // Confined to the channel's event loop.
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private static let limit = TimeAmount.seconds(10)
    private var isInRequest = false
    private var timer: Scheduled<Void>?
    private var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    /// Bytes of a whole response, past the encoder.
    fileprivate func write(_ response: ByteBuffer) { context?.writeAndFlush(NIOAny(response), promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if !isInRequest, timer == nil {
            let channel = context.channel
            timer = context.eventLoop.scheduleTask(in: Self.limit) { channel.close(promise: nil) }
        }
        context.fireChannelRead(data)
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        context.fireChannelInactive()
    }

    fileprivate func headCame() {
        isInRequest = true
        timer?.cancel()
        timer = nil
    }

    fileprivate func requestEnded() { isInRequest = false }
}

/// Between the codec and the tasks: tells the deadline what came, turns output into parts, and closes what is idle for too long.
final class Frame: ChannelDuplexHandler, @unchecked Sendable {
    // Confined to the channel's event loop.
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = Output
    typealias OutboundOut = HTTPServerResponsePart

    private let deadline: HeadDeadline
    private let tunnel: TunnelStart?
    private let quick: HTTPServer.QuickAnswer?
    private var isTunnel = false
    /// Requests that the connection's task has, and has not answered to the end.
    private var pending = 0
    /// The rest of a request that was answered here.
    private var isAnswered = false

    init(_ deadline: HeadDeadline, _ tunnel: TunnelStart?, _ quick: HTTPServer.QuickAnswer?) {
        self.deadline = deadline
        self.tunnel = tunnel
        self.quick = quick
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // From here on the bytes are not ours to read.
        if isTunnel { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            deadline.headCame()
            if head.method == .CONNECT, let tunnel {
                isTunnel = true
                return tunnel.open(head, context)
            }
            // In their order: what the task still answers comes first.
            if pending == 0, let quick, let response = quick(head) {
                isAnswered = true
                return deadline.write(response)
            }
            pending += 1
        case .body: break
        case .end:
            deadline.requestEnded()
            if isAnswered {
                isAnswered = false
                return
            }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .part(let part):
            if case .end = part { pending -= 1 }
            context.write(wrapOutboundOut(part), promise: promise)
        case .awaited(let part, let left):
            left.futureResult.cascade(to: promise)
            context.writeAndFlush(wrapOutboundOut(part), promise: left)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }
}
