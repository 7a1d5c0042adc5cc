import Foundation
import Model
import TestKit
import Testing
import Wire

@testable import PublisherCore

private let aggregator = Asker.user(.init(name: "system:kube-aggregator", groups: ["system:masters"]))
private let base = "/apis/external.metrics.k8s.io/v1beta1"
/// 2027-01-15T08:00:00Z.
private let wall = 1_800_000_000.0

/// Pools `browsers` and `mobile` in namespace `shop`, `kernels` in `lab`, and `local`, which has no Service; all told once.
private func told() -> Publication {
    var publication = sample(pools: ["browsers", "mobile", "kernels", "local"])
    publication.configure([
        .init(name: "browsers", namespace: "shop"), .init(name: "mobile", namespace: "shop"), .init(name: "kernels", namespace: "lab"),
        .init(name: "local"),
    ])
    return publication
}

private func ask(
    _ target: String, _ publication: Publication = told(), as asker: Asker = aggregator, method: String = "GET", accept: String? = nil,
    ifNoneMatch: String? = nil, isDraining: Bool = false, after: Duration = .zero, maxAge: Duration = .seconds(300)
) -> ExternalMetricsAPI.Answer {
    ExternalMetricsAPI(mostAge: maxAge).answer(
        .init(method: method, target: target, accept: accept, ifNoneMatch: ifNoneMatch, asker: asker), publication, isDraining: isDraining,
        at: publication.began + after, wall: wall + Double(after.milliseconds) / 1000)
}

private func json(_ answer: ExternalMetricsAPI.Answer) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any])
}

private func items(_ answer: ExternalMetricsAPI.Answer) throws -> [[String: Any]] {
    try #require(try json(answer)["items"] as? [[String: Any]])
}

/// `pool=value` of each item.
private func values(_ answer: ExternalMetricsAPI.Answer) throws -> [String] {
    try items(answer).map { item in
        let labels = try #require(item["metricLabels"] as? [String: String])
        return "\(labels["pool"] ?? "?")=\(item["value"] as? String ?? "?")"
    }
}

private func text(_ answer: ExternalMetricsAPI.Answer) -> String { String(decoding: answer.body, as: UTF8.self) }
private func warning(_ answer: ExternalMetricsAPI.Answer) -> String? { answer.headers.first { $0.name == "Warning" }?.value }

