extension WatchScope {
    /// What has to be watched for these pools, and nothing else: in each namespace the slices of the Services that pools name, and
    /// those Services themselves where a pool's port can only be found through them. In a fixed order; none twice.
    ///
    /// Slices are selected by the label of their Service. Services have no label with their name: one is selected by its field, of
    /// several the whole namespace is read. Beyond ``mostNamespaces`` one watch of all namespaces takes the place of many.
    public static func needed(for pools: [PoolSource]) -> [WatchScope] {
        var sliced: [String: Set<String>] = [:]
        var translated: [String: Set<String>] = [:]
        for pool in pools {
            sliced[pool.service.namespace, default: []].insert(pool.service.name)
            switch pool.port {
            case .name: break
            case .number, .only: translated[pool.service.namespace, default: []].insert(pool.service.name)
            }
        }
        return slices(of: sliced) + services(of: translated)
    }

    /// A watch costs both sides a stream; all namespaces cost the right to see them.
    static let mostNamespaces = 32
    /// Longer ones would make URLs that proxies refuse.
    static let mostSelectorBytes = 2048

    private static func slices(of names: [String: Set<String>]) -> [WatchScope] {
        if names.count > mostNamespaces {
            let all = Set(names.values.joined())
            return [WatchScope(.endpointSlices, namespace: nil, labelSelector: selector(all))]
        }
        return names.sorted { $0.key < $1.key }.map { WatchScope(.endpointSlices, namespace: $0.key, labelSelector: selector($0.value)) }
    }

    private static func selector(_ names: Set<String>) -> String {
        let label = "kubernetes.io/service-name"
        let text = names.count == 1 ? "\(label)=\(names.joined())" : "\(label) in (\(names.sorted().joined(separator: ",")))"
        return text.utf8.count <= mostSelectorBytes ? text : label
    }

    private static func services(of names: [String: Set<String>]) -> [WatchScope] {
        if names.count > mostNamespaces { return [WatchScope(.services, namespace: nil)] }
        return names.sorted { $0.key < $1.key }.map { namespace, names in
            WatchScope(.services, namespace: namespace, fieldSelector: names.count == 1 ? "metadata.name=\(names.joined())" : "")
        }
    }
}
