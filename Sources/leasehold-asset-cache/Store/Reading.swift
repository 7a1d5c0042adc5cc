import AssetCore
import CLinux
import Foundation
import Linux
import NIOCore

/// The bytes of a range of an object, piece by piece, each from its own blob. Blocks; never on an event loop.
final class Reading: @unchecked Sendable {
    // Confined: one job at a time works on it, and its request waits for each.

    struct Piece: Sendable {
        /// Belongs to whoever takes the piece.
        var descriptor: Int32
        /// Offsets in the file.
        var start: Int64
        var end: Int64
    }

    /// All of it, when it is little.
    private(set) var small: ByteBuffer?
    private let store: Store
    private var rest: [Slice]
    private var first: Descriptor
    private var held: [BlobHash] = []

    /// Below this, copying costs less than the system calls around sendfile(2).
    private static let mostCopied = 64 << 10

    /// A range of an object. Throws ENOENT when the version is gone already.
    convenience init(_ object: ObjectRecord, _ range: Range<Int64>, _ store: Store, key: ObjectKey, bucket: String) throws {
        var slices: [Slice] = []
        var start: Int64 = 0
        for segment in object.segments {
            let part = range.clamped(to: start..<(start + segment.size))
            if !part.isEmpty { slices.append(Slice(segment: segment, range: (part.lowerBound - start)..<(part.upperBound - start))) }
            start += segment.size
        }
        try self.init(slices, store) { try store.object(key, in: bucket).object.id == object.id }
    }

    /// Part of a blob.
    struct Slice: Sendable {
        var segment: Segment
        var range: Range<Int64>
    }

    /// - Parameter isStillThere: asked where there are several blobs, once none of them can go any more.
    init(_ slices: [Slice], _ store: Store, _ isStillThere: () throws -> Bool) throws {
        self.store = store
        rest = slices
        first = Descriptor(owning: -1)
        if rest.count > 1 {
            // Others may replace the object while this one is sent: its blobs wait. The version must still be there now.
            held = rest.map(\.segment.hash)
            store.index.hold(held)
            guard try isStillThere() else {
                close()
                throw SystemError(ENOENT, "open", "a version that was replaced")
            }
        }
        guard let piece = rest.first else { return }
        do throws(SystemError) {
            first = try store.blobs.open(piece.segment.hash)
            if rest.count == 1, piece.range.count <= Self.mostCopied { small = try Self.read(first.raw, piece.range) }
        } catch {
            close()
            throw error
        }
    }

    deinit { close() }

    static func read(_ file: Int32, _ range: Range<Int64>) throws(SystemError) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: range.count)
        var failure: SystemError?
        while buffer.readableBytes < range.count, failure == nil {
            let done = buffer.readableBytes
            let left = range.count - done
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: left) { room in
                let count = pread(file, room.baseAddress, left, Int(range.lowerBound) + done)
                if count <= 0 { failure = SystemError(count == 0 ? EIO : errno, "read", "a blob that is shorter than it was") }
                return max(0, count)
            }
        }
        if let failure { throw failure }
        return buffer
    }

    /// Nil: that was all.
    func next() throws(SystemError) -> Piece? {
        guard let piece = rest.first else { return nil }
        rest.removeFirst()
        let descriptor: Int32
        if first.isOpen {
            descriptor = first.release()
        } else {
            var opened = try store.blobs.open(piece.segment.hash)
            descriptor = opened.release()
        }
        return Piece(descriptor: descriptor, start: piece.range.lowerBound, end: piece.range.upperBound)
    }

    func close() {
        first.close()
        let held = self.held
        self.held = []
        if !held.isEmpty { store.index.letGo(held) }
    }
}
