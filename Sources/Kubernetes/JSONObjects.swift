import Model

/// Reads the kinds that matter from JSON. Fields of an object come in any order; the last of two with one name counts.
struct JSONObjects {
    private var reader: JSONReader

    init(_ bytes: UnsafeBufferPointer<UInt8>) { reader = JSONReader(bytes) }

    /// An event of a watch: `{"type": …, "object": …}`.
    static func event(
        _ bytes: UnsafeBufferPointer<UInt8>, _ resource: WatchScope.Resource, _ strings: inout StringTable
    ) throws(DecodingProblem) -> Decoded {
        var reader = JSONReader(bytes)
        var type: String?
        var place: Int?
        guard try reader.enterObject() else { throw DecodingProblem("an event without a type") }
        while let key = try reader.nextKey() {
            if key == "type" {
                type = try reader.string()?.string
            } else if key == "object" {
                if let type {
                    var objects = JSONObjects(reader: reader)
                    return try objects.event(type, resource, &strings)
                }
                place = reader.offset
                try reader.skipValue()
            } else {
                try reader.skipValue()
            }
        }
        guard let type else { throw DecodingProblem("an event without a type") }
        guard let place else { throw DecodingProblem("an event without an object") }
        reader.rewind(to: place)
        var objects = JSONObjects(reader: reader)
        return try objects.event(type, resource, &strings)
    }

    private init(reader: JSONReader) { self.reader = reader }

    private mutating func event(
        _ type: String, _ resource: WatchScope.Resource, _ strings: inout StringTable
    ) throws(DecodingProblem) -> Decoded {
        let kind: Decoded.EventType
        switch type {
        case "ADDED": kind = .added
        case "MODIFIED": kind = .modified
        case "DELETED": kind = .deleted
        case "BOOKMARK": return try bookmark(&strings)
        case "ERROR": return .error(try status())
        case _: return .unknownEvent(type)
        }
        var key: ObjectKey?
        do throws(DecodingProblem) { return .event(kind, try object(resource, &key, &strings)) } catch { return .unreadable(key, error) }
    }

    /// One of a list's items.
    mutating func item(_ resource: WatchScope.Resource, _ strings: inout StringTable) -> Decoded {
        var key: ObjectKey?
        do throws(DecodingProblem) { return .item(try object(resource, &key, &strings)) } catch { return .unreadable(key, error) }
    }

    private mutating func object(
        _ resource: WatchScope.Resource, _ key: inout ObjectKey?, _ strings: inout StringTable
    ) throws(DecodingProblem) -> WatchedObject {
        switch resource {
        case .endpointSlices: .slice(try slice(&key, &strings))
        case .services: .service(try service(&key, &strings))
        }
    }

    private mutating func bookmark(_ strings: inout StringTable) throws(DecodingProblem) -> Decoded {
        var found = DecodedMetadata()
        guard try reader.enterObject() else { throw DecodingProblem("a bookmark without metadata") }
        while let name = try reader.nextKey() {
            if name == "metadata" { found = try metadata(&strings) } else { try reader.skipValue() }
        }
        guard let version = found.resourceVersion, !version.isEmpty else { throw DecodingProblem("a bookmark without a resourceVersion") }
        return .bookmark(resourceVersion: version, endsInitialEvents: found.endsInitialEvents)
    }

    /// `metadata` of a list.
    mutating func listMetadata() throws(DecodingProblem) -> ListMetadata {
        var found = ListMetadata()
        guard try reader.enterObject() else { return found }
        while let name = try reader.nextKey() {
            if name == "resourceVersion" {
                found.resourceVersion = try reader.string()?.string ?? ""
            } else if name == "continue" {
                found.continuation = try reader.string()?.string ?? ""
            } else {
                try reader.skipValue()
            }
        }
        return found
    }

