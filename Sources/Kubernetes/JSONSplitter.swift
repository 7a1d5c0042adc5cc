/// Cuts a JSON body that arrives in arbitrary pieces into the values that are worth reading, without holding all of it.
///
/// A watch is a sequence of documents, usually one a line. A list is one object, of which `metadata` and each of `items` are
/// given. Cost: one pass over the bytes; memory: the longest value, at most ``mostBytes``.
struct JSONSplitter: Sendable {
    enum Form: Sendable {
        case documents
        case list
    }

    enum Piece {
        case document
        case listMetadata
        case item
    }

    /// The longest value that is taken: etcd holds at most 1.5 MiB an object, of which JSON makes a few times as much.
    static let mostBytes = 16 << 20

    private let form: Form
    private var pending: [UInt8] = []
    /// Up to where ``pending`` was looked at.
    private var scanned = 0
    private var depth = 0
    private var isInString = false
    private var isEscaped = false
    /// Where the value that is being captured begins in ``pending``.
    private var start: Int?
    /// The depth at which values are captured; -1 for none.
    private var captureDepth: Int
    /// In a list's outermost object: whether a string would be a name, where that begins, and the last name.
    private var isNameNext = false
    private var nameStart: Int?
    private var member = Member.other
    /// Whether a list's outermost object has ended.
    private var isComplete = false

    private enum Member: Sendable {
        case metadata
        case items
        case other
    }

    init(_ form: Form) {
        self.form = form
        switch form {
        case .documents: captureDepth = 0
        case .list: captureDepth = -1
        }
    }

    /// Whether the body may end here: between documents, or after the list.
    var isAtEnd: Bool {
        switch form {
        case .documents: depth == 0
        case .list: isComplete
        }
    }

    /// Takes some bytes and gives each value that is complete with them.
    mutating func feed(
        _ bytes: UnsafeBufferPointer<UInt8>, _ take: (Piece, UnsafeBufferPointer<UInt8>) throws(DecodingProblem) -> Void
    ) throws(DecodingProblem) {
        pending += bytes
        // Taken out while it is read, so that looking at it and changing the state do not overlap.
        var buffer: [UInt8] = []
        swap(&buffer, &pending)
        var failure: DecodingProblem?
        buffer.withUnsafeBufferPointer { held in
            do throws(DecodingProblem) { try scan(held, take) } catch { failure = error }
        }
        swap(&buffer, &pending)
        if let failure { throw failure }
        let unused = start ?? nameStart ?? scanned
        if unused > 0 {
            pending.removeSubrange(0..<unused)
            scanned -= unused
            start = start.map { $0 - unused }
            nameStart = nameStart.map { $0 - unused }
        }
        guard pending.count <= Self.mostBytes else {
            throw DecodingProblem("an object has more than \(Self.mostBytes >> 20) MiB")
        }
    }

    private mutating func scan(
        _ bytes: UnsafeBufferPointer<UInt8>, _ take: (Piece, UnsafeBufferPointer<UInt8>) throws(DecodingProblem) -> Void
    ) throws(DecodingProblem) {
        var index = scanned
        defer { scanned = index }
        while index < bytes.count {
            if isInString {
                index = endOfString(bytes, from: index)
                if isInString { return }
                if let begin = nameStart {
                    member = Self.member(bytes[begin..<index - 1])
                    nameStart = nil
                    isNameNext = false
                }
                continue
            }
            switch bytes[index] {
            case UInt8(ascii: "\""):
                isInString = true
                if depth == 0 { throw DecodingProblem("the answer is not a JSON object") }
                if depth == 1, isNameNext { nameStart = index + 1 }
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                open(bytes[index], at: index)
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth < 0 { throw DecodingProblem("a bracket is closed that was never opened") }
                if depth == captureDepth, let begin = start {
                    start = nil
                    // Before taking it: if that throws, this value is behind us.
                    let piece = piece
                    if captureDepth == 1 { captureDepth = -1 }
                    try take(piece, UnsafeBufferPointer(rebasing: bytes[begin...index]))
                } else if depth == 1, captureDepth == 2 {
                    captureDepth = -1
                }
                if depth == 0 { isComplete = true }
            case UInt8(ascii: ","):
                if depth == 1 { isNameNext = form == .list }
            case 0x20, 0x0A, 0x0D, 0x09, UInt8(ascii: ":"): break
            case _:
                if depth == 0 { throw DecodingProblem("the answer is not JSON") }
            }
            index += 1
        }
    }

    private var piece: Piece {
        switch form {
        case .documents: .document
        case .list: captureDepth == 1 ? .listMetadata : .item
        }
    }

    private mutating func open(_ bracket: UInt8, at index: Int) {
        if form == .list {
            if depth == 0 {
                isNameNext = true
            } else if depth == 1, captureDepth < 0 {
                switch member {
                case .metadata: if bracket == UInt8(ascii: "{") { captureDepth = 1 }
                case .items: if bracket == UInt8(ascii: "[") { captureDepth = 2 }
                case .other: break
                }
            }
        }
        if depth == captureDepth, start == nil { start = index }
        depth += 1
    }

    /// Passes over the rest of a string; behind its quote, or at the end of what there is.
    private mutating func endOfString(_ bytes: UnsafeBufferPointer<UInt8>, from first: Int) -> Int {
        var index = first
        if isEscaped {
            isEscaped = false
            index += 1
        }
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "\""):
                isInString = false
                return index + 1
            case UInt8(ascii: "\\"):
                index += 1
                if index == bytes.count {
                    isEscaped = true
                    return index
                }
            case _: break
            }
            index += 1
        }
        return index
    }

    private static func member(_ name: Slice<UnsafeBufferPointer<UInt8>>) -> Member {
        if name.elementsEqual("metadata".utf8) { return .metadata }
        if name.elementsEqual("items".utf8) { return .items }
        return .other
    }
}
