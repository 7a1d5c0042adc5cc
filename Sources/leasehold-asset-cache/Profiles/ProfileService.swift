import AssetCore
import Foundation
import Linux
import Logging
import NIOCore
import NIOPosix
import ServiceKit
import Synchronization
import Systemd

/// `/profiles/TENANT/NAME`: browser profiles that outlive their workers. Every request needs a key; with the leases edge a write also names
/// a lease that is live for the tenant.
final class ProfileService: Sendable {
    private let store: Store
    private let pool: NIOThreadPool
    private let authority: @Sendable () -> Authority
    private let configuration: ProfilesConfiguration
    private let leases: LeaseDesk?
    /// Nil: there is nothing behind.
    private let tier: TierService?
    private let logger: Logger
    let counters = Counters()

    final class Counters: Sendable {
        let reads = Count()
        let writes = Count()
        let refused = Count()
    }

    struct Refusal: Error {
        var status: Int
        var reason: String
        var sentence: String
    }

    init(
        store: Store, pool: NIOThreadPool, authority: @escaping @Sendable () -> Authority, configuration: ProfilesConfiguration,
        leases: LeaseDesk?, tier: TierService?,
        logger: Logger
    ) {
        self.store = store
        self.pool = pool
        self.authority = authority
        self.configuration = configuration
        self.leases = leases
        self.tier = tier
        self.logger = logger
    }

    private func blocking<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T { try await pool.runIfActive(work) }

    func handle(_ exchange: Exchange) async throws {
        do {
            try await perform(exchange)
        } catch {
            guard exchange.status == 0, !exchange.isCut else { throw error }
            let refusal = refusal(error)
            counters.refused.add()
            var headers = [
                ("Content-Type", "application/problem+json"), ("Leasehold-Reason", refusal.reason), ("X-Content-Type-Options", "nosniff"),
                ("Cache-Control", "no-store"),
            ]
            if refusal.status == 401 { headers.append(("WWW-Authenticate", "Basic realm=\"leasehold\"")) }
            let body = "{\"title\":\"\(refusal.sentence)\",\"status\":\(refusal.status),\"reason\":\"\(refusal.reason)\"}"
            try await exchange.respond(refusal.status, headers, refusal.status == 304 ? ByteBuffer() : ByteBuffer(string: body))
        }
    }

    private func refusal(_ error: any Error) -> Refusal {
        switch error {
        case let error as Refusal: return error
        case let error as S3Error:
            return Refusal(status: error.code.status, reason: error.code.rawValue, sentence: "\(error.code.rawValue)")
        case let error as SystemError where [ENOSPC, EDQUOT, EFBIG].contains(error.errno):
            return Refusal(status: 507, reason: "disk-full", sentence: "The disk is full.")
        default:
            logger.error("A request failed, continuing", metadata: [LogKey.messageID: "\(MessageID.requestFailed)", "problem": "\(error)"])
            return Refusal(status: 500, reason: "internal", sentence: "The request failed; the journal says why.")
        }
    }

    /// What a request is for, once it is known who asks and that it may.
    private struct Asked: Sendable {
        var tenant: String
        var name: String?
        var caller: Authority.Caller
        var target: RequestTarget
    }

