import Kubernetes
import Model
import TestKit
import Testing
import WatcherCore
import Wire

/// Random lives of a directory and a scaler against a model that computes what should be served anew each time.
@Suite struct WatcherMachineWalkTests {
    private struct Reference {
        var pools: [PoolSource]
        var good: [String: Manifest] = [:]
        var broken: Set<String> = []
        var local: [PoolID: [EndpointID: Endpoint]] = [:]
        var incoming: [PoolID: [EndpointID: Endpoint]]?
        var isComplete = false
        /// Restored and not spoken of since.
        var kept: [PoolID: [EndpointID: Endpoint]] = [:]
        /// What the source said when it was last settled.
        var source: [PoolID: [EndpointID: Endpoint]] = [:]

        mutating func settle() {
            guard isComplete else { return }
            var slices: [ObjectKey: EndpointSlice] = [:]
            for name in good.keys.sorted() { for slice in good[name]?.slices ?? [] { slices[slice.key] = slice } }
            var merge = EndpointMerge(pools: pools)
            for slice in slices.values { merge.upsert(slice) }
            source = [:]
            for pool in pools { for endpoint in merge.endpoints(of: pool.pool) { source[pool.pool, default: [:]][endpoint.id] = endpoint } }
            let said = source
            forgetKept { said[$0]?[$1.id] != nil }
            if broken.allSatisfy({ good[$0] != nil }) { forgetKept { !$1.isLocal } }
        }

        mutating func forgetKept(_ isSpokenFor: (PoolID, Endpoint) -> Bool) {
            for (pool, endpoints) in kept { kept[pool] = endpoints.filter { !isSpokenFor(pool, $0.value) } }
        }

        mutating func say(_ message: WorkersMessage) {
            switch message {
            case .snapshotBegin: incoming = [:]
            case .snapshotEnd:
                guard let whole = incoming else { return }
                local = whole
                incoming = nil
                forgetKept { whole[$0]?[$1.id] != nil || $1.isLocal }
            case .upsert(let pool, let endpoint):
                if incoming != nil {
                    incoming?[pool, default: [:]][endpoint.id] = endpoint
                } else {
                    local[pool, default: [:]][endpoint.id] = endpoint
                }
                if incoming == nil { forgetKept { $0 == pool && $1.id == endpoint.id } }
            case .remove(let pool, let id):
                if incoming != nil { incoming?[pool]?[id] = nil } else { local[pool]?[id] = nil }
            }
        }

        /// A saved address that a local worker turns out to have was that worker: it does not come back when the worker goes.
        mutating func forgetHidden() {
            let local = local
            forgetKept { pool, endpoint in
                endpoint.uid == endpoint.addresses[0].description
                    && (local[pool] ?? [:]).values.contains { $0.addresses.contains(endpoint.addresses[0]) }
            }
        }

        var served: [PoolID: [EndpointID: Endpoint]] {
            var all = kept
            for (pool, endpoints) in source { all[pool, default: [:]].merge(endpoints) { $1 } }
            for pool in all.keys {
                let taken = Set((local[pool] ?? [:]).values.flatMap(\.addresses))
                all[pool] = all[pool]?.filter {
                    $0.value.uid != $0.value.addresses[0].description || !taken.contains($0.value.addresses[0])
                }
            }
            for (pool, endpoints) in local { all[pool, default: [:]].merge(endpoints) { $1 } }
            return all.filter { !$0.value.isEmpty }
        }
    }

