/// A read XML document: elements and their text. No attributes (S3's requests have none that matter), no document types, no entities but
/// the five of XML and character references.
public struct XMLElement: Hashable, Sendable {
    /// Without a namespace prefix.
    public var name: String
    /// All text directly inside, joined.
    public var text: String
    public var children: [XMLElement]

    public static let mostDepth = 16

    /// Cost O(bytes). Throws `malformedXML`.
    public static func parse(_ bytes: [UInt8]) throws(S3Error) -> XMLElement {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw S3Error(.malformedXML) }
        var parser = Parser(bytes: bytes)
        return try parser.document()
    }

    /// The first child of that name.
    public subscript(_ name: String) -> XMLElement? { children.first { $0.name == name } }

    public func all(_ name: String) -> [XMLElement] { children.filter { $0.name == name } }
}

private struct Parser {
    let bytes: [UInt8]
    var index = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { index = 3 }
    }

    mutating func document() throws(S3Error) -> XMLElement {
        try misc()
        guard index < bytes.count, bytes[index] == UInt8(ascii: "<") else { throw bad }
        let root = try element(depth: 0)
        try misc()
        guard index == bytes.count else { throw bad }
        return root
    }

    private var bad: S3Error { S3Error(.malformedXML) }

    private func at(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { wanted in
            index + wanted.count <= bytes.count && bytes[index..<(index + wanted.count)].elementsEqual(wanted)
        }
    }

    private mutating func skip(past text: StaticString) throws(S3Error) {
        while index < bytes.count {
            if at(text) {
                index += text.utf8CodeUnitCount
                return
            }
            index += 1
        }
        throw bad
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d }

    private mutating func spaces() {
        while index < bytes.count, Self.isSpace(bytes[index]) { index += 1 }
    }

    /// Spaces, comments and processing instructions around the root. A document type is refused.
    private mutating func misc() throws(S3Error) {
        while true {
            spaces()
            if at("<!--") {
                index += 4
                try skip(past: "-->")
            } else if at("<?") {
                try skip(past: "?>")
            } else {
                return
            }
        }
    }

    private mutating func name() throws(S3Error) -> String {
        let start = index
        while index < bytes.count, !Self.isSpace(bytes[index]), !"<>/=&\"'".utf8.contains(bytes[index]) { index += 1 }
        guard index > start else { throw bad }
        return String(decoding: bytes[start..<index], as: UTF8.self)
    }

    private mutating func element(depth: Int) throws(S3Error) -> XMLElement {
        guard depth < XMLElement.mostDepth else { throw bad }
        index += 1
        let full = try name()
        var element = XMLElement(name: full.split(separator: ":").last.map(String.init) ?? full, text: "", children: [])
        if try attributes() { return element }
        var text: [UInt8] = []
        while true {
            guard index < bytes.count else { throw bad }
            if at("</") {
                index += 2
                guard try name() == full else { throw bad }
                spaces()
                guard at(">") else { throw bad }
                index += 1
                element.text = String(decoding: text, as: UTF8.self)
                return element
            } else if at("<!--") {
                index += 4
                try skip(past: "-->")
            } else if at("<![CDATA[") {
                let start = index + 9
                try skip(past: "]]>")
                guard index - 3 >= start else { throw bad }
                text += bytes[start..<(index - 3)]
            } else if at("<?") {
                try skip(past: "?>")
            } else if at("<!") {
                throw bad
            } else if at("<") {
                element.children.append(try self.element(depth: depth + 1))
            } else if at("&") {
                try reference(into: &text)
            } else {
                text.append(bytes[index])
                index += 1
            }
        }
    }

    /// Skips attributes and the end of the tag; true when it was an empty element.
    private mutating func attributes() throws(S3Error) -> Bool {
        while true {
            spaces()
            if at("/>") {
                index += 2
                return true
            }
            if at(">") {
                index += 1
                return false
            }
            _ = try name()
            spaces()
            guard at("=") else { throw bad }
            index += 1
            spaces()
            guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") || bytes[index] == UInt8(ascii: "'") else { throw bad }
            let quote = bytes[index]
            index += 1
            while index < bytes.count, bytes[index] != quote, bytes[index] != UInt8(ascii: "<") { index += 1 }
            guard index < bytes.count, bytes[index] == quote else { throw bad }
            index += 1
        }
    }

    private mutating func reference(into text: inout [UInt8]) throws(S3Error) {
        let rest = bytes[(index + 1)...].prefix(12)
        guard let end = rest.firstIndex(of: UInt8(ascii: ";")) else { throw bad }
        let name = String(decoding: bytes[(index + 1)..<end], as: UTF8.self)
        switch name {
        case "amp": text.append(UInt8(ascii: "&"))
        case "lt": text.append(UInt8(ascii: "<"))
        case "gt": text.append(UInt8(ascii: ">"))
        case "quot": text.append(UInt8(ascii: "\""))
        case "apos": text.append(UInt8(ascii: "'"))
        default:
            let number = name.hasPrefix("#x") ? UInt32(name.dropFirst(2), radix: 16) : name.hasPrefix("#") ? UInt32(name.dropFirst()) : nil
            guard let number, let scalar = Unicode.Scalar(number) else { throw bad }
            text += String(Character(scalar)).utf8
        }
        index = end + 1
    }
}
