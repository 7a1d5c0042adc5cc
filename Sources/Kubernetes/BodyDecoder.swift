/// Reads the body of one answer, however it is cut, in JSON or protobuf.
///
/// Throws when the body as a whole makes no sense; an object that makes none is reported and passed over. Memory: the longest object.
struct BodyDecoder: Sendable {
    enum Form: Sendable {
        case list
        case watch
        /// Of an answer that is no success.
        case status
    }

    private enum Body: Sendable {
        case json(JSONSplitter)
        case protobuf(ProtobufSplitter)
        case status([UInt8])
    }

    private let resource: WatchScope.Resource
    let isProtobuf: Bool
    private var body: Body

    /// The most of a failure's body that is read.
    private static let mostStatusBytes = 64 << 10

    /// - Parameter contentType: what the server says that it sends; anything but Kubernetes' protobuf is taken for JSON.
    init(_ form: Form, _ resource: WatchScope.Resource, contentType: String) {
        self.resource = resource
        isProtobuf = contentType.hasPrefix("application/vnd.kubernetes.protobuf")
        switch form {
        case .list: body = isProtobuf ? .protobuf(ProtobufSplitter(.list)) : .json(JSONSplitter(.list))
        case .watch: body = isProtobuf ? .protobuf(ProtobufSplitter(.frames)) : .json(JSONSplitter(.documents))
        case .status: body = .status([])
        }
    }

    /// Whether the body may end here. One that ends elsewhere was torn off.
    var isAtEnd: Bool {
        switch body {
        case .json(let splitter): splitter.isAtEnd
        case .protobuf(let splitter): splitter.isAtEnd
        case .status: true
        }
    }

    /// Takes some bytes and appends what they complete.
    mutating func feed(_ bytes: [UInt8], _ strings: inout StringTable, _ decoded: inout [Decoded]) throws(DecodingProblem) {
        var failure: DecodingProblem?
        bytes.withUnsafeBufferPointer { bytes in
            do throws(DecodingProblem) { try feed(bytes, &strings, &decoded) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private mutating func feed(
        _ bytes: UnsafeBufferPointer<UInt8>, _ strings: inout StringTable, _ decoded: inout [Decoded]
    ) throws(DecodingProblem) {
        let resource = resource
        switch body {
        case .json(var splitter):
            // Moved out and back: two references would copy what is pending with every call.
            body = .status([])
            defer { body = .json(splitter) }
            try splitter.feed(bytes) { piece, bytes throws(DecodingProblem) in
                var objects = JSONObjects(bytes)
                switch piece {
                case .document: decoded.append(try JSONObjects.event(bytes, resource, &strings))
                case .listMetadata: decoded.append(.listMetadata(try objects.listMetadata()))
                case .item: decoded.append(objects.item(resource, &strings))
                }
            }
        case .protobuf(var splitter):
            body = .status([])
            defer { body = .protobuf(splitter) }
            try splitter.feed(bytes) { piece, bytes throws(DecodingProblem) in
                switch piece {
                case .frame: decoded.append(try ProtobufObjects.event(bytes, resource, &strings))
                case .listMetadata: decoded.append(.listMetadata(try ProtobufObjects.listMetadata(bytes)))
                case .item: decoded.append(ProtobufObjects.item(bytes, resource, &strings))
                }
            }
        case .status(var held):
            body = .status([])
            held += bytes.prefix(max(0, Self.mostStatusBytes - held.count))
            body = .status(held)
        }
    }

    /// What an answer that is no success says; nil if that is no Status (a proxy's page, say).
    var status: APIStatus? {
        guard case .status(let held) = body else { return nil }
        return held.withUnsafeBufferPointer { bytes in
            guard bytes.contains(where: { $0 != 0x20 && $0 != 0x0A }) else { return nil }
            do throws(DecodingProblem) {
                if isProtobuf { return try ProtobufObjects.status(bytes) }
                var objects = JSONObjects(bytes)
                return try objects.status()
            } catch {
                return nil
            }
        }
    }
}
