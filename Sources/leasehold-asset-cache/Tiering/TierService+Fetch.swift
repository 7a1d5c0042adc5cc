import AssetCore
import Foundation
import Linux
import NIOCore
import ServiceKit

/// What comes from the store behind: looked at, brought here, kept or forgotten.
extension TierService {
    /// A question of the machine's, asked and answered.
    func fetch(_ name: BackedName, _ need: Tier.Need, _ hasCopy: Bool) async {
        var (found, record) = (Tier.Found.away, ObjectRecord?.none)
        do {
            switch need {
            case .whole: found = try await fetchWhole(name, hasCopy)
            case .head: (found, record) = try await fetchHead(name, hasCopy)
            }
        } catch {
            found = judge(error, "A question to the store behind failed")
        }
        step(.found(name, need, found), record: record)
    }

    private func fetchHead(_ name: BackedName, _ hasCopy: Bool) async throws -> (Tier.Found, ObjectRecord?) {
        counters.heads.add()
        let key = client.place.key(of: name)
        guard let answer = try await client.head(key) else { return (try await forget(name, .head, hasCopy), nil) }
        var record = try BackedRecord.read(answer.fields, length: answer.length ?? 0, now: wallClock())
        let backing = try await blocking { [store] in hasCopy ? try store.here(name).object?.backing : nil }
        if let backing, backing == record.backing {
            counters.held.add()
            return (.holds, nil)
        }
        if BackedRecord.tagCount(answer.fields) > 0 { record.info.set(try await client.tags(key)) }
        if hasCopy { _ = try await forget(name, .head, true) }
        return (.head, record)
    }

    /// A copy of what is not there any more goes.
    private func forget(_ name: BackedName, _ need: Tier.Need, _ hasCopy: Bool) async throws -> Tier.Found {
        guard hasCopy else { return .nothing }
        let isDropped = try await blocking { [self] in try store.dropCopy(name) { self.mayKeep(name, need) } }
        return isDropped ? .nothing : .overtaken
    }

    /// Bytes that are handed to a blocking thread at once.
    private static let written = 512 << 10

    private func fetchWhole(_ name: BackedName, _ hasCopy: Bool) async throws -> Tier.Found {
        let key = client.place.key(of: name)
        let backing = try await blocking { [store] in hasCopy ? try store.here(name).object?.backing : nil }
        counters.fetches.add()
        let answer: OriginResponse
        switch try await client.get(key, unless: backing) {
        case .unchanged:
            counters.held.add()
            return .holds
        case .nothing: return try await forget(name, .whole, hasCopy)
        case .object(let response): answer = response
        }
        defer { answer.close() }
        guard let length = answer.length else { throw BackingClient.Failure.refused("the store behind does not say how long an object is") }
        let writer: Writer
        do {
            writer = try await blocking { [store] in
                try store.checkRoom(for: length, in: name.bucket)
                return Writer(try store.startBlob(checksum: nil))
            }
        } catch is S3Error {
            return .noRoom
        }
        try await receive(answer, writer)
        let blob = try await blocking { try writer.blob.finish() }
        guard blob.segment.size == length else { throw OriginFailure.cut }
        let record = try await self.record(name, key, answer, blob)
        let isKept = try await blocking { [self] in try store.keepCopy(record, in: name, blob) { self.mayKeep(name, .whole) } }
        return isKept ? .kept : .overtaken
    }

    /// A body on its way. Confined to the task that fetches it.
    private final class Writer: @unchecked Sendable {
        // One job at a time works on it, and the task waits for each.
        let blob: BlobWriter
        init(_ blob: BlobWriter) { self.blob = blob }
    }

    private func receive(_ answer: OriginResponse, _ writer: Writer) async throws {
        var (pieces, bytes) = ([ByteBuffer](), 0)
        while true {
            let piece = try await answer.next()
            if let piece {
                pieces.append(piece)
                bytes += piece.readableBytes
                guard bytes >= Self.written else { continue }
            }
            let full = pieces
            counters.fetchedBytes.add(bytes)
            try await blocking { for piece in full { try piece.withUnsafeReadableBytes { try writer.blob.append($0) } } }
            if piece == nil { return }
            (pieces, bytes) = ([], 0)
        }
    }

    private func record(_ name: BackedName, _ key: [UInt8], _ answer: OriginResponse, _ blob: StagedBlob) async throws -> NewObject {
        let segments = blob.segment.size > 0 ? [blob.segment] : []
        var found = try BackedRecord.read(answer.fields, length: blob.segment.size, now: wallClock())
        var record: NewObject
        if name.bucket == Store.profileBucket.name {
            guard let version = BackedRecord.profile(answer.fields), version.etag == Hex.encode(blob.segment.hash.bytes) else {
                throw BackingClient.Failure.refused("what the store behind has under the name of a profile is none")
            }
            record = NewObject(
                key: ObjectKey(unchecked: name.key), size: version.size, etag: version.etag,
                modified: Timestamp(milliseconds: version.written), info: try JSONEncoder().encode(version), segments: segments)
        } else {
            // Ours says what its bytes are; others' tags may be of anything.
            if answer.fields.contains(BackedNote.field), found.etag.utf8.count == 32, found.etag != Hex.encode(blob.md5) {
                throw BackingClient.Failure.refused("an object came from the store behind with other bytes than it went with")
            }
            if BackedRecord.tagCount(answer.fields) > 0 { found.info.set(try await client.tags(key)) }
            record = NewObject(
                key: ObjectKey(unchecked: name.key), size: found.size, etag: found.etag, modified: found.modified, info: found.info,
                segments: segments)
        }
        record.backing = found.backing
        return record
    }
}
