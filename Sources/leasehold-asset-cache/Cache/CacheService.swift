import AssetCore
import Foundation
import Linux
import Logging
import Model
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceKit
import Synchronization

/// The HTTP cache: what a request is for, what is stored for it, and the origin where that is not enough.
final class CacheService: Sendable {
    /// How a request came in, which says who chose the target.
    enum Way: Hashable, Sendable {
        case forward
        case fetch
        case reverse

        var trust: OriginClient.Trust { self == .reverse ? .configured : .checked }
        /// What one way may reach, another may not: each has its own names.
        var prefix: String { self == .reverse ? "reverse " : "" }
    }

    let store: Store
    let pool: NIOThreadPool
    let client: OriginClient
    let rule: TargetRule
    let policy: StoragePolicy
    let hot: HotEntries
    let logger: Logger
    /// How we are called in Via and CDN-Loop.
    let pseudonym: String
    private let desk = Mutex(Desk())
    private let numbers = Mutex(CacheFigures())
    private let dead = Mutex(DeadHosts<OriginFailure>())
    private let deadFor: Duration

    private struct Desk {
        var flights = Flights()
        var current: [Flights.ID: Flight] = [:]
    }

    /// Bodies up to this size are kept in memory with their entry.
    static let mostHot: Int64 = 64 << 10

    init(
        store: Store, pool: NIOThreadPool, client: OriginClient, rule: TargetRule, configuration: CachingConfiguration, instance: UInt64,
        logger: Logger
    ) {
        self.store = store
        self.pool = pool
        self.client = client
        self.rule = rule
        self.logger = logger
        policy = StoragePolicy(
            keepsSetCookie: configuration.storeSetCookie, negative: configuration.negative.components.seconds,
            largest: Int64(configuration.largest))
        deadFor = configuration.negative
        hot = HotEntries(bound: configuration.memory)
        pseudonym = "leasehold-" + String(instance, radix: 16)
    }

    var figures: CacheFigures { numbers.withLock { $0 } }

    func count(_ change: (inout CacheFigures) -> Void) { numbers.withLock { change(&$0) } }

    func blocking<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T { try await pool.runIfActive(work) }

    // MARK: One request

    private static let mostRedirects = 10
    /// Stored responses whose file was evicted between the index and the disk.
    private static let mostTries = 4

    /// From the head of a request to the end of its response. Throws when the connection is of no further use.
    func handle(_ exchange: Exchange, _ url: TargetURL?, _ way: Way, followsRedirects: Bool = false) async throws {
        exchange.isForOrigin = true
        do {
            guard var url else { throw OriginFailure.badURL }
            guard !Loops.isLoop(exchange.fields, pseudonym: pseudonym) else { throw OriginFailure.loop }
            var fields = exchange.fields
            for _ in 0..<Self.mostRedirects {
                if way != .reverse, let refusal = rule.judge(host: url.host) { throw OriginFailure.refused(refusal) }
                guard let next = try await answer(exchange, url, fields, way, followsRedirects) else { return }
                if next.host != url.host || next.scheme != url.scheme || next.port != url.port {
                    // What was meant for one site is not for another.
                    for name in ["authorization", "cookie"] { fields.remove(name) }
                }
                url = next
            }
            throw OriginFailure.loop
        } catch let failure as OriginFailure {
            guard exchange.status == 0, !exchange.isCut else { throw failure }
            try await refuse(exchange, failure)
        }
    }

    func refuse(_ exchange: Exchange, _ failure: OriginFailure) async throws {
        switch failure {
        case .refused, .badURL, .loop: count { $0.refused += 1 }
        case .noSuchHost, .unreachable, .connectTimeout, .responseTimeout, .noResponse, .cut, .tls: count { $0.originFailures += 1 }
        case .onlyIfCached, .callerGone: break
        }
        exchange.isForOrigin = false
        let headers = [
            ("Content-Type", "application/problem+json"), ("Proxy-Status", failure.proxyStatus), ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ]
        try await exchange.respond(failure.status, headers, ByteBuffer(string: failure.problem))
    }

