import AssetCore
import Foundation
import Linux
import Logging
import NIOPosix
import ServiceKit
import Systemd

/// What `leasehold cache` and `leasehold profiles` ask for. On the main loop: what takes long is begun here and goes on elsewhere.
final class AssetOrders {
    private let store: Store
    private let cache: CacheService?
    private let tier: TierService?
    private let pool: NIOThreadPool
    private let logger: Logger

    init(store: Store, cache: CacheService?, tier: TierService?, pool: NIOThreadPool, logger: Logger) {
        self.store = store
        self.cache = cache
        self.tier = tier
        self.pool = pool
        self.logger = logger
    }

    func answer(_ order: String, _ arguments: [String]) -> ControlAnswer {
        do {
            switch (order, arguments.count) {
            case ("stats", 0): return stats()
            case ("purge", 1): return try purge(arguments[0])
            case ("warm", 1...): return warm(arguments)
            case ("verify", 0): return verify()
            case ("list", 0...1): return .json(try store.profiles(arguments.first ?? "", nil))
            case ("history", 2): return .json(try store.profiles(arguments[0], arguments[1]))
            case ("get", 2...3): return try path(arguments)
            case ("remove", 2):
                let count = try store.removeProfile(arguments[0], arguments[1]) { _ in }
                return count == 0 ? .failed(status: 66, "there is no such profile") : .done("\(count) versions removed")
            default: return .failed(status: 64, "the asset cache does not know that order")
            }
        } catch {
            return .failed(status: 74, "the store failed: \(error)")
        }
    }

    private func stats() -> ControlAnswer {
        let (figures, disk) = (cache?.figures ?? CacheFigures(), store.figures)
        return .json(
            AssetStatsReport(
                counters: figures.counters.merging(
                    [
                        "objects": UInt64(max(0, disk.objects)), "bytes-used": UInt64(max(0, disk.used)),
                        "bytes-bound": UInt64(max(0, store.bound)),
                        "bytes-pinned": UInt64(max(0, disk.pinned)), "evictions": store.counters.evictions.value,
                    ]) { mine, _ in mine }.merging(tier?.counted(store) ?? [:]) { mine, _ in mine },
                hosts: figures.hosts.all.map { AssetStatsReport.Host(host: $0.host, requests: $0.requests, hits: $0.hits) },
                originLatencyMilliseconds: figures.originLatency.bound(ofShare: 0.5).map { Int64($0.milliseconds) }))
    }

    /// A URL, or the beginning of URLs and a `*`.
    private func purge(_ pattern: String) throws -> ControlAnswer {
        guard let cache else { return .failed(status: 69, "there is no HTTP cache here") }
        if pattern.hasSuffix("*") {
            let prefix = String(pattern.dropLast())
            let (store, logger) = (self.store, logger)
            pool.submit { _ in
                for way in ["", "reverse "] {
                    do { _ = try store.forget(way + prefix, isPrefix: true) } catch {
                        logger.error("A purge failed", metadata: [LogKey.messageID: "\(MessageID.upkeepFailed)", "problem": "\(error)"])
                    }
                }
                cache.hot.forgetAll()
            }
            return .done("removing what begins with \(prefix)")
        }
        guard let url = TargetURL(pattern) else { return .failed(status: 64, "\(pattern) is no URL; end with * for all that begin so") }
        var count = 0
        for way in ["", "reverse "] {
            count += try store.forget(way + url.text)
            cache.hot.forget(way + url.text)
        }
        return .done("\(count) removed")
    }

    private func warm(_ texts: [String]) -> ControlAnswer {
        guard let cache else { return .failed(status: 69, "there is no HTTP cache here") }
        var urls: [TargetURL] = []
        for text in texts {
            guard let url = TargetURL(text) else { return .failed(status: 64, "\(text) is no URL") }
            if let refusal = cache.rule.judge(host: url.host) { return .failed(status: 77, "\(text) is refused: \(refusal.rawValue)") }
            urls.append(url)
        }
        for url in urls { cache.warm(url) }
        return .done("asking for \(urls.count)")
    }

    private func verify() -> ControlAnswer {
        let (store, logger) = (self.store, logger)
        pool.submit { _ in
            do {
                try store.scrub { _ in true }
                logger.info("Every blob was compared with its SHA-256")
            } catch {
                logger.error("A scrub failed", metadata: [LogKey.messageID: "\(MessageID.upkeepFailed)", "problem": "\(error)"])
            }
        }
        return .done("comparing every blob with its SHA-256; `scrubbed`, `damaged` and `orphans` count")
    }

    /// Where the bytes of a version are: whoever may read that file gets them from there.
    private func path(_ arguments: [String]) throws -> ControlAnswer {
        let all = try store.profiles(arguments[0], arguments[1])
        let version = arguments.count == 3 ? all.first { String($0.version) == arguments[2] } : all.last
        guard let version, let object = try store.object(of: version) else {
            return .failed(status: 66, "there is no such profile, or no such version")
        }
        return .json(object.segments.map { store.blobs.path(of: $0.hash) })
    }
}
