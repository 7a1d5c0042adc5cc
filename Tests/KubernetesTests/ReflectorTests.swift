import Foundation
import Kubernetes
import Model
import Testing

/// The list-and-watch machine, rule by rule.
@Suite struct ReflectorTests {
    typealias Talk = ReflectorTalk

    // MARK: Lists

    @Test func aStreamedListIsToldWhenItIsComplete() {
        var talk = Talk(WatchScope(.endpointSlices, namespace: "shop", labelSelector: "kubernetes.io/service-name in (a,b)"))
        talk.say(.started)
        #expect(talk.target.hasPrefix("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?watch=true"))
        #expect(talk.query("sendInitialEvents") == "true" && talk.query("resourceVersionMatch") == "NotOlderThan")
        #expect(talk.query("allowWatchBookmarks") == "true" && talk.query("resourceVersion") == nil)
        #expect(talk.query("labelSelector") == "kubernetes.io%2Fservice-name%20in%20%28a%2Cb%29")
        talk.answer()
        talk.receive([Talk.event("ADDED", "a", 50), Talk.event("ADDED", "b", 90)])
        #expect(talk.copy.isEmpty && talk.health == .unknown(nil))
        talk.receive([Talk.bookmark(100, ends: true)])
        #expect(talk.names == ["a", "b"] && talk.health == .live && talk.reflector.report.resourceVersion == "100")
        #expect(talk.notices == [.synchronized(objects: 2, resourceVersion: "100")])
        talk.receive([Talk.event("MODIFIED", "a", 101), Talk.event("DELETED", "b", 102), Talk.event("ADDED", "c", 103)])
        #expect(talk.names == ["a", "c"] && talk.reflector.report.resourceVersion == "103")
    }

    @Test func anEmptyListIsToldToo() {
        let talk = Talk.watching([])
        #expect(talk.actions.contains(.apply(ObjectUpdate(.relist, []))) && talk.health == .live)
    }

    @Test func syntheticEventsDoNotMoveTheResumePoint() {
        var talk = Talk()
        talk.say(.started)
        talk.answer()
        talk.receive([Talk.event("ADDED", "a", 5000), Talk.bookmark(6000)])
        talk.fail(.connectionLost)
        #expect(talk.reflector.report.resourceVersion.isEmpty && talk.copy.isEmpty)
        talk.waitForRequest()
        #expect(talk.query("sendInitialEvents") == "true" && talk.query("resourceVersion") == nil)
    }

    @Test(arguments: [400, 422, 405, 501]) func aRefusedStreamFallsBackToPagesForGood(_ status: Int) {
        var talk = Talk()
        talk.say(.started)
        talk.refuse(status)
        #expect(talk.query("watch") == nil && talk.query("resourceVersion") == "0")
        talk.answer()
        talk.say(.received(talk.id, Array(Talk.page(["a", "b"], 70).utf8)))
        #expect(talk.copy.isEmpty)
        talk.end()
        #expect(talk.names == ["a", "b"] && talk.query("watch") == "true" && talk.query("resourceVersion") == "70")
        talk.refuse(410)
        talk.waitForRequest()
        #expect(talk.query("watch") == nil && talk.query("limit") == "500" && talk.query("resourceVersion") == nil)
        #expect(talk.notices.filter { if case .noWatchList = $0 { true } else { false } }.count == 1)
    }

    /// A server from before 1.27 starts an ordinary watch, or a proxy drops what it does not know.
    @Test func aStreamThatNeverEndsItsListFallsBackToPages() {
        var talk = Talk()
        talk.say(.started)
        talk.answer()
        talk.receive([Talk.event("ADDED", "a", 50)])
        talk.pass(.seconds(61))
        #expect(talk.request == nil && !talk.reflector.report.usesWatchList)
        talk.waitForRequest()
        #expect(talk.query("watch") == nil)
        talk = Talk()
        talk.say(.started)
        talk.answer()
        talk.end()
        talk.waitForRequest()
        #expect(talk.query("watch") == nil)
    }

    @Test func recordedPagesMakeOneList() throws {
        var talk = Talk()
        talk.say(.started)
        talk.refuse(422)
        talk.answer()
        talk.receive(try fixture("endpointslices.page1.json"))
        talk.end()
        #expect(talk.copy.isEmpty && talk.query("limit") == "500")
        #expect(talk.query("continue")?.hasPrefix("eyJ2IjoibWV0YS5rOHMuaW8vdjEi") == true)
        talk.answer()
        talk.receive(try fixture("endpointslices.page2.json"))
        talk.end()
        // The second page names a third, which was not recorded.
        #expect(talk.query("continue") != nil)
        talk.fail(.connectionLost)
        talk.waitForRequest()
        #expect(talk.query("continue") != nil, "the pages that came are not asked for again")
        talk.answer()
        talk.say(.received(talk.id, Array(Talk.page(["last"], 651).utf8)))
        talk.end()
        #expect(talk.copy.count == 5 && talk.query("resourceVersion") == "651")
    }

