import AsyncHTTPClient
import CLinux
import Kubernetes
import Linux
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceKit
import Systemd

/// Performs the requests of reflectors, and brings what comes back to one loop.
///
/// Confined to that loop's thread; streams run on a thread of NIO's and leave their pieces in a mailbox that makes them wait when it is full.
public final class KubernetesTransport {
    /// What happened, as the reflector of that scope wants to be told it.
    public typealias Event = (scope: WatchScope, input: ReflectorInput)

    private let connections: HTTPConnections
    private let access: AccessProvider
    private let mailbox: StreamMailbox
    private let group: any EventLoopGroup
    private let userAgent: String
    private let said = WarningsSaid()
    private let logger: Logger
    private var tasks: [WatchScope: (id: APIRequest.ID, task: Task<Void, Never>)] = [:]
    private var watch: Loop.Token?
    private let loop: Loop

    /// - Parameter onEvents: called on the loop's thread, with everything that came in one turn, in order.
    public init(
        _ source: AccessSource, userAgent: String, on loop: Loop, logger: Logger, onEvents: @escaping ([Event]) -> Void
    ) throws(SystemError) {
        // One thread: what it decrypts is what the loop decodes.
        let group = MultiThreadedEventLoopGroup.singleton
        self.group = group
        self.loop = loop
        self.logger = logger
        self.userAgent = userAgent
        connections = HTTPConnections(group: group)
        access = AccessProvider(source)
        mailbox = try StreamMailbox()
        let mailbox = self.mailbox
        watch = try loop.watch(mailbox.event, LH_EPOLLIN) { [unowned self] _ in
            // What a reflector gave up may still be on its way here; it knows the answers by their ids.
            let letters = mailbox.take()
            for letter in letters { forget(letter) }
            onEvents(letters.map { ($0.scope, $0.input) })
        }
    }

    deinit {
        if let watch { loop.unwatch(watch) }
        for (_, task) in tasks.values { task.cancel() }
    }

    /// Starts a request; what becomes of it comes as events. A request of the same scope that is still under way is given up.
    public func start(_ request: APIRequest, for scope: WatchScope) {
        tasks.removeValue(forKey: scope)?.task.cancel()
        let stream = APIStream(
            request: request, scope: scope, userAgent: userAgent, access: access, connections: connections, mailbox: mailbox, group: group,
            said: said, logger: logger)
        tasks[scope] = (request.id, Task { await stream.run() })
    }

    public func cancel(_ id: APIRequest.ID, of scope: WatchScope) {
        guard let task = tasks[scope], task.id == id else { return }
        tasks[scope] = nil
        task.task.cancel()
    }

    /// Reads the credentials again, past every cache; ends in `credentialsRenewed` or `credentialsFailed`.
    public func renewCredentials(for scope: WatchScope) {
        let (access, mailbox) = (access, mailbox)
        Task {
            let input: ReflectorInput
            do throws(AccessError) {
                _ = try await access.renewed()
                input = .credentialsRenewed
            } catch {
                input = .credentialsFailed(error.description)
            }
            await mailbox.put(.init(scope: scope, input: input))
        }
    }

    /// The connections' credentials may have changed in ways that files do not tell (SIGHUP): new requests use new connections.
    public func renewConnections() {
        let connections = connections
        Task { await connections.retire() }
    }

    private func forget(_ letter: StreamMailbox.Letter) {
        switch letter.input {
        case .ended(let id), .failed(let id, _): if tasks[letter.scope]?.id == id { tasks[letter.scope] = nil }
        case .started, .responded, .received, .credentialsRenewed, .credentialsFailed, .wokeUp, .stopped: break
        }
    }
}

/// Warnings about the access, each said once.
actor WarningsSaid {
    private var warnings: Set<String> = []

    func isNew(_ warning: String) -> Bool { warnings.insert(warning).inserted }
}

/// One request from its credentials to the end of its answer.
struct APIStream: Sendable {
    let request: APIRequest
    let scope: WatchScope
    let userAgent: String
    let access: AccessProvider
    let connections: HTTPConnections
    let mailbox: StreamMailbox
    let group: any EventLoopGroup
    let said: WarningsSaid
    let logger: Logger

    func run() async {
        do {
            let access = try await access.access()
            for warning in access.warnings where await said.isNew(warning) {
                logger.warning("The API server is spoken to in a dangerous way", metadata: [LogKey.messageID: "\(MessageID.credentialsExposed)", "problem": "\(warning)"])
            }
            let pool = try await connections.acquire(access)
            // Without it the client could be shut down under its last request.
            defer { withExtendedLifetime(pool) {} }
            do {
                try await exchange(pool.client, access)
            } catch {
                await connections.retire(pool)
                // Given up: nobody waits to be told.
                if Task.isCancelled { return }
                return await fail(await explain(error, access))
            }
            await mailbox.put(.init(scope: scope, input: .ended(request.id)))
        } catch {
            await fail(TransportFailure(.credentials, error.description))
        }
    }

    private func exchange(_ client: HTTPClient, _ access: ServerAccess) async throws {
        var get = HTTPClientRequest(url: access.url(request.target))
        get.headers = access.headers(accept: request.accept, userAgent: userAgent)
        let response = try await client.execute(get, deadline: .now() + .nanoseconds(request.longest.wholeNanoseconds))
        await put(.responded(request.id, ResponseHead(response)))
        for try await piece in response.body {
            try Task.checkCancellation()
            let bytes = Array(piece.readableBytesView)
            await mailbox.put(.init(scope: scope, input: .received(request.id, bytes)), bytes: bytes.count)
        }
    }

    private func put(_ input: ReflectorInput) async { await mailbox.put(.init(scope: scope, input: input)) }

    private func fail(_ failure: TransportFailure) async { await put(.failed(request.id, failure)) }

    private func explain(_ error: any Error, _ access: ServerAccess) async -> TransportFailure {
        await TransportFailure.explained(error, access, group: group)
    }
}

extension TransportFailure {
    /// With the reason of a certificate that does not verify, which takes a connection to find out.
    static func explained(_ error: any Error, _ access: ServerAccess, group: any EventLoopGroup) async -> TransportFailure {
        var failure = TransportFailure(error, server: access.server)
        guard failure.kind == .tls else { return failure }
        if failure.detail.hasSuffix("does not verify"), let reason = await CertificateProbe.reason(access, group: group) {
            failure.detail += ": \(reason)"
        } else if failure.detail.hasSuffix("is not for its name"), let reason = await CertificateProbe.nameReason(access, group: group) {
            failure.detail += ": \(reason)"
        }
        return failure
    }
}

extension ServerAccess {
    func headers(accept: String, userAgent: String) -> HTTPHeaders {
        var headers = HTTPHeaders([("accept", accept), ("user-agent", userAgent)])
        // The name that the certificate has is not the one that a proxy in front of the server would route by.
        if serverName != nil { headers.add(name: "host", value: server.authority) }
        if let authorization { headers.add(name: "authorization", value: String(decoding: authorization.exposed, as: UTF8.self)) }
        return headers
    }
}

extension ResponseHead {
    init(_ response: HTTPClientResponse) {
        let retryAfter = response.headers.first(name: "retry-after").flatMap { Int64($0) }.map { Duration.seconds(min(max(0, $0), 3_600)) }
        self.init(
            status: Int(response.status.code), contentType: response.headers.first(name: "content-type") ?? "", retryAfter: retryAfter)
    }
}
