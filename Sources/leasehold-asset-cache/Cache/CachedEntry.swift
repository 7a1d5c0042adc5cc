import AssetCore
import Foundation
import NIOCore

/// A stored response with its bytes' places.
struct CachedEntry: Sendable {
    /// The object's number in the index.
    var id: Int64
    /// Which of the variants of its URL.
    var variant: String
    var stored: StoredResponse
    var segments: [Segment]
    /// The whole body, where it is small and complete.
    var body: ByteBuffer?

    /// Where the bytes of a range are; nil when some are missing.
    func slices(_ range: Range<Int64>) -> [Reading.Slice]? {
        stored.pieces?.slices(of: range)?.compactMap { piece in
            guard segments.indices.contains(piece.blob) else { return nil }
            return Reading.Slice(segment: segments[piece.blob], range: piece.offset..<(piece.offset + piece.length))
        }
    }

    /// Bytes of memory, about.
    var cost: Int {
        512 + (body?.readableBytes ?? 0) + stored.fields.all.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 64 }
    }
}

/// How the index keeps a stored response: JSON, because rows are read rarely and must be readable by the next version.
struct EntryRecord: Codable {
    var variant: String
    var status: Int
    var fields: [[String]]
    /// Milliseconds since 1970.
    var requestTime: Int64
    var responseTime: Int64
    var vary: [String]
    var selection: [String]
    var pieces: Pieces?
    var initialAge: Int64
    var negative: Int64

    init(_ stored: StoredResponse, variant: String, negative: Int64) {
        self.variant = variant
        status = stored.status
        fields = stored.fields.all.map { [$0.name, $0.value] }
        requestTime = stored.requestTime.milliseconds
        responseTime = stored.responseTime.milliseconds
        vary = stored.vary
        selection = stored.selection
        pieces = stored.pieces
        initialAge = stored.freshness.initialAge
        self.negative = negative
    }

    var stored: StoredResponse {
        StoredResponse(
            status: status, fields: Fields(fields.compactMap { $0.count == 2 ? ($0[0], $0[1]) : nil }),
            requestTime: Timestamp(milliseconds: requestTime), responseTime: Timestamp(milliseconds: responseTime), vary: vary,
            selection: selection, pieces: pieces, initialAge: initialAge, negative: negative)
    }

    var encoded: Data { (try? JSONEncoder().encode(self)) ?? Data() }

    init?(encoded data: Data) {
        guard let record = try? JSONDecoder().decode(EntryRecord.self, from: data) else { return nil }
        self = record
    }
}