    private func perform(_ exchange: Exchange) async throws {
        let authority = authority()
        if let refusal = SiteRule.judge(exchange.fields, names: authority.names, localAddress: exchange.channel.localAddress?.ipAddress) {
            throw Refusal(status: refusal.status, reason: "not-here", sentence: refusal.sentence)
        }
        guard let target = RequestTarget(exchange.head.uri), let path = PercentCoding.decode(target.rawPath.utf8),
            let text = String(validating: path, as: UTF8.self)
        else { throw Refusal(status: 400, reason: "bad-request", sentence: "The path is not one.") }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).dropFirst(2).map(String.init)
        guard (1...2).contains(parts.count), parts.allSatisfy(ProfileRule.isName) else {
            throw Refusal(status: 404, reason: "no-such-profile", sentence: "A profile is /profiles/TENANT/NAME.")
        }
        let method = exchange.head.method.rawValue
        let caller: Authority.Caller
        do throws(S3Error) {
            caller = try authority.identifyWithBasic(method: method, target: target, fields: exchange.fields, now: wallClock())
        } catch {
            throw Refusal(
                status: exchange.fields.contains("authorization") ? 403 : 401, reason: "no-credential",
                sentence: "A key of the configuration is needed.")
        }
        let asked = Asked(tenant: parts[0], name: parts.count == 2 ? parts[1] : nil, caller: caller, target: target)
        let writes = method == "PUT" || method == "DELETE"
        guard caller.may(writes ? .write : .read, ofTenant: asked.tenant) else {
            throw Refusal(status: 403, reason: "no-right", sentence: "The key has no right to do that for this tenant.")
        }
        switch (method, asked.name) {
        case ("PUT", let name?): try await put(exchange, asked, name)
        case ("DELETE", let name?): try await delete(exchange, asked, name)
        case ("GET", nil): try await list(exchange, asked)
        case ("GET", let name?) where target.has("history"): try await history(exchange, asked, name)
        case ("GET", let name?), ("HEAD", let name?): try await get(exchange, asked, name, isHead: method == "HEAD")
        default: throw Refusal(status: 405, reason: "bad-request", sentence: "GET, HEAD, PUT and DELETE only.")
        }
    }

    // MARK: Reading

    private func list(_ exchange: Exchange, _ asked: Asked) async throws {
        let tenant = asked.tenant
        let all = try await blocking { [store] in try store.profiles(tenant, nil) }
        var last: [String: ProfileVersion] = [:]
        for version in all { last[version.name] = version }
        try await answer(exchange, last.values.sorted { $0.name < $1.name })
    }

    private func history(_ exchange: Exchange, _ asked: Asked, _ name: String) async throws {
        let tenant = asked.tenant
        if let tier { return try await answer(exchange, try await tier.history(tenant, name)) }
        try await answer(exchange, try await blocking { [store] in try store.profiles(tenant, name) })
    }

    private func answer(_ exchange: Exchange, _ versions: [ProfileVersion]) async throws {
        let json = try JSONEncoder().encode(versions)
        try await exchange.respond(200, [("Content-Type", "application/json"), ("Cache-Control", "no-store")], ByteBuffer(bytes: json))
    }

    private func get(_ exchange: Exchange, _ asked: Asked, _ name: String, isHead: Bool) async throws {
        let (tenant, wanted) = (asked.tenant, asked.target["version"].map { Int64($0) })
        try await tier?.bringProfile(tenant, name, version: wanted ?? nil)
        let found = try await blocking { [store] in
            let all = try store.profiles(tenant, name)
            let version = wanted.map { number in all.first { $0.version == number } } ?? all.last
            return try version.flatMap { version in try store.object(of: version).map { (version, $0) } }
        }
        guard let (version, object) = found else {
            throw Refusal(status: 404, reason: "no-such-profile", sentence: "There is no such profile, or no such version.")
        }
        try Conditions(exchange.fields, now: wallClock()).checkRead(etag: version.etag, modified: object.modified)
        let headers = [
            ("ETag", "\"\(version.etag)\""), ("Last-Modified", object.modified.httpDate), ("Content-Type", version.contentType),
            ("Leasehold-Profile-Version", String(version.version)), ("Cache-Control", "no-store"), ("Content-Length", String(version.size)),
            ("X-Content-Type-Options", "nosniff"), ("Content-Disposition", "attachment"),
        ]
        counters.reads.add()
        if isHead || version.size == 0 { return try await exchange.respond(200, headers) }
        let slices = object.segments.map { Reading.Slice(segment: $0, range: 0..<$0.size) }
        let reading = try await blocking { [store] in try Reading(slices, store) { true } }
        if let small = reading.small { return try await exchange.respond(200, headers, small) }
        defer { pool.submit { _ in reading.close() } }
        try await exchange.begin(200, headers)
        while let piece = try await blocking({ try reading.next() }) {
            let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: piece.descriptor)
            defer { try? handle.close() }
            try await exchange.send(FileRegion(fileHandle: handle, readerIndex: Int(piece.start), endIndex: Int(piece.end)))
        }
        try await exchange.end()
    }

    // MARK: Writing

    /// The lease that a write is in the name of; nil where none is needed.
    private func lease(_ exchange: Exchange, _ asked: Asked, _ name: String) async throws -> LeaseName? {
        let given = exchange.fields["leasehold-lease"]
        guard let leases else { return given.flatMap { LeaseName($0) } }
        guard let given, let lease = LeaseName(given) else {
            throw Refusal(status: 403, reason: "no-lease", sentence: "A write names its lease in Leasehold-Lease.")
        }
        let tenant = asked.tenant
        let last = try await blocking { [store] in try store.profiles(tenant, name).last?.lease }.flatMap { LeaseName($0) }
        try Self.check(await leases.judge(lease, tenant: tenant, last: last, on: exchange.channel.eventLoop))
        return lease
    }

    private static func check(_ answer: ProfileRule.Answer) throws {
        switch answer {
        case .accepted: break
        case .notLive: throw Refusal(status: 403, reason: "lease-not-live", sentence: "No such lease is live for this tenant.")
        case .older: throw Refusal(status: 409, reason: "lease-older", sentence: "A newer lease has written this profile.")
        case .unknown:
            throw Refusal(status: 503, reason: "leases-unknown", sentence: "The pool-keeper is away: nobody knows which leases are live.")
        }
    }

    /// What must hold when the write is committed, not only when it came.
    private func finalCheck(_ exchange: Exchange, _ asked: Asked, _ lease: LeaseName?) -> @Sendable (ProfileVersion?) throws -> Void {
        let conditions = Conditions(exchange.fields, now: wallClock())
        let (tenant, leases) = (asked.tenant, leases)
        return { last in
            try conditions.checkWrite(existing: last?.etag)
            let former = last?.lease.flatMap { LeaseName($0) }
            if let lease, let leases {
                try Self.check(ProfileRule.judge(lease, tenant: tenant, last: former, book: leases.book))
            } else if let lease, let former, former.pool == lease.pool, lease.id < former.id {
                // Standing alone, who names a lease is held to its order.
                try Self.check(.older)
            }
        }
    }

    private func put(_ exchange: Exchange, _ asked: Asked, _ name: String) async throws {
        guard let length = exchange.contentLength ?? (exchange.fields.contains("transfer-encoding") ? 0 : nil) else {
            throw Refusal(status: 411, reason: "bad-request", sentence: "The length of the profile is missing.")
        }
        let most = Int64(configuration.largest)
        guard length <= most else {
            throw Refusal(status: 413, reason: "too-large", sentence: "The profile is larger than profiles.largest.")
        }
        if case .hashed? = asked.caller.signature?.payload {
        } else if asked.caller.signature?.payload.isChunked ?? false {
            throw Refusal(status: 501, reason: "bad-request", sentence: "Signed chunks are for S3; sign the whole body or none of it.")
        }
        let behind = try await tier?.bringProfile(asked.tenant, name)
        let lease = try await lease(exchange, asked, name)
        let writer = try await blocking { [store] in
            try store.checkRoom(for: length, in: nil)
            return ProfileWriter(try store.startBlob(checksum: nil))
        }
        var total: Int64 = 0
        while let piece = try await exchange.nextPiece() {
            total += Int64(piece.readableBytes)
            guard total <= most else {
                throw Refusal(status: 413, reason: "too-large", sentence: "The profile is larger than profiles.largest.")
            }
            try await blocking { try piece.withUnsafeReadableBytes { try writer.blob.append($0) } }
        }
        let new = ProfileVersion(
            tenant: asked.tenant, name: name, version: 0, etag: "", size: 0, written: wallClock().milliseconds, lease: lease?.text,
            key: asked.caller.name, contentType: exchange.fields["content-type"].flatMap { $0.utf8.count <= 128 ? $0 : nil } ?? "application/x-tar")
        let (check, keeping) = (finalCheck(exchange, asked, lease), configuration.versions)
        let signature = asked.caller.signature
        let blob = try await blocking {
            let blob = try writer.blob.finish()
            if case .hashed(let hash)? = signature?.payload, hash != blob.segment.hash.bytes { throw S3Error(.contentSHA256Mismatch) }
            return blob
        }
        let stored = try await writing(asked.tenant, name) { tier in
            var backed: (version: Int64, etag: String)?
            if let tier {
                let planned = try await blocking { [store] in try store.plannedProfile(new, blob, behind: behind ?? [], check) }
                do { backed = (planned.version, try await tier.put(planned, blob)) } catch let error as S3Error
                where error.code == .preconditionFailed {
                    throw Refusal(status: 409, reason: "conflict", sentence: "Another node wrote this profile at the same time.")
                }
            }
            let sent = backed
            return try await blocking { [store] in
                try store.putProfile(new, blob, keeping: keeping, backed: sent, behind: behind ?? [], check)
            }
        }
        counters.writes.add()
        try await exchange.respond(
            stored.version == 1 ? 201 : 200,
            [("ETag", "\"\(stored.etag)\""), ("Leasehold-Profile-Version", String(stored.version)), ("Cache-Control", "no-store")])
    }

    /// A body on its way. Confined to its request.
    private final class ProfileWriter: @unchecked Sendable {
        // One job at a time works on it, and the request waits for each.
        let blob: BlobWriter
        init(_ blob: BlobWriter) { self.blob = blob }
    }

    /// A write in its turn; `tier` is there when the store behind must have it first.
    private func writing<T>(_ tenant: String, _ name: String, _ body: (_ tier: TierService?) async throws -> T) async throws -> T {
        guard let tier else { return try await body(nil) }
        return try await tier.turn(tenant, name) { try await body(tier.mode == .writeThrough ? tier : nil) }
    }

    private func delete(_ exchange: Exchange, _ asked: Asked, _ name: String) async throws {
        let behind = try await tier?.bringProfile(asked.tenant, name)
        let lease = try await lease(exchange, asked, name)
        let (check, tenant) = (finalCheck(exchange, asked, lease), asked.tenant)
        let count = try await writing(tenant, name) { tier in
            for version in behind ?? [] { try await tier?.delete(TierService.name(tenant, name, version)) }
            return try await blocking { [store] in try store.removeProfile(tenant, name, behind: behind ?? [], check) }
        }
        guard count > 0 else { throw Refusal(status: 404, reason: "no-such-profile", sentence: "There is no such profile.") }
        counters.writes.add()
        try await exchange.respond(204)
    }
}
