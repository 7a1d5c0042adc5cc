/// What comes on one connection, cut into heads and bodies: HTTP by its framing, TCP behind one line.
struct Incoming {
    enum Phase: Equatable {
        /// Up to an empty line; up to a line's end if it begins with a T.
        case head
        case exactly(Int)
        case chunkSize
        case chunk(Int)
        /// The line end behind a chunk.
        case chunkEnd
        /// Up to an empty line, after the last chunk.
        case trailer
        case untilEnd
        /// Nothing may come now.
        case complete
    }

    private(set) var phase: Phase
    private var line: [UInt8] = []

    init(_ phase: Phase = .head) { self.phase = phase }

    /// Expects another head on the same connection.
    mutating func again() {
        line = []
        phase = .head
    }

    /// Takes bytes in. `head` says what follows it; nil stops. Returns what is wrong with the framing.
    mutating func feed(
        _ bytes: UnsafeRawBufferPointer, head: (String) -> Phase?, data: (UnsafeRawBufferPointer) -> Bool
    ) -> String? {
        var at = 0
        while at < bytes.count {
            switch phase {
            case .head:
                line.append(bytes[at])
                at += 1
                let isWhole = line.first == UInt8(ascii: "T") ? line.last == 10 : line.suffix(4) == [13, 10, 13, 10]
                guard isWhole else { continue }
                let text = String(decoding: line, as: UTF8.self)
                line = []
                guard let next = head(text) else { return nil }
                phase = next == .exactly(0) ? .complete : next
            case .exactly(let left):
                let count = min(left, bytes.count - at)
                guard data(UnsafeRawBufferPointer(rebasing: bytes[at..<at + count])) else { return nil }
                at += count
                phase = count == left ? .complete : .exactly(left - count)
            case .untilEnd:
                guard data(UnsafeRawBufferPointer(rebasing: bytes[at...])) else { return nil }
                at = bytes.count
            case .chunk(let left):
                let count = min(left, bytes.count - at)
                guard data(UnsafeRawBufferPointer(rebasing: bytes[at..<at + count])) else { return nil }
                at += count
                phase = count == left ? .chunkEnd : .chunk(left - count)
            case .chunkSize, .chunkEnd, .trailer:
                line.append(bytes[at])
                at += 1
                guard line.last == 10 else { continue }
                if let wrong = endLine() { return wrong }
            case .complete:
                return "\(bytes.count - at) bytes behind the end: \(bytes[at...].prefix(60).debugText)"
            }
        }
        return nil
    }

    private mutating func endLine() -> String? {
        defer { line = [] }
        let text = String(decoding: line.dropLast(2), as: UTF8.self)
        if phase == .chunkSize {
            guard let size = Int(text, radix: 16) else { return "not a chunk's size: \(text.debugDescription)" }
            phase = size == 0 ? .trailer : .chunk(size)
        } else {
            guard text.isEmpty else { return "not an empty line behind a chunk: \(text.debugDescription)" }
            phase = phase == .chunkEnd ? .chunkSize : .complete
        }
        return nil
    }
}
