import Model
import ScalerCore
import Testing
import Wire

@Suite struct CrashingTests {
    private func serving(_ config: WorkerPool = pool()) -> (Dialogue, ProcessIdentity, Endpoint) {
        var d = Dialogue()
        _ = d.say(.began([config], found: []))
        _ = d.say(.scalingUp)
        _ = d.say(.poolState(state(queued: 1)))
        let (process, endpoint, _) = d.run(place(21000))
        _ = d.say(.poolState(state(leased: 1)))
        return (d, process, endpoint)
    }

    @Test func crashedWorkerIsWithdrawnAtOnceAndStartsAgain() {
        var (d, process, endpoint) = serving()
        _ = d.wait(.seconds(20))
        let actions = d.say(.exited(place(21000), process, .signal(9), jitter: 0))
        #expect(actions.orders == [.withdraw(browsers, endpoint.id)])
        #expect(actions.notices == [.crashed(pool: "browsers", port: 21000, status: .signal(9), restartIn: .milliseconds(250))])
        #expect(d.wait(.milliseconds(249)) == [])
        #expect(d.wait(.milliseconds(1)) == [.check(place(21000))])
        let (_, again, _) = d.run(place(21000))
        #expect(again.id != endpoint.id)
    }

    @Test func backOffDoublesTo30SecondsAndIsForgottenAfterAWhileOfService() {
        var (d, process, _) = serving()
        var delays: [Duration] = []
        for _ in 0..<10 {
            for notice in d.say(.exited(place(21000), process, .code(1), jitter: 0)).notices {
                if case .crashed(_, _, _, let delay) = notice { delays.append(delay) }
            }
            #expect(d.wait(delays.last ?? .zero).contains(.check(place(21000))))
            (process, _, _) = d.run(place(21000))
        }
        #expect(
            delays == [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000].map { Duration.milliseconds($0) })
        _ = d.wait(.seconds(10))
        #expect(
            d.say(.exited(place(21000), process, .code(1), jitter: 0)).notices == [
                .crashed(pool: "browsers", port: 21000, status: .code(1), restartIn: .milliseconds(250))
            ])
    }

    @Test func jitterTakesOffAtMostAQuarter() {
        var (d, process, _) = serving()
        let notices = d.say(.exited(place(21000), process, .code(1), jitter: .max)).notices
        guard case .crashed(_, _, _, let delay) = notices.first else { return #expect(Bool(false)) }
        #expect(delay < .milliseconds(188) && delay >= .microseconds(187_500))
    }

    @Test func brokenCommandDoesNotWanderThroughThePorts() {
        var d = Dialogue()
        _ = d.say(.began([pool()], found: []))
        _ = d.say(.poolState(state(queued: 1)))
        _ = d.say(.portFree(place(21000)))
        let actions = d.say(.startFailed(place(21000), reason: "No such file or directory", jitter: 0))
        #expect(
            actions == [
                .notice(.startFailed(pool: "browsers", port: 21000, reason: "No such file or directory", retryIn: .milliseconds(250)))
            ])
        #expect(d.wait(.milliseconds(250)) == [.check(place(21000))])
    }

    @Test func backOffOutlivesAMomentWithoutDemand() {
        var d = Dialogue()
        _ = d.say(.began([WorkerPool(name: "browsers", command: ["w"], ports: Array(21000...21000), max: 1)], found: []))
        _ = d.say(.poolState(state(queued: 1)))
        _ = d.say(.portFree(place(21000)))
        _ = d.say(.startFailed(place(21000), reason: "x", jitter: 0))
        _ = d.say(.poolState(state()))
        #expect(d.say(.poolState(state(queued: 1))).orders == [])
        #expect(d.wait(.milliseconds(250)).orders == [.check(place(21000))])
    }

    @Test func singleUseWorkerThatEndsCleanlyIsReplacedAtOnce() {
        var (d, process, endpoint) = serving(pool(singleUse: true))
        _ = d.say(.poolState(state(queued: 1, leased: 1)))
        _ = d.run(place(21001))
        let actions = d.say(.exited(place(21000), process, .code(0), jitter: 7))
        #expect(actions.orders == [.withdraw(browsers, endpoint.id), .check(place(21000))])
        #expect(actions.notices == [.ended(pool: "browsers", port: 21000, status: .code(0))])
    }

    @Test func crashWithoutDemandIsNotRepaired() {
        var (d, process, _) = serving()
        _ = d.say(.poolState(state(free: 1)))
        _ = d.say(.exited(place(21000), process, .signal(11), jitter: 0))
        #expect(d.wait(.seconds(60)).orders == [])
    }
}
