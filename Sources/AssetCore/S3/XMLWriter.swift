/// Writes the few XML documents of S3. Text is escaped; what XML cannot hold becomes a character reference, as S3 does it.
public struct XMLWriter: Sendable {
    public private(set) var bytes: [UInt8] = Array("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".utf8)

    public init() {}

    public static let namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

    /// The root, in S3's namespace.
    public mutating func document(_ name: String, _ content: (inout XMLWriter) -> Void) {
        bytes += "<\(name) xmlns=\"\(Self.namespace)\">".utf8
        content(&self)
        bytes += "</\(name)>".utf8
    }

    /// A root that holds text only.
    public mutating func document(_ name: String, text: String) {
        bytes += "<\(name) xmlns=\"\(Self.namespace)\">".utf8
        append(text.utf8)
        bytes += "</\(name)>".utf8
    }

    public mutating func element(_ name: String, _ content: (inout XMLWriter) -> Void) {
        bytes += "<\(name)>".utf8
        content(&self)
        bytes += "</\(name)>".utf8
    }

    public mutating func element(_ name: String, _ text: some Sequence<UInt8>) {
        bytes += "<\(name)>".utf8
        append(text)
        bytes += "</\(name)>".utf8
    }

    private mutating func append(_ text: some Sequence<UInt8>) {
        for byte in text {
            switch byte {
            case UInt8(ascii: "&"): bytes += "&amp;".utf8
            case UInt8(ascii: "<"): bytes += "&lt;".utf8
            case UInt8(ascii: ">"): bytes += "&gt;".utf8
            case UInt8(ascii: "\""): bytes += "&quot;".utf8
            case 0x00...0x1f: bytes += "&#x\(String(byte, radix: 16));".utf8
            default: bytes.append(byte)
            }
        }
    }

    public mutating func element(_ name: String, _ text: String) { element(name, text.utf8) }

    /// Nothing when there is none.
    public mutating func element(_ name: String, ifPresent text: String?) { if let text { element(name, text) } }
}
