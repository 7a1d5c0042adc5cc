import Kubernetes
import Model

/// Writes what an API server sends, byte for byte as one does, with all that a reader has to pass over.
public enum KubernetesEncoding: Sendable, CaseIterable {
    case json
    case protobuf

    /// What a server answers with that was asked for this; protobuf where that comes first.
    public init(accept: String) { self = accept.hasPrefix("application/vnd.kubernetes.protobuf") ? .protobuf : .json }

    public func contentType(isWatch: Bool) -> String {
        switch self {
        case .json: "application/json"
        case .protobuf: "application/vnd.kubernetes.protobuf" + (isWatch ? ";stream=watch" : "")
        }
    }

    public func list(_ slices: some Sequence<EndpointSlice>, version: Int, next: String = "") -> [UInt8] {
        switch self {
        case .json:
            let items = slices.map(\.json).joined(separator: ",")
            return Array(
                #"{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"\#(version)","continue":"\#(next)"},"items":[\#(items)]}"#
                    .utf8)
        case .protobuf:
            var list = ProtobufWriter()
            list.message(1) { metadata in
                metadata.text(2, "\(version)")
                metadata.text(3, next)
            }
            for slice in slices { list.message(2, slice.write) }
            return list.enveloped("discovery.k8s.io/v1", "EndpointSliceList")
        }
    }

    /// ADDED, MODIFIED or DELETED.
    public func event(_ type: String, _ slice: EndpointSlice) -> [UInt8] {
        switch self {
        case .json: return Self.line(type, slice.json)
        case .protobuf:
            var object = ProtobufWriter()
            slice.write(&object)
            return Self.frame(type, object.enveloped("discovery.k8s.io/v1", "EndpointSlice"))
        }
    }

    public func bookmark(_ version: Int, endsInitialEvents: Bool) -> [UInt8] {
        switch self {
        case .json:
            let annotations = endsInitialEvents ? #","annotations":{"k8s.io/initial-events-end":"true"}"# : ""
            return Self.line(
                "BOOKMARK",
                #"{"kind":"EndpointSlice","metadata":{"resourceVersion":"\#(version)","creationTimestamp":null\#(annotations)},"endpoints":null}"#
            )
        case .protobuf:
            var object = ProtobufWriter()
            object.message(1) { metadata in
                metadata.text(6, "\(version)")
                metadata.message(8) { _ in }
                if endsInitialEvents { metadata.entry(12, "k8s.io/initial-events-end", "true") }
            }
            return Self.frame("BOOKMARK", object.enveloped("discovery.k8s.io/v1", "EndpointSlice"))
        }
    }

    /// An ERROR event.
    public func error(_ code: Int, _ reason: String, _ message: String) -> [UInt8] {
        switch self {
        case .json: Self.line("ERROR", String(decoding: status(code, reason, message), as: UTF8.self))
        case .protobuf: Self.frame("ERROR", status(code, reason, message))
        }
    }

    public func status(_ code: Int, _ reason: String, _ message: String) -> [UInt8] {
        switch self {
        case .json:
            return Array(
                #"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"\#(message)","reason":"\#(reason)","code":\#(code)}"#
                    .utf8)
        case .protobuf:
            var status = ProtobufWriter()
            status.message(1) { _ in }
            status.text(2, "Failure")
            status.text(3, message)
            status.text(4, reason)
            status.number(6, UInt64(code))
            return status.enveloped("v1", "Status")
        }
    }

    private static func line(_ type: String, _ object: String) -> [UInt8] {
        Array((#"{"type":"\#(type)","object":\#(object)}"# + "\n").utf8)
    }

    /// A frame of a watch: four bytes of length, then a WatchEvent, which alone is in no envelope.
    private static func frame(_ type: String, _ object: [UInt8]) -> [UInt8] {
        var event = ProtobufWriter()
        event.text(1, type)
        event.message(2) { $0.bytes(1, object) }
        let count = UInt32(event.bytes.count)
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> UInt32($0)) } + event.bytes
    }
}

/// Appends protobuf fields, without those that are empty.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    private mutating func varint(_ value: UInt64) {
        var value = value
        while value > 0x7F {
            bytes.append(UInt8(value & 0x7F) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }

    mutating func number(_ field: UInt64, _ value: UInt64) {
        varint(field << 3)
        varint(value)
    }

    mutating func bytes(_ field: UInt64, _ value: some Collection<UInt8>) {
        varint(field << 3 | 2)
        varint(UInt64(value.count))
        bytes += value
    }

    mutating func text(_ field: UInt64, _ value: String) { if !value.isEmpty { bytes(field, value.utf8) } }

    mutating func message(_ field: UInt64, _ write: (inout ProtobufWriter) -> Void) {
        var inner = ProtobufWriter()
        write(&inner)
        bytes(field, inner.bytes)
    }

    mutating func entry(_ field: UInt64, _ key: String, _ value: String) {
        message(field) { entry in
            entry.bytes(1, key.utf8)
            entry.bytes(2, value.utf8)
        }
    }

    /// `k8s\0`, then `runtime.Unknown`.
    func enveloped(_ version: String, _ kind: String) -> [UInt8] {
        var unknown = ProtobufWriter()
        unknown.message(1) { type in
            type.text(1, version)
            type.text(2, kind)
        }
        unknown.bytes(2, bytes)
        return [0x6B, 0x38, 0x73, 0x00] + unknown.bytes
    }
}

