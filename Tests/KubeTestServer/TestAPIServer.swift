import CLinux
import Linux
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import NIOSSL
import Synchronization
import TestKit

/// An API server for tests: EndpointSlices and Services over real HTTP on loopback, with the troubles that a test asks for.
///
/// Lists (whole, and in pages with `continue`), watches with bookmarks, streamed lists (`sendInitialEvents`), versions that are
/// forgotten (410 as a status and as an event), access reviews, JSON and protobuf. It can be stopped and started again on its port.
public final class TestAPIServer: Sendable {
    /// PEM files; a missing one is plain HTTP.
    public struct TLS: Sendable {
        public var certificate: String
        public var key: String
        public init(certificate: String, key: String) {
            self.certificate = certificate
            self.key = key
        }
    }

    /// Who may not do what; nil is anything. Of a request for all namespaces, ``namespace`` is "".
    public struct Denial: Hashable, Sendable {
        public var verb: String?
        public var resource: TestObject.Resource?
        public var namespace: String?
        public init(verb: String? = nil, resource: TestObject.Resource? = nil, namespace: String? = nil) {
            self.verb = verb
            self.resource = resource
            self.namespace = namespace
        }
    }

    /// How the server behaves, all of it changeable at any time.
    public struct Behaviour: Sendable {
        /// Users by their tokens; nil lets everybody in.
        public var tokens: [String: String]?
        public var denials: Set<Denial> = []
        public var hasWatchList = true
        public var hasProtobuf = true
        public var hasSelfSubjectReview = true
        /// Whether a watch from a forgotten version is told so by the status line rather than by an ERROR event.
        public var expiresByStatus = false
        public var bookmarkMilliseconds: Int64 = 1_000
        /// Most items of a page, whatever `limit` says.
        public var pageLimit = 500
        /// Looked at for each request; nil answers well.
        public var trouble: @Sendable (TestRequest) -> Trouble? = { _ in nil }
        public init() {}
    }

    struct Event {
        var version: UInt64
        var type: String
        var object: TestObject
    }

    struct Watch {
        var resource: TestObject.Resource
        var namespace: String?
        var selector: ObjectSelector
        var codec: AnswerCodec
        var wantsBookmarks: Bool
        var outlet: Outlet
    }

    struct State {
        var behaviour = Behaviour()
        var version: UInt64 = 1_000
        var objects: [TestObject.Key: TestObject] = [:]
        var log: [Event] = []
        /// Versions below are forgotten.
        var compacted: UInt64 = 0
        var watches: [UInt64: Watch] = [:]
        var nextID: UInt64 = 1
        var pages: [String: (version: UInt64, rest: ArraySlice<TestObject>)] = [:]
        var requests: [TestRequest] = []
        var listener: (channel: any Channel, socket: Int32)?
        var connections: [ObjectIdentifier: any Channel] = [:]
        /// From the first start to the end of this server.
        var port: HeldPort?
    }

    let state = Mutex(State())
    let group: any EventLoopGroup
    private let tls: TLS?
    private let offersHTTP2: Bool

    public init(tls: TLS? = nil, offersHTTP2: Bool = true, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton) {
        self.tls = tls
        self.offersHTTP2 = offersHTTP2
        self.group = group
    }

    // MARK: Life

