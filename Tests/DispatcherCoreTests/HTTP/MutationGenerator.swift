/// SplitMix64 (Steele, Lea, Flood 2014), with ways to spoil bytes.
struct MutationGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    /// 0 ..< bound; `bound` must be positive.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    /// One byte or run changed, inserted, removed, doubled or swapped.
    mutating func mutate(_ bytes: inout [UInt8], from alphabet: [UInt8]) {
        let position = below(bytes.count + 1)
        switch below(7) {
        case 0, 1: if position < bytes.count { bytes[position] = alphabet[below(alphabet.count)] }
        case 2: bytes.insert(alphabet[below(alphabet.count)], at: position)
        case 3: bytes.removeSubrange(position..<min(bytes.count, position + 1 + below(4)))
        case 4:
            let end = min(bytes.count, position + 1 + below(30))
            bytes.insert(contentsOf: Array(bytes[position..<end]), at: below(bytes.count + 1))
        case 5: if position < bytes.count { bytes[position] ^= UInt8(truncatingIfNeeded: 1 << below(8)) }
        default:
            let other = below(bytes.count + 1)
            if position < bytes.count, other < bytes.count { bytes.swapAt(position, other) }
        }
    }
}
