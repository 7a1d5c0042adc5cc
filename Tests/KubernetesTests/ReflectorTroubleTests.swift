import Foundation
import Kubernetes
import Model
import Testing

/// Silence, credentials, rights, and answers that make no sense.
@Suite struct ReflectorTroubleTests {
    typealias Talk = ReflectorTalk

    @Test func aSilentStreamIsGivenUpOnceBookmarksAreKnown() {
        var talk = Talk.watching()
        for _ in 0..<4 {
            talk.pass(.seconds(60))
            talk.receive([Talk.bookmark(100)])
        }
        talk.pass(.seconds(149))
        #expect(talk.request != nil && talk.health == .live)
        talk.pass(.seconds(2))
        #expect(talk.request == nil && talk.reflector.report.problem?.kind == .silent)
        talk.waitForRequest()
        #expect(talk.query("resourceVersion") == "100")
    }

    /// Without bookmarks silence means nothing, but a watch has its end.
    @Test func aWatchIsGivenUpWhenItOutlivesItsTime() throws {
        var talk = Talk()
        talk.say(.started)
        talk.refuse(422)
        talk.answer()
        talk.say(.received(talk.id, Array(Talk.page(["a"], 70).utf8)))
        talk.end()
        let seconds = try #require(Int64(talk.query("timeoutSeconds") ?? ""))
        talk.answer()
        talk.pass(.seconds(seconds))
        #expect(talk.request != nil)
        talk.pass(Reflector.watchGrace)
        #expect(talk.request == nil && talk.reflector.report.problem?.kind == .silent)
    }

