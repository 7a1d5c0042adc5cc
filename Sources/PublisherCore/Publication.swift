import Model
import Wire

/// The machine of leasehold-publisher: all that is known of all processes at one moment.
///
/// A value: the loop that hears keeps one and hands copies to those who answer. What is not known any more is kept with its age and never
/// becomes 0: see ``Pool/age(at:)`` and ``Process/age(at:)``.
public struct Publication: Sendable {
    /// Of the publisher itself.
    public var version: String
    /// In configured order.
    public private(set) var pools: [Pool] = []
    /// Those whose vitals are listened to, in the order of ``init(version:processes:pools:at:)``.
    public private(set) var processes: [Process]
    /// The newest last; at most ``Limits/events``.
    public private(set) var events: [Event] = []
    public private(set) var source = Source()
    public private(set) var stateEdge: Standing
    /// Series that were told beyond ``Limits/series``.
    public private(set) var seriesDropped: UInt64 = 0

    private var places: [PoolID: Int] = [:]
    /// Pools told since the state edge came up, until the snapshot is whole.
    private var told: Set<PoolID> = []
    /// When the publisher started.
    public let began: Instant

    /// The newest word of the pool-keeper on the state edge.
    private var lastState: Instant?

    /// What one outside process can make this one keep.
    public enum Limits {
        /// Series of one process.
        public static let series = Bounds.vitalsSeries
        public static let events = 200
        /// A pool-keeper that has said nothing for longer is taken to hang: three of its rounds of vitals.
        public static let silence = Duration.seconds(3)
    }

    /// What is known of a link.
    public enum Standing: Sendable, Hashable {
        /// Never heard of since the publisher's start.
        case never
        /// Up and told whole.
        case up
        /// Connected, and not told whole yet.
        case incomplete
        /// Lost at that moment; what it said is kept.
        case lost(Instant)
    }

    public struct Pool: Sendable, Hashable {
        public var name: String
        /// That of its Service; nil where it has only local workers.
        public var namespace: String?
        /// Nil until the pool-keeper has told it once.
        public var state: PoolState?
        /// When it was last told, or confirmed by a whole snapshot.
        public var heard = Instant.zero
        /// The pool-keeper does not know it any more.
        public var isGone = false
        /// What it was told last by a pool-keeper that knew of every job; nil before the first time.
        public internal(set) var good: Good?
    }

    public struct Source: Sendable, Hashable {
        public var standing = Standing.never
        public var health: SourceHealth?
        public var heard = Instant.zero
    }

    /// Something that a process's journal was told.
    public struct Event: Sendable, Hashable {
        public var number: UInt64
        public var process: String
        public var at: Instant
        public var event: VitalsEvent
    }

    /// Endpoint by endpoint, as it was told last; empty while nobody looks.
    public private(set) var cells: [PoolID: Cells] = [:]
    private var cellVersion: UInt64 = 0
    private var eventCount: UInt64 = 0

    public init(version: String, processes: [String], pools: [PoolPolicyName], at now: Instant) {
        self.version = version
        self.processes = processes.map { Process(name: $0) }
        stateEdge = .never
        began = now
        configure(pools)
    }

    /// A pool's name, what it hashes to, and the namespace of its Service.
    public struct PoolPolicyName: Sendable, Hashable {
        public var id: PoolID
        public var name: String
        public var namespace: String?
        public init(name: String, namespace: String? = nil) {
            id = PoolID(name: name)
            self.name = name
            self.namespace = namespace
        }
    }

    /// The configuration was read: what is known of pools that stay is kept.
    public mutating func configure(_ names: [PoolPolicyName]) {
        let old = Dictionary(pools.map { (PoolID(name: $0.name), $0) }, uniquingKeysWith: { $1 })
        pools = names.map { name in
            var pool = old[name.id] ?? Pool(name: name.name)
            pool.namespace = name.namespace
            return pool
        }
        places = Dictionary(names.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { $1 })
    }

    // MARK: The state edge

    public mutating func stateUp() {
        stateEdge = .incomplete
        told = []
    }

    public mutating func stateDown(at now: Instant) {
        let until = silentSince(at: now) ?? now
        for place in pools.indices { pools[place].ceased(at: until) }
        switch stateEdge {
        case .up, .incomplete: stateEdge = .lost(now)
        case .never, .lost: break
        }
    }

    public mutating func heard(_ message: StateMessage, at now: Instant) {
        lastState = now
        switch message {
        case .pool(let state):
            guard let place = places[state.pool] else { return }  // of a configuration that one of us has not read yet
            pools[place].state = state
            pools[place].heard = now
            pools[place].isGone = false
            pools[place].told(state, at: now)
            told.insert(state.pool)
        case .poolGone(let pool):
            guard let place = places[pool] else { return }
            pools[place].isGone = true
        case .snapshotEnd:
            stateEdge = .up
            for (id, place) in places where !told.contains(id) { pools[place].isGone = pools[place].state != nil }
        case .cells(let pool, let total, let states):
            guard places[pool] != nil else { return }
            cellVersion += 1
            cells[pool] = Cells(total: total, states: states, version: cellVersion)
        }
    }

