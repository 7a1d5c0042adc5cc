import Kubernetes
import Model
import TestKit
import Testing

/// Random changes of slices and Services against a model that computes everything anew each time.
@Suite struct EndpointMergeWalkTests {
    /// What the merge should hold, the slow and plain way.
    private struct Reference {
        var slices: [ObjectKey: EndpointSlice] = [:]
        var services: [ObjectKey: Service] = [:]

        func endpoints(of pool: PoolSource) -> [EndpointID: Endpoint] {
            var listings: [EndpointID: [(EndpointSlice.Endpoint, SocketAddress)]] = [:]
            for slice in slices.values.sorted(by: { $0.key < $1.key }) where slice.service == pool.service {
                guard let port = port(of: pool, in: slice) else { continue }
                for endpoint in slice.endpoints {
                    guard let text = endpoint.address, let address = SocketAddress(ip: text, port: port) else { continue }
                    switch slice.addressType {
                    case .ipv4: if address.family != .v4 { continue }
                    case .ipv6: if address.family != .v6 { continue }
                    case .other: continue
                    }
                    let id = endpoint.uid.isEmpty ? EndpointID(address: address) : EndpointID(uid: endpoint.uid)
                    listings[id, default: []].append((endpoint, address))
                }
            }
            let identified = Set(listings.values.joined().filter { !$0.0.uid.isEmpty }.map(\.1))
            var result: [EndpointID: Endpoint] = [:]
            for (id, list) in listings {
                if list[0].0.uid.isEmpty, identified.contains(list[0].1) { continue }
                var conditions: Endpoint.Conditions = []
                if list.contains(where: { $0.0.conditions.contains(.ready) }) { conditions.insert(.ready) }
                if list.contains(where: { $0.0.conditions.contains(.serving) }) { conditions.insert(.serving) }
                if list.allSatisfy({ $0.0.conditions.contains(.terminating) }) { conditions.insert(.terminating) }
                let uid = list[0].0.uid
                result[id] = Endpoint(
                    id: id, uid: uid.isEmpty ? list[0].1.description : uid, name: list.first { !$0.0.name.isEmpty }?.0.name ?? "",
                    addresses: Set(list.map(\.1)).sorted(), conditions: conditions, node: list.first { !$0.0.node.isEmpty }?.0.node ?? "",
                    zone: list.first { !$0.0.zone.isEmpty }?.0.zone ?? "")
            }
            return result
        }

        private func port(of pool: PoolSource, in slice: EndpointSlice) -> UInt16? {
            let tcp = slice.ports.filter { $0.transport == .tcp && $0.number != nil }
            switch pool.port {
            case .name(let name): return tcp.first { $0.name == name }?.number
            case .only:
                guard let service = services[pool.service] else { return tcp.count == 1 ? tcp[0].number : nil }
                let ports = service.ports.filter { $0.transport == .tcp }
                return ports.count == 1 ? tcp.first { $0.name == ports[0].name }?.number : nil
            case .number(let number):
                guard let service = services[pool.service] else { return tcp.first { $0.number == number }?.number }
                guard let found = service.ports.first(where: { $0.number == number && $0.transport == .tcp }) else { return nil }
                return tcp.first { $0.name == found.name }?.number
            }
        }
    }

    private static let pools = [
        pool("a-http", service: "a"), pool("a-cdp", service: "a", port: .name("cdp")), pool("a-80", service: "a", port: .number(80)),
        pool("b-8080", service: "b", port: .number(8080)), pool("b-bare", service: "b", port: .name("")),
        pool("b-only", service: "b", port: .only),
    ]

