import Kubernetes
import Model
import Wire

/// The watcher's machine: a source of endpoints and the scaler's local workers in, one ordered feed out.
///
/// What it serves (``published``) is for each pool and endpoint, in this order of preference: the local worker of that
/// id; what the source says; what an earlier life saved, until source or scaler have said all they know. An endpoint
/// without a UID at the address of a local worker is that worker, and not served twice.
///
/// An unknown source is never an empty one: until something complete is known no snapshot is given, only the local
/// workers one by one. A source that goes away leaves everything as it was.
///
/// Cost: an input costs what it names (the objects of a file, the endpoints of a slice, one worker); greeting a consumer
/// and saving are O(n log n); memory about 0.8 KiB an endpoint.
public struct WatcherMachine: Sendable {
    var merge: EndpointMerge
    /// The configured pools with a Service, by id.
    var pools: [PoolID: String]
    private var localPools: Set<PoolID>
    var directory = DirectoryFiles()
    /// What the API server said; nil with another source.
    var kubernetes: KubernetesObjects?
    let doubtPolicy: DoubtPolicy
    /// Served although a complete list no longer has it.
    var doubts = Doubts()
    private var local = LocalWorkers()
    /// What consumers were told, and what a new one is told.
    public private(set) var published: [PoolID: [EndpointID: Endpoint]] = [:]
    /// Served because an earlier life saved it; source or scaler have not spoken of it yet.
    private var kept: [PoolID: Set<EndpointID>] = [:]

    /// Whether the source was read whole since the start.
    var isComplete: Bool
    /// Whether there is a whole state to serve, read or restored.
    public internal(set) var isKnown: Bool
    /// Why the directory cannot be read at the moment.
    var unreadable: String?
    /// Since when what is served may differ from the source; nil while in step with it.
    var outOfStepSince: Instant?
    var toldHealth: SourceHealth
    /// From the change at the API server's side to our telling of it.
    public internal(set) var propagation = LatencyHistogram()
    /// Lists that were not believed at once, since the start.
    public internal(set) var doubtsRaised: UInt64 = 0

    /// Grows with every change of ``published``, also from life to life.
    public private(set) var generation: UInt64 = 0

    var nextScan: Instant
    /// When the state has to be written; never when the written one is right.
    private var saveDue = Instant.never
    private var nextSave: Instant
    private var nextConfirm: Instant

    /// Between looks through the whole directory, for what notifications cannot tell: targets of links that point
    /// elsewhere, network file systems, a directory that was replaced.
    public static let scanInterval: Duration = .seconds(5)
    /// The same while the directory cannot be read.
    public static let retryInterval: Duration = .seconds(1)
    /// From a change to its saving, so that a burst is saved once.
    public static let saveDelay: Duration = .milliseconds(200)
    /// The least time between two savings, and more for each endpoint: saving 100,000 takes some 80 ms, which must stay rare.
    public static let saveInterval: Duration = .seconds(5)
    public static let saveIntervalPerEndpoint: Duration = .microseconds(250)
    /// Most problems of the source that are logged at one time: one mistake in a template makes thousands.
    public static let mostProblems = 20
    /// How exact the age of a restored state is.
    public static let confirmInterval: Duration = .seconds(10)

    /// - Parameters:
    ///   - pools: those with a Service.
    ///   - localPools: those with local workers.
    ///   - source: where their endpoints come from.
    public init(pools: [PoolSource], localPools: Set<PoolID>, source: Source, at now: Instant) {
        let hasSource: Bool
        let isScanned: Bool
        switch source {
        case .none: (hasSource, isScanned, kubernetes, doubtPolicy) = (false, false, nil, DoubtPolicy())
        case .directory: (hasSource, isScanned, kubernetes, doubtPolicy) = (true, true, nil, DoubtPolicy())
        case .kubernetes(let policy): (hasSource, isScanned, kubernetes, doubtPolicy) = (true, false, KubernetesObjects(pools: pools), policy)
        }
        merge = EndpointMerge(pools: pools, expectsSlices: kubernetes != nil)
        self.pools = Dictionary(pools.map { ($0.pool, $0.name) }, uniquingKeysWith: { first, _ in first })
        self.localPools = localPools
        // Without a pool there is nothing to read.
        isComplete = !hasSource || kubernetes?.isWhole == true
        isKnown = isComplete
        outOfStepSince = isComplete ? nil : now
        toldHealth = isComplete ? SourceHealth(state: .live) : SourceHealth(state: .unknown, detail: "the source has not been read yet")
        nextScan = isScanned ? now : .never
        nextSave = now
        nextConfirm = now + Self.confirmInterval
    }