    /// Nil: answered. A URL: where a redirect leads.
    private func answer(_ exchange: Exchange, _ url: TargetURL, _ fields: Fields, _ way: Way, _ follows: Bool) async throws -> TargetURL? {
        let method = exchange.head.method.rawValue
        let asked = Asked(method: method, url: url, fields: fields, way: way, follows: follows)
        for _ in 0..<Self.mostTries {
            let entries = exchange.isBodyRead ? try await entries(asked.name) : []
            let now = wallClock()
            var plan = CachePlan.make(method: method, request: fields, stored: entries.map(\.stored), at: now)
            if !exchange.isBodyRead { plan = .pass(method == "GET" ? .request : .method) }
            switch plan {
            case .unsatisfiable: throw OriginFailure.onlyIfCached
            case .pass(let why): return try await pass(exchange, asked, plan, why)
            case .serve(let i, let age), .serveAndValidate(let i, let age):
                let entry = entries[i]
                let ttl = entry.stored.freshness.lifetime - age
                if case .serveAndValidate = plan { begin(asked, plan, entries) }
                switch try await send(entry, asked, .hit(timeToLive: ttl), age: age, now, exchange) {
                case .done:
                    count { figures in
                        figures.hits += 1
                        if ttl < 0 { figures.staleHits += 1 }
                        figures.hosts.count(url.host, isHit: true)
                    }
                    return nil
                case .redirect(let next): return next
                case .gone: hot.forget(asked.name)
                }
            case .validate(_, let why), .fetch(let why), .fetchPart(let why):
                switch try await ask(exchange, asked, plan, why, entries) {
                case .done: return nil
                case .redirect(let next): return next
                case .gone: break
                }
            }
        }
        throw OriginFailure.unreachable
    }

    enum Sent {
        case done
        case redirect(TargetURL)
        /// The bytes are not there any more.
        case gone
    }

    /// A request, once its target is known.
    struct Asked: Sendable {
        var method: String
        var url: TargetURL
        var fields: Fields
        var way: Way
        var follows: Bool

        /// What the stored responses go by.
        var name: String { way.prefix + url.text }

        func redirect(_ status: Int, _ response: Fields) -> TargetURL? {
            guard follows, [301, 302, 303, 307, 308].contains(status) else { return nil }
            return response["location"].flatMap(url.resolving)
        }
    }

    func entries(_ name: String) async throws -> [CachedEntry] {
        if let found = hot.find(name) { return found }
        return try await blocking { [store, hot] in
            var entries = try store.entries(name)
            for i in entries.indices {
                guard let pieces = entries[i].stored.pieces, pieces.isComplete, pieces.total <= Self.mostHot, pieces.total > 0,
                    let slices = entries[i].slices(0..<pieces.total), let reading = try? Reading(slices, store, { true })
                else { continue }
                entries[i].body = reading.small
                reading.close()
            }
            if !entries.isEmpty { hot.set(name, entries) }
            return entries
        }
    }

    // MARK: Asking the origin

    /// Joins or begins a flight and answers with what comes of it.
    private func ask(
        _ exchange: Exchange, _ asked: Asked, _ plan: CachePlan, _ why: CachePlan.Forward, _ entries: [CachedEntry]
    ) async throws -> Sent {
        let (flight, isLeader) = join(asked, plan, entries)
        guard let flight else { return try await pass(exchange, asked, plan, why).map { .redirect($0) } ?? .done }
        var status = CacheStatus.forwarded(why)
        status.isCollapsed = !isLeader
        if !isLeader { count { $0.collapsed += 1 } }
        let outcome = await flight.outcome(isLeader: isLeader)
        let now = wallClock()
        switch outcome {
        case .filling(let fill, let code):
            guard isLeader || fill.stored.answers(asked.fields), isLeader || fill.part == nil || plan == .fetchPart(why) else {
                return try await pass(exchange, asked, plan, why).map { .redirect($0) } ?? .done
            }
            status.status = code
            status.isStored = true
            status.timeToLive = fill.stored.freshness.lifetime - fill.stored.freshness.age(at: now)
            if let next = asked.redirect(fill.stored.status, fill.stored.fields) { return .redirect(next) }
            counted(asked, isLeader)
            try await send(fill, asked, status, now, exchange)
            return .done
        case .freshened(let entry):
            guard isLeader || entry.stored.answers(asked.fields) else {
                return try await pass(exchange, asked, plan, why).map { .redirect($0) } ?? .done
            }
            status.status = 304
            let age = entry.stored.freshness.age(at: now)
            status.timeToLive = entry.stored.freshness.lifetime - age
            let sent = try await send(entry, asked, status, age: age, now, exchange)
            if case .done = sent {
                count { figures in
                    figures.validated += 1
                    figures.hosts.count(asked.url.host, isHit: true)
                }
            }
            return sent
        case .stale(let entry, let age, let detail):
            guard isLeader || entry.stored.answers(asked.fields) else { throw OriginFailure.unreachable }
            status = .hit(timeToLive: entry.stored.freshness.lifetime - age)
            status.detail = detail
            let sent = try await send(entry, asked, status, age: age, now, exchange)
            if case .done = sent {
                count { figures in
                    figures.hits += 1
                    figures.staleHits += 1
                    figures.hosts.count(asked.url.host, isHit: true)
                }
            }
            return sent
        case .relay(let response):
            status.status = response.status
            if let next = asked.redirect(response.status, response.fields) {
                response.close()
                return .redirect(next)
            }
            counted(asked, true)
            try await relay(response, status, exchange)
            return .done
        case .lookAgain: return .gone
        case .onYourOwn: return try await pass(exchange, asked, plan, why).map { .redirect($0) } ?? .done
        case .failed(let failure): throw failure
        }
    }

