import HTTPTypes
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
    private let http: HTTP1Channel
    private let connections: OpenConnections
    private let listener = Mutex<(any Channel)?>(nil)

    /// A connection on which no request is complete is closed after that, the handshake included.
    private static let idle = TimeAmount.seconds(30)

    init(
        group: MultiThreadedEventLoopGroup, certificate: Certificate?, logger: Logger, mostConnections: Int, responder: @escaping Responder
    ) {
        self.group = group
        self.certificate = certificate
        self.logger = logger
        let connections = OpenConnections(most: mostConnections)
        self.connections = connections
        let answer: HTTPChannelHandler.Responder = { request, writer, channel in
            connections.begin(channel)
            let response = await responder(request, channel)
            try await writer.write(response: response.head, body: response.body)
            connections.end(channel)
            // Nothing here reads bodies, and one that comes byte by byte could hold its place for ever.
            if Self.hasBody(request.headers) { channel.close(promise: nil) }
        }
        http = HTTP1Channel(
            responder: answer,
            configuration: .init(
                idleTimeout: Self.idle,
                httpDecoderConfiguration: .init(maxHeaderFieldSize: 16 * 1024, maxHeaderListSize: 32 * 1024, maxHeaderFieldCount: 100)))
    }

    var openConnections: Int { connections.count }
    var isDraining: Bool { connections.isDraining }

    private static func hasBody(_ headers: HTTPFields) -> Bool {
        headers[.transferEncoding] != nil || headers[.contentLength].map { $0 != "0" } ?? false
    }

    /// Serves a listening socket, which it then owns, until drained.
    func serve(_ socket: Int32) async throws {
        let server = try await ServerBootstrap(group: group)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .bind(socket) { [http, certificate, logger] channel in
                let secured = channel.eventLoop.makeCompletedFuture {
                    guard let certificate else { return }
                    try channel.pipeline.syncOperations.addHandler(certificate.handler())
                }
                return secured.flatMap { http.setup(channel: channel, logger: logger) }
            }
        listener.withLock { $0 = server.channel }
        try await withThrowingDiscardingTaskGroup { tasks in
            try await server.executeThenClose { inbound in
                for try await connection in inbound { tasks.addTask { await self.run(connection) } }
            }
        }
    }

    private func run(_ connection: HTTP1Channel.Value) async {
        if !connections.enter(connection.channel) { connection.channel.close(promise: nil) }
        await http.handle(value: connection, logger: logger)
        connections.leave(connection.channel)
    }

    /// Accepts no more, lets every connection finish its answer, and calls back once when none is left.
    func drain(_ then: @escaping @Sendable () -> Void) {
        listener.withLock { $0 }?.close(promise: nil)
        connections.drain(then)
    }
}