    /// Where endpoints come from.
    public enum Source: Hashable, Sendable {
        /// Only local workers: the source is known, and empty, at once.
        case none
        case directory
        case kubernetes(DoubtPolicy)
    }

    /// When the machine wants to hear ``WatcherInput/wokeUp``.
    public var nextWake: Instant { min(nextScan, saveDue, isKnown && outOfStepSince == nil ? nextConfirm : .never, doubts.nextEnd) }

    /// Takes what happened and appends what is to be done.
    public mutating func handle(_ input: WatcherInput, at now: Instant, _ actions: inout [WatcherAction]) {
        let before = generation
        switch input {
        case .restored(let state): restored(state, now, &actions)
        case .fileLoaded(let name, let manifest): fileLoaded(name, manifest, &actions)
        case .fileBroken(let name, let problem): fileBroken(name, problem.asOneLine, &actions)
        case .fileRemoved(let name): fileRemoved(name, &actions)
        case .scanCompleted(let files): scanCompleted(files, now, &actions)
        case .directoryUnreadable(let why): directoryUnreadable(why.asOneLine, now, &actions)
        case .settled: settled(now, &actions)
        case .kubernetesSaid(let scope, let update, let clock): kubernetesSaid(scope, update, clock, now, &actions)
        case .kubernetesHealth(let scope, let health, let heard): kubernetesHealth(scope, health, heard, now, &actions)
        case .kubernetesRestarted: kubernetesRestarted(now, &actions)
        case .workersLinkUp: local.reset()
        case .workersSaid(let message): workersSaid(message, now, &actions)
        case .workersLinkDown: workersLinkDown(&actions)
        case .reconfigured(let pools, let localPools): reconfigured(pools, localPools, now, &actions)
        case .wokeUp: wokeUp(now, &actions)
        }
        if generation != before { saveSoon(now) }
    }

    // MARK: Counts

    public var fileCount: Int { directory.names.count }
    /// Slices and Services of the API server that are kept.
    public var objectCount: Int { kubernetes?.objectCount ?? 0 }
    /// Endpoints that stay in force although a complete list no longer has them.
    public var doubtedCount: Int { doubts.count }
    public var localWorkerCount: Int { local.count }

    // MARK: The source

    private mutating func restored(_ state: SavedState, _ now: Instant, _ actions: inout [WatcherAction]) {
        // Only the first word can be about an earlier life.
        guard published.isEmpty, generation == 0 else { return }
        generation = state.generation
        var count = 0
        for (pool, saved) in state.endpoints {
            // What the configuration has no place for any more has nobody to speak for it.
            let endpoints = saved.filter { $0.value.isLocal ? localPools.contains(pool) : pools[pool] != nil }
            if endpoints.isEmpty { continue }
            published[pool] = endpoints
            kept[pool] = Set(endpoints.keys)
            count += endpoints.count
        }
        if !isComplete {
            isKnown = true
            outOfStepSince = now - state.age
        }
        toldHealth = presentHealth
        actions.append(.log(.restored(endpoints: count, age: state.age)))
        actions.append(.greetAll)
    }

