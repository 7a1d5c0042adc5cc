import CAllocations
import Glibc
import Kubernetes
import Model
import TestKit
import WatcherCore

/// One Service of a hundred endpoints to the slice, as its API server writes it, and the watcher's two machines that read it.
private struct KubernetesCrowd {
    static let endpointsPerSlice = 100
    /// What a transport gives at a time.
    static let piece = 64 << 10
    static let pool = PoolSource(name: "bench", service: ObjectKey(namespace: "shop", name: "browsers"), port: .name("http"))

    let encoding: KubernetesEncoding
    private var reflector = Reflector(WatchScope.needed(for: [pool])[0], seed: 1)
    private(set) var watcher: WatcherMachine
    private var request: APIRequest?
    private var now = Instant(nanoseconds: 1_000_000_000_000)
    private(set) var messages = 0
    /// Processor time inside the machines.
    private(set) var spent: UInt64 = 0
    private(set) var allocations: UInt64 = 0
    private(set) var bytes = 0

    init(_ encoding: KubernetesEncoding) {
        self.encoding = encoding
        watcher = WatcherMachine(pools: [Self.pool], localPools: [], source: .kubernetes(DoubtPolicy()), at: now)
        handle(.started)
        if let id = request?.id { handle(.responded(id, ResponseHead(status: 200, contentType: encoding.contentType(isWatch: true)))) }
    }

    /// - Parameter unready: how many of its endpoints are not ready.
    static func slice(_ number: Int, unready: Int = 0) -> EndpointSlice {
        let endpoints = (0..<endpointsPerSlice).map { index in
            let id = number * endpointsPerSlice + index
            let digits = String(id + 1_000_000, radix: 10)
            return EndpointSlice.Endpoint(
                address: "10.\(id >> 16 & 255).\(id >> 8 & 255).\(id & 255)", conditions: index < unready ? [.serving] : [.ready, .serving],
                uid: "501f3128-a6a3-46e7-8f3f-bbccd\(digits)", name: "browsers-7d4b9c6f5d-\(digits)",
                node: "ip-10-0-\(id % 1000 / 250)-\(id % 250).eu-central-1.compute.internal", zone: "eu-central-1\(["a", "b", "c"][id % 3])")
        }
        return EndpointSlice(
            metadata: ObjectMetadata(
                key: ObjectKey(namespace: "shop", name: "browsers-\(number + 10_000)"), serviceName: "browsers",
                lastChangeTriggerTime: "2026-11-21T03:31:34Z", resourceVersion: "\(number + 1_000_000)"),
            addressType: .ipv4, ports: [.init(name: "http", number: 8080), .init(name: "cdp", number: 9222)], endpoints: endpoints)
    }

    private mutating func handle(_ input: ReflectorInput) {
        var actions: [ReflectorAction] = []
        reflector.handle(input, at: now, &actions)
        for action in actions {
            switch action {
            case .request(let new): request = new
            case .apply(let update): tell(.kubernetesSaid(reflector.scope, update, sinceEpoch: .seconds(1_795_232_100)))
            case .health(let health): tell(.kubernetesHealth(reflector.scope, health, lastHeard: nil))
            case .cancel, .renewCredentials: fatalError("the benchmark's server is not understood")
            case .log: break
            }
        }
    }

    private mutating func tell(_ input: WatcherInput) {
        var actions: [WatcherAction] = []
        watcher.handle(input, at: now, &actions)
        for action in actions {
            switch action {
            case .send: messages += 1
            case .greetAll: watcher.greet(at: now) { _ in messages += 1 }
            case .save, .confirmSaved, .scan, .closeWorkers, .log: break
            }
        }
    }

    /// Everything that a body says, with the clock running only while the machines read.
    mutating func receive(_ body: [UInt8]) {
        guard let id = request?.id else { fatalError("nothing is asked for") }
        var start = 0
        while start < body.count {
            let end = min(body.count, start + Self.piece)
            let piece = Array(body[start..<end])
            let (began, calls) = (threadNanoseconds(), lh_allocations())
            handle(.received(id, piece))
            spent += threadNanoseconds() - began
            allocations += lh_allocations() - calls
            start = end
        }
        bytes += body.count
    }

    /// A streamed list, to its end.
    mutating func synchronize(slices: Int) {
        for number in 0..<slices { receive(encoding.event("ADDED", Self.slice(number))) }
        receive(encoding.bookmark(2_000_000, endsInitialEvents: true))
        guard watcher.published[Self.pool.pool]?.count == slices * Self.endpointsPerSlice else { fatalError("endpoints are missing") }
    }

    mutating func clear() { (spent, allocations, bytes) = (0, 0, 0) }
}

/// What reading a streamed list costs for each of its endpoints, and what one endpoint's change costs, in each encoding.
func kubernetesFigures(slices: Int) -> [Figure] {
    KubernetesEncoding.allCases.flatMap { encoding in
        var best: KubernetesCrowd?
        for _ in 0..<3 {
            var crowd = KubernetesCrowd(encoding)
            crowd.synchronize(slices: slices)
            if crowd.spent < best?.spent ?? .max { best = crowd }
        }
        guard var crowd = best else { return [Figure]() }
        let size = slices * KubernetesCrowd.endpointsPerSlice
        let listed = Figure(
            name: "kubernetes: an endpoint of a streamed list, \(encoding)", size: size, nanoseconds: Double(crowd.spent) / Double(size),
            allocations: Double(crowd.allocations) / Double(size))
        best = nil
        crowd.clear()
        let changes = 500
        for turn in 0..<changes {
            crowd.receive(encoding.event("MODIFIED", KubernetesCrowd.slice(turn % slices, unready: 1 + turn / slices % 50)))
        }
        let changed = Figure(
            name: "kubernetes: a change of one endpoint, \(encoding)", size: size, nanoseconds: Double(crowd.spent) / Double(changes),
            allocations: Double(crowd.allocations) / Double(changes))
        return [listed, changed]
    }
}

/// Reads a list of 100,000 endpoints in 1,000 slices in this process and says what it took, as a line of JSON.
func kubernetesMemory(_ name: String) -> String {
    guard let encoding = KubernetesEncoding.allCases.first(where: { "\($0)" == name }) else { fatalError("json or protobuf") }
    func peak() -> Int {
        var usage = rusage()
        guard unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { fatalError("getrusage: errno \(errno)") }
        return usage.ru_maxrss << 10
    }
    let before = peak()
    var crowd = KubernetesCrowd(encoding)
    crowd.synchronize(slices: 1_000)
    let first = peak()
    return """
        {"encoding": "\(encoding)", "endpoints": 100000, "bodyBytes": \(crowd.bytes), "milliseconds": \(crowd.spent / 1_000_000), \
        "peakBytesBefore": \(before), "peakBytes": \(first), "bytesPerEndpoint": \((first - before) / 100_000)}
        """
}
