// The layout of a relay's record, eight words. Word 0 is written last: it commits the others.
//
//   0  bits 0–15 sequence, 16–23 follows, 24–31 traits, 32–39 treatment of chunks, 40–47 phase of the scanner, 48–63 its trailer bytes
//   1  position of the edit at the source      2  at the sink      3  low half: bytes at the source, high half: bytes at the sink
//   4  end, a position of the source           5  the scanner's remaining bytes                                   6–7  zero

extension RelayRecord {
    /// `sequence` numbers the copies: of two, the later one counts.
    public func words(sequence: UInt16) -> SIMD8<UInt64> {
        var words = SIMD8<UInt64>()
        words[0] =
            UInt64(sequence) | UInt64(follows.rawValue) << 16 | UInt64(traits.rawValue) << 24 | UInt64(chunks.rawValue) << 32
            | UInt64(scanner.phase.rawValue) << 40 | UInt64(scanner.trailerBytes) << 48
        words[1] = sourceAt
        words[2] = sinkAt
        words[3] = UInt64(sourceLength) | UInt64(sinkLength) << 32
        words[4] = end
        words[5] = scanner.remaining
        return words
    }

    public static func sequence(of word: UInt64) -> UInt16 { UInt16(truncatingIfNeeded: word) }

    /// Nil for words that no version of this program writes.
    public init?(_ words: SIMD8<UInt64>) {
        guard let follows = Follows(rawValue: UInt8(truncatingIfNeeded: words[0] >> 16)),
            let chunks = ChunkTreatment(rawValue: UInt8(truncatingIfNeeded: words[0] >> 32)),
            let phase = ChunkScanner.Phase(rawValue: UInt8(truncatingIfNeeded: words[0] >> 40))
        else { return nil }
        self.follows = follows
        self.chunks = chunks
        traits = Traits(rawValue: UInt8(truncatingIfNeeded: words[0] >> 24))
        sourceAt = words[1]
        sinkAt = words[2]
        sourceLength = UInt32(truncatingIfNeeded: words[3])
        sinkLength = UInt32(truncatingIfNeeded: words[3] >> 32)
        end = words[4]
        scanner = ChunkScanner(phase: phase, remaining: words[5], trailerBytes: UInt16(truncatingIfNeeded: words[0] >> 48))
    }
}
