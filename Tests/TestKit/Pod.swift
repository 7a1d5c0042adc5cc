import Model

/// An endpoint as Kubernetes would write it: one pod, its addresses, its ports.
public struct Pod: Sendable {
    public var uid: String
    /// One EndpointSlice for each family that is in here.
    public var addresses: [String]
    /// By the name of the Service port; the Service's own numbers are 1, 2, ….
    public var ports: [(name: String, number: UInt16)]
    public var ready: Bool?
    public var serving: Bool?
    public var terminating: Bool?

    public init(
        _ uid: String, _ addresses: [String], ports: [(name: String, number: UInt16)], ready: Bool? = true, serving: Bool? = nil,
        terminating: Bool? = nil
    ) {
        self.uid = uid
        self.addresses = addresses
        self.ports = ports
        self.ready = ready
        self.serving = serving
        self.terminating = terminating
    }

    /// A pod with one port, `http`.
    public init(_ uid: String, at address: SocketAddress, ready: Bool? = true) {
        self.init(uid, [address.ip], ports: [("http", address.port)], ready: ready)
    }

    /// A Service and its EndpointSlices, in YAML. On loopback every pod has ports of its own, so every pod has slices of its own.
    public static func manifest(_ pods: [Pod], of service: String) -> String {
        let parts = service.split(separator: "/").map(String.init)
        let names = pods.first?.ports.map(\.name) ?? ["http"]
        var documents = [
            """
            apiVersion: v1
            kind: Service
            metadata: { namespace: \(parts[0]), name: \(parts[1]) }
            spec:
              ports:
            \(names.enumerated().map { "  - { name: \($1), port: \($0 + 1), protocol: TCP, targetPort: \($1) }" }.joined(separator: "\n"))
            """
        ]
        for (i, pod) in pods.enumerated() {
            for (family, addresses) in [
                ("IPv4", pod.addresses.filter { !$0.contains(":") }), ("IPv6", pod.addresses.filter { $0.contains(":") }),
            ]
            where !addresses.isEmpty {
                var conditions: [String] = []
                if let ready = pod.ready { conditions.append("ready: \(ready)") }
                if let serving = pod.serving { conditions.append("serving: \(serving)") }
                if let terminating = pod.terminating { conditions.append("terminating: \(terminating)") }
                documents.append(
                    """
                    apiVersion: discovery.k8s.io/v1
                    kind: EndpointSlice
                    metadata:
                      namespace: \(parts[0])
                      name: \(parts[1])-\(i)-\(family.lowercased())
                      labels: { kubernetes.io/service-name: \(parts[1]) }
                    addressType: \(family)
                    ports:
                    \(pod.ports.map { "- { name: \($0.name), port: \($0.number), protocol: TCP }" }.joined(separator: "\n"))
                    endpoints:
                    - addresses: [\(addresses.map { "\"\($0)\"" }.joined(separator: ", "))]
                      conditions: { \(conditions.joined(separator: ", ")) }
                      nodeName: node-a
                      targetRef: { kind: Pod, namespace: \(parts[0]), name: \(pod.uid), uid: \(pod.uid) }
                    """)
            }
        }
        return documents.joined(separator: "\n---\n") + "\n"
    }
}