    /// Carries what the source said into the feed.
    mutating func settled(_ now: Instant, _ actions: inout [WatcherAction]) {
        // Half a first reading is no state: an endpoint that is not there yet would look removed.
        guard isComplete else { return }
        let wasKnown = isKnown
        isKnown = true
        var feed: [WatcherAction] = []
        commit(&feed, &actions)
        // A file that was never readable may hold what the saved state still knows.
        if !directory.hasHole { releaseKept(where: { !$0.isLocal }, &feed) }
        tellHealth(now, &feed)
        if wasKnown {
            actions += feed
        } else {
            saveSoon(now)
            actions.append(.greetAll)
        }
    }

    mutating func commit(_ feed: inout [WatcherAction], _ actions: inout [WatcherAction]) {
        var (changes, problems): ([EndpointChange], [SourceProblem]) = ([], [])
        merge.commit(&changes, &problems)
        // Who comes is told before who goes: a pool whose workers are replaced is at no moment empty.
        for change in changes {
            switch change.kind {
            case .upsert(let endpoint): update(change.pool, endpoint.id, &feed)
            case .remove: break
            }
        }
        for change in changes {
            switch change.kind {
            case .upsert: break
            case .remove(let id): update(change.pool, id, &feed)
            }
        }
        for problem in problems.prefix(Self.mostProblems) { actions.append(.log(.problem(problem))) }
        if problems.count > Self.mostProblems { actions.append(.log(.furtherProblems(problems.count - Self.mostProblems))) }
    }

    private mutating func reconfigured(
        _ sources: [PoolSource], _ workers: Set<PoolID>, _ now: Instant, _ actions: inout [WatcherAction]
    ) {
        pools = Dictionary(sources.map { ($0.pool, $0.name) }, uniquingKeysWith: { first, _ in first })
        localPools = workers
        merge = EndpointMerge(pools: sources, expectsSlices: kubernetes != nil)
        directory.replay(into: &merge)
        kubernetes?.reconfigure(pools: sources)
        kubernetes?.replay(into: &merge)
        doubts.keep(only: Set(pools.keys))
        if isComplete {
            var feed: [WatcherAction] = []
            commit(&feed, &actions)
            for pool in published.keys.sorted() {
                for id in (published[pool] ?? [:]).keys.sorted() { update(pool, id, &feed) }
            }
            actions += feed
        }
        // What is not needed any more is not waited for.
        kubernetesMoved(isList: false, now, &actions)
    }

    // MARK: Local workers

    private mutating func workersSaid(_ message: WorkersMessage, _ now: Instant, _ actions: inout [WatcherAction]) {
        var changes: [LocalWorkers.Change] = []
        let outcome = local.take(message, &changes)
        for change in changes {
            update(change.pool, change.id, &actions)
            for address in change.addresses { update(change.pool, EndpointID(address: address), &actions) }
        }
        switch outcome {
        case .taken: break
        case .isWhole:
            releaseKept(where: \.isLocal, &actions)
            actions.append(.log(.workersSynchronized(count: local.count)))
        case .tooMany: actions.append(.closeWorkers("more than \(LocalWorkers.most) local workers"))
        }
    }

    private mutating func workersLinkDown(_ actions: inout [WatcherAction]) {
        local.reset()
        actions.append(.log(.workersLost(count: local.count)))
    }

    // MARK: What is served

    /// What should be served under this id now, and whether only an earlier life vouches for it.
    func wanted(_ pool: PoolID, _ id: EndpointID) -> (endpoint: Endpoint, isKept: Bool)? {
        if let worker = local.endpoints[pool]?[id] { return (worker, false) }
        let candidate: (endpoint: Endpoint, isKept: Bool)
        if isComplete, let said = merge.endpoint(id, in: pool) {
            candidate = (said, false)
        } else if doubts.has(id, in: pool), let saved = published[pool]?[id] {
            candidate = (saved, false)
        } else if kept[pool]?.contains(id) == true, let saved = published[pool]?[id] {
            candidate = (saved, true)
        } else {
            return nil
        }
        // A worker that the scaler names is not served again under its bare address. (A saved one is thereby forgotten.)
        if let address = candidate.endpoint.addresses.first, local.has(address, in: pool), id == EndpointID(address: address) { return nil }
        return candidate
    }

