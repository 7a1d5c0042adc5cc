import AssetCore
import CLinux
import Crypto
import Linux
import NIOCore
import NIOPosix

/// The bytes of a body on their way to the store behind, piece by piece from disk.
final class BodySource: @unchecked Sendable {
    // Confined: the request that sends it asks for one piece after the other.

    let size: Int64
    /// Of the whole, in hexadecimal: what the request is signed with.
    let sha256: String
    private let pool: NIOThreadPool
    let segments: [Segment]
    private let store: Store
    private let staged: StagedBlob?
    private var rest: [Segment]
    private var file = Descriptor(owning: -1)
    private var offset: Int64 = 0

    /// Bytes of a piece.
    private static let piece: Int64 = 256 << 10

    /// Of a blob that has no name yet.
    init(_ blob: StagedBlob, _ store: Store, _ pool: NIOThreadPool) {
        (staged, self.store, self.pool) = (blob, store, pool)
        size = blob.segment.size
        sha256 = Hex.encode(blob.segment.hash.bytes)
        segments = blob.segment.size > 0 ? [blob.segment] : []
        rest = segments
    }

    /// Of blobs in the store, which stay on disk until this goes away. Blocks: several are read once more for the hash of them all.
    init(_ segments: [Segment], _ store: Store, _ pool: NIOThreadPool) throws {
        (staged, self.store, self.pool) = (nil, store, pool)
        self.segments = segments
        rest = segments
        size = segments.reduce(0) { $0 + $1.size }
        store.index.hold(segments.map(\.hash))
        do {
            sha256 = try segments.count == 1 ? Hex.encode(segments[0].hash.bytes) : Self.hash(segments, store)
        } catch {
            store.index.letGo(segments.map(\.hash))
            throw error
        }
    }

    deinit {
        file.close()
        guard staged == nil else { return }
        let (store, hashes) = (self.store, segments.map(\.hash))
        // It may wait for the index's writer.
        pool.submit { _ in store.index.letGo(hashes) }
    }

    private static func hash(_ segments: [Segment], _ store: Store) throws -> String {
        var hash = SHA256()
        for segment in segments {
            let file = try store.blobs.open(segment.hash)
            var offset: Int64 = 0
            while offset < segment.size {
                let end = min(segment.size, offset + (1 << 20))
                try Reading.read(file.raw, offset..<end).withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
                offset = end
            }
        }
        return Hex.encode(Array(hash.finalize()))
    }

    /// From the beginning once more.
    func rewind() {
        file.close()
        rest = segments
        offset = 0
    }

    /// Nil at the end.
    func next() async throws -> ByteBuffer? {
        guard !rest.isEmpty else { return nil }
        return try await pool.runIfActive { try self.read() }
    }

    private func read() throws -> ByteBuffer? {
        guard let segment = rest.first else { return nil }
        if !file.isOpen {
            if let staged { file = try staged.reader() } else { file = try store.blobs.open(segment.hash) }
            offset = 0
        }
        let end = min(segment.size, offset + Self.piece)
        let buffer = try Reading.read(file.raw, offset..<end)
        offset = end
        if offset == segment.size {
            file.close()
            rest.removeFirst()
        }
        return buffer
    }
}
