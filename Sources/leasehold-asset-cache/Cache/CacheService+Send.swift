import AssetCore
import Foundation
import NIOCore
import NIOPosix

extension CacheService {
    // MARK: What is stored

    func send(
        _ entry: CachedEntry, _ asked: Asked, _ status: CacheStatus, age: Int64, _ now: Timestamp, _ exchange: Exchange
    ) async throws -> Sent {
        if let next = asked.redirect(entry.stored.status, entry.stored.fields) { return .redirect(next) }
        let total = entry.stored.pieces?.total ?? 0
        let answer = ClientAnswer(
            entry.stored, request: asked.fields, isHead: asked.method == "HEAD", total: total, age: age, cacheStatus: status, at: now)
        store.touched(entry.id)
        guard let range = answer.body else {
            try await exchange.respond(answer.status, headers(answer.fields))
            return .done
        }
        if let body = entry.body, let slice = body.getSlice(at: body.readerIndex + Int(range.lowerBound), length: range.count) {
            sent(Int64(range.count), isSaved: true)
            try await exchange.respond(answer.status, headers(answer.fields), slice)
            return .done
        }
        guard let slices = entry.slices(range) else { return .gone }
        let (id, name) = (entry.id, asked.name)
        let reading: Reading
        do {
            reading = try await blocking { [store] in
                try Reading(slices, store) { try store.entries(name).contains { $0.id == id } }
            }
        } catch {
            return .gone
        }
        sent(Int64(range.count), isSaved: true)
        if let small = reading.small {
            try await exchange.respond(answer.status, headers(answer.fields), small)
            return .done
        }
        defer { pool.submit { _ in reading.close() } }
        try await exchange.begin(answer.status, headers(answer.fields))
        while let piece = try await blocking({ try reading.next() }) {
            // Closed only when the kernel has taken all of it.
            let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: piece.descriptor)
            defer { try? handle.close() }
            try await exchange.send(FileRegion(fileHandle: handle, readerIndex: Int(piece.start), endIndex: Int(piece.end)))
        }
        try await exchange.end()
        return .done
    }

    func sent(_ bytes: Int64, isSaved: Bool) {
        count { figures in
            figures.bytesOut += UInt64(max(0, bytes))
            if isSaved { figures.bytesSaved += UInt64(max(0, bytes)) }
        }
    }

    private func headers(_ fields: Fields) -> [(String, String)] {
        fields.all.map { ($0.name, $0.value) } + [("via", "1.1 leasehold")]
    }

    // MARK: What is coming

    func send(_ fill: Fill, _ asked: Asked, _ status: CacheStatus, _ now: Timestamp, _ exchange: Exchange) async throws {
        let isHead = asked.method == "HEAD"
        var answer: ClientAnswer
        if let part = fill.part {
            // The bytes are numbered from the part's own first.
            answer = ClientAnswer(
                fill.stored, request: Fields(), isHead: isHead, total: fill.total, age: nil, cacheStatus: status, at: now)
            answer.status = 206
            answer.fields.append("content-range", "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(fill.stored.pieces?.total ?? 0)")
        } else {
            answer = ClientAnswer(
                fill.stored, request: asked.fields, isHead: isHead, total: fill.total, age: nil, cacheStatus: status, at: now)
        }
        guard let range = answer.body else { return try await exchange.respond(answer.status, headers(answer.fields)) }
        let reader = fill.startReading(at: range.lowerBound)
        defer { fill.endReading(reader) }
        try await exchange.begin(answer.status, headers(answer.fields))
        var offset = range.lowerBound
        while let piece = try await fill.next(reader, from: offset, limit: range.upperBound) {
            offset += Int64(piece.readableBytes)
            sent(Int64(piece.readableBytes), isSaved: status.isCollapsed)
            try await exchange.send(piece)
        }
        try await exchange.end()
    }

    // MARK: What is for one caller

    /// Asks the origin for this caller alone, with all that it says; a URL when that is to be followed.
    func pass(_ exchange: Exchange, _ asked: Asked, _ plan: CachePlan, _ why: CachePlan.Forward) async throws -> TargetURL? {
        var fields = CachePlan.pass(why).originFields(asked.fields, stored: [])
        let hasBody = !exchange.isBodyRead
        if hasBody, exchange.contentLength == nil { fields.append("transfer-encoding", "chunked") }
        let body: (() async throws -> ByteBuffer?)? = hasBody ? { try await exchange.nextPiece() } : nil
        let requestTime = wallClock()
        let response = try await askOrigin(asked.method, asked, fields, body: body)
        var status = CacheStatus.forwarded(why, status: response.status)
        let gone = Invalidation.urls(method: asked.method, url: asked.url, status: response.status, response: response.fields)
        for url in gone { await invalidate(url, asked.way) }
        if asked.method == "HEAD" { await update(asked, response, requestTime) }
        if let next = asked.redirect(response.status, response.fields) {
            response.close()
            return next
        }
        if plan.forward == why, case .pass = plan { status.detail = nil } else { status.detail = "not-shared" }
        count { figures in
            figures.passed += 1
            figures.hosts.count(asked.url.host, isHit: false)
        }
        try await relay(response, status, exchange)
        return nil
    }

    /// What a HEAD that went to the origin says of what is stored.
    private func update(_ asked: Asked, _ response: OriginResponse, _ requestTime: Timestamp) async {
        guard let entries = try? await entries(asked.name), !entries.isEmpty else { return }
        let (name, negative) = (asked.name, policy.negative)
        for entry in entries where entry.stored.answers(asked.fields) {
            switch HeadUpdate.judge(
                stored: entry.stored, status: response.status, response: response.fields, length: response.length,
                requestTime: requestTime, responseTime: wallClock(), negative: negative)
            {
            case .unrelated: break
            case .freshened(let stored):
                // Should it fail, the next request asks once more.
                _ = try? await blocking { [store] in try store.freshen(entry, stored, negative: negative) }
                hot.forget(name)
            case .outdated: await invalidate(asked.url, asked.way)
            }
        }
    }

    private func invalidate(_ url: TargetURL, _ way: Way) async {
        let name = way.prefix + url.text
        let count = (try? await blocking { [store] in try store.forget(name) }) ?? 0
        hot.forget(name)
        self.count { $0.invalidated += UInt64(count) }
    }

    /// Hands a response through, as it is but for what belongs to one hop.
    func relay(_ response: OriginResponse, _ status: CacheStatus, _ exchange: Exchange) async throws {
        var fields = response.fields.endToEnd
        fields.append("cache-status", status.text)
        if let length = response.length { fields.set("content-length", String(length)) } else { fields.remove("content-length") }
        let hasNoBody = exchange.head.method == .HEAD || response.status == 204 || response.status == 304
        do {
            if hasNoBody {
                _ = exchange.head.method == .HEAD ? () : try await end(response)
                response.close()
                return try await exchange.respond(response.status, headers(fields))
            }
            try await exchange.begin(response.status, headers(fields))
            while let piece = try await response.next() {
                sent(Int64(piece.readableBytes), isSaved: false)
                try await exchange.send(piece)
            }
            try await exchange.end()
        } catch {
            response.close()
            throw error
        }
    }

    private func end(_ response: OriginResponse) async throws { while try await response.next() != nil {} }
}
