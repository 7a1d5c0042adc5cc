import KeeperCore
import Model
import Wire

// What sources say.

extension ReferenceKeeper {
    func told(_ message: EndpointsMessage) {
        switch message {
        case .source(let health): sourceIsUnknown = health.state == .unknown
        case .propagated: break
        case .snapshotBegin: staged = []
        case .snapshotEnd:
            guard let messages = staged else { return }
            staged = nil
            if sourceIsUnknown { return }
            snapshots += 1
            for message in messages { change(message) }
            for (id, worker) in workers {
                for (pool, place) in worker.places where place.seen != snapshots {
                    workers[id]?.places[pool]?.isGone = true
                    cameBack(id)
                }
            }
            forgetWhatIsGone()
            recoverIfComplete()
        case .upsert, .remove:
            if staged != nil { staged?.append(message) } else { change(message) }
        }
    }

    private func change(_ message: EndpointsMessage) {
        switch message {
        case .upsert(let pool, let endpoint):
            if pools[pool] == nil {
                var policy = PoolPolicy(name: "")
                policy.id = pool
                pools[pool] = Pool(policy: policy, isConfigured: false)
            }
            var worker = workers[endpoint.id] ?? unknown(endpoint.id)
            if let old = worker.places[pool], !old.isGone, old.description.isUsable != endpoint.isUsable {
                if endpoint.isUsable {
                    if worker.recovery == .awaitingReady { worker.recovery = .none }
                    if worker.cutUntil.map({ $0 <= now }) ?? true { (worker.quarantinedUntil, worker.cutUntil) = (nil, nil) }
                } else if case .settling = worker.recovery {
                    worker.recovery = .awaitingReady
                }
            }
            let idleSince = worker.places[pool]?.description.isLocal == endpoint.isLocal ? worker.places[pool]?.idleSince : nil
            worker.places[pool] = Place(description: endpoint, isGone: false, seen: snapshots, idleSince: idleSince)
            worker.node = endpoint.node
            workers[endpoint.id] = worker
            cameBack(endpoint.id)
            for address in endpoint.addresses { claim(address, endpoint.id) }
            markIdle()
        case .remove(let pool, let id):
            workers[id]?.places[pool]?.isGone = true
            cameBack(id)
            forgetWhatIsGone()
        case .source, .snapshotBegin, .snapshotEnd, .propagated: break
        }
    }

    /// What was unready is named no more, or named again and ready.
    private func cameBack(_ id: EndpointID) {
        guard let worker = workers[id], worker.recovery == .awaitingReady else { return }
        let named = worker.places.values.filter { !$0.isGone }
        if !named.isEmpty, named.allSatisfy(\.description.isUsable) { workers[id]?.recovery = .none }
    }

    func isLocal(_ id: EndpointID) -> Bool { workers[id]?.places.values.contains { $0.description.isLocal } ?? false }
}
