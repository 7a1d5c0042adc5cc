/// An EndpointSlice or a Service as the test API server keeps it.
public struct TestObject: Sendable {
    public struct Key: Hashable, Sendable, Comparable {
        public var resource: Resource
        public var namespace: String
        public var name: String

        public init(resource: Resource, namespace: String, name: String) {
            self.resource = resource
            self.namespace = namespace
            self.name = name
        }

        public static func < (a: Key, b: Key) -> Bool {
            (a.resource.rawValue, a.namespace, a.name) < (b.resource.rawValue, b.namespace, b.name)
        }
    }

    public enum Resource: String, Sendable, CaseIterable {
        case endpointslices
        case services

        var apiVersion: String { self == .endpointslices ? "discovery.k8s.io/v1" : "v1" }
        var kind: String { self == .endpointslices ? "EndpointSlice" : "Service" }
        var group: String { self == .endpointslices ? "discovery.k8s.io" : "" }
    }

    public struct Port: Sendable {
        /// Nil: the field is missing.
        public var name: String?
        public var number: Int?
        public init(_ name: String?, _ number: Int?) {
            self.name = name
            self.number = number
        }
    }

    public struct Endpoint: Sendable {
        public var uid: String
        public var addresses: [String]
        public var ready: Bool?
        public var serving: Bool?
        public var terminating: Bool?
        public var node = "node-a"
        public var zone = ""

        public init(_ uid: String, _ addresses: [String], ready: Bool? = true, serving: Bool? = nil, terminating: Bool? = nil) {
            self.uid = uid
            self.addresses = addresses
            self.ready = ready
            self.serving = serving
            self.terminating = terminating
        }
    }

    public enum Body: Sendable {
        case slice(addressType: String, ports: [Port], endpoints: [Endpoint])
        case service(ports: [Port])
    }

    public var key: Key
    public var labels: [String: String]
    public var annotations: [String: String] = [:]
    public var body: Body
    /// Given by the store.
    public internal(set) var resourceVersion: UInt64 = 0

    /// A slice of the Service `service`.
    public static func slice(
        _ namespace: String, _ name: String, of service: String, ports: [Port], addressType: String = "IPv4", _ endpoints: [Endpoint]
    ) -> TestObject {
        TestObject(
            key: Key(resource: .endpointslices, namespace: namespace, name: name),
            labels: ["kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"],
            body: .slice(addressType: addressType, ports: ports, endpoints: endpoints))
    }

    public static func service(_ namespace: String, _ name: String, ports: [Port]) -> TestObject {
        TestObject(key: Key(resource: .services, namespace: namespace, name: name), labels: [:], body: .service(ports: ports))
    }

    /// As the server writes it, with what a real one also writes and nobody needs.
    var json: String {
        let resource = key.resource
        var metadata =
            "\"name\":\(quoted(key.name)),\"namespace\":\(quoted(key.namespace)),\"uid\":\"\(resource.rawValue)-\(key.namespace)-\(key.name)\","
            + "\"resourceVersion\":\"\(resourceVersion)\",\"generation\":1,\"creationTimestamp\":\"2026-01-02T03:04:05Z\""
        if !labels.isEmpty { metadata += ",\"labels\":\(object(labels))" }
        if !annotations.isEmpty { metadata += ",\"annotations\":\(object(annotations))" }
        metadata += Self.managedFields
        let head = "{\"kind\":\"\(resource.kind)\",\"apiVersion\":\"\(resource.apiVersion)\",\"metadata\":{\(metadata)},"
        switch body {
        case .service(let ports):
            let list = ports.enumerated().map { i, port in
                "{\(port.name.map { "\"name\":\(quoted($0))," } ?? "")\"protocol\":\"TCP\",\"port\":\(port.number ?? i + 1),\"targetPort\":\(quoted(port.name ?? "http"))}"
            }
            return head + "\"spec\":{\"ports\":[\(list.joined(separator: ","))],\"selector\":{\"app\":\(quoted(key.name))},\"type\":\"ClusterIP\"},\"status\":{\"loadBalancer\":{}}}"
        case .slice(let type, let ports, let endpoints):
            let ports = ports.map { port in
                let fields = [port.name.map { "\"name\":\(quoted($0))" }, port.number.map { "\"port\":\($0)" }, "\"protocol\":\"TCP\""]
                return "{\(fields.compactMap(\.self).joined(separator: ","))}"
            }
            return head + "\"addressType\":\"\(type)\",\"endpoints\":[\(endpoints.map(json).joined(separator: ","))],\"ports\":[\(ports.joined(separator: ","))]}"
        }
    }

    private func json(_ endpoint: Endpoint) -> String {
        let conditions = [
            endpoint.ready.map { "\"ready\":\($0)" }, endpoint.serving.map { "\"serving\":\($0)" },
            endpoint.terminating.map { "\"terminating\":\($0)" },
        ].compactMap(\.self).joined(separator: ",")
        let addresses = endpoint.addresses.map { "\"\($0)\"" }.joined(separator: ",")
        return "{\"addresses\":[\(addresses)],\"conditions\":{\(conditions)},\"targetRef\":{\"kind\":\"Pod\",\"namespace\":\(quoted(key.namespace)),"
            + "\"name\":\(quoted("pod-" + endpoint.uid)),\"uid\":\(quoted(endpoint.uid))},\"nodeName\":\(quoted(endpoint.node))"
            + "\(endpoint.zone.isEmpty ? "" : ",\"zone\":\(quoted(endpoint.zone))")}"
    }

    private static let managedFields =
        ",\"managedFields\":[{\"manager\":\"kube-controller-manager\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"time\":\"2026-01-02T03:04:05Z\","
        + "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app\":{}}}}}]"
}

/// A JSON text.
func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": out += "\\\""
        case "\\": out += "\\\\"
        case let s where s.value < 0x20: out += "\\u00" + (s.value < 16 ? "0" : "") + String(s.value, radix: 16)
        default: out.unicodeScalars.append(scalar)
        }
    }
    return out + "\""
}

/// A JSON object of texts.
func object(_ pairs: [String: String]) -> String {
    "{" + pairs.sorted { $0.key < $1.key }.map { "\(quoted($0.key)):\(quoted($0.value))" }.joined(separator: ",") + "}"
}
