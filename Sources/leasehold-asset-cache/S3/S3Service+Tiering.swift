import AssetCore
import Foundation
import NIOCore
import ServiceKit

/// The S3 API in front of a store behind: what every operation does before, around and after its own.
extension S3Service {
    // MARK: Before

    /// The bucket of a request is known here, if the store behind has it.
    func know(_ request: Request, _ tier: TierService) async throws {
        switch (request.resource, request.operation) {
        case (.service, _), (_, .createBucket): return
        case (.bucket(let name), _), (.object(let name, _), _): try await tier.know(name)
        }
    }

    /// What a condition, a copy or a tag is about is here, if the store behind has it.
    func bring(_ bucket: String, _ key: ObjectKey) async throws {
        guard let tier else { return }
        try await tier.know(bucket)
        switch try await tier.read(BackedName(bucket: bucket, key: key.bytes), .whole) {
        case .look, .head: return
        case .relay: throw S3Error(.insufficientStorage, "The object finds no room here, which this operation needs.")
        }
    }

    /// Bytes of metadata that stay for ours.
    private static let mostMetadata = 2_048 - BackedNote.mostBytes

    /// Whether the store behind can have it. Refused now, not when its turn in the queue comes.
    func checkFits(_ bucket: String, _ key: ObjectKey, _ info: ObjectInfo, size: Int64 = 0) throws(S3Error) {
        guard let tier, tier.mode != .readThrough else { return }
        guard tier.client.place.fits(BackedName(bucket: bucket, key: key.bytes)) else { throw S3Error(.keyTooLong) }
        guard info.metadata.reduce(0, { $0 + $1.name.utf8.count + $1.value.utf8.count }) <= Self.mostMetadata else {
            throw S3Error(.metadataTooLarge)
        }
        guard size <= Upload.mostBytes else {
            throw S3Error(.entityTooLarge, "An object of more than 5 GiB cannot be sent to the store behind.")
        }
    }

    // MARK: Writing

    /// A write in its turn. `behind` is there when the store behind must have it first.
    func writing<T>(_ name: BackedName, _ body: (_ behind: TierService?) async throws -> T) async throws -> T {
        guard let tier else { return try await body(nil) }
        return try await tier.turn(name) { try await body(tier.mode == .writeThrough ? tier : nil) }
    }

    func writing<T>(_ bucket: String, _ key: ObjectKey, _ body: (_ behind: TierService?) async throws -> T) async throws -> T {
        try await writing(BackedName(bucket: bucket, key: key.bytes), body)
    }

    func source(_ blob: StagedBlob) async throws -> BodySource { BodySource(blob, store, pool) }

    func source(_ segments: [Segment]) async throws -> BodySource {
        try await blocking { [store, pool] in try BodySource(segments, store, pool) }
    }

    func set(_ tags: Tags, of key: ObjectKey, in name: String) async throws {
        try await bring(name, key)
        let store = self.store
        try await writing(name, key) { behind in
            var backed: Backed?
            if let behind {
                // A tag is part of what is there: the whole goes once more.
                let object = try await blocking { try store.object(key, in: name).object }
                var info = object.info
                info.set(tags)
                backed = try await behind.put(
                    name, key, info, etag: object.etag, modified: object.modified, Conditions(Fields(), now: wallClock()),
                    try await source(object.segments))
            }
            let sent = backed
            try await blocking { try store.setTags(tags, of: key, in: name, backed: sent) }
        }
    }

    /// Requests to the store behind at the same time, of one that removes many.
    private static let deletedAtOnce = 16