    /// Listens on 127.0.0.1; again on the same port after ``stop()``: it is nobody else's until this goes away.
    public func start(port wanted: UInt16 = 0) throws {
        let port = try state.withLock { state in
            if let known = state.port, wanted == 0 || known.number == wanted { return known }
            let new = try HeldPort(wanted)
            state.port = new
            return new
        }
        let context = try tls.map { tls in
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: try NIOSSLCertificate.fromPEMFile(tls.certificate).map { .certificate($0) },
                privateKey: .privateKey(try NIOSSLPrivateKey(file: tls.key, format: .pem)))
            configuration.applicationProtocols = offersHTTP2 ? ["h2", "http/1.1"] : ["http/1.1"]
            return try NIOSSLContext(configuration: configuration)
        }
        let bootstrap = ServerBootstrap(group: group)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { [self] channel in
                let id = ObjectIdentifier(channel)
                state.withLock { $0.connections[id] = channel }
                channel.closeFuture.whenComplete { [self] _ in state.withLock { $0.connections[id] = nil } }
                return channel.eventLoop.makeCompletedFuture { try prepare(channel, context) }
            }
        var listening = try port.listen()
        // The channel owns it, also when it cannot be made.
        let socket = listening.release()
        let channel = try bootstrap.withBoundSocket(socket).wait()
        state.withLock { $0.listener = (channel, socket) }
    }

    private func prepare(_ channel: any Channel, _ context: NIOSSLContext?) throws {
        guard let context else {
            try channel.pipeline.syncOperations.configureHTTPServerPipeline()
            return try channel.pipeline.syncOperations.addHandler(RequestHandler(self, version: "HTTP/1.1"))
        }
        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
        let server = self
        _ = channel.configureHTTP2SecureUpgrade(
            h2ChannelConfigurator: { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(RecordJoiner()) }.flatMap {
                    channel.configureHTTP2Pipeline(mode: .server) { stream in
                        stream.eventLoop.makeCompletedFuture {
                            try stream.pipeline.syncOperations.addHandler(HTTP2FramePayloadToHTTP1ServerCodec())
                            try stream.pipeline.syncOperations.addHandler(RequestHandler(server, version: "HTTP/2.0"))
                        }
                    }
                }.map { _ in }
            },
            http1ChannelConfigurator: { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(RequestHandler(server, version: "HTTP/1.1"))
                }
            })
    }

    /// Closes the port and every connection, as a server that is killed. Objects stay.
    public func stop() throws {
        let (listener, connections) = state.withLock { state in
            defer {
                state.listener = nil
                state.watches = [:]
            }
            return (state.listener, Array(state.connections.values))
        }
        if let (channel, socket) = listener {
            // Closed already is as good.
            try? channel.eventLoop.flatSubmit {
                // A process that is just being started may have a copy for a moment: without this the port stays open as long.
                _ = lh_shutdown(socket, Int32(SHUT_RDWR))
                return channel.close()
            }.wait()
        }
        for connection in connections { try? connection.close().wait() }
    }

    /// Cuts every connection; the port stays open.
    public func cutConnections() {
        for connection in state.withLock({ Array($0.connections.values) }) { connection.close(promise: nil) }
    }

    public var port: Int { state.withLock { Int($0.port?.number ?? 0) } }
    public var url: String { "\(tls == nil ? "http" : "https")://127.0.0.1:\(port)" }

    // MARK: What it does

    public func behave(_ change: (inout Behaviour) -> Void) { state.withLock { change(&$0.behaviour) } }

    /// Every request so far.
    public var requests: [TestRequest] { state.withLock { $0.requests } }

    public var watchCount: Int { state.withLock { $0.watches.count } }

    // MARK: Objects

    /// The newest version.
    public var version: UInt64 { state.withLock { $0.version } }

    public var objects: [TestObject] { state.withLock { state in state.objects.keys.sorted().compactMap { state.objects[$0] } } }

    /// Adds or replaces, and tells the watches.
    public func apply(_ objects: TestObject...) { apply(objects) }

    public func apply(_ objects: [TestObject]) {
        state.withLock { state in
            for object in objects {
                state.version += 1
                var object = object
                object.resourceVersion = state.version
                let type = state.objects.updateValue(object, forKey: object.key) == nil ? "ADDED" : "MODIFIED"
                state.tell(Event(version: state.version, type: type, object: object))
            }
        }
    }

    public func delete(_ key: TestObject.Key) {
        state.withLock { state in
            guard var object = state.objects.removeValue(forKey: key) else { return }
            state.version += 1
            object.resourceVersion = state.version
            state.tell(Event(version: state.version, type: "DELETED", object: object))
        }
    }

    /// Forgets every version up to now: watches from them are told 410, so are pages that are half read.
    public func compact() {
        state.withLock { state in
            state.compacted = state.version
            state.log = []
            state.pages = [:]
        }
    }

    /// Moves the version on without any object that is watched: what happens elsewhere in a cluster.
    public func advance(by count: UInt64) { state.withLock { $0.version += count } }

    /// Tells every watch a bookmark now.
    public func bookmark() {
        state.withLock { state in
            for watch in state.watches.values where watch.wantsBookmarks {
                watch.outlet.body(watch.codec.bookmark(watch.resource, version: state.version, endsInitialEvents: false))
            }
        }
    }
}

extension TestAPIServer.State {
    mutating func tell(_ event: TestAPIServer.Event) {
        log.append(event)
        for watch in watches.values where watch.isFor(event.object) { watch.outlet.body(watch.codec.event(event.type, event.object)) }
    }
}

extension TestAPIServer.Watch {
    func isFor(_ object: TestObject) -> Bool {
        object.key.resource == resource && (namespace == nil || namespace == object.key.namespace) && selector.fits(object)
    }
}