@Suite struct ExternalMetricsTests {
    @Test func anHPAGetsAListOfValuesInTheFormThatItReads() {
        let answer = ask("\(base)/namespaces/shop/leasehold_demand?labelSelector=pool%3Dbrowsers")
        #expect(answer.status == 200)
        #expect(answer.contentType == "application/json")
        #expect(answer.result == .current)
        #expect(
            text(answer)
                == #"{"kind":"ExternalMetricValueList","apiVersion":"external.metrics.k8s.io/v1beta1","metadata":{},"items":[{"metricName":"leasehold_demand","metricLabels":{"pool":"browsers"},"timestamp":"2027-01-15T08:00:00Z","value":"7"}]}"#
        )
        #expect(answer.headers.isEmpty)
    }

    @Test(arguments: [
        ("leasehold_demand", "7"), ("leasehold_queue_depth", "5"), ("leasehold_queue_oldest_seconds", "1250m"),
    ]) func everyMetricHasItsValue(_ metric: String, _ value: String) throws {
        #expect(try values(ask("\(base)/namespaces/lab/\(metric)")) == ["kernels=\(value)"])
    }

    @Test(arguments: [
        ("shop", "", ["browsers=7", "mobile=7"]), ("shop", "pool!%3Dbrowsers", ["mobile=7"]),
        ("shop", "pool+in+(browsers,mobile)", ["browsers=7", "mobile=7"]),
        ("shop", "pool%20notin%20%28mobile%29", ["browsers=7"]), ("shop", "!pool", []), ("shop", "urgency%3D3", []),
        ("lab", "", ["kernels=7"]),
        ("lab", "pool=browsers", []), ("elsewhere", "", []), ("local", "", []),
    ]) func aPoolIsInTheNamespaceOfItsServiceAndNowhereElse(_ namespace: String, _ selector: String, _ expected: [String]) throws {
        let answer = ask("\(base)/namespaces/\(namespace)/leasehold_demand?labelSelector=\(selector)")
        #expect(answer.status == 200)
        #expect(try values(answer) == expected)
        #expect((warning(answer) == nil) == !expected.isEmpty)
    }

    @Test(arguments: [
        ("\(base)/namespaces/shop/leasehold_other", 404, "NotFound"), ("\(base)/namespaces/shop", 404, "NotFound"),
        ("\(base)/namespaces/shop/leasehold_demand/x", 404, "NotFound"),
        ("\(base)/leasehold_demand", 404, "NotFound"), ("/apis/apps/v1", 404, "NotFound"), ("/api", 404, "NotFound"),
        ("/metrics", 404, "NotFound"),
        ("\(base)/namespaces/shop/leasehold_demand?labelSelector=pool%3D%3D%3D", 400, "BadRequest"),
        ("\(base)/namespaces/shop/leasehold_demand?labelSelector=%ff", 400, "BadRequest"),
        ("nonsense", 400, "BadRequest"), ("\(base)/namespaces/shop/leasehold_demand?watch=true", 405, "MethodNotAllowed"),
    ]) func aWrongQuestionIsAnsweredWithAStatusObject(_ target: String, _ code: Int, _ reason: String) throws {
        let answer = ask(target)
        #expect(answer.status == code)
        let status = try json(answer)
        #expect(status["kind"] as? String == "Status")
        #expect(status["apiVersion"] as? String == "v1")
        #expect(status["status"] as? String == "Failure")
        #expect(status["reason"] as? String == reason)
        #expect(status["code"] as? Int == code)
        #expect((status["message"] as? String)?.isEmpty == false)
    }

    @Test(arguments: ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "X"]) func whatIsReadOnlyIsNotWritten(_ method: String) {
        for path in ["\(base)/namespaces/shop/leasehold_demand", "/apis", "/healthz"] {
            let answer = ask(path, method: method)
            #expect(answer.status == 405)
            #expect(answer.headers.contains(.init(name: "Allow", value: "GET, HEAD")))
        }
    }

    @Test(arguments: [
        (nil, 200), ("", 200), ("application/json", 200), ("*/*", 200), ("application/*", 200),
        ("application/vnd.kubernetes.protobuf,application/json", 200),
        ("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json", 200),
        ("application/vnd.kubernetes.protobuf", 406), ("text/html", 406),
    ]) func onlyJSONIsServed(_ accept: String?, _ status: Int) { #expect(ask("/apis", accept: accept).status == status) }

    // MARK: Who asks

    private static let everything = [
        "/", "/apis", "/apis/external.metrics.k8s.io", base, "\(base)/namespaces/shop/leasehold_demand", "/openapi/v2", "/openapi/v3",
        "/nothing",
    ]

    @Test(arguments: everything) func strangersGetNothing(_ path: String) throws {
        let nobody = ask(path, as: .nobody("no client certificate was presented"))
        #expect(nobody.status == 401)
        #expect(try json(nobody)["reason"] as? String == "Unauthorized")
        #expect(nobody.result == .refused)
        let other = ask(path, as: .notAllowed("kubelet"))
        #expect(other.status == 403)
        #expect(try json(other)["reason"] as? String == "Forbidden")
        #expect(ask(path, as: .nobody(""), method: "DELETE").status == 401)
    }

    @Test(arguments: ["/healthz", "/livez", "/readyz", "/version"]) func probesNeedNoCertificate(_ path: String) {
        #expect(ask(path, as: .nobody("")).status == 200)
    }

    @Test func readyIsWhenSomethingIsKnownAndNobodyDrains() {
        let blind = Publication(version: "1", processes: [], pools: [.init(name: "a", namespace: "shop")], at: .zero)
        #expect(ask("/readyz", blind).status == 503)
        #expect(ask("/healthz", blind).status == 200)
        #expect(ask("/readyz", isDraining: true).status == 503)
    }

    @Test(
        arguments: [
            (.none, [("X-Remote-User", "admin")], .nobody("no client certificate was presented")),
            (.refused("expired"), [("X-Remote-User", "admin")], .nobody("the client certificate is refused: expired")),
            (.verified(commonName: "kubelet"), [("X-Remote-User", "admin")], .notAllowed("kubelet")),
            (.verified(commonName: ""), [("X-Remote-User", "admin")], .notAllowed("")),
            (.verified(commonName: "front-proxy-client"), [], .nobody("the request has no X-Remote-User")),
            (
                .verified(commonName: "front-proxy-client"), [("X-Remote-User", ""), ("x-remote-group", "a")],
                .nobody("the request has no X-Remote-User")
            ),
            (
                .verified(commonName: "front-proxy-client"),
                [
                    ("X-REMOTE-USER", "jane"), ("X-Remote-User", "other"), ("X-Remote-Group", "a"), ("x-remote-group", "b"),
                    ("X-Remote-Extra-Example.com%2Fproject", "p"),
                    ("X-Remote-Extra-Scopes", "1"), ("X-Remote-Extra-scopes", "2"),
                ], .user(.init(name: "jane", groups: ["a", "b"], extra: ["example.com/project": ["p"], "scopes": ["1", "2"]]))
            ),
        ] as [(Asker.Certificate, [(String, String)], Asker)])
    func headersAreBelievedOnlyFromTheFrontProxy(_ certificate: Asker.Certificate, _ headers: [(String, String)], _ expected: Asker) {
        #expect(Asker(certificate, allowedNames: ["front-proxy-client"], headers: headers.map { (name: $0.0, value: $0.1) }) == expected)
    }

    @Test func anEmptyListOfNamesIsEveryName() {
        let asker = Asker(.verified(commonName: "anything"), allowedNames: [], headers: [(name: "X-Remote-User", value: "u")])
        #expect(asker == .user(.init(name: "u")))
    }

    // MARK: Documents

    @Test func discoveryNamesTheGroupAndItsMetrics() throws {
        let list = try json(ask("/apis"))
        #expect(list["kind"] as? String == "APIGroupList")
        let group = try #require((list["groups"] as? [[String: Any]])?.first)
        #expect(group["name"] as? String == "external.metrics.k8s.io")
        #expect(
            (group["preferredVersion"] as? [String: String]) == ["groupVersion": "external.metrics.k8s.io/v1beta1", "version": "v1beta1"])
        #expect(try json(ask("/apis/external.metrics.k8s.io/"))["kind"] as? String == "APIGroup")
        let resources = try json(ask(base))
        #expect(resources["kind"] as? String == "APIResourceList")
        #expect(resources["groupVersion"] as? String == "external.metrics.k8s.io/v1beta1")
        let all = try #require(resources["resources"] as? [[String: Any]])
        #expect(all.map { $0["name"] as? String } == ["leasehold_demand", "leasehold_queue_depth", "leasehold_queue_oldest_seconds"])
        #expect(
            all.allSatisfy {
                $0["namespaced"] as? Bool == true && $0["kind"] as? String == "ExternalMetricValueList"
                    && $0["verbs"] as? [String] == ["get"]
            })
    }

    @Test func openAPIDescribesEveryMetricAndEveryReferenceLeadsSomewhere() throws {
        let swagger = try json(ask("/openapi/v2"))
        #expect(swagger["swagger"] as? String == "2.0")
        let root = try #require(try json(ask("/openapi/v3"))["paths"] as? [String: [String: String]])
        let url = try #require(root["apis/external.metrics.k8s.io/v1beta1"]?["serverRelativeURL"])
        let document = try json(ask(url))
        #expect((document["openapi"] as? String)?.hasPrefix("3.0") == true)
        let schemas = try #require((document["components"] as? [String: Any])?["schemas"] as? [String: Any])
        let definitions = try #require(swagger["definitions"] as? [String: Any])
        #expect(Set(schemas.keys) == Set(definitions.keys))
        for (whole, prefix, names) in [(swagger, "#/definitions/", definitions), (document, "#/components/schemas/", schemas)] {
            #expect((whole["paths"] as? [String: Any])?.count == 3)
            let all = String(decoding: try JSONSerialization.data(withJSONObject: whole, options: .withoutEscapingSlashes), as: UTF8.self)
            let references = all.matches(of: #/"\$ref":"([^"]+)"/#).map { String($0.1) }
            #expect(references.count == 4)
            #expect(references.allSatisfy { $0.hasPrefix(prefix) && names[String($0.dropFirst(prefix.count))] != nil })
        }
    }

    @Test func aDocumentThatIsKnownIsNotSentAgain() throws {
        let tag = try #require(ask("/openapi/v2").headers.first { $0.name == "ETag" }?.value)
        let again = ask("/openapi/v2", ifNoneMatch: "\"x\", \(tag)")
        #expect(again.status == 304)
        #expect(again.body.isEmpty)
        #expect(ask("/openapi/v2", ifNoneMatch: "\"x\"").status == 200)
    }

    // MARK: Blindness

    @Test func beforeAnythingIsKnownTheAnswerIsNotZero() throws {
        let blind = Publication(version: "1", processes: ["pool-keeper"], pools: [.init(name: "browsers", namespace: "shop")], at: .zero)
        let answer = ask("\(base)/namespaces/shop/leasehold_demand", blind)
        #expect(answer.status == 503)
        #expect(try json(answer)["reason"] as? String == "ServiceUnavailable")
        #expect(answer.result == .blind)
        // A client of Kubernetes waits and asks again where it is told when; an HPA asks again by itself.
        #expect(!answer.headers.contains { $0.name == "Retry-After" })
    }

    @Test func onePoolThatIsNotKnownMakesTheSumUnknown() {
        var publication = told()
        publication.configure([.init(name: "browsers", namespace: "shop"), .init(name: "new", namespace: "shop")])
        #expect(ask("\(base)/namespaces/shop/leasehold_demand", publication).status == 503)
        #expect(ask("\(base)/namespaces/shop/leasehold_demand?labelSelector=pool%3Dbrowsers", publication).status == 200)
    }

    @Test func theLastGoodValueIsToldWithItsAgeWhileThePoolKeeperIsAway() throws {
        var publication = told()
        publication.stateDown(at: publication.began + .seconds(1))
        publication.vitalsDown("pool-keeper", at: publication.began + .seconds(1))
        let answer = ask("\(base)/namespaces/lab/leasehold_queue_oldest_seconds", publication, after: .seconds(61))
        // The oldest had waited 1.25 s when it was told, and was known to wait for a second more.
        #expect(try values(answer) == ["kernels=2250m"])
        #expect(try items(answer)[0]["timestamp"] as? String == "2027-01-15T08:00:01Z")
        #expect(warning(answer)?.contains("60 s old") == true)
        #expect(answer.result == .stale)
    }

    @Test func whatIsTooOldIsNotTold() {
        var publication = told()
        publication.stateDown(at: publication.began)
        let target = "\(base)/namespaces/shop/leasehold_demand"
        #expect(ask(target, publication, after: .seconds(300)).status == 200)
        #expect(ask(target, publication, after: .seconds(301)).status == 503)
        #expect(ask(target, publication, after: .seconds(1), maxAge: .zero).status == 503)
        #expect(ask(target, told(), maxAge: .zero).status == 200)
    }

    @Test func aPoolKeeperThatHangsHasNotSpokenSinceItsLastWord() throws {
        var publication = told()
        let target = "\(base)/namespaces/lab/leasehold_demand"
        #expect(ask(target, publication, after: .seconds(3)).result == .current)
        let hung = ask(target, publication, after: .seconds(4))
        #expect(hung.result == .stale)
        #expect(try items(hung)[0]["timestamp"] as? String == "2027-01-15T08:00:00Z")
        #expect(publication.stateAge(at: publication.began + .seconds(4)) == .seconds(4))
        // It speaks again.
        publication.heard(VitalsMessage.begin(uptime: .zero), from: "pool-keeper", at: publication.began + .seconds(5))
        publication.heard(VitalsMessage.end, from: "pool-keeper", at: publication.began + .seconds(5))
        #expect(ask(target, publication, after: .seconds(6)).result == .current)
    }

    /// It counts no jobs until the dispatchers have told of theirs: 0 would be a lie.
    @Test func aPoolKeeperThatHasJustStartedIsNotBelievedBeforeItKnowsWhichJobsThereAre() throws {
        var publication = told()
        let target = "\(base)/namespaces/shop/leasehold_demand?labelSelector=pool%3Dbrowsers"
        publication.stateDown(at: publication.began)
        publication.stateUp()
        var empty = PoolState(pool: PoolID(name: "browsers"))
        empty.isRecovering = true
        publication.heard(.pool(empty), at: publication.began + .seconds(1))
        publication.heard(StateMessage.snapshotEnd, at: publication.began + .seconds(1))
        let early = ask(target, publication, after: .seconds(2))
        #expect(try values(early) == ["browsers=7"])
        #expect(early.result == .stale)
        var known = PoolState(pool: PoolID(name: "browsers"))
        known.leases = 3
        publication.heard(.pool(known), at: publication.began + .seconds(3))
        let late = ask(target, publication, after: .seconds(3))
        #expect(try values(late) == ["browsers=3"])
        #expect(late.result == .current)
    }

    @Test func aFirstPoolKeeperThatHasJustStartedKnowsNothing() {
        var publication = Publication(
            version: "1", processes: ["pool-keeper"], pools: [.init(name: "browsers", namespace: "shop")], at: .zero)
        publication.stateUp()
        var empty = PoolState(pool: PoolID(name: "browsers"))
        empty.isRecovering = true
        publication.heard(.pool(empty), at: .zero)
        publication.heard(StateMessage.snapshotEnd, at: .zero)
        #expect(ask("\(base)/namespaces/shop/leasehold_demand", publication).status == 503)
    }

    @Test func aPoolThatThePoolKeeperDoesNotKnowIsNotZeroEither() {
        var publication = told()
        publication.heard(.poolGone(PoolID(name: "kernels")), at: publication.began)
        #expect(ask("\(base)/namespaces/lab/leasehold_demand", publication).status == 503)
    }

    /// Whatever happens to the edge, in whatever order: a number is one that was told by a pool-keeper that knew, and never another.
    @Test(arguments: Array(1...200) as [UInt64]) func noOrderOfEventsMakesANumberUp(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var publication = Publication(version: "1", processes: ["pool-keeper"], pools: [.init(name: "a", namespace: "n")], at: .zero)
        var now = Instant.zero
        var isConnected = false
        var lastGood: UInt32?
        for _ in 0..<200 {
            now = now + .milliseconds(Int64.random(in: 0...1500, using: &random))
            switch Int.random(in: 0..<5, using: &random) {
            case 0 where isConnected:
                publication.stateDown(at: now)
                isConnected = false
            case 1 where !isConnected:
                publication.stateUp()
                isConnected = true
            case 2 where isConnected: publication.heard(StateMessage.snapshotEnd, at: now)
            case 3 where isConnected:
                var state = PoolState(pool: PoolID(name: "a"))
                state.isRecovering = Bool.random(using: &random)
                // A pool-keeper that does not know yet says 0.
                state.leases = state.isRecovering ? 0 : UInt32.random(in: 1...9, using: &random)
                publication.heard(.pool(state), at: now)
                if !state.isRecovering { lastGood = state.leases }
            default: break
            }
            let answer = ExternalMetricsAPI(mostAge: .seconds(1_000_000)).answer(
                .init(target: "\(base)/namespaces/n/leasehold_demand", asker: aggregator), publication, isDraining: false, at: now,
                wall: wall)
            if answer.status == 200 {
                #expect(try values(answer) == ["a=\(try #require(lastGood))"], "seed \(seed)")
            } else {
                #expect(answer.status == 503, "seed \(seed)")
            }
        }
    }
}

@Suite struct QuantityTests {
    @Test(
        arguments: [
            (0, "0"), (1, "1m"), (1000, "1"), (1500, "1500m"), (999, "999m"), (1_000_000, "1000"), (4_294_967_295_000, "4294967295"),
        ] as [(Int64, String)])
    func aQuantityIsWholeOrInThousandths(_ thousandths: Int64, _ text: String) {
        #expect(ExternalMetric.quantity(thousandths: thousandths) == text)
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (951_782_399, "2000-02-28T23:59:59Z"), (951_782_400, "2000-02-29T00:00:00Z"),
            (1_800_000_000, "2027-01-15T08:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"), (4_107_542_400, "2100-03-01T00:00:00Z"), (.max, "9999-12-31T23:59:59Z"),
            (.min, "0000-01-01T00:00:00Z"),
        ] as [(Int64, String)])
    func timesAreWrittenAsKubernetesReadsThem(_ seconds: Int64, _ text: String) { #expect(rfc3339(seconds) == text) }
}