    @Test func anExpiredPageStartsAListInOnePiece() {
        var talk = Talk.watching(["old"])
        talk.refuse422ThenPages()
        talk.answer()
        talk.say(.received(talk.id, Array(Talk.page(["a"], 200, next: "token").utf8)))
        talk.end()
        #expect(talk.query("continue") == "token" && talk.names == ["old"])
        talk.refuse(410)
        talk.waitForRequest()
        #expect(talk.query("continue") == nil && talk.query("limit") == nil && talk.query("resourceVersion") == nil)
        talk.answer()
        talk.say(.received(talk.id, Array(Talk.page(["a", "b"], 201).utf8)))
        talk.end()
        #expect(talk.names == ["a", "b"])
    }

    @Test func aListFromAServerThatLagsAsksForItsNewest() throws {
        var talk = Talk.watching()
        talk.fail(.connectionLost)
        talk.waitForRequest()
        talk.answer()
        talk.receive([Talk.error(410, "Expired")])
        talk.waitForRequest()
        // The stream is asked for what is newest; and one that knows where we stand may be refused as too far ahead.
        #expect(talk.query("resourceVersion") == nil)
        talk.answer(504)
        talk.receive(try fixture("endpointslices.too-large-resource-version.json"))
        talk.end()
        #expect(talk.reflector.report.problem?.kind == .tooLargeResourceVersion)
        #expect(talk.waitForRequest() >= .seconds(1))
        #expect(talk.query("resourceVersion") == nil && talk.names == ["a", "b"])
    }

    // MARK: Watches

    @Test func aWatchResumesWhereTheLastWordWas() {
        var talk = Talk.watching()
        talk.receive([Talk.event("MODIFIED", "a", 120), Talk.bookmark(130)])
        talk.pass(.seconds(140))
        talk.receive([Talk.bookmark(140)])
        talk.end()
        #expect(talk.query("resourceVersion") == "140" && talk.query("sendInitialEvents") == nil)
        #expect(talk.health == .live && talk.actions.count == 1, "a planned end is nobody's concern")
        talk.answer()
        talk.receive([Talk.event("ADDED", "c", 150)])
        talk.fail(.connectionLost)
        talk.waitForRequest()
        #expect(talk.query("resourceVersion") == "150" && talk.names == ["a", "b", "c"])
    }

