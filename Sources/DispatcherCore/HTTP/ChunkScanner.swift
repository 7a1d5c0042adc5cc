/// How a chunked body is passed on.
public enum ChunkTreatment: UInt8, Sendable, BitwiseCopyable {
    /// Byte for byte.
    case whole
    /// Byte for byte but for the trailer fields: the last chunk and the empty line still pass.
    case withoutTrailers
    /// The content alone, for HTTP/1.0 callers.
    case dataOnly
}

/// What to do with the next bytes of a chunked body.
public enum ChunkRun: Hashable, Sendable, BitwiseCopyable {
    /// Move this many on. They may be more than were shown: the rest of a chunk's data needs no look.
    case pass(UInt64)
    /// Take this many off the socket, all of which were shown, and do not move them on.
    case drop(UInt64)
    /// Nothing can be said before more bytes are there.
    case needMore
    /// The body ends here. Whatever follows is the next message.
    case end
    /// Not a valid chunked body: cut.
    case refused
}

/// Reads the framing of a chunked body (RFC 9112 §7.1) on bytes that stay in their socket.
///
/// A plain value that starts where the body starts. ``run(_:as:)`` answers for the bytes at its position and moves
/// past those that it answers for: move or drop all of them before the next call. Only whole lines are accepted,
/// so no byte passes before its line was checked; a buffer of ``HTTPLimits/trailerBytes`` always holds one.
public struct ChunkScanner: Hashable, Sendable, BitwiseCopyable {
    /// What comes at the position.
    public enum Phase: UInt8, Hashable, Sendable, BitwiseCopyable {
        /// A chunk's size. Leads to data, or to trailers after size 0.
        case size
        /// ``remaining`` bytes of content. Leads to dataEnd.
        case data
        /// The CRLF behind a chunk's content. Leads to size.
        case dataEnd
        /// Trailer lines and the empty line. Leads to done.
        case trailers
        /// Nothing: the body is complete.
        case done
        /// Nothing that can be told: the body is not valid.
        case failed
    }

    public private(set) var phase = Phase.size
    /// Bytes of trailer lines so far.
    public private(set) var trailerBytes: UInt16 = 0
    /// Content bytes of the current chunk behind the position.
    public private(set) var remaining: UInt64 = 0

    public init() {}

    /// Goes on where another one stood.
    public init(phase: Phase, remaining: UInt64, trailerBytes: UInt16) {
        self.phase = phase
        self.remaining = min(remaining, HTTPLimits.bodyBytes)
        self.trailerBytes = min(trailerBytes, UInt16(HTTPLimits.trailerBytes))
    }

    public var isDone: Bool { phase == .done }

    /// The largest run at the position that is treated alike.
    public mutating func run(_ bytes: UnsafeRawBufferPointer, as treatment: ChunkTreatment) -> ChunkRun {
        var passed: UInt64 = 0
        var dropped: UInt64 = 0
        var position = 0
        while true {
            let view = bytes.slice(position, bytes.count)
            let before = self
            let step = step(view)
            let length: UInt64
            switch step {
            case .take(let count): length = count
            case .needMore, .end, .refused:
                // Said again at the next call, once what was accepted has been moved.
                if passed > 0 { return .pass(passed) }
                if dropped > 0 { return .drop(dropped) }
                return step == .needMore ? .needMore : step == .end ? .end : .refused
            }
            let passes =
                switch treatment {
                case .whole: true
                case .withoutTrailers: !(before.phase == .trailers && phase == .trailers)
                case .dataOnly: before.phase == .data
                }
            if passes ? dropped > 0 : passed > 0 {
                self = before
                return passes ? .drop(dropped) : .pass(passed)
            }
            // No overflow: at most one chunk's data is longer than the bytes shown, and the run ends with it.
            if passes { passed += length } else { dropped += length }
            guard length <= UInt64(view.count) else { return .pass(passed) }
            position += Int(length)
        }
    }

