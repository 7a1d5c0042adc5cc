/// JSON as it is written: members in the order of the calls.
public struct JSONText {
    public private(set) var bytes: [UInt8] = []
    /// Whether the next value needs a comma before it.
    private var needsComma = false

    public init() {}

    public mutating func object(_ name: String? = nil, _ members: (inout JSONText) -> Void) { nest(name, 0x7b, 0x7d, members) }
    public mutating func array(_ name: String? = nil, _ elements: (inout JSONText) -> Void) { nest(name, 0x5b, 0x5d, elements) }

    private mutating func nest(_ name: String?, _ open: UInt8, _ close: UInt8, _ content: (inout JSONText) -> Void) {
        begin(name)
        bytes.append(open)
        needsComma = false
        content(&self)
        bytes.append(close)
        needsComma = true
    }

    public mutating func value(_ name: String? = nil, _ text: String) {
        begin(name)
        string(text)
    }

    public mutating func value(_ name: String? = nil, _ number: some BinaryInteger) {
        begin(name)
        bytes.append(contentsOf: String(number).utf8)
    }

    /// What is not finite is null.
    public mutating func value(_ name: String? = nil, _ number: Double) {
        begin(name)
        bytes.append(contentsOf: (number.isFinite ? FamilyWriter.text(number) : "null").utf8)
    }

    public mutating func value(_ name: String? = nil, _ flag: Bool) {
        begin(name)
        bytes.append(contentsOf: (flag ? "true" : "false").utf8)
    }

    public mutating func null(_ name: String? = nil) {
        begin(name)
        bytes.append(contentsOf: "null".utf8)
    }

    private mutating func begin(_ name: String?) {
        if needsComma { bytes.append(0x2c) }
        needsComma = true
        guard let name else { return }
        string(name)
        bytes.append(0x3a)
    }

    private mutating func string(_ text: String) {
        bytes.append(0x22)
        for byte in text.utf8 {
            switch byte {
            case 0x22, 0x5c:
                bytes.append(0x5c)
                bytes.append(byte)
            case 0..<0x20:
                bytes.append(contentsOf: "\\u00".utf8)
                bytes.append(Self.digits[Int(byte >> 4)])
                bytes.append(Self.digits[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
        bytes.append(0x22)
    }

    private static let digits = Array("0123456789abcdef".utf8)
}
