import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// One listening socket with what answers there. Connections are tasks on SwiftNIO's threads; nothing here blocks, and none of it touches
/// the service's loop.
///
/// Hummingbird's own server cannot take over a socket that a manager has opened; its channels and its router can be used without it.
final class Door: Sendable {
    typealias Responder = @Sendable (Request, any Channel) async -> Response

    private let group: MultiThreadedEventLoopGroup
    private let certificate: Certificate?
    private let logger: Logger
    private let mostConnections: Int
    private let http: HTTP1Channel
    private let state = Mutex(State())

    private struct State {
        var open: [ObjectIdentifier: any Channel] = [:]
        var listener: (any Channel)?
        var isDraining = false
        var onDrained: (@Sendable () -> Void)?
    }

    /// A connection without a request is closed after that.
    private static let idle = TimeAmount.seconds(30)

    init(group: MultiThreadedEventLoopGroup, certificate: Certificate?, logger: Logger, mostConnections: Int, responder: @escaping Responder) {
        self.group = group
        self.certificate = certificate
        self.logger = logger
        self.mostConnections = mostConnections
        let answer: HTTPChannelHandler.Responder = { request, writer, channel in
            let response = await responder(request, channel)
            try await writer.write(response: response.head, body: response.body)
        }
        http = HTTP1Channel(
            responder: answer,
            configuration: .init(
                idleTimeout: Self.idle,
                httpDecoderConfiguration: .init(maxHeaderFieldSize: 16 * 1024, maxHeaderListSize: 32 * 1024, maxHeaderFieldCount: 100)))
    }

    var openConnections: Int { state.withLock { $0.open.count } }
    var isDraining: Bool { state.withLock { $0.isDraining } }

    /// Serves a listening socket, which it then owns, until drained.
    func serve(_ socket: Int32) async throws {
        let server = try await ServerBootstrap(group: group)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .bind(socket) { [http, certificate, logger] channel in
                let secured = channel.eventLoop.makeCompletedFuture {
                    guard let certificate else { return }
                    try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: certificate.context()))
                }
                return secured.flatMap { http.setup(channel: channel, logger: logger) }
            }
        state.withLock { $0.listener = server.channel }
        try await withThrowingDiscardingTaskGroup { tasks in
            try await server.executeThenClose { inbound in
                for try await connection in inbound { tasks.addTask { await self.run(connection) } }
            }
        }
    }

    private func run(_ connection: HTTP1Channel.Value) async {
        let channel = connection.channel
        let id = ObjectIdentifier(channel)
        let isTaken = state.withLock { state in
            guard state.open.count < mostConnections, !state.isDraining else { return false }
            state.open[id] = channel
            return true
        }
        if !isTaken { channel.close(promise: nil) }
        await http.handle(value: connection, logger: logger)
        let onDrained = state.withLock { state -> (@Sendable () -> Void)? in
            state.open[id] = nil
            guard state.isDraining, state.open.isEmpty else { return nil }
            defer { state.onDrained = nil }
            return state.onDrained
        }
        onDrained?()
    }

    /// Accepts no more, lets every connection finish its answer, and calls back once when none is left.
    func drain(_ then: @escaping @Sendable () -> Void) {
        let (listener, open) = state.withLock { state in
            state.isDraining = true
            if !state.open.isEmpty { state.onDrained = then }
            return (state.listener, Array(state.open.values))
        }
        listener?.close(promise: nil)
        for channel in open { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
        if open.isEmpty { then() }
    }
}
