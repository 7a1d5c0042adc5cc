import EventLoops
import Foundation
import Linux
import Logging
import Model
import NIOCore
import NIOPosix
import PublisherCore
import ServiceKit
import Systemd
import Wire

/// The process around what is known: links on the service's loop, which turns on the main thread, and doors on SwiftNIO's threads.
final class Shell {
    private let service: Service
    private var publication: Publication
    private var isChanged = true
    private let board: Board
    private let group: MultiThreadedEventLoopGroup
    private let mailbox: Mailbox
    private let beats: Beats
    /// Each with the name of its listener. More servers of this process are more entries here.
    private var doors: [(name: String, address: String, door: any Entrance)] = []
    /// Those who want to hear at once when a pool has jobs; nil where KEDA is not served.
    private var feeds: ActivityFeeds?
    private let state: LinkClient
    private let endpoints: LinkClient
    private var vitals: [(process: ProcessName, link: LinkClient)] = []
    private let traces: TraceExporter?
    private var drainTimer: LoopTimer?
    /// Looks whether somebody looks.
    private var viewerTimer: LoopTimer?
    private var wantsCells = false

    struct Unconfigured: Error, CustomStringConvertible {
        var description: String { "the configuration has no publisher section" }
    }

    init(_ service: Service) throws {
        self.service = service
        let configuration = service.configuration
        guard let own = configuration.publisher else { throw Unconfigured() }
        let names = Self.processes(configuration)
        publication = Publication(
            version: Version.current, processes: names.map(\.rawValue), pools: Self.pools(configuration),
            at: Instant(nanoseconds: monotonicNow()))
        board = Board(publication, mostQueued: Self.mostQueued(configuration))
        // Scrapers and a few people.
        group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        mailbox = Mailbox(service.loop)
        beats = Beats(group)
        traces = own.trace.map { [group, board] in TraceExporter($0, group: group, board: board, logger: service.logger) }
        state = service.connect(.state)
        endpoints = service.connect(.endpoints)
        for name in names {
            let client = LinkClient(path: configuration.vitalsPath(name), hello: service.hello(.vitals), outbox: service.outbox)
            vitals.append((name, client))
        }
        try openDoors(own)
        if let keda = own.keda { try openKeda(keda) }
        connectState()
        connectEndpoints()
        for (process, link) in vitals { connect(process, link) }
        attach()
        service.ready(status: status)
    }

    /// Those that say something of the jobs; the scaler only where it has something to do.
    private static func processes(_ configuration: Configuration) -> [ProcessName] {
        ProcessName.allCases.filter { name in
            configuration.names(name) && (name != .scaler || configuration.pools.contains { $0.workers != nil })
        }
    }

    private static func mostQueued(_ configuration: Configuration) -> [String: Int] {
        Dictionary(configuration.pools.map { ($0.name, $0.policy.maxQueued) }, uniquingKeysWith: { $1 })
    }

    private static func pools(_ configuration: Configuration) -> [Publication.PoolPolicyName] {
        configuration.pools.map { .init(name: $0.name, namespace: $0.service?.namespace) }
    }

    private func attach() {
        service.loop.atTurnEnd { [unowned self] in turnEnded() }
        service.onTerminate = { [unowned self] isFirst in terminate(isFirst) }
        service.onReload = { [unowned self] _, new in
            publication.configure(Self.pools(new))
            board.replace(mostQueued: Self.mostQueued(new))
            isChanged = true
        }
        service.onControl = { [unowned self] request in answer(request) }
        service.counters = { [unowned self] in counters() }
        service.isHealthy = { [unowned self] in beats.areFresh() }
        viewerTimer = service.loop.timer { [unowned self] now in
            lookAfterViewers()
            viewerTimer?.deadline = now + 500_000_000
        }
        viewerTimer?.deadline = service.loop.now
        drainTimer = service.loop.timer { [unowned self] _ in
            service.logger.warning(
                "Answers are still being written, stopping without them",
                metadata: [LogKey.messageID: "\(MessageID.drainIncomplete)", "connections": "\(doors.reduce(0) { $0 + $1.door.openConnections })"])
            service.loop.stop()
        }
    }

    private func turnEnded() {
        mailbox.open()
        if isChanged {
            isChanged = false
            board.replace(publication, at: service.loop.now)
            feeds?.heard(publication, at: service.loop.instant)
        }
        service.setStatus(status)
    }

    // MARK: Doors

    private func openDoors(_ own: PublisherConfiguration) throws {
        let certificate = try own.tls.map { try Certificate($0, key: "publisher.tls", logger: service.logger) }
        let serves: [ProcessName] = service.configuration.pools.isEmpty ? [] : [.watcher, .poolKeeper, .dispatcher]
        let routes = Routes(board: board, serves: serves.map(\.rawValue), hosts: Self.hosts(own), logger: service.logger)
        try open("publisher", own.address, key: "publisher.address", certificate, routes.responder())
        if let external = own.externalMetrics {
            let key = "publisher.external-metrics"
            let certificate = try Certificate(external.serving, key: key, asksForCertificates: true, logger: service.logger)
            let routes = try ExternalMetricsRoutes(external, board: board, logger: service.logger)
            try open("external-metrics", external.address, key: "\(key).address", certificate, routes.responder())
        }
    }

    /// Names count where a browser on this machine is the only stranger who could ask, and where somebody has listed them.
    private static func hosts(_ own: PublisherConfiguration) -> HostRule? {
        let isLoopback =
            switch own.address {
            case .ip(let address): address.isLoopback
            case .unix: false
            }
        return isLoopback || !own.hosts.isEmpty ? HostRule(names: own.hosts) : nil
    }

