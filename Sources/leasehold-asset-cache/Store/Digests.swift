import AssetCore
import Crypto

/// The running checksum that a client asked for.
enum RunningChecksum {
    case crc(ChecksumAlgorithm, CRCState)
    case sha1(Insecure.SHA1)
    case sha256(SHA256)

    init(_ algorithm: ChecksumAlgorithm) {
        if let crc = algorithm.crc {
            self = .crc(algorithm, CRCState(crc))
        } else if algorithm == .sha1 {
            self = .sha1(Insecure.SHA1())
        } else {
            self = .sha256(SHA256())
        }
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        switch self {
        case .crc(let algorithm, var state):
            state.update(bytes)
            self = .crc(algorithm, state)
        case .sha1(var hash):
            hash.update(bufferPointer: bytes)
            self = .sha1(hash)
        case .sha256(var hash):
            hash.update(bufferPointer: bytes)
            self = .sha256(hash)
        }
    }

    var value: Checksum {
        switch self {
        case .crc(let algorithm, let state): Checksum(algorithm, state.bytes)
        case .sha1(let hash): Checksum(.sha1, Array(hash.finalize()))
        case .sha256(let hash): Checksum(.sha256, Array(hash.finalize()))
        }
    }
}

/// A blob's name in the making.
struct HashOfBytes {
    private var hash = SHA256()
    mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bufferPointer: bytes) }
    var value: BlobHash { BlobHash(bytes: Array(hash.finalize())) }
}
