import AssetCore
import Foundation
import Linux
import Logging
import NIOCore
import ServiceKit
import Systemd

extension CacheService {
    /// Asks the origin and does with its answer what the rules say; settles the flight as soon as that is known, lands it when all is
    /// stored.
    func fly(_ id: Flights.ID, _ flight: Flight, _ asked: Asked, _ plan: CachePlan, _ seen: [CachedEntry]) async {
        // The one who began it looked before it began: another flight may have landed in between.
        let present = (try? await entries(asked.name)) ?? seen
        let stored = present.map(\.stored)
        var plan = plan
        let again = CachePlan.make(method: asked.method, request: asked.fields, stored: stored, at: wallClock())
        switch again {
        case .serve:
            flight.settle(.lookAgain)
            return land(id, isShared: true)
        case .fetch, .fetchPart, .validate, .serveAndValidate: plan = again
        case .pass, .unsatisfiable: plan = .fetch(.stale)
        }
        var validated = plan.validated.map { present[$0] }
        var fields = plan.originFields(asked.fields, stored: stored)
        // The second time without conditions.
        for _ in 0..<2 {
            let requestTime = wallClock()
            let response: OriginResponse
            do { response = try await askOrigin("GET", asked, fields) } catch {
                count { $0.originFailures += 1 }
                let failure = error as? OriginFailure ?? .unreachable
                settleFailure(flight, failure, asked, validated)
                return land(id, isShared: true)
            }
            let now = wallClock()
            let verdict = Verdict.judge(
                request: asked.fields, validated: validated?.stored, status: response.status, response: response.fields,
                length: response.length, requestTime: requestTime, responseTime: now, policy: policy)
            switch verdict {
            case .store(let stored, let part):
                await fill(id, flight, asked, stored, part, response)
                return land(id, isShared: true)
            case .freshened(let stored):
                if let entry = validated { await freshen(flight, asked, entry, stored, response) }
                return land(id, isShared: true)
            case .serveStale(let age):
                response.close()
                count { $0.originFailures += 1 }
                if let entry = validated { flight.settle(.stale(entry, age: age, detail: "stale-if-error")) }
                return land(id, isShared: true)
            case .relay:
                if let entry = validated, response.status < 400 { await forget(entry, asked) }
                flight.settle(.relay(response))
                return land(id, isShared: false)
            case .askAgain:
                response.close()
                validated = nil
                plan = .fetch(.stale)
                fields = plan.originFields(asked.fields, stored: stored)
            }
        }
        flight.settle(.failed(.noResponse))
        land(id, isShared: true)
    }

    private func settleFailure(_ flight: Flight, _ failure: OriginFailure, _ asked: Asked, _ validated: CachedEntry?) {
        let canStandIn: Bool
        switch failure {
        case .noSuchHost, .unreachable, .connectTimeout, .responseTimeout, .noResponse, .tls, .cut: canStandIn = true
        case .badURL, .refused, .loop, .onlyIfCached, .callerGone: canStandIn = false
        }
        if canStandIn, let validated, let age = Verdict.onFailure(request: asked.fields, validated: validated.stored, at: wallClock()) {
            flight.settle(.stale(validated, age: age, detail: "stale-if-error"))
        } else {
            flight.settle(.failed(failure))
        }
    }

    private func freshen(
        _ flight: Flight, _ asked: Asked, _ entry: CachedEntry, _ stored: StoredResponse, _ response: OriginResponse
    ) async {
        // A 304 has no body; its end gives the connection back.
        _ = try? await response.next()
        var fresh = entry
        fresh.stored = stored
        let (new, name, negative) = (fresh, asked.name, policy.negative)
        // Should it fail, the next request asks once more.
        _ = try? await blocking { [store] in try store.freshen(new, stored, negative: negative) }
        replace(name, new)
        flight.settle(.freshened(new))
    }

    private func replace(_ name: String, _ entry: CachedEntry) {
        var entries = (hot.find(name) ?? []).filter { $0.variant != entry.variant }
        // Unless all variants are known, the index is asked.
        guard !entries.isEmpty || entry.variant.isEmpty else { return hot.forget(name) }
        entries.append(entry)
        hot.set(name, entries)
    }

    private func forget(_ entry: CachedEntry, _ asked: Asked) async {
        let name = asked.name
        _ = try? await blocking { [store] in try store.forget(name) }
        hot.forget(name)
    }

    // MARK: Filling

    /// Bytes that are written to disk at once.
    private static let written = 256 << 10

