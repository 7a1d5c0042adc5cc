import Model
import ScalerCore
import Testing
import Wire

@Suite struct StartingTests {
    @Test func firstHeldJobStartsTheFirstWorker() {
        var d = Dialogue()
        #expect(d.say(.began([pool()], found: [])).orders == [])
        #expect(d.scaler.nextWake == .never)
        #expect(d.say(.poolState(state(queued: 1))).orders == [.check(place(21000))])
        #expect(d.say(.portFree(place(21000))) == [.start(place(21000))])
        let process = d.newProcess()
        #expect(d.say(.started(place(21000), process)) == [])
        #expect(d.wait(.milliseconds(25)) == [.probe(place(21000), process)])
        #expect(d.say(.silent(place(21000), process)) == [])
        #expect(d.wait(.milliseconds(25)) == [.probe(place(21000), process)])
        let actions = d.say(.accepts(place(21000), process))
        #expect(actions.notices == [.ready(pool: "browsers", port: 21000, pid: process.pid, after: .milliseconds(50))])
        guard case .announce(browsers, let endpoint) = actions.orders.first else { return #expect(Bool(false), "not announced") }
        #expect(endpoint.addresses == [.loopback(port: 21000)])
        #expect(endpoint.uid == "local:21000:\(process)")
        #expect(endpoint.id == EndpointID(uid: endpoint.uid))
        #expect(endpoint.isLocal && endpoint.isUsable && endpoint.node == "here")
        #expect(d.say(.poolState(state(leased: 1))).orders == [])
    }

    @Test func minimumRunsWithoutAnyKeeper() {
        var d = Dialogue()
        #expect(d.say(.began([pool(min: 2)], found: [])).orders == [.check(place(21000)), .check(place(21001))])
    }

    @Test(arguments: [
        // (state, slots, needed before min and max)
        (state(queued: 3), 1, 3),
        (state(queued: 1, leased: 2), 1, 3),
        (state(queued: 5, leased: 1, leases: 4), 4, 3),
        (state(queued: 1), 4, 1),
        (state(), 1, 0),
        (state(leased: 2, quarantined: 1), 1, 3),
        (state(leased: 1, recovering: 2), 1, 3),
        (state(queued: 1, ending: 1), 1, 2),
        (state(ending: 1), 1, 1),
        (state(queued: 2, leased: 2, remote: 3), 1, 1),
        (state(queued: 1, leased: 1, quarantined: 1, remote: 2), 1, 1),
        (state(queued: 1, free: 3, remote: 3), 1, 0),
        // A remote endpoint that another pool's job occupies serves nobody here.
        (state(queued: 1, leased: 1, remote: 1, leases: 0), 1, 1),
    ])
    func neededWorkers(state: PoolState, slots: Int, needed: Int) {
        var d = Dialogue()
        _ = d.say(.began([pool(max: 8, slots: slots)], found: []))
        let actions = d.say(.poolState(state))
        #expect(actions.orders.count == needed, "\(actions)")
        #expect(d.scaler.summaries[0].target == needed)
    }

    @Test func neverMoreThanTheMaximum() {
        var d = Dialogue()
        _ = d.say(.began([pool(max: 3)], found: []))
        let actions = d.say(.poolState(state(queued: 200)))
        #expect(actions.orders == [.check(place(21000)), .check(place(21001)), .check(place(21002))])
        #expect(d.say(.poolState(state(queued: 4_000_000_000))).orders == [])
    }

    @Test func heldPortIsLeftOutSaidOnceAndTriedAgainLater() {
        var d = Dialogue()
        _ = d.say(.began([pool()], found: []))
        _ = d.say(.poolState(state(queued: 1)))
        #expect(
            d.say(.portHeld(place(21000))) == [
                .notice(.portHeld(pool: "browsers", port: 21000, retryIn: .seconds(10))), .check(place(21001)),
            ])
        let (_, _, _) = d.run(place(21001))
        _ = d.wait(.seconds(11))
        // Wanted again after the time is over: asked again, nothing said a second time.
        #expect(d.say(.poolState(state(queued: 1, leased: 1))).orders == [.check(place(21000))])
        #expect(d.say(.portHeld(place(21000))) == [.check(place(21002))])
        _ = d.run(place(21002))
        _ = d.wait(.seconds(11))
        _ = d.say(.poolState(state(queued: 1, leased: 2)))
        #expect(d.say(.portFree(place(21000))) == [.notice(.portFree(pool: "browsers", port: 21000)), .start(place(21000))])
    }

    @Test func whenEveryPortIsHeldItSaysSoAndGoesOnTrying() {
        var d = Dialogue()
        _ = d.say(.began([WorkerPool(name: "browsers", command: ["w"], ports: Array(21000...21001), max: 2)], found: []))
        _ = d.say(.poolState(state(queued: 1)))
        _ = d.say(.portHeld(place(21000)))
        #expect(d.say(.portHeld(place(21001))).notices.last == .outOfPorts(pool: "browsers", wanted: 1, running: 0))
        #expect(d.wait(.seconds(10)) == [.check(place(21000))])
        #expect(d.say(.portFree(place(21000))).orders == [.start(place(21000))])
    }

    @Test func answersToStartsThatNobodyWantsAnyMoreAreIgnored() {
        var d = Dialogue()
        _ = d.say(.began([pool()], found: []))
        _ = d.say(.poolState(state(queued: 1)))
        _ = d.say(.poolState(state()))
        #expect(d.say(.portFree(place(21000))) == [])
        #expect(d.say(.portHeld(place(21000))) == [])
    }

    @Test func workerThatNeverAcceptsIsStoppedAndItsPortWaits() {
        var d = Dialogue()
        _ = d.say(.began([pool()], found: []))
        _ = d.say(.poolState(state(queued: 1)))
        _ = d.say(.portFree(place(21000)))
        let process = d.newProcess()
        _ = d.say(.started(place(21000), process))
        _ = d.wait(.milliseconds(25))
        let actions = d.wait(.seconds(60))
        #expect(actions.orders.contains(.stop(place(21000), process)))
        #expect(actions.notices.contains(.slow(pool: "browsers", port: 21000, pid: process.pid, after: .seconds(60))))
        #expect(d.say(.exited(place(21000), process, .signal(15), jitter: 0)).orders == [])
    }
}