    /// Makes right what is served under one id, and tells.
    mutating func update(_ pool: PoolID, _ id: EndpointID, _ actions: inout [WatcherAction]) {
        let new = wanted(pool, id)
        if new?.isKept != true { kept[pool]?.remove(id) }
        if !doubts.isEmpty, let endpoint = new?.endpoint { refuteDoubt(pool, endpoint, &actions) }
        let old = published[pool]?[id]
        guard new?.endpoint != old else {
            // Equal, in newer storage that the source's objects hold as well: the older one is given back.
            if let endpoint = new?.endpoint { published[pool]?[id] = endpoint }
            return
        }
        generation &+= 1
        if let endpoint = new?.endpoint {
            published[pool, default: [:]][id] = endpoint
            actions.append(.send(.upsert(pool: pool, endpoint)))
        } else {
            published[pool]?[id] = nil
            if published[pool]?.isEmpty == true { published[pool] = nil }
            actions.append(.send(.remove(pool: pool, id)))
        }
    }

    /// Those who know have spoken: what only an earlier life vouches for is gone.
    mutating func releaseKept(where isSpokenFor: (Endpoint) -> Bool, _ actions: inout [WatcherAction]) {
        for pool in kept.keys.sorted() {
            for id in (kept[pool] ?? []).sorted() where published[pool]?[id].map(isSpokenFor) ?? true {
                kept[pool]?.remove(id)
                update(pool, id, &actions)
            }
            if kept[pool]?.isEmpty == true { kept[pool] = nil }
        }
    }

    // MARK: Time

    private mutating func wokeUp(_ now: Instant, _ actions: inout [WatcherAction]) {
        if now >= nextScan {
            nextScan = now + (unreadable == nil ? Self.scanInterval : Self.retryInterval)
            actions.append(.scan)
        }
        if now >= doubts.nextEnd { doubtsEnded(now, &actions) }
        if now >= saveDue {
            saveDue = .never
            nextSave = now + max(Self.saveInterval, Self.saveIntervalPerEndpoint * published.values.reduce(0) { $0 + $1.count })
            nextConfirm = now + Self.confirmInterval
            actions.append(.save)
        }
        if now >= nextConfirm {
            nextConfirm = now + Self.confirmInterval
            // Something unsaved makes the saved state untrue; it is saved soon anyway.
            if isKnown, outOfStepSince == nil, saveDue == .never { actions.append(.confirmSaved) }
        }
    }

    mutating func saveSoon(_ now: Instant) {
        if isKnown, saveDue == .never { saveDue = max(now + Self.saveDelay, nextSave) }
    }
}

extension WatcherMachine {
    /// Traps if the parts contradict each other. O(n): for tests and simulations.
    public func checkInvariants() {
        precondition(isKnown || !isComplete, "complete and yet unknown")
        // What the source said since the last `settled` is not served yet.
        if merge.hasUncommitted { return }
        for (pool, endpoints) in published {
            precondition(!endpoints.isEmpty, "an empty pool is kept")
            for (id, endpoint) in endpoints {
                precondition(endpoint.id == id && !endpoint.addresses.isEmpty)
                precondition(wanted(pool, id) != nil, "\(endpoint.uid) is served for no reason")
            }
            let localAddresses = Set((local.endpoints[pool] ?? [:]).values.flatMap(\.addresses))
            for endpoint in endpoints.values where !endpoint.isLocal && endpoint.uid == endpoint.addresses[0].description {
                precondition(!localAddresses.contains(endpoint.addresses[0]), "one worker is served twice")
            }
        }
        for (pool, workers) in local.endpoints {
            for (id, worker) in workers { precondition(published[pool]?[id] == worker, "a local worker is not served") }
        }
    }
}
