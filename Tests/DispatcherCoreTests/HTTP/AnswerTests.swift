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

    @Test func problemTellsWhereTheJobStood() throws {
        let facts = AnswerFacts(
            job: TicketID(rawValue: .max), line: RefusalFacts.Line(position: 3, queued: 12, oldestWait: .milliseconds(4321)))
        let (_, body) = written(Answer(.problem(.holdTimeout), for: [], closes: true, retryAfter: 2, facts: facts))
        let problem = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
        #expect(problem["job"] as? String == "18446744073709551615" && problem["position"] as? Int == 3)
        #expect(problem["queued"] as? Int == 12 && problem["oldestWaitMs"] as? Int == 4321)
        #expect(problem["lease"] == nil && problem["phase"] == nil)
    }

    @Test func whoWasNotInLineHasNoPlace() throws {
        let facts = AnswerFacts(line: RefusalFacts.Line(position: 0, queued: 9, oldestWait: .zero))
        let (_, body) = written(Answer(.problem(.queueFull), for: [], closes: true, facts: facts))
        let problem = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
        #expect(problem["position"] == nil && problem["queued"] as? Int == 9 && problem["oldestWaitMs"] as? Int == 0)
    }

    @Test(arguments: LeasePhase.allCases) func problemTellsTheLeaseAndHowFarItCame(_ phase: LeasePhase) throws {
        let facts = AnswerFacts(lease: LeaseID(epoch: 17, counter: 4), pool: Array("web-1.a_b".utf8), phase: phase)
        let (head, body) = written(Answer(.problem(.workerLost), for: [], closes: true, facts: facts))
        #expect(head.contains("Leasehold-Lease: web-1.a_b/17.4"))
        let problem = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
        #expect(problem["lease"] as? String == "web-1.a_b/17.4" && problem["phase"] as? String == phase.name)
    }

    @Test(arguments: Reason.allCases) func theLongestAnswerFits(_ reason: Reason) {
        let facts = AnswerFacts(
            job: TicketID(rawValue: .max), line: RefusalFacts.Line(position: .max, queued: .max, oldestWait: .seconds(Int64.max / 1_000_000_000)),
            lease: LeaseID(epoch: .max, counter: .max), pool: [UInt8](repeating: 0x61, count: 63), phase: .headersSent)
        let answer = Answer(.problem(reason), for: .isHTTP10, closes: true, retryAfter: .max, facts: facts)
        #expect(!sunk(Answer.mostBytes) { answer.write(into: &$0) }.overflowed)
    }

    /// RFC 9209 §2: a list of proxies, each a token with parameters; the error is a token of §2.3, details are a string (RFC 8941).
    @Test(arguments: Reason.allCases) func proxyStatusIsAStructuredField(_ reason: Reason) throws {
        let registered: Set<String> = [
            "dns_timeout", "dns_error", "destination_not_found", "destination_unavailable", "destination_ip_prohibited",
            "destination_ip_unroutable", "connection_refused", "connection_terminated", "connection_timeout", "connection_read_timeout",
            "connection_write_timeout", "connection_limit_reached", "tls_protocol_error", "tls_certificate_error", "tls_alert_received",
            "http_request_error", "http_request_denied", "http_response_incomplete", "http_response_header_section_size",
            "http_response_header_size", "http_response_body_size", "http_response_trailer_section_size", "http_response_trailer_size",
            "http_response_transfer_coding", "http_response_content_coding", "http_response_timeout", "http_upgrade_failed",
            "http_protocol_error", "proxy_internal_response", "proxy_internal_error", "proxy_configuration_error", "proxy_loop_detected",
        ]
        let (head, _) = written(Answer(.problem(reason), for: [], closes: true))
        let field = try #require(head.first { $0.hasPrefix("Proxy-Status: ") })
        let match = try #require(field.wholeMatch(of: /Proxy-Status: leasehold; error=([a-z_]+); details="([\x20-\x21\x23-\x5b\x5d-\x7e]+)"/))
        #expect(registered.contains(String(match.1)))
        #expect(match.2 == reason.token)
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
