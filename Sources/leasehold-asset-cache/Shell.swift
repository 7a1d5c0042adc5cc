import AssetCore
import CLinux
import EventLoops
import Foundation
import Linux
import Logging
import Model
import NIOCore
import NIOPosix
import ServiceKit
import Synchronization
import Systemd
import Wire

/// The process around the store: the listening socket, threads, signals, upkeep.
///
/// The service's loop turns on the main thread. Requests run on SwiftNIO's threads and on tasks, what blocks runs in a pool of threads.
final class Shell {
    private let service: Service
    private let store: Store
    private let s3: S3Service
    private let router: Router
    private let cache: CacheService?
    private let tunnels: Tunnels?
    private let profiles: ProfileService
    private let leases: LeaseDesk?
    private let tier: TierService?
    private let reverse: [(listener: Int32, address: String, origin: String)]
    private let server: HTTPServer
    private let orders: AssetOrders
    private let group: MultiThreadedEventLoopGroup
    private let pool: NIOThreadPool
    private let listener: Int32
    private let address: String
    private let beats: Beats
    private let mailbox: Mailbox
    private var drainTimer: LoopTimer?
    private var upkeep: Upkeep?

    struct Unconfigured: Error, CustomStringConvertible {
        var description: String { "the configuration has no asset-cache section" }
    }

