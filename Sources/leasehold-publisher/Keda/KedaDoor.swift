import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOPosix
import Synchronization

/// The listening socket on which KEDA asks, gRPC without TLS, beside the HTTP doors: shown, counted and drained as they are.
final class KedaDoor: Entrance {
    let transport = "grpc"

    private let server: GRPCServer<HTTP2ServerTransport.Custom<KedaListener>>
    private let connections: KedaConnections
    private let feeds: ActivityFeeds
    private let state = Mutex(State())

    private struct State {
        var isDraining = false
        var isOver = false
        var onDrained: (@Sendable () -> Void)?
    }

    private enum Limits {
        /// A cluster has one KEDA, with a connection from each of its processes.
        static let connections = 64
        /// KEDA has one connection for all of its ScaledObjects: streams that last must leave room for calls.
        static let callsOfConnection = 4 * ActivityFeeds.most
        /// A connection on which nobody calls gives its place back.
        static let idle = Duration.seconds(300)
        /// Bytes of one question; KEDA's are a few hundred.
        static let question = 64 * 1024
    }

    /// Owns the socket once it serves.
    init(_ socket: Int32, group: MultiThreadedEventLoopGroup, board: Board, feeds: ActivityFeeds) {
        self.feeds = feeds
        connections = KedaConnections(most: Limits.connections)
        var configuration = HTTP2ServerTransport.Custom<KedaListener>.Config.defaults
        configuration.rpc.maxRequestPayloadSize = Limits.question
        configuration.http2.maxConcurrentStreams = Limits.callsOfConnection
        configuration.connection.maxIdleTime = Limits.idle
        // A reader that has vanished ends within a minute, and gives its streams back.
        configuration.connection.keepalive.time = .seconds(30)
        configuration.connection.keepalive.timeout = .seconds(20)
        // As often as Go's client pings at most, with and without a call: none is sent away for asking whether we live.
        configuration.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls = .seconds(10)
        configuration.connection.keepalive.clientBehavior.allowWithoutCalls = true
        server = GRPCServer(
            transport: HTTP2ServerTransport.Custom(
                listenerFactory: KedaListener(group: group, socket: socket, connections: connections), config: configuration),
            services: [KedaService(board: board, feeds: feeds)])
    }

    var openConnections: Int { connections.count }
    var isDraining: Bool { state.withLock { $0.isDraining } }

    /// Serves until drained.
    func serve() async throws {
        defer {
            let onDrained = state.withLock { state -> (@Sendable () -> Void)? in
                state.isOver = true
                defer { state.onDrained = nil }
                return state.onDrained
            }
            onDrained?()
        }
        try await server.serve()
    }

    /// Accepts no more, ends the open streams as told whole, lets every answer finish, and calls back once when no connection is left.
    func drain(_ then: @escaping @Sendable () -> Void) {
        let isOver = state.withLock { state in
            state.isDraining = true
            if !state.isOver { state.onDrained = then }
            return state.isOver
        }
        if isOver { return then() }
        feeds.end()
        server.beginGracefulShutdown()
    }
}