    private enum Step: Hashable {
        case take(UInt64)
        case needMore
        case end
        case refused
    }

    /// One line, or all the content of one chunk.
    private mutating func step(_ bytes: UnsafeRawBufferPointer) -> Step {
        switch phase {
        case .size: return size(bytes)
        case .data:
            let count = remaining
            remaining = 0
            phase = .dataEnd
            return .take(count)
        case .dataEnd:
            guard let first = bytes.first else { return .needMore }
            guard first == .cr else { return fail() }
            guard bytes.count > 1 else { return .needMore }
            guard bytes[1] == .lf else { return fail() }
            phase = .size
            return .take(2)
        case .trailers: return trailer(bytes)
        case .done: return .end
        case .failed: return .refused
        }
    }

    private mutating func fail() -> Step {
        phase = .failed
        return .refused
    }

    /// `chunk-size [ chunk-ext ] CRLF`: at most 16 digits, no blank around the size.
    private mutating func size(_ bytes: UnsafeRawBufferPointer) -> Step {
        var value: UInt64 = 0
        var i = 0
        while i < bytes.count, let nibble = bytes[i].hexNibble {
            guard i < 16 else { return fail() }
            value = value << 4 | UInt64(nibble)
            i += 1
        }
        guard i < bytes.count else { return .needMore }
        guard i > 0, value <= HTTPLimits.bodyBytes else { return fail() }
        if bytes[i] == .semicolon {
            let start = i
            var quoted = QuotedState.outside
            while i < bytes.count, quoted.accepts(bytes[i]) {
                i += 1
                guard i - start <= HTTPLimits.chunkExtensionBytes else { return fail() }
            }
            guard i < bytes.count else { return .needMore }
            guard quoted == .outside else { return fail() }
        }
        guard bytes[i] == .cr else { return fail() }
        guard i + 1 < bytes.count else { return .needMore }
        guard bytes[i + 1] == .lf else { return fail() }
        remaining = value
        phase = value == 0 ? .trailers : .data
        return .take(UInt64(i + 2))
    }

    /// One trailer line, or the empty line that ends the body.
    private mutating func trailer(_ bytes: UnsafeRawBufferPointer) -> Step {
        guard let first = bytes.first else { return .needMore }
        if first == .cr {
            guard bytes.count > 1 else { return .needMore }
            guard bytes[1] == .lf else { return fail() }
            phase = .done
            return .take(2)
        }
        let allowed = HTTPLimits.trailerBytes - Int(trailerBytes)
        var i = 0
        while i < bytes.count, bytes[i].isToken { i += 1 }
        guard i < bytes.count else { return i < allowed ? .needMore : fail() }
        guard i > 0, bytes[i] == .colon, FieldName.isAllowedInTrailers(bytes.slice(0, i)) else { return fail() }
        i = bytes.endOfFieldContent(from: i + 1)
        guard i + 2 <= allowed else { return fail() }
        guard i < bytes.count else { return .needMore }
        guard bytes[i] == .cr else { return fail() }
        guard i + 1 < bytes.count else { return .needMore }
        guard bytes[i + 1] == .lf else { return fail() }
        trailerBytes += UInt16(i + 2)
        return .take(UInt64(i + 2))
    }

    /// Where in a chunk extension a byte stands; only what RFC 9112 §7.1.1 lets stand there is accepted.
    private enum QuotedState {
        case outside
        case inside
        case escaped

        mutating func accepts(_ byte: UInt8) -> Bool {
            switch self {
            case .outside:
                if byte == .quote { self = .inside }
                return byte.isToken || byte == .semicolon || byte == .equals || byte == .quote || byte.isBlank
            case .inside:
                if byte == .quote { self = .outside } else if byte == .backslash { self = .escaped }
                return byte.isFieldContent
            case .escaped:
                self = .inside
                return byte.isFieldContent
            }
        }
    }
}
