import Foundation
import Model
import Testing

@testable import DispatcherCore

private let hostile = latin1("\r\n\r\n\r\n\u{00}\t  ::;;,,==\"\\/?*%.@[]#-_+09aAfFgGxXzZ\u{7f}\u{80}\u{ff}")
private let mild = latin1("  ,;=/0123456789-abcdefghijklmnopqrstuvwxyzACEHLOTUX")

extension MutationGenerator {
    /// Up to four mutations; half of the time with bytes that are valid almost anywhere.
    fileprivate mutating func spoil(_ bytes: inout [UInt8]) {
        let alphabet = below(2) == 0 ? hostile : mild
        for _ in 0..<below(5) { mutate(&bytes, from: alphabet) }
    }
}

/// Rounds per seed, and more by `LEASEHOLD_ROUNDS`.
private let rounds = ProcessInfo.processInfo.environment["LEASEHOLD_ROUNDS"].flatMap { Int($0) } ?? 1

/// Spoiled heads and bodies: nothing traps, what is accepted lies in bounds and agrees with slow readings of the rules.
struct MutationTests {
    @Test(arguments: [11, 12, 13, 14] as [UInt64]) func spoiledRequestHeads(_ seed: UInt64) throws {
        var random = MutationGenerator(seed: seed)
        let corpus =
            try Corpus.read("request") + allRequestCases.map(\.bytes).filter { $0.count < 1500 }
            + Array(repeating: allRequestCases.filter { $0.verdict == nil }.map(\.bytes), count: 4).flatMap(\.self)
        var parser = RequestParser()
        var accepted = 0
        for round in 0..<10_000 * rounds {
            var bytes = corpus[random.below(corpus.count)]
            random.spoil(&bytes)
            let peer = random.below(2) == 0 ? stranger : friend
            let result = bytes.withUnsafeBytes { parser.parse($0, from: peer, under: rules) }
            // The reference costs most of the time.
            if random.below(8) == 0, peer == stranger { checkReference(bytes, result, "seed \(seed) round \(round)") }
            let cut = Array(bytes.prefix(random.below(bytes.count + 1)))
            let prefix = cut.withUnsafeBytes { parser.parse($0, from: peer, under: rules) }
            switch (prefix, result) {
            case (.needMore, _): break
            case (.refused(let a), .refused(let b)): #expect(a.reason == b.reason, "seed \(seed) round \(round)")
            case (.request(let a), .request(let b)): #expect(a.length == b.length, "seed \(seed) round \(round)")
            case (_, _): Issue.record("prefix and whole disagree, seed \(seed) round \(round): \(text(bytes))")
            }
            guard let head = result.head else { continue }
            accepted += 1
            for range in [head.methodRange, head.target, head.path, head.host, head.upgrade, head.tenant, head.affinity] {
                #expect(
                    range.start <= range.end && Int(range.end) <= head.length && head.length <= bytes.count, "seed \(seed) round \(round)")
            }
            if random.below(4) == 0 { try checkRewritten(bytes, from: peer) }
        }
        #expect(accepted > 1000 * rounds)
    }

    private func checkReference(_ bytes: [UInt8], _ result: RequestParse, _ place: String) {
        let reference = RequestReference(bytes)
        guard let head = result.head else {
            // Without an end both are undecided, or the parser already knows.
            #expect(reference == nil, "\(place): refused \(text(bytes))")
            return
        }
        #expect(reference?.length == head.length && reference?.framing == head.framing, "\(place): accepted \(text(bytes))")
        #expect(reference?.host == bytes.withUnsafeBytes { text($0.slice(head.host)) }, "\(place): \(text(bytes))")
        #expect(reference?.target == bytes.withUnsafeBytes { text($0.slice(head.target)) }, "\(place): \(text(bytes))")
        #expect(reference?.keepsAlive == head.traits.contains(.keepsAlive), "\(place): \(text(bytes))")
    }

    @Test(arguments: [21, 22, 23, 24] as [UInt64]) func spoiledResponseHeads(_ seed: UInt64) throws {
        var random = MutationGenerator(seed: seed)
        let corpus =
            try Corpus.read("response") + responseCases.map(\.bytes)
            + Array(repeating: responseCases.filter(\.isValid).map(\.bytes), count: 4).flatMap(\.self)
        var accepted = 0
        for round in 0..<10_000 * rounds {
            var bytes = corpus[random.below(corpus.count)]
            random.spoil(&bytes)
            var traits = CallerTraits(rawValue: UInt8(random.below(64)))
            if traits.contains(.isHTTP10) { traits.remove(.upgrades) }
            let result = parseResponse(bytes, for: traits)
            let prefix = parseResponse(Array(bytes.prefix(random.below(bytes.count + 1))), for: traits)
            #expect(prefix.wantsMore || prefix.isRefused == result.isRefused, "seed \(seed) round \(round)")
            guard let head = result.head else { continue }
            accepted += 1
            #expect(Int(head.upgrade.end) <= head.length && Int(head.reason.end) <= head.length && head.length <= bytes.count)
            if random.below(4) == 0 { try checkRelayed(bytes, head, traits, "seed \(seed) round \(round)") }
        }
        #expect(accepted > 1000 * rounds)
    }

    /// What the caller reads is valid, framed alike (but for HTTP/1.0), and without what ends at our hop.
    private func checkRelayed(_ bytes: [UInt8], _ head: ResponseHead, _ traits: CallerTraits, _ place: String) throws {
        let written = latin1(try #require(rewriteResponse(bytes, for: traits)))
        var parser = ResponseParser(mostBytes: 64 * 1024, mostFields: 256)
        let result = written.withUnsafeBytes { parser.parse($0, for: traits, under: rules) }
        let after = try #require(result.head, "\(place): \(text(bytes)) became \(text(written))")
        let plan = head.plan(for: traits)
        #expect(after.length == written.count && after.status == head.status, "\(place)")
        #expect((after.version == .v10) == traits.contains(.isHTTP10), "\(place)")
        if head.framing == .chunked, traits.contains(.isHTTP10) {
            #expect(after.framing == .untilClose, "\(place)")
        } else {
            #expect(after.framing == head.framing, "\(place)")
        }
        if !head.isInterim, !head.isSwitch { #expect(after.keepsAlive == plan.keepsCaller, "\(place): \(text(written))") }
        #expect(!after.isBusy, "\(place)")
    }

    @Test(arguments: [31, 32, 33, 34] as [UInt64]) func spoiledChunkedBodiesAgreeWithTheReference(_ seed: UInt64) throws {
        var random = MutationGenerator(seed: seed)
        let corpus = try Corpus.read("chunked") + chunkCases.map(\.bytes).filter { $0.count < 600 }
        var ended = 0
        for round in 0..<10_000 * rounds {
            var bytes = corpus[random.below(corpus.count)]
            random.spoil(&bytes)
            let treatments = [ChunkTreatment.whole, .withoutTrailers, .dataOnly]
            let results = treatments.map { treatment in
                scanChunks(bytes, as: treatment, window: { _ in 1 + random.below(40) })
            }
            for result in results {
                #expect(result.end == results[0].end && result.length == results[0].length, "seed \(seed) round \(round)")
            }
            #expect(results[0].passed == Array(bytes.prefix(results[0].length)), "seed \(seed) round \(round)")
            guard random.below(4) == 0 else { continue }
            let reference = referenceChunks(bytes)
            let place = "seed \(seed) round \(round): \(text(bytes).debugDescription)"
            #expect(reference.end == results[0].end || isEarlyRefusal(bytes, reference.end, results[0].end), "\(place)")
            if reference.end == .ended {
                ended += 1
                #expect(results[2].passed == reference.data && results[0].length == reference.length, "\(place)")
                // What passes without trailers is a body of its own, with the same data.
                let rest = referenceChunks(results[1].passed)
                #expect(rest.end == .ended && rest.data == reference.data && rest.length == results[1].passed.count, "\(place)")
            }
        }
        #expect(ended > 200 * rounds)
    }

    /// The reference looks at whole lines only, so it may wait where the scanner already knows.
    private func isEarlyRefusal(_ bytes: [UInt8], _ reference: ChunkResult.End, _ scanner: ChunkResult.End) -> Bool {
        reference == .incomplete && scanner == .refused
    }

    @Test(arguments: [41, 42] as [UInt64]) func spoiledProxyHeadersStayInBounds(_ seed: UInt64) throws {
        var random = MutationGenerator(seed: seed)
        let corpus = try Corpus.read("proxy")
        for round in 0..<10_000 * rounds {
            var bytes = corpus[random.below(corpus.count)]
            for _ in 0...random.below(3) { random.mutate(&bytes, from: hostile + [0x21, 0x11, 0x20, 0x31]) }
            let result = bytes.withUnsafeBytes { ProxyHeader.parse($0) }
            if case .header(let header) = result {
                #expect(header.length > 0 && header.length <= bytes.count, "seed \(seed) round \(round)")
            }
            let prefix = Array(bytes.prefix(random.below(bytes.count + 1))).withUnsafeBytes { ProxyHeader.parse($0) }
            #expect(prefix == .needMore || prefix == result, "seed \(seed) round \(round) \(prefix) \(result) \(bytes)")
        }
    }
}

/// The kept cases, one per file, which the fuzz targets start from too.
enum Corpus {
    static func read(_ kind: String) throws -> [[UInt8]] {
        var root = URL(fileURLWithPath: #filePath)
        for _ in 0..<3 { root.deleteLastPathComponent() }
        let folder = root.appendingPathComponent("Fixtures/http/\(kind)")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        let cases = try files.sorted { $0.path < $1.path }.map { [UInt8](try Data(contentsOf: $0)) }
        try #require(!cases.isEmpty, "no cases in \(folder.path)")
        return cases
    }
}
