import Kubernetes
import Model

extension WatcherMachine {
    mutating func fileLoaded(_ name: String, _ manifest: Manifest, _ actions: inout [WatcherAction]) {
        var notices: [WatcherNotice] = []
        directory.load(name, manifest, into: &merge, &notices)
        actions += notices.map(WatcherAction.log)
    }

    mutating func fileBroken(_ name: String, _ problem: String, _ actions: inout [WatcherAction]) {
        var notices: [WatcherNotice] = []
        directory.markBroken(name, problem, &notices)
        actions += notices.map(WatcherAction.log)
    }

    mutating func fileRemoved(_ name: String, _ actions: inout [WatcherAction]) {
        guard directory.has(name) else { return }
        directory.remove(name, from: &merge)
        actions.append(.log(.fileRemoved(name)))
    }

    mutating func scanCompleted(_ files: Set<String>, _ now: Instant, _ actions: inout [WatcherAction]) {
        for name in directory.names where !files.contains(name) { fileRemoved(name, &actions) }
        if unreadable != nil {
            unreadable = nil
            actions.append(.log(.directoryReadable))
        }
        let isFirst = !isComplete
        isComplete = true
        settled(now, &actions)
        nextScan = now + Self.scanInterval
        guard isFirst else { return }
        actions.append(.log(.sourceComplete(endpoints: published.values.reduce(0) { $0 + $1.count }, files: directory.names.count)))
    }

    mutating func directoryUnreadable(_ why: String, _ now: Instant, _ actions: inout [WatcherAction]) {
        if unreadable != why { actions.append(.log(.directoryUnreadable(why))) }
        unreadable = why
        nextScan = now + Self.retryInterval
        tellHealth(now, &actions)
    }
}
