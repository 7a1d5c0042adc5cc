import AssetCore
import NIOCore
import NIOHTTP1
import Synchronization

/// What a request at our own address is for: a proxy's target, /fetch, a profile, or S3.
final class Router: Sendable {
    private let s3: S3Service
    private let cache: CacheService?
    private let profiles: ProfileService
    private let names: Mutex<[String]>

    init(s3: S3Service, cache: CacheService?, profiles: ProfileService, names: [String]) {
        self.s3 = s3
        self.cache = cache
        self.profiles = profiles
        self.names = Mutex(names)
    }

    func replace(names new: [String]) { names.withLock { $0 = new } }

    func handle(_ exchange: Exchange) async throws {
        let uri = exchange.head.uri
        if !uri.hasPrefix("/") {
            if uri.utf8.contains(UInt8(ascii: ":")) { return try await proxy(exchange, uri) }
        } else if uri == "/fetch" || uri.hasPrefix("/fetch?") {
            return try await fetch(exchange, uri)
        } else if uri == "/profiles" || uri.hasPrefix("/profiles/") {
            return try await profiles.handle(exchange)
        }
        try await s3.handle(exchange)
    }

    private func proxy(_ exchange: Exchange, _ uri: String) async throws {
        guard let cache else {
            return try await refuse(exchange, .init(403, "There is no proxy here: the configuration has no fetch section."))
        }
        try await cache.handle(exchange, TargetURL(uri), .forward)
    }

    private func fetch(_ exchange: Exchange, _ uri: String) async throws {
        if let refusal = SiteRule.judge(
            exchange.fields, names: names.withLock { $0 }, localAddress: exchange.channel.localAddress?.ipAddress)
        {
            return try await refuse(exchange, refusal)
        }
        guard let cache else {
            return try await refuse(exchange, .init(403, "There is no /fetch here: the configuration has no fetch section."))
        }
        guard exchange.head.method == .GET || exchange.head.method == .HEAD else {
            return try await refuse(exchange, .init(405, "GET and HEAD only."))
        }
        let target = RequestTarget(uri)
        let url = target?["url"].flatMap { TargetURL($0) }
        try await cache.handle(exchange, url, .fetch, followsRedirects: target?["redirect"] != "manual")
    }

    private func refuse(_ exchange: Exchange, _ refusal: SiteRule.Refusal) async throws {
        let headers = [("Content-Type", "application/problem+json"), ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")]
        try await exchange.respond(
            refusal.status, headers, ByteBuffer(string: "{\"title\":\"\(refusal.sentence)\",\"status\":\(refusal.status)}"))
    }
}
