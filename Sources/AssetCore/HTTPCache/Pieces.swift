/// Which bytes of a body are stored, and where: blobs, each with a part of it (RFC 9111 §3.3, §3.4). Of a whole body: one piece.
public struct Pieces: Hashable, Sendable, Codable {
    /// Bytes of the whole body.
    public private(set) var total: Int64
    /// By `start`; they do not overlap.
    public private(set) var all: [Piece]

    /// Bytes of one blob.
    public struct Piece: Hashable, Sendable, Codable {
        /// In the whole body.
        public var start: Int64
        /// Which blob: a place in the caller's list.
        public var blob: Int
        /// In the blob.
        public var offset: Int64
        public var length: Int64
        var end: Int64 { start + length }
    }

    /// More pieces than these are forgotten for the newest.
    public static let most = 16

    /// A whole body in one blob, or in none when it is empty.
    public init(whole total: Int64) {
        self.total = total
        all = total > 0 ? [Piece(start: 0, blob: 0, offset: 0, length: total)] : []
    }

    /// A part. Nil unless it lies within the whole.
    public init?(part: Range<Int64>, of total: Int64) {
        guard part.lowerBound >= 0, part.upperBound <= total, !part.isEmpty else { return nil }
        self.total = total
        all = [Piece(start: part.lowerBound, blob: 0, offset: 0, length: Int64(part.count))]
    }

    public var isComplete: Bool { slices(of: 0..<total) != nil }

    /// Adds a part of the same body from a new blob: only where bytes are missing. False: nothing was missing, or there would be too many.
    public mutating func add(_ part: Range<Int64>, blob: Int) -> Bool {
        guard part.lowerBound >= 0, part.upperBound <= total, all.count < Self.most else { return false }
        var gaps: [Range<Int64>] = []
        var at = part.lowerBound
        for piece in all where piece.end > part.lowerBound && piece.start < part.upperBound {
            if piece.start > at { gaps.append(at..<piece.start) }
            at = max(at, piece.end)
        }
        if at < part.upperBound { gaps.append(at..<part.upperBound) }
        guard !gaps.isEmpty else { return false }
        all += gaps.map { Piece(start: $0.lowerBound, blob: blob, offset: $0.lowerBound - part.lowerBound, length: Int64($0.count)) }
        all.sort { $0.start < $1.start }
        return true
    }

    /// Where the bytes of a range are, in order; nil when some are missing.
    public func slices(of range: Range<Int64>) -> [Piece]? {
        var at = range.lowerBound
        var out: [Piece] = []
        for piece in all {
            guard at < range.upperBound else { break }
            guard piece.end > at else { continue }
            guard piece.start <= at else { return nil }
            let end = min(piece.end, range.upperBound)
            out.append(Piece(start: at, blob: piece.blob, offset: piece.offset + (at - piece.start), length: end - at))
            at = end
        }
        return at >= range.upperBound ? out : nil
    }
}

/// `Content-Range: bytes FIRST-LAST/TOTAL` (RFC 9110 §14.4) of a response; nil for anything else, unknown totals included.
public func contentRange(_ field: String?) -> (range: Range<Int64>, total: Int64)? {
    guard let field, field.lowercased().hasPrefix("bytes ") else { return nil }
    let text = trimmed(field.dropFirst(6))
    guard let dash = text.firstIndex(of: "-"), let slash = text.firstIndex(of: "/"), dash < slash,
        let first = decimal(text[..<dash]), let last = decimal(text[text.index(after: dash)..<slash]),
        let total = decimal(text[text.index(after: slash)...]), first <= last, last < total
    else { return nil }
    return (first..<(last + 1), total)
}
