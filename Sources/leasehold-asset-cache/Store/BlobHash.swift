import AssetCore

/// The SHA-256 of a blob: its name on disk and in the index.
struct BlobHash: Hashable, Sendable {
    /// 32.
    var bytes: [UInt8]

    /// `ab/cdef…`, below the directory of blobs.
    var relativePath: String {
        let hex = Hex.encode(bytes)
        return "\(hex.prefix(2))/\(hex.dropFirst(2))"
    }

    /// Which of the 256 directories it is in.
    var directory: UInt8 { bytes.first ?? 0 }
}

/// A piece of an object's body: a whole blob.
struct Segment: Hashable, Sendable {
    var hash: BlobHash
    var size: Int64

    /// What the blob takes on a file system of 4 KiB blocks.
    var onDisk: Int64 { (size + 4095) & ~4095 }

    private static let encodedSize = 40

    /// 40 bytes each, for the index.
    static func encode(_ segments: [Segment]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(segments.count * encodedSize)
        for segment in segments {
            out += segment.hash.bytes
            withUnsafeBytes(of: UInt64(segment.size).bigEndian) { out += $0 }
        }
        return out
    }

    static func decode(_ bytes: some RandomAccessCollection<UInt8>) -> [Segment] {
        let bytes = Array(bytes)
        return stride(from: 0, to: bytes.count - encodedSize + 1, by: encodedSize).map { start in
            let size = bytes[(start + 32)..<(start + 40)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return Segment(hash: BlobHash(bytes: Array(bytes[start..<(start + 32)])), size: Int64(clamping: size))
        }
    }
}
