import Model

/// The slices of the configured Services, merged into the endpoints of each pool.
///
/// Changes are collected until ``commit(_:_:)``, so an endpoint that moves from one slice to another inside one
/// commit never vanishes in between. What it holds is a function of the slices and Services that it was last told,
/// in whatever order:
/// - Endpoints with one `targetRef.uid` are one endpoint with an address for each that was listed, IPv4 first.
///   Without a UID an endpoint is its address and port.
/// - An endpoint listed more than once is ready if any says so, serving likewise, terminating only if all say so.
///   Names, node and zone come from the first slice, by name, that has them.
/// - An address without a UID that another slice gives a UID for is that endpoint, not a second one: one worker must
///   never look like two.
///
/// Cost: a slice or its removal, O(endpoints in the slice); a Service whose port translation changed, O(endpoints of the
/// Service); a commit, O(endpoints touched since the last). Memory: about 0.5 KiB an endpoint in one pool.
public struct EndpointMerge: Sendable {
    private var pools: [PoolTable]
    private var indexOf: [PoolID: Int] = [:]
    private var services: [ObjectKey: ServiceState]
    private var slots: [SliceState?] = []
    private var freeSlots: [Int] = []
    private var slotOf: [ObjectKey: Int] = [:]
    /// Slices that no pool can use for a reason of their own; the ones in use keep their problems in their slot.
    private var unusable: [ObjectKey: SourceProblem] = [:]
    private var newProblems: [SourceProblem] = []
    /// Whether a Service without slices is a mistake.
    private let expectsSlices: Bool

    /// What is known about a Service that at least one pool names.
    private struct ServiceState: Sendable {
        /// Indices into ``pools``.
        var pools: [Int]
        var service: Service?
        var slots: Set<Int> = []
    }

    private struct SliceState: Sendable {
        var slice: EndpointSlice
        /// The port in force for each of its Service's pools, in that order.
        var ports: [UInt16?]
        var problems: [SourceProblem]
    }

    /// Two pools with one ``PoolID`` are the caller's mistake: configuration refuses them.
    ///
    /// - Parameter expectsSlices: for a live cluster, where a Service without a slice is a mistake. Files may say what they like.
    public init(pools sources: [PoolSource], expectsSlices: Bool = false) {
        self.expectsSlices = expectsSlices
        pools = sources.map(PoolTable.init)
        services = [:]
        for (index, source) in sources.enumerated() {
            indexOf[source.pool] = index
            services[source.service, default: ServiceState(pools: [])].pools.append(index)
        }
    }

    /// Adds a slice, or replaces the one of the same namespace and name. Slices of Services that no pool names are not kept.
    public mutating func upsert(_ slice: EndpointSlice) {
        let key = slice.key
        guard let service = slice.service else { return setAside(.noServiceLabel(slice: key), key) }
        guard let members = services[service]?.pools else { return removeSlice(key) }
        if case .other(let type) = slice.addressType { return setAside(.addressType(type, slice: key), key) }
        unusable[key] = nil
        if let slot = slotOf[key], slots[slot]?.slice.service != service { removeSlice(key) }

        let slot = slotOf[key] ?? takeSlot(key)
        services[service]?.slots.insert(slot)
        let old = slots[slot]
        var state = SliceState(slice: slice, ports: [], problems: slice.problems)
        for (position, pool) in members.enumerated() {
            let port = pools[pool].port(in: slice, &state.problems)
            pools[pool].replace(
                SliceRef(slot: slot, key: key), old: old?.slice, oldPort: old?.ports[position], new: slice, newPort: port)
            state.ports.append(port)
        }
        for problem in state.problems where old?.problems.contains(problem) != true { newProblems.append(problem) }
        slots[slot] = state
    }

    /// Does nothing for a slice that is not there: a deletion may be heard of twice.
    public mutating func removeSlice(_ key: ObjectKey) {
        unusable[key] = nil
        guard let slot = slotOf.removeValue(forKey: key), let old = slots[slot] else { return }
        slots[slot] = nil
        freeSlots.append(slot)
        guard let service = old.slice.service, let members = services[service]?.pools else { return }
        services[service]?.slots.remove(slot)
        for (position, pool) in members.enumerated() {
            pools[pool].replace(SliceRef(slot: slot, key: key), old: old.slice, oldPort: old.ports[position], new: nil, newPort: nil)
        }
    }

    /// Adds or replaces a Service. Those that no pool names are not kept.
    public mutating func upsert(_ service: Service) {
        guard services[service.key] != nil else { return }
        services[service.key]?.service = service
        translate(service.key)
    }

    /// Does nothing for a Service that is not there.
    public mutating func removeService(_ key: ObjectKey) {
        guard services[key]?.service != nil else { return }
        services[key]?.service = nil
        translate(key)
    }

