/// How answers are written: what the client asked for and the server has.
enum AnswerCodec: Sendable {
    case json
    case protobuf

    init(_ request: TestRequest, hasProtobuf: Bool) {
        let first = (request.headers["accept"] ?? "").split(separator: ",").first ?? ""
        self = hasProtobuf && first.contains("application/vnd.kubernetes.protobuf") ? .protobuf : .json
    }

    func type(isWatch: Bool) -> String {
        switch self {
        case .json: "application/json"
        case .protobuf: "application/vnd.kubernetes.protobuf" + (isWatch ? ";stream=watch" : "")
        }
    }

    func list(_ resource: TestObject.Resource, _ objects: some Collection<TestObject>, version: UInt64, next: String, remaining: Int) -> [UInt8] {
        switch self {
        case .json:
            let more = next.isEmpty ? "" : ",\"continue\":\(quoted(next)),\"remainingItemCount\":\(remaining)"
            let items = objects.map(\.json).joined(separator: ",")
            return Array(
                "{\"kind\":\"\(resource.kind)List\",\"apiVersion\":\"\(resource.apiVersion)\",\"metadata\":{\"resourceVersion\":\"\(version)\"\(more)},\"items\":[\(items)]}\n"
                    .utf8)
        case .protobuf:
            var list = ProtobufWriter()
            list.message(1) {
                $0.text(2, "\(version)")
                if !next.isEmpty {
                    $0.text(3, next)
                    $0.number(4, UInt64(remaining))
                }
            }
            for object in objects { list.data(2, object.protobuf) }
            return ProtobufWriter.enveloped(resource.apiVersion, resource.kind + "List", list.bytes)
        }
    }

    func event(_ type: String, _ object: TestObject) -> [UInt8] {
        switch self {
        case .json: Array("{\"type\":\"\(type)\",\"object\":\(object.json)}\n".utf8)
        case .protobuf: frame(type, ProtobufWriter.enveloped(object.key.resource.apiVersion, object.key.resource.kind, object.protobuf))
        }
    }

    func bookmark(_ resource: TestObject.Resource, version: UInt64, endsInitialEvents: Bool) -> [UInt8] {
        let annotations = endsInitialEvents ? ["k8s.io/initial-events-end": "true"] : [:]
        switch self {
        case .json:
            let more = endsInitialEvents ? ",\"annotations\":\(object(annotations))" : ""
            return Array(
                "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"\(resource.kind)\",\"apiVersion\":\"\(resource.apiVersion)\",\"metadata\":{\"resourceVersion\":\"\(version)\"\(more)}}}\n"
                    .utf8)
        case .protobuf:
            var bare = ProtobufWriter()
            bare.message(1) {
                $0.text(6, "\(version)")
                $0.map(12, annotations)
            }
            return frame("BOOKMARK", ProtobufWriter.enveloped(resource.apiVersion, resource.kind, bare.bytes))
        }
    }

    func error(_ code: Int, reason: String, _ message: String) -> [UInt8] {
        switch self {
        case .json: Array("{\"type\":\"ERROR\",\"object\":\(statusJSON(code, reason: reason, message))}\n".utf8)
        case .protobuf:
            frame("ERROR", statusProtobuf(code, reason: reason, message))
        }
    }

    func status(_ code: Int, reason: String, _ message: String, causes: [String] = []) -> [UInt8] {
        switch self {
        case .json: Array(statusJSON(code, reason: reason, message, causes: causes).utf8)
        case .protobuf: statusProtobuf(code, reason: reason, message, causes: causes)
        }
    }

    private func frame(_ type: String, _ object: [UInt8]) -> [UInt8] {
        var event = ProtobufWriter()
        event.text(1, type)
        event.message(2) { $0.data(1, object) }
        let count = UInt32(event.bytes.count)
        return [UInt8(count >> 24), UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255)] + event.bytes
    }
}

func statusJSON(_ code: Int, reason: String, _ message: String, causes: [String] = []) -> String {
    let details = causes.isEmpty ? "" : ",\"details\":{\"causes\":[\(causes.map { "{\"reason\":\(quoted($0)),\"message\":\(quoted($0))}" }.joined(separator: ","))],\"retryAfterSeconds\":1}"
    return "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\(quoted(message)),\"reason\":\(quoted(reason))\(details),\"code\":\(code)}"
}

private func statusProtobuf(_ code: Int, reason: String, _ message: String, causes: [String] = []) -> [UInt8] {
    var status = ProtobufWriter()
    status.message(1) { _ in }
    status.text(2, "Failure")
    status.text(3, message)
    status.text(4, reason)
    if !causes.isEmpty {
        status.message(5) { details in
            for cause in causes {
                details.message(4) {
                    $0.text(1, cause)
                    $0.text(2, cause)
                }
            }
            details.number(5, 1)
        }
    }
    status.number(6, UInt64(code))
    return ProtobufWriter.enveloped("v1", "Status", status.bytes)
}
