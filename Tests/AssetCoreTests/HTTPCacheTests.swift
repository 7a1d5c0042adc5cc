import AssetCore
import Testing

private func fields(_ text: String) -> Fields {
    var fields = Fields()
    for line in text.split(separator: "\n") {
        let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        fields.append(String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
    }
    return fields
}

/// Requests and responses are written as fields, one in a line. The response came at 08:00:00 and says so in Date unless it says otherwise.
@Suite struct HTTPCacheTests {
    private static let came = Timestamp(basic: "20261121T080000Z")!
    private static let date = "Date: Sat, 21 Nov 2026 08:00:00 GMT"

    @Test(
        arguments: [
            ("GET", "", 200, "Cache-Control: max-age=60", nil), ("GET", "", 200, "", nil), ("GET", "", 404, "", nil),
            ("GET", "", 410, "", nil),
            ("HEAD", "", 200, "Cache-Control: max-age=60", .method), ("POST", "", 200, "Cache-Control: max-age=60", .method),
            ("GET", "", 206, "Cache-Control: max-age=60", .status), ("GET", "", 304, "Cache-Control: max-age=60", .status),
            ("GET", "", 299, "Cache-Control: max-age=60", .status), ("GET", "", 302, "", .noFreshness), ("GET", "", 500, "", .noFreshness),
            ("GET", "", 302, "Cache-Control: max-age=60", nil), ("GET", "", 302, "Expires: 0", nil),
            ("GET", "", 503, "Cache-Control: public", nil),
            ("GET", "Cache-Control: no-store", 200, "Cache-Control: max-age=60", .requestNoStore),
            ("GET", "", 200, "Cache-Control: no-store", .noStore),
            ("GET", "", 200, "Cache-Control: max-age=60, NO-STORE", .noStore),
            ("GET", "", 200, "Cache-Control: max-age=60\nCache-Control: no-store", .noStore),
            ("GET", "", 200, "Cache-Control: no-store, must-understand", nil),
            ("GET", "", 299, "Cache-Control: no-store, must-understand", .status),
            ("GET", "", 200, "Cache-Control: private", .isPrivate),
            ("GET", "", 200, "Cache-Control: private=\"set-cookie\", max-age=9", .isPrivate),
            ("GET", "", 200, "Cache-Control: x=\"private, no-store\", max-age=9", nil), ("GET", "", 200, "Cache-Control: no-cache", nil),
            ("GET", "Authorization: x", 200, "Cache-Control: max-age=60", .authorization),
            ("GET", "Authorization: x", 200, "Cache-Control: public", nil),
            ("GET", "Authorization: x", 200, "Cache-Control: s-maxage=1", nil),
            ("GET", "Authorization: x", 200, "Cache-Control: must-revalidate", nil),
            ("GET", "Authorization: x", 200, "Cache-Control: immutable, max-age=1", .authorization),
            ("GET", "Cookie: x", 200, "Cache-Control: max-age=60", .cookie),
            ("GET", "Cookie: x", 200, "Cache-Control: public, max-age=60", nil),
            ("GET", "Cookie: x", 200, "Cache-Control: s-maxage=60", nil),
            ("GET", "Cookie: x", 200, "Cache-Control: immutable, max-age=60", nil),
            ("GET", "Cookie: x", 200, "Cache-Control: must-revalidate, max-age=60", .cookie),
            ("GET", "", 200, "Set-Cookie: a=b", .setCookie),
            ("GET", "", 200, "Set-Cookie: a=b\nCache-Control: public, max-age=60", .setCookie), ("GET", "", 200, "Vary: *", .varyStar),
            ("GET", "", 200, "Vary: accept, *", .varyStar), ("GET", "", 200, "Vary: accept", nil),
        ] as [(String, String, Int, String, Storability.Reason?)])
    func whatMayBeStored(method: String, request: String, status: Int, response: String, reason: Storability.Reason?) {
        let judged = Storability.judge(method: method, request: fields(request), status: status, response: fields(response))
        #expect(judged == (reason.map { .refuse($0) } ?? .store))
    }

    @Test(
        arguments: [
            ("Cache-Control: max-age=60", 60, .maxAge), ("Cache-Control: s-maxage=5, max-age=60", 5, .sMaxage),
            ("Cache-Control: max-age=60, s-maxage=5", 5, .sMaxage),
            ("Cache-Control: max-age=\"60\"", 60, .maxAge), ("Cache-Control: max-age=60, max-age=90", 60, .maxAge),
            ("Cache-Control: max-age=-1", 0, .maxAge),
            ("Cache-Control: max-age=1.5", 0, .maxAge), ("Cache-Control: max-age", 0, .maxAge),
            ("Cache-Control: max-age=99999999999999999999", 1 << 31, .maxAge),
            ("Cache-Control: MAX-AGE=7", 7, .maxAge), ("Cache-Control: max-age = 7", 7, .maxAge),
            ("Cache-Control: ,,max-age=7,", 7, .maxAge),
            ("Expires: Sat, 21 Nov 2026 08:01:00 GMT", 60, .expires), ("Expires: Sat, 21 Nov 2026 07:01:00 GMT", 0, .expires),
            ("Expires: 0", 0, .expires),
            ("Expires: -1", 0, .expires), ("Expires: Sat, 21 Nov 2026 08:01:00 GMT\nCache-Control: max-age=5", 5, .maxAge),
            ("Expires: Sat, 21 Nov 2026 08:01:00 GMT\nExpires: Sat, 21 Nov 2026 09:01:00 GMT", 0, .expires),
            ("Expires: Saturday, 21-Nov-26 08:01:00 GMT", 60, .expires), ("Expires: Sat Nov 21 08:01:00 2026", 60, .expires),
            ("Last-Modified: Sat, 21 Nov 2026 07:50:00 GMT", 60, .heuristic),
            ("Last-Modified: Thu, 21 Nov 2019 07:50:00 GMT", 86_400, .heuristic),
            ("Last-Modified: Sat, 21 Nov 2026 08:50:00 GMT", 0, .none), ("Last-Modified: nonsense", 0, .none), ("", 0, .none),
            ("Cache-Control: public", 0, .none),
        ] as [(String, Int64, Freshness.Source)])
    func howLongAResponseIsFresh(response: String, lifetime: Int64, source: Freshness.Source) {
        let freshness = Freshness(
            status: 200, response: fields(response + "\n" + Self.date), requestTime: Self.came, responseTime: Self.came)
        #expect(freshness.lifetime == lifetime && freshness.source == source)
    }

    @Test(
        arguments: [
            ("", 0, 0), ("Age: 30", 0, 30), ("Age: 30", 5, 35), ("Date: Sat, 21 Nov 2026 07:59:00 GMT", 0, 60),
            ("Date: Sat, 21 Nov 2026 07:59:00 GMT\nAge: 90", 0, 90),
            ("Date: Sat, 21 Nov 2026 07:59:00 GMT\nAge: 10", 5, 60), ("Date: Sat, 21 Nov 2026 09:00:00 GMT", 2, 2), ("Age: x", 0, 0),
            ("Age: 5, 9", 0, 5), ("Age: -5", 0, 0),
        ] as [(String, Int64, Int64)])
    func howOldAResponseIsWhenItComes(response: String, delay: Int64, age: Int64) {
        let freshness = Freshness(
            status: 200, response: fields(response), requestTime: Self.came.advanced(bySeconds: -delay), responseTime: Self.came)
        #expect(freshness.age(at: Self.came) == age)
        #expect(freshness.age(at: Self.came.advanced(bySeconds: 7)) == age + 7)
    }

    @Test(
        arguments: [
            // response, request, seconds later, what to do
            ("max-age=60", "", 0, .serve(age: 0)), ("max-age=60", "", 59, .serve(age: 59)), ("max-age=60", "", 60, .validate),
            ("max-age=0", "", 0, .validate),
            ("no-cache, max-age=60", "", 1, .validate), ("max-age=60", "Cache-Control: no-cache", 1, .validate),
            ("max-age=60", "Pragma: no-cache", 1, .validate),
            ("max-age=60", "Pragma: no-cache\nCache-Control: max-age=9", 1, .serve(age: 1)),
            ("max-age=60", "Cache-Control: max-age=5", 5, .serve(age: 5)),
            ("max-age=60", "Cache-Control: max-age=5", 6, .validate), ("max-age=60", "Cache-Control: max-age=0", 1, .validate),
            ("max-age=60", "Cache-Control: min-fresh=30", 30, .serve(age: 30)),
            ("max-age=60", "Cache-Control: min-fresh=30", 31, .validate),
            ("max-age=60", "Cache-Control: max-stale", 999, .serve(age: 999)),
            ("max-age=60", "Cache-Control: max-stale=10", 70, .serve(age: 70)),
            ("max-age=60", "Cache-Control: max-stale=10", 71, .validate),
            ("max-age=60, must-revalidate", "Cache-Control: max-stale", 61, .validate),
            ("max-age=60, proxy-revalidate", "Cache-Control: max-stale", 61, .validate),
            ("s-maxage=60", "Cache-Control: max-stale", 61, .validate),
            ("max-age=60, stale-while-revalidate=10", "", 59, .serve(age: 59)),
            ("max-age=60, stale-while-revalidate=10", "", 70, .serveAndValidate(age: 70)),
            ("max-age=60, stale-while-revalidate=10", "", 71, .validate),
            ("max-age=60, stale-while-revalidate=10, must-revalidate", "", 61, .validate),
            ("max-age=60, stale-while-revalidate=10", "Cache-Control: max-age=65", 66, .validate),
            ("max-age=60", "Cache-Control: only-if-cached", 1, .serve(age: 1)),
            ("max-age=60", "Cache-Control: only-if-cached", 61, .unsatisfiable),
            ("max-age=60, stale-while-revalidate=10", "Cache-Control: only-if-cached", 61, .unsatisfiable),
            ("max-age=60, immutable", "Cache-Control: max-age=0", 1, .serve(age: 1)),
            ("max-age=60, immutable", "Cache-Control: no-cache", 1, .validate),
            ("max-age=60, immutable", "Cache-Control: max-age=0", 60, .validate),
            ("max-age=60", "Cache-Control: unknown=1", 1, .serve(age: 1)),
        ] as [(String, String, Int64, Reuse)])
    func whatIsDoneWithAStoredResponse(response: String, request: String, later: Int64, expected: Reuse) {
        let stored = Freshness(
            status: 200, response: fields("Cache-Control: \(response)\n" + Self.date), requestTime: Self.came, responseTime: Self.came)
        #expect(Reuse.judge(stored, request: fields(request), at: Self.came.advanced(bySeconds: later)) == expected)
    }

    @Test(
        arguments: [
            ("max-age=60, stale-if-error=100", "", 160, true), ("max-age=60, stale-if-error=100", "", 161, false),
            ("max-age=60", "", 61, false),
            ("max-age=60", "Cache-Control: stale-if-error=10", 70, true),
            ("max-age=60, stale-if-error=100", "Cache-Control: stale-if-error=10", 71, false),
            ("max-age=60, stale-if-error=100, must-revalidate", "", 61, false), ("s-maxage=60, stale-if-error=100", "", 61, false),
            ("max-age=60, stale-if-error=100, no-cache", "", 61, false),
            ("max-age=60, stale-if-error=100", "Cache-Control: no-cache", 61, false),
        ] as [(String, String, Int64, Bool)])
    func whatMayStandInForAnError(response: String, request: String, later: Int64, expected: Bool) {
        let stored = Freshness(
            status: 200, response: fields("Cache-Control: \(response)\n" + Self.date), requestTime: Self.came, responseTime: Self.came)
        #expect(Reuse.mayServeOnError(stored, request: fields(request), at: Self.came.advanced(bySeconds: later)) == expected)
    }

    @Test func errorsAreKeptForAMomentIfTheOperatorSaysSo() {
        func lifetime(_ status: Int, _ response: String) -> Int64 {
            Freshness(status: status, response: fields(response), requestTime: Self.came, responseTime: Self.came, negative: 10).lifetime
        }
        #expect(lifetime(404, "") == 10 && lifetime(404, "Cache-Control: max-age=3") == 3 && lifetime(200, "") == 0)
    }

    @Test(arguments: [
        ("", "", "Accept: b", true), ("Vary: Accept", "Accept: a", "Accept: a", true), ("Vary: Accept", "Accept: a", "Accept: b", false),
        ("Vary: ACCEPT", "accept: a", "Accept:  a ", true), ("Vary: Accept", "Accept: a,b", "Accept: a, b", true),
        ("Vary: Accept", "Accept: a\nAccept: b", "Accept: a, b", true),
        ("Vary: Accept", "", "Accept:", false), ("Vary: Accept", "", "Cookie: x", true), ("Vary: A, B", "A: 1\nB: 2", "B: 2\nA: 1", true),
        ("Vary: A\nVary: B", "A: 1\nB: 2", "A: 1\nB: 3", false), ("Vary: *", "", "", false),
    ]) func whichRequestsShareAResponse(response: String, first: String, second: String, shared: Bool) {
        let vary = Vary(fields(response))
        let (a, b) = (vary.selection(fields(first)), vary.selection(fields(second)))
        #expect((a != nil && a == b) == shared)
    }
}
