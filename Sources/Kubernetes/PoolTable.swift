import Model

/// The endpoints of one pool, each as the slices that list it say.
struct PoolTable: Sendable {
    let source: PoolSource
    /// What to look for in a slice.
    private(set) var wanted: Wanted
    /// The problem of the pool itself that was last reported.
    var reported: SourceProblem?

    /// Never an empty array.
    private var mentions: [EndpointID: [Mention]] = [:]
    /// How many mentions with a UID an address has: one without a UID is hidden by them.
    private var claims: [SocketAddress: Int] = [:]
    /// What each endpoint touched since the last commit was before.
    private var before: [EndpointID: Endpoint?] = [:]
    /// The keys of ``before``, in the order of touching: a dictionary's own order differs from process to process.
    private var touched: [EndpointID] = []

    /// One listing of an endpoint in one slice.
    private struct Mention: Sendable {
        var slice: SliceRef
        var index: Int
        var address: SocketAddress
        var endpoint: EndpointSlice.Endpoint

        /// By slice, then as listed: independent of the order of arrival.
        func precedes(_ other: Mention) -> Bool {
            slice.slot == other.slice.slot ? index < other.index : slice.key < other.slice.key
        }
    }

    /// How the pool's port is recognized in a slice.
    enum Wanted: Hashable, Sendable {
        case name(String)
        /// The slices' own number, for want of a Service.
        case number(UInt16)
        /// The slices' only one, for want of a Service.
        case only
        /// The Service has no such port.
        case nothing(PortReference)
    }

    init(source: PoolSource) {
        self.source = source
        wanted = Self.wanted(source.port, service: nil)
    }

    private static func wanted(_ port: PortReference, service: Service?) -> Wanted {
        let ports = service?.ports.filter { $0.transport == .tcp }
        switch port {
        case .name(let name): return .name(name)
        case .number(let number):
            guard let ports else { return .number(number) }
            return ports.first { $0.number == number }.map { .name($0.name) } ?? .nothing(port)
        case .only:
            guard let ports else { return .only }
            return ports.count == 1 ? .name(ports[0].name) : .nothing(port)
        }
    }

    /// Takes the Service's word for what the pool's port is called. True if that changed.
    mutating func translate(with service: Service?) -> Bool {
        let new = Self.wanted(source.port, service: service)
        defer { wanted = new }
        return new != wanted
    }

    /// The pool's port in a slice; nil, with the reason appended, where there is none.
    func port(in slice: EndpointSlice, _ problems: inout [SourceProblem]) -> UInt16? {
        let called: PortReference
        let matching: [EndpointSlice.Port]
        switch wanted {
        case .name(let name): (called, matching) = (.name(name), slice.ports.filter { $0.name == name })
        case .number(let number): (called, matching) = (.number(number), slice.ports.filter { $0.number == number })
        case .only: (called, matching) = (.only, slice.ports)
        case .nothing: return nil
        }
        let usable = matching.filter { $0.transport == .tcp && $0.number != nil }
        if wanted == .only, usable.count > 1 {
            problems.append(.whichPort(pool: source.name, slice: slice.key, has: slice.portList))
        } else if let number = usable.first?.number {
            return number
        } else if let port = matching.first {
            switch port.transport {
            case .tcp: problems.append(.portWithoutNumber(called, pool: source.name, slice: slice.key))
            case .other(let transport): problems.append(.notTCP(called, transport: transport, pool: source.name, slice: slice.key))
            }
        } else {
            problems.append(.noSuchPort(called, pool: source.name, slice: slice.key, has: slice.portList))
        }
        return nil
    }

    /// Exchanges what a slice says. A nil slice or port says nothing.
    mutating func replace(_ slice: SliceRef, old: EndpointSlice?, oldPort: UInt16?, new: EndpointSlice?, newPort: UInt16?) {
        let oldCount = oldPort == nil ? 0 : old?.endpoints.count ?? 0
        let newCount = newPort == nil ? 0 : new?.endpoints.count ?? 0
        let isSamePort = oldPort == newPort && old?.addressType == new?.addressType
        for index in 0..<max(oldCount, newCount) {
            let listed = index < oldCount ? old?.endpoints[index] : nil
            let lists = index < newCount ? new?.endpoints[index] : nil
            if isSamePort, listed == lists { continue }
            if let listed, let old, let oldPort, case .success(let address) = listed.location(in: old, port: oldPort) {
                withdraw(Mention(slice: slice, index: index, address: address, endpoint: listed))
            }
            if let lists, let new, let newPort, case .success(let address) = lists.location(in: new, port: newPort) {
                add(Mention(slice: slice, index: index, address: address, endpoint: lists))
            }
        }
    }

    private mutating func add(_ mention: Mention) {
        let id = mention.endpoint.identity(at: mention.address)
        touch(id)
        if !mention.endpoint.uid.isEmpty {
            let count = claims[mention.address, default: 0]
            if count == 0 { touchHidden(at: mention.address) }
            claims[mention.address] = count + 1
        }
        var list = mentions.removeValue(forKey: id) ?? []
        list.insert(mention, at: list.firstIndex(where: mention.precedes) ?? list.endIndex)
        mentions[id] = list
    }

