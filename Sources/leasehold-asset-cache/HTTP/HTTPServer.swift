import AssetCore
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Takes connections and gives each request to one function. Connections are tasks; nothing here blocks.
final class HTTPServer: Sendable {
    typealias Handler = @Sendable (Exchange) async throws -> Void
    /// A whole response to a request that has no body, at once, on the event loop; nil: not one of those.
    typealias QuickAnswer = @Sendable (HTTPRequestHead) -> ByteBuffer?
    private typealias AsyncConnection = NIOAsyncChannel<HTTPServerRequestPart, Output>

    let connections = Count()
    let requests = Count()
    let refusedConnections = Count()
    private let group: MultiThreadedEventLoopGroup
    private let logger: Logger
    private let mostConnections: Int
    private let idPrefix: String
    /// For CONNECT; nil where there is no such thing.
    private let tunnels: Tunnels?
    private let state = Mutex(State())

    private struct State {
        var open: [ObjectIdentifier: (channel: any Channel, isBusy: Bool)] = [:]
        var isDraining = false
        var listeners: [any Channel] = []
        var onDrained: (@Sendable () -> Void)?
    }

    private static let idle = TimeAmount.seconds(60)

    init(group: MultiThreadedEventLoopGroup, logger: Logger, mostConnections: Int, instance: UInt64, tunnels: Tunnels?) {
        self.group = group
        self.logger = logger
        self.mostConnections = mostConnections
        idPrefix = String(instance, radix: 16).uppercased()
        self.tunnels = tunnels
    }

    var openConnections: Int { state.withLock { $0.open.count } }

    /// Serves a listening socket, which it then owns, until drained.
    func serve(_ socket: Int32, takesTunnels: Bool, quick: QuickAnswer?, _ handler: @escaping Handler) async throws {
        let tunnels = takesTunnels ? self.tunnels : nil
        let bootstrap = ServerBootstrap(group: group)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelOption(.allowRemoteHalfClosure, value: false)
        let server = try await bootstrap.bind(socket) { channel in
            channel.eventLoop.makeCompletedFuture {
                let deadline = HeadDeadline()
                try channel.pipeline.syncOperations.addHandler(IdleStateHandler(allTimeout: Self.idle))
                try channel.pipeline.syncOperations.addHandler(deadline)
                let encoder = HTTPResponseEncoder()
                let decoder = ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes))
                try channel.pipeline.syncOperations.addHandlers([encoder, decoder, NIOHTTPResponseHeadersValidator(), HTTPServerProtocolErrorHandler()])
                try channel.pipeline.syncOperations.addHandler(Frame(deadline, tunnels.map { TunnelStart($0, encoder: encoder, decoder: decoder) }, quick))
                return try AsyncConnection(wrappingChannelSynchronously: channel)
            }
        }
        state.withLock { $0.listeners.append(server.channel) }
        try await withThrowingDiscardingTaskGroup { tasks in
            try await server.executeThenClose { inbound in
                for try await connection in inbound { tasks.addTask { await self.run(connection, handler) } }
            }
        }
    }

    private func run(_ connection: AsyncConnection, _ handler: @escaping Handler) async {
        let channel = connection.channel
        let id = ObjectIdentifier(channel)
        let isTaken = state.withLock { state in
            guard state.open.count < mostConnections, !state.isDraining else { return false }
            state.open[id] = (channel, false)
            return true
        }
        if isTaken { connections.add() } else { refusedConnections.add() }
        do {
            try await connection.executeThenClose { inbound, outbound in
                if isTaken { try await converse(inbound, outbound, channel, id, handler) }
            }
        } catch {
            // A caller that breaks off, or breaks the protocol, has lost only its own connection.
            logger.debug("A connection ended", metadata: ["reason": "\(error)"])
        }
        let drained = state.withLock { state in
            state.open[id] = nil
            return state.isDraining && state.open.isEmpty ? state.onDrained : nil
        }
        drained?()
    }

    private func converse(
        _ inbound: Exchange.Inbound, _ outbound: Exchange.Outbound, _ channel: any Channel, _ id: ObjectIdentifier, _ handler: Handler
    ) async throws {
        var parts = inbound.makeAsyncIterator()
        let pending = PendingSend(channel)
        while let part = try await parts.next() {
            guard case .head(let head) = part else { continue }
            let isDraining = state.withLock { state in
                state.open[id]?.isBusy = true
                return state.isDraining
            }
            requests.add()
            let exchange = Exchange(
                head, parts, outbound, pending, channel: channel, requestID: idPrefix + String(requests.value, radix: 16).uppercased(),
                isDraining: isDraining)
            try await handler(exchange)
            parts = exchange.remaining
            let goesOn = state.withLock { state in
                state.open[id]?.isBusy = false
                return exchange.keepsAlive && !state.isDraining
            }
            if goesOn { continue }
            try await linger(exchange, outbound, channel)
            return
        }
    }

    /// A caller that still sends would see a reset instead of its answer: what it sends is discarded for a moment.
    private func linger(_ exchange: Exchange, _ outbound: Exchange.Outbound, _ channel: any Channel) async throws {
        guard !exchange.isBodyRead, !exchange.isCut, !exchange.isBodyWithheld else { return }
        let timer = channel.eventLoop.scheduleTask(in: .seconds(2)) { channel.close(promise: nil) }
        defer { timer.cancel() }
        _ = try await exchange.discardRest(atMost: 256 << 10)
    }

    /// No new connections; those at rest are closed, the others after their response.
    func drain(_ done: @escaping @Sendable () -> Void) {
        let (listeners, resting, isEmpty) = state.withLock { state in
            state.isDraining = true
            state.onDrained = done
            return (state.listeners, state.open.values.filter { !$0.isBusy }.map(\.channel), state.open.isEmpty)
        }
        for listener in listeners { listener.close(promise: nil) }
        for channel in resting { channel.close(promise: nil) }
        if isEmpty { done() }
    }
}
