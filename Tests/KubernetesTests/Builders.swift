import Foundation
import Kubernetes
import Model

/// Short forms for the tables of these tests.
func slice(
    _ name: String, service: String? = "web", namespace: String = "shop", type: EndpointSlice.AddressType = .ipv4,
    ports: [EndpointSlice.Port] = [http(8080)], _ endpoints: [EndpointSlice.Endpoint]
) -> EndpointSlice {
    EndpointSlice(
        metadata: ObjectMetadata(key: ObjectKey(namespace: namespace, name: name), serviceName: service), addressType: type,
        ports: ports, endpoints: endpoints)
}

func http(_ number: UInt16?) -> EndpointSlice.Port { EndpointSlice.Port(name: "http", number: number) }

func at(
    _ address: String?, uid: String = "", ready: Bool = true, serving: Bool = true, terminating: Bool = false, node: String = "",
    zone: String = ""
) -> EndpointSlice.Endpoint {
    var conditions: Endpoint.Conditions = []
    if ready { conditions.insert(.ready) }
    if serving { conditions.insert(.serving) }
    if terminating { conditions.insert(.terminating) }
    return EndpointSlice.Endpoint(address: address, conditions: conditions, uid: uid, node: node, zone: zone)
}

func service(named name: String = "web", namespace: String = "shop", _ ports: [Service.Port]) -> Service {
    Service(metadata: ObjectMetadata(key: ObjectKey(namespace: namespace, name: name)), ports: ports)
}

func key(_ name: String, namespace: String = "shop") -> ObjectKey { ObjectKey(namespace: namespace, name: name) }

func pool(_ name: String = "web", service: String = "web", namespace: String = "shop", port: PortReference = .name("http")) -> PoolSource {
    PoolSource(name: name, service: ObjectKey(namespace: namespace, name: service), port: port)
}

extension EndpointMerge {
    init(_ pools: [PoolSource], _ slices: [EndpointSlice], _ services: [Service] = []) {
        self.init(pools: pools)
        for one in slices { upsert(one) }
        for one in services { upsert(one) }
    }

    /// Commits, and describes each change in a word and an id or address.
    mutating func changes() -> [EndpointChange] {
        var (changes, problems): ([EndpointChange], [SourceProblem]) = ([], [])
        commit(&changes, &problems)
        return changes
    }

    mutating func newProblems() -> [SourceProblem] {
        var (changes, problems): ([EndpointChange], [SourceProblem]) = ([], [])
        commit(&changes, &problems)
        return problems
    }

    /// Every endpoint of a pool in one sorted line each: addresses, then what is special about it.
    func table(_ pool: String = "web") -> [String] {
        endpoints(of: PoolID(name: pool)).map { endpoint in
            var words = endpoint.addresses.map(\.description)
            if !endpoint.conditions.contains(.ready) { words.append("unready") }
            if !endpoint.conditions.contains(.serving) { words.append("not-serving") }
            if endpoint.conditions.contains(.terminating) { words.append("terminating") }
            return words.joined(separator: " ")
        }.sorted()
    }
}

func fixture(_ name: String) throws -> Data {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    return try Data(contentsOf: folder.appendingPathComponent("Fixtures/kubernetes/\(name)"))
}

/// Both ways in which text becomes a manifest.
enum Format: CaseIterable, Sendable { case json, yaml }