    private mutating func withdraw(_ mention: Mention) {
        let id = mention.endpoint.identity(at: mention.address)
        touch(id)
        if !mention.endpoint.uid.isEmpty {
            let count = claims[mention.address, default: 0]
            if count <= 1 {
                touchHidden(at: mention.address)
                claims[mention.address] = nil
            } else {
                claims[mention.address] = count - 1
            }
        }
        var list = mentions.removeValue(forKey: id) ?? []
        list.removeAll { $0.slice.slot == mention.slice.slot && $0.index == mention.index }
        if !list.isEmpty { mentions[id] = list }
    }

    /// Remembers what the endpoint was, before anything about it changes.
    private mutating func touch(_ id: EndpointID) {
        guard before[id] == nil else { return }
        before[id] = .some(merged(id))
        touched.append(id)
    }

    /// The endpoint without a UID at an address, if there is one, is about to be hidden or shown.
    private mutating func touchHidden(at address: SocketAddress) {
        let id = EndpointID(address: address)
        if mentions[id] != nil { touch(id) }
    }

    var hasUncommitted: Bool { !touched.isEmpty }

    /// Appends what became of the touched endpoints.
    mutating func commit(_ changes: inout [EndpointChange]) {
        for id in touched {
            let was = before[id] ?? nil
            let now = merged(id)
            if let now {
                if now != was { changes.append(EndpointChange(pool: source.pool, kind: .upsert(now))) }
            } else if was != nil {
                changes.append(EndpointChange(pool: source.pool, kind: .remove(id)))
            }
        }
        before.removeAll(keepingCapacity: touched.count < 4096)
        touched.removeAll(keepingCapacity: touched.count < 4096)
    }

    /// All of them, in the order of their ids.
    var endpoints: [Endpoint] { mentions.keys.sorted().compactMap { merged($0) } }

    /// The endpoint that the mentions of an id make together.
    func merged(_ id: EndpointID) -> Endpoint? {
        guard let list = mentions[id], let first = list.first else { return nil }
        let isAnonymous = first.endpoint.uid.isEmpty
        if isAnonymous, claims[first.address] != nil { return nil }
        var endpoint = Endpoint(
            id: id, uid: isAnonymous ? first.address.description : first.endpoint.uid, name: first.endpoint.name,
            addresses: [first.address], conditions: first.endpoint.conditions, node: first.endpoint.node, zone: first.endpoint.zone)
        guard list.count > 1 else { return endpoint }
        var isTerminating = endpoint.conditions.contains(.terminating)
        for mention in list.dropFirst() {
            endpoint.conditions.formUnion(mention.endpoint.conditions)
            isTerminating = isTerminating && mention.endpoint.conditions.contains(.terminating)
            if !endpoint.addresses.contains(mention.address) { endpoint.addresses.append(mention.address) }
            if endpoint.name.isEmpty { endpoint.name = mention.endpoint.name }
            if endpoint.node.isEmpty { endpoint.node = mention.endpoint.node }
            if endpoint.zone.isEmpty { endpoint.zone = mention.endpoint.zone }
        }
        if !isTerminating { endpoint.conditions.remove(.terminating) }
        // The order of addresses, IPv4 before IPv6, is the order of `SocketAddress`.
        endpoint.addresses.sort()
        return endpoint
    }
}

/// A slice as its place in the merge and its name.
struct SliceRef: Sendable {
    var slot: Int
    var key: ObjectKey
}

extension EndpointSlice {
    /// Its ports in a few words.
    fileprivate var portList: String {
        let words = ports.map { port in
            let number = port.number.map { "\($0)" } ?? "no number"
            return port.name.isEmpty ? number : "\(port.name) \(number)"
        }
        return words.isEmpty ? "none" : words.joined(separator: ", ")
    }
}

extension EndpointSlice.Endpoint {
    enum Unplaced: Error {
        case missing
        case notAnAddress(String)
        case wrongFamily(String)
    }

    /// Where it is dialled. Loopback is as good as any: a directory may describe plain processes of this node.
    func location(in slice: EndpointSlice, port: UInt16) -> Result<SocketAddress, Unplaced> {
        guard let text = address else { return .failure(.missing) }
        guard let location = SocketAddress(ip: text, port: port) else { return .failure(.notAnAddress(text)) }
        switch (slice.addressType, location.family) {
        case (.ipv4, .v4), (.ipv6, .v6): return .success(location)
        case (.ipv4, .v6), (.ipv6, .v4): return .failure(.wrongFamily(text))
        case (.other, _): return .failure(.notAnAddress(text))
        }
    }

    func identity(at address: SocketAddress) -> EndpointID {
        uid.isEmpty ? EndpointID(address: address) : EndpointID(uid: uid)
    }
}