    private static func randomSlice(_ random: inout SeededGenerator, _ name: String) -> EndpointSlice {
        let six = Bool.random(using: &random)
        var type: EndpointSlice.AddressType = six ? .ipv6 : .ipv4
        if Int.random(in: 0..<20, using: &random) == 0 { type = .other("FQDN") }
        let ports: [EndpointSlice.Port] = ["http", "cdp", ""].compactMap { name in
            guard Int.random(in: 0..<4, using: &random) > 0 else { return nil }
            let number: UInt16? = [8080, 8080, 9090, nil].randomElement(using: &random)!
            return .init(name: name, number: number, transport: Int.random(in: 0..<8, using: &random) == 0 ? .other("UDP") : .tcp)
        }
        let endpoints = (0..<Int.random(in: 0..<8, using: &random)).map { _ in
            let host = Int.random(in: 1...6, using: &random)
            let uid = Int.random(in: 0..<3, using: &random) == 0 ? "" : "uid-\(Int.random(in: 1...8, using: &random))"
            var address: String? = six ? "fd00::\(host)" : "10.0.0.\(host)"
            switch Int.random(in: 0..<24, using: &random) {
            case 0: address = nil
            case 1: address = "host-\(host)"
            case 2: address = six ? "10.0.0.\(host)" : "fd00::\(host)"
            default: break
            }
            return EndpointSlice.Endpoint(
                address: address, conditions: .init(rawValue: UInt8.random(in: 0..<8, using: &random)), uid: uid,
                name: ["", "pod-1", "pod-2"].randomElement(using: &random)!, node: ["", "n1", "n2"].randomElement(using: &random)!,
                zone: ["", "z1", "z2"].randomElement(using: &random)!)
        }
        let service: String? = ["a", "a", "a", "b", "b", "c", nil].randomElement(using: &random)!
        return slice(name, service: service, type: type, ports: ports, endpoints)
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func everyStepAgreesWithComputingAllAnew(seed: UInt64) {
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        var merge = EndpointMerge(pools: Self.pools)
        var reference = Reference()
        var followed: [PoolID: [EndpointID: Endpoint]] = [:]

        for step in 0..<3000 {
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let name = "s\(Int.random(in: 0..<6, using: &random))"
                switch Int.random(in: 0..<10, using: &random) {
                case 0...4:
                    let new = Self.randomSlice(&random, name)
                    merge.upsert(new)
                    reference.slices[new.key] = new
                case 5...6:
                    // A small change of what is there, as controllers make them.
                    guard var held = reference.slices[key(name)], !held.endpoints.isEmpty else { continue }
                    let index = Int.random(in: 0..<held.endpoints.count, using: &random)
                    held.endpoints[index].conditions.formSymmetricDifference(.ready)
                    if Bool.random(using: &random) { held.endpoints.swapAt(index, 0) }
                    merge.upsert(held)
                    reference.slices[held.key] = held
                case 7:
                    merge.removeSlice(key(name))
                    reference.slices[key(name)] = nil
                case 8:
                    let target = service(
                        named: ["a", "b", "c"].randomElement(using: &random)!,
                        [
                            .init(
                                name: ["http", "cdp", ""].randomElement(using: &random)!, number: [80, 8080].randomElement(using: &random)!),
                            .init(name: "cdp", number: 81, transport: Bool.random(using: &random) ? .tcp : .other("UDP")),
                        ])
                    merge.upsert(target)
                    reference.services[target.key] = target
                default:
                    let target = key(["a", "b", "c"].randomElement(using: &random)!)
                    merge.removeService(target)
                    reference.services[target] = nil
                }
            }
            var (changes, problems): ([EndpointChange], [SourceProblem]) = ([], [])
            merge.commit(&changes, &problems)
            for change in changes {
                switch change.kind {
                case .upsert(let endpoint):
                    if followed[change.pool]?[endpoint.id] == endpoint {
                        Issue.record("seed \(seed) step \(step): an upsert that changes nothing")
                    }
                    followed[change.pool, default: [:]][endpoint.id] = endpoint
                case .remove(let id):
                    if followed[change.pool]?.removeValue(forKey: id) == nil {
                        Issue.record("seed \(seed) step \(step): removed what was not there")
                    }
                }
            }
            for pool in Self.pools {
                let expected = reference.endpoints(of: pool)
                guard followed[pool.pool] ?? [:] == expected,
                    merge.endpoints(of: pool.pool) == expected.keys.sorted().map({ expected[$0]! })
                else {
                    Issue.record("seed \(seed) step \(step): pool \(pool.name) differs from the reference")
                    return
                }
            }
            if !problems.isEmpty, !Set(problems).isSubset(of: merge.problems) {
                Issue.record("seed \(seed) step \(step): reported a problem that is none")
            }
        }
    }
}