    /// Appends what changed since the last commit, each endpoint at most once, and the problems that are new.
    ///
    /// Endpoints come pool by pool in configured order, in the order in which they were first touched.
    public mutating func commit(_ changes: inout [EndpointChange], _ problems: inout [SourceProblem]) {
        for index in pools.indices {
            pools[index].commit(&changes)
            let problem = problem(of: pools[index])
            if let problem, problem != pools[index].reported { problems.append(problem) }
            pools[index].reported = problem
        }
        // One that came and went inside this commit (slices that were read before their Service) was none.
        for problem in newProblems where isStanding(problem) { problems.append(problem) }
        newProblems.removeAll(keepingCapacity: true)
    }

    /// The endpoints of a pool, in the order of their ids. O(n log n).
    public func endpoints(of pool: PoolID) -> [Endpoint] {
        indexOf[pool].map { pools[$0].endpoints } ?? []
    }

    /// Every problem that lasts, in a fixed order. O(slices).
    public var problems: [SourceProblem] {
        let ofSlices = slotOf.sorted { $0.key < $1.key }.flatMap { slots[$0.value]?.problems ?? [] }
        return pools.compactMap(problem) + unusable.sorted { $0.key < $1.key }.map(\.value) + ofSlices
    }

    /// One endpoint of a pool, with everything said up to now, committed or not.
    public func endpoint(_ id: EndpointID, in pool: PoolID) -> Endpoint? {
        indexOf[pool].flatMap { pools[$0].merged(id) }
    }

    /// Whether a commit would have to look at something.
    public var hasUncommitted: Bool { pools.contains { $0.hasUncommitted } }

    /// How many slices are in use.
    public var sliceCount: Int { slotOf.count }

    private mutating func setAside(_ problem: SourceProblem, _ key: ObjectKey) {
        let known = unusable[key] == problem
        removeSlice(key)
        unusable[key] = problem
        if !known { newProblems.append(problem) }
    }

    private func isStanding(_ problem: SourceProblem) -> Bool {
        guard let slice = problem.slice else { return true }
        return unusable[slice] == problem || slotOf[slice].flatMap { slots[$0] }?.problems.contains(problem) == true
    }

    /// A pool's own problem: its Service is not there, or its port number cannot be translated.
    private func problem(of pool: PoolTable) -> SourceProblem? {
        guard let state = services[pool.source.service], !state.slots.isEmpty else {
            return expectsSlices ? .noSlices(pool.source.service, pool: pool.source.name) : nil
        }
        switch pool.wanted {
        case .name, .only: return nil
        case .number(let port): return .serviceUnknown(pool.source.service, port: port, pool: pool.source.name)
        case .nothing(let port):
            let ports = (state.service?.ports ?? []).map { $0.name.isEmpty ? "\($0.number)" : "\($0.number) \($0.name)" }
            let has = ports.isEmpty ? "none" : ports.joined(separator: ", ")
            return .serviceHasNoPort(pool.source.service, port: port, pool: pool.source.name, has: has)
        }
    }

    private mutating func takeSlot(_ key: ObjectKey) -> Int {
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = slots.count
            slots.append(nil)
        }
        slotOf[key] = slot
        return slot
    }

    /// Applies a Service's translation of port numbers to its slices, in the pools where it changed.
    private mutating func translate(_ key: ObjectKey) {
        guard let state = services[key] else { return }
        for (position, pool) in state.pools.enumerated() where pools[pool].translate(with: state.service) {
            let name = pools[pool].source.name
            // Sorted, so that the same inputs give the same order of changes in every process.
            for slot in state.slots.sorted() {
                guard var held = slots[slot] else { continue }
                let before = held.problems
                held.problems.removeAll { $0.pool == name }
                let port = pools[pool].port(in: held.slice, &held.problems)
                pools[pool].replace(
                    SliceRef(slot: slot, key: held.slice.key), old: held.slice, oldPort: held.ports[position],
                    new: held.slice, newPort: port)
                held.ports[position] = port
                for problem in held.problems where !before.contains(problem) { newProblems.append(problem) }
                slots[slot] = held
            }
        }
    }
}

extension EndpointSlice {
    /// What is wrong with it for every pool alike, each kind once.
    fileprivate var problems: [SourceProblem] {
        var found: [SourceProblem] = []
        var (isEmpty, isText, isOther) = (false, false, false)
        for endpoint in endpoints {
            switch endpoint.location(in: self, port: 1) {
            case .success: break
            case .failure(.missing):
                if !isEmpty { found.append(.emptyAddresses(slice: key)) }
                isEmpty = true
            case .failure(.notAnAddress(let text)):
                if !isText { found.append(.notAnAddress(text, slice: key)) }
                isText = true
            case .failure(.wrongFamily(let text)):
                if !isOther { found.append(.wrongFamily(text, slice: key)) }
                isOther = true
            }
        }
        return found
    }
}
