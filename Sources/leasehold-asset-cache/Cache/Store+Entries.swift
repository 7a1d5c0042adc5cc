import AssetCore
import Crypto
import Foundation
import GRDB

/// Responses of origins in the store: objects of a bucket that no S3 request can name. Their key is `URL \n VARIANT`.
extension Store {
    /// Variants of one URL; the one that was written first goes when there is another.
    private static let mostVariants = 16

    private static func range(of url: String) -> (from: Data, to: Data) { (Data("\(url)\n".utf8), Data("\(url)\u{0b}".utf8)) }

    /// All variants of a URL. `url` carries the way it is asked in.
    func entries(_ url: String) throws -> [CachedEntry] { try index.read { try entries(url, $0) } }

    private func entries(_ url: String, _ db: Database) throws -> [CachedEntry] {
        let range = Self.range(of: url)
        return try Row.fetchAll(
            db.cachedStatement(sql: "SELECT id, info, segments FROM object WHERE bucket = ? AND key >= ? AND key < ? ORDER BY id"),
            arguments: [Self.cacheBucket.id, range.from, range.to]
        ).compactMap { row in
            guard let record = EntryRecord(encoded: row[1]) else { return nil }
            return CachedEntry(
                id: row[0], variant: record.variant, stored: record.stored, segments: Segment.decode(row[2] as Data), body: nil)
        }
    }

    static func variant(of stored: StoredResponse) -> String {
        guard !stored.vary.isEmpty else { return "" }
        let text = stored.vary.joined(separator: ",") + "\n" + stored.selection.joined(separator: "\n")
        return Hex.encode(Array(SHA256.hash(data: Data(text.utf8))).prefix(16))
    }

    /// Stores a response with its body; of a part, together with the parts of the same body that are here already.
    func keep(_ url: String, _ stored: StoredResponse, _ blob: StagedBlob, part: Range<Int64>?, negative: Int64) throws -> CachedEntry {
        try checkRoom(for: blob.segment.size, in: nil)
        let variant = Self.variant(of: stored)
        let entry = try index.write { [self] db, batch in
            var stored = stored
            var segments = blob.segment.size > 0 ? [blob.segment] : []
            let present = try entries(url, db)
            if let part, let old = present.first(where: { $0.variant == variant }), old.stored.isStronglyTagged,
                old.stored.etag == stored.etag,
                var pieces = old.stored.pieces, pieces.total == stored.pieces?.total, pieces.add(part, blob: old.segments.count)
            {
                for segment in old.segments { try refer(to: segment, db, &batch) }
                segments = old.segments + segments
                stored.pieces = pieces
            }
            try publish(blob, db, &batch)
            for old in present.dropLast(Self.mostVariants - 1) where old.variant != variant {
                try remove(ObjectKey(unchecked: Array("\(url)\n\(old.variant)".utf8)), in: Self.cacheBucket, db, &batch)
            }
            return try insert(url, stored, variant, segments, negative, db, &batch)
        }
        try keepBound()
        return entry
    }

    private func insert(
        _ url: String, _ stored: StoredResponse, _ variant: String, _ segments: [Segment], _ negative: Int64, _ db: Database,
        _ batch: inout Index.Batch
    ) throws -> CachedEntry {
        let record = NewObject(
            key: ObjectKey(unchecked: Array("\(url)\n\(variant)".utf8)), size: segments.reduce(0) { $0 + $1.size }, etag: "",
            modified: stored.responseTime, info: EntryRecord(stored, variant: variant, negative: negative).encoded, segments: segments)
        let id = try insert(record, in: Self.cacheBucket, db, &batch)
        return CachedEntry(id: id, variant: variant, stored: stored, segments: segments, body: nil)
    }

    /// What a 304 said. Nothing when the entry is gone meanwhile.
    func freshen(_ entry: CachedEntry, _ stored: StoredResponse, negative: Int64) throws {
        let info = EntryRecord(stored, variant: entry.variant, negative: negative).encoded
        try index.write { db, _ in
            try db.cachedStatement(sql: "UPDATE object SET info = ? WHERE id = ?").execute(arguments: [info, entry.id])
        }
    }

    /// Removes all variants of a URL, or of every URL that begins so. Returns how many there were.
    func forget(_ url: String, isPrefix: Bool = false) throws -> Int {
        let range = isPrefix ? (from: Data(url.utf8), to: Data(url.utf8) + Data([0xff])) : Self.range(of: url)
        var count = 0
        while true {
            let removed = try index.write { [self] db, batch in
                let keys = try Data.fetchAll(
                    db, sql: "SELECT key FROM object WHERE bucket = ? AND key >= ? AND key < ? LIMIT 500",
                    arguments: [Self.cacheBucket.id, range.from, range.to])
                for key in keys { try remove(ObjectKey(unchecked: Array(key)), in: Self.cacheBucket, db, &batch) }
                return keys.count
            }
            count += removed
            if removed == 0 { return count }
        }
    }
}
