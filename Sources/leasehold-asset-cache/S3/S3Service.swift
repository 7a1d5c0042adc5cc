import AssetCore
import Foundation
import GRDB
import Linux
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceKit
import Synchronization
import Systemd

/// The S3 API over a store: who asks, for what, and the answer. Everything that blocks happens on the threads of `pool`.
final class S3Service: Sendable {
    let store: Store
    let pool: NIOThreadPool
    let logger: Logger
    let counters = Counters()
    /// Nil: there is nothing behind.
    let tier: TierService?
    private let authority: Mutex<Authority>

    /// The keys that are in force.
    var current: Authority { authority.withLock { $0 } }

    final class Counters: Sendable {
        let reads = Count()
        let bytesOut = Count()
        let bytesIn = Count()
        let writes = Count()
        let refusals = Count()
        let failures = Count()
    }

    init(store: Store, pool: NIOThreadPool, authority: Authority, tier: TierService?, logger: Logger) {
        self.store = store
        self.tier = tier
        self.pool = pool
        self.authority = Mutex(authority)
        self.logger = logger
    }

    func replace(_ new: Authority) { authority.withLock { $0 = new } }

    /// One request, from its head to the end of its response. Throws when the connection is of no further use.
    func handle(_ exchange: Exchange) async throws {
        do {
            try await perform(exchange)
        } catch {
            guard exchange.status == 0, !exchange.isCut else { throw error }
            try await refuse(exchange, translate(error))
        }
    }

    private func perform(_ exchange: Exchange) async throws {
        let authority = self.authority.withLock { $0 }
        let now = wallClock()
        let request = try Request(exchange, authority, now: now)
        if let tier { try await know(request, tier) }
        switch request.operation {
        case .listBuckets: try await listBuckets(exchange, request)
        case .createBucket, .headBucket, .deleteBucket, .getBucketLocation, .getBucketLifecycle, .putBucketLifecycle,
            .deleteBucketLifecycle:
            try await onBucket(exchange, request)
        case .listObjects, .listObjectsV2, .listMultipartUploads: try await list(exchange, request)
        case .deleteObjects: try await deleteObjects(exchange, request)
        case .putObject: try await putObject(exchange, request)
        case .copyObject: try await copyObject(exchange, request)
        case .getObject, .headObject: try await getObject(exchange, request, verifies: authority.verifiesReads)
        case .deleteObject: try await deleteObject(exchange, request)
        case .getObjectTagging, .putObjectTagging, .deleteObjectTagging: try await tagging(exchange, request)
        case .createMultipartUpload, .uploadPart, .uploadPartCopy, .listParts, .completeMultipartUpload, .abortMultipartUpload:
            try await onUpload(exchange, request)
        }
    }

    // MARK: Blocking work

    /// Runs on a thread that may block.
    func blocking<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T { try await pool.runIfActive(work) }

    // MARK: Errors

    private func translate(_ error: any Error) -> S3Error {
        switch error {
        case let error as S3Error: return error
        case let error as SystemError where [ENOSPC, EDQUOT, EFBIG].contains(error.errno): return full(error)
        case let error as DatabaseError where error.resultCode == .SQLITE_FULL: return full(error)
        default:
            // SQLite says "I/O error" for much; the disk's own word is told in the journal.
            logger.error("A request failed, continuing", metadata: [LogKey.messageID: "\(MessageID.requestFailed)", "problem": "\(error)"])
            return S3Error(.internalError)
        }
    }

    private func full(_ error: any Error) -> S3Error {
        logger.warning("The disk is full, continuing with reads", metadata: [LogKey.messageID: "\(MessageID.diskFull)", "problem": "\(error)"])
        return S3Error(.insufficientStorage, "The disk is full.")
    }

    private func refuse(_ exchange: Exchange, _ error: S3Error) async throws {
        if error.code.status >= 500 { counters.failures.add() } else { counters.refusals.add() }
        guard error.code != .notModified else { return try await exchange.respond(304) }
        var writer = XMLWriter()
        writer.element("Error") { writer in
            writer.element("Code", error.code.rawValue)
            writer.element("Message", error.message)
            writer.element("Resource", exchange.head.uri.utf8.prefix { $0 != UInt8(ascii: "?") })
            writer.element("RequestId", exchange.requestID)
        }
        var headers = [("X-Content-Type-Options", "nosniff")]
        if error.code == .slowDown || error.code == .serviceUnavailable { headers.append(("Retry-After", "1")) }
        try await exchange.respond(error.code.status, headers, xml: writer)
    }
}

/// A request whose sender is known and allowed.
struct Request: Sendable {
    let operation: S3Operation
    let resource: Resource
    let target: RequestTarget
    let fields: Fields
    let caller: Authority.Caller
    let now: Timestamp

    /// Judged in this order: whose host, whose page, whose signature, what, and whether it may.
    init(_ exchange: Exchange, _ authority: Authority, now: Timestamp) throws(S3Error) {
        fields = exchange.fields
        self.now = now
        let hosts = fields.values("host")
        guard hosts.count == 1, let host = hosts.first else { throw S3Error(.invalidRequest, "A request has one Host header.") }
        let answer = HostRule.judge(host: host, names: authority.names, localAddress: exchange.channel.localAddress?.ipAddress)
        let hostBucket: String?
        switch answer {
        case .pathStyle: hostBucket = nil
        case .bucket(let name): hostBucket = name
        case .notOurs: throw S3Error(.wrongHost)
        }
        // A page in a browser beside us must not reach the store in its user's name.
        if fields.contains("origin") { throw S3Error(.accessDenied, "Requests from pages of other origins are refused.") }
        if let site = fields["sec-fetch-site"], site != "none", site != "same-origin" {
            throw S3Error(.accessDenied, "Requests from pages of other origins are refused.")
        }
        guard let target = RequestTarget(exchange.head.uri) else { throw S3Error(.invalidURI) }
        self.target = target
        let method = exchange.head.method.rawValue
        caller = try authority.identify(
            method: method, target: target, fields: fields, isLocal: exchange.channel.remoteAddress.map(isLoopback) ?? true, now: now)
        resource = try Resource(rawPath: target.rawPath, hostBucket: hostBucket)
        operation = try S3Operation(method: method, resource: resource, target: target, fields: fields)
        switch resource {
        case .service: break
        case .bucket(let bucket), .object(let bucket, _):
            guard caller.may(operation.right, in: bucket) else { throw S3Error(.accessDenied) }
        }
    }

    /// Of a resource that has one.
    var bucket: String {
        switch resource {
        case .service: ""
        case .bucket(let name), .object(let name, _): name
        }
    }

    /// Throws where the resource is no object; no operation on objects gets that far.
    func key() throws(S3Error) -> ObjectKey {
        switch resource {
        case .service, .bucket: throw S3Error(.invalidRequest)
        case .object(_, let key): return key
        }
    }
}

private func isLoopback(_ address: SocketAddress) -> Bool {
    switch address {
    case .v4: address.ipAddress?.hasPrefix("127.") ?? false
    case .v6: address.ipAddress == "::1" || address.ipAddress?.hasPrefix("::ffff:127.") ?? false
    case .unixDomainSocket: true
    }
}
