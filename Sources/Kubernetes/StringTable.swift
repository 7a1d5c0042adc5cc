/// Gives equal text the same storage: thousands of endpoints name a few nodes and zones.
///
/// Text that fits into a `String` itself (15 bytes) is never kept here. Bounded: a full table starts anew.
struct StringTable: Sendable {
    /// By hash; text whose hash is taken by another is simply not shared.
    private var known: [UInt64: String] = [:]

    /// A cluster has at most some thousand nodes, pools a few services.
    static let most = 32_768
    private static let inlineBytes = 15

    mutating func string(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
        if bytes.count <= Self.inlineBytes { return String(decoding: bytes, as: UTF8.self) }
        // 64-bit FNV-1a; being right does not depend on it.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        if let text = known[hash] {
            return text.utf8.elementsEqual(bytes) ? text : String(decoding: bytes, as: UTF8.self)
        }
        let text = String(decoding: bytes, as: UTF8.self)
        if known.count >= Self.most { known.removeAll(keepingCapacity: true) }
        known[hash] = text
        return text
    }
}
