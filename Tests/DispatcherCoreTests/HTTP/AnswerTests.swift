import Foundation
import Model
import Testing

@testable import DispatcherCore

private func written(_ answer: Answer) -> (head: [String], body: String) {
    let result = sunk(Answer.mostBytes) { answer.write(into: &$0) }
    #expect(!result.overflowed)
    let parts = result.text.components(separatedBy: "\r\n\r\n")
    #expect(parts.count == 2)
    return (parts[0].components(separatedBy: "\r\n"), parts.dropFirst().joined())
}

struct AnswerTests {
    @Test(arguments: Reason.allCases) func everyReasonIsACompleteResponseThatOurOwnParserAccepts(_ reason: Reason) throws {
        for traits in [CallerTraits.keepsAlive, .isHead, [.isHTTP10, .keepsAlive], .isHTTP10] {
            for closes in [true, false] {
                let answer = Answer(.problem(reason), for: traits, closes: closes, retryAfter: .max)
                let bytes = latin1(sunk(Answer.mostBytes) { answer.write(into: &$0) }.text)
                let head = try #require(parseResponse(bytes, for: traits).head)
                #expect(Int(head.status) == reason.status && head.keepsAlive == answer.keepsCaller)
                #expect(head.framing == (traits.contains(.isHead) ? .none : .length(UInt64(bytes.count - head.length))))
                #expect((head.version == .v10) == traits.contains(.isHTTP10))
            }
        }
    }

    @Test func problemHasItsFieldsAndBody() throws {
        let (head, body) = written(Answer(.problem(.holdTimeout), for: .keepsAlive, closes: false, retryAfter: 7))
        #expect(
            head == [
                "HTTP/1.1 429 Too Many Requests", "Content-Length: \(body.utf8.count)", "X-Content-Type-Options: nosniff",
                "Content-Type: application/problem+json", "Cache-Control: no-store",
                "Proxy-Status: leasehold; error=connection_limit_reached; details=\"hold-timeout\"", "Leasehold-Reason: hold-timeout",
                "Retry-After: 7",
            ])
        let problem = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
        #expect(problem["status"] as? Int == 429 && problem["reason"] as? String == "hold-timeout" && problem["retryAfter"] as? Int == 7)
        #expect(
            problem["title"] as? String == Reason.holdTimeout.title && problem["type"] as? String == "urn:leasehold:reason:hold-timeout")
    }

    @Test(arguments: Reason.allCases) func everyProblemBodyIsJSON(_ reason: Reason) throws {
        let body = written(Answer(.problem(reason), for: [], closes: true)).body
        let problem = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
        #expect(problem["status"] as? Int == reason.status && problem["title"] as? String == reason.title)
    }

    @Test(
        arguments: [
            (CallerTraits.keepsAlive, false, nil), (.keepsAlive, true, "Connection: close"), ([], false, "Connection: close"),
            ([.keepsAlive, .isHTTP10], false, "Connection: keep-alive"), ([.isHTTP10], false, "Connection: close"),
        ] as [(CallerTraits, Bool, String?)]) func connectionIsSaid(_ traits: CallerTraits, _ closes: Bool, _ line: String?)
    {
        let head = written(Answer(.problem(.noRoute), for: traits, closes: closes)).head
        #expect(head.filter { $0.hasPrefix("Connection:") } == (line.map { [$0] } ?? []))
    }

    @Test func headHasNoBodyButItsLength() {
        let body = written(Answer(.problem(.noRoute), for: [], closes: true)).body
        let (head, none) = written(Answer(.problem(.noRoute), for: .isHead, closes: true))
        #expect(none.isEmpty && head.contains("Content-Length: \(body.utf8.count)"))
    }

    @Test func methodNotAllowedSaysWhatIs() {
        let head = written(Answer(HeadRefusal(.methodNotAllowed))).head
        #expect(head.contains("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") && head.contains("Connection: close"))
    }

    @Test func optionsForTheServerIsAnsweredByUs() {
        let (head, body) = written(Answer(.options, for: .keepsAlive, closes: false))
        #expect(
            head.first == "HTTP/1.1 200 OK" && head.contains("Content-Length: 0") && head.contains { $0.hasPrefix("Allow: ") }
                && body.isEmpty)
    }

    @Test func healthPathSaysReadyOrDraining() {
        let ready = written(Answer(.health(isReady: true), for: .keepsAlive, closes: false))
        #expect(ready.head.first == "HTTP/1.1 200 OK" && ready.head.contains("Content-Type: text/plain") && ready.body == "ready\n")
        let draining = written(Answer(.health(isReady: false), for: .keepsAlive, closes: true))
        #expect(
            draining.head.first == "HTTP/1.1 503 Service Unavailable" && draining.body == "draining\n"
                && draining.head.contains("Connection: close"))
    }
}
