/// Cuts a protobuf body that arrives in arbitrary pieces into the messages that are worth reading, without holding all of it.
///
/// A watch is a sequence of frames, each with its length in four bytes before it, big end first. A list is one enveloped
/// message, of which `metadata` and each of `items` are given. Memory: the longest message, at most ``mostBytes``.
struct ProtobufSplitter: Sendable {
    enum Form: Sendable {
        case frames
        case list
    }

    enum Piece {
        case frame
        case listMetadata
        case item
    }

    /// etcd holds at most 1.5 MiB an object.
    static let mostBytes = 16 << 20

    private let form: Form
    private var pending: [UInt8] = []
    private var stage: Stage
    /// Bytes of the list's message that have not come yet; what is behind it does not matter.
    private var left: UInt64 = 0

    private enum Stage: Sendable {
        case frames
        case magic
        case envelope
        case list
        case ended
    }

    init(_ form: Form) {
        self.form = form
        switch form {
        case .frames: stage = .frames
        case .list: stage = .magic
        }
    }

    /// Whether the body may end here.
    var isAtEnd: Bool {
        switch stage {
        case .frames: pending.isEmpty
        case .ended: true
        case .list: left == 0
        case .magic, .envelope: false
        }
    }

    /// Takes some bytes and gives each message that is complete with them.
    mutating func feed(
        _ bytes: UnsafeBufferPointer<UInt8>, _ take: (Piece, UnsafeBufferPointer<UInt8>) throws(DecodingProblem) -> Void
    ) throws(DecodingProblem) {
        pending += bytes
        var buffer: [UInt8] = []
        swap(&buffer, &pending)
        var used = 0
        var failure: DecodingProblem?
        buffer.withUnsafeBufferPointer { held in
            do throws(DecodingProblem) {
                while let count = try step(UnsafeBufferPointer(rebasing: held[used...]), take) { used += count }
            } catch {
                failure = error
            }
        }
        swap(&buffer, &pending)
        if let failure { throw failure }
        if used > 0 { pending.removeSubrange(0..<used) }
    }

    /// Takes the next part, if all of it is there; how many bytes it had.
    private mutating func step(
        _ bytes: UnsafeBufferPointer<UInt8>, _ take: (Piece, UnsafeBufferPointer<UInt8>) throws(DecodingProblem) -> Void
    ) throws(DecodingProblem) -> Int? {
        switch stage {
        case .frames:
            guard bytes.count >= 4 else { return nil }
            let length = bytes[0..<4].reduce(0) { $0 << 8 | Int($1) }
            try check(UInt64(length))
            guard bytes.count - 4 >= length else { return nil }
            try take(.frame, UnsafeBufferPointer(rebasing: bytes[4..<4 + length]))
            return 4 + length
        case .magic:
            guard bytes.count >= 4 else { return nil }
            guard bytes.starts(with: ProtobufEnvelope.magic) else { throw DecodingProblem("the answer is not Kubernetes' protobuf") }
            stage = .envelope
            return 4
        case .envelope:
            guard let header = try header(bytes) else { return nil }
            if header.tag.field == 2, header.tag.kind == .bytes {
                left = header.length
                stage = .list
                return header.size
            }
            try check(header.length)
            guard UInt64(bytes.count - header.size) >= header.length else { return nil }
            return header.size + Int(header.length)
        case .list:
            if left == 0 {
                stage = .ended
                return 0
            }
            guard let header = try header(bytes) else { return nil }
            try check(header.length)
            guard UInt64(bytes.count - header.size) >= header.length else { return nil }
            let size = header.size + Int(header.length)
            guard UInt64(size) <= left else { throw DecodingProblem("a field longer than its list") }
            left -= UInt64(size)
            if header.tag.kind == .bytes {
                let contents = UnsafeBufferPointer(rebasing: bytes[header.size..<size])
                switch header.tag.field {
                case 1: try take(.listMetadata, contents)
                case 2: try take(.item, contents)
                case _: break
                }
            }
            return size
        case .ended:
            return bytes.isEmpty ? nil : bytes.count
        }
    }

    private struct Header {
        var tag: ProtobufReader.Tag
        /// Of the header itself.
        var size: Int
        /// Of what follows it.
        var length: UInt64
    }

    /// A field's tag and length; nil while they are not all there.
    private func header(_ bytes: UnsafeBufferPointer<UInt8>) throws(DecodingProblem) -> Header? {
        // A tag and a length have at most ten bytes each: with fewer, an incomplete number is no mistake yet.
        var reader = ProtobufReader(bytes)
        do throws(DecodingProblem) {
            guard let tag = try reader.nextTag() else { return nil }
            switch tag.kind {
            case .bytes:
                let length = try reader.varint()
                return Header(tag: tag, size: reader.offset, length: length)
            case .varint:
                _ = try reader.varint()
                return Header(tag: tag, size: reader.offset, length: 0)
            case .fixed64: return Header(tag: tag, size: reader.offset, length: 8)
            case .fixed32: return Header(tag: tag, size: reader.offset, length: 4)
            case .groupStart, .groupEnd: throw DecodingProblem("a group, which Kubernetes does not use")
            }
        } catch {
            if bytes.count < 20, reader.isAtEnd { return nil }
            throw error
        }
    }

    private func check(_ length: UInt64) throws(DecodingProblem) {
        guard length <= UInt64(Self.mostBytes) else { throw DecodingProblem("an object has more than \(Self.mostBytes >> 20) MiB") }
    }
}