    private func open(_ name: String, _ address: ListenAddress, key: String, _ certificate: Certificate?, _ responder: @escaping Door.Responder) throws {
        let listening = try Listening(address, given: service.listenDescriptors.take(name).first, key: key)
        let door = Door(group: group, certificate: certificate, logger: service.logger, mostConnections: 512, responder: responder)
        doors.append((name, listening.address, door))
        Task { [mailbox, logger = service.logger] in
            do { try await door.serve(listening.raw) } catch {
                if door.isDraining { return }
                logger.critical("The listener failed", metadata: [LogKey.messageID: "\(MessageID.listenerFailed)", "problem": "\(error)"])
                mailbox.put { $0.stop() }
            }
        }
    }

    private func openKeda(_ configuration: KedaConfiguration) throws {
        let listening = try Listening(configuration.address, given: service.listenDescriptors.take("keda").first, key: "publisher.keda.address")
        let feeds = ActivityFeeds(publication, board: board)
        self.feeds = feeds
        let door = KedaDoor(listening.raw, group: group, board: board, feeds: feeds)
        doors.append(("keda", listening.address, door))
        Task { [mailbox, logger = service.logger] in
            do { try await door.serve() } catch {
                if door.isDraining { return }
                logger.critical("The listener failed", metadata: [LogKey.messageID: "\(MessageID.listenerFailed)", "problem": "\(error)"])
                mailbox.put { $0.stop() }
            }
        }
    }

    // MARK: Links

    private func connectState() {
        state.onUp = { [unowned self] link in
            publication.stateUp()
            if wantsCells { link.send(StateRequest.cells(true)) }
            isChanged = true
        }
        state.onPacket = { [unowned self] (_, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd { publication.heard(try StateMessage.decode(from: &reader), at: service.loop.instant) }
            isChanged = true
        }
        state.onDown = { [unowned self] reason in
            service.logger.warning(
                "The pool-keeper is away, continuing with what is known",
                metadata: ["reason": "\(reason)", LogKey.messageID: "\(MessageID.linkDown)"])
            publication.stateDown(at: service.loop.instant)
            isChanged = true
        }
        state.start()
    }

    /// Endpoint by endpoint only while a page is open.
    private func lookAfterViewers() {
        let wanted = board.viewers > 0
        guard wanted != wantsCells else { return }
        wantsCells = wanted
        state.link?.send(StateRequest.cells(wanted))
        if !wanted {
            publication.forgetCells()
            isChanged = true
        }
    }

    private func connectEndpoints() {
        endpoints.onUp = { [unowned self] _ in
            publication.sourceUp()
            isChanged = true
        }
        endpoints.onPacket = { [unowned self] (_, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd { publication.heard(try EndpointsMessage.decode(from: &reader), at: service.loop.instant) }
            isChanged = true
        }
        endpoints.onDown = { [unowned self] _ in
            publication.sourceDown(at: service.loop.instant)
            isChanged = true
        }
        endpoints.start()
    }

    private func connect(_ process: ProcessName, _ client: LinkClient) {
        let name = process.rawValue
        let sample = service.configuration.publisher?.trace?.sample ?? 0
        client.onUp = { [unowned self] link in
            link.send(VitalsRequest.sample(millionths: UInt32(sample)))
            publication.vitalsUp(name, instance: link.peer?.instance ?? 0, at: service.loop.instant)
            isChanged = true
        }
        client.onPacket = { [unowned self] (_, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd {
                let message = try VitalsMessage.decode(from: &reader)
                if case .job(let job) = message { ended(job) } else { publication.heard(message, from: name, at: service.loop.instant) }
            }
            isChanged = true
        }
        client.onDown = { [unowned self] _ in
            publication.vitalsDown(name, at: service.loop.instant)
            isChanged = true
        }
        client.start()
    }

    private func ended(_ job: JobEnd) {
        traces?.add(job, pool: publication.pool(job.pool)?.name ?? "", at: service.loop.now)
    }

    // MARK: Life

    private func terminate(_ isFirst: Bool) {
        guard isFirst else { return service.loop.stop() }
        board.drain()
        service.setStatus("Draining")
        drainTimer?.deadline = service.loop.now + (service.configuration.publisher?.drain ?? .zero).nanoseconds
        let left = Countdown(doors.count) { [mailbox] in mailbox.put { $0.stop() } }
        for entry in doors { entry.door.drain { left.step() } }
    }

    // MARK: Reports

    private var status: String {
        let up = publication.processes.count { $0.isUp }
        return "Serving \(doors.map { "\($0.name) on \($0.address)" }.joined(separator: ", ")); \(up) of \(publication.processes.count) processes heard"
    }

    private func answer(_ request: ControlRequest) -> ControlAnswer {
        switch request {
        case .show("listeners"): .json(doors.map { ListenerReport(name: $0.name, address: $0.address, transport: $0.door.transport, pools: []) })
        case .show(let what): .failed(status: 64, "the publisher has no report '\(what)'; it has 'listeners' and 'process'")
        case .assets: .failed(status: 64, "the asset cache does that")
        case .drain, .drainIdle, .undrain, .quarantine, .pause, .resume: .failed(status: 64, "the pool-keeper does that")
        }
    }

    private func counters() -> [String: UInt64] {
        let own = board.own
        return [
            "connections-open": UInt64(doors.reduce(0) { $0 + $1.door.openConnections }), "scrapes": own.scrapes.values.reduce(0, +),
            "viewers": UInt64(max(0, own.viewers)), "spans-sent": own.spansSent, "spans-dropped": own.spansDropped,
            "keda-calls": own.kedaCalls.values.reduce(0, +), "keda-streams": UInt64(max(0, own.kedaStreams ?? 0)),
            "processes-up": UInt64(publication.processes.count { $0.isUp }), "turns": service.loop.turns,
        ]
    }
}