    @Test func watchesLastFiveToTenMinutes() throws {
        var seen: [Int] = []
        for seed in 0..<200 {
            var talk = Talk(seed: UInt64(seed))
            talk.say(.started)
            seen.append(try #require(Int(talk.query("timeoutSeconds") ?? "")))
        }
        #expect(seen.allSatisfy { (300...600).contains($0) } && Set(seen).count > 100)
    }

    @Test(arguments: [true, false]) func aForgottenVersionIsListedAnewWithoutFlapping(_ asStatus: Bool) {
        var talk = Talk.watching(["a", "b", "c"])
        talk.fail(.connectionLost)
        talk.waitForRequest()
        if asStatus {
            talk.refuse(410)
        } else {
            talk.answer()
            talk.receive([Talk.error(410, "Expired")])
        }
        #expect(talk.names == ["a", "b", "c"])
        talk.waitForRequest()
        #expect(talk.query("sendInitialEvents") == "true" && talk.query("resourceVersion") == nil)
        talk.answer()
        talk.receive([Talk.event("ADDED", "c", 50), Talk.event("ADDED", "d", 170)])
        #expect(talk.names == ["a", "b", "c"] && talk.reflector.report.resourceVersion == "100")
        talk.receive([Talk.bookmark(200, ends: true)])
        #expect(talk.names == ["c", "d"] && talk.reflector.report.relists == 1 && talk.health == .live)
        guard case .apply(let update) = talk.actions[0] else { return #expect(Bool(false), "nothing is applied first") }
        #expect(update.origin == .relist && update.changes.suffix(2) == [.deleted(key("a")), .deleted(key("b"))])
        #expect(talk.notices.contains(.expired(resourceVersion: "100")))
    }

    @Test func theRecordedExpiryIsUnderstood() throws {
        var talk = Talk.watching()
        talk.end()
        talk.waitForRequest()
        talk.answer()
        talk.receive(try fixture("endpointslices.watch.expired.jsonl"))
        #expect(talk.reflector.report.problem?.kind == .expired)
        talk.waitForRequest()
        #expect(talk.query("sendInitialEvents") == "true")
    }

    @Test func aServerThatLagsIsWatchedAgainBeforeItIsListed() {
        var talk = Talk.watching()
        talk.fail(.connectionLost)
        talk.waitForRequest()
        let body = #"{"reason":"Timeout","message":"Timeout: Too large resource version: 100, current: 90","code":504}"#
        talk.refuse(504, body: body)
        talk.waitForRequest()
        #expect(talk.query("resourceVersion") == "100" && talk.query("sendInitialEvents") == nil)
        talk.refuse(504, body: body)
        talk.waitForRequest()
        #expect(talk.query("resourceVersion") == nil && talk.query("sendInitialEvents") == "true" && talk.names == ["a", "b"])
    }

    @Test func tooManyRequestsWaitsAsToldAndDoesNotListAgain() {
        var talk = Talk.watching()
        talk.fail(.connectionLost)
        talk.waitForRequest()
        talk.refuse(429, retryAfter: .seconds(17))
        let waited = talk.waitForRequest()
        #expect(waited >= .seconds(17) && waited <= .seconds(19))
        #expect(talk.query("resourceVersion") == "100" && talk.query("sendInitialEvents") == nil)
        // And nobody makes us wait for ever.
        talk.refuse(429, retryAfter: .seconds(86_400))
        #expect(talk.waitForRequest() <= .seconds(150))
    }

    @Test(arguments: TransportFailure.Kind.allCases) func troubleIsToldOnceAndWaitsLongerEachTime(_ kind: TransportFailure.Kind) {
        var talk = Talk.watching()
        var bound = Duration.milliseconds(800)
        for round in 1...9 {
            talk.fail(kind, "trouble of some kind")
            #expect(talk.waitForRequest() <= bound, "round \(round)")
            bound = min(bound * 2, .seconds(30))
            #expect(talk.query("resourceVersion") == "100" && talk.query("sendInitialEvents") == nil, "no relist for a lost connection")
        }
        let troubles = talk.notices.compactMap { if case .trouble(let problem, _) = $0 { problem } else { nil } }
        #expect(troubles.count == 1 && troubles[0].detail.hasPrefix("trouble of some kind"))
        guard case .away(let why) = talk.health else { return #expect(Bool(false), "\(talk.health)") }
        #expect(why.hasPrefix("trouble of some kind") && talk.names == ["a", "b"])
        #expect(talk.reflector.report.errors.values.reduce(0, +) == 9)
        talk.answer()
        talk.pass(.seconds(1))
        #expect(talk.health == .live && talk.notices.last == .recovered(after: troubles[0]))
    }

    @Test func backOffIsForgottenAfterTwoGoodMinutes() {
        func longest(after good: Duration) -> Duration {
            var longest = Duration.zero
            for seed in 0..<60 {
                var talk = Talk.watching(seed: UInt64(seed))
                for _ in 0..<8 {
                    talk.fail(.connectionRefused)
                    talk.waitForRequest()
                }
                talk.answer()
                talk.pass(.seconds(1))
                talk.pass(good)
                talk.fail(.connectionRefused)
                longest = max(longest, talk.waitForRequest())
            }
            return longest
        }
        #expect(longest(after: .seconds(100)) > .seconds(5))
        #expect(longest(after: .seconds(121)) <= .milliseconds(800))
    }

    @Test func aWatchThatEndsAtOnceIsAnError() {
        var talk = Talk.watching()
        talk.pass(.seconds(10))
        talk.end()
        for _ in 0..<3 {
            talk.answer()
            talk.pass(.milliseconds(300))
            talk.end()
            #expect(talk.request == nil && talk.reflector.report.problem?.kind == .shortWatch)
            talk.waitForRequest()
        }
        // One that said something is none, however short.
        talk.answer()
        talk.receive([Talk.event("ADDED", "c", 101)])
        talk.end()
        #expect(talk.request != nil && talk.query("resourceVersion") == "101")
    }

    @Test func anAnswerTornInTheMiddleResumesBeforeIt() {
        var talk = Talk.watching()
        let line = Talk.event("MODIFIED", "a", 101) + "\n" + Talk.event("DELETED", "b", 102)
        talk.say(.received(talk.id, Array(line.utf8.dropLast(5))))
        talk.end()
        #expect(talk.reflector.report.problem?.kind == .connectionLost && talk.names == ["a", "b"])
        talk.waitForRequest()
        #expect(talk.query("resourceVersion") == "101")
    }

    @Test func recordingsEndInTheSamePlace() throws {
        var streamed = Talk()
        streamed.say(.started)
        streamed.answer(type: "application/json;stream=watch")
        streamed.receive(try fixture("endpointslices.watchlist.jsonl"))
        var listed = Talk()
        listed.say(.started)
        listed.refuse(422)
        listed.answer()
        listed.receive(try fixture("endpointslices.list.json"))
        listed.end()
        #expect(listed.query("resourceVersion") == "651")
        listed.answer()
        listed.receive(try fixture("endpointslices.watch.jsonl"))
        #expect(streamed.copy == listed.copy && streamed.copy.count == 4)
        #expect(streamed.reflector.report.resourceVersion == "704" && listed.reflector.report.resourceVersion == "704")
    }
}

extension ReflectorTalk {
    /// From a watch to the first page of a list.
    mutating func refuse422ThenPages() {
        receive([Self.error(410, "Expired")])
        waitForRequest()
        refuse(422)
    }
}
