/// Decodes the aws-chunked coding: `SIZE[;chunk-signature=HEX]\r\n DATA \r\n …`, ended by a chunk of no bytes and, by kind, a trailer.
///
/// Feed it what arrives; it calls back with pieces of data and with the ends of chunks, whose signatures the shell checks before it
/// acknowledges anything. Lines are bounded; bytes from outside never trap.
public struct ChunkedPayload: Sendable {
    public enum Event: Hashable, Sendable {
        /// A piece of the current chunk's data.
        case data([UInt8])
        /// The current chunk is whole; its signature, if chunks are signed. The last chunk is empty.
        case chunkEnded(signature: String?)
        /// Trailer fields (names in lower case), and the signature over them if there must be one.
        case trailer(fields: [Pair], signature: String?)

        public struct Pair: Hashable, Sendable {
            public var name: String
            public var value: String

            public init(name: String, value: String) {
                self.name = name
                self.value = value
            }
        }
    }

    private enum State: Hashable {
        case header
        case data(left: Int64, signature: String?)
        /// The line break after a chunk's data.
        case dataEnd(signature: String?)
        /// The line break after the empty chunk of a body without trailer.
        case lastLine
        case trailer
        case done
    }

    private let isSigned: Bool
    private let hasTrailer: Bool
    private let declared: Int64
    private var state = State.header
    private var line: [UInt8] = []
    private var received: Int64 = 0
    private var trailerFields: [Event.Pair] = []
    private var trailerSignature: String?
    private var trailerBytes = 0

    /// Bytes of one line, and of the whole trailer.
    public static let mostLine = 1024
    public static let mostTrailer = 8192

    /// - Parameter declared: `x-amz-decoded-content-length`; the data must have exactly that many bytes.
    public init(isSigned: Bool, hasTrailer: Bool, declared: Int64) {
        self.isSigned = isSigned
        self.hasTrailer = hasTrailer
        self.declared = declared
    }

    /// Whether everything that must come has come.
    public var isComplete: Bool { state == .done }

    public mutating func feed(_ bytes: [UInt8], _ events: inout [Event]) throws(S3Error) {
        var index = 0
        while index < bytes.count {
            switch state {
            case .data(let left, let signature):
                let count = Int(min(left, Int64(bytes.count - index)))
                events.append(.data(Array(bytes[index..<(index + count)])))
                index += count
                state = left == Int64(count) ? .dataEnd(signature: signature) : .data(left: left - Int64(count), signature: signature)
            case .header, .dataEnd, .lastLine, .trailer:
                let byte = bytes[index]
                index += 1
                line.append(byte)
                guard line.count <= Self.mostLine else { throw broken }
                if byte == 0x0a { try take(&events) }
            case .done: throw S3Error(.incompleteBody, "There are bytes after the end of the aws-chunked body.")
            }
        }
    }

    /// The body has ended: everything must be there. A client that leaves out the last line break is forgiven.
    public mutating func finish(_ events: inout [Event]) throws(S3Error) {
        if state == .trailer, line.isEmpty { endTrailer(&events) }
        if state == .lastLine, line.isEmpty { state = .done }
        guard state == .done else { throw S3Error(.incompleteBody, "The aws-chunked body ended before its last chunk.") }
    }

    private var broken: S3Error { S3Error(.invalidRequest, "The aws-chunked body is malformed.") }

    private mutating func take(_ events: inout [Event]) throws(S3Error) {
        guard line.count >= 2, line[line.count - 2] == 0x0d else { throw broken }
        let text = line.dropLast(2)
        defer { line.removeAll(keepingCapacity: true) }
        switch state {
        case .header:
            let (size, signature) = try header(text)
            let (sum, overflow) = received.addingReportingOverflow(size)
            guard !overflow, sum <= declared else {
                throw S3Error(.incompleteBody, "The body has more bytes than x-amz-decoded-content-length says.")
            }
            received = sum
            if size > 0 {
                state = .data(left: size, signature: signature)
                return
            }
            guard received == declared else {
                throw S3Error(.incompleteBody, "The body has fewer bytes than x-amz-decoded-content-length says.")
            }
            events.append(.chunkEnded(signature: signature))
            state = hasTrailer ? .trailer : .lastLine
        case .dataEnd(let signature):
            guard text.isEmpty else { throw broken }
            events.append(.chunkEnded(signature: signature))
            state = .header
        case .lastLine:
            guard text.isEmpty else { throw broken }
            state = .done
        case .trailer: try trailerLine(text, &events)
        case .data, .done: throw broken
        }
    }

    private func header(_ text: ArraySlice<UInt8>) throws(S3Error) -> (Int64, String?) {
        let cut = text.firstIndex(of: UInt8(ascii: ";")) ?? text.endIndex
        let digits = text[..<cut]
        guard (1...15).contains(digits.count) else { throw broken }
        var size: Int64 = 0
        for digit in digits {
            guard let value = Hex.value(digit) else { throw broken }
            size = size << 4 | Int64(value)
        }
        guard isSigned else {
            // Extensions of the chunked coding mean nothing here.
            return (size, nil)
        }
        let prefix = Array(";chunk-signature=".utf8)
        let rest = text[cut...]
        guard rest.starts(with: prefix), rest.count == prefix.count + 64 else {
            throw S3Error(.signatureDoesNotMatch, "A chunk is not signed.")
        }
        return (size, String(decoding: rest.dropFirst(prefix.count), as: UTF8.self))
    }

    private mutating func trailerLine(_ text: ArraySlice<UInt8>, _ events: inout [Event]) throws(S3Error) {
        if text.isEmpty {
            endTrailer(&events)
            return
        }
        trailerBytes += text.count
        guard trailerBytes <= Self.mostTrailer, let colon = text.firstIndex(of: UInt8(ascii: ":")), colon > text.startIndex else {
            throw S3Error(.malformedTrailer)
        }
        let name = String(decoding: text[..<colon], as: UTF8.self).lowercased()
        let value = trimmed(String(decoding: text[(colon + 1)...], as: UTF8.self))
        if name == "x-amz-trailer-signature" {
            guard trailerSignature == nil else { throw S3Error(.malformedTrailer) }
            trailerSignature = value
        } else {
            guard trailerSignature == nil else { throw S3Error(.malformedTrailer, "A trailer field follows the trailer's signature.") }
            trailerFields.append(Event.Pair(name: name, value: value))
        }
    }

    private mutating func endTrailer(_ events: inout [Event]) {
        events.append(.trailer(fields: trailerFields, signature: trailerSignature))
        state = .done
    }
}