    @Test func aRequestWithoutAnAnswerIsGivenUp() {
        var talk = Talk()
        talk.say(.started)
        talk.pass(Reflector.headLimit)
        #expect(talk.request == nil && talk.reflector.report.problem?.kind == .timeout)
        guard case .unknown(.some) = talk.health else { return #expect(Bool(false), "\(talk.health)") }
        talk.waitForRequest()
        #expect(talk.request != nil)
    }

    /// A refusal whose reasons never come, or come for ever, is a refusal.
    @Test(arguments: [true, false]) func aRefusalThatDoesNotEndCounts(_ dribbles: Bool) {
        var talk = Talk.watching()
        talk.fail(.connectionLost)
        talk.waitForRequest()
        talk.answer(503)
        for _ in 0..<9 {
            talk.pass(.seconds(1))
            if dribbles { talk.say(.received(talk.id, [0x20])) }
        }
        #expect(talk.request != nil)
        talk.pass(.seconds(1))
        #expect(talk.request == nil && talk.reflector.report.problem?.kind == .serverError)
    }

    /// Bytes that dribble in are no reason to wait for a list for ever.
    @Test func aListHasItsTime() {
        var talk = Talk()
        talk.say(.started)
        talk.refuse(422)
        talk.answer()
        for _ in 0..<11 where talk.request != nil {
            talk.say(.received(talk.id, [0x20]))
            talk.pass(.seconds(59))
        }
        #expect(talk.request == nil && talk.reflector.report.problem?.kind == .timeout)
    }

    @Test(arguments: [500, 502, 503, 504]) func aServerInTroubleIsAskedAgainFromTheSamePlace(_ status: Int) {
        var talk = Talk.watching()
        talk.fail(.connectionLost)
        talk.waitForRequest()
        for _ in 0..<4 {
            talk.refuse(status, body: status == 502 ? "<html>Bad Gateway</html>" : #"{"code":\#(status),"message":"etcd is away"}"#)
            talk.waitForRequest()
            #expect(talk.query("resourceVersion") == "100" && talk.query("sendInitialEvents") == nil && talk.names == ["a", "b"])
        }
        #expect(talk.reflector.report.errors == [.connectionLost: 1, .serverError: 4])
        // In the middle of a watch, too.
        talk.answer()
        talk.receive([Talk.event("ADDED", "c", 101), Talk.error(status, "InternalError")])
        talk.waitForRequest()
        #expect(talk.query("resourceVersion") == "101" && talk.names == ["a", "b", "c"])
    }

    @Test func aServerThatIsNoneIsNamed() {
        var talk = Talk()
        talk.say(.started)
        talk.refuse(404, body: "404 page not found")
        #expect(talk.reflector.report.problem?.kind == .notFound)
        guard case .unknown(.some(let why)) = talk.health else { return #expect(Bool(false), "\(talk.health)") }
        #expect(why.contains("is this the base URL of an API server"))
    }

    /// Many watchers that lost one server do not come back together: pauses are spread over all of their bound.
    @Test func pausesAreSpread() {
        var pauses: [Duration] = []
        for seed in 0..<400 {
            var talk = Talk.watching(seed: UInt64(seed))
            for _ in 0..<7 {
                talk.fail(.connectionRefused)
                talk.waitForRequest()
            }
            talk.fail(.connectionRefused)
            pauses.append(talk.waitForRequest())
        }
        #expect(pauses.allSatisfy { $0 <= .seconds(30) })
        for tenth in 0..<10 {
            let count = pauses.filter { .seconds(tenth * 3) < $0 && $0 <= .seconds(tenth * 3 + 3) }.count
            #expect((15...80).contains(count), "\(count) of 400 between \(tenth * 3) and \(tenth * 3 + 3) s")
        }
    }

    @Test func echoesOfAGivenUpRequestAreIgnored() {
        var talk = Talk.watching()
        let old = talk.id
        talk.fail(.connectionLost)
        talk.waitForRequest()
        talk.say(.received(old, Array((Talk.event("DELETED", "a", 900) + "\n").utf8)))
        talk.say(.responded(old, ResponseHead(status: 410)))
        talk.say(.ended(old))
        talk.say(.failed(old, TransportFailure(.other, "late")))
        talk.say(.credentialsRenewed)
        #expect(talk.actions.isEmpty && talk.names == ["a", "b"] && talk.request != nil)
    }

    // MARK: Credentials and rights

    @Test func anExpiredTokenIsRenewedWithoutAWord() {
        var talk = Talk.watching()
        talk.pass(.seconds(140))
        talk.receive([Talk.bookmark(110)])
        talk.end()
        talk.refuse(401)
        #expect(talk.actions == [.renewCredentials] && talk.health == .live)
        talk.say(.credentialsRenewed)
        #expect(talk.query("resourceVersion") == "110")
        talk.answer()
        talk.pass(.seconds(1))
        #expect(!talk.notices.contains { $0.isWarning })
    }

    @Test func credentialsThatStayBadAreToldAndTriedAgain() {
        var talk = Talk.watching()
        talk.fail(.connectionLost)
        talk.waitForRequest()
        for _ in 0..<5 {
            talk.refuse(401, body: #"{"kind":"Status","code":401,"message":"Unauthorized"}"#)
            #expect(talk.actions.contains(.renewCredentials))
            talk.say(.credentialsRenewed)
            talk.waitForRequest()
        }
        let unauthorized = talk.notices.filter { if case .trouble(let problem, _) = $0 { problem.kind == .unauthorized } else { false } }
        #expect(unauthorized.count == 1 && talk.health == .away(talk.reflector.report.problem?.detail ?? ""))
        talk.refuse(401)
        talk.say(.credentialsFailed("/token: no such file"))
        #expect(talk.health == .away("/token: no such file"))
        talk.waitForRequest()
        talk.answer()
        talk.pass(.seconds(1))
        #expect(talk.health == .live)
    }

    @Test func missingRightsAreNamedWithTheRemedy() {
        var talk = Talk()
        talk.say(.started)
        for _ in 0..<3 {
            talk.refuse(403, body: #"{"code":403,"reason":"Forbidden","message":"endpointslices is forbidden: User \"u\" cannot watch"}"#)
            talk.waitForRequest()
        }
        guard case .unknown(.some(let why)) = talk.health else { return #expect(Bool(false), "\(talk.health)") }
        #expect(why.contains("User \"u\" cannot watch: grant this identity list and watch on endpointslices.discovery.k8s.io in namespace shop"))
        #expect(talk.notices.count == 1)
    }

    // MARK: Odd objects and encodings

    @Test func anUnreadableObjectStaysAsItWas() {
        var talk = Talk.watching(["a", "b"])
        let bad = #"{"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"shop","resourceVersion":"101"},"endpoints":7}}"#
        talk.receive([bad, bad, Talk.event("MODIFIED", "b", 102)])
        #expect(talk.names == ["a", "b"] && talk.notices.filter(\.isWarning).count == 1)
        talk.receive([Talk.error(410, "Expired")])
        talk.waitForRequest()
        talk.answer()
        talk.receive([bad.replacing("MODIFIED", with: "ADDED"), Talk.bookmark(200, ends: true)])
        #expect(talk.names == ["a"])
    }

    @Test func aBadProtobufAnswerIsAskedForInJSON() {
        var talk = Talk()
        talk.say(.started)
        #expect(talk.request?.accept == "application/vnd.kubernetes.protobuf,application/json")
        talk.answer(type: "application/vnd.kubernetes.protobuf;stream=watch")
        talk.receive(["{}{}{}{}"])
        talk.waitForRequest()
        #expect(talk.request?.accept == "application/json")
    }

    @Test func aStoppedReflectorIsSilent() {
        var talk = Talk.watching()
        let id = talk.id
        talk.say(.stopped)
        #expect(talk.actions == [.cancel(id)] && talk.reflector.nextWake == .never)
        talk.say(.received(id, Array(Talk.event("DELETED", "a", 900).utf8)))
        talk.say(.wokeUp)
        #expect(talk.actions.isEmpty)
    }
}