    mutating func status() throws(DecodingProblem) -> APIStatus {
        var found = APIStatus()
        guard try reader.enterObject() else { return found }
        while let name = try reader.nextKey() {
            if name == "code" {
                found.code = try reader.integer() ?? 0
            } else if name == "reason" {
                found.reason = try reader.string()?.string ?? ""
            } else if name == "message" {
                found.message = try reader.string()?.string ?? ""
            } else if name == "details" {
                try details(&found)
            } else {
                try reader.skipValue()
            }
        }
        return found
    }

    private mutating func details(_ found: inout APIStatus) throws(DecodingProblem) {
        guard try reader.enterObject() else { return }
        while let name = try reader.nextKey() {
            if name == "retryAfterSeconds" {
                found.retryAfter = try reader.integer().flatMap { $0 > 0 ? .seconds($0) : nil }
            } else if name == "causes" {
                guard try reader.enterArray() else { continue }
                while try reader.hasNextElement() {
                    guard try reader.enterObject() else { continue }
                    while let name = try reader.nextKey() {
                        if name == "reason", let reason = try reader.string() {
                            if found.causes.count < 16 { found.causes.append(reason.string) }
                        } else if name == "reason" {
                            continue
                        } else {
                            try reader.skipValue()
                        }
                    }
                }
            } else {
                try reader.skipValue()
            }
        }
    }

    private mutating func metadata(_ strings: inout StringTable) throws(DecodingProblem) -> DecodedMetadata {
        var found = DecodedMetadata()
        guard try reader.enterObject() else { return found }
        while let name = try reader.nextKey() {
            if name == "name" {
                found.name = try text("metadata.name", &strings)
            } else if name == "namespace" {
                found.namespace = try text("metadata.namespace", &strings)
            } else if name == "resourceVersion" {
                found.resourceVersion = try reader.string()?.string
            } else if name == "labels" {
                guard try reader.enterObject() else { continue }
                while let label = try reader.nextKey() {
                    if label == DecodedMetadata.serviceNameLabel {
                        found.serviceName = try text("the label kubernetes.io/service-name", &strings)
                    } else {
                        try reader.skipValue()
                    }
                }
            } else if name == "annotations" {
                guard try reader.enterObject() else { continue }
                while let annotation = try reader.nextKey() {
                    if annotation == DecodedMetadata.triggerTimeAnnotation {
                        found.lastChangeTriggerTime = try text("an annotation", &strings)
                    } else if annotation == DecodedMetadata.initialEventsEndAnnotation {
                        found.endsInitialEvents = try reader.string().map { $0 == "true" } ?? false
                    } else {
                        try reader.skipValue()
                    }
                }
            } else {
                try reader.skipValue()
            }
        }
        return found
    }

    /// A short string, shared; empty for null.
    private mutating func text(_ field: StaticString, _ strings: inout StringTable) throws(DecodingProblem) -> String {
        guard let text = try reader.string() else { return "" }
        guard text.count <= DecodedMetadata.mostTextBytes else { throw DecodingProblem("\(field) is longer than 1024 bytes") }
        return text.string(&strings)
    }

    /// The same for what hardly repeats.
    private mutating func text(_ field: StaticString) throws(DecodingProblem) -> String {
        guard let text = try reader.string() else { return "" }
        guard text.count <= DecodedMetadata.mostTextBytes else { throw DecodingProblem("\(field) is longer than 1024 bytes") }
        return text.string
    }

    // MARK: EndpointSlice

    private mutating func slice(_ key: inout ObjectKey?, _ strings: inout StringTable) throws(DecodingProblem) -> EndpointSlice {
        var found = DecodedMetadata()
        var addressType = ""
        var ports: [EndpointSlice.Port] = []
        var endpoints: [EndpointSlice.Endpoint] = []
        guard try reader.enterObject() else { throw DecodingProblem("an object that is null") }
        while let name = try reader.nextKey() {
            if name == "metadata" {
                found = try metadata(&strings)
                key = found.key
            } else if name == "addressType" {
                addressType = try text("addressType", &strings)
            } else if name == "endpoints" {
                guard try reader.enterArray() else { continue }
                while try reader.hasNextElement() { endpoints.append(try endpoint(&strings)) }
            } else if name == "ports" {
                guard try reader.enterArray() else { continue }
                while try reader.hasNextElement() { ports.append(try port(&strings)) }
            } else {
                try reader.skipValue()
            }
        }
        return EndpointSlice(
            metadata: try found.metadata(), addressType: EndpointSlice.AddressType(addressType), ports: ports, endpoints: endpoints)
    }

