import Kubernetes
import Model
import Wire

extension WatcherMachine {
    mutating func kubernetesSaid(
        _ scope: WatchScope, _ update: ObjectUpdate, _ sinceEpoch: Duration, _ now: Instant, _ actions: inout [WatcherAction]
    ) {
        guard var objects = kubernetes.take() else { return }
        var triggers: [String] = []
        let isNeeded = objects.take(scope, update, into: &merge, &triggers)
        kubernetes = objects
        if !isNeeded { return }
        kubernetesMoved(isList: update.origin == .relist, now, &actions)
        guard isComplete else { return }
        // Behind what they are the ages of, so that who hears them has heard that.
        for trigger in triggers {
            guard let began = Duration(sinceEpochOf: trigger) else { continue }
            let age = max(.zero, sinceEpoch - began)
            propagation.add(age)
            actions.append(.send(.propagated(age: age)))
        }
    }

    /// What the API server said, or what of it is needed, has changed: carries it into the feed.
    ///
    /// - Parameter isList: whether something may be missing that nobody saw go.
    mutating func kubernetesMoved(isList: Bool, _ now: Instant, _ actions: inout [WatcherAction]) {
        guard let isWhole = kubernetes?.isWhole else { return }
        var isList = isList
        if isWhole, kubernetes?.hasOrphans == true {
            kubernetes?.releaseOrphans(from: &merge)
            isList = true
        }
        // Half a first reading is no state. Later, what one scope says does not wait for another.
        guard isComplete || isWhole else { return }
        let isFirst = !isComplete
        isComplete = true
        let wasKnown = isKnown
        isKnown = true
        var feed: [WatcherAction] = []
        if isList { doubt(now, &actions) }
        commit(&feed, &actions)
        if isWhole { releaseKept(where: { !$0.isLocal }, &feed) }
        tellHealth(now, &feed)
        if wasKnown {
            actions += feed
        } else {
            saveSoon(now)
            actions.append(.greetAll)
        }
        guard isFirst else { return }
        actions.append(.log(.sourceComplete(endpoints: published.values.reduce(0) { $0 + $1.count }, files: 0)))
    }

    mutating func kubernetesHealth(
        _ scope: WatchScope, _ health: ReflectorHealth, _ heard: Instant?, _ now: Instant, _ actions: inout [WatcherAction]
    ) {
        guard kubernetes?.note(scope, health) == true else { return }
        tellHealth(now, &actions, since: heard)
    }

    mutating func kubernetesRestarted(_ now: Instant, _ actions: inout [WatcherAction]) {
        kubernetes?.beginAnew()
        tellHealth(now, &actions)
    }

    // MARK: Doubt

    /// A list was read to its end: if it lacks too much of a pool, that stays in force for a while.
    ///
    /// Called before what it says is carried into the feed, so that what is in doubt never leaves it.
    private mutating func doubt(_ now: Instant, _ actions: inout [WatcherAction]) {
        for pool in published.keys.sorted() {
            guard let name = pools[pool] else { continue }
            var (missing, count): ([Endpoint], Int) = ([], 0)
            for endpoint in (published[pool] ?? [:]).values where !endpoint.isLocal {
                count += 1
                if merge.endpoint(endpoint.id, in: pool) == nil { missing.append(endpoint) }
            }
            if missing.isEmpty { continue }
            // Who is replaced at the same address is not missing, and must not be served beside the successor.
            let present = Set(merge.endpoints(of: pool).flatMap(\.addresses))
            missing.removeAll { !present.isDisjoint(with: $0.addresses) }
            // Those in doubt already count: one list after the other could take a pool away in pieces.
            guard missing.count * 100 > doubtPolicy.percent * count || missing.count == count else { continue }
            let new = missing.filter { !doubts.has($0.id, in: pool) }
            if new.isEmpty { continue }
            doubtsRaised += 1
            doubts.raise(new, in: pool, until: now + doubtPolicy.hold)
            actions.append(.log(.doubted(pool: name, missing: missing.count, of: count, hold: doubtPolicy.hold)))
        }
    }

    /// Somebody is served: no doubt about it, nor about who was at its addresses before.
    mutating func refuteDoubt(_ pool: PoolID, _ endpoint: Endpoint, _ actions: inout [WatcherAction]) {
        let before = doubts.count(in: pool)
        if before == 0 { return }
        if merge.endpoint(endpoint.id, in: pool) != nil || endpoint.isLocal { doubts.settle(endpoint.id, in: pool) }
        for address in endpoint.addresses {
            guard let former = doubts.holder(of: address, in: pool), former != endpoint.id else { continue }
            doubts.settle(former, in: pool)
            update(pool, former, &actions)
        }
        if doubts.count(in: pool) == 0 { actions.append(.log(.doubtRefuted(pool: pools[pool] ?? ""))) }
    }

    /// Nothing has come to refute them: the list was right.
    mutating func doubtsEnded(_ now: Instant, _ actions: inout [WatcherAction]) {
        for (pool, ids) in doubts.takeEnded(at: now) {
            for id in ids { update(pool, id, &actions) }
            actions.append(.log(.doubtConfirmed(pool: pools[pool] ?? "", removed: ids.count)))
        }
        tellHealth(now, &actions)
    }
}