    /// A pool's numbers as they are at `now`; nil where they are not known. Who waits has waited longer since it was told, as long as the
    /// pool-keeper tells every change; what is old is left as it was.
    public func state(of pool: Pool, at now: Instant) -> PoolState? {
        guard var state = pool.state, !pool.isGone else { return nil }
        switch stateEdge {
        case .up: break
        case .never, .incomplete, .lost: return state
        }
        let since = max(.zero, now - pool.heard)
        if state.queued > 0 { state.oldestWait += since }
        for i in state.tenants.indices where state.tenants[i].queued > 0 { state.tenants[i].oldestWait += since }
        if let others = state.otherTenants, others.queued > 0 { state.otherTenants?.oldestWait += since }
        return state
    }

    /// Nobody looks any more.
    public mutating func forgetCells() { cells = [:] }

    /// Since when nothing is heard of a pool-keeper whose links are up: it tells its vitals once a second, unless it hangs. Nil while it speaks.
    func silentSince(at now: Instant) -> Instant? {
        guard let keeper = processes.first(where: { $0.name == "pool-keeper" }), keeper.isUp, let vitals = keeper.heard else { return nil }
        let last = max(vitals, lastState ?? vitals)
        return now - last > Limits.silence ? last : nil
    }

    /// How old what is known of the pools is: zero while the pool-keeper tells every change.
    public func stateAge(at now: Instant) -> Duration? {
        switch stateEdge {
        case .up: silentSince(at: now).map { now - $0 } ?? .zero
        case .lost(let since): max(.zero, now - since)
        case .incomplete, .never: nil
        }
    }

    public func pool(named name: String) -> Pool? { pools.first { $0.name == name } }
    public func pool(_ id: PoolID) -> Pool? { places[id].map { pools[$0] } }

    /// Jobs that the dispatcher answered itself since it started, over all pools.
    public var refusals: Double {
        processes.reduce(0) { sum, process in
            process.series(of: .refused).reduce(sum) { sum, one in
                switch one.value {
                case .number(let value): sum + value
                case .histogram: sum
                }
            }
        }
    }

    // MARK: The endpoints edge

    public mutating func sourceUp() { source.standing = .incomplete }

    public mutating func sourceDown(at now: Instant) {
        switch source.standing {
        case .up, .incomplete: source.standing = .lost(now)
        case .never, .lost: break
        }
    }

    public mutating func heard(_ message: EndpointsMessage, at now: Instant) {
        switch message {
        case .source(let health):
            source.health = health
            source.heard = now
        case .snapshotEnd: source.standing = .up
        case .snapshotBegin, .upsert, .remove, .propagated: break
        }
    }

    /// Since the source was last known to be whole; nil when nobody ever said.
    public func sourceAge(at now: Instant) -> Duration? {
        guard let health = source.health else { return nil }
        switch (health.state, source.standing) {
        case (.live, .up), (.live, .incomplete): return health.age
        case (.live, .lost), (.live, .never), (.stale, _), (.unknown, _): return health.age + max(.zero, now - source.heard)
        }
    }

    // MARK: Vitals

    /// A link to a process is up; `instance` tells a restart from a reconnect.
    public mutating func vitalsUp(_ name: String, instance: UInt64, at now: Instant) {
        guard let place = processes.firstIndex(where: { $0.name == name }) else { return }
        processes[place].up(instance, at: now)
    }

    public mutating func vitalsDown(_ name: String, at now: Instant) {
        guard let place = processes.firstIndex(where: { $0.name == name }) else { return }
        processes[place].down(at: now)
    }

    /// All but job ends, which are nothing to keep.
    public mutating func heard(_ message: VitalsMessage, from name: String, at now: Instant) {
        guard let place = processes.firstIndex(where: { $0.name == name }) else { return }
        switch message {
        case .begin(let uptime): processes[place].began(uptime: uptime, at: now)
        case .number(let metric, let labels, let value):
            if !processes[place].add(Series(metric: metric, labels: labels, value: .number(value))) { seriesDropped += 1 }
        case .histogram(let metric, let labels, let histogram):
            if !processes[place].add(Series(metric: metric, labels: labels, value: .histogram(histogram))) { seriesDropped += 1 }
        case .end: processes[place].ended(at: now)
        case .event(let event): note(event, from: name, at: now)
        case .job: break
        }
    }

    private mutating func note(_ event: VitalsEvent, from name: String, at now: Instant) {
        let at = now - event.age
        // After a reconnect a process tells its last events again.
        let isKnown = events.contains { $0.process == name && $0.event.text == event.text && $0.event.facts == event.facts && near($0.at, at) }
        guard !isKnown else { return }
        eventCount += 1
        let place = events.lastIndex { $0.at <= at }.map { $0 + 1 } ?? 0
        events.insert(Event(number: eventCount, process: name, at: at, event: event), at: place)
        if events.count > Limits.events { events.removeFirst() }
    }

    /// Ages are told in microseconds and take a moment on their way.
    private func near(_ a: Instant, _ b: Instant) -> Bool { abs((a - b).nanoseconds) < 500_000_000 }
}
