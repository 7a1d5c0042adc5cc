import Foundation
import Model
import Testing

@testable import AssetCore

/// `http-cache.txt`, played through the rules without a socket.
struct HTTPCacheDialogueTests {
    struct Line: CustomTestStringConvertible, Sendable {
        var number: Int
        var parts: [String]
        var testDescription: String { "\(number): \(parts.joined(separator: " | "))" }
    }

    static let lines: [Line] = {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("http-cache.txt")
        let text = (try? String(contentsOf: path, encoding: .utf8)) ?? ""
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { number, line in
            guard !line.isEmpty, !line.hasPrefix("#") else { return nil }
            let parts = line.split(separator: "|", omittingEmptySubsequences: false).map { $0.trimmingCharacters(in: .whitespaces) }
            return Line(number: number + 1, parts: parts)
        }
    }()

    static let start = Timestamp(seconds: 1_795_248_000)
    private static let names = [
        "cc": "cache-control", "et": "etag", "lm": "last-modified", "ex": "expires", "dt": "date", "ag": "age", "vy": "vary",
        "sc": "set-cookie", "au": "authorization", "ck": "cookie", "rg": "range", "ir": "if-range", "cr": "content-range",
        "inm": "if-none-match", "ims": "if-modified-since", "im": "if-match", "ius": "if-unmodified-since", "ae": "accept-encoding",
        "al": "accept-language", "pr": "pragma",
    ]

    private static func message(_ text: String) -> (first: String, fields: Fields) {
        let first = String(text.prefix { $0 != " " })
        var fields = Fields()
        for item in text.dropFirst(first.count).components(separatedBy: " ; ") {
            let pair = item.trimmingCharacters(in: .whitespaces)
            guard let colon = pair.firstIndex(of: ":") else { continue }
            let (name, value) = (String(pair[..<colon]), String(pair[pair.index(after: colon)...]))
            let date = value.hasPrefix("@") ? Int64(value.dropFirst()).map { start.advanced(bySeconds: $0).httpDate } : nil
            fields.append(names[name] ?? name, date ?? value)
        }
        return (first, fields)
    }

    private static func words(_ plan: CachePlan) -> String {
        switch plan {
        case .serve(_, let age): "hit \(age)"
        case .serveAndValidate(_, let age): "swr \(age)"
        case .validate(_, let why): "validate \(why.rawValue)"
        case .fetch(let why): "miss \(why.rawValue)"
        case .fetchPart(let why): "part \(why.rawValue)"
        case .pass(let why): "pass \(why.rawValue)"
        case .unsatisfiable: "504"
        }
    }

    @Test func thereAreSeveralHundred() { #expect(Self.lines.count >= 300) }

    @Test(arguments: lines) func aSharedCacheDoesAsTheSpecificationSays(line: Line) throws {
        try #require(line.parts.count == 6)
        let (method, request) = Self.message(line.parts[0])
        let (statusText, response) = Self.message(line.parts[1])
        let status = try #require(Int(statusText))
        var stored: [StoredResponse] = []
        let firstPlan = CachePlan.make(method: method, request: request, stored: [], at: Self.start)
        if case .pass(let why) = firstPlan, firstPlan != .pass(.request) {
            #expect(line.parts[2] == "pass \(why.rawValue)")
        } else {
            let length = contentRange(response["content-range"]).map { _ in Int64(10) } ?? 100
            let verdict = Verdict.judge(
                request: request, validated: nil, status: status, response: response, length: length, requestTime: Self.start,
                responseTime: Self.start, policy: StoragePolicy())
            switch verdict {
            case .store(let new, _):
                #expect(line.parts[2] == "stored")
                stored = [new]
            case .relay(let reason): #expect(line.parts[2] == "no \(reason.rawValue)")
            case .freshened, .serveStale, .askAgain: Issue.record("nothing was asked about")
            }
        }
        let later = Self.start.advanced(bySeconds: Int64(line.parts[3]) ?? 0)
        let (secondMethod, second) = Self.message(line.parts[4])
        let plan = CachePlan.make(method: secondMethod, request: second, stored: stored, at: later)
        let expected = line.parts[5].components(separatedBy: " = ")
        #expect(Self.words(plan) == expected[0])
        guard expected.count == 2, case .serve(let i, let age) = plan else { return }
        let answer = ClientAnswer(
            stored[i], request: second, isHead: secondMethod == "HEAD", total: stored[i].pieces?.total, age: age,
            cacheStatus: .hit(timeToLive: 1), at: later)
        var said = String(answer.status)
        if answer.status == 206, let body = answer.body { said += " \(body.lowerBound)-\(body.upperBound - 1)" }
        #expect(said == expected[1])
        #expect(answer.fields["age"] == String(age))
        #expect(answer.fields.values("cache-status").last == "leasehold; hit; ttl=1")
    }
}
