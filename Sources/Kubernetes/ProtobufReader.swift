/// Reads the fields of one protobuf message in order (protobuf.dev/programming-guides/encoding). What is not known is skipped.
///
/// The buffer must outlive the reader.
struct ProtobufReader {
    private let bytes: UnsafeBufferPointer<UInt8>
    private(set) var offset = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    enum Kind: UInt8 {
        case varint = 0
        case fixed64 = 1
        case bytes = 2
        case groupStart = 3
        case groupEnd = 4
        case fixed32 = 5
    }

    /// A field's number and how its value is written.
    struct Tag {
        var field: UInt64
        var kind: Kind
    }

    private func mistake(_ problem: String) -> DecodingProblem { DecodingProblem("\(problem) at byte \(offset)") }

    var isAtEnd: Bool { offset == bytes.count }

    /// The next field, whose value has to be taken or skipped; nil at the end of the message.
    mutating func nextTag() throws(DecodingProblem) -> Tag? {
        if isAtEnd { return nil }
        let key = try varint()
        guard let kind = Kind(rawValue: UInt8(key & 7)), key >> 3 != 0 else { throw mistake("no protobuf field") }
        return Tag(field: key >> 3, kind: kind)
    }

    mutating func varint() throws(DecodingProblem) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while offset < bytes.count, shift < 64 {
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw mistake("a number without an end")
    }

    /// A string, bytes or message.
    mutating func contents() throws(DecodingProblem) -> UnsafeBufferPointer<UInt8> {
        let length = try varint()
        guard length <= UInt64(bytes.count - offset) else { throw mistake("a field longer than its message") }
        let end = offset + Int(length)
        defer { offset = end }
        return UnsafeBufferPointer(rebasing: bytes[offset..<end])
    }

    /// What the tag announces, if it is written as the schema has it; else it is skipped, as a field of a later schema.
    mutating func contents(_ tag: Tag) throws(DecodingProblem) -> UnsafeBufferPointer<UInt8>? {
        if tag.kind == .bytes { return try contents() }
        try skip(tag)
        return nil
    }

    mutating func varint(_ tag: Tag) throws(DecodingProblem) -> UInt64? {
        if tag.kind == .varint { return try varint() }
        try skip(tag)
        return nil
    }

    mutating func skip(_ tag: Tag) throws(DecodingProblem) {
        switch tag.kind {
        case .varint: _ = try varint()
        case .bytes: _ = try contents()
        case .fixed64: try advance(8)
        case .fixed32: try advance(4)
        case .groupStart, .groupEnd: throw mistake("a group, which Kubernetes does not use,")
        }
    }

    private mutating func advance(_ count: Int) throws(DecodingProblem) {
        guard count <= bytes.count - offset else { throw mistake("unexpected end") }
        offset += count
    }
}

/// Kubernetes' envelope: the bytes `k8s\0`, then `runtime.Unknown { typeMeta = 1, raw = 2, contentEncoding = 3, contentType = 4 }`.
enum ProtobufEnvelope {
    static let magic: [UInt8] = [0x6B, 0x38, 0x73, 0x00]

    /// The object inside; the bytes themselves if they are not in an envelope.
    static func open(_ bytes: UnsafeBufferPointer<UInt8>) throws(DecodingProblem) -> UnsafeBufferPointer<UInt8> {
        guard bytes.starts(with: magic) else { return bytes }
        var reader = ProtobufReader(UnsafeBufferPointer(rebasing: bytes.dropFirst(magic.count)))
        var raw = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
        while let tag = try reader.nextTag() {
            if tag.field == 2, let contents = try reader.contents(tag) { raw = contents } else if tag.field != 2 { try reader.skip(tag) }
        }
        return raw
    }
}