    private func fill(
        _ id: Flights.ID, _ flight: Flight, _ asked: Asked, _ stored: StoredResponse, _ part: Range<Int64>?, _ response: OriginResponse
    ) async {
        let fill = Fill(stored, length: response.length, part: part, pool: pool)
        flight.settle(.filling(fill, status: response.status))
        var writer: Writer?
        do { writer = try await start(response.length ?? 0) } catch { report(error) }
        var keeps = writer != nil
        var (pending, pendingBytes, total) = ([ByteBuffer](), 0, Int64(0))
        do {
            while let piece = try await response.next() {
                total += Int64(piece.readableBytes)
                if total == response.length { close(id, stored) }
                fill.add(piece)
                if keeps, total > policy.largest { keeps = false }
                if keeps, let open = writer {
                    pending.append(piece)
                    pendingBytes += piece.readableBytes
                    guard pendingBytes >= Self.written else { continue }
                    (keeps, pending, pendingBytes) = (await write(pending, open, fill, total), [], 0)
                }
                if !keeps, await !fill.waitForReaders() {
                    // Nobody wants it any more, and it cannot be kept.
                    response.close()
                    fill.finish(isWhole: false)
                    count { $0.notStored += 1 }
                    // A temporary file goes with its writer.
                    writer = nil
                    return
                }
            }
            if let length = response.length, length != total { throw OriginFailure.cut }
        } catch {
            count { figures in
                figures.originFailures += 1
                figures.notStored += 1
            }
            return fill.finish(isWhole: false)
        }
        close(id, stored)
        fill.finish(isWhole: true)
        guard keeps, let writer else { return count { $0.notStored += 1 } }
        await publish(asked, stored, part, writer, pending, total, fill)
    }

    /// Before anybody has the whole answer: who asks after that, while it is still being stored, is not given what must be validated first.
    private func close(_ id: Flights.ID, _ stored: StoredResponse) {
        switch Reuse.judge(stored.freshness, request: Fields([]), at: wallClock()) {
        case .serve, .serveAndValidate: break
        case .validate, .unsatisfiable: land(id, isShared: true)
        }
    }

    /// A file being written. Confined to the flight that writes it.
    private final class Writer: @unchecked Sendable {
        // One job at a time works on it, and the flight waits for each.
        let blob: BlobWriter
        var hasReader = false
        init(_ blob: BlobWriter) { self.blob = blob }
    }

    private func start(_ length: Int64) async throws -> Writer {
        try await blocking { [store] in
            try store.checkRoom(for: length, in: nil)
            return Writer(try store.startBlob(checksum: nil))
        }
    }

    private func write(_ pieces: [ByteBuffer], _ writer: Writer, _ fill: Fill, _ total: Int64) async -> Bool {
        do {
            try await blocking {
                for piece in pieces { try piece.withUnsafeReadableBytes { try writer.blob.append($0) } }
                if !writer.hasReader, total > Fill.mostInMemory {
                    writer.hasReader = true
                    var file = try writer.blob.reader()
                    fill.setFile(file.release())
                }
            }
            if writer.hasReader { fill.reached(total) }
            return true
        } catch {
            report(error)
            return false
        }
    }

    private func publish(
        _ asked: Asked, _ stored: StoredResponse, _ part: Range<Int64>?, _ writer: Writer, _ rest: [ByteBuffer], _ total: Int64,
        _ fill: Fill
    ) async {
        var stored = stored
        if part == nil { stored.pieces = Pieces(whole: total) }
        let (new, name, negative) = (stored, asked.name, policy.negative)
        do {
            var entry = try await blocking { [store] in
                for piece in rest { try piece.withUnsafeReadableBytes { try writer.blob.append($0) } }
                return try store.keep(name, new, try writer.blob.finish(), part: part, negative: negative)
            }
            if part == nil, total > 0, total <= Self.mostHot { entry.body = fill.small }
            replace(name, entry)
            count { $0.stored += 1 }
            isShared(name)
        } catch {
            count { $0.notStored += 1 }
            report(error)
        }
    }

    private func report(_ error: any Error) {
        // No room is no failure: pinned buckets fill the store.
        if let refused = error as? S3Error, refused.code == .insufficientStorage || refused.code == .entityTooLarge { return }
        logger.warning(
            "A response cannot be stored, passing it on", metadata: [LogKey.messageID: "\(MessageID.diskFull)", "problem": "\(error)"])
    }
}
