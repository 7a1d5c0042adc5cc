/// The elements of a comma-separated field value (RFC 9110 §5.6.1), trimmed; empty ones are left out and a
/// comma inside a quoted string does not separate.
struct ListElements: BitwiseCopyable {
    private let value: UnsafeRawBufferPointer
    private let separator: UInt8
    private var position = 0

    init(_ value: UnsafeRawBufferPointer, separator: UInt8 = .comma) {
        self.value = value
        self.separator = separator
    }

    mutating func next() -> UnsafeRawBufferPointer? {
        while position < value.count {
            let start = position
            var isQuoted = false
            while position < value.count {
                let byte = value[position]
                if byte == .quote {
                    isQuoted.toggle()
                } else if isQuoted, byte == .backslash {
                    position += 1
                } else if !isQuoted, byte == separator {
                    break
                }
                position += 1
            }
            let element = value.slice(start, min(position, value.count)).trimmed()
            position += 1
            if !element.isEmpty { return element }
        }
        return nil
    }
}