    private mutating func port(_ strings: inout StringTable) throws(DecodingProblem) -> EndpointSlice.Port {
        var port = EndpointSlice.Port(number: nil)
        guard try reader.enterObject() else { return port }
        while let name = try reader.nextKey() {
            if name == "name" {
                port.name = try text("a port's name", &strings)
            } else if name == "port" {
                port.number = try reader.integer().map { wide throws(DecodingProblem) in try UInt16(port: wide) }
            } else if name == "protocol" {
                port.transport = Transport(try reader.string()?.string(&strings))
            } else {
                try reader.skipValue()
            }
        }
        return port
    }

    private mutating func endpoint(_ strings: inout StringTable) throws(DecodingProblem) -> EndpointSlice.Endpoint {
        var endpoint = EndpointSlice.Endpoint(address: nil)
        guard try reader.enterObject() else { return endpoint }
        while let name = try reader.nextKey() {
            if name == "addresses" {
                guard try reader.enterArray() else { continue }
                while try reader.hasNextElement() {
                    if endpoint.address == nil { endpoint.address = try text("an address") } else { try reader.skipValue() }
                }
            } else if name == "conditions" {
                endpoint.conditions = try conditions()
            } else if name == "targetRef" {
                guard try reader.enterObject() else { continue }
                while let name = try reader.nextKey() {
                    if name == "uid" {
                        endpoint.uid = try text("targetRef.uid")
                    } else if name == "name" {
                        endpoint.name = try text("targetRef.name")
                    } else {
                        try reader.skipValue()
                    }
                }
            } else if name == "nodeName" {
                endpoint.node = try text("nodeName", &strings)
            } else if name == "zone" {
                endpoint.zone = try text("zone", &strings)
            } else {
                try reader.skipValue()
            }
        }
        return endpoint
    }

    private mutating func conditions() throws(DecodingProblem) -> Endpoint.Conditions {
        var conditions: Endpoint.Conditions = [.ready, .serving]
        guard try reader.enterObject() else { return conditions }
        while let name = try reader.nextKey() {
            if name == "ready" {
                if try reader.bool() == false { conditions.remove(.ready) } else { conditions.insert(.ready) }
            } else if name == "serving" {
                if try reader.bool() == false { conditions.remove(.serving) } else { conditions.insert(.serving) }
            } else if name == "terminating" {
                if try reader.bool() == true { conditions.insert(.terminating) } else { conditions.remove(.terminating) }
            } else {
                try reader.skipValue()
            }
        }
        return conditions
    }

    // MARK: Service

    private mutating func service(_ key: inout ObjectKey?, _ strings: inout StringTable) throws(DecodingProblem) -> Service {
        var found = DecodedMetadata()
        var ports: [Service.Port] = []
        guard try reader.enterObject() else { throw DecodingProblem("an object that is null") }
        while let name = try reader.nextKey() {
            if name == "metadata" {
                found = try metadata(&strings)
                key = found.key
            } else if name == "spec" {
                guard try reader.enterObject() else { continue }
                while let name = try reader.nextKey() {
                    if name == "ports" {
                        guard try reader.enterArray() else { continue }
                        while try reader.hasNextElement() {
                            let port = try port(&strings)
                            guard let number = port.number else { throw DecodingProblem("a Service port without a number") }
                            ports.append(Service.Port(name: port.name, number: number, transport: port.transport))
                        }
                    } else {
                        try reader.skipValue()
                    }
                }
            } else {
                try reader.skipValue()
            }
        }
        return Service(metadata: try found.metadata(), ports: ports)
    }
}
