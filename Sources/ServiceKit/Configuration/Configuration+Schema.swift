import Model

// The one table of keys. Docs, `leasehold check` and error messages all come from here.

extension Configuration {
    static let schema = Section(initial: Configuration()) { keys in
        keys.value(
            "runtime-directory", \.runtimeDirectory, .path(atMost: 64), traits: .restart,
            "Where the sockets between the processes live; at most 64 bytes, so that every socket's path fits.")
        keys.value(
            "state-directory", \.stateDirectory, .path(), traits: .restart,
            "Where the processes keep what must outlive them, a directory for each.")
        keys.optionalSection(
            "source", \.source, SourceConfiguration.schema, "Where endpoints come from; needed as soon as one pool names a service.")
        keys.defaults()
        keys.sections(
            "pools", \.pools, PoolConfiguration.schema, start: { $0.poolDefaults }, label: { $0.name },
            "The pools: at least one, unless the file is for an asset cache alone.")
        keys.sections(
            "listeners", \.listeners, ListenerConfiguration.schema, start: { $0.listenerDefaults }, label: { $0.name },
            "The addresses that callers connect to.")
        keys.optionalSection(
            "publisher", \.publisher, PublisherConfiguration.schema,
            "Metrics, health and a status page over HTTP; without this section nobody serves them.")
        keys.optionalSection(
            "asset-cache", \.assetCache, AssetCacheConfiguration.schema, "The cache of assets on this node: an S3 store of its own.")
        keys.value(
            "recovery-grace", \.recoveryGrace, .duration(atLeast: .zero, atMost: .seconds(60)),
            "After a start, how long the pool-keeper waits for the leases of dispatchers whose process is gone; no less than the longest abandon.")
        keys.value(
            "adopt-within", \.adoptWithin, .duration(atLeast: .zero, atMost: .seconds(600)),
            "How long the sessions and waiting callers of a dead dispatcher wait for its successor before they are cut.")
        keys.value(
            "log-jobs", \.logJobs, .logJobs,
            "Which jobs get a line in the journal: all, those not served, or those and one of every N served.")
        keys.section("dispatcher", \.dispatcher, DispatcherConfiguration.schema, "What holds for the dispatcher, whatever the listener.")
    }
}

extension KeyTable where Root == Configuration {
    /// Read into the pass itself: pools and listeners begin as copies of what stands here.
    fileprivate mutating func defaults() {
        let documentation = [
            ConfigurationKey(
                path: "defaults", type: "section", defaultText: "", isRequired: false, needsRestart: false, canHaveDefault: false,
                onlyProtocol: "", sentence: "What pools and listeners begin with; each may say otherwise."),
            ConfigurationKey(
                path: "defaults.pool", type: "section", defaultText: "", isRequired: false, needsRestart: false, canHaveDefault: false,
                onlyProtocol: "", sentence: "What every pool begins with: any of its keys but \(PoolConfiguration.schema.individualKeys)."),
            ConfigurationKey(
                path: "defaults.listener", type: "section", defaultText: "", isRequired: false, needsRestart: false, canHaveDefault: false,
                onlyProtocol: "",
                sentence: "What every listener begins with: any of its keys but \(ListenerConfiguration.schema.individualKeys)."),
        ]
        let key = Key<Root>(
            name: "defaults", traits: [], example: "",
            read: { node, key, _, reading in
                var defaults = Defaults()
                Defaults.schema.read(node, at: key, into: &defaults, &reading)
                reading.poolDefaults = defaults.pool
                reading.listenerDefaults = defaults.listener
            },
            render: { _ in nil }, documentation: documentation, restartValues: { _, _ in [] })
        keys.append(key)
    }
}

extension Section {
    fileprivate var individualKeys: String { keys.filter { $0.traits.contains(.individual) }.map(\.name).joined(separator: ", ") }
}

/// The section `defaults`, which is gone once pools and listeners have been read.
private struct Defaults: Hashable, Sendable {
    var pool = PoolConfiguration()
    var listener = ListenerConfiguration()

    static let schema = Section(initial: Defaults()) { keys in
        keys.defaults("pool", \.pool, PoolConfiguration.schema)
        keys.defaults("listener", \.listener, ListenerConfiguration.schema)
    }
}

extension KeyTable {
    fileprivate mutating func defaults<Part>(
        _ name: String, _ property: WritableKeyPath<Root, Part> & Sendable, _ section: Section<Part>
    ) {
        let key = Key<Root>(
            name: name, traits: [], example: "",
            read: { node, key, root, reading in
                section.read(node, at: key, into: &root[keyPath: property], &reading, checksRequired: false, onlyDefaults: true)
            },
            render: { _ in nil }, documentation: [], restartValues: { _, _ in [] })
        keys.append(key)
    }
}

extension SourceConfiguration {
    static let schema = Section(initial: SourceConfiguration()) { keys in
        keys.optional(
            "directory", \.directory, .path(), traits: .restart, absent: "",
            "EndpointSlice and Service manifests, YAML or JSON, watched; an unreadable directory is unknown, never empty.")
        keys.sectionOrWord(
            "kubernetes", \.kubernetes, KubernetesConfiguration.schema, word: "in-cluster", traits: .restart,
            "An API server, whose EndpointSlices and Services are watched; in-cluster is the pod's own, with every default.")
        keys.refused("route-server", remedy: "use source.directory with exported EndpointSlices, or source.kubernetes")
    }
}

extension KubernetesConfiguration {
    static let schema = Section(initial: KubernetesConfiguration(), inapplicable: { $0.kubeconfig == nil ? [] : ["service-account"] }) { keys in
        keys.optional(
            "kubeconfig", \.kubeconfig, .path(), traits: .restart, absent: "the pod's service account",
            "A kubeconfig file; what it names is read again for every request, so that rotated credentials are used.")
        keys.optional(
            "context", \.context, .text, traits: .restart, absent: "its current-context", "The context of the kubeconfig file.")
        keys.value(
            "service-account", \.serviceAccount, .path(), traits: .restart,
            "Where the pod's token, ca.crt and namespace are; the server is in KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.")
        keys.value(
            "doubt", \.doubt, .percent, traits: .restart,
            "When a list shows more than this share of a pool gone, and no event told so, the removal waits for doubt-for; so does an empty pool.")
        keys.value(
            "doubt-for", \.doubtFor, .duration(atLeast: .zero, atMost: .seconds(3_600)), traits: .restart,
            "How long such a removal is held back before it is believed; 0 believes at once.")
    }
}

extension DispatcherConfiguration {
    static let schema = Section(initial: DispatcherConfiguration()) { keys in
        keys.value(
            "threads", \.threads, .count(1...64), traits: .restart,
            "Event loops; each takes connections from every listener.")
    }
}