    private func counted(_ asked: Asked, _ isLeader: Bool) {
        count { figures in
            if isLeader { figures.misses += 1 }
            figures.hosts.count(asked.url.host, isHit: !isLeader)
        }
    }

    private func join(_ asked: Asked, _ plan: CachePlan, _ entries: [CachedEntry]) -> (Flight?, isLeader: Bool) {
        var key = asked.name
        if case .fetchPart = plan { key += "\n\(asked.fields["range"] ?? "")" }
        let (joined, flight) = desk.withLock { desk -> (Flights.Joined, Flight?) in
            // The whole is on its way: a part of it need not be asked for.
            if case .fetchPart = plan, let id = desk.flights.flight(asked.name), let whole = desk.current[id] {
                return (.follows(id), whole)
            }
            let joined = desk.flights.join(key, at: Instant(nanoseconds: monotonicNow()))
            switch joined {
            case .alone: return (joined, nil)
            case .follows(let id): return (joined, desk.current[id])
            case .leads(let id):
                let flight = Flight()
                desk.current[id] = flight
                return (joined, flight)
            }
        }
        guard case .leads(let id) = joined, let flight else { return (flight, false) }
        Task { await self.fly(id, flight, asked, plan, entries) }
        return (flight, true)
    }

    /// In the background: nobody waits for it but who comes meanwhile.
    private func begin(_ asked: Asked, _ plan: CachePlan, _ entries: [CachedEntry]) { _ = join(asked, plan, entries) }

    /// Asks for what a request of nobody's would be answered with, unless it is here.
    func warm(_ url: TargetURL) {
        let asked = Asked(method: "GET", url: url, fields: Fields(), way: .forward, follows: false)
        _ = join(asked, .fetch(.uriMiss), [])
    }

    func land(_ id: Flights.ID, isShared: Bool) {
        desk.withLock { desk in
            if isShared { desk.flights.ended(id) } else { desk.flights.isNotShared(id, at: Instant(nanoseconds: monotonicNow())) }
            desk.current[id] = nil
        }
    }

    /// Somebody alone got what all could use.
    func isShared(_ name: String) { desk.withLock { $0.flights.isShared(name) } }

    func askOrigin(
        _ method: String, _ asked: Asked, _ fields: Fields, body: (() async throws -> ByteBuffer?)? = nil
    ) async throws -> OriginResponse {
        var fields = fields
        // The 100 is ours to give: the body is taken in as it comes.
        fields.remove("expect")
        Loops.mark(&fields, pseudonym: pseudonym)
        for name in fields.all.map(\.name) where name.hasPrefix("leasehold-") { fields.remove(name) }
        let start = monotonicNow()
        let host = "\(asked.way.trust.rawValue) \(asked.url.host) \(asked.url.port)"
        if let failure = dead.withLock({ $0.failure(of: host, at: Instant(nanoseconds: start)) }) {
            count { $0.deadHosts += 1 }
            throw failure
        }
        count { $0.originRequests += 1 }
        let response: OriginResponse
        do { response = try await client.send(method, asked.url, fields, trust: asked.way.trust, body: body) } catch {
            count { $0.originUnanswered += 1 }
            if let failure = error as? OriginFailure { remember(failure, host) }
            throw error
        }
        count { $0.originLatency.add(.nanoseconds(monotonicNow() - start)) }
        return response
    }

    /// What is of a host, and not of one request.
    private func remember(_ failure: OriginFailure, _ host: String) {
        switch failure {
        case .noSuchHost, .unreachable, .connectTimeout:
            dead.withLock { $0.failed(host, failure, for: deadFor, at: Instant(nanoseconds: monotonicNow())) }
        case .badURL, .refused, .responseTimeout, .noResponse, .cut, .tls, .loop, .onlyIfCached, .callerGone: break
        }
    }
}
