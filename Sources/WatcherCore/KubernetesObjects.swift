import Kubernetes
import Model

/// What the API server said, scope by scope, and how much it is worth.
///
/// A scope that nobody needs any more (the configuration was read anew) leaves its objects behind until those that are needed
/// instead are complete: until then nobody else speaks for them.
struct KubernetesObjects: Sendable {
    private var slices: [ObjectKey: EndpointSlice] = [:]
    private var services: [ObjectKey: Service] = [:]
    private var scopes: [WatchScope: Scope] = [:]
    /// Objects that no scope has spoken of since theirs was given up.
    private var orphans: [WatchScope.Resource: Set<ObjectKey>] = [:]

    private struct Scope: Sendable {
        var isComplete = false
        var health = ReflectorHealth.unknown(nil)
        var keys: Set<ObjectKey> = []
    }

    init(pools: [PoolSource]) {
        for scope in WatchScope.needed(for: pools) { scopes[scope] = Scope() }
    }

    /// Whether every scope that is needed was read to its end.
    var isWhole: Bool { scopes.values.allSatisfy(\.isComplete) }

    var objectCount: Int { slices.count + services.count }
    var hasOrphans: Bool { orphans.values.contains { !$0.isEmpty } }

    /// Why what is known may not be what is; nil while every scope is live.
    var problem: String? {
        for (scope, state) in scopes.sorted(by: { $0.key < $1.key }) {
            switch state.health {
            case .live: if !state.isComplete { return "\(scope) are being read" }
            case .unknown(let why): return why ?? "\(scope) are being read"
            case .away(let why): return why
            }
        }
        return nil
    }

    /// False if nobody needs this scope (any more).
    mutating func note(_ scope: WatchScope, _ health: ReflectorHealth) -> Bool {
        guard scopes[scope] != nil else { return false }
        scopes[scope]?.health = health
        return true
    }

    /// Takes a change of a scope's objects, and gives the times at which what happened to slices began, where they tell one that is
    /// new. False if nobody needs this scope (any more).
    mutating func take(
        _ scope: WatchScope, _ update: ObjectUpdate, into merge: inout EndpointMerge, _ triggers: inout [String]
    ) -> Bool {
        guard var state = scopes.removeValue(forKey: scope) else { return false }
        defer { scopes[scope] = state }
        for change in update.changes {
            switch change {
            case .upserted(let object):
                state.keys.insert(object.key)
                orphans[scope.resource]?.remove(object.key)
                switch object {
                case .slice(let slice):
                    let trigger = slice.metadata.lastChangeTriggerTime
                    let old = slices.updateValue(slice, forKey: slice.key)
                    switch update.origin {
                    case .events: if let trigger, trigger != old?.metadata.lastChangeTriggerTime { triggers.append(trigger) }
                    // What a list says may have happened at any time.
                    case .relist: break
                    }
                    merge.upsert(slice)
                case .service(let service):
                    services[service.key] = service
                    merge.upsert(service)
                }
            case .deleted(let key):
                state.keys.remove(key)
                forget(key, scope.resource, &merge)
            }
        }
        switch update.origin {
        case .events: break
        case .relist: state.isComplete = true
        }
        return true
    }

    /// Those who are needed have spoken: what none of them spoke of is gone.
    mutating func releaseOrphans(from merge: inout EndpointMerge) {
        for (resource, keys) in orphans.sorted(by: { $0.key < $1.key }) {
            for key in keys.sorted() { forget(key, resource, &merge) }
        }
        orphans = [:]
    }

    private mutating func forget(_ key: ObjectKey, _ resource: WatchScope.Resource, _ merge: inout EndpointMerge) {
        orphans[resource]?.remove(key)
        switch resource {
        case .endpointSlices:
            slices[key] = nil
            merge.removeSlice(key)
        case .services:
            services[key] = nil
            merge.removeService(key)
        }
    }

    /// Other pools: scopes that stay keep what they have said.
    mutating func reconfigure(pools: [PoolSource]) {
        let old = scopes
        scopes = [:]
        for scope in WatchScope.needed(for: pools) { scopes[scope] = old[scope] ?? Scope() }
        for (scope, state) in old where scopes[scope] == nil { orphans[scope.resource, default: []].formUnion(state.keys) }
    }

    /// Every scope is read anew by somebody who knows nothing of the old one, perhaps at another server.
    mutating func beginAnew() {
        for (scope, state) in scopes {
            orphans[scope.resource, default: []].formUnion(state.keys)
            scopes[scope] = Scope()
        }
    }

    /// Says everything to a merge that knows nothing. O(all objects).
    func replay(into merge: inout EndpointMerge) {
        for (_, slice) in slices.sorted(by: { $0.key < $1.key }) { merge.upsert(slice) }
        for (_, service) in services.sorted(by: { $0.key < $1.key }) { merge.upsert(service) }
    }
}
