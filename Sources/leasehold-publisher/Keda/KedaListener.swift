import GRPCNIOTransportHTTP2Posix
import NIOCore
import NIOPosix
import Synchronization

/// Accepts KEDA's connections on a socket that listens already, at most so many at once.
struct KedaListener: HTTP2ServerTransport.ListenerFactory {
    let group: MultiThreadedEventLoopGroup
    /// Owned from the first call on.
    let socket: Int32
    let connections: KedaConnections

    var eventLoopGroup: any EventLoopGroup { group }

    func makeListeningChannel(
        listenerConfigurator: HTTP2ServerTransport.ListenerConfigurator, connectionConfigurator: HTTP2ServerTransport.ConnectionConfigurator
    ) async throws -> NIOAsyncChannel<HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel, Never> {
        try await ServerBootstrap(group: group)
            .serverChannelInitializer { listenerConfigurator.configure(channel: $0) }
            .bind(socket) { [connections] channel in
                guard connections.enter(channel) else {
                    channel.close(promise: nil)
                    return channel.eventLoop.makeFailedFuture(KedaConnections.TooMany())
                }
                return connectionConfigurator.configure(channel: channel, tls: .none)
            }
    }
}

/// How many connections are open.
final class KedaConnections: Sendable {
    struct TooMany: Error {}

    private let most: Int
    private let open = Mutex(0)

    init(most: Int) { self.most = most }

    var count: Int { open.withLock { $0 } }

    /// False when there are too many; else counted until it is closed.
    func enter(_ channel: any Channel) -> Bool {
        let isTaken = open.withLock { open in
            guard open < most else { return false }
            open += 1
            return true
        }
        if isTaken { channel.closeFuture.whenComplete { [self] _ in open.withLock { $0 -= 1 } } }
        return isTaken
    }
}