    /// Those that could not be removed.
    func delete(_ keys: [ObjectKey], in name: String, _ tier: TierService) async throws -> [(ObjectKey, S3Error)] {
        let store = self.store
        @Sendable func remove(_ key: ObjectKey) async throws -> (ObjectKey, S3Error?) {
            do {
                try await writing(name, key) { behind in
                    try await behind?.delete(BackedName(bucket: name, key: key.bytes))
                    _ = try await blocking { try store.delete(key, in: name, conditions: Conditions(Fields(), now: wallClock())) }
                }
                return (key, nil)
            } catch let error as S3Error {
                return (key, error)
            }
        }
        return try await withThrowingTaskGroup(of: (ObjectKey, S3Error?).self) { group in
            var failed: [(ObjectKey, S3Error)] = []
            for (i, key) in keys.enumerated() {
                if i >= Self.deletedAtOnce, let (key, error) = try await group.next(), let error { failed.append((key, error)) }
                group.addTask { try await remove(key) }
            }
            for try await (key, error) in group { if let error { failed.append((key, error)) } }
            return failed
        }
    }

    // MARK: Buckets

    func learnBuckets(_ tier: TierService) async throws {
        let names = try await tier.buckets()
        for name in names {
            // One that is about to be removed there is not there.
            do { try await tier.know(name) } catch let error as S3Error where error.code == .noSuchBucket { continue }
        }
    }

    /// Throws when the store behind has it already.
    func checkNew(_ name: String, _ tier: TierService) async throws {
        do { try await tier.know(name) } catch let error as S3Error where error.code == .noSuchBucket { return }
        throw S3Error(.bucketAlreadyOwnedByYou)
    }

    // MARK: What is not brought here

    /// HEAD of an object that is only behind.
    func answerHead(_ exchange: Exchange, _ request: Request, _ object: ObjectRecord) async throws {
        try Conditions(request.fields, now: request.now).checkRead(etag: object.etag, modified: object.modified)
        let answer = try ReadAnswer(object, request)
        counters.reads.add()
        try await exchange.respond(answer.status, answer.headers + [("Content-Length", String(answer.range.count))])
    }

    /// GET of an object for which there is no room here: passed on while it comes.
    func relay(_ exchange: Exchange, _ request: Request) async throws {
        guard let tier else { throw S3Error(.internalError) }
        let key = tier.client.place.key(of: BackedName(bucket: request.bucket, key: try request.key().bytes))
        let object = try await tier.asking { () -> ObjectRecord in
            guard let answer = try await tier.client.head(key) else { throw S3Error(.noSuchKey) }
            return try BackedRecord.read(answer.fields, length: answer.length ?? 0, now: wallClock())
        }
        try Conditions(request.fields, now: request.now).checkRead(etag: object.etag, modified: object.modified)
        let answer = try ReadAnswer(object, request)
        guard !answer.range.isEmpty else { return try await exchange.respond(answer.status, answer.headers + [("Content-Length", "0")]) }
        let range = answer.range.count == object.size ? nil : "bytes=\(answer.range.lowerBound)-\(answer.range.upperBound - 1)"
        let response = try await tier.asking { try await tier.client.relay(key, range: range) }
        guard response.length == Int64(answer.range.count) else {
            response.close()
            throw S3Error(.serviceUnavailable, "The object changed behind this store. Please try again.")
        }
        counters.reads.add()
        tier.counters.relayed.add()
        do {
            try await exchange.begin(answer.status, answer.headers + [("Content-Length", String(answer.range.count))])
            while let piece = try await response.next() {
                counters.bytesOut.add(piece.readableBytes)
                try await exchange.send(piece)
            }
            try await exchange.end()
        } catch {
            response.close()
            throw error
        }
    }
}

extension TierService {
    /// Puts an object there, under the conditions that its client gave.
    func put(
        _ bucket: String, _ key: ObjectKey, _ info: ObjectInfo, etag: String, modified: Timestamp? = nil, _ conditions: Conditions,
        _ source: BodySource
    ) async throws -> Backed {
        let name = BackedName(bucket: bucket, key: key.bytes)
        let modified = modified ?? wallClock()
        var replaced: String?
        if conditions.ifMatch != nil { replaced = try await blocking { [store] in try store.here(name).object?.backing } }
        let backing = try await put(
            name, BackedRecord.fields(info, etag: etag, modified: modified), source, isNew: conditions.ifNoneMatch == "*", replaces: replaced)
        return Backed(etag: backing, modified: modified, segments: source.segments)
    }
}
