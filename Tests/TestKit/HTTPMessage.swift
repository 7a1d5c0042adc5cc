/// A request or response as it came, read by its framing and by nothing else.
public struct HTTPMessage: Sendable, CustomStringConvertible {
    public var startLine = ""
    public var fields: [(name: String, value: String)] = []
    public var body: [UInt8] = []
    /// Of a chunked body.
    public var trailers: [(name: String, value: String)] = []
    /// The head byte for byte, with its empty line.
    public var head: [UInt8] = []
    /// The bytes of the chunked body as they came, framing included.
    public var rawBody: [UInt8] = []

    /// Of a response.
    public var status: Int { startLine.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0 }
    /// Of a request.
    public var method: String { startLine.split(separator: " ").first.map(String.init) ?? "" }
    public var target: String { startLine.split(separator: " ").dropFirst().first.map(String.init) ?? "" }
    public var text: String { String(decoding: body, as: UTF8.self) }

    /// The value of the only field of that name; several are joined with a comma.
    public subscript(name: String) -> String? {
        let values = fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }

    public func has(_ name: String, _ token: String) -> Bool {
        (self[name] ?? "").split(separator: ",").contains { $0.trimmed.lowercased() == token.lowercased() }
    }

    public var description: String {
        ([startLine] + fields.map { "\($0.name): \($0.value)" } + ["", "\(body.count) bytes: \(body.prefix(200).debugText)"]).joined(
            separator: "\n")
    }

    init(head: [UInt8]) throws {
        self.head = head
        let lines = String(decoding: head, as: UTF8.self).components(separatedBy: "\r\n")
        startLine = lines[0]
        for line in lines.dropFirst() where !line.isEmpty { fields.append(try Self.field(line)) }
    }

    fileprivate static func field(_ line: String) throws -> (name: String, value: String) {
        guard let colon = line.firstIndex(of: ":") else { throw TestFailure("not a field: \(line.debugDescription)") }
        return (String(line[..<colon]), String(line[line.index(after: colon)...].trimmed))
    }
}

extension RawStream {
    /// Reads a response: interim ones are skipped unless asked for. `method` is the request's.
    public func readResponse(to method: String = "GET", interim: Bool = false) throws -> HTTPMessage {
        while true {
            var message = try HTTPMessage(head: receive(through: "\r\n\r\n"))
            if (100..<200).contains(message.status) {
                if interim || message.status == 101 { return message }
                continue
            }
            if method == "HEAD" || message.status == 204 || message.status == 304 { return message }
            try readBody(&message, untilEnd: true)
            return message
        }
    }

    /// Reads a request with its body.
    public func readRequest() throws -> HTTPMessage {
        var message = try HTTPMessage(head: receive(through: "\r\n\r\n"))
        try readBody(&message, untilEnd: false)
        return message
    }

    /// The head of a response; the body stays to be read.
    public func readResponseHead() throws -> HTTPMessage { try HTTPMessage(head: receive(through: "\r\n\r\n")) }

    public func readRequestHead() throws -> HTTPMessage { try HTTPMessage(head: receive(through: "\r\n\r\n")) }

    public func readBody(_ message: inout HTTPMessage, untilEnd: Bool) throws {
        if message.has("Transfer-Encoding", "chunked") { return try readChunks(&message) }
        if let length = message["Content-Length"].flatMap({ Int($0) }) {
            message.body = try receive(length)
        } else if untilEnd {
            let (bytes, end) = try receiveToEnd()
            guard end == .fin else { throw TestFailure("a close-delimited body was cut after \(bytes.count) bytes") }
            message.body = bytes
        }
    }

    private func readChunks(_ message: inout HTTPMessage) throws {
        while true {
            let line = try receive(through: "\r\n")
            message.rawBody += line
            let text = String(decoding: line.dropLast(2), as: UTF8.self)
            guard let size = Int(text.prefix { $0 != ";" }.trimmed, radix: 16) else { throw TestFailure("not a chunk: \(text)") }
            if size == 0 { break }
            let chunk = try receive(size + 2)
            message.rawBody += chunk
            guard chunk.suffix(2) == [13, 10] else { throw TestFailure("no CRLF behind a chunk of \(size)") }
            message.body += chunk.dropLast(2)
        }
        while true {
            let line = try receive(through: "\r\n")
            message.rawBody += line
            if line.count == 2 { return }
            message.trailers.append(try HTTPMessage.field(String(decoding: line.dropLast(2), as: UTF8.self)))
        }
    }
}

extension StringProtocol {
    fileprivate var trimmed: SubSequence {
        var rest = self[...]
        while let first = rest.first, first == " " || first == "\t" { rest = rest.dropFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest = rest.dropLast() }
        return rest
    }

    fileprivate func components(separatedBy separator: String) -> [String] {
        var out: [String] = []
        var rest = Array(utf8)[...]
        let wanted = Array(separator.utf8)
        var current: [UInt8] = []
        while let byte = rest.first {
            if rest.starts(with: wanted) {
                out.append(String(decoding: current, as: UTF8.self))
                current.removeAll()
                rest = rest.dropFirst(wanted.count)
            } else {
                current.append(byte)
                rest = rest.dropFirst()
            }
        }
        out.append(String(decoding: current, as: UTF8.self))
        return out
    }
}
