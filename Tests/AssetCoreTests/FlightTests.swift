import Model
import Testing

@testable import AssetCore

struct FlightTests {
    private static func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

    @Test func oneAsksAndTheOthersFollow() throws {
        var flights = Flights()
        guard case .leads(let id) = flights.join("a", at: Self.at(0)) else { return #expect(Bool(false)) }
        for _ in 0..<1_000 { #expect(flights.join("a", at: Self.at(1)) == .follows(id)) }
        guard case .leads = flights.join("b", at: Self.at(1)) else { return #expect(Bool(false)) }
        flights.ended(id)
        flights.ended(id)
        guard case .leads(let next) = flights.join("a", at: Self.at(2)) else { return #expect(Bool(false)) }
        #expect(next != id && flights.count == 2)
        // The end of an old flight is not the end of a new one.
        flights.ended(id)
        #expect(flights.join("a", at: Self.at(2)) == .follows(next))
    }

    @Test func whatCannotBeSharedIsAskedAloneForAWhile() throws {
        var flights = Flights()
        guard case .leads(let id) = flights.join("a", at: Self.at(0)) else { return #expect(Bool(false)) }
        flights.isNotShared(id, at: Self.at(0))
        #expect(flights.join("a", at: Self.at(29)) == .alone)
        guard case .leads = flights.join("a", at: Self.at(30)) else { return #expect(Bool(false)) }
    }

    @Test func whatIsSharedAfterAllIsSharedAgain() throws {
        var flights = Flights()
        guard case .leads(let id) = flights.join("a", at: Self.at(0)) else { return #expect(Bool(false)) }
        flights.isNotShared(id, at: Self.at(0))
        flights.isShared("a")
        guard case .leads = flights.join("a", at: Self.at(1)) else { return #expect(Bool(false)) }
    }

    @Test func theMemoryOfWhatCannotBeSharedIsBounded() throws {
        var flights = Flights()
        for i in 0..<(Flights.mostUnshared * 2) {
            guard case .leads(let id) = flights.join("\(i)", at: Self.at(0)) else { return #expect(Bool(false)) }
            flights.isNotShared(id, at: Self.at(0))
        }
        #expect(flights.join("\(Flights.mostUnshared * 2 - 1)", at: Self.at(1)) == .alone)
        guard case .leads = flights.join("0", at: Self.at(1)) else { return #expect(Bool(false)) }
    }

    @Test func topHostsAreBoundedAndTheMostAskedStay() {
        var top = TopHosts()
        for i in 0..<10_000 {
            top.count("often", isHit: i % 2 == 0)
            top.count("once-\(i)", isHit: false)
        }
        #expect(top.all.count == TopHosts.most)
        #expect(top.all.first == TopHosts.Row(host: "often", requests: 10_000, hits: 5_000, error: 0))
    }
}

struct PiecesTests {
    @Test func aWholeBodyIsOnePiece() {
        #expect(Pieces(whole: 10).isComplete && Pieces(whole: 0).isComplete)
        #expect(Pieces(whole: 10).slices(of: 3..<7) == [Pieces.Piece(start: 3, blob: 0, offset: 3, length: 4)])
    }

    @Test func partsMakeAWhole() throws {
        var pieces = try #require(Pieces(part: 10..<20, of: 30))
        #expect(!pieces.isComplete && pieces.slices(of: 9..<12) == nil && pieces.slices(of: 12..<21) == nil)
        let overlapping = pieces.add(5..<25, blob: 1)
        #expect(overlapping && pieces.slices(of: 5..<25)?.map(\.blob) == [1, 0, 1])
        #expect(pieces.slices(of: 21..<24) == [Pieces.Piece(start: 21, blob: 1, offset: 16, length: 3)])
        let again = pieces.add(6..<20, blob: 2)
        let first = pieces.add(0..<5, blob: 2)
        let last = pieces.add(25..<30, blob: 3)
        #expect(!again && first && last && pieces.isComplete)
        let outside = pieces.add(25..<31, blob: 4)
        #expect(!outside)
    }

    @Test func randomPartsNeverOverlapAndSayWhereTheirBytesAre() {
        var generator = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: 0 ... .max, using: &generator)
        var random = SplitMix(seed)
        for _ in 0..<500 {
            let total = Int64(1 + random.next() % 60)
            // For each byte, which blob first said what it is.
            var model = [Int?](repeating: nil, count: Int(total))
            func part() -> Range<Int64> {
                let start = Int64(random.next() % UInt64(total))
                return start..<(start + 1 + Int64(random.next() % UInt64(total - start)))
            }
            var ranges = [part()]
            guard var pieces = Pieces(part: ranges[0], of: total) else { continue }
            for i in ranges[0] { model[Int(i)] = 0 }
            for _ in 0..<8 {
                let next = part()
                guard pieces.add(next, blob: ranges.count) else { continue }
                for i in next where model[Int(i)] == nil { model[Int(i)] = ranges.count }
                ranges.append(next)
            }
            #expect(pieces.isComplete == model.allSatisfy { $0 != nil }, "seed \(seed)")
            let asked = part()
            let known = asked.allSatisfy { model[Int($0)] != nil }
            let slices = pieces.slices(of: asked)
            #expect((slices != nil) == known, "seed \(seed)")
            for slice in slices ?? [] {
                for i in 0..<slice.length {
                    #expect(
                        model[Int(slice.start + i)] == slice.blob && ranges[slice.blob].lowerBound + slice.offset + i == slice.start + i,
                        "seed \(seed)")
                }
            }
        }
    }

    private struct SplitMix: RandomNumberGenerator {
        var state: UInt64
        init(_ seed: UInt64) { state = seed }
        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
    }

    @Test(
        arguments: [
            ("bytes 0-9/10", 0, 10, 10), ("BYTES 5-5/10", 5, 6, 10),
        ] as [(String, Int64, Int64, Int64)]) func contentRangesAreRead(text: String, from: Int64, to: Int64, total: Int64) throws
    {
        let (range, size) = try #require(contentRange(text))
        #expect(range == from..<to && size == total)
    }
}

struct VerdictTests {
    private static let start = Timestamp(seconds: 1_795_248_000)

    private func stored(_ fields: [(String, String)]) throws -> StoredResponse {
        let verdict = Verdict.judge(
            request: Fields(), validated: nil, status: 200, response: Fields(fields), length: 100, requestTime: Self.start,
            responseTime: Self.start,
            policy: StoragePolicy())
        guard case .store(let stored, _) = verdict else { throw Missing() }
        return stored
    }

    private struct Missing: Error {}

    private func judge(
        _ validated: StoredResponse, _ status: Int, _ fields: [(String, String)], request: [(String, String)] = [], later: Int64
    ) -> Verdict {
        let now = Self.start.advanced(bySeconds: later)
        return Verdict.judge(
            request: Fields(request), validated: validated, status: status, response: Fields(fields), length: 0, requestTime: now,
            responseTime: now,
            policy: StoragePolicy())
    }

    @Test func a304MakesWhatIsStoredFreshWithItsNewFields() throws {
        let old = try stored([
            ("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-type", "text/css"), ("x-a", "1"), ("age", "30"),
        ])
        let verdict = judge(
            old, 304,
            [
                ("cache-control", "max-age=90"), ("etag", "\"a\""), ("x-a", "2"), ("content-type", "text/evil"), ("set-cookie", "a=1"),
                ("content-length", "0"), ("vary", "x"),
            ],
            later: 70)
        guard case .freshened(let new) = verdict else { return #expect(Bool(false)) }
        #expect(new.freshness.lifetime == 90 && new.freshness.age(at: Self.start.advanced(bySeconds: 75)) == 5)
        #expect(
            new.fields["x-a"] == "2" && new.fields["content-type"] == "text/css" && !new.fields.contains("set-cookie")
                && !new.fields.contains("content-length"))
        #expect(new.pieces == old.pieces && new.vary.isEmpty)
    }

    @Test func a304OfSomethingElseIsAskedAgain() throws {
        let old = try stored([("cache-control", "max-age=60"), ("etag", "\"a\"")])
        guard case .askAgain = judge(old, 304, [("etag", "\"b\"")], later: 70) else { return #expect(Bool(false)) }
        guard case .freshened = judge(old, 304, [("etag", "W/\"a\"")], later: 70) else { return #expect(Bool(false)) }
        guard case .freshened = judge(old, 304, [], later: 70) else { return #expect(Bool(false)) }
    }

    @Test(arguments: [500, 502, 503, 504]) func aStaleResponseStandsInForAnError(status: Int) throws {
        let old = try stored([("cache-control", "max-age=60, stale-if-error=100"), ("etag", "\"a\"")])
        guard case .serveStale(let age) = judge(old, status, [], later: 160) else { return #expect(Bool(false)) }
        #expect(age == 160)
        if case .serveStale = judge(old, status, [], later: 161) { #expect(Bool(false)) }
        if case .serveStale = judge(old, status, [], request: [("cache-control", "no-cache")], later: 100) { #expect(Bool(false)) }
    }

    @Test(arguments: [400, 403, 404, 410, 501]) func butNotForAnAnswer(status: Int) throws {
        let old = try stored([("cache-control", "max-age=60, stale-if-error=100"), ("etag", "\"a\"")])
        if case .serveStale = judge(old, status, [], later: 100) { #expect(Bool(false)) }
    }

    @Test func whatIsTooLargeIsPassedOn() {
        let verdict = Verdict.judge(
            request: Fields(), validated: nil, status: 200, response: Fields([("cache-control", "max-age=60")]), length: 101,
            requestTime: Self.start,
            responseTime: Self.start, policy: StoragePolicy(largest: 100))
        guard case .relay(.size) = verdict else { return #expect(Bool(false)) }
    }

    @Test func setCookieIsKeptFromOthersEvenWhenTheOperatorStoresSuchResponses() throws {
        let verdict = Verdict.judge(
            request: Fields(), validated: nil, status: 200, response: Fields([("cache-control", "max-age=60"), ("set-cookie", "a=1")]),
            length: 1,
            requestTime: Self.start, responseTime: Self.start, policy: StoragePolicy(keepsSetCookie: true))
        guard case .store(let stored, _) = verdict else { return #expect(Bool(false)) }
        #expect(!stored.fields.contains("set-cookie"))
    }

    @Test(arguments: [404, 405, 410, 414, 501]) func errorsAreKeptForAMoment(status: Int) throws {
        let verdict = Verdict.judge(
            request: Fields(), validated: nil, status: status, response: Fields(), length: 1, requestTime: Self.start,
            responseTime: Self.start,
            policy: StoragePolicy(negative: 5))
        guard case .store(let stored, _) = verdict else { return #expect(Bool(false)) }
        func plan(_ later: Int64) -> CachePlan {
            CachePlan.make(method: "GET", request: Fields(), stored: [stored], at: Self.start.advanced(bySeconds: later))
        }
        #expect(plan(4) == .serve(0, age: 4) && plan(5) == .fetch(.stale))
    }

    @Test(
        arguments: [
            ("POST", 200, ["http://a/x"]), ("PUT", 204, ["http://a/x"]), ("DELETE", 303, ["http://a/x"]), ("POST", 404, []),
            ("POST", 500, []), ("GET", 200, []),
            ("OPTIONS", 200, []), ("UNKNOWN", 200, ["http://a/x"]),
        ] as [(String, Int, [String])]) func unsafeRequestsThatSucceedInvalidate(method: String, status: Int, urls: [String]) throws
    {
        let url = try #require(TargetURL("http://a/x"))
        #expect(Invalidation.urls(method: method, url: url, status: status, response: Fields()).map(\.text) == urls)
    }

    @Test func invalidationReachesNamedURLsOfTheSameOriginOnly() throws {
        let url = try #require(TargetURL("http://a/x"))
        let fields = Fields([("location", "/y"), ("content-location", "http://b/z")])
        #expect(Invalidation.urls(method: "POST", url: url, status: 201, response: fields).map(\.text) == ["http://a/x", "http://a/y"])
    }

    @Test func theConditionsOfAValidationAreOurs() throws {
        let old = try stored([("cache-control", "max-age=60"), ("etag", "\"a\""), ("last-modified", "Thu, 21 Nov 2019 07:50:00 GMT")])
        let request = Fields([
            ("if-none-match", "\"zzz\""), ("range", "bytes=0-1"), ("accept", "x"), ("host", "h"), ("connection", "close"),
        ])
        let fields = CachePlan.validate(0, .stale).originFields(request, stored: [old])
        #expect(fields.values("if-none-match") == ["\"a\""] && fields["if-modified-since"] == "Thu, 21 Nov 2019 07:50:00 GMT")
        #expect(!fields.contains("range") && !fields.contains("host") && !fields.contains("connection") && fields["accept"] == "x")
        #expect(CachePlan.fetchPart(.uriMiss).originFields(request, stored: []).contains("range"))
        #expect(!CachePlan.fetch(.uriMiss).originFields(request, stored: []).contains("if-none-match"))
        #expect(CachePlan.pass(.method).originFields(request, stored: []).contains("if-none-match"))
    }

    @Test func cacheStatusSaysWhatWasDone() {
        var status = CacheStatus.forwarded(.uriMiss, status: 200)
        (status.isStored, status.isCollapsed, status.timeToLive) = (true, true, 60)
        #expect(status.text == "leasehold; fwd=uri-miss; fwd-status=200; ttl=60; stored; collapsed")
        #expect(CacheStatus.hit(timeToLive: -5).text == "leasehold; hit; ttl=-5")
    }
}

struct DeadHostTests {
    private static func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

    @Test func aHostThatCannotBeReachedIsNotTriedAgainForAWhile() {
        var hosts = DeadHosts<Int>()
        hosts.failed("a", 7, for: .seconds(5), at: Self.at(0))
        hosts.failed("b", 8, for: .zero, at: Self.at(0))
        #expect(hosts.failure(of: "a", at: Self.at(4)) == 7)
        #expect(hosts.failure(of: "a", at: Self.at(5)) == nil && hosts.failure(of: "b", at: Self.at(0)) == nil)
    }

    @Test func theMemoryOfDeadHostsIsBounded() {
        var hosts = DeadHosts<Int>()
        for i in 0..<(DeadHosts<Int>.most + 1) { hosts.failed("\(i)", i, for: .seconds(5), at: Self.at(0)) }
        #expect(hosts.failure(of: "0", at: Self.at(1)) == nil)
        #expect(hosts.failure(of: "\(DeadHosts<Int>.most)", at: Self.at(1)) == DeadHosts<Int>.most)
    }
}

struct HeadUpdateTests {
    private static let start = Timestamp(seconds: 1_795_248_000)

    private static func stored(_ fields: [(String, String)]) throws -> StoredResponse {
        try #require(
            StoredResponse(
                status: 200, response: Fields(fields), request: Fields(), requestTime: start, responseTime: start, negative: 0,
                pieces: Pieces(whole: 100)))
    }

    @Test(arguments: [
        ([("ETag", "\"a\"")], 100, "freshened"), ([("ETag", "\"a\"")], nil, "freshened"), ([("ETag", "\"b\"")], 100, "outdated"),
        ([("ETag", "\"a\"")], 99, "outdated"), ([("ETag", "\"a\""), ("Last-Modified", "Sat, 21 Nov 2026 08:00:00 GMT")], 100, "outdated"),
        ([], 100, "unrelated"), ([], 99, "outdated"), ([("ETag", "\"a\""), ("Cache-Control", "no-store")], 100, "outdated"),
        ([("ETag", "\"a\""), ("Cache-Control", "private")], 100, "outdated"),
    ] as [([(String, String)], Int64?, String)])
    func aHeadSaysWhetherWhatIsStoredHolds(fields: [(String, String)], length: Int64?, wanted: String) throws {
        let later = Self.start.advanced(bySeconds: 100)
        let update = HeadUpdate.judge(
            stored: try Self.stored([("ETag", "\"a\""), ("Cache-Control", "max-age=60")]), status: 200, response: Fields(fields), length: length,
            requestTime: later, responseTime: later, negative: 0)
        switch update {
        case .freshened(let stored):
            #expect(wanted == "freshened")
            #expect(stored.freshness.age(at: later) == 0 && stored.pieces?.total == 100)
        case .outdated: #expect(wanted == "outdated")
        case .unrelated: #expect(wanted == "unrelated")
        }
    }

    @Test(arguments: [204, 304, 404, 500]) func onlyAWholeAnswerSaysIt(status: Int) throws {
        let update = HeadUpdate.judge(
            stored: try Self.stored([("ETag", "\"a\"")]), status: status, response: Fields([("ETag", "\"b\"")]), length: 1, requestTime: Self.start,
            responseTime: Self.start, negative: 0)
        guard case .unrelated = update else { return #expect(Bool(false)) }
    }
}