extension EndpointSlice {
    /// As the API server writes it, with things in it that nobody should keep.
    public var json: String {
        let endpoints = endpoints.map { endpoint in
            let conditions = endpoint.conditions
            let target =
                endpoint.uid.isEmpty
                ? "" : #","targetRef":{"kind":"Pod","namespace":"\#(key.namespace)","name":"\#(endpoint.name)","uid":"\#(endpoint.uid)"}"#
            let node = endpoint.node.isEmpty ? "" : #","nodeName":"\#(endpoint.node)""#
            let zone = endpoint.zone.isEmpty ? "" : #","zone":"\#(endpoint.zone)","hints":{"forZones":[{"name":"\#(endpoint.zone)"}]}"#
            return
                #"{"addresses":[\#(endpoint.address.map { "\"\($0)\"" } ?? "")],"conditions":{"ready":\#(conditions.contains(.ready)),"serving":\#(conditions.contains(.serving)),"terminating":\#(conditions.contains(.terminating))}\#(target)\#(node)\#(zone)}"#
        }
        let ports = ports.map { port in
            #"{"name":"\#(port.name)","protocol":"TCP","port":\#(port.number.map { "\($0)" } ?? "null")}"#
        }
        let label = metadata.serviceName.map { #","kubernetes.io/service-name":"\#($0)""# } ?? ""
        let trigger = metadata.lastChangeTriggerTime.map {
            #","annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"\#($0)"}"#
        }
        return
            #"{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"\#(key.name)","namespace":"\#(key.namespace)","uid":"173759a1-fc60-4e67-ab8f-31655191b670","resourceVersion":"\#(metadata.resourceVersion ?? "")","generation":102,"creationTimestamp":"2026-11-21T03:31:07Z","labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io"\#(label)}\#(trigger ?? ""),"managedFields":[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"discovery.k8s.io/v1","time":"2026-11-21T03:31:34Z","fieldsType":"FieldsV1","fieldsV1":\#(Self.managedFields)}]},"addressType":"\#(addressText)","endpoints":[\#(endpoints.joined(separator: ","))],"ports":[\#(ports.joined(separator: ","))]}"#
    }

    /// With brackets inside of strings, as real ones have.
    private static let managedFields =
        #"{"f:addressType":{},"f:endpoints":{},"f:metadata":{"f:annotations":{".":{},"f:endpoints.kubernetes.io/last-change-trigger-time":{}},"f:labels":{".":{},"f:kubernetes.io/service-name":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"b65e6c67-562c-4b9b-b7d4-3e1f1e6f5a12]}\"}":{}}},"f:ports":{}}"#

    private var addressText: String {
        switch addressType {
        case .ipv4: "IPv4"
        case .ipv6: "IPv6"
        case .other(let type): type
        }
    }

    /// The same as `discovery.v1.EndpointSlice`.
    func write(_ writer: inout ProtobufWriter) {
        writer.message(1) { meta in
            meta.text(1, key.name)
            meta.text(3, key.namespace)
            meta.text(5, "173759a1-fc60-4e67-ab8f-31655191b670")
            meta.text(6, metadata.resourceVersion ?? "")
            meta.number(7, 102)
            meta.message(8) { $0.number(1, 1_795_232_067) }
            meta.entry(11, "endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io")
            if let name = metadata.serviceName { meta.entry(11, "kubernetes.io/service-name", name) }
            if let trigger = metadata.lastChangeTriggerTime { meta.entry(12, "endpoints.kubernetes.io/last-change-trigger-time", trigger) }
            meta.message(17) { managed in
                managed.text(1, "kube-controller-manager")
                managed.text(2, "Update")
                managed.text(3, "discovery.k8s.io/v1")
                managed.text(6, "FieldsV1")
                managed.message(7) { $0.text(1, Self.managedFields) }
            }
        }
        for endpoint in endpoints {
            writer.message(2) { one in
                if let address = endpoint.address { one.text(1, address) }
                one.message(2) { conditions in
                    conditions.number(1, endpoint.conditions.contains(.ready) ? 1 : 0)
                    conditions.number(2, endpoint.conditions.contains(.serving) ? 1 : 0)
                    conditions.number(3, endpoint.conditions.contains(.terminating) ? 1 : 0)
                }
                if !endpoint.uid.isEmpty {
                    one.message(4) { target in
                        target.text(1, "Pod")
                        target.text(2, key.namespace)
                        target.text(3, endpoint.name)
                        target.text(4, endpoint.uid)
                    }
                }
                one.text(6, endpoint.node)
                one.text(7, endpoint.zone)
                if !endpoint.zone.isEmpty { one.message(8) { hints in hints.message(1) { $0.text(1, endpoint.zone) } } }
            }
        }
        for port in ports {
            writer.message(3) { one in
                one.bytes(1, port.name.utf8)
                one.text(2, "TCP")
                if let number = port.number { one.number(3, UInt64(number)) }
            }
        }
        writer.text(4, addressText)
    }
}