    init(_ service: Service) throws {
        self.service = service
        guard let configuration = service.configuration.assetCache else { throw Unconfigured() }
        let authority = try Authority(configuration)
        store = try Store(configuration, logger: service.logger)
        let socket = try Listening(configuration.address, given: service.listenDescriptors.take("asset-cache").first, key: "asset-cache.address")
        (listener, address) = (socket.raw, socket.address)
        let cores = ProcessInfo.processInfo.activeProcessorCount
        group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, min(8, cores)))
        // They wait for disks, not for processors.
        pool = NIOThreadPool(numberOfThreads: max(16, cores * 4))
        pool.start()
        tier = try Self.makeTier(configuration, store, pool, group, service)
        s3 = S3Service(store: store, pool: pool, authority: authority, tier: tier, logger: service.logger)
        var given = service.listenDescriptors.take("asset-cache-reverse")
        reverse = try configuration.reverse.map { entry in
            let socket = try Listening(entry.address, given: given.isEmpty ? nil : given.removeFirst(), key: "asset-cache.reverse[].address")
            return (socket.raw, socket.address, entry.origin)
        }
        let (cache, tunnels) = try Self.makeCache(configuration, store, pool, group, listeners: [listener] + reverse.map(\.listener), service)
        (self.cache, self.tunnels) = (cache, tunnels)
        leases = configuration.profiles.leases ? LeaseDesk(service) : nil
        profiles = ProfileService(
            store: store, pool: pool, authority: { [s3] in s3.current }, configuration: configuration.profiles, leases: leases, tier: tier,
            logger: service.logger)
        router = Router(s3: s3, cache: configuration.fetch == nil ? nil : cache, profiles: profiles, names: configuration.names)
        // A connection has at most a file and an origin's socket open beside its own; the rest is for the index and for links.
        let mostConnections = max(64, (service.descriptorLimit - 256) / 4)
        server = HTTPServer(
            group: group, logger: service.logger, mostConnections: min(mostConnections, 16_384), instance: service.instance, tunnels: tunnels)
        orders = AssetOrders(store: store, cache: cache, tier: tier, pool: pool, logger: service.logger)
        beats = Beats(group)
        mailbox = Mailbox(service.loop)
        attach()
        upkeep = Upkeep(store, scrubEvery: configuration.scrub, service.logger)
        let quick = configuration.fetch == nil ? nil : cache?.quickAnswer(base: "")
        serve(listener, takesTunnels: true, quick: quick) { [router] exchange in try await router.handle(exchange) }
        for (listener, _, origin) in reverse {
            guard let cache, let base = TargetURL(origin) else { continue }
            let quick = cache.quickAnswer(base: CacheService.Way.reverse.prefix + base.text.dropLast())
            serve(listener, takesTunnels: false, quick: quick) { exchange in
                var url = base
                url.target = exchange.head.uri
                try await cache.handle(exchange, exchange.head.uri.hasPrefix("/") ? TargetURL(url.text) : nil, .reverse)
            }
        }
        service.ready(status: status)
    }

    private func serve(_ socket: Int32, takesTunnels: Bool, quick: HTTPServer.QuickAnswer?, _ handler: @escaping HTTPServer.Handler) {
        Task { [server, mailbox, logger = service.logger] in
            do { try await server.serve(socket, takesTunnels: takesTunnels, quick: quick, handler) } catch {
                logger.critical("The listener failed", metadata: [LogKey.messageID: "\(MessageID.listenerFailed)", "problem": "\(error)"])
                mailbox.put { $0.stop() }
            }
        }
    }

    /// The HTTP cache, where a way into it is configured.
    private static func makeCache(
        _ configuration: AssetCacheConfiguration, _ store: Store, _ pool: NIOThreadPool, _ group: MultiThreadedEventLoopGroup,
        listeners: [Int32], _ service: Service
    ) throws -> (CacheService?, Tunnels?) {
        guard configuration.fetch != nil || !configuration.reverse.isEmpty else { return (nil, nil) }
        let fetch = configuration.fetch
        let rule = TargetRule(
            allowHosts: fetch?.allowHosts ?? [], allowPrivate: Set(fetch?.allowPrivate ?? []), own: OwnAddresses.of(listeners),
            connectPorts: Set((fetch?.connectPorts ?? []).compactMap { UInt16(exactly: $0) }))
        let caching = configuration.caching
        let deadlines = OriginClient.Deadlines(
            connect: .nanoseconds(caching.connect.nanoseconds), firstByte: .nanoseconds(caching.firstByte.nanoseconds),
            idle: .nanoseconds(caching.idle.nanoseconds))
        let names = NIOThreadPool(numberOfThreads: 8)
        names.start()
        let resolver = Resolver(pool: names)
        let client = try OriginClient(group: group, resolver: resolver, rule: rule, trustFile: fetch?.trustFile, deadlines: deadlines)
        let cache = CacheService(
            store: store, pool: pool, client: client, rule: rule, configuration: caching, instance: service.instance, logger: service.logger)
        return (cache, fetch == nil ? nil : Tunnels(resolver, rule, connectTimeout: deadlines.connect))
    }

    /// The store behind, where one is configured.
    private static func makeTier(
        _ configuration: AssetCacheConfiguration, _ store: Store, _ pool: NIOThreadPool, _ group: MultiThreadedEventLoopGroup,
        _ service: Service
    ) throws -> TierService? {
        guard let backing = configuration.backing else { return nil }
        let names = NIOThreadPool(numberOfThreads: 2)
        names.start()
        // The operator chose the target: nothing of it is checked.
        let origin = try OriginClient(
            group: group, resolver: Resolver(pool: names),
            rule: TargetRule(allowHosts: [], allowPrivate: [], own: [], connectPorts: []), trustFile: backing.trustFile,
            key: "asset-cache.backing",
            deadlines: .init(
                connect: .nanoseconds(backing.connect.nanoseconds), firstByte: .nanoseconds(backing.firstByte.nanoseconds),
                idle: .nanoseconds(backing.idle.nanoseconds)))
        return try TierService(
            backing, client: try BackingClient(backing, origin: origin), store: store, pool: pool, eventLoop: group.next(), logger: service.logger)
    }

    private func attach() {
        service.loop.atTurnEnd { [unowned self] in mailbox.open() }
        service.onTerminate = { [unowned self] isFirst in terminate(isFirst) }
        service.onReload = { [unowned self] _, new in reload(new) }
        service.onControl = { [unowned self] request in answer(request) }
        service.counters = { [unowned self] in counters() }
        service.vitals.collect = { [unowned self] round in tell(&round) }
        service.isHealthy = { [unowned self] in beats.areFresh() }
        drainTimer = service.loop.timer { [unowned self] _ in
            service.logger.warning("Requests still run, stopping without them", metadata: [LogKey.messageID: "\(MessageID.drainIncomplete)", "connections": "\(server.openConnections)"])
            service.loop.stop()
        }
    }

    // MARK: Life

    func end() {
        upkeep?.end()
        // Whatever still runs has had its time; the store is whole at every moment.
        pool.shutdownGracefully { _ in }
    }

    private func terminate(_ isFirst: Bool) {
        guard isFirst else { return service.loop.stop() }
        upkeep?.end()
        drainTimer?.deadline = service.loop.now + (service.configuration.assetCache?.drain ?? .zero).nanoseconds
        server.drain { [mailbox] in mailbox.put { $0.stop() } }
    }

    private func reload(_ new: Configuration) {
        guard let configuration = new.assetCache else { return }
        router.replace(names: configuration.names)
        do { s3.replace(try Authority(configuration)) } catch {
            service.logger.error("The new keys are not in force; the old ones stay", metadata: [LogKey.messageID: "\(MessageID.reloadRefused)", "problem": "\(error)"])
        }
    }

    // MARK: Reports

    private var status: String { "Serving S3 on \(address)" }

    private func answer(_ request: ControlRequest) -> ControlAnswer {
        switch request {
        case .show("listeners"):
            .json(
                [ListenerReport(name: "asset-cache", address: address, transport: "http", pools: [])]
                    + reverse.map { ListenerReport(name: "asset-cache-reverse", address: $0.address, transport: "http", pools: []) })
        case .show(let what): .failed(status: 64, "the asset cache has no report '\(what)'; it has 'listeners' and 'process'")
        case .assets(let order, let arguments): orders.answer(order, arguments)
        case .drain, .drainIdle, .undrain, .quarantine, .pause, .resume: .failed(status: 64, "the pool-keeper does that")
        }
    }

    /// For the publisher.
    private func tell(_ round: inout VitalsRound) {
        round.count(.cacheRequests, "read", s3.counters.reads.value)
        round.count(.cacheRequests, "write", s3.counters.writes.value)
        round.count(.cacheRequests, "refused", s3.counters.refusals.value)
        round.count(.cacheRequests, "failed", s3.counters.failures.value)
        round.count(.cacheBytes, "in", s3.counters.bytesIn.value)
        round.count(.cacheBytes, "out", s3.counters.bytesOut.value)
        round.count(.cacheEvictions, store.counters.evictions.value)
        let figures = store.figures
        round.gauge(.cacheObjects, value: Double(figures.objects))
        round.gauge(.cacheUsed, value: Double(figures.used))
        round.gauge(.cacheBound, value: Double(store.bound))
        round.count(.cacheDamaged, store.counters.damaged.value)
        round.count(.cacheProfiles, "read", profiles.counters.reads.value)
        round.count(.cacheProfiles, "write", profiles.counters.writes.value)
        round.count(.cacheProfiles, "refused", profiles.counters.refused.value)
        cache?.figures.tell(&round)
        tier?.tell(store, &round)
    }

    private func counters() -> [String: UInt64] {
        let figures = store.figures
        var counters = cache?.figures.counters ?? [:]
        counters["profile-reads"] = profiles.counters.reads.value
        counters["profile-writes"] = profiles.counters.writes.value
        counters["profiles-refused"] = profiles.counters.refused.value
        if let leases { counters["leases-known"] = UInt64(leases.book.count) }
        if let tier { counters.merge(tier.counted(store)) { _, mine in mine } }
        counters["tunnels"] = tunnels?.opened.value ?? 0
        counters["tunnels-refused"] = tunnels?.refused.value ?? 0
        return counters.merging([
            "connections": server.connections.value, "connections-refused": server.refusedConnections.value,
            "connections-open": UInt64(server.openConnections), "requests": server.requests.value, "reads": s3.counters.reads.value,
            "writes": s3.counters.writes.value, "bytes-out": s3.counters.bytesOut.value, "bytes-in": s3.counters.bytesIn.value,
            "refusals": s3.counters.refusals.value, "failures": s3.counters.failures.value, "evictions": store.counters.evictions.value,
            "evicted-bytes": store.counters.evictedBytes.value, "expired": store.counters.expired.value,
            "scrubbed": store.counters.scrubbed.value, "damaged": store.counters.damaged.value, "orphans": store.counters.orphans.value,
            "objects": UInt64(max(0, figures.objects)), "bytes-used": UInt64(max(0, figures.used)),
            "bytes-pinned": UInt64(max(0, figures.pinned)), "bytes-bound": UInt64(store.bound), "turns": service.loop.turns,
        ]) { _, mine in mine }
    }
}
