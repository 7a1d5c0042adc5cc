import Model

/// Reads the kinds that matter from protobuf. Field numbers are those of `generated.proto` in k8s.io/api and k8s.io/apimachinery.
enum ProtobufObjects {
    typealias Bytes = UnsafeBufferPointer<UInt8>

    /// `meta.v1.WatchEvent { type = 1, object = 2 }`, whose object is `runtime.RawExtension { raw = 1 }` with an envelope.
    static func event(
        _ bytes: Bytes, _ resource: WatchScope.Resource, _ strings: inout StringTable
    ) throws(DecodingProblem) -> Decoded {
        var reader = ProtobufReader(try ProtobufEnvelope.open(bytes))
        var type = ""
        var object = Bytes(start: nil, count: 0)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: if let text = try reader.contents(tag) { type = strings.string(text) }
            case 2: if let extended = try reader.contents(tag) { object = try first(1, of: extended) }
            case _: try reader.skip(tag)
            }
        }
        let kind: Decoded.EventType
        switch type {
        case "ADDED": kind = .added
        case "MODIFIED": kind = .modified
        case "DELETED": kind = .deleted
        case "BOOKMARK":
            let found = try metadata(try first(1, of: try ProtobufEnvelope.open(object)), &strings)
            guard let version = found.resourceVersion, !version.isEmpty else {
                throw DecodingProblem("a bookmark without a resourceVersion")
            }
            return .bookmark(resourceVersion: version, endsInitialEvents: found.endsInitialEvents)
        case "ERROR": return .error(try status(object))
        case "": throw DecodingProblem("an event without a type")
        case _: return .unknownEvent(type)
        }
        var key: ObjectKey?
        do throws(DecodingProblem) {
            return .event(kind, try Self.object(try ProtobufEnvelope.open(object), resource, &key, &strings))
        } catch {
            return .unreadable(key, error)
        }
    }

    /// One of a list's items.
    static func item(_ bytes: Bytes, _ resource: WatchScope.Resource, _ strings: inout StringTable) -> Decoded {
        var key: ObjectKey?
        do throws(DecodingProblem) { return .item(try object(bytes, resource, &key, &strings)) } catch { return .unreadable(key, error) }
    }

    /// `meta.v1.ListMeta`.
    static func listMetadata(_ bytes: Bytes) throws(DecodingProblem) -> ListMetadata {
        var found = ListMetadata()
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 2: if let text = try reader.contents(tag) { found.resourceVersion = String(decoding: text, as: UTF8.self) }
            case 3: if let text = try reader.contents(tag) { found.continuation = String(decoding: text, as: UTF8.self) }
            case _: try reader.skip(tag)
            }
        }
        return found
    }

    /// `meta.v1.Status`, in an envelope.
    static func status(_ bytes: Bytes) throws(DecodingProblem) -> APIStatus {
        var found = APIStatus()
        var reader = ProtobufReader(try ProtobufEnvelope.open(bytes))
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 3: if let text = try reader.contents(tag) { found.message = String(decoding: text, as: UTF8.self) }
            case 4: if let text = try reader.contents(tag) { found.reason = String(decoding: text, as: UTF8.self) }
            case 5: if let details = try reader.contents(tag) { try self.details(details, &found) }
            case 6: if let code = try reader.varint(tag) { found.code = Int(clamping: code) }
            case _: try reader.skip(tag)
            }
        }
        return found
    }

    private static func details(_ bytes: Bytes, _ found: inout APIStatus) throws(DecodingProblem) {
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 4:
                guard let cause = try reader.contents(tag) else { continue }
                if found.causes.count < 16 { found.causes.append(String(decoding: try first(1, of: cause), as: UTF8.self)) }
            case 5:
                if let seconds = try reader.varint(tag), seconds > 0, seconds <= UInt64(Int32.max) { found.retryAfter = .seconds(Int64(seconds)) }
            case _: try reader.skip(tag)
            }
        }
    }

    /// The last field of this number; empty without one.
    private static func first(_ field: UInt64, of bytes: Bytes) throws(DecodingProblem) -> Bytes {
        var found = Bytes(start: nil, count: 0)
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            if tag.field == field { if let contents = try reader.contents(tag) { found = contents } } else { try reader.skip(tag) }
        }
        return found
    }

    private static func object(
        _ bytes: Bytes, _ resource: WatchScope.Resource, _ key: inout ObjectKey?, _ strings: inout StringTable
    ) throws(DecodingProblem) -> WatchedObject {
        switch resource {
        case .endpointSlices: .slice(try slice(bytes, &key, &strings))
        case .services: .service(try service(bytes, &key, &strings))
        }
    }

    /// A short string, shared.
    private static func text(_ bytes: Bytes, _ field: StaticString, _ strings: inout StringTable) throws(DecodingProblem) -> String {
        guard bytes.count <= DecodedMetadata.mostTextBytes else { throw DecodingProblem("\(field) is longer than 1024 bytes") }
        return strings.string(bytes)
    }

    /// The same for what hardly repeats.
    private static func text(_ bytes: Bytes, _ field: StaticString) throws(DecodingProblem) -> String {
        guard bytes.count <= DecodedMetadata.mostTextBytes else { throw DecodingProblem("\(field) is longer than 1024 bytes") }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `meta.v1.ObjectMeta`.
    private static func metadata(_ bytes: Bytes, _ strings: inout StringTable) throws(DecodingProblem) -> DecodedMetadata {
        var found = DecodedMetadata()
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: if let bytes = try reader.contents(tag) { found.name = try text(bytes, "metadata.name", &strings) }
            case 3: if let bytes = try reader.contents(tag) { found.namespace = try text(bytes, "metadata.namespace", &strings) }
            case 6: if let bytes = try reader.contents(tag) { found.resourceVersion = try text(bytes, "metadata.resourceVersion") }
            case 11:
                guard let pair = try entry(&reader, tag) else { continue }
                if pair.key == DecodedMetadata.serviceNameLabel {
                    found.serviceName = try text(pair.value, "the label kubernetes.io/service-name", &strings)
                }
            case 12:
                guard let pair = try entry(&reader, tag) else { continue }
                if pair.key == DecodedMetadata.triggerTimeAnnotation {
                    found.lastChangeTriggerTime = try text(pair.value, "an annotation", &strings)
                } else if pair.key == DecodedMetadata.initialEventsEndAnnotation {
                    found.endsInitialEvents = pair.value.elementsEqual("true".utf8)
                }
            case _: try reader.skip(tag)
            }
        }
        return found
    }

    /// An entry of a map: `{ key = 1, value = 2 }`.
    private static func entry(
        _ reader: inout ProtobufReader, _ tag: ProtobufReader.Tag
    ) throws(DecodingProblem) -> (key: Name, value: Bytes)? {
        guard let bytes = try reader.contents(tag) else { return nil }
        var entry = ProtobufReader(bytes)
        var (key, value) = (Bytes(start: nil, count: 0), Bytes(start: nil, count: 0))
        while let tag = try entry.nextTag() {
            switch tag.field {
            case 1: if let contents = try entry.contents(tag) { key = contents }
            case 2: if let contents = try entry.contents(tag) { value = contents }
            case _: try entry.skip(tag)
            }
        }
        return (Name(bytes: key), value)
    }

    private struct Name {
        var bytes: Bytes

        static func == (a: Name, b: StaticString) -> Bool {
            a.bytes.elementsEqual(UnsafeBufferPointer(start: b.utf8Start, count: b.utf8CodeUnitCount))
        }
    }

    // MARK: EndpointSlice

    private static func slice(
        _ bytes: Bytes, _ key: inout ObjectKey?, _ strings: inout StringTable
    ) throws(DecodingProblem) -> EndpointSlice {
        var found = DecodedMetadata()
        var addressType = ""
        var ports: [EndpointSlice.Port] = []
        var endpoints: [EndpointSlice.Endpoint] = []
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1:
                guard let contents = try reader.contents(tag) else { continue }
                found = try metadata(contents, &strings)
                key = found.key
            case 2: if let contents = try reader.contents(tag) { endpoints.append(try endpoint(contents, &strings)) }
            case 3: if let contents = try reader.contents(tag) { ports.append(try port(contents, &strings)) }
            case 4: if let contents = try reader.contents(tag) { addressType = try text(contents, "addressType", &strings) }
            case _: try reader.skip(tag)
            }
        }
        return EndpointSlice(
            metadata: try found.metadata(), addressType: EndpointSlice.AddressType(addressType), ports: ports, endpoints: endpoints)
    }

    /// `discovery.v1.EndpointPort` and, as far as it is read, `core.v1.ServicePort`.
    private static func port(_ bytes: Bytes, _ strings: inout StringTable) throws(DecodingProblem) -> EndpointSlice.Port {
        var port = EndpointSlice.Port(number: nil)
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: if let contents = try reader.contents(tag) { port.name = try text(contents, "a port's name", &strings) }
            case 2: if let contents = try reader.contents(tag) { port.transport = Transport(try text(contents, "a protocol", &strings)) }
            case 3: if let number = try reader.varint(tag) { port.number = try UInt16(port: Int(clamping: number)) }
            case _: try reader.skip(tag)
            }
        }
        return port
    }

    private static func endpoint(_ bytes: Bytes, _ strings: inout StringTable) throws(DecodingProblem) -> EndpointSlice.Endpoint {
        var endpoint = EndpointSlice.Endpoint(address: nil)
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1:
                guard let contents = try reader.contents(tag) else { continue }
                if endpoint.address == nil { endpoint.address = try text(contents, "an address") }
            case 2: if let contents = try reader.contents(tag) { endpoint.conditions = try conditions(contents) }
            case 4: if let contents = try reader.contents(tag) { try reference(contents, &endpoint) }
            case 6: if let contents = try reader.contents(tag) { endpoint.node = try text(contents, "nodeName", &strings) }
            case 7: if let contents = try reader.contents(tag) { endpoint.zone = try text(contents, "zone", &strings) }
            case _: try reader.skip(tag)
            }
        }
        return endpoint
    }

    /// `core.v1.ObjectReference`.
    private static func reference(_ bytes: Bytes, _ endpoint: inout EndpointSlice.Endpoint) throws(DecodingProblem) {
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 3: if let contents = try reader.contents(tag) { endpoint.name = try text(contents, "targetRef.name") }
            case 4: if let contents = try reader.contents(tag) { endpoint.uid = try text(contents, "targetRef.uid") }
            case _: try reader.skip(tag)
            }
        }
    }

    private static func conditions(_ bytes: Bytes) throws(DecodingProblem) -> Endpoint.Conditions {
        var conditions: Endpoint.Conditions = [.ready, .serving]
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            guard (1...3).contains(tag.field), let value = try reader.varint(tag) else {
                if !(1...3).contains(tag.field) { try reader.skip(tag) }
                continue
            }
            let condition: Endpoint.Conditions = tag.field == 1 ? .ready : tag.field == 2 ? .serving : .terminating
            if value != 0 { conditions.insert(condition) } else { conditions.remove(condition) }
        }
        return conditions
    }

    // MARK: Service

    private static func service(
        _ bytes: Bytes, _ key: inout ObjectKey?, _ strings: inout StringTable
    ) throws(DecodingProblem) -> Service {
        var found = DecodedMetadata()
        var ports: [Service.Port] = []
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1:
                guard let contents = try reader.contents(tag) else { continue }
                found = try metadata(contents, &strings)
                key = found.key
            case 2:
                guard let contents = try reader.contents(tag) else { continue }
                var spec = ProtobufReader(contents)
                while let tag = try spec.nextTag() {
                    guard tag.field == 1, let contents = try spec.contents(tag) else {
                        if tag.field != 1 { try spec.skip(tag) }
                        continue
                    }
                    let port = try port(contents, &strings)
                    guard let number = port.number else { throw DecodingProblem("a Service port without a number") }
                    ports.append(Service.Port(name: port.name, number: number, transport: port.transport))
                }
            case _: try reader.skip(tag)
            }
        }
        return Service(metadata: try found.metadata(), ports: ports)
    }
}
