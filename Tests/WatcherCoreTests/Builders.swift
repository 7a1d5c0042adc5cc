import Kubernetes
import Model
import Testing
import WatcherCore
import Wire

/// A machine on a clock that tests turn, with one consumer that follows every word from the first on.
struct Bench {
    var machine: WatcherMachine
    var now = Instant(nanoseconds: 1_000_000_000_000)
    /// What the consumer believes.
    var follower = Follower()
    /// Everything that was to be done, since last taken.
    var actions: [WatcherAction] = []

    init(pools: [PoolSource] = [pool("web")], localPools: Set<PoolID> = [PoolID(name: "web")], source: WatcherMachine.Source = .directory) {
        machine = WatcherMachine(pools: pools, localPools: localPools, source: source, at: now)
        follower.greet(machine, now)
    }

    mutating func handle(_ inputs: WatcherInput...) {
        for input in inputs { step(input) }
    }

    private mutating func step(_ input: WatcherInput) {
        var new: [WatcherAction] = []
        machine.handle(input, at: now, &new)
        machine.checkInvariants()
        for action in new {
            switch action {
            case .send(let message): follower.hear(message)
            case .greetAll: follower.greet(machine, now)
            case .save, .confirmSaved, .scan, .closeWorkers, .log: break
            }
        }
        actions += new
        expectAgreement()
    }

    /// Who follows the changes believes what somebody new is told.
    func expectAgreement(_ location: SourceLocation = #_sourceLocation) {
        var newcomer = Follower()
        newcomer.greet(machine, now)
        #expect(newcomer.endpoints == follower.endpoints, sourceLocation: location)
        #expect(newcomer.health?.state == follower.health?.state, sourceLocation: location)
        #expect(newcomer.health?.detail == follower.health?.detail, sourceLocation: location)
    }

    mutating func pass(_ time: Duration) { now = now + time }

    /// Lets the clock run to the machine's next wish, and fulfils it.
    mutating func wake() {
        now = max(now, machine.nextWake)
        handle(.wokeUp)
    }

    mutating func take() -> [WatcherAction] {
        defer { actions = [] }
        return actions
    }

    mutating func notices() -> [WatcherNotice] {
        take().compactMap { if case .log(let notice) = $0 { notice } else { nil } }
    }

    /// The first complete scan of a directory with these files.
    mutating func start(_ files: (String, Manifest)...) {
        for (name, manifest) in files { handle(.fileLoaded(name, manifest)) }
        handle(.scanCompleted(files: Set(files.map(\.0))))
    }

    /// One line for each endpoint of a pool that the consumer believes in.
    func table(_ pool: String = "web") -> [String] {
        (follower.endpoints[PoolID(name: pool)] ?? [:]).values.map { endpoint in
            endpoint.addresses.map(\.description).joined(separator: " ") + (endpoint.isUsable ? "" : " unusable")
                + (endpoint.isLocal ? " local" : "")
        }.sorted()
    }
}

/// The receiving end of the *endpoints* edge, as the protocol describes it.
struct Follower {
    var endpoints: [PoolID: [EndpointID: Endpoint]] = [:]
    var health: SourceHealth?
    var generation: UInt64 = 0
    /// Of the changes that were told with their age.
    var ages: [Duration] = []
    private var incoming: [PoolID: [EndpointID: Endpoint]]?

    mutating func greet(_ machine: WatcherMachine, _ now: Instant) {
        machine.greet(at: now) { hear($0) }
    }

    mutating func hear(_ message: EndpointsMessage) {
        switch message {
        case .source(let health): self.health = health
        case .propagated(let age): ages.append(age)
        case .snapshotBegin(let generation):
            incoming = [:]
            self.generation = generation
        case .snapshotEnd(let generation):
            #expect(generation == self.generation)
            endpoints = incoming ?? [:]
            incoming = nil
        case .upsert(let pool, let endpoint):
            if incoming == nil {
                endpoints[pool, default: [:]][endpoint.id] = endpoint
            } else {
                incoming?[pool, default: [:]][endpoint.id] = endpoint
            }
        case .remove(let pool, let id):
            #expect(incoming == nil)
            endpoints[pool]?[id] = nil
            if endpoints[pool]?.isEmpty == true { endpoints[pool] = nil }
        }
    }
}

func pool(_ name: String, port: PortReference = .only) -> PoolSource {
    PoolSource(name: name, service: ObjectKey(namespace: "shop", name: name), port: port)
}

/// A manifest with one slice; an address may be followed by `=` and a UID.
func manifest(_ slice: String, service: String = "web", _ addresses: String..., ready: Bool = true) -> Manifest {
    Manifest(slices: [makeSlice(slice, service: service, addresses, ready: ready)])
}

func makeSlice(_ name: String, service: String = "web", _ addresses: [String], ready: Bool = true) -> EndpointSlice {
    EndpointSlice(
        metadata: ObjectMetadata(key: ObjectKey(namespace: "shop", name: name), serviceName: service), addressType: .ipv4,
        ports: [.init(name: "http", number: 80)],
        endpoints: addresses.map { text in
            let parts = text.split(separator: "=")
            return EndpointSlice.Endpoint(
                address: String(parts[0]), conditions: ready ? [.ready, .serving] : [.serving], uid: parts.count > 1 ? String(parts[1]) : ""
            )
        })
}

func worker(_ port: UInt16, uid: String? = nil) -> Endpoint {
    let uid = uid ?? "worker-\(port)"
    return Endpoint(id: EndpointID(uid: uid), uid: uid, addresses: [.loopback(port: port)], isLocal: true)
}