    private static func randomManifest(_ random: inout SeededGenerator) -> Manifest {
        var manifest = Manifest()
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let addresses = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                let host = Int.random(in: 1...5, using: &random)
                return Bool.random(using: &random) ? "127.0.0.\(host)" : "127.0.0.\(host)=u\(Int.random(in: 1...5, using: &random))"
            }
            manifest.slices.append(
                makeSlice(
                    "s\(Int.random(in: 0..<5, using: &random))", service: Bool.random(using: &random) ? "web" : "api", addresses,
                    ready: Bool.random(using: &random)))
        }
        return manifest
    }

    private static func randomWorker(_ random: inout SeededGenerator) -> Endpoint {
        let host = UInt32.random(in: 1...5, using: &random)
        let uid = "u\(Int.random(in: 4...8, using: &random))"
        return Endpoint(id: EndpointID(uid: uid), uid: uid, addresses: [SocketAddress(v4: 0x7f00_0000 + host, port: 80)], isLocal: true)
    }

    @Test(arguments: [11, 12, 13, 14, 15, 16, 17, 18] as [UInt64])
    func everyLifeAgreesWithComputingAllAnew(seed: UInt64) {
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        var bench = Bench(pools: [pool("web"), pool("api")], localPools: [PoolID(name: "web"), PoolID(name: "api")])
        var reference = Reference(pools: [pool("web"), pool("api")])

        for step in 0..<2_500 {
            bench.pass(.milliseconds(Int.random(in: 0..<400, using: &random)))
            switch Int.random(in: 0..<100, using: &random) {
            case 0:
                // The watcher dies and comes back with what it saved; the reading begins anew.
                let saved = bench.machine.savedState(at: bench.now)
                let wasKnown = bench.machine.isKnown
                bench = Bench(pools: reference.pools, localPools: Set(reference.pools.map(\.pool)))
                if wasKnown { bench.handle(.restored(saved)) }
                reference = Reference(pools: reference.pools, kept: wasKnown ? saved.endpoints : [:])
            case 1...45:
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    let name = "\(Int.random(in: 0..<4, using: &random)).yaml"
                    switch Int.random(in: 0..<6, using: &random) {
                    case 0...2:
                        let manifest = Self.randomManifest(&random)
                        bench.handle(.fileLoaded(name, manifest))
                        reference.good[name] = manifest
                        reference.broken.remove(name)
                    case 3...4:
                        bench.handle(.fileBroken(name, problem: "no \(step)"))
                        reference.broken.insert(name)
                    default:
                        bench.handle(.fileRemoved(name))
                        reference.good[name] = nil
                        reference.broken.remove(name)
                    }
                }
                bench.handle(.settled)
                reference.settle()
            case 46...55:
                let files = Set(reference.good.keys).union(reference.broken).filter { _ in Int.random(in: 0..<8, using: &random) > 0 }
                bench.handle(.scanCompleted(files: files))
                reference.isComplete = true
                reference.good = reference.good.filter { files.contains($0.key) }
                reference.broken.formIntersection(files)
                reference.settle()
            case 56...60: bench.handle(.directoryUnreadable("away"))
            case 61...65: bench.handle(.wokeUp)
            case 66...68:
                bench.handle(Bool.random(using: &random) ? .workersLinkUp : .workersLinkDown)
                reference.incoming = nil
            default:
                let pool = reference.pools[Int.random(in: 0..<2, using: &random)].pool
                let message: WorkersMessage
                switch Int.random(in: 0..<8, using: &random) {
                case 0: message = .snapshotBegin
                case 1...2: message = .snapshotEnd
                case 3...5: message = .upsert(pool: pool, Self.randomWorker(&random))
                default: message = .remove(pool: pool, Self.randomWorker(&random).id)
                }
                bench.handle(.workersSaid(message))
                reference.say(message)
                reference.forgetHidden()
            }
            guard bench.follower.endpoints == reference.served, bench.machine.published == reference.served else {
                Issue.record("seed \(seed) step \(step): serves \(bench.machine.published), should serve \(reference.served)")
                return
            }
            let expected: SourceHealth.State =
                reference.isComplete || bench.machine.isKnown
                ? (bench.machine.health(at: bench.now).state == .live ? .live : .stale) : .unknown
            #expect(bench.follower.health?.state == expected)
        }
    }
}
