/// `application/vnd.kubernetes.protobuf`: just the fields that the test server has.
///
/// Source: apimachinery's runtime.Unknown, meta/v1, discovery/v1 and core/v1 generated.proto.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    mutating func number(_ field: UInt64, _ value: UInt64) {
        varint(field << 3)
        varint(value)
    }

    mutating func data(_ field: UInt64, _ value: some Collection<UInt8>) {
        varint(field << 3 | 2)
        varint(UInt64(value.count))
        bytes += value
    }

    mutating func text(_ field: UInt64, _ value: String) { data(field, Array(value.utf8)) }

    mutating func message(_ field: UInt64, _ write: (inout ProtobufWriter) -> Void) {
        var inner = ProtobufWriter()
        write(&inner)
        data(field, inner.bytes)
    }

    mutating func map(_ field: UInt64, _ pairs: [String: String]) {
        for (key, value) in pairs.sorted(by: { $0.key < $1.key }) {
            message(field) {
                $0.text(1, key)
                $0.text(2, value)
            }
        }
    }

    /// `k8s\0` and a runtime.Unknown around a message.
    static func enveloped(_ apiVersion: String, _ kind: String, _ raw: [UInt8]) -> [UInt8] {
        var unknown = ProtobufWriter()
        unknown.message(1) {
            $0.text(1, apiVersion)
            $0.text(2, kind)
        }
        unknown.data(2, raw)
        return [0x6b, 0x38, 0x73, 0x00] + unknown.bytes
    }
}

extension TestObject {
    var protobuf: [UInt8] {
        var out = ProtobufWriter()
        out.message(1) { metadata in
            metadata.text(1, key.name)
            metadata.text(3, key.namespace)
            metadata.text(5, "\(key.resource.rawValue)-\(key.namespace)-\(key.name)")
            metadata.text(6, "\(resourceVersion)")
            metadata.map(11, labels)
            metadata.map(12, annotations)
            metadata.message(17) {
                $0.text(1, "kube-controller-manager")
                $0.text(2, "Update")
            }
        }
        switch body {
        case .slice(let type, let ports, let endpoints):
            for endpoint in endpoints { out.message(2) { write(endpoint, &$0) } }
            for port in ports {
                out.message(3) {
                    if let name = port.name { $0.text(1, name) }
                    $0.text(2, "TCP")
                    if let number = port.number { $0.number(3, UInt64(number)) }
                }
            }
            out.text(4, type)
        case .service(let ports):
            out.message(2) { spec in
                for (i, port) in ports.enumerated() {
                    spec.message(1) {
                        $0.text(1, port.name ?? "")
                        $0.text(2, "TCP")
                        $0.number(3, UInt64(port.number ?? i + 1))
                        $0.message(4) {
                            $0.number(1, 1)
                            $0.text(3, port.name ?? "http")
                        }
                    }
                }
                spec.map(2, ["app": key.name])
                spec.text(4, "ClusterIP")
            }
        }
        return out.bytes
    }

    private func write(_ endpoint: Endpoint, _ out: inout ProtobufWriter) {
        for address in endpoint.addresses { out.text(1, address) }
        out.message(2) {
            if let ready = endpoint.ready { $0.number(1, ready ? 1 : 0) }
            if let serving = endpoint.serving { $0.number(2, serving ? 1 : 0) }
            if let terminating = endpoint.terminating { $0.number(3, terminating ? 1 : 0) }
        }
        out.message(4) {
            $0.text(1, "Pod")
            $0.text(2, key.namespace)
            $0.text(3, "pod-" + endpoint.uid)
            $0.text(4, endpoint.uid)
        }
        out.text(6, endpoint.node)
        if !endpoint.zone.isEmpty { out.text(7, endpoint.zone) }
    }
}
